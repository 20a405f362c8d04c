"""A file put together of several answers: one version of it in the end, or none; never a mix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._files.resume import ENOUGH, Changed, Patience, Step, Transfer, Unusable
from aivideomaker_async._files.versions import Begun, ContentRange, Head, Version

MOST = 10_000
MONDAY, TUESDAY = "Mon, 02 Mar 2026 08:00:00 GMT", "Tue, 03 Mar 2026 08:00:00 GMT"
V1 = Version(etag='"v1"', last_modified=MONDAY, total=100)

Validator = Literal["etag", "weak", "date", "none"]
Ranges = Literal["yes", "no", "blind", "mute", "short", "elsewhere", "untold"]


def part(start: int, stop: int, total: int | None = 100, **more: Any) -> Head:
    head = Head(status=206, length=stop - start, content_range=ContentRange(start=start, stop=stop, total=total))
    return evolve(head, **{"etag": '"v1"', **more})


def too_far(total: int | None, **more: Any) -> Head:
    found = None if total is None else ContentRange(start=None, stop=None, total=total)
    return Head(status=416, content_range=found, **more)


def whole(length: int | None = 100, etag: str | None = '"v1"', **more: Any) -> Head:
    return Head(status=200, length=length, etag=etag, **more)


def begun(size: int = 40, version: Version = V1, **options: bool) -> Transfer:
    transfer = Transfer(Begun(version=version, size=size), most=MOST, **options)
    transfer.headers()
    return transfer


# --- what to ask for ---------------------------------------------------------------------------------


def test_the_rest_is_asked_for_under_the_validator() -> None:
    """From where it ended, and only if it is still the same file."""
    assert begun().headers() == {"Range": "bytes=40-", "If-Range": '"v1"'}
    assert begun(version=Version(last_modified=MONDAY)).headers() == {"Range": "bytes=40-", "If-Range": MONDAY}
    assert begun(size=0).headers() == {}
    assert Transfer(most=MOST).headers() == {}


def test_what_is_not_known_again_is_asked_for_from_the_start() -> None:
    """Without a strong validator a part may be of another file."""
    transfer = Transfer(most=MOST)
    assert transfer.take(whole(etag='W/"v1"')) is Step.BEGIN
    transfer.advance(40)
    assert transfer.headers() == {}


# --- what comes --------------------------------------------------------------------------------------


def test_a_whole_file_in_one_answer() -> None:
    """The usual case."""
    transfer = Transfer(most=MOST)
    assert transfer.take(whole()) is Step.BEGIN
    assert (transfer.total, transfer.is_whole) == (100, False)
    assert transfer.advance(60) == transfer.advance(40) == 0
    assert transfer.is_whole
    assert transfer.ended()


def test_a_length_that_is_not_told_is_known_at_the_end() -> None:
    """Then the file is whole."""
    transfer = Transfer(most=MOST)
    transfer.take(whole(None))
    transfer.advance(60)
    assert not transfer.is_whole
    assert transfer.ended()
    assert transfer.total == 60


def test_the_rest_goes_on_where_it_ended() -> None:
    """Nothing is passed over, nothing is missing."""
    transfer = begun()
    assert transfer.take(part(40, 100)) is Step.GO_ON
    assert transfer.advance(60) == 0
    assert transfer.ended()


def test_a_part_may_be_shorter_than_what_was_asked_for() -> None:
    """Some servers give a file in slices."""
    transfer = begun()
    assert transfer.take(part(40, 70)) is Step.GO_ON
    transfer.advance(30)
    assert not transfer.ended()
    assert transfer.headers()["Range"] == "bytes=70-"


@pytest.mark.parametrize(
    "head",
    [
        part(39, 100),
        part(41, 100),
        part(0, 100),
        part(39, 100, length=None),
        part(41, 100, length=None),
        part(40, 101, 101),
        part(40, 100, etag='"v2"'),
        part(40, 100, etag='W/"v1"'),
        part(40, 100, etag=None),
        part(40, 100, etag=None, last_modified=MONDAY),
        part(40, 100, last_modified=TUESDAY),
        part(40, 100, length=61),
        Head(status=206, length=60, etag='"v1"'),
        too_far(100, etag='"v1"'),
        too_far(None),
        too_far(40, etag='"v2"'),
    ],
)
def test_a_part_that_does_not_fit_is_not_used(head: Head) -> None:
    """The file is begun anew; where that cannot be, it has changed."""
    transfer = begun()
    assert transfer.take(head) is Step.ASK_AGAIN
    assert (transfer.position, transfer.headers()) == (0, {})
    with pytest.raises(Changed):
        begun(may_restart=False).take(head)


def test_a_part_that_was_asked_for_by_its_date_must_tell_it() -> None:
    """Else it may be of a file that has an ETag by now, and another content."""
    by_date = Version(last_modified=MONDAY, total=100)
    assert begun(version=by_date).take(part(40, 100, last_modified=MONDAY)) is Step.GO_ON
    for head in (part(40, 100), part(40, 100, last_modified=TUESDAY)):
        assert begun(version=by_date).take(head) is Step.ASK_AGAIN


def test_what_comes_compressed_is_refused() -> None:
    """An end that came too early could go unnoticed. What a refusal says does not matter."""
    for head in (whole(None, coding="x-gzip"), part(40, 100, coding="x-gzip")):
        with pytest.raises(Unusable, match="it came compressed \\(x-gzip\\), which was not asked for"):
            begun().take(head)
    assert begun(version=Version(etag='"v1"')).take(too_far(40, coding="gzip")) is Step.COMPLETE


def test_nothing_more_to_come_is_the_end() -> None:
    """416 with the very length that is there; it was not known before."""
    transfer = begun(version=Version(etag='"v1"'))
    assert transfer.take(too_far(40)) is Step.COMPLETE
    assert transfer.is_whole


def test_all_that_is_there_need_not_be_asked_for() -> None:
    """A process was killed between the last byte and the name."""
    assert begun(size=100).is_whole


def test_another_file_begins_anew() -> None:
    """200 to a request for a part says that it is another one."""
    transfer = begun()
    assert transfer.take(whole(90, '"v2"')) is Step.BEGIN
    assert (transfer.position, transfer.total, transfer.reached) == (0, 90, 40)
    with pytest.raises(Changed):
        begun(may_restart=False).take(whole(90, '"v2"'))


def test_a_server_without_parts_sends_the_same_file_again() -> None:
    """What is there already is passed over, and nothing is begun anew."""
    for may_restart in (True, False):
        transfer = begun(may_restart=may_restart)
        assert transfer.take(whole()) is Step.GO_ON
        assert [transfer.advance(30), transfer.advance(30), transfer.advance(40)] == [30, 10, 0]
        assert transfer.ended()


def test_the_same_file_that_has_become_shorter_is_another() -> None:
    """Whatever its validator says."""
    transfer = begun(version=Version(etag='"v1"'))
    transfer.take(whole(None))
    assert transfer.advance(30) == 30
    with pytest.raises(Changed):
        transfer.ended()


def test_a_part_that_nobody_asked_for_may_be_the_file() -> None:
    """From the first byte on; anything else is none."""
    transfer = Transfer(most=MOST)
    transfer.headers()
    assert transfer.take(part(0, 60)) is Step.BEGIN
    transfer.advance(60)
    assert not transfer.ended()
    assert transfer.headers()["Range"] == "bytes=60-"
    for head in (part(1, 60), part(0, 60, None), too_far(100), Head(status=206)):
        with pytest.raises(Unusable, match="no part was asked for"):
            Transfer(most=MOST).take(head)


def test_more_than_was_told_is_refused() -> None:
    """It would be written behind the end of the file."""
    for head, count in ((whole(), 61), (part(40, 100), 61), (part(40, 70), 31)):
        transfer = begun(size=40) if head.status == 206 else Transfer(most=MOST)
        transfer.take(head)
        transfer.advance(count - 1)
        with pytest.raises(Unusable, match="more came than"):
            transfer.advance(100)


def test_an_endless_file_is_refused() -> None:
    """By what it tells, or by what comes."""
    for head in (whole(MOST + 1), part(40, 100, MOST + 1)):
        with pytest.raises(Unusable, match="more than 10000"):
            begun(version=Version(etag='"v1"')).take(head)
    transfer = Transfer(most=MOST)
    transfer.take(whole(None))
    transfer.advance(MOST)
    with pytest.raises(Unusable, match="more than 10000 bytes"):
        transfer.advance(1)


def test_an_empty_file_is_none() -> None:
    """No video has no bytes."""
    with pytest.raises(Unusable, match="empty"):
        Transfer(most=MOST).take(whole(0))
    transfer = Transfer(most=MOST)
    transfer.take(whole(None))
    with pytest.raises(Unusable, match="empty"):
        transfer.ended()


def test_an_end_that_may_be_a_break_is_asked_about() -> None:
    """Where the body ends with the connection, the rest is asked for; when there is none, that was the end."""
    transfer = Transfer(most=MOST)
    transfer.take(whole(None, open_end=True))
    transfer.advance(40)
    assert not transfer.ended()
    assert transfer.headers()["Range"] == "bytes=40-"
    assert transfer.take(too_far(40)) is Step.COMPLETE
    # A server without parts ends at the same place again.
    transfer = Transfer(most=MOST)
    for is_over in (False, True):
        transfer.headers()
        transfer.take(whole(None, open_end=True))
        transfer.advance(40)
        assert transfer.ended() is is_over
    # And one that nothing can be asked of is believed.
    transfer = Transfer(most=MOST)
    transfer.take(whole(None, None, open_end=True))
    transfer.advance(40)
    assert transfer.ended()


def test_a_part_of_a_whole_that_is_not_known_is_no_end() -> None:
    """`bytes 40-69/*` says nothing of what follows."""
    transfer = begun(version=Version(etag='"v1"'))
    transfer.take(part(40, 70, None))
    transfer.advance(30)
    assert not transfer.ended()
    assert transfer.take(too_far(70)) is Step.COMPLETE


def test_whether_another_request_can_help() -> None:
    """What was passed on can only be gone on with."""
    assert Transfer(most=MOST, may_restart=False).can_go_on
    assert begun(may_restart=False).can_go_on
    transfer = Transfer(most=MOST, may_restart=False)
    transfer.take(whole(etag=None))
    transfer.advance(5)
    assert not transfer.can_go_on


# --- everything that can happen ----------------------------------------------------------------------


@dataclass
class Server:
    """Has one version of the file after another, and keeps to the rules in its own way."""

    contents: list[bytes]
    validator: Validator
    ranges: Ranges
    chunked: bool
    asked: list[dict[str, str]] = field(default_factory=list)

    def answer(self, headers: dict[str, str], version: int) -> tuple[Head, bytes]:
        self.asked.append(headers)
        content = self.contents[version]
        tags: dict[str, Any] = {}
        if self.validator in {"etag", "weak"}:
            tags["etag"] = f'{"W/" if self.validator == "weak" else ""}"v{version}"'
        if self.validator == "date":
            tags = {"last_modified": f"Mon, 02 Mar 2026 08:00:{version:02} GMT", "date": TUESDAY}
        mine = tags.get("etag") or tags.get("last_modified")
        same = self.ranges in {"blind", "mute"} or headers.get("If-Range") == mine
        if "Range" not in headers or self.ranges == "no" or not same:
            return Head(status=200, length=None if self.chunked else len(content), **tags), content
        start = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return too_far(len(content), **tags), b""
        if self.ranges == "mute":
            tags = {}
        start -= self.ranges == "elsewhere"
        stop = min(start + 3, len(content)) if self.ranges == "short" else len(content)
        total = None if self.ranges == "untold" else len(content)
        found = ContentRange(start=start, stop=stop, total=total)
        length = None if self.chunked else stop - start
        return Head(status=206, length=length, content_range=found, **tags), content[start:stop]


bodies = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3)
validators = st.sampled_from(["etag", "weak", "date", "none"])
servers = st.builds(
    Server,
    contents=bodies,
    validator=validators,
    ranges=st.sampled_from(["yes", "no", "blind", "mute", "short", "elsewhere", "untold"]),
    chunked=st.booleans(),
)


@given(servers, st.data(), st.booleans())
def test_what_is_whole_is_one_version(server: Server, data: st.DataObject, may_restart: bool) -> None:
    """Whatever breaks, changes or is ignored on the way: in the end it is one of the contents, or an error."""
    transfer = Transfer(most=MOST, may_restart=may_restart)
    got = bytearray()
    version = 0
    breaks = data.draw(st.lists(st.integers(0, 20), max_size=8))
    try:
        for _ in range(60):
            if transfer.is_whole or not transfer.can_go_on:
                break
            version = min(version + data.draw(st.integers(0, 1)), len(server.contents) - 1)
            head, body = server.answer(transfer.headers(), version)
            step = transfer.take(head)
            if step in {Step.ASK_AGAIN, Step.COMPLETE}:
                continue
            broken = breaks.pop() if breaks else len(body)
            for place in range(min(broken, len(body))):
                known = transfer.advance(1)
                if transfer.position == 1 and not known:
                    assert may_restart or not got
                    got = bytearray()
                got += body[place : place + 1][known:]
                assert len(got) == transfer.position
            if broken >= len(body) and transfer.ended():
                break
    except Unusable:
        return
    if transfer.is_whole:
        assert bytes(got) in server.contents
    elif may_restart and server.ranges != "elsewhere":
        raise AssertionError("it never came to an end")
    if server.validator in {"weak", "none"}:
        assert all("Range" not in headers for headers in server.asked)


# --- patience ----------------------------------------------------------------------------------------


def test_attempts_that_bring_nothing_are_counted() -> None:
    """The last one is the last."""
    patience = Patience(3, 0)
    assert [patience.failed(0), patience.failed(ENOUGH - 1), patience.failed(ENOUGH - 1)] == [True, True, False]
    assert not Patience(1, 0).failed(5)


def test_what_brings_something_begins_a_new_count() -> None:
    """A large file over a bad line arrives in the end; one that always breaks at the same place does not."""
    patience = Patience(2, 100)
    assert all(patience.failed(100 + step * ENOUGH) for step in range(1, 50))
    assert patience.failures == 1
    assert not patience.failed(100 + 49 * ENOUGH)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_last_out_a_restart(attempts: int, random: float) -> None:
    """The first is short, since most breaks are over at once; five attempts take half a minute, and not much longer."""
    patience = Patience(attempts, 0)
    pauses: list[float] = []
    while len(pauses) < 50 and patience.failed(0):
        pauses.append(patience.pause(random))
    assert pauses == sorted(pauses)
    assert all(0.5 <= pause <= 25 for pause in pauses)
    assert sum(pauses[:1]) < 1
    assert attempts < 5 or 30 <= sum(pauses[:4]) < 40
    patience.failures = 10**6
    assert patience.pause(random) == 20 * (1 + random / 4)
