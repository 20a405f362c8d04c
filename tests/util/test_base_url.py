from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from aivideomaker_async import ConfigurationError
from aivideomaker_async._redaction import Secret
from aivideomaker_async._util.base_url import base_url, has_api_path_in, is_loopback, service_url


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
    """It is returned in ASCII and without a trailing slash."""
    assert base_url(Secret(value)) == url


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
def test_any_other_base_url_is_refused_and_not_shown(value: Any) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError, match=r"base_url: must be http\(s\)://host") as caught:
        base_url(Secret(value))
    assert "SECRET" not in str(caught.value)


THIS_MACHINE = [
    "localhost",
    "LocalHost.",
    "127.0.0.1",
    "127.255.0.9",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
]
OTHER_MACHINES = [
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
]


@pytest.mark.parametrize("host", [*THIS_MACHINE, *OTHER_MACHINES])
def test_only_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host.strip("[]")) is (host in THIS_MACHINE)


@pytest.mark.parametrize("host", THIS_MACHINE)
def test_a_key_may_go_unencrypted_to_this_machine(host: str) -> None:
    url = f"http://{host}:8080/base"
    assert service_url(Secret(url), allow_http=False) == url


@pytest.mark.parametrize("host", OTHER_MACHINES)
def test_a_key_goes_unencrypted_to_another_machine_only_where_that_is_allowed(host: str) -> None:
    """The message says what would happen, and both ways out."""
    url = f"http://{host}"
    with pytest.raises(ConfigurationError, match=r"unencrypted to .*https://.*allow_http=True.*--allow-http") as caught:
        service_url(Secret(url), allow_http=False)
    assert host.strip("[]") in str(caught.value)
    assert service_url(Secret(url), allow_http=True) == url
    assert service_url(Secret(url.replace("http", "https")), allow_http=False).startswith("https://")


def test_the_url_of_a_service_must_be_a_base_url_whatever_is_allowed() -> None:
    with pytest.raises(ConfigurationError, match="must be http"):
        service_url(Secret("ftp://localhost"), allow_http=True)


@given(st.text())
def test_any_text_is_a_base_url_or_refused(value: str) -> None:
    """What is accepted is read alike by both parsers that see it."""
    for text in (value, "https://" + value, "https://host/" + value):
        try:
            url = base_url(Secret(text))
        except ConfigurationError:
            continue
        assert url.isascii() and not set(url) & set(" ?#\r\n\t")
        assert (URL(url + "/api/v1/tasks", encoded=True).raw_host or "").lower() == urlsplit(url).hostname


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/", "/base/api/v1"])
def test_the_path_of_the_api_is_left_out_of_a_base_url(path: str) -> None:
    """The documents show it behind the host, and each request adds it."""
    url = Secret(f"https://example.com{path}")
    assert service_url(url, allow_http=False) == f"https://example.com{path.partition('/api/v1')[0]}"
    assert has_api_path_in(url)
    assert not has_api_path_in(Secret("https://example.com/api"))
