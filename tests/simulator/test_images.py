import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.images import is_web_url, read_data_uri
from tests.simulator.client import PNG, PNG_URI


@pytest.mark.parametrize(
    "url",
    ["http://a/b.png", "https://example.com", "HTTPS://EXAMPLE.com/ä?x=1#y", "http://[::1]:80/"],
)
def test_an_absolute_http_url_with_a_host_is_a_web_url(url: str) -> None:
    assert is_web_url(url)


@pytest.mark.parametrize(
    "text",
    ["", "a.png", "//a/b", "ftp://a/b", "https://", "http:///a", "http://[::1", "http://a/b c"],
)
def test_anything_else_is_none(text: str) -> None:
    assert not is_web_url(text)


def test_an_upload_has_its_bytes_its_type_and_a_name_made_of_its_content() -> None:
    upload = read_data_uri(PNG_URI)
    assert (upload.content, upload.media_type) == (PNG, "image/png")
    assert upload.name.endswith(".png")
    assert upload == read_data_uri(PNG_URI)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\xff\xd8\xff\xe0 jpeg", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\n\n\n\nWEBPVP8 ", "image/webp"),
        (b"BM" + bytes(20), "image/bmp"),
        (b"II*\x00....", "image/tiff"),
        (b"MM\x00*....", "image/tiff"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
    ],
)
def test_the_content_decides_the_type(content: bytes, media_type: str) -> None:
    uri = f"data:image/anything;base64,{base64.b64encode(content).decode()}"
    assert read_data_uri(uri).media_type == media_type


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("picture.png", "must be a public"),
        ("data:image/png,abc", "must be a public"),
        ("data:text/plain;base64,aGk=", "must be a public"),
        ("data:image/jpg;base64,/9j/4A==", "use image/jpeg"),
        ("data:image/png;base64,iVBO*w==", "not valid base64"),
        ("data:image/png;base64,iVBORw0KG", "not valid base64"),
        ("data:image/png;base64,é", "not valid base64"),
        ("data:image/png;base64,", "no image"),
        ("data:image/png;base64,aGVsbG8=", "no image"),
    ],
)
def test_a_bad_data_uri_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_data_uri(text)


@given(st.binary(max_size=200))
def test_any_image_content_survives_the_upload(tail: bytes) -> None:
    content = PNG[:8] + tail
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    assert read_data_uri(uri).content == content
