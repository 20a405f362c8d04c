from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.webhooks.body import is_urgent, told_length


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"taskId": "ck1", "status": "COMPLETED"}',
        b'{"status":"FAILED"}',
        b'{"status":"CANCEL"}',
        b'{"status":"CANCELLED"}',
        b"status=COMPLETED&id=ck1",
        b'{"from":"PROGRESS","to":"COMPLETED"}',
        b'{"status":"QUEUED"}',
        b'{"status":"IN_PROGRESS"}',
        b'{"status":"progress"}',
        b'{"status":"PROGRESSING"}',
        b"\x00\xff\xfe",
        '{"status":"PROGRESS"}'.encode("utf-16"),
    ],
)
def test_what_can_be_an_end_is_urgent(body: bytes) -> None:
    """And everything that is not understood."""
    assert is_urgent(body)
    assert is_urgent(bytearray(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"taskId": "ck1", "status": "PROGRESS"}',
        b'{"status":"SUBMITTED"}',
        b"status=PROGRESS",
        b"PROGRESS",
        b'{"status":"PROGRESS","completedAt":null}',
        b'{"from":"SUBMITTED","to":"PROGRESS"}',
    ],
)
def test_what_is_no_end_is_not_urgent(body: bytes) -> None:
    """The two statuses of a task that goes on, in any notation."""
    assert not is_urgent(body)


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from([b"COMPLETED", b"FAILED", b"CANCEL"]))
def test_an_end_is_seen_wherever_it_stands(before: bytes, after: bytes, word: bytes) -> None:
    """Between any bytes."""
    assert is_urgent(before + b" PROGRESS " + word + after)


names = st.text(alphabet="abc", max_size=3)
values = st.recursive(st.none() | st.integers() | st.just("PROGRESS"), lambda inner: st.dictionaries(names, inner))


@given(values)
def test_how_a_body_is_built_does_not_matter(value: object) -> None:
    """It is not parsed."""
    body = json.dumps(value).encode()
    assert is_urgent(body) == (b"PROGRESS" not in body)


def test_a_deep_body_is_no_trouble() -> None:
    """What breaks parsers is only so many bytes here."""
    assert is_urgent(b"[" * 65536)
    assert not is_urgent(b"[" * 65000 + b'"PROGRESS"')


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"17", 17),
        (b"0017", 17),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b" 1", None),
        (b"1.5", None),
        (b"1,1", None),
        (b"\xb2", None),
        (b"9" * 10_000, 10**18 - 1),
    ],
)
def test_a_length_is_read_as_it_is_told(value: bytes, length: int | None) -> None:
    """Or not at all; a number that no interpreter would take is a large one."""
    assert told_length(value) == length
