"""What an answer tells of a file, and what is noted of it: nothing is relied on that was not surely told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from aivideomaker_async._files.versions import Begun, ContentRange, Head, Version, identify, is_note

MONDAY, LATER = "Mon, 02 Mar 2026 08:00:00 GMT", "Mon, 02 Mar 2026 08:00:01 GMT"
TUESDAY = "Tue, 03 Mar 2026 08:00:00 GMT"


def told(start: int | None, stop: int | None, total: int | None) -> ContentRange:
    return ContentRange(start=start, stop=stop, total=total)


@given(st.integers(0, 10**17), st.integers(1, 10**17), st.integers(0, 10**17))
def test_a_range_is_read_as_it_is_written(start: int, length: int, rest: int) -> None:
    """First and last byte and the length of the whole, as RFC 9110 has them."""
    stop, total = start + length, start + length + rest
    assert ContentRange.parse(f"bytes {start}-{stop - 1}/{total}") == told(start, stop, total)
    assert ContentRange.parse(f" BYTES  {start}-{stop - 1}/* ") == told(start, stop, None)
    assert ContentRange.parse(f"bytes */{total}") == told(None, None, total)


@given(st.integers(0, 10**6), st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_a_range_that_cannot_be_is_none(first: int, last: int, total: int) -> None:
    """It ends before it begins, or after the file."""
    if not first <= last < total:
        assert ContentRange.parse(f"bytes {first}-{last}/{total}") is None


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "bytes", "bytes 0-1", "bytes */*", "items 0-1/2", "bytes 0-1/2/3", "bytes=0-1/2", "bytes -1-2/3"),
        *("bytes 0-1/\u0662", "bytes \u0660-1/2", f"bytes 0-1/{'9' * 19}", "bytes 0 - 1/2", "bytes 0-0/1, bytes 0-0/1"),
    ],
)
def test_what_is_no_range_is_none(value: str | None) -> None:
    """Also in digits that Python would take, and of a length that is no number of bytes."""
    assert ContentRange.parse(value) is None


@given(st.text())
def test_no_header_breaks_the_reading(value: str) -> None:
    """A server may send anything."""
    ContentRange.parse(value)
    Version.of(Head(status=200, etag=value, last_modified=value, date=value, content_type=value))


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"v1"', "last_modified": MONDAY, "date": TUESDAY}, '"v1"'),
        ({"etag": '""'}, '""'),
        ({"etag": 'W/"v1"'}, None),
        ({"etag": "v1"}, None),
        ({"etag": '"a"b"'}, None),
        ({"etag": 'W/"v1"', "last_modified": MONDAY, "date": LATER}, MONDAY),
        ({"last_modified": MONDAY, "date": LATER}, MONDAY),
        ({"last_modified": MONDAY, "date": MONDAY}, None),
        ({"last_modified": MONDAY}, None),
        ({"last_modified": "yesterday", "date": TUESDAY}, None),
        ({}, None),
    ],
)
def test_only_strong_validators_count(headers: dict[str, Any], validator: str | None) -> None:
    """RFC 9110, 8.8.1 and 8.8.2.2: what is weak may stay while the bytes change."""
    version = Version.of(Head(status=200, length=5, **headers))
    assert version.validator == validator
    assert version.total == 5


def test_a_version_is_known_again_by_validator_and_length() -> None:
    """And what has no validator is never known again."""
    by_tag, by_date = Version(etag='"a"', total=5), Version(last_modified=MONDAY)
    both = Version(etag='"a"', last_modified=MONDAY)
    assert by_tag.is_surely(by_tag, 5)
    assert by_tag.is_surely(both, None)
    assert both.is_surely(by_tag, 5)
    assert by_date.is_surely(Version(last_modified=MONDAY), 5)
    for other, total in ((Version(etag='"b"'), 5), (by_tag, 6), (by_date, 5), (Version(), 5)):
        assert not by_tag.is_surely(other, total)
    assert not both.is_surely(Version(etag='"a"', last_modified=TUESDAY), 5)
    assert not Version(total=5).is_surely(Version(total=5), 5)


@pytest.mark.parametrize(
    ("version", "headers", "may_be"),
    [
        (Version(etag='"a"', total=5), {"etag": '"a"', "last_modified": TUESDAY}, True),
        (Version(etag='"a"', total=5), {}, True),
        (Version(etag='"a"', total=5), {"etag": '"b"'}, False),
        (Version(etag='"a"', total=5), {"etag": 'W/"a"'}, False),
        (Version(etag='"a"', total=6), {"etag": '"a"'}, False),
        (Version(last_modified=MONDAY), {"last_modified": MONDAY, "etag": '"x"'}, True),
        (Version(last_modified=MONDAY), {"last_modified": TUESDAY}, False),
        (Version(etag='W/"a"', last_modified=MONDAY), {"last_modified": MONDAY, "etag": 'W/"b"'}, False),
        (Version(etag='"a"', last_modified=MONDAY), {"last_modified": TUESDAY}, False),
        (Version(etag='"a"', last_modified=MONDAY), {"last_modified": TUESDAY, "etag": '"a"'}, False),
    ],
)
def test_an_answer_must_not_contradict(version: Version, headers: dict[str, Any], may_be: bool) -> None:
    """Whatever it tells of itself agrees with what is known. To be surely the same, it must tell the validator."""
    head = Head(status=206, **headers)
    assert version.may_be(head, 5) is may_be
    assert version.is_surely(head, 5) is (may_be and version.validator in {head.etag, head.last_modified})


@pytest.mark.parametrize("sent", [MONDAY, LATER])
def test_a_date_beside_an_etag_is_kept_for_comparison(sent: str) -> None:
    """It need not be a validator for that. Beside a weak one, or alone, it must be strong."""
    for etag, kept in (('"v1"', MONDAY), ('W/"v1"', MONDAY if sent == LATER else None)):
        version = Version.of(Head(status=200, etag=etag, last_modified=MONDAY, date=sent))
        assert (version.etag, version.last_modified) == (etag, kept)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("video/mp4", "video/mp4"),
        ("Video/MP4; codecs=avc1", "video/mp4"),
        ("text/html", None),
        ("video/mp4\r\nX: y", None),
        ("video/", None),
        (None, None),
    ],
)
def test_only_a_type_of_a_video_is_one(told: str | None, kind: str | None) -> None:
    """A backend that passes it on must not be made to serve pages."""
    assert Head(status=200, content_type=told).video_type == kind


# --- notes -------------------------------------------------------------------------------------------

versions = st.builds(
    Version, etag=st.none() | st.text(), last_modified=st.none() | st.text(), total=st.none() | st.integers(0, 10**18)
)


@given(versions, st.integers(0, 10**18))
def test_a_note_is_read_as_it_was_written(version: Version, size: int) -> None:
    """If it can be of use: by a validator, and with no more bytes than the file has."""
    begun = Begun(version=version, size=size)
    text = begun.to_text("me")
    useful = bool(version.validator) and (version.total is None or size <= version.total)
    assert Begun.from_text(text, "me") == (begun if useful else None)
    assert Begun.from_text(text, "you") is None


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_a_note_that_is_broken_is_none(text: str) -> None:
    """Cut short, overwritten, or made up."""
    assert Begun.from_text(text, "me") is None
    good = Begun(version=Version(etag='"a"', total=9), size=5).to_text("me")
    assert Begun.from_text(good[: len(good) // 2] + text, "me") is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"size": -1},
        {"size": True},
        {"size": 2.0},
        {"size": None},
        {"size": 10},
        {"total": "9"},
        {"total": -9},
        {"etag": 5},
        {"last_modified": ["x"]},
        {"etag": None},
    ],
)
def test_a_note_of_wrong_values_is_none(change: dict[str, Any]) -> None:
    """Each is checked."""
    good = Begun(version=Version(etag='"a"', total=9), size=5).to_text("me")
    assert Begun.from_text(good, "me") is not None
    assert Begun.from_text(json.dumps({**json.loads(good), **change}), "me") is None


@given(versions, st.integers(0, 10**18), st.text(), st.integers(0))
def test_a_note_is_known_for_one_also_in_pieces(version: Version, size: int, more: str, cut: int) -> None:
    """Of whichever file and format it is, cut short by a full disk or followed by the rest of another."""
    text = Begun(version=version, size=size).to_text(identify("https://cdn.example/a", "ck1"))
    assert is_note(text[: max(30, cut % len(text))] + more)
    assert is_note(text.replace('"format": 1', '"format": 12'))


@given(st.text() | st.dictionaries(st.text(), st.text()).map(json.dumps))
@example('{"format": "mp4", "file": "a.mp4"}')
@example('[{"format": 1, "file": "a.mp4"}]')
def test_what_is_no_note_is_not_taken_for_one(text: str) -> None:
    """It is somebody's, and may be the only copy."""
    assert not is_note(text)


def test_a_file_is_the_same_under_another_signature() -> None:
    """User, query and fragment may change between two downloads; host, path and task may not."""
    one = identify("https://cdn.example/v/a.mp4?sig=1", "ck1")
    assert one == identify("HTTPS://me:pw@CDN.example/v/a.mp4?sig=2#t=5", "ck1")
    others = [
        identify("https://cdn.example/v/A.mp4?sig=1", "ck1"),
        identify("https://cdn2.example/v/a.mp4?sig=1", "ck1"),
        identify("http://cdn.example/v/a.mp4?sig=1", "ck1"),
        identify("https://cdn.example/v/a.mp4?sig=1", "ck2"),
    ]
    assert len({one, *others}) == 5
    assert "cdn" not in one
    assert identify("https://cdn.example/\ud800", "ck1")


def test_a_head_tells_nothing_that_it_was_not_told() -> None:
    """All is unknown at first."""
    assert evolve(Head(status=200)) == Head(status=200)
    assert Version.of(Head(status=200)) == Version()
