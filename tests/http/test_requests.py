from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import Account, ConfigurationError, Quote, SubmittedTask, TaskDetails, TaskStatus
from aivideomaker_async._http import requests
from aivideomaker_async._http.error_responses import is_error_in_disguise
from aivideomaker_async._http.requests import Kind, Request, Sending
from aivideomaker_async._redaction import Secret
from tests.support.api import BytesBody, submit_request

BODY = BytesBody(b"{}")

# --- the calls of the API ----------------------------------------------------------------------------

CALLS: list[tuple[Request[Any], str, str, Kind, str]] = [
    (requests.list_tasks(), "GET", "/api/v1/tasks", Kind.QUERY, "endpoint"),
    (requests.get_task("tv_1"), "GET", "/api/v1/tasks/tv_1", Kind.QUERY, "task"),
    (requests.get_status("tv_1"), "GET", "/api/v1/tasks/tv_1/status", Kind.QUERY, "task"),
    (requests.cancel_task("tv_1"), "PUT", "/api/v1/tasks/tv_1/cancel", Kind.COMMAND, "task"),
    (requests.get_account(), "GET", "/api/v1/account", Kind.QUERY, "endpoint"),
    (requests.quote_price("t2v", BODY), "POST", "/api/v1/quote/t2v", Kind.COMMAND, "endpoint"),
    (submit_request(), "POST", "/api/v1/generate/t2v", Kind.SUBMIT, "endpoint"),
]


@pytest.mark.parametrize(("request_", "method", "path", "kind", "missing"), CALLS)
def test_each_call_is_the_documented_one(
    request_: Request[Any], method: str, path: str, kind: Kind, missing: str
) -> None:
    """Queries count against the limit, commands do not, and only a submit costs money."""
    assert (request_.method, request_.path, request_.kind, request_.missing) == (method, path, kind, missing)
    assert (request_.body is None) is (method != "POST")


ANSWERS: list[tuple[Request[Any], dict[str, Any], object]] = [
    (requests.list_tasks(), {"tasks": []}, []),
    (
        requests.get_task("tv_1"),
        {"id": "tv_1", "status": "FAILED"},
        TaskDetails(id="tv_1", status=TaskStatus.FAILED),
    ),
    (requests.get_status("tv_1"), {"status": "FAILED"}, TaskStatus.FAILED),
    (requests.cancel_task("tv_1"), {"status": "CANCEL", "taskId": "tv_1"}, TaskStatus.CANCEL),
    (requests.get_account(), {"currentBalance": 5}, Account(current_balance=5)),
    (requests.quote_price("t2v", BODY), {"credits": 5}, Quote(model="t2v", credits=5)),
    (submit_request(), {"taskId": "tv_1", "status": "SUBMITTED"}, SubmittedTask(task_id="tv_1")),
]


@pytest.mark.parametrize(("request_", "answer", "value"), ANSWERS)
def test_each_call_decodes_its_own_answer(request_: Request[Any], answer: dict[str, Any], value: object) -> None:
    """A good answer is never taken for an error; without the expected field it would be one."""
    assert request_.decode(answer) == value
    assert request_.expected in answer
    assert not is_error_in_disguise(answer, expected=request_.expected)
    assert is_error_in_disguise({"status": "FAILED", "message": "no"}, expected=request_.expected)


def test_the_size_limit_of_an_answer_is_that_of_its_kind() -> None:
    """Only one task, whose input may be an image, and the list of all tasks can be large."""
    assert requests.get_status("x").max_answer_bytes == requests.SMALL_ANSWER_BYTES
    assert requests.get_task("x").max_answer_bytes == requests.TASK_ANSWER_BYTES
    assert requests.list_tasks().max_answer_bytes == requests.LIST_ANSWER_BYTES


HOSTILE_IDS = ["../x?y", "%2e%2e", "a b\r\nkey: stolen", "💥", ";@&=+$,", "..\\..", "x" * 10_240]
REQUESTS_WITH_AN_ID: list[Callable[[str], Request[Any]]] = [
    requests.get_task,
    requests.get_status,
    requests.cancel_task,
]


@pytest.mark.parametrize("make", REQUESTS_WITH_AN_ID)
@pytest.mark.parametrize("task_id", HOSTILE_IDS)
def test_a_hostile_id_stays_one_segment_of_the_path(make: Callable[[str], Request[Any]], task_id: str) -> None:
    """It leads to no other endpoint, adds no query and no header, and the service decodes it to the same id."""
    before, after = make("ID").path.split("ID")
    path = make(task_id).path
    assert path.startswith(before)
    assert path.endswith(after)
    segment = path[len(before) : len(path) - len(after)]
    assert not set(segment) & set("/?#\\ \r\n;")
    assert segment.isascii()
    assert unquote(segment) == task_id


@given(st.text(min_size=1))
def test_any_id_is_quoted_or_refused(task_id: str) -> None:
    try:
        path = requests.get_task(task_id).path
    except ConfigurationError:
        assert task_id in {".", ".."} or any("\ud800" <= letter <= "\udfff" for letter in task_id)
    else:
        assert unquote(path.removeprefix("/api/v1/tasks/")) == task_id
        assert path.count("/") == 4


@pytest.mark.parametrize("make", REQUESTS_WITH_AN_ID)
@pytest.mark.parametrize("task_id", ["", ".", "..", "\ud800", None, 17, b"tv_1", ["tv_1"]])
def test_a_value_that_cannot_be_an_id_is_refused(make: Callable[[Any], Request[Any]], task_id: object) -> None:
    """Dots are steps in a path, quoted or not. The message names the argument and the value."""
    with pytest.raises(ConfigurationError, match="task_id=") as caught:
        make(task_id)
    assert repr(task_id) in str(caught.value)


@pytest.mark.parametrize("model", ["a/../b", "../account", "x?y", "模型"])
def test_the_name_of_a_model_stays_one_segment_of_the_path(model: str) -> None:
    """Users pass names of models that have no class here."""
    for path in (requests.generate_path(model), requests.quote_price(model, BODY).path):
        assert path.count("/") == 4
        assert unquote(path.rpartition("/")[2]) == model


# --- headers of a submit -----------------------------------------------------------------------------


def headers(request: Request[Any]) -> Mapping[str, str]:
    return {**request.headers, **{name: secret.reveal() for name, secret in request.secrets.items()}}


def test_a_submit_has_the_documented_headers() -> None:
    """The idempotency key is always sent. 0 credits is a limit, other than None."""
    assert headers(submit_request(idempotency_key="12345678")) == {"Idempotency-Key": "12345678"}
    full = submit_request(webhook_url=Secret("https://me.example/hook?token=1"), max_credits=0)
    assert headers(full) == {
        "Idempotency-Key": "key-of-a-submit",
        "webhookUrl": "https://me.example/hook?token=1",
        "X-Max-Credits": "0",
    }


@pytest.mark.parametrize("before", [None, 5])
@pytest.mark.parametrize("after", [None, 0, 7])
def test_the_price_limit_of_a_submit_can_be_replaced(before: int | None, after: int | None) -> None:
    request = submit_request(max_credits=before, webhook_url=Secret("https://me.example/hook"))
    changed = request.with_max_credits(after)
    assert headers(changed) == headers(submit_request(max_credits=after, webhook_url=Secret("https://me.example/hook")))
    assert (changed.path, changed.body) == (request.path, request.body)
    assert request.headers.get("X-Max-Credits") == (None if before is None else str(before))


@pytest.mark.parametrize("key", ["x" * 8, "x" * 128, "order 17 / part 2", "!#$%&'~~"])
def test_an_idempotency_key_of_8_to_128_printable_characters_is_sent_as_it_is(key: str) -> None:
    assert headers(submit_request(idempotency_key=key))["Idempotency-Key"] == key


@pytest.mark.parametrize(
    "key", ["x" * 7, "x" * 129, "", " 12345678", "12345678 ", "1234\r\n5678", "12345678\n", "ключключ", None, 12345678]
)
def test_any_other_idempotency_key_is_refused(key: object) -> None:
    with pytest.raises(ConfigurationError, match=r"idempotency_key=.*8 to 128") as caught:
        submit_request(idempotency_key=key)
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "ftp://me.example/hook?token=SECRET",
        "https://",
        "https:///SECRET",
        "https://me.example/a b",
        "https://me.example/\r\nkey: SECRET",
        "https://me.example/ключ",
        "https://[me.example/SECRET",
        "https://[::1/SECRET",
        17,
        b"https://me.example/SECRET",
    ],
)
def test_a_malformed_webhook_url_is_refused_and_not_shown(url: Any) -> None:
    """It may hold a token."""
    with pytest.raises(ConfigurationError, match=r"webhook_url: must be an http\(s\) URL") as caught:
        submit_request(webhook_url=Secret(url))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("max_credits", [-1, 1.5, 10.0, True, "10", float("nan")])
def test_a_price_limit_that_is_not_a_whole_number_of_credits_is_refused(max_credits: object) -> None:
    with pytest.raises(ConfigurationError, match="max_credits=") as caught:
        submit_request(max_credits=max_credits)
    assert repr(max_credits) in str(caught.value)


# --- what is hidden ----------------------------------------------------------------------------------


def test_the_repr_of_a_request_shows_neither_headers_nor_body() -> None:
    """They may hold a token or an image."""
    request = submit_request(
        body=BytesBody(b"SECRET"),
        idempotency_key="SECRET-8",
        webhook_url=Secret("https://x.example/SECRET"),
        max_credits=1,
    )
    assert "SECRET" not in repr(request)


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("https://me.example/hook/t0k3n-1234", "no answer from https://me.example/hook/t0k3n-1234", "<secret>"),
        ("https://me.example/hook/t0k3n-1234", "see https://me.example for help", "see https://me.example for help"),
        ("https://me.example?sig=t0k3n-1234", "bad ?sig=t0k3n-1234", "bad <secret>"),
        ("https://me.example/h", "bad https://me.example/h", "bad https://me.example/h"),
        ("https://me:t0k3n-1234@me.example/", "bad me:t0k3n-1234@me.example", "bad <secret>@me.example"),
    ],
)
def test_a_text_that_quotes_the_webhook_url_is_shown_without_its_token(url: str, text: str, shown: str) -> None:
    """Long pieces of the token are hidden too; the host is not a secret."""
    hidden = submit_request(webhook_url=Secret(url)).hide_in(text)
    assert "t0k3n-12" not in hidden
    assert hidden.endswith(shown)
    assert submit_request().hide_in(text) == text


# --- how far a request got ---------------------------------------------------------------------------


def test_a_change_of_sent_is_reported_before_it_takes_effect() -> None:
    """A caller that records the submit must do so before any byte leaves."""
    reported: list[tuple[bool, bool]] = []
    sending = Sending(lambda sent: reported.append((sent, sending.sent)))
    for value in (False, True, True, False, True):
        sending.mark(sent=value)
    assert reported == [(True, False), (False, True), (True, False)]
    assert sending.sent


def test_sending_works_without_a_callback() -> None:
    sending = Sending()
    assert not sending.sent
    sending.mark(sent=True)
    assert sending.sent
