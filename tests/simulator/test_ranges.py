import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.ranges import Part, select

WHOLE = Part(200, 0, 100)
ETAG, MODIFIED = '"abc"', "Thu, 19 Mar 2026 08:00:00 GMT"


def chosen(**headers: str) -> Part:
    return select({name.replace("_", "-"): one for name, one in headers.items()}, 100, ETAG, MODIFIED)


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", Part(206, 0, 1)),
        ("bytes=10-19", Part(206, 10, 20)),
        ("bytes=90-", Part(206, 90, 100)),
        ("bytes=90-999999", Part(206, 90, 100)),
        ("bytes=-10", Part(206, 90, 100)),
        ("bytes=-1000", Part(206, 0, 100)),
    ],
)
def test_a_range_is_answered_with_that_part(wanted: str, part: Part) -> None:
    assert chosen(Range=wanted) == part


@pytest.mark.parametrize("wanted", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_beyond_the_file_cannot_be_satisfied(wanted: str) -> None:
    part = chosen(Range=wanted)
    assert part == Part(416, 0, 0)
    assert part.headers(100) == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize(
    "wanted",
    ["", "bytes", "bytes=", "bytes=-", "bytes=9-3", "items=0-1", "bytes=0-1,5-6", "bytes=\u0661-\u0662"],
)
def test_what_is_no_single_range_is_ignored(wanted: str) -> None:
    assert chosen(Range=wanted) == WHOLE
    assert WHOLE.headers(100) == {}


def test_without_a_range_the_whole_file_is_answered() -> None:
    assert chosen() == WHOLE


@pytest.mark.parametrize("validator", [ETAG, MODIFIED])
def test_a_resumed_download_continues_when_the_file_is_the_same(validator: str) -> None:
    assert chosen(Range="bytes=50-", If_Range=validator) == Part(206, 50, 100)


def test_a_resumed_download_starts_again_when_the_file_is_another() -> None:
    assert chosen(Range="bytes=50-", If_Range='"old"') == WHOLE


def test_an_empty_file_has_no_part() -> None:
    for wanted in ("bytes=0-", "bytes=-5"):
        assert select({"Range": wanted}, 0, ETAG, MODIFIED).status == 416


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_part_is_what_slicing_gives(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    part = select({"Range": f"bytes={first}-{last}"}, size, ETAG, MODIFIED)
    if last < first:
        assert part.status == 200
    elif first >= size:
        assert part.status == 416
    else:
        assert content[part.start : part.stop] == content[first : last + 1]
        assert part.headers(size) == {"Content-Range": f"bytes {first}-{min(last, size - 1)}/{size}"}
