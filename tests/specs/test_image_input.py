from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.specs.image_input import freeze_image, image_problem, image_type, show_image, split_data_uri
from tests.support.pictures import MIMES, NO_PICTURES, PICTURES, PNG, data_uri, picture


@pytest.mark.parametrize("kind", MIMES)
def test_the_type_follows_from_the_content(kind: str) -> None:
    """By its first bytes; the size of the image does not matter."""
    assert image_type(PICTURES[kind]) == MIMES[kind]
    assert image_type(picture(kind, 400)[:4096]) == MIMES[kind]


def test_a_jpeg_is_image_jpeg() -> None:
    """The service refuses `image/jpg` on one path."""
    assert image_type(PICTURES["JPEG"]) == "image/jpeg"
    assert image_type(b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00" + bytes(64)) == "image/jpeg"
    assert image_type(b"\xff\xd8\xff\xdb\x00\x43\x00" + bytes(64)) == "image/jpeg"


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heif"),
        (b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc", "image/heif"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "image/avif"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "image/jp2"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", None),
    ],
)
def test_a_picture_in_boxes_is_named_as_what_it_is(head: bytes, mime: str | None) -> None:
    """As phones and cameras make them; a film is none."""
    assert image_type(head + bytes(64)) == mime


@pytest.mark.parametrize("name", NO_PICTURES)
def test_other_contents_have_no_image_type(name: str) -> None:
    """Text, documents, archives, films, nothing."""
    assert image_type(NO_PICTURES[name]) is None


@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_have_a_type_or_no_type(data: bytes) -> None:
    """Nothing is raised."""
    mime = image_type(data)
    assert mime is None or mime.startswith("image/")


@pytest.mark.parametrize(
    "prose",
    [
        *(b"GIF89 was a format", b"RIFFs and solos", b"II*", b"\x89PNG"),
        *(b"BMW builds cars", b"P6 is a road", b"BM\nand a second line", b"GIF89a is a format"),
    ],
)
def test_a_text_that_begins_like_an_image_is_refused(prose: bytes) -> None:
    """A prompt in the wrong field, for example: an image has bytes that no text has."""
    assert image_type(prose) is None


# --- what can be an image ----------------------------------------------------------------------------


class Readable:
    """A file of the caller's own making."""

    def read(self) -> bytes:
        return PNG


@pytest.mark.parametrize("kind", MIMES)
def test_every_form_of_an_image_is_accepted(kind: str) -> None:
    """For every type that the service accepts; nothing is read yet."""
    data, mime = PICTURES[kind], MIMES[kind]
    forms = [
        data,
        data_uri(data, mime),
        data_uri(data, "image/jpg"),
        data_uri(data, "image/png;charset=utf-8"),
        "  " + data_uri(data, mime).replace("data:", "DATA:"),
        Path("no/such/file"),
        io.BytesIO(data),
        Readable(),
        f"https://example.com/cat.{kind}",
    ]
    assert [image_problem(form) for form in forms] == [None] * len(forms)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/a.png?token=1#f",
        "https://user:pw@example.com:8443/a.png",
        "https://[::1]/a.png",
        "https://пример.рф/кот.png",
        "HTTPS://EXAMPLE.COM/A.PNG",
    ],
)
def test_an_http_url_is_accepted(url: str) -> None:
    """The service finds out whether there is an image behind it."""
    assert image_problem(url) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cat.png",
        "./cat.png",
        "/etc/passwd",
        "C:\\cat.png",
        "file:///etc/passwd",
        "ftp://example.com/cat.png",
        "//example.com/cat.png",
        "https://",
        "https:///cat.png",
        "https://[::1/cat.png",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com/a cat.png",
        "https://example.com/\r\ncat.png",
        " https://example.com/cat.png",
        "https://example.com/\ud800",
    ],
)
def test_a_text_that_is_not_a_url_is_never_taken_for_a_file(text: str) -> None:
    """It may come from a stranger, who must not read files of this machine; the message names the way."""
    problem = image_problem(text)
    assert problem is not None
    assert "pathlib.Path" in problem


@pytest.mark.parametrize(
    "uri",
    [
        "data:",
        "data:,",
        "data:image/png,%89PNG%0D%0A%1A%0A",
        "data:image/png;charset=utf-8," + PNG.hex(),
        "data:text/plain;base64,QUJD",
        "data:application/pdf;base64,JVBERi0xLjc=",
        "data:image/png;base64,",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,%69VBORw0KGgo=",
        "data:;base64," + data_uri(PNG).partition(",")[2],
        "data:image/png;base64;charset=utf-8," + data_uri(PNG).partition(",")[2],
        "data:image/png;base64,ключ",
        *(data_uri(data) for data in NO_PICTURES.values()),
    ],
)
def test_a_data_uri_without_an_image_in_it_is_refused(uri: str) -> None:
    """It must have an image type, be base64, and hold the beginning of an image."""
    assert image_problem(uri) == "a data:image/...;base64,... URI whose content is an image"


@pytest.mark.parametrize("name", NO_PICTURES)
def test_bytes_without_an_image_are_refused(name: str) -> None:
    """By their content."""
    problem = image_problem(NO_PICTURES[name])
    assert problem is not None
    assert problem.startswith("the bytes of an image")


class BytesPath:
    """A path of bytes."""

    def __fspath__(self) -> bytes:
        return b"cat.png"


def test_a_file_in_text_mode_is_refused_with_the_right_mode() -> None:
    """It gives no bytes."""
    assert image_problem(io.StringIO("x")) == "a file opened in binary mode ('rb')"
    assert image_problem(io.TextIOWrapper(io.BytesIO(PNG))) == "a file opened in binary mode ('rb')"


@pytest.mark.parametrize("value", [None, 5, True, [], {}, object(), BytesPath()])
def test_anything_else_is_refused(value: object) -> None:
    """The message names what is allowed."""
    problem = image_problem(value)
    assert problem is not None
    assert "data:image" in problem
    assert "pathlib.Path" in problem


def test_line_breaks_in_base64_are_common() -> None:
    """They do not hide an image."""
    head, _, text = data_uri(picture("PNG", 200)).partition(",")
    wrapped = f"{head},\r\n" + "\r\n".join(text[place : place + 76] for place in range(0, len(text), 76))
    assert image_problem(wrapped) is None
    found = split_data_uri(wrapped)
    assert found is not None
    assert found[0] == len(head) + 1
    assert picture("PNG", 200).startswith(found[1][:100])


@given(st.text(max_size=80), st.sampled_from(["", "data:", "data:image/png;base64,", "https://"]))
def test_any_text_is_an_image_or_has_a_problem(text: str, start: str) -> None:
    """Nothing is raised."""
    problem = image_problem(start + text)
    assert problem is None or problem
    assert split_data_uri(text) is None or text.lstrip().lower().startswith("data:image/")


# --- buffers and reprs -------------------------------------------------------------------------------


def test_only_buffers_are_copied() -> None:
    """Bytes, texts, paths and files are kept as they are."""
    buffer = bytearray(PNG)
    assert freeze_image(buffer) == PNG
    assert type(freeze_image(buffer)) is type(freeze_image(memoryview(buffer))) is bytes
    for kept in (PNG, "https://example.com", Path("a"), io.BytesIO(PNG)):
        assert freeze_image(kept) is kept


class Scanned:
    """As `os.scandir` gives them."""

    def __fspath__(self) -> str:
        return "cat.png"

    def __repr__(self) -> str:
        return "<DirEntry 'cat.png'>"


BASE64 = data_uri(PNG * 2).partition(",")[2].replace("=", "")
"""An image that has lost its head."""


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ("https://me:pw@example.com/a.png?sig=SECRET", "'https://example.com/a.png?…'"),
        ("https://example.com/a.png", "'https://example.com/a.png'"),
        ("not an image", "'not an image'"),
        ("data:image/png;base64,SECRET", "<data URI, 28 characters>"),
        (" " * 70 + "Data:image/png;base64,SECRET", "<data URI, 98 characters>"),
        (b"SECRET", "<6 bytes>"),
        (Path("cat.png"), repr(Path("cat.png"))),
        ("cat.png", "'cat.png'"),
        ("ftp://me:pw@example.com/a.png?sig=SECRET", "'ftp://example.com/a.png?…'"),
        ("see https://example.com/SECRET", "'see https://example.com/…'"),
        (BASE64, f"<text, {len(BASE64)} characters>"),
        (f"https://example.com/{BASE64[:100]}", f"'https://example.com/{BASE64[:100]}'"),
        (Path(BASE64), f"<{type(Path()).__name__}, {len(BASE64)} characters>"),
        (Path("s3://b/x?sig=SECRET"), f"<{type(Path()).__name__}, 18 characters>"),
        (Path("x" * 5000), f"<{type(Path()).__name__}, 5000 characters>"),
        (Scanned(), "<DirEntry 'cat.png'>"),
        (io.BytesIO(b"SECRET"), "<BytesIO>"),
        (None, "<NoneType>"),
    ],
)
def test_an_image_is_named_by_kind_and_size(image: str | bytes | os.PathLike[str], shown: str) -> None:
    """Never by its content, and a URL without what may be a secret."""
    assert show_image(image) == shown


def test_a_drawing_in_svg_is_an_image_though_it_is_text() -> None:
    """The service may refuse it."""
    assert image_type(b"<svg xmlns='http://www.w3.org/2000/svg'></svg>") == "image/svg+xml"


def test_a_file_that_is_read_asynchronously_is_refused() -> None:
    """An upload of a web framework: the message names what to do."""

    class Upload:
        async def read(self) -> bytes:
            return b""

    assert image_problem(Upload()) == "a file that is not async: read it first, and pass its bytes"


def test_a_file_that_is_closed_is_refused_at_once() -> None:
    """It cannot be read later."""
    file = io.BytesIO(PNG)
    file.close()
    assert image_problem(file) == "a file that is open for reading, and this one is closed"


def test_a_released_view_is_refused() -> None:
    """It has no bytes any more."""
    view = memoryview(bytearray(PNG))
    view.release()
    assert freeze_image(view) is view
    problem = image_problem(freeze_image(view))
    assert problem is not None
    assert show_image(view) == "<memoryview>"


def test_a_very_long_text_is_not_parsed() -> None:
    """Base64 text without its head, for example; a URL is never as long, and such a text is not shown."""
    text = data_uri(PNG * 1000).partition(",")[2]
    assert len(text) > 2**16
    for long in (text, f"https://example.com/{text}"):
        problem = image_problem(long)
        assert problem is not None
        assert show_image(long) == f"<text, {len(long)} characters>"
    assert image_problem(f"https://example.com/{text[: 2**16 - 20]}") is None


def test_the_head_of_a_data_uri_is_limited() -> None:
    """A text without a comma is not searched to its end."""
    assert image_problem(data_uri(PNG).replace(";", ";" + "x" * 4_000 + ";")) is None
    assert image_problem(data_uri(PNG).replace(";", ";" + "x" * 5_000 + ";")) is not None


class Nameless:
    """A file whose name raises."""

    @property
    def name(self) -> str:
        raise RuntimeError("no")

    def read(self) -> bytes:
        return PNG


def test_a_file_is_shown_by_its_name(tmp_path: Path) -> None:
    """A number or a secret is not a name."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with path.open("rb") as file, os.fdopen(os.dup(file.fileno()), "rb") as numbered:
        assert show_image(file) == f"<BufferedReader {str(path)!r}>"
        assert show_image(numbered) == "<BufferedReader>"
    assert show_image(Nameless()) == "<Nameless>"
    assert show_image(Fetched()) == "<Fetched 'https://example.com/a.png?…'>"


class Fetched(io.BytesIO):
    """A file that is named by where it came from."""

    name = "https://me:pw@example.com/a.png?sig=SECRET"
