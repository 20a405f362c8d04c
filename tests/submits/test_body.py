"""Request bodies with images in them, written in pieces."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._submits.body import (
    PIECE_BYTES,
    PIECE_CHARACTERS,
    Base64Content,
    Body,
    BytesContent,
    Image,
    LongText,
    Part,
    write_body,
)
from tests.support.pictures import PNG, as_image, data_uri, in_lines, picture

BORDERS = [*range(5), *range(PIECE_BYTES - 2, PIECE_BYTES + 4), 2 * PIECE_BYTES, 2 * PIECE_BYTES + 1]


def noise(size: int) -> bytes:
    """Bytes that look different at every place of an image."""
    return bytes((7 * place + place // 251) % 256 for place in range(size))


# --- the content of an image -------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [PIECE_BYTES, PIECE_BYTES, 7],
        [4 * PIECE_BYTES, 5],
        [PIECE_BYTES, 0],
        [2 * PIECE_BYTES, 2 * PIECE_BYTES],
    ],
)
def test_an_image_may_lie_in_memory_in_chunks(sizes: list[int]) -> None:
    """On the wire the seams do not show."""
    data = noise(sum(sizes))
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    content = BytesContent([data[start : start + size] for start, size in zip(starts, sizes, strict=True)])
    assert b"".join(content.decoded()) == data
    assert b"".join(content.encoded()) == base64.b64encode(data)
    assert content.size_over(len(data)) is None
    assert content.size_over(len(data) - 1) == len(data)


@pytest.mark.parametrize("size", BORDERS)
@pytest.mark.parametrize("line", [None, 1, 3, 76, PIECE_CHARACTERS - 1, PIECE_CHARACTERS])
def test_the_text_of_a_data_uri_is_sent_and_read_as_it_is(size: int, line: int | None) -> None:
    """But for its line breaks, which are not sent."""
    data = noise(size)
    uri = data_uri(data) if line is None else in_lines(data_uri(data), line) + "\n"
    text = Base64Content(uri)
    assert b"".join(text.encoded()) == base64.b64encode(data)
    assert b"".join(text.decoded()) == data
    assert b"" not in list(text.encoded())


spaces = st.lists(st.tuples(st.integers(0, 3 * PIECE_CHARACTERS), st.text(" \t\r\n\u2003", max_size=5)), max_size=6)


@given(st.sampled_from(BORDERS), spaces)
@settings(max_examples=20, deadline=None)
def test_spaces_in_base64_text_change_nothing(size: int, spaces: list[tuple[int, str]]) -> None:
    """Wherever they stand, also around the text and at the seams of its pieces."""
    head, _, text = data_uri(noise(size)).partition(",")
    for place, space in spaces:
        text = text[:place] + space + text[place:]
    content = Base64Content(f"{head},{text}")
    assert b"".join(content.decoded()) == noise(size)
    assert b"".join(content.encoded()) == base64.b64encode(noise(size))


SIZE = 2 * PIECE_BYTES + 100
TEXT = base64.b64encode(noise(SIZE)).decode()
AROUND_A_SEAM = [PIECE_CHARACTERS + offset for offset in (-4, -1, 0, 1)]
SEAMS = [0, 1, 4, 7, *AROUND_A_SEAM, 2 * PIECE_CHARACTERS, len(TEXT) - 4]


@pytest.mark.parametrize("place", SEAMS)
@pytest.mark.parametrize("damage", ["=", "==", "====", "Q=", "!", "%", "ключ", "\0", "-_", "A", "AA", "AAA", "\ud800"])
def test_text_that_is_no_base64_is_refused_wherever_it_is_damaged(place: int, damage: str) -> None:
    """Nothing of it is skipped, as lenient decoders do."""
    with pytest.raises(ValueError, match="not base64"):
        list(Base64Content("data:image/png;base64," + TEXT[:place] + damage + TEXT[place:]).decoded())


@pytest.mark.parametrize("cut", [1, 2, 3, PIECE_CHARACTERS + 1, len(TEXT) - 1])
def test_text_that_was_cut_off_is_refused(cut: int) -> None:
    """Four characters hold three bytes; a part of four holds none."""
    with pytest.raises(ValueError, match="not base64"):
        list(Base64Content("data:image/png;base64," + TEXT[:-cut]).decoded())


@given(st.integers(0, 400), st.integers(0, 400), st.booleans())
@settings(deadline=None)
def test_the_size_of_an_image_follows_from_the_length_of_its_text(size: int, limit: int, lines: bool) -> None:
    """To the byte, whatever its padding and its line breaks."""
    uri = in_lines(data_uri(noise(size)), 5) if lines else data_uri(noise(size))
    assert Base64Content(uri).size_over(limit) == (size if size > limit else None)


# --- bodies ------------------------------------------------------------------------------------------


def written(body: Body) -> bytes:
    return b"".join(body.pieces())


@given(st.text(), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_a_long_text_is_written_as_json_writes_it(text: str, long: int) -> None:
    """And its length is known beforehand."""
    text = text.encode("utf-8", "replace").decode()
    text += ('"\\\n\x01é😀' + text) * (long * PIECE_BYTES // 10 // (len(text) + 1))
    held = LongText(text)
    expected = json.dumps(text, ensure_ascii=False)[1:-1].encode()
    assert b"".join(held.pieces()) == expected
    assert len(held) == len(expected)
    assert held.digest == LongText(text).digest != LongText(text + "x").digest


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 5 * PIECE_BYTES + 7])
def test_no_piece_is_large(size: int) -> None:
    """Another task runs between two pieces."""
    data = noise(size)
    uri = data_uri(data)
    from_text = Image("image/png", len(data), b"", Base64Content(uri))
    body = Body((data, as_image(data), from_text, LongText(uri), b"}"))
    assert max(map(len, body.pieces())) <= 64 * 1024


parts = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(BORDERS).map(noise),
        st.builds(as_image, st.sampled_from(BORDERS).map(noise), st.just("image/gif")),
        st.builds(LongText, st.sampled_from(BORDERS).map(lambda size: "ab" * size)),
    ),
    max_size=5,
)


@given(parts)
@settings(max_examples=60, deadline=None)
def test_a_body_is_its_parts_and_can_be_written_again(parts: list[Part]) -> None:
    """A retry sends the same bytes, and their number is the Content-Length."""
    body = Body(parts)
    expected = b"".join(part if isinstance(part, bytes) else b"".join(part.pieces()) for part in parts)
    assert written(body) == written(body) == expected
    assert len(body) == len(expected)


LONG = "data:image/png;base64," + "QUJD" * 50_000
NOVEL = 'Она сказала: "é\u2028😀\\"\n\x00' * 5_000


@pytest.mark.parametrize("value", [{}, [], "text", 5, None, {"a": [1.5, True, {"é\n\u2028": ["", ()]}]}])
def test_a_body_is_json(value: Any) -> None:
    """As short as it can be."""
    expected = json.dumps({"value": value, "end": 1}, ensure_ascii=False, separators=(",", ":")).encode()
    assert written(write_body({"value": value, "end": 1})) == expected


def test_images_and_long_texts_are_parts_of_their_own() -> None:
    """In order, wherever they stand, and as the service will read them."""
    one, two = as_image(PNG), as_image(picture("PNG", 9))
    body = write_body(
        {"images": [one, "https://example.com", two], "deep": {"text": LongText(NOVEL)}, "uri": LongText(LONG)}
    )
    assert [part for part in body.parts if not isinstance(part, bytes | LongText)] == [one, two]
    kinds = [type(part) for part in body.parts]
    assert kinds == [bytes, Image, bytes, Image, bytes, LongText, bytes, LongText, bytes]
    assert b"".join(part for part in body.parts if isinstance(part, bytes)) == (
        b'{"images":["","https://example.com",""],"deep":{"text":""},"uri":""}'
    )
    assert json.loads(written(body)) == {
        "images": [data_uri(PNG), "https://example.com", data_uri(picture("PNG", 9))],
        "deep": {"text": NOVEL},
        "uri": LONG,
    }


@given(st.text(min_size=1).filter(str.strip))
def test_any_prompt_arrives_as_it_was_written(prompt: str) -> None:
    """Quotes, line breaks, emoji and control characters."""
    try:
        prompt.encode()
    except UnicodeEncodeError:
        return
    body = write_body({"prompt": prompt})
    assert json.loads(written(body)) == {"prompt": prompt}
    assert len(body) == len(written(body))


@pytest.mark.parametrize("late", [object(), b"bytes", float("nan"), "\ud800"])
def test_a_value_that_json_does_not_have_is_refused(late: object) -> None:
    """The caller can still change a list that was checked."""
    with pytest.raises((TypeError, ValueError)):
        write_body({"images": ["https://example.com", late], "last": LongText(LONG)})
    with pytest.raises(ValueError, match="surrogates"):
        LongText("\ud800" * 100_000)


def test_no_repr_shows_an_image() -> None:
    """Neither the bytes nor the text that is made of them."""
    image = as_image(b"SECRET" * 100)
    text = LongText("SECRET" * 100)
    shown = repr([image, text, Body((b"SECRET", image, text)), image.content, Base64Content("SECRET")])
    assert "SECRET" not in shown
    assert "U0VDUkVU" not in shown
