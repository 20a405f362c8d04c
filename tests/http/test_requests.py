from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import ConfigurationError
from aivideomaker_async._http import requests
from aivideomaker_async._http.requests import Kind, Request
from aivideomaker_async._redaction import Secret
from aivideomaker_async._submits import Body

EMPTY = Body((b"{}",))


# --- calls -------------------------------------------------------------------------------------------

CALLS: list[tuple[Request[Any], str, str, Kind, str]] = [
    (requests.list_tasks(), "GET", "/api/v1/tasks", Kind.QUERY, "endpoint"),
    (requests.get_task("tv_1"), "GET", "/api/v1/tasks/tv_1", Kind.QUERY, "task"),
    (requests.get_status("tv_1"), "GET", "/api/v1/tasks/tv_1/status", Kind.QUERY, "task"),
    (requests.cancel_task("tv_1"), "PUT", "/api/v1/tasks/tv_1/cancel", Kind.COMMAND, "task"),
    (requests.get_account(), "GET", "/api/v1/account", Kind.QUERY, "endpoint"),
    (requests.quote_price("t2v", EMPTY), "POST", "/api/v1/quote/t2v", Kind.COMMAND, "endpoint"),
    (
        requests.generate("t2v", EMPTY, idempotency_key="12345678", webhook_url=None, max_credits=None),
        "POST",
        "/api/v1/generate/t2v",
        Kind.SUBMIT,
        "endpoint",
    ),
]


@pytest.mark.parametrize(("request_", "method", "path", "kind", "missing"), CALLS)
def test_each_call_is_the_documented_one(
    request_: Request[Any], method: str, path: str, kind: Kind, missing: str
) -> None:
    """Queries count against the limit, commands do not, and only a submit costs money."""
    assert (request_.method, request_.path, request_.kind, request_.missing) == (method, path, kind, missing)
    assert (request_.body is None) is (method != "POST")


HOSTILE = [
    "../x?y",
    "../../account",
    "a/b",
    "a?b=c#d",
    "%2e%2e",
    "%2F",
    "a b\r\nkey: stolen",
    "ключ",
    "タスク",
    "💥",
    ";@&=+$,",
    "..\\..",
    "\x00",
    "x" * 10_240,
]
MADE_OF_AN_ID: list[Callable[[str], Request[Any]]] = [requests.get_task, requests.get_status, requests.cancel_task]


@pytest.mark.parametrize("make", MADE_OF_AN_ID)
@pytest.mark.parametrize("task_id", HOSTILE)
def test_a_hostile_id_stays_one_segment_of_the_path(make: Callable[[str], Request[Any]], task_id: str) -> None:
    """It leads to no other endpoint, adds no query and breaks no line; and the service reads it back unchanged."""
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
    """Never anything else."""
    try:
        path = requests.get_task(task_id).path
    except ConfigurationError:
        assert task_id in {".", ".."} or any("\ud800" <= letter <= "\udfff" for letter in task_id)
    else:
        assert unquote(path.removeprefix("/api/v1/tasks/")) == task_id
        assert path.count("/") == 4


@pytest.mark.parametrize("make", MADE_OF_AN_ID)
@pytest.mark.parametrize("task_id", ["", ".", "..", "\ud800", None, 17, b"tv_1", ["tv_1"]])
def test_what_can_be_no_id_is_refused(make: Callable[[Any], Request[Any]], task_id: object) -> None:
    """Dots are steps in a path, quoted or not; the message names the argument and the value."""
    with pytest.raises(ConfigurationError, match="task_id=") as caught:
        make(task_id)
    assert repr(task_id) in str(caught.value)


@pytest.mark.parametrize("model", ["a/../b", "../account", "x?y", "模型"])
def test_a_model_s_name_stays_one_segment_of_the_path(model: str) -> None:
    """Names of models come from users too."""
    submit = requests.generate(model, EMPTY, idempotency_key="12345678", webhook_url=None, max_credits=None)
    for path in (submit.path, requests.quote_price(model, EMPTY).path):
        assert path.count("/") == 4
        assert unquote(path.rpartition("/")[2]) == model


# --- headers of a submit -----------------------------------------------------------------------------


def headers(**arguments: Any) -> Mapping[str, str]:
    usual = {"idempotency_key": "12345678", "webhook_url": None, "max_credits": None}
    request = requests.generate("t2v", EMPTY, **{**usual, **arguments})
    return {**request.headers, **{name: secret.reveal() for name, secret in request.secrets.items()}}


def test_a_submit_has_the_documented_headers() -> None:
    """The key always, the others where they were asked for; 0 credits is a limit, not none."""
    assert headers() == {"Idempotency-Key": "12345678"}
    assert headers(webhook_url=Secret("https://me.example/hook?token=1"), max_credits=0) == {
        "Idempotency-Key": "12345678",
        "webhookUrl": "https://me.example/hook?token=1",
        "X-Max-Credits": "0",
    }


@pytest.mark.parametrize("key", ["x" * 8, "x" * 128, "order 17 / part 2", "!#$%&'~~"])
def test_a_key_of_8_to_128_printable_characters_travels(key: str) -> None:
    """As it is."""
    assert headers(idempotency_key=key)["Idempotency-Key"] == key


@pytest.mark.parametrize(
    "key", ["x" * 7, "x" * 129, "", " 12345678", "12345678 ", "1234\r\n5678", "12345678\n", "ключключ", None, 12345678]
)
def test_any_other_key_is_refused(key: object) -> None:
    """Before anything is sent; the message names the argument and the value."""
    with pytest.raises(ConfigurationError, match=r"idempotency_key=.*8 to 128") as caught:
        headers(idempotency_key=key)
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
def test_a_webhook_that_can_be_no_url_is_refused_and_not_shown(url: Any) -> None:
    """A webhook's URL may hold a token, so no message repeats it."""
    with pytest.raises(ConfigurationError, match=r"webhook_url: must be an http\(s\) URL") as caught:
        headers(webhook_url=Secret(url))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("credits_", [-1, 1.5, 10.0, True, "10", float("nan")])
def test_a_budget_that_is_no_number_of_credits_is_refused(credits_: object) -> None:
    """Whole, 0 or more; the message names the argument and the value."""
    with pytest.raises(ConfigurationError, match="max_credits=") as caught:
        headers(max_credits=credits_)
    assert repr(credits_) in str(caught.value)


def test_no_repr_of_a_request_shows_headers_or_body() -> None:
    """They may hold a token or an image."""
    request = requests.generate(
        "t2v",
        Body((b"SECRET",)),
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
def test_a_text_that_tells_of_a_webhook_tells_no_token(url: str, text: str, shown: str) -> None:
    """Nor long pieces of it; the host is known to everybody."""
    arguments: dict[str, Any] = {"idempotency_key": "12345678", "max_credits": None}
    request = requests.generate("t2v", EMPTY, webhook_url=Secret(url), **arguments)
    hidden = request.hide_in(text)
    assert "t0k3n-12" not in hidden
    assert hidden.endswith(shown)
    assert requests.generate("t2v", EMPTY, webhook_url=None, **arguments).hide_in(text) == text
