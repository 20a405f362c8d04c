"""What a response says about the file, and what is recorded of a part: nothing is relied on that is not certain."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aivideomaker_async._files.versions import (
    ContentRange,
    PartMetadata,
    ResponseHead,
    Version,
    is_part_metadata,
    part_key,
)

# --- Content-Range -----------------------------------------------------------------------------------


@given(st.integers(0, 10**17), st.integers(1, 10**17), st.integers(0, 10**17))
def test_a_content_range_is_read_as_rfc_9110_writes_it(start: int, length: int, rest: int) -> None:
    stop, total = start + length, start + length + rest
    assert ContentRange.parse(f"bytes {start}-{stop - 1}/{total}") == ContentRange(start, stop, total)
    assert ContentRange.parse(f" BYTES  {start}-{stop - 1}/{total} ") == ContentRange(start, stop, total)


@given(st.integers(0, 10**6), st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_a_content_range_that_contradicts_itself_is_ignored(first: int, last: int, total: int) -> None:
    if not first <= last < total:
        assert ContentRange.parse(f"bytes {first}-{last}/{total}") is None


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "bytes", "bytes 0-1", "bytes */*", "items 0-1/2", "bytes 0-1/2/3", "bytes=0-1/2", "bytes -1-2/3"),
        *("bytes 0-1/\u0662", "bytes \u0660-1/2", f"bytes 0-1/{'9' * 19}", "bytes 0 - 1/2", "bytes 0-0/1, bytes 0-0/1"),
        # A part whose whole is unknown may not be the last one.
        *("bytes 0-1/*", "bytes */2"),
    ],
)
def test_a_malformed_content_range_is_ignored(value: str | None) -> None:
    assert ContentRange.parse(value) is None


@given(st.text())
def test_no_header_breaks_the_parsers(value: str) -> None:
    ContentRange.parse(value)
    head = ResponseHead(status=200, etag=value, content_type=value)
    Version.of(head)
    assert head.video_type is None or value.lower().startswith("video/")


# --- versions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("etag", "validator"),
    [('"v1"', '"v1"'), ('""', '""'), ('W/"v1"', None), ("v1", None), ('"a"b"', None), (None, None)],
)
def test_only_a_strong_entity_tag_identifies_a_version(etag: str | None, validator: str | None) -> None:
    """RFC 9110, 8.8.1: a weak one may stay while the bytes change."""
    assert Version.of(ResponseHead(status=200, length=5, etag=etag)) == Version(etag=validator, total=5)


@pytest.mark.parametrize(
    ("version", "etag", "total", "same"),
    [
        (Version(etag='"a"', total=5), '"a"', 5, True),
        (Version(etag='"a"', total=5), '"a"', None, True),
        (Version(etag='"a"'), '"a"', 5, True),
        (Version(etag='"a"', total=5), '"a"', 6, False),
        (Version(etag='"a"', total=5), '"b"', 5, False),
        (Version(etag='"a"', total=5), 'W/"a"', 5, False),
        (Version(etag='"a"', total=5), None, 5, False),
        (Version(total=5), None, 5, False),
    ],
)
def test_a_version_is_recognized_by_entity_tag_and_length(
    version: Version, etag: str | None, total: int | None, same: bool
) -> None:
    assert version.is_same(etag, total) is same


@pytest.mark.parametrize(
    ("content_type", "video_type"),
    [
        ("video/mp4", "video/mp4"),
        ("Video/MP4; codecs=avc1", "video/mp4"),
        ("text/html", None),
        ("video/mp4\r\nX: y", None),
        ("video/", None),
        (None, None),
    ],
)
def test_only_a_media_type_of_a_video_is_passed_on(content_type: str | None, video_type: str | None) -> None:
    """A backend that passes it on must not be made to serve pages."""
    assert ResponseHead(status=200, content_type=content_type).video_type == video_type


# --- metadata of a part ------------------------------------------------------------------------------

metadata = st.builds(
    PartMetadata,
    version=st.builds(Version, etag=st.none() | st.text(), total=st.none() | st.integers(0, 10**18)),
    size=st.integers(0, 10**18),
    sha256=st.text(),
)
GOOD = PartMetadata(version=Version(etag='"a"', total=9), size=5, sha256="0f")


@given(metadata)
def test_metadata_survives_a_round_trip_if_the_part_can_be_continued(given_metadata: PartMetadata) -> None:
    text, version = given_metadata.to_text("me"), given_metadata.version
    usable = version.etag is not None and (version.total is None or given_metadata.size <= version.total)
    assert PartMetadata.from_text(text, "me") == (given_metadata if usable else None)
    assert PartMetadata.from_text(text, "you") is None


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_malformed_metadata_is_ignored(text: str) -> None:
    """Cut short, overwritten, or made up."""
    assert PartMetadata.from_text(text, "me") is None
    good = GOOD.to_text("me")
    assert PartMetadata.from_text(good[: len(good) // 2] + text, "me") is None


@pytest.mark.parametrize(
    "change",
    [
        *({"format": 1}, {"size": -1}, {"size": True}, {"size": 2.0}, {"size": None}, {"size": 10}, {"total": "9"}),
        *({"total": -9}, {"total": True}, {"etag": 5}, {"etag": None}, {"sha256": None}),
    ],
)
def test_each_value_of_the_metadata_is_checked(change: dict[str, Any]) -> None:
    text = GOOD.to_text("me")
    assert PartMetadata.from_text(text, "me") == GOOD
    assert PartMetadata.from_text(json.dumps({**json.loads(text), **change}), "me") is None


@given(metadata, st.text(), st.integers(0))
def test_metadata_is_recognized_as_ours_even_when_cut_short(given_metadata: PartMetadata, more: str, cut: int) -> None:
    """By a full disk, followed by the rest of a longer record, or of another format."""
    text = given_metadata.to_text(part_key("https://cdn.example/a", "ck1"))
    assert is_part_metadata(text[: max(30, cut % len(text))] + more)
    assert is_part_metadata(text.replace('"format": 2', '"format": 13'))


@given(st.text() | st.dictionaries(st.text(), st.text()).map(json.dumps))
@example('{"format": "mp4", "file": "a.mp4"}')
@example('[{"format": 1, "file": "a.mp4"}]')
def test_another_file_is_not_taken_for_metadata(text: str) -> None:
    """It may be the only copy of something else."""
    assert not is_part_metadata(text)


def test_a_part_belongs_to_a_task_and_an_address_without_its_signature() -> None:
    one = part_key("https://cdn.example/v/a.mp4?sig=1", "ck1")
    assert one == part_key("HTTPS://me:pw@CDN.example/v/a.mp4?sig=2#t=5", "ck1")
    others = [
        part_key("https://cdn.example/v/A.mp4?sig=1", "ck1"),
        part_key("https://cdn2.example/v/a.mp4?sig=1", "ck1"),
        part_key("http://cdn.example/v/a.mp4?sig=1", "ck1"),
        part_key("https://cdn.example/v/a.mp4?sig=1", "ck2"),
    ]
    assert len({one, *others}) == 5
    assert "cdn" not in one, "a path may be secret"
    assert part_key("https://cdn.example/\ud800", "ck1")
