from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import (
    HappyHorse,
    ImageToVideo,
    ImageToVideoV3,
    LongVideo,
    MiniMaxH3,
    OtherModel,
    Seedance20,
    TextToVideo,
    TextToVideoV3,
    VideoSpec,
    Wan27,
)
from aivideomaker_async._submits import request_body
from aivideomaker_async._submits.body import Base64Text, Body, Image, Text
from aivideomaker_async._submits.request_body import write_body
from tests.support.pictures import PNG, as_image, data_uri, picture

URL = "https://example.com/cat.png"


def written(body: Body) -> bytes:
    return b"".join(body.pieces())


# --- bodies, written by hand -------------------------------------------------------------------------

DATA = data_uri(PNG)
FILM = "https://example.com/a.mp4"
SOUND = "https://example.com/a.mp3"
Images = dict[str, Image | str | list[Image | str]]

BODIES: list[tuple[VideoSpec | OtherModel, Images, str]] = [
    (
        TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8),
        {},
        '{"prompt":"A sunset","aspectRatio":"16:9","duration":"8"}',
    ),
    (
        TextToVideoV3(prompt="A sunset", aspect_ratio="9:16", duration=20),
        {},
        '{"prompt":"A sunset","aspectRatio":"9:16","duration":"20"}',
    ),
    (
        ImageToVideo(image=URL, prompt="It moves", duration=5),
        {"image": URL},
        '{"image":"https://example.com/cat.png","prompt":"It moves","duration":"5"}',
    ),
    (
        ImageToVideo(image=URL, duration=5),
        {"image": URL},
        '{"image":"https://example.com/cat.png","duration":"5"}',
    ),
    (
        ImageToVideoV3(image=URL, prompt="It moves", duration=15),
        {"image": URL},
        '{"image":"https://example.com/cat.png","prompt":"It moves","duration":"15"}',
    ),
    (
        ImageToVideoV3(image=PNG, duration=10),
        {"image": as_image(PNG)},
        '{"image":"' + DATA + '","duration":"10"}',
    ),
    (
        LongVideo(image=URL, prompts=["One", "Two", "Three"]),
        {"image": URL},
        '{"image":"https://example.com/cat.png","prompt":["One","Two","Three"]}',
    ),
    (
        LongVideo(image=Path("/no/such.png"), prompts=("One",)),
        {"image": as_image(PNG)},
        '{"image":"' + DATA + '","prompt":["One"]}',
    ),
    (
        TextToVideo(prompt="A", aspect_ratio="1:1", duration=5, extra={"filterMode": "strict", "seed": [1, None]}),
        {},
        '{"prompt":"A","aspectRatio":"1:1","duration":"5","filterMode":"strict","seed":[1,null]}',
    ),
    (
        MiniMaxH3(prompt="A cat"),
        {},
        '{"content":"A cat","duration":5,"resolution":"720p","tier":"turbo","aspectRatio":"16:9"}',
    ),
    (
        MiniMaxH3(
            prompt="A cat",
            duration=20,
            resolution="1080P",
            tier="base",
            aspect_ratio="21:9",
            image=PNG,
            last_frame=URL,
            extra={"prompt": "x"},
        ),
        {"image": as_image(PNG), "last_frame": URL},
        '{"content":"A cat","duration":20,"resolution":"1080p","tier":"base","aspectRatio":"21:9",'
        '"imageUrl":"' + DATA + '","lastFrameUrl":"https://example.com/cat.png","prompt":"x"}',
    ),
    (
        MiniMaxH3(
            prompt="A cat",
            reference_images=[PNG, URL, Path("/no/such.png")],
            reference_video=FILM,
            reference_audios=[SOUND],
        ),
        {"reference_images": [as_image(PNG), URL, as_image(PNG)]},
        '{"content":"A cat","duration":5,"resolution":"720p","tier":"turbo","aspectRatio":"16:9",'
        '"referenceImageUrls":["' + DATA + '","https://example.com/cat.png","' + DATA + '"],'
        '"referenceVideoUrl":"https://example.com/a.mp4","referenceAudioUrls":["https://example.com/a.mp3"]}',
    ),
    (
        Seedance20(prompt="A cat", duration=4, resolution="480p", aspect_ratio="9:16"),
        {},
        '{"prompt":"A cat","duration":4,"resolution":480,"ratio":"9:16"}',
    ),
    (
        Seedance20(image=PNG, video=FILM, audio=SOUND, duration=15, resolution="720P", aspect_ratio="1:1"),
        {"image": as_image(PNG)},
        '{"image":"' + DATA + '","video":"https://example.com/a.mp4","audio":"https://example.com/a.mp3",'
        '"duration":15,"resolution":720,"ratio":"1:1"}',
    ),
    (
        Wan27(prompt="A cat", duration=10),
        {},
        '{"prompt":"A cat","duration":"10","resolution":"720P","ratio":"16:9","promptExtend":false}',
    ),
    (
        Wan27(prompt="A cat", image=URL, duration=5, resolution=1080, aspect_ratio="3:4", prompt_extend=True),
        {"image": URL},
        '{"prompt":"A cat","image":"https://example.com/cat.png","duration":"5","resolution":"1080P","ratio":"3:4",'
        '"promptExtend":true}',
    ),
    (
        HappyHorse(prompt="A cat", duration=3),
        {},
        '{"prompt":"A cat","duration":3,"resolution":"720P","ratio":"16:9"}',
    ),
    (
        HappyHorse(prompt="A cat", duration=15, image=PNG, resolution="1080p", aspect_ratio="4:3"),
        {"image": as_image(PNG)},
        '{"prompt":"A cat","image":"' + DATA + '","duration":15,"resolution":"1080P","ratio":"4:3"}',
    ),
    (
        HappyHorse(prompt="A cat", duration=7, image=[URL]),
        {"image": [URL]},
        '{"prompt":"A cat","image":["https://example.com/cat.png"],"duration":7,"resolution":"720P","ratio":"16:9"}',
    ),
    (
        OtherModel("minimax", {"content": "A cat", "duration": 5, "promptExtend": False, "image": URL}),
        {},
        '{"content":"A cat","duration":5,"promptExtend":false,"image":"https://example.com/cat.png"}',
    ),
    (OtherModel("empty", {}), {}, "{}"),
]


@pytest.mark.parametrize(("spec", "images", "expected"), BODIES)
def test_the_body_is_what_the_api_documents(spec: VideoSpec | OtherModel, images: Images, expected: str) -> None:
    """Wire names and wire types (some models take a duration as a text), no omitted fields, and the extra fields."""
    body = write_body(spec, images)
    # As sorted pairs: the order of the fields is free, and a field that is written twice must be noticed.
    assert in_order(written(body)) == in_order(expected.encode())
    assert len(body) == len(expected)


def in_order(body: bytes) -> object:
    """Return the decoded body with sorted fields, in a form in which 5 differs from 5.0, and false from 0."""
    return json.loads(
        body, object_pairs_hook=sorted, parse_constant=repr, parse_float=repr, parse_int=lambda text: (text,)
    )


def test_urls_of_images_are_sent_as_they_are() -> None:
    spec = MiniMaxH3(prompt="A cat", reference_images=[URL, URL], reference_audios=[SOUND, SOUND])
    assert json.loads(written(write_body(spec)))["referenceImageUrls"] == [URL, URL]
    assert json.loads(written(write_body(HappyHorse(prompt="A", duration=5, image=(URL,)))))["image"] == [URL]


def test_the_order_of_images_in_a_list_is_part_of_the_request() -> None:
    one, two = as_image(PNG), as_image(picture("PNG", 9))
    spec = MiniMaxH3(prompt="A cat", reference_images=[URL, URL, URL])
    fields = request_body.outline(spec, {"reference_images": [one, URL, two]})
    assert fields["referenceImageUrls"] == [one, URL, two]
    body = request_body.write_outline(fields)
    assert [type(part) for part in body.parts] == [bytes, Image, bytes, Image, bytes]
    assert body.digest == write_body(spec, {"reference_images": [one, URL, two]}).digest
    assert body.digest != write_body(spec, {"reference_images": [two, URL, one]}).digest
    assert body.digest != write_body(spec, {"reference_images": [one, two, URL]}).digest


@given(st.text(min_size=1).filter(str.strip))
def test_any_prompt_arrives_as_it_was_written(prompt: str) -> None:
    try:
        prompt.encode()
    except UnicodeEncodeError:
        return
    body = write_body(TextToVideo(prompt=prompt, aspect_ratio="1:1", duration=5))
    assert json.loads(written(body))["prompt"] == prompt
    assert len(body) == len(written(body))


LONG = "data:image/png;base64," + "QUJD" * 50_000
NOVEL = 'Она сказала: "é\u2028😀\\"\n\x00' * 5_000


@pytest.mark.parametrize(
    "body",
    [
        {"image": LONG, "duration": 5},
        {"images": [LONG, URL, NOVEL], "deep": {"er": ({"last": LONG}, None)}, "text": LONG},
        {"first": LONG[:65_536], "then": LONG[:65_537]},
        {LONG: LONG, 'a "name"': [[], {}, (), ""]},
        [],
    ],
)
def test_long_texts_are_escaped_as_json_escapes_them_at_any_depth(body: Any) -> None:
    fields = {"fields": body, "end": 1}
    expected = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    for spec, image in (
        (OtherModel("m", fields), None),
        (TextToVideo(prompt="a", aspect_ratio="1:1", duration=5, extra=fields), None),
        (ImageToVideo(image=PNG, duration=5, extra=fields), as_image(PNG)),
    ):
        found = write_body(spec, {} if image is None else {"image": image})
        assert len(found) == len(written(found))
        assert written(found).endswith(expected[1:])
        json.loads(written(found))


def test_a_long_text_is_a_part_of_its_own() -> None:
    """Joining it with the rest would copy it."""
    found = write_body(OtherModel("m", {"a": LONG, "b": "short", "c": [LONG]}))
    assert [type(part) for part in found.parts] == [bytes, Text, bytes, Text, bytes]
    assert found.parts[1] == found.parts[3] == Text.of(LONG)
    assert b"".join(part for part in found.parts if isinstance(part, bytes)) == b'{"a":"","b":"short","c":[""]}'


@pytest.mark.parametrize("late", [object(), b"bytes", float("nan"), "\ud800", "\ud800" * 100_000])
def test_a_value_added_after_validation_is_refused_when_the_body_is_written(late: object) -> None:
    """The lists in a body are the caller's, who can change them at any time."""
    images: list[object] = [URL, LONG]
    spec = OtherModel("m", {"images": images})
    images.append(late)
    with pytest.raises((TypeError, ValueError)):
        write_body(spec)


def test_equal_bodies_have_equal_digests() -> None:
    """The form in which an image was passed does not matter; another image, text or field makes another digest."""
    other = picture("PNG", 9)

    def digest(image: Image | str | None = None, **fields: object) -> bytes:
        return write_body(
            ImageToVideo(image=URL, duration=5, extra=fields), {} if image is None else {"image": image}
        ).digest

    text = Base64Text(data_uri(PNG))
    from_text = Image("image/png", len(PNG), as_image(PNG).digest, text)
    assert digest(as_image(PNG)) == digest(from_text) == digest(as_image(PNG))
    different = [
        digest(),
        digest(as_image(PNG)),
        digest(as_image(other)),
        digest(URL + "2"),
        digest(a=LONG),
        digest(a=LONG[:-1]),
        digest(a=LONG[:-4] + "QUJE"),
        digest(b=LONG),
    ]
    assert len({*different}) == len(different)


def test_the_images_of_a_spec_are_found_by_the_names_of_their_fields() -> None:
    """A model without a class has none: its fields are sent as they are."""
    assert request_body.images_of(ImageToVideo(image=PNG, duration=5)) == {"image": PNG}
    assert request_body.images_of(LongVideo(image=URL, prompts=("a",))) == {"image": URL}
    assert request_body.images_of(TextToVideo(prompt="a", aspect_ratio="1:1", duration=5)) == {}
    assert request_body.images_of(OtherModel("minimax", {"image": URL})) == {}
    h3 = MiniMaxH3(prompt="a", reference_images=[PNG, URL])
    assert request_body.images_of(h3) == {"reference_images": (PNG, URL)}
    assert request_body.images_of(HappyHorse(prompt="a", duration=5, image=PNG)) == {"image": PNG}
    assert request_body.images_of(HappyHorse(prompt="a", duration=5, image=[PNG])) == {"image": (PNG,)}
    assert request_body.images_of(HappyHorse(prompt="a", duration=5)) == {}
    frames = MiniMaxH3(prompt="a", image=PNG, last_frame=URL)
    assert request_body.images_of(frames) == {"image": PNG, "last_frame": URL}
    assert request_body.images_of(MiniMaxH3(prompt="a", reference_images=[], reference_audios=[SOUND])) == {}
    seedance = Seedance20(image=PNG, video=FILM, audio=SOUND, duration=5, resolution=480, aspect_ratio="1:1")
    assert request_body.images_of(seedance) == {"image": PNG}
