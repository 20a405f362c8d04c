from __future__ import annotations

from math import inf, nan
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from aivideomaker_async import ConfigurationError
from aivideomaker_async._redaction import Secret
from aivideomaker_async._util import validation as _checks
from aivideomaker_async._util.base_url import base_url, service_url

HUGE = pytest.param(10**400, id="huge")


@pytest.mark.parametrize("value", [1, 2, 60, HUGE])
def test_a_count_is_a_whole_number_from_one(value: int) -> None:
    """And comes back as it was."""
    assert _checks.count("limit", value) == value


@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, "5", None, nan, inf, [1]])
def test_no_other_count_is_taken(value: object) -> None:
    """The message names the argument and the value."""
    with pytest.raises(ConfigurationError) as caught:
        _checks.count("limit", value)
    assert str(caught.value) == f"limit={value!r}: must be a whole number, 1 or more"


@pytest.mark.parametrize("value", [0.001, 1, 30.0, 1e9])
def test_seconds_are_more_than_nothing(value: float) -> None:
    """And come back as a float."""
    assert _checks.seconds("timeout", value) == value
    assert type(_checks.seconds("timeout", value)) is float


@pytest.mark.parametrize("value", [0, -1, -0.0, nan, inf, -inf, True, "30", None, HUGE])
def test_no_other_seconds_are_taken(value: object) -> None:
    """Nor endless ones; the message names the argument and the value."""
    with pytest.raises(ConfigurationError) as caught:
        _checks.seconds("timeout", value)
    assert str(caught.value) == f"timeout={value!r}: must be seconds, more than 0"


@pytest.mark.parametrize("value", [0, 0.0, 1, 3600.0, inf])
def test_a_wait_may_be_nothing_or_endless(value: float) -> None:
    """And comes back as a float."""
    assert _checks.seconds_or_inf("timeout", value) == value
    assert type(_checks.seconds_or_inf("timeout", value)) is float


@pytest.mark.parametrize("value", [-1, -inf, nan, True, "30", None, HUGE])
def test_no_other_wait_is_taken(value: object) -> None:
    """The message names the argument, the value and the way to wait for ever."""
    with pytest.raises(ConfigurationError) as caught:
        _checks.seconds_or_inf("timeout", value)
    assert str(caught.value) == f"timeout={value!r}: must be seconds, 0 or more (math.inf for no limit)"


@pytest.mark.parametrize("value", ["ak_123", "  ak_123\n", "x", "!~#"])
def test_a_key_is_taken_without_the_space_around_it(value: str) -> None:
    """As it comes out of a file or a shell; it is a secret from here on."""
    secret = _checks.api_key(Secret(value))
    assert secret.reveal() == value.strip()
    assert value.strip() not in repr(secret)


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_no_key_is_told_with_the_ways_to_give_one(value: str | None) -> None:
    """The argument, the variable of the environment and the page."""
    with pytest.raises(ConfigurationError, match=r"api_key=.*AIVIDEO_API_KEY.*https://aivideomaker\.ai"):
        _checks.api_key(None if value is None else Secret(value))


@pytest.mark.parametrize(
    "value", ["ak_SECRET 1", "ak_SECRET\r\nx: y", "ak_SECRETключ", "ak_SECRET\x00", "ak_\tSECRET", 5, b"ak_SECRET"]
)
def test_a_key_that_cannot_be_one_is_not_shown(value: Any) -> None:
    """It may be right but for one character."""
    with pytest.raises(ConfigurationError) as caught:
        _checks.api_key(Secret(value))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("value", [b"ak_SECRET", ["ak_SECRET"], 5, False])
def test_a_key_that_is_no_text_is_told_by_its_type(value: Any) -> None:
    """Which is not the same as none."""
    with pytest.raises(ConfigurationError) as caught:
        _checks.api_key(Secret(value))
    assert str(caught.value) == f"api_key: must be a text, not {type(value).__name__}"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://aivideomaker.ai", "https://aivideomaker.ai"),
        ("https://aivideomaker.ai/", "https://aivideomaker.ai"),
        (" http://localhost:8080/proxy/ \n", "http://localhost:8080/proxy"),
        ("http://[::1]:9", "http://[::1]:9"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("https://пример.рф/путь", "https://xn--e1afmkfd.xn--p1ai/%D0%BF%D1%83%D1%82%D1%8C"),
        ("https://xn--e1afmkfd.xn--p1ai", "https://xn--e1afmkfd.xn--p1ai"),
        ("https://a\u3002b", "https://a.b"),
        ("http://my_service:80", "http://my_service:80"),
        ("http://[fe80::1%25eth0]:80", "http://[fe80::1%25eth0]:80"),
        ("HTTPS://Example.COM./A%20b;c", "HTTPS://Example.COM./A%20b;c"),
    ],
)
def test_a_base_url_is_a_host_and_perhaps_a_path(value: str, url: str) -> None:
    """Without a slash at the end, and in the letters in which it travels."""
    assert base_url(value) == url


@pytest.mark.parametrize(
    "value",
    [
        "",
        "aivideomaker.ai",
        "ftp://aivideomaker.ai",
        "https://",
        "https:///path",
        "https://me:SECRET@aivideomaker.ai",
        "https://@aivideomaker.ai",
        "https://aivideomaker.ai?key=SECRET",
        "https://aivideomaker.ai?",
        "https://aivideomaker.ai/#",
        "https://aivideomaker.ai#SECRET",
        "https://aivideomaker.ai:0",
        "https://aivideomaker.ai:99999",
        "https://aivideomaker.ai:http",
        "https://[::1",
        "https://[::1].example",
        "http://[::1].evil.example",
        "https://[::1]x",
        "https://[v1.SECRET]",
        "https://[1:2]",
        "https://aivideomaker.ai\\",
        "http://evil.example\\.localhost",
        "http://evil.example%2f.localhost",
        "http://evil.example;.localhost",
        "http://evil.example,localhost",
        "http://.localhost",
        "https://a..b",
        "https://xn--a",
        "https://ai video.ai",
        "https://aivideomaker.ai\r\nkey: SECRET",
        "https://aivideo\tmaker.ai",
        "\x01https://aivideomaker.ai",
        "https://aivideomaker.ai/\x7f",
        5,
        None,
        b"https://aivideomaker.ai",
    ],
)
def test_no_other_base_url_is_taken_or_shown(value: Any) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError, match=r"base_url: must be http\(s\)://host") as caught:
        base_url(value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost.",
        "127.0.0.1",
        "127.255.0.9",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_a_key_may_go_unencrypted_to_this_machine(host: str) -> None:
    """Nobody listens on that way."""
    url = f"http://{host}:8080/base"
    assert service_url(url, allow_http=False) == url


@pytest.mark.parametrize(
    "host",
    [
        "aivideomaker.ai",
        "localhost.example",
        "service.localhost",
        "notlocalhost",
        "127.0.0.1.example",
        "0.0.0.0",  # noqa: S104  (a host to ask, not to serve)
        "10.0.0.1",
        "2130706433",
        "127.1",
        "[::]",
        "[::ffff:10.0.0.1]",
        "[fe80::1]",
    ],
)
def test_a_key_goes_unencrypted_to_another_machine_only_where_that_is_allowed(host: str) -> None:
    """The message says what would happen, and both ways out."""
    url = f"http://{host}"
    with pytest.raises(ConfigurationError, match=r"unencrypted to .*https://.*allow_http=True.*--allow-http") as caught:
        service_url(url, allow_http=False)
    assert host.strip("[]") in str(caught.value)
    assert service_url(url, allow_http=True) == url
    assert service_url(url.replace("http", "https"), allow_http=False).startswith("https://")


def test_what_is_no_base_url_is_none_of_a_service() -> None:
    """Whatever is allowed."""
    with pytest.raises(ConfigurationError, match="must be http"):
        service_url("ftp://localhost", allow_http=True)


@given(st.text())
def test_any_text_is_a_base_url_or_refused(value: str) -> None:
    """Never another error."""
    for text in (value, "https://" + value, "https://host/" + value):
        try:
            url = base_url(text)
        except ConfigurationError:
            continue
        assert url.isascii() and not set(url) & set(" ?#\r\n\t")
        assert (URL(url + "/api/v1/tasks", encoded=True).raw_host or "").lower() == urlsplit(url).hostname
