from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._core.data_uri import PIECE, Body, Image, Part
from tests.core.pictures import data_uri

BORDERS = [0, 1, 2, 3, 4, PIECE - 2, PIECE - 1, PIECE, PIECE + 1, PIECE + 2, PIECE + 3, 2 * PIECE, 2 * PIECE + 1]


def noise(size: int) -> bytes:
    """Bytes that look different at every place of an image."""
    return bytes((7 * place + place // 251) % 256 for place in range(size))


@pytest.mark.parametrize("size", BORDERS)
def test_the_pieces_of_an_image_are_its_data_uri(size: int) -> None:
    """Joined, they are what the standard library makes of the whole, and the length is known beforehand."""
    data = noise(size)
    image = Image("image/png", data)
    written = b"".join(image.pieces())
    assert written.decode() == data_uri(data)
    assert len(image) == len(written)


@given(st.binary(max_size=200), st.sampled_from(["image/png", "image/jpeg", "image/svg+xml"]))
def test_any_bytes_become_their_data_uri(data: bytes, mime: str) -> None:
    """Whatever they are."""
    image = Image(mime, data)
    assert b"".join(image.pieces()).decode() == data_uri(data, mime)
    assert len(image) == len(data_uri(data, mime))


@pytest.mark.parametrize("size", [0, 1, PIECE, 5 * PIECE + 7])
def test_no_piece_is_large(size: int) -> None:
    """A piece is about 64 KiB, so that the loop gets its turn between two."""
    body = Body((noise(size), Image("image/png", noise(size)), b"}"))
    assert max(map(len, body.pieces())) <= 64 * 1024


parts = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(BORDERS).map(noise),
        st.builds(Image, st.just("image/gif"), st.sampled_from(BORDERS).map(noise)),
    ),
    max_size=5,
)


@given(parts)
@settings(max_examples=60, deadline=None)
def test_a_body_is_its_parts_and_can_be_written_again(parts: list[Part]) -> None:
    """A retry sends the same bytes, and their number is the Content-Length."""
    body = Body(tuple(parts))
    expected = b"".join(data_uri(part.data, part.mime).encode() if isinstance(part, Image) else part for part in parts)
    assert b"".join(body.pieces()) == b"".join(body.pieces()) == expected
    assert len(body) == len(expected)


def test_a_body_around_an_image_is_json() -> None:
    """As the service will read it."""
    data = noise(PIECE + 1)
    body = Body((b'{"image":"', Image("image/png", data), b'","duration":"5"}'))
    assert json.loads(b"".join(body.pieces())) == {"image": data_uri(data), "duration": "5"}


def test_no_repr_shows_an_image() -> None:
    """Neither the bytes nor the text that is made of them."""
    image = Image("image/png", b"SECRET" * 100)
    assert "SECRET" not in repr(image) + repr(Body((b"SECRET", image)))
