from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import errors
from aivideomaker_async._http import requests
from aivideomaker_async._http.error_responses import error_from_answer, is_error_in_disguise
from aivideomaker_async._http.requests import Request
from aivideomaker_async.errors import APIError
from tests.support.api import BytesBody, submit_request
from tests.support.pictures import PNG, data_uri

SUBMIT = submit_request()
STATUS = requests.get_status("tv_1")
REQUESTS = [SUBMIT, STATUS, requests.list_tasks(), requests.get_account(), requests.cancel_task("tv_1")]


def body(message: str = "No.", code: str | None = None) -> bytes:
    answer = {"status": "FAILED", "message": message}
    return json.dumps(answer if code is None else {**answer, "errorCode": code, "error": "text"}).encode()


def refused(status: int, content: bytes, request: Request[object] = SUBMIT) -> APIError:
    return error_from_answer(request, status, content)


# The table of HTTP statuses and error codes of the API, row by row.
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "INVALID_MODEL", errors.InvalidRequest),
        (400, "INVALID_PAYLOAD", errors.InvalidRequest),
        (400, None, errors.InvalidRequest),
        (401, "AUTH_FAILED", errors.AuthenticationFailed),
        (401, None, errors.AuthenticationFailed),
        (403, "AUTH_FAILED", errors.AuthenticationFailed),
        (403, None, errors.AuthenticationFailed),
        (402, "INSUFFICIENT_CREDITS", errors.InsufficientCredits),
        (402, None, errors.InsufficientCredits),
        (405, None, APIError),
        (409, "IDEMPOTENCY_CONFLICT", errors.IdempotencyConflict),
        (409, None, errors.IdempotencyConflict),
        (422, "BUDGET_EXCEEDED", errors.BudgetExceeded),
        (422, None, errors.ContentRejected),
        (422, "MODERATION", errors.ContentRejected),
        (429, "RATE_LIMITED", errors.RateLimited),
        (429, None, errors.RateLimited),
        (408, None, APIError),
        (413, None, APIError),
        (500, None, errors.ServerError),
        (502, "NEW_CODE", errors.ServerError),
        (503, None, errors.ServerError),
        (599, None, errors.ServerError),
        # What a failing server reports about the key, credits or limits is not reliable.
        (500, "AUTH_FAILED", errors.ServerError),
        (503, "RATE_LIMITED", errors.ServerError),
        (502, "INSUFFICIENT_CREDITS", errors.ServerError),
        (302, None, APIError),
        (200, None, APIError),
        # A code is more specific than the status that came with it.
        (400, "AUTH_FAILED", errors.AuthenticationFailed),
        (400, "INSUFFICIENT_CREDITS", errors.InsufficientCredits),
        (200, "BUDGET_EXCEEDED", errors.BudgetExceeded),
        (200, "AUTH_FAILED", errors.AuthenticationFailed),
        (400, "NEW_CODE", errors.InvalidRequest),
    ],
)
def test_status_and_code_decide_the_class_of_the_error(status: int, code: str | None, kind: type[APIError]) -> None:
    """An undocumented code or status is an error of the nearest class."""
    error = refused(status, body("No.", code))
    assert type(error) is kind
    assert (error.status, error.code, error.message) == (status, code, "No.")
    assert (error.method, error.path) == ("POST", "/api/v1/generate/t2v")


LIMITED = submit_request(max_credits=5)


@pytest.mark.parametrize(
    ("request_", "message", "kind"),
    [
        (LIMITED, "Quote of 8 credits is above X-Max-Credits", errors.BudgetExceeded),
        (LIMITED, "above maxCredits", errors.BudgetExceeded),
        (LIMITED, "Budget guard exceeded", errors.BudgetExceeded),
        (LIMITED, "The content was rejected", errors.ContentRejected),
        # It may quote a prompt.
        (SUBMIT, "Rejected: a budget airline", errors.ContentRejected),
    ],
)
def test_an_exceeded_price_limit_without_a_code_is_recognized_by_its_text(
    request_: Request[object], message: str, kind: type[APIError]
) -> None:
    """Only where a limit was sent: rejected content has the same status."""
    assert type(refused(422, body(message), request_)) is kind


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (STATUS, errors.TaskNotFound),
        (requests.get_task("x"), errors.TaskNotFound),
        (requests.cancel_task("x"), errors.TaskNotFound),
        (SUBMIT, errors.EndpointNotFound),
        (requests.get_account(), errors.EndpointNotFound),
        (requests.list_tasks(), errors.EndpointNotFound),
        (requests.quote_price("t2v", BytesBody(b"{}")), errors.EndpointNotFound),
    ],
)
def test_a_404_is_about_a_task_or_about_an_endpoint(request_: Request[object], kind: type[APIError]) -> None:
    """A task that this key does not have, or an endpoint that this revision lacks."""
    assert type(refused(404, body("Not found"), request_)) is kind


@pytest.mark.parametrize("message", ["Insufficient credits", "insufficient  CREDIT for this task"])
@pytest.mark.parametrize("status", [200, 400, 402, 403, 404])
def test_insufficient_credits_without_a_code_are_recognized_by_their_text(message: str, status: int) -> None:
    """The 2026-03 revision has no codes and documents no status for it."""
    assert type(refused(status, body(message))) is errors.InsufficientCredits


def test_a_server_error_that_mentions_credits_is_a_server_error() -> None:
    assert type(refused(500, body("could not check for insufficient credits"))) is errors.ServerError


@pytest.mark.parametrize(
    ("answer", "expected", "disguised"),
    [
        ({"status": "FAILED", "message": "Insufficient credits"}, "taskId", True),
        ({"status": "FAILED", "error": "no"}, "taskId", True),
        ({"status": "FAILED", "message": None}, "taskId", True),
        # The status of a task that has failed has no message beside it.
        ({"status": "FAILED"}, "status", False),
        ({"status": "FAILED", "message": "m"}, "status", True),
        ({"status": "FAILED", "message": "m", "id": "x"}, "id", False),
        ({"status": "SUBMITTED", "message": "queued", "taskId": "x"}, "taskId", False),
        ({"status": "SUBMITTED", "message": "queued"}, "taskId", False),
        ({"message": "m"}, "taskId", False),
        ({}, "taskId", False),
    ],
)
def test_a_200_is_an_error_when_it_has_a_message_instead_of_the_expected_field(
    answer: dict[str, object], expected: str, disguised: bool
) -> None:
    assert is_error_in_disguise(answer, expected=expected) is disguised


# --- the message -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (body("Prompt must not be empty"), "Prompt must not be empty"),
        (b'{"error": "in another field"}', "in another field"),
        (b'{"detail": "from a web framework"}', "from a web framework"),
        (b'{"message": "", "error": "second"}', "second"),
        (b'{"message": {"a": 1}, "error": "second"}', "second"),
        (b'{"message": "two\\n  lines"}', "two lines"),
        (body("cannot load https://b.example/a.png?sig=SECRET"), "cannot load https://b.example/…"),
        (b'{"message": 5}', "no reason given (the body is not the documented JSON)"),
        (b'["message"]', "no reason given (the body is not the documented JSON)"),
        (b"<!doctype html><HTML><body>502</body></HTML>", "no reason given (the body is HTML)"),
        (b"upstream connect error", "no reason given (the body is not the documented JSON)"),
        (b"", "no reason given (empty body)"),
        (b" \r\n", "no reason given (empty body)"),
        (b"\xff\xfe\x80", "no reason given (the body is not the documented JSON)"),
        (b"[" * 100_000, "no reason given (the body is not the documented JSON)"),
    ],
)
def test_the_message_is_the_service_s_own_or_says_what_came_instead(content: bytes, message: str) -> None:
    assert refused(400, content).message == message


def test_the_fields_of_a_decoded_object_serve_as_well_as_its_bytes() -> None:
    fields = {"status": "FAILED", "errorCode": "BUDGET_EXCEEDED", "message": "no"}
    error = error_from_answer(SUBMIT, 200, fields)
    assert (type(error), error.code, error.message) == (errors.BudgetExceeded, "BUDGET_EXCEEDED", "no")
    assert error_from_answer(SUBMIT, 200, {}).message == "no reason given"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_explained(status: int) -> None:
    """It is not followed, since that would carry the key to another host."""
    error = refused(status, b"")
    assert type(error) is APIError
    assert "redirect" in error.message
    assert "base URL" in error.message


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://other.example/api?key=SECRET#SECRET", "https://other.example"),
        ("https://other.example:8443/SECRET", "https://other.example:8443"),
        ("http://[::1]:80/SECRET", "http://[::1]:80"),
        ("//other.example/SECRET", "other.example"),
        ("https://me:SECRET@other.example", "https://other.example"),
        ("/SECRET", "another path"),
        ("", "another path"),
        ("https://[SECRET", "a malformed address"),
        ("https://other.example:SECRET/", "a malformed address"),
        ("https://SECRET\udcff.example", "a malformed address"),
        ("https://SECRET\x07.example", "a malformed address"),
    ],
)
def test_the_error_of_a_redirect_names_the_host_and_nothing_else(location: str, place: str) -> None:
    """The rest of the address and the body may hold secrets."""
    error = error_from_answer(STATUS, 307, body("SECRET"), location=location)
    assert type(error) is APIError
    assert error.message.startswith(
        f"the service redirects to {place} (307), which is not followed: the API key goes to"
    )
    assert "change the base URL" in error.message
    assert "SECRET" not in str(error).upper()


def test_a_secret_in_the_host_of_a_redirect_is_hidden() -> None:
    error = error_from_answer(
        STATUS, 302, b"", location="https://ak_1.example", hide=lambda text: text.replace("ak_1", "*")
    )
    assert "https://*.example" in error.message


def test_retry_after_is_passed_on() -> None:
    assert error_from_answer(STATUS, 429, body(), retry_after=17.0).retry_after == 17.0
    assert refused(429, body()).retry_after is None


@pytest.mark.parametrize("code", [5, None, "", ["A"], {"a": 1}])
def test_a_code_that_is_not_a_text_is_ignored(code: object) -> None:
    error = refused(409, json.dumps({"errorCode": code, "message": "m"}).encode())
    assert (type(error), error.code) == (errors.IdempotencyConflict, None)


@pytest.mark.parametrize("uri", [data_uri(PNG * 30), data_uri(PNG * 30).upper(), data_uri(b"", "image/svg+xml")])
@pytest.mark.parametrize("field", ["message", "errorCode"])
def test_an_image_that_the_service_quotes_is_hidden(uri: str, field: str) -> None:
    error = refused(400, json.dumps({"message": "no", field: f"bad image '{uri}' given"}).encode())
    assert uri[30:60] not in str(error) or len(uri) < 40
    assert "iVBOR" not in str(error)
    assert "BASE64,IVBOR" not in str(error)


def test_message_code_and_path_are_cut() -> None:
    content = json.dumps({"message": "m" * 10**6, "errorCode": "C" * 10**6}).encode()
    assert len(str(refused(400, content, requests.get_task("x" * 10**5)))) < 1500


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=30),
        lambda inner: (
            st.dictionaries(st.sampled_from(["message", "error", "detail", "errorCode", "status"]), inner, max_size=4)
            | st.lists(inner, max_size=3)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.integers(100, 999),
    st.sampled_from(REQUESTS),
)
@settings(max_examples=80, deadline=None)
def test_any_answer_is_an_api_error_with_a_message(content: bytes, status: int, request_: Request[object]) -> None:
    error = error_from_answer(request_, status, content)
    assert isinstance(error, APIError)
    assert error.message
    assert str(error).isprintable(), "it breaks no line of a log"
    assert str(error).startswith(f"{request_.method} {request_.path}: {status}")
