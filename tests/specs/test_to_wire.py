"""What is sent of a spec: its fields under their wire names and in their wire types, written by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
from aivideomaker_async.specs import image_fields, to_wire
from tests.support.pictures import PNG

URL = "https://example.com/cat.png"
FILM = "https://example.com/a.mp4"
SOUND = "https://example.com/a.mp3"

BODIES: list[tuple[VideoSpec | OtherModel, str]] = [
    (
        TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8),
        '{"prompt":"A sunset","aspectRatio":"16:9","duration":"8"}',
    ),
    (
        TextToVideoV3(prompt="A sunset", aspect_ratio="9:16", duration=20),
        '{"prompt":"A sunset","aspectRatio":"9:16","duration":"20"}',
    ),
    (
        ImageToVideo(image=URL, prompt="It moves", duration=5),
        '{"image":"https://example.com/cat.png","prompt":"It moves","duration":"5"}',
    ),
    (
        ImageToVideo(image=URL, duration=5),
        '{"image":"https://example.com/cat.png","duration":"5"}',
    ),
    (
        ImageToVideoV3(image=URL, prompt="It moves", duration=15),
        '{"image":"https://example.com/cat.png","prompt":"It moves","duration":"15"}',
    ),
    (
        ImageToVideoV3(image=URL, duration=10),
        '{"image":"https://example.com/cat.png","duration":"10"}',
    ),
    (
        LongVideo(image=URL, prompts=["One", "Two", "Three"]),
        '{"image":"https://example.com/cat.png","prompt":["One","Two","Three"]}',
    ),
    (
        LongVideo(image=URL, prompts=("One",)),
        '{"image":"https://example.com/cat.png","prompt":["One"]}',
    ),
    (
        TextToVideo(prompt="A", aspect_ratio="1:1", duration=5, extra={"filterMode": "strict", "seed": [1, None]}),
        '{"prompt":"A","aspectRatio":"1:1","duration":"5","filterMode":"strict","seed":[1,null]}',
    ),
    (
        MiniMaxH3(prompt="A cat"),
        '{"content":"A cat","duration":5,"resolution":"720p","tier":"turbo","aspectRatio":"16:9"}',
    ),
    (
        MiniMaxH3(
            prompt="A cat",
            duration=20,
            resolution="1080P",
            tier="base",
            aspect_ratio="21:9",
            image=URL,
            last_frame=URL,
            extra={"prompt": "x"},
        ),
        '{"content":"A cat","duration":20,"resolution":"1080p","tier":"base","aspectRatio":"21:9",'
        '"imageUrl":"https://example.com/cat.png","lastFrameUrl":"https://example.com/cat.png","prompt":"x"}',
    ),
    (
        MiniMaxH3(
            prompt="A cat",
            reference_images=[URL, URL],
            reference_video=FILM,
            reference_audios=[SOUND],
        ),
        '{"content":"A cat","duration":5,"resolution":"720p","tier":"turbo","aspectRatio":"16:9",'
        '"referenceImageUrls":["https://example.com/cat.png","https://example.com/cat.png"],'
        '"referenceVideoUrl":"https://example.com/a.mp4","referenceAudioUrls":["https://example.com/a.mp3"]}',
    ),
    (
        Seedance20(prompt="A cat", duration=4, resolution="480p", aspect_ratio="9:16"),
        '{"prompt":"A cat","duration":4,"resolution":480,"ratio":"9:16"}',
    ),
    (
        Seedance20(image=URL, video=FILM, audio=SOUND, duration=15, resolution="720P", aspect_ratio="1:1"),
        '{"image":"https://example.com/cat.png","video":"https://example.com/a.mp4","audio":"https://example.com/a.mp3",'
        '"duration":15,"resolution":720,"ratio":"1:1"}',
    ),
    (
        Wan27(prompt="A cat", duration=10),
        '{"prompt":"A cat","duration":"10","resolution":"720P","ratio":"16:9","promptExtend":false}',
    ),
    (
        Wan27(prompt="A cat", image=URL, duration=5, resolution=1080, aspect_ratio="3:4", prompt_extend=True),
        '{"prompt":"A cat","image":"https://example.com/cat.png","duration":"5","resolution":"1080P","ratio":"3:4",'
        '"promptExtend":true}',
    ),
    (
        HappyHorse(prompt="A cat", duration=3),
        '{"prompt":"A cat","duration":3,"resolution":"720P","ratio":"16:9"}',
    ),
    (
        HappyHorse(prompt="A cat", duration=15, image=URL, resolution="1080p", aspect_ratio="4:3"),
        '{"prompt":"A cat","image":"https://example.com/cat.png","duration":15,"resolution":"1080P","ratio":"4:3"}',
    ),
    (
        HappyHorse(prompt="A cat", duration=7, image=[URL]),
        '{"prompt":"A cat","image":["https://example.com/cat.png"],"duration":7,"resolution":"720P","ratio":"16:9"}',
    ),
    (
        OtherModel("minimax", {"content": "A cat", "duration": 5, "promptExtend": False, "image": URL}),
        '{"content":"A cat","duration":5,"promptExtend":false,"image":"https://example.com/cat.png"}',
    ),
    (OtherModel("empty", {}), "{}"),
]


def in_order(body: str) -> Any:
    """The fields as sorted pairs, since their order is free, with the types of all values: 5 is not 5.0."""
    return json.loads(
        body, object_pairs_hook=sorted, parse_constant=repr, parse_float=repr, parse_int=lambda text: (text,)
    )


@pytest.mark.parametrize(("spec", "expected"), BODIES)
def test_the_body_is_what_the_api_documents(spec: VideoSpec | OtherModel, expected: str) -> None:
    """Nothing that was not given, and no field twice."""
    assert in_order(json.dumps(to_wire(spec))) == in_order(expected)


IMAGES: list[tuple[VideoSpec | OtherModel, dict[str, Any]]] = [
    (ImageToVideo(image=PNG, duration=5), {"image": PNG}),
    (LongVideo(image=URL, prompts=("a",)), {"image": URL}),
    (TextToVideo(prompt="a", aspect_ratio="1:1", duration=5), {}),
    (OtherModel("minimax", {"image": URL}), {}),
    (MiniMaxH3(prompt="a", reference_images=[PNG, URL]), {"reference_images": (PNG, URL)}),
    (MiniMaxH3(prompt="a", image=PNG, last_frame=URL), {"image": PNG, "last_frame": URL}),
    (MiniMaxH3(prompt="a", reference_images=[], reference_audios=[SOUND]), {}),
    (Seedance20(image=PNG, video=FILM, duration=5, resolution=480, aspect_ratio="1:1"), {"image": PNG}),
    (HappyHorse(prompt="a", duration=5), {}),
    (HappyHorse(prompt="a", duration=5, image=PNG), {"image": PNG}),
    (HappyHorse(prompt="a", duration=5, image=[PNG]), {"image": (PNG,)}),
]


@pytest.mark.parametrize(("spec", "expected"), IMAGES)
def test_images_that_must_be_loaded_are_found(spec: VideoSpec | OtherModel, expected: dict[str, Any]) -> None:
    """As the user gave them, by the Python names of their fields."""
    assert image_fields(spec) == expected
