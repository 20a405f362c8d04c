"""Rendering of videos as playable MP4 files: H.264, yuv420p, with the index first for streaming.

Needs the extra `simulator` (PyAV and Pillow). Each segment is drawn once. From frame to frame only the bar at the
bottom grows, which is cheap to draw and to store.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from .video_store import VideoContent

FRAMES_PER_SECOND = 12
LANDSCAPE = (640, 360)
PORTRAIT = (360, 640)
SQUARE = (480, 480)

_MARGIN = 24
_BAR_HEIGHT = 8
_FONT_SIZES = (34, 28, 22, 18, 15)
_SMALLEST_FONT = 12
_LINE_SPACING = 1.35
_CAPTION_SIZE = 13
_MAX_PROMPT_CHARS = 600
_MAX_IMAGE_PIXELS = 50_000_000
_ENCODER = {"preset": "veryfast", "crf": "28"}

Size = tuple[int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def render(content: VideoContent) -> bytes:
    """Return an MP4 file of exactly `content.seconds` seconds. Blocks for the CPU time that this takes."""
    image = _open(content.image)
    size = _size(content.aspect, image)
    pictures = [_picture(content, prompt, image, size) for prompt in content.prompts]
    # The library moves the index to the front only in a file that has a name.
    with tempfile.TemporaryDirectory(prefix="aivideomaker-") as folder:
        path = Path(folder, "clip.mp4")
        _encode(path, pictures, content.seconds)
        return path.read_bytes()


def _encode(path: Path, pictures: list[Image.Image], seconds: int) -> None:
    frames = seconds * FRAMES_PER_SECOND
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", FRAMES_PER_SECOND, options=_ENCODER)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(_frames(pictures, frames)):
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            frame.pts = number
            frame.time_base = Fraction(1, FRAMES_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _frames(pictures: list[Image.Image], frames: int) -> Iterator[Image.Image]:
    width, height = pictures[0].size
    for number in range(frames):
        picture = pictures[number * len(pictures) // frames]
        done = round(width * (number + 1) / frames)
        ImageDraw.Draw(picture).rectangle((0, height - _BAR_HEIGHT, done, height), fill="white")
        yield picture


def _open(content: bytes | None) -> Image.Image | None:
    if content is None:
        return None
    try:
        image = Image.open(io.BytesIO(content))
        if image.width * image.height > _MAX_IMAGE_PIXELS:
            return None
        return ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # noqa: BLE001 - a hostile file may provoke any error; the video then shows text alone
        return None


def _size(aspect: str | None, image: Image.Image | None) -> Size:
    if aspect is None:
        width, height = image.size if image is not None else LANDSCAPE
    else:
        width, height = (int(part) for part in aspect.split(":"))
    if width == height:
        return SQUARE
    return LANDSCAPE if width > height else PORTRAIT


def _picture(content: VideoContent, prompt: str, image: Image.Image | None, size: Size) -> Image.Image:
    picture = _background(content, prompt, size) if image is None else _fitted(image, size)
    draw = ImageDraw.Draw(picture, "RGBA")
    lines, font = _layout(_printable(prompt), size)
    text = "\n".join(lines)
    box = draw.multiline_textbbox((0, 0), text, font)
    left, top = (size[0] - (box[2] - box[0])) / 2, (size[1] - (box[3] - box[1])) / 2
    if image is not None and text:
        draw.rectangle((left - 8, top - 8, size[0] - left + 8, size[1] - top + 8), fill=(0, 0, 0, 150))
    draw.multiline_text((left - box[0], top - box[1]), text, "white", font, align="center")
    caption = f"simulated · {content.model} · {content.seconds} s"
    draw.text((_MARGIN, size[1] - _MARGIN - _CAPTION_SIZE), caption, "white", _font(_CAPTION_SIZE))
    return picture


def _background(content: VideoContent, prompt: str, size: Size) -> Image.Image:
    hue = hashlib.sha256(f"{content.model}/{prompt}".encode(errors="replace")).digest()[0] / 255
    upper, lower = (
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue + shift, 0.6, light))
        for shift, light in ((0.0, 0.55), (0.08, 0.25))
    )
    return ImageOps.colorize(Image.linear_gradient("L").resize(size), upper, lower)


def _fitted(image: Image.Image, size: Size) -> Image.Image:
    fitted = ImageOps.contain(image, size)
    picture = Image.new("RGB", size, "black")
    picture.paste(fitted, ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2))
    return picture


def _printable(prompt: str) -> str:
    text = "".join(one if one.isprintable() else " " for one in prompt)
    return text if len(text) <= _MAX_PROMPT_CHARS else f"{text[:_MAX_PROMPT_CHARS]}…"


def _layout(prompt: str, size: Size) -> tuple[list[str], Font]:
    width, height = size[0] - 2 * _MARGIN, size[1] - 5 * _MARGIN
    for points in _FONT_SIZES:
        font = _font(points)
        lines = _wrap(prompt, font, width)
        if len(lines) * points * _LINE_SPACING <= height:
            return lines, font
    smallest = _font(_SMALLEST_FONT)
    return _wrap(prompt, smallest, width), smallest


def _wrap(prompt: str, font: Font, width: int) -> list[str]:
    lines = [""]
    for word in prompt.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        # A word longer than a line is broken where the line ends.
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _font(points: int) -> Font:
    return ImageFont.load_default(size=points)
