from __future__ import annotations

import base64
import json
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._submits.body import (
    CHARACTERS,
    PIECE,
    Base64Text,
    Body,
    Content,
    Image,
    Part,
    Text,
    Views,
)
from aivideomaker_async._submits.image_inspector import Gauge, ImageTooLarge
from aivideomaker_async.specs.image_input import SNIFFED
from tests.support.pictures import MIMES, NO_PICTURES, PICTURES, PNG, as_image, data_uri, in_lines

BORDERS = [0, 1, 2, 3, 4, PIECE - 2, PIECE - 1, PIECE, PIECE + 1, PIECE + 2, PIECE + 3, 2 * PIECE, 2 * PIECE + 1]


def noise(size: int) -> bytes:
    """Bytes that look different at every place of an image."""
    return bytes((7 * place + place // 251) % 256 for place in range(size))


def taken(content: Content, largest: int = 10**9) -> Image:
    gauge = Gauge(largest)
    for piece in content.decoded():
        gauge.feed(piece)
    return gauge.image(content)


# --- what an image consists of -----------------------------------------------------------------------


@pytest.mark.parametrize("size", BORDERS)
def test_the_pieces_of_an_image_are_its_data_uri(size: int) -> None:
    """Joined, they are what the standard library makes of the whole, and the length is known beforehand."""
    data = noise(size)
    image = as_image(data)
    written = b"".join(image.pieces())
    assert written.decode() == data_uri(data)
    assert len(image) == len(written)


@given(st.binary(max_size=200), st.sampled_from(["image/png", "image/jpeg", "image/svg+xml"]))
def test_any_bytes_become_their_data_uri(data: bytes, mime: str) -> None:
    """Whatever they are."""
    image = as_image(data, mime)
    assert b"".join(image.pieces()).decode() == data_uri(data, mime)
    assert len(image) == len(data_uri(data, mime))


@pytest.mark.parametrize("sizes", [[], [0], [PIECE, PIECE, 7], [4 * PIECE, 5], [PIECE, 0], [2 * PIECE, 2 * PIECE]])
def test_an_image_may_lie_in_memory_in_pieces(sizes: list[int]) -> None:
    """On the wire nobody sees the seams."""
    data = noise(sum(sizes))
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    views = Views([memoryview(data)[start : start + size] for start, size in zip(starts, sizes, strict=True)])
    assert b"".join(views.decoded()) == data
    assert b"".join(views.encoded()) == base64.b64encode(data)
    assert views.excess(len(data)) is None
    assert views.excess(len(data) - 1) == len(data)


@pytest.mark.parametrize("size", BORDERS)
@pytest.mark.parametrize("line", [None, 1, 3, 76, CHARACTERS - 1, CHARACTERS])
def test_the_text_of_a_data_uri_is_sent_and_read_as_it_is(size: int, line: int | None) -> None:
    """But for its line breaks, which are not sent."""
    data = noise(size)
    uri = data_uri(data) if line is None else in_lines(data_uri(data), line)
    text = Base64Text(uri)
    assert b"".join(text.encoded()) == base64.b64encode(data)
    assert b"".join(text.decoded()) == data
    assert b"" not in list(text.encoded())


spaces = st.lists(st.tuples(st.integers(0, 3 * CHARACTERS), st.text(" \t\r\n\u2003", max_size=5)), max_size=6)


@given(st.sampled_from(BORDERS), spaces)
@settings(max_examples=20, deadline=None)
def test_spaces_in_base64_text_change_nothing(size: int, spaces: list[tuple[int, str]]) -> None:
    """Wherever they stand, also around the text and at the seams of its pieces."""
    head, _, text = data_uri(noise(size)).partition(",")
    for place, space in spaces:
        text = text[:place] + space + text[place:]
    content = Base64Text(f"{head},{text}")
    assert b"".join(content.decoded()) == noise(size)
    assert b"".join(content.encoded()) == base64.b64encode(noise(size))


SIZE = 2 * PIECE + 100
TEXT = base64.b64encode(noise(SIZE)).decode()
SEAMS = [0, 1, 4, 7, CHARACTERS - 4, CHARACTERS - 1, CHARACTERS, CHARACTERS + 1, 2 * CHARACTERS, len(TEXT) - 4]


@pytest.mark.parametrize("place", SEAMS)
@pytest.mark.parametrize("damage", ["=", "==", "====", "Q=", "!", "%", "ключ", "\0", "-_", "A", "AA", "AAA", "\ud800"])
def test_text_that_is_no_base64_is_refused_wherever_it_is_damaged(place: int, damage: str) -> None:
    """Nothing of it is skipped, as lenient decoders do."""
    with pytest.raises(ValueError, match="not base64"):
        list(Base64Text("data:image/png;base64," + TEXT[:place] + damage + TEXT[place:]).decoded())


@pytest.mark.parametrize("cut", [1, 2, 3, CHARACTERS + 1, len(TEXT) - 1])
def test_text_that_was_cut_off_is_refused(cut: int) -> None:
    """Four characters hold three bytes; a part of four holds none."""
    with pytest.raises(ValueError, match="not base64"):
        list(Base64Text("data:image/png;base64," + TEXT[:-cut]).decoded())


@given(st.integers(0, 400), st.integers(0, 400), st.booleans())
@settings(deadline=None)
def test_the_size_of_an_image_is_told_by_the_length_of_its_text(size: int, largest: int, lines: bool) -> None:
    """To the byte, whatever its padding and its line breaks."""
    uri = in_lines(data_uri(noise(size)), 5) if lines else data_uri(noise(size))
    assert Base64Text(uri).excess(largest) == (size if size > largest else None)


# --- the gauge ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MIMES)
def test_an_image_is_the_same_whichever_way_it_came(kind: str) -> None:
    """Its type, its size and its digest, which is that of its content and type."""
    data, mime = PICTURES[kind] + noise(100_000), MIMES[kind]
    digest = blake2b(data + mime.encode(), digest_size=16).digest()
    ways: list[Content] = [
        Views([memoryview(data)]),
        Views([memoryview(data)[:PIECE], memoryview(data)[PIECE:]]),
        Base64Text(data_uri(data, "image/jpg")),
        Base64Text(in_lines(data_uri(data))),
    ]
    for content in ways:
        image = taken(content)
        assert image == Image(mime, len(data), digest, content)
        assert b"".join(image.pieces()).decode() == data_uri(data, mime)


def test_another_image_has_another_digest() -> None:
    """One bit will do, at the end as well."""
    data = PNG + noise(60_000)
    different = [data, data[:-1], data + b"\0", data[:-1] + b"\0", PICTURES["GIF"] + noise(60_000)]
    assert len({taken(Views([memoryview(one)])).digest for one in different}) == len(different)


def test_the_size_is_limited_to_the_byte() -> None:
    """Before more is looked at than that."""
    data = PNG + noise(1_000)
    assert taken(Views([memoryview(data)]), len(data)).size == len(data)
    gauge = Gauge(len(data) - 1)
    with pytest.raises(ImageTooLarge, match=f"it has more than {len(data) - 1:,} bytes") as caught:
        gauge.feed(memoryview(data))
    assert (caught.value.size, caught.value.more) == (len(data) - 1, True)
    assert str(ImageTooLarge(1234567)) == "it has 1,234,567 bytes"


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_is_no_image_is_refused(name: str) -> None:
    """At its end at the latest."""
    with pytest.raises(ValueError, match=r"^it is empty$" if name == "empty" else "no image that is known"):
        taken(Views([memoryview(NO_PICTURES[name])]))


@pytest.mark.parametrize("step", [1000, SNIFFED, SNIFFED + 1])
def test_what_is_no_image_is_refused_as_soon_as_its_head_has_passed(step: int) -> None:
    """The rest may be gigabytes."""
    gauge = Gauge(10**12)
    passed = 0
    with pytest.raises(ValueError, match="no image"):
        while passed < 10 * SNIFFED:
            passed += step
            gauge.feed(memoryview(bytes(step)))
    assert passed < SNIFFED + step


# --- texts and bodies --------------------------------------------------------------------------------


@given(st.text(), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_a_long_text_is_written_as_json_writes_it(text: str, long: int) -> None:
    """And its length is known beforehand."""
    text = text.encode("utf-8", "replace").decode()
    text += ('"\\\n\x01é😀' + text) * (long * PIECE // 10 // (len(text) + 1))
    held = Text.of(text)
    written = b"".join(held.pieces())
    assert written == json.dumps(text, ensure_ascii=False)[1:-1].encode()
    assert len(held) == len(written)
    assert held.digest == Text.of(text).digest != Text.of(text + "x").digest


@pytest.mark.parametrize("size", [0, 1, PIECE, 5 * PIECE + 7])
def test_no_piece_is_large(size: int) -> None:
    """A piece is about 64 KiB, so that the loop gets its turn between two."""
    data = noise(size)
    body = Body((data, as_image(data), taken(Base64Text(data_uri(PNG + data))), Text.of(data_uri(data)), b"}"))
    assert max(map(len, body.pieces())) <= 64 * 1024


parts = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(BORDERS).map(noise),
        st.builds(as_image, st.sampled_from(BORDERS).map(noise), st.just("image/gif")),
        st.builds(Text.of, st.sampled_from(BORDERS).map(lambda size: "ab" * size)),
    ),
    max_size=5,
)


def whole(part: Part) -> bytes:
    return part if isinstance(part, bytes) else b"".join(part.pieces())


@given(parts)
@settings(max_examples=60, deadline=None)
def test_a_body_is_its_parts_and_can_be_written_again(parts: list[Part]) -> None:
    """A retry sends the same bytes, and their number is the Content-Length."""
    body = Body(tuple(parts))
    expected = b"".join(map(whole, parts))
    assert b"".join(body.pieces()) == b"".join(body.pieces()) == expected
    assert len(body) == len(expected)


def test_a_body_around_an_image_is_json() -> None:
    """As the service will read it."""
    data = noise(PIECE + 1)
    body = Body((b'{"image":"', as_image(data), b'","duration":"5"}'))
    assert json.loads(b"".join(body.pieces())) == {"image": data_uri(data), "duration": "5"}


def test_no_repr_shows_an_image() -> None:
    """Neither the bytes nor the text that is made of them."""
    image = as_image(b"SECRET" * 100)
    text = Text.of("SECRET" * 100)
    shown = repr([image, text, Body((b"SECRET", image, text)), image.content, Base64Text("SECRET"), Gauge(5)])
    assert "SECRET" not in shown
    assert "U0VDUkVU" not in shown
