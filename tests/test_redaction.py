from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._redaction import (
    HiddenText,
    Secret,
    hide_base64,
    hide_data_uris,
    hide_urls,
    printable,
    redact,
    redact_text,
    redact_url,
    sanitize,
    shorten,
    single_line,
)
from tests.support.pictures import PNG, data_uri

URI = data_uri(PNG)


def test_a_secret_is_shown_by_nothing_but_reveal() -> None:
    """Neither by its repr and its formatted forms, nor by the attributes that a dumper walks."""
    secret = Secret("ak_topsecret")
    assert secret.reveal() == "ak_topsecret"
    shown = [repr(secret), str(secret), f"{secret}", f"{[secret]}", "%s" % secret]  # noqa: UP031
    attributes = [repr(getattr(secret, name)) for name in dir(secret) if name != "__doc__"]
    assert "topsecret" not in "".join([*shown, *attributes])


def test_a_secret_is_not_in_a_traceback_with_local_variables() -> None:
    """Crash reporters make such tracebacks."""
    secret = Secret("ak_topsecret")

    def fail(held: Secret) -> None:
        raise RuntimeError(held)

    try:
        fail(secret)
    except RuntimeError as error:
        report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "held = <secret>" in report
    assert "'ak_topsecret'" not in report.replace('Secret("ak_topsecret")', "")


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("ak_0123456789", "no ak_0123456789 here", "no <secret> here"),
        ("ak_0123456789", "ak_0123456789ak_0123456789", "<secret><secret>"),
        ("ak_0123456789", "it begins ak_012345… and ends …23456789", "it begins <secret>… and ends …<secret>"),
        ("x" * 20, "x" * 100, "<secret>"),
        ("x" * 20, "x" * 7, "x" * 7),
        ("ak_0123456789", "masked: ak_0123****6789", "masked: ak_0123****6789"),
        ("ak_0123456789", "AK_0123456789", "<secret>"),
        ("Ak_0123456789", "https://ak_0123456789.example", "https://<secret>.example"),
        ("short", "a short one, shortened, sho rt", "a <secret> one, <secret>ened, sho rt"),
        ("", "nothing is hidden", "nothing is hidden"),
        ("ak_0123456789", "", ""),
    ],
)
def test_a_known_secret_is_hidden_whole_and_in_pieces(secret: str, text: str, shown: str) -> None:
    assert Secret(secret).hide_in(text) == shown


@given(st.text("abk_01", min_size=8, max_size=20), st.text("abk_01", max_size=60))
def test_no_long_piece_of_a_known_secret_is_left(secret: str, text: str) -> None:
    left = Secret(secret).hide_in(f"{text}{secret}{text[::-1]}")
    assert not any(secret[start : start + 8] in left for start in range(len(secret) - 7))


@pytest.mark.parametrize(
    ("write", "secret"),
    [
        (copy.copy, Secret("x")),
        (copy.deepcopy, Secret("x")),
        (pickle.dumps, Secret("x")),
        (pickle.dumps, HiddenText(Secret("x"))),
    ],
)
def test_a_secret_can_be_neither_pickled_nor_copied(write: Callable[[object], object], secret: object) -> None:
    with pytest.raises(TypeError, match="a secret cannot be pickled"):
        write(secret)


def test_the_copy_of_a_hidden_text_hides_it_as_well() -> None:
    """Recorders of HTTP traffic copy the headers of each request."""
    headers = copy.deepcopy({"key": HiddenText(Secret("ak_topsecret"))})
    assert "ak_topsecret" not in repr(copy.copy(headers))
    assert copy.copy(headers["key"]) is headers["key"]
    assert headers == {"key": "ak_topsecret"}


def test_a_hidden_text_stands_for_its_secret_where_headers_are_written_and_compared() -> None:
    hidden = HiddenText(Secret("ak_topsecret"))
    assert isinstance(hidden, str)
    assert (str(hidden), hidden.encode()) == ("ak_topsecret", b"ak_topsecret")
    assert ("key: " + hidden, hidden + "\r\n") == ("key: ak_topsecret", "ak_topsecret\r\n")
    assert hidden == "ak_topsecret" and hidden == HiddenText(Secret("ak_topsecret"))
    assert hidden != "<secret>" and hidden != 5
    assert hash(hidden) == hash("ak_topsecret")


def test_a_hidden_text_shows_its_secret_nowhere_else() -> None:
    hidden = HiddenText(Secret("ak_topsecret"))
    shown = [
        repr(hidden),
        f"{hidden}",
        f"{hidden:>20}",
        f"{hidden!r}",
        hidden[:],
        hidden[2:5],
        hidden.upper(),
        f"{[hidden]}",
        *hidden,
        *hidden.partition("x"),
        repr({hidden: hidden}),
    ]
    assert "topsecret" not in "".join(shown).lower()


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc… (1 more characters)"),
        ("", 0, ""),
        ("x" * 1000, 1, "x… (999 more characters)"),
    ],
)
def test_a_long_text_is_cut_with_a_note_of_how_much_is_left_out(text: str, limit: int, short: str) -> None:
    assert shorten(text, limit) == short


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/a/b.mp4", "https://example.com/a/b.mp4"),
        ("https://example.com/a?sig=SECRET", "https://example.com/a?…"),
        ("https://example.com/a#SECRET", "https://example.com/a?…"),
        ("https://example.com/a?x#SECRET", "https://example.com/a?…"),
        ("https://example.com/a#SECRET?x", "https://example.com/a?…"),
        ("https://me:SECRET@example.com/a", "https://example.com/a"),
        ("https://me:SECRET@x@example.com/a", "https://example.com/a"),
        ("https://example.com/@handle", "https://example.com/@handle"),
        ("https://SECRET@example.com", "https://example.com"),
        ("no url at all", "no url at all"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_user_info_query_and_fragment(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_a_long_url_is_cut() -> None:
    assert len(redact_url("https://example.com/" + "x" * 10_000)) < 300


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (5, 5),
        (True, True),
        ("a prompt", "a prompt"),
        (URI, f"<data URI, {len(URI)} characters>"),
        ("\n " * 50 + URI.upper(), f"<data URI, {len(URI) + 100} characters>"),
        (f"see {URI} there", "see <data URI> there"),
        ("HTTPS://me:pw@example.com/a?SECRET", "HTTPS://example.com/a?…"),
        (" https://example.com/a?SECRET", "https://example.com/a?…"),
        (b"SECRET", "<6 bytes>"),
        (bytearray(3), "<3 bytes>"),
        (memoryview(b"abc"), "<3 bytes>"),
        ((1, [URI]), [1, [f"<data URI, {len(URI)} characters>"]]),
        (frozenset({b"x"}), ["<1 bytes>"]),
        (
            {"image": URI, URI: 1},
            {"image": f"<data URI, {len(URI)} characters>", f"<data URI, {len(URI)} characters>": 1},
        ),
        ([], []),
        ({}, {}),
    ],
)
def test_images_bytes_and_queries_of_a_value_are_replaced_at_any_depth(value: object, shown: object) -> None:
    assert redact(value) == shown


def test_the_copy_of_a_value_that_contains_itself_is_finite() -> None:
    endless: list[object] = []
    endless.append({"again": endless})
    assert len(repr(redact(endless))) < 500


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_data_uri_is_hidden_wherever_it_stands_in_a_text(before: str, after: str) -> None:
    assert "iVBORw0KGgo" not in hide_data_uris(before + URI + after)
    assert "iVBORw0KGgo" not in str(redact(before + URI + after))


def test_a_text_that_only_resembles_a_data_uri_is_unchanged() -> None:
    for text in ("data: the new oil", "data:image", "metadata:a/b and more"):
        assert hide_data_uris(text) == text


# --- foreign texts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tv_1", "tv_1"),
        ("ключ ⚡", "ключ ⚡"),
        ("a\nERROR root: all is lost", "a\\nERROR root: all is lost"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\u2028\u202e\u0085", "\\u2028\\u202e\\x85"),
        ("\ud800\U000e0001", "\\ud800\\U000e0001"),
        ("", ""),
    ],
)
def test_a_foreign_text_is_shown_on_one_line_without_control_characters(text: str, shown: str) -> None:
    assert printable(text) == single_line(text) == shown


@given(st.text(st.characters(), max_size=300), st.integers(0, 250))
def test_any_foreign_text_becomes_printable_and_short(text: str, limit: int) -> None:
    """It is cut before it is escaped."""
    for shown in (printable(text), single_line(text, limit), sanitize(text, limit)):
        assert shown.isprintable()
        shown.encode()
    assert len(single_line(text, limit)) <= 10 * limit + 40


def test_a_message_of_the_service_is_cut_and_shows_no_image() -> None:
    assert sanitize("  two\n  lines ") == "two lines"
    assert sanitize(f"bad: {data_uri(PNG * 1000)}, and more") == "bad: <data URI>"
    assert len(sanitize("word " * 10**6)) < 550
    assert sanitize(" \n ") == ""


@pytest.mark.parametrize(
    "value",
    [
        [[]] * 10**5,
        {str(number): number for number in range(10**5)},
        {"x" * 1000 + str(number): number for number in range(10**5)},
        [["x" * 10**6] * 100] * 100,
        [{"a": [{"b": ["c"] * 50}] * 50}] * 50,
        {frozenset({1}): 5, (1, 2): 6},
        set(range(10**5)),
        [10**4000, -(10**4000)] * 1000,
    ],
    ids=range(8),
)
def test_the_copy_of_any_value_is_small(value: object) -> None:
    """It is made at once, since the items that are left out are not visited."""
    assert len(repr(redact(value))) < 60_000


def test_items_that_are_left_out_are_counted() -> None:
    assert redact(list(range(1000))) == [*range(200), "… (800 more)"]
    shown = redact({number: number for number in range(1000)})
    assert isinstance(shown, dict)
    assert len(shown) == 201
    assert shown["…"] == "(800 more)"
    assert redact([10**40, 10**39, -(10**40)]) == ["<a number of 133 bits>", 10**39, "<a number of 133 bits>"]


# --- secrets by their form ---------------------------------------------------------------------------

KEY = "ak_Zq7Lw0Xv3Rt9Mb5Kd1Hs"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot load https://b.example/a.png?sig=SECRET now", "cannot load https://b.example/… now"),
        ("to https://me.example:8080/hooks/SECRET, twice", "to https://me.example:8080/… twice"),
        ('{"url":"https://me:SECRET@b.example/SECRET"}', '{"url":"https://b.example/…"}'),
        ("<a href='HTTP://b.example?SECRET'>", "<a href='HTTP://b.example/…'>"),
        ("https://b.example#SECRET", "https://b.example/…"),
        ("s3://bucket/key?sig=SECRET gs://b/SECRET", "s3://bucket/… gs://b/…"),
        ("GET /a.png?x=1&sig=SECRET failed", "GET /a.png?… failed"),
        ("b.example/a.png?a?sig=SECRET", "b.example/a.png?a?…"),
        ("see https://aivideomaker.ai and https://b.example/", "see https://aivideomaker.ai and https://b.example/"),
        ("why? a=b, c://, 1:1, C:/x", "why? a=b, c://, 1:1, C:/x"),
    ],
)
def test_a_url_in_a_text_is_cut_down_to_its_host(text: str, shown: str) -> None:
    """The path may be a token of a webhook, the query a signature."""
    assert hide_urls(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the key {KEY} is wrong", "the key <secret> is wrong"),
        (f"key={KEY},", "key=<secret>,"),
        (f"{KEY.upper()}_{KEY}", "<secret>"),
        ("ak_0123… and ak_ and peak_performance", "ak_0123… and ak_ and peak_performance"),
        (f"{URI} of https://b.example/a?b", "<data URI> of https://b.example/…"),
    ],
)
def test_keys_images_and_urls_in_a_text_are_hidden(text: str, shown: str) -> None:
    """Keys are recognized by their form."""
    assert redact_text(text) == sanitize(text) == shown


def test_a_data_uri_in_lines_or_without_a_type_is_hidden() -> None:
    """Many encoders break base64 into lines."""
    lines = "\n".join(URI[start : start + 76] for start in range(0, len(URI), 76))
    assert len(lines.splitlines()) > 1
    assert hide_data_uris(f"see {lines.rstrip()} there").startswith("see <data URI>")
    assert len(hide_data_uris(lines)) < 60
    assert hide_data_uris("data:;base64,iVBORw0KGgo") == "<data URI>"


@pytest.mark.parametrize(
    ("name", "is_shown"),
    [
        ("webhookUrl", False),
        ("WEBHOOK_URL", False),
        ("callback", False),
        ("key", False),
        ("apiKey", False),
        ("x-api-key", False),
        ("accessToken", False),
        ("client_secret", False),
        ("Authorization", False),
        ("idempotencyKey", True),
        ("keyframes", True),
        ("prompt", True),
    ],
)
def test_a_field_with_the_name_of_a_secret_is_hidden(name: str, is_shown: bool) -> None:
    """Texts and containers, at any depth; numbers are not secrets."""
    for value in ("opensesame", ["opensesame"], {"a": "opensesame"}, b"opensesame"):
        for shown in (redact({name: value}), redact([{"deep": {name: value}}])):
            assert ("<secret>" in repr(shown)) is not is_shown
            assert ("opensesame" in repr(shown)) is (is_shown and value != b"opensesame")
    assert redact({name: 5, "x": {name: None}}) == {name: 5, "x": {name: None}}
    assert redact({name: ""}) == {name: ""}


def test_a_value_that_is_a_url_keeps_its_path() -> None:
    """The path shows which file is meant. A URL inside a longer text is cut down to its host."""
    assert redact("https://b.example/a.png?sig=SECRET") == "https://b.example/a.png?…"
    assert redact("s3://b/a.png?sig=SECRET") == "s3://b/a.png?…"
    assert redact("https://b.example/a?SECRET is gone") == "https://b.example/… is gone"
    assert redact(f"https://b.example/{KEY}/a") == "https://b.example/<secret>/a"


def test_a_text_that_looks_like_base64_is_replaced_by_its_length() -> None:
    """It is long, and has letters of both cases and digits."""
    encoded = URI.partition(",")[2]
    assert hide_base64(f"not {encoded} here") == f"not <{len(encoded)} characters> here"
    paths = ("/home/somebody/videos/of/last/summer/holidays", "/Users/Anna/Pictures/2026/Holidays/Summer/IMG1234.png")
    for text in (*paths, "A" * 50, "0123456789abcdef" * 4, "aB1" * 9):
        assert hide_base64(text) == text


@pytest.mark.parametrize("text", ["a1" * 10**5, "?" * 10**5, "data:" * 10**5, "x://" * 10**5, "data:," + "a " * 10**5])
def test_redaction_takes_linear_time(text: str) -> None:
    """With quadratic patterns, each of these texts would take minutes."""
    hide_base64(redact_text(text))
