"""Several responses, one file: it is one version in the end, or none; never a mix.

Nothing is relied on that is not certain, in a response or in what is recorded of a part.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aivideomaker_async._files.resume import (
    PROGRESS_BYTES,
    Changed,
    ContentRange,
    DownloadRetries,
    PartMetadata,
    ResponseHead,
    Transfer,
    Unusable,
    Version,
    is_part_metadata,
    part_key,
)

FILE, OTHER = b"0123456789", b"abcdefghij"
MAX = 1000


# --- Content-Range -----------------------------------------------------------------------------------


@given(st.integers(0, 10**17), st.integers(1, 10**17), st.integers(0, 10**17))
def test_a_content_range_is_read_as_rfc_9110_writes_it(start: int, length: int, rest: int) -> None:
    stop, total = start + length, start + length + rest
    assert ContentRange.parse(f"bytes {start}-{stop - 1}/{total}") == ContentRange(start, stop, total)
    assert ContentRange.parse(f" BYTES  {start}-{stop - 1}/{total} ") == ContentRange(start, stop, total)


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "bytes", "bytes 0-1", "bytes */*", "items 0-1/2", "bytes 0-1/2/3", "bytes=0-1/2", "bytes -1-2/3"),
        *("bytes 0-1/\u0662", "bytes \u0660-1/2", f"bytes 0-1/{'9' * 19}", "bytes 0 - 1/2", "bytes 0-0/1, bytes 0-0/1"),
        # These contradict themselves.
        *("bytes 2-1/3", "bytes 0-2/2", "bytes 0-0/0", "bytes 5-6/3"),
        # A part whose whole is unknown may not be the last one.
        *("bytes 0-1/*", "bytes */2"),
    ],
)
def test_a_content_range_that_is_malformed_is_ignored(value: str | None) -> None:
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


# --- one file from several responses -----------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """A head, and as much of the body as arrives."""

    head: ResponseHead
    body: bytes
    ends: bool = True
    """Whether the body ends by the rules of HTTP, and not by a broken connection."""


def whole(
    content: bytes = FILE, etag: str | None = '"v1"', *, cut: int | None = None, chunked: bool = False
) -> Response:
    head = ResponseHead(status=200, length=None if chunked else len(content), etag=etag)
    return Response(head, content[:cut], ends=cut is None)


def rest(
    start: int, stop: int = 10, total: int = 10, etag: str | None = '"v1"', *, content: bytes = FILE, ends: bool = True
) -> Response:
    content_range = ContentRange(start, stop, total)
    head = ResponseHead(status=206, length=stop - start, content_range=content_range, etag=etag)
    return Response(head, content[start:stop], ends)


def play(transfer: Transfer, responses: list[Response], got: bytes = b"") -> tuple[bytes, list[int | None]]:
    """Return the bytes that the responses bring, and the first byte that each request asks for."""
    asked: list[int | None] = []
    for response in responses:
        assert not transfer.is_whole
        assert transfer.can_retry
        headers = transfer.request_headers()
        assert set(headers) in (set(), {"Range", "If-Range"})
        asked.append(int(headers["Range"][6:-1]) if headers else None)
        if not transfer.accept(response.head):
            continue
        for byte in response.body:
            if new := transfer.receive(bytes([byte])):
                got = new if transfer.position == len(new) else got + new
        if response.ends:
            transfer.end_body()
    assert transfer.position == len(got)
    return got, asked


CUT = whole(cut=4)
MISFITS = {
    "of another version": rest(4, etag='"v2"', content=OTHER),
    "of a weakly tagged version": rest(4, etag='W/"v1"', content=OTHER),
    "without an entity tag": rest(4, etag=None, content=OTHER),
    "that starts too early": rest(3),
    "that starts too late": rest(5),
    "of a file of another length": rest(4, total=11),
    "without its place": Response(ResponseHead(status=206, length=6, etag='"v1"'), FILE[4:]),
    "that does not exist": Response(ResponseHead(status=416, etag='"v1"'), b""),
}


@pytest.mark.parametrize(
    ("responses", "content", "asked", "streamed"),
    [
        pytest.param([whole()], FILE, [None], True, id="the whole file"),
        pytest.param([whole(chunked=True)], FILE, [None], True, id="a file whose length is not stated"),
        pytest.param([CUT, rest(4)], FILE, [None, 4], True, id="the rest is asked for where the file ended"),
        pytest.param([whole(cut=4, chunked=True), rest(4)], FILE, [None, 4], True, id="also of an unstated length"),
        pytest.param([whole(cut=0), whole()], FILE, [None, None], True, id="nothing came"),
        pytest.param([CUT, rest(4, 7), rest(7)], FILE, [None, 4, 7], True, id="a part may be shorter than the rest"),
        pytest.param([CUT, rest(4, ends=False)], FILE, [None, 4], True, id="the last byte is enough"),
        pytest.param([CUT, whole()], FILE, [None, 4], True, id="a server without ranges sends it all again"),
        pytest.param([CUT, whole(chunked=True)], FILE, [None, 4], True, id="also without its length"),
        pytest.param([CUT, whole(cut=3), whole()], FILE, [None, 4, 4], True, id="and breaks before the missing bytes"),
        pytest.param([CUT, whole(OTHER, '"v2"')], OTHER, [None, 4], False, id="another version begins anew"),
        pytest.param(
            [CUT, whole(OTHER + b"k")], OTHER + b"k", [None, 4], False, id="another length is another version"
        ),
        pytest.param([whole(etag='W/"1"', cut=4), whole(OTHER)], OTHER, [None, None], False, id="a weak entity tag"),
        pytest.param([whole(etag=None, cut=4), whole(OTHER)], OTHER, [None, None], False, id="no entity tag"),
        *(
            pytest.param([CUT, misfit, whole(OTHER, '"v2"')], OTHER, [None, 4, None], False, id=f"a part {name}")
            for name, misfit in MISFITS.items()
        ),
    ],
)
def test_what_responses_make_of_a_file(
    responses: list[Response], content: bytes, asked: list[int | None], streamed: bool
) -> None:
    """A file on disk may begin anew; bytes of a stream that were passed on may not."""
    transfer = Transfer(max_bytes=MAX)
    assert play(transfer, responses) == (content, asked)
    assert transfer.is_whole
    stream = Transfer(max_bytes=MAX, may_restart=False)
    if streamed:
        assert play(stream, responses) == (content, asked)
        return
    play(stream, responses[:1])
    if stream.can_retry:
        with pytest.raises(Changed, match="has changed"):
            play(stream, responses[1:], FILE[:4])
    assert stream.position == 4


@pytest.mark.parametrize(
    ("responses", "problem"),
    [
        ([rest(0)], "status 206, although no range was requested"),
        ([Response(ResponseHead(status=416), b"")], "status 416, although no range was requested"),
        ([whole(etag=None, cut=4), rest(4)], "status 206, although"),
        ([Response(ResponseHead(status=200, coding="x-gzip"), b"?")], r"it came compressed \(x-gzip\)"),
        ([CUT, Response(ResponseHead(status=206, coding="br"), b"?")], r"it came compressed \(br\)"),
        ([whole(b"")], "it is empty"),
        ([whole(b"", chunked=True)], "it is empty"),
        ([whole(b"x" * (MAX + 1))], "it has 1001 bytes, more than 1000"),
        ([whole(b"x" * (MAX + 1), chunked=True)], "it has more than 1000 bytes"),
        ([whole(cut=4, chunked=True), rest(4, 10, MAX + 1)], "it has 1001 bytes"),
        ([Response(ResponseHead(status=200, length=3), b"four")], "more than the 3 bytes"),
        ([CUT, Response(rest(4, 7).head, FILE[4:])], "more than the 7 bytes"),
        ([whole(cut=4, chunked=True), whole(FILE[:3], chunked=True)], "the file has become shorter"),
    ],
)
def test_responses_that_cannot_become_a_file(responses: list[Response], problem: str) -> None:
    with pytest.raises(Unusable, match=problem):
        play(Transfer(max_bytes=MAX), responses)


def test_the_compression_of_a_refused_range_does_not_matter() -> None:
    """A page that says 416 may be compressed."""
    play(transfer := Transfer(max_bytes=MAX), [CUT])
    transfer.request_headers()
    assert not transfer.accept(ResponseHead(status=416, coding="gzip"))


def test_a_kept_part_is_continued() -> None:
    def kept(size: int, etag: str | None = '"v1"') -> Transfer:
        version = Version(etag=etag, total=10)
        return Transfer(PartMetadata(version=version, size=size, sha256=""), max_bytes=MAX)

    assert kept(4).request_headers() == {"Range": "bytes=4-", "If-Range": '"v1"'}
    assert (kept(4).position, kept(4).total) == (4, 10)
    assert play(kept(4), [rest(4)], FILE[:4]) == (FILE, [4])
    assert kept(10).is_whole, "its process was killed before it got its name"
    assert play(kept(0), [whole()]) == (FILE, [None])


# --- everything that can happen ----------------------------------------------------------------------


@dataclass
class Server:
    """Has one version of the file after another, and follows the rules in its own way."""

    contents: list[bytes]
    tags: Literal["strong", "weak", "none"]
    ranges: Literal["yes", "no", "ignores If-Range", "sends no entity tag", "sends slices", "starts elsewhere"]
    chunked: bool
    asked: list[dict[str, str]] = field(default_factory=list)

    def respond(self, headers: dict[str, str], version: int) -> Response:
        self.asked.append(headers)
        content = self.contents[version]
        # As nginx and S3 do, not by a number: the same content comes under the same entity tag again.
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        etag = {"strong": tag, "weak": f"W/{tag}", "none": None}[self.tags]
        honors = self.ranges not in {"ignores If-Range", "sends no entity tag"}
        if "Range" not in headers or self.ranges == "no" or (honors and headers["If-Range"] != etag):
            return whole(content, etag, chunked=self.chunked)
        start = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return Response(ResponseHead(status=416, etag=etag), b"")
        start -= self.ranges == "starts elsewhere"
        stop = min(start + 3, len(content)) if self.ranges == "sends slices" else len(content)
        return rest(start, stop, len(content), None if self.ranges == "sends no entity tag" else etag, content=content)


servers = st.builds(
    Server,
    contents=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3),
    tags=st.sampled_from(["strong", "weak", "none"]),
    ranges=st.sampled_from(
        ["yes", "no", "ignores If-Range", "sends no entity tag", "sends slices", "starts elsewhere"]
    ),
    chunked=st.booleans(),
)


@given(servers, st.data(), st.booleans())
def test_a_whole_file_is_one_version(server: Server, data: st.DataObject, may_restart: bool) -> None:
    """Whatever breaks, changes or is ignored: in the end it is one of the contents, or an error."""
    transfer = Transfer(max_bytes=MAX, may_restart=may_restart)
    got = b""
    version = 0
    breaks = data.draw(st.lists(st.integers(0, 20), max_size=8))
    try:
        for _ in range(60):
            if transfer.is_whole or not transfer.can_retry:
                break
            version = min(version + data.draw(st.integers(0, 1)), len(server.contents) - 1)
            response = server.respond(transfer.request_headers(), version)
            broken = breaks.pop() if breaks else len(response.body)
            if not transfer.accept(response.head):
                continue
            for byte in response.body[:broken]:
                if new := transfer.receive(bytes([byte])):
                    assert transfer.position > 1 or may_restart or not got
                    got = new if transfer.position == 1 else got + new
                    assert len(got) == transfer.position
            if broken >= len(response.body) and transfer.end_body():
                break
    except Unusable:
        return
    if transfer.is_whole:
        assert got in server.contents
    elif may_restart:
        raise AssertionError("it never came to an end")
    if server.tags != "strong":
        assert all("Range" not in headers for headers in server.asked)


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


# --- retries -----------------------------------------------------------------------------------------


def test_attempts_that_bring_next_to_nothing_are_counted() -> None:
    retries = DownloadRetries(3, 0)
    assert [retries.failed(position) for position in (0, 5, PROGRESS_BYTES - 1)] == [True, True, False]
    assert not DownloadRetries(1, 0).failed(5)


def test_an_attempt_that_brings_enough_restarts_the_count() -> None:
    """A large file over a bad line arrives in the end; one that always breaks at the same place does not."""
    retries = DownloadRetries(2, 100)
    assert all(retries.failed(100 + step * PROGRESS_BYTES) for step in range(1, 50))
    assert retries.failures == 1
    assert not retries.failed(100 + 49 * PROGRESS_BYTES)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_until_a_server_has_restarted(attempts: int, random: float) -> None:
    """The first is short, since most breaks are over at once; five attempts last half a minute, and not much longer."""
    retries = DownloadRetries(attempts, 0)
    pauses: list[float] = []
    while len(pauses) < 50 and retries.failed(0):
        pauses.append(retries.pause(random))
    assert pauses == sorted(pauses)
    assert all(0.5 <= pause <= 25 for pause in pauses)
    assert sum(pauses[:1]) < 1
    assert attempts < 5 or 30 <= sum(pauses[:4]) < 40
    retries.failures = 10**6
    assert retries.pause(random) == 20 * (1 + random / 4)
