import gzip
import io
import json
import random
import zlib
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async.simulator import damage
from aivideomaker_async.simulator.gallery import BUNDLED_CLIP

SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
OBJECTS = st.dictionaries(st.text(), SCALARS | st.dictionaries(st.text(), SCALARS))


@settings(deadline=None)
@given(st.binary(), st.none() | st.integers(1, 50))
def test_a_part_is_never_all(body: bytes, size: int | None) -> None:
    part = damage.half(body, size)
    assert body.startswith(part)
    assert len(part) < len(body) or not body
    if size is not None and size < len(body):
        assert len(part) == size


@settings(deadline=None)
@given(OBJECTS | st.dictionaries(st.just("tasks"), st.lists(OBJECTS, min_size=1)))
def test_every_field_gets_another_type(answer: dict[str, Any]) -> None:
    wrong = json.loads(damage.wrong_types(json.dumps(answer).encode()))
    assert wrong.keys() == answer.keys()
    for name, value in answer.items():
        if isinstance(value, list):
            for right, bad in zip(value, wrong[name], strict=True):
                assert right.keys() == bad.keys()
                assert all(type(right[key]) is not type(bad[key]) for key in right)
        else:
            assert type(wrong[name]) is not type(value)


@pytest.mark.parametrize(("body", "wrong"), [(b"\x00\xff", b"7"), (b"", b"7"), (b"[1]", b'"seven"')])
def test_what_is_no_object_becomes_another_type_as_a_whole(body: bytes, wrong: bytes) -> None:
    assert damage.wrong_types(body) == wrong


def test_an_empty_list_is_no_list_any_more() -> None:
    assert json.loads(damage.wrong_types(b'{"tasks": []}')) == {"tasks": "seven"}


@settings(deadline=None)
@given(st.binary(max_size=100), st.integers(0, 300_000))
def test_what_is_padded_has_its_size_and_ends_as_before(body: bytes, size: int) -> None:
    padded = b"".join(damage.padded(body, size))
    assert len(padded) == max(size, len(body))
    assert padded == body.rjust(size)


@settings(deadline=None)
@given(st.binary(max_size=100), st.integers(0, 300_000))
def test_a_bomb_is_a_gzip_file_of_one_piece(body: bytes, size: int) -> None:
    """Also for those who read no second piece, and with checksum and length as the format wants them."""
    packed = b"".join(damage.gzip_bomb(body, size))
    expected = body.rjust(size)
    assert gzip.decompress(packed) == expected
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert reader.decompress(packed) == expected
    assert (reader.eof, reader.unused_data) == (True, b"")


def test_a_bomb_is_a_thousandth_of_what_it_becomes() -> None:
    assert sum(map(len, damage.gzip_bomb(b"{}", 50_000_000))) < 70_000


def test_garbage_is_as_long_as_wanted_and_as_drawn() -> None:
    assert damage.garbage(20, random.Random(1)) == damage.garbage(20, random.Random(1))
    assert len(damage.garbage(20, random.Random(1))) == 20
    assert damage.garbage(20, random.Random(1)) != damage.garbage(20, random.Random(2))


def test_nested_lists_and_spaces() -> None:
    assert (damage.nested(3), damage.spaces(3)) == (b"[[[]]]", b"   ")


def test_another_file_still_plays_and_fits_nowhere() -> None:
    content = BUNDLED_CLIP.read_bytes()
    other = damage.another_file(content)
    with av.open(io.BytesIO(content), "r") as one, av.open(io.BytesIO(other), "r") as two:
        assert one.duration == two.duration
    for cut in (20, len(content) // 2, len(content) - 1):
        assert content[:cut] + other[cut:] not in {content, other}
        assert other[:cut] + content[cut:] not in {content, other}


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=50))
def test_any_other_file_is_another_too(content: bytes) -> None:
    assert damage.another_file(content) != content
