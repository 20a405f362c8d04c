"""Whether a task of the list is what was ordered."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import HappyHorse, MiniMaxH3, Seedance20, VideoSpec, Wan27
from aivideomaker_async._submits.body import Image, Text, Views
from aivideomaker_async._submits.matching import Likeness, Order, likeness, order
from aivideomaker_async._submits.request_body import images_of, outline, to_wire
from aivideomaker_async.tasks import TaskDetails, TaskStatus
from tests.support.pictures import PNG, as_image, data_uri

SAME, MAYBE, OTHER = Likeness.SAME, Likeness.MAYBE, Likeness.OTHER
TEXT = {"prompt": "a red fox in the snow", "aspectRatio": "16:9", "duration": "5"}


def picture(content: bytes = b"\x89PNG") -> Image:
    return Image("image/png", len(content), content, Views([memoryview(content)]))


PICTURE = picture()
URL = "https://pictures.example/a.png"


def task(shown: dict[str, Any], model: str | None = "t2v") -> TaskDetails:
    return TaskDetails(id="ck1", status=TaskStatus.SUBMITTED, model=model, input=shown)


@pytest.mark.parametrize(
    ("sent", "shown", "expected"),
    [
        (TEXT, TEXT, SAME),
        (TEXT, TEXT | {"duration": 5}, SAME),
        (TEXT, TEXT | {"duration": 5.0}, SAME),
        (TEXT, TEXT | {"prompt": "  a red  fox in the snow\n"}, SAME),
        ({"prompt": "café"}, {"prompt": "cafe\u0301"}, SAME),
        # What the service adds.
        (TEXT, TEXT | {"resolution": "720p", "filterMode": None, "seed": 7, "promptExtend": False}, SAME),
        (TEXT, TEXT | {"negative": "", "images": []}, SAME),
        # Settings that it does not show; the words tell.
        (TEXT, {"prompt": TEXT["prompt"]}, SAME),
        # Other orders.
        (TEXT, TEXT | {"prompt": "a blue whale"}, OTHER),
        (TEXT, TEXT | {"prompt": "a red"}, OTHER),
        ({"prompt": "fox number 1"}, {"prompt": "fox number 12"}, OTHER),
        ({"duration": "5"}, {"duration": "8"}, OTHER),
        # What cannot be told.
        (TEXT, {}, MAYBE),
        (TEXT, TEXT | {"prompt": ""}, MAYBE),
        (TEXT, {"duration": "5"}, MAYBE),
        ({"duration": "5"}, {"resolution": "720p"}, MAYBE),
        (TEXT, TEXT | {"prompt": "a red fox in the s"}, MAYBE),
        ({"prompt": ["one", "two"]}, {"prompt": '["one", "two"]'}, MAYBE),
        # The same words, and a setting in another form; or another order.
        (TEXT, TEXT | {"duration": "8"}, MAYBE),
        (TEXT, TEXT | {"duration": "5s", "aspectRatio": "landscape"}, MAYBE),
        # The same words in another form.
        (TEXT, TEXT | {"prompt": "A Red Fox in the Snow"}, MAYBE),
        (TEXT, TEXT | {"prompt": "a red fox..."}, MAYBE),
        (TEXT, TEXT | {"prompt": "a%20red%20fox%20in%20the%20snow"}, MAYBE),
        (TEXT, TEXT | {"prompt": "cinematic: a red fox in the snow"}, MAYBE),
        ({"prompt": "cats & dogs"}, {"prompt": "cats &amp; dogs"}, MAYBE),
        (TEXT | {"promptExtend": True}, TEXT | {"prompt": "words of a machine", "promptExtend": True}, MAYBE),
        # What was not sent, and is no setting.
        ({"duration": "5"}, {"duration": "5", "prompt": "words"}, MAYBE),
        ({"prompt": "x"}, {"prompt": "x", "image": URL}, MAYBE),
        ({"prompt": "x"}, {"prompt": "x", "referenceImageUrls": [URL]}, MAYBE),
        ({"prompt": "x", "referenceImageUrls": [URL]}, {"prompt": "x", "referenceImageUrls": [URL + "2"]}, MAYBE),
        # Lists and nested things.
        ({"prompt": ["one", "two"]}, {"prompt": ["one", "two "]}, SAME),
        ({"prompt": ["one", "two"]}, {"prompt": ["two", "one"]}, OTHER),
        ({"prompt": ["one", "two"]}, {"prompt": ["one", "three"]}, MAYBE),
        ({"prompt": ["one", "two"]}, {"prompt": ["one"]}, OTHER),
        ({"prompt": "x", "more": {"a": 1}}, {"prompt": "x", "more": {"a": "1"}}, SAME),
        ({"prompt": "x", "seed": None}, {"prompt": "x"}, SAME),
        ({"duration": "5", "on": True}, {"duration": "5", "on": False}, OTHER),
        ({"duration": "5", "more": {"a": 1}}, {"duration": "5", "more": {"a": 2}}, OTHER),
        # Images: at a URL, of which the service may keep a copy; and as data, which it shows as a URL.
        ({"prompt": "x", "image": URL}, {"prompt": "x", "image": URL}, SAME),
        ({"prompt": "x", "image": URL}, {"prompt": "x", "image": "https://copies.example/1.png"}, MAYBE),
        ({"prompt": "x", "image": URL}, {"prompt": "x"}, MAYBE),
        ({"prompt": "x", "image": URL}, {"prompt": "x", "image": "storage/1.png"}, MAYBE),
        ({"prompt": "x", "image": PICTURE}, {"prompt": "x", "image": "https://copies.example/1.png"}, SAME),
        ({"prompt": "x", "image": "data:image/png;base64,AAAA"}, {"prompt": "x", "image": URL}, SAME),
        ({"prompt": "x", "image": ["data:image/png;base64,AAAA", URL]}, {"prompt": "x", "image": [URL, URL]}, SAME),
        ({"duration": "5", "image": PICTURE}, {"duration": "5", "image": URL}, SAME),
        ({"prompt": "x", "audio": Text.of("a" * 9)}, {"prompt": "x", "audio": URL}, SAME),
        # An image that is not shown at all: somebody may have ordered the same without one.
        ({"prompt": "x", "image": PICTURE}, {"prompt": "x"}, MAYBE),
        ({"prompt": "x", "image": PICTURE}, {"prompt": "x", "image": None}, MAYBE),
        ({"prompt": "x", "images": [PICTURE, URL]}, {"prompt": "x", "images": []}, MAYBE),
        ({"prompt": "x", "images": [URL, URL]}, {"prompt": "x"}, MAYBE),
        ({"prompt": "x", "more": {"image": URL}}, {"prompt": "x"}, MAYBE),
        ({"prompt": "x", "seeds": [1, 2]}, {"prompt": "x"}, SAME),
        # Without words the settings tell; a number with its unit is the same number.
        ({"duration": 5, "resolution": 480}, {"duration": "5s", "resolution": "480p"}, MAYBE),
        ({"resolution": "720P"}, {"resolution": 720}, MAYBE),
        ({"duration": "15"}, {"duration": "5s"}, OTHER),
        ({"duration": "5"}, {"duration": "55"}, OTHER),
        ({"resolution": 480}, {"resolution": "720p"}, OTHER),
        (
            {"prompt": "x", "more": {"b": 1, "a": "data:image/png;base64,AAAA"}},
            {"prompt": "x", "more": {"a": URL}},
            SAME,
        ),
    ],
)
def test_orders_and_what_is_shown(sent: dict[str, Any], shown: dict[str, Any], expected: Likeness) -> None:
    assert likeness(order("t2v", sent), task(shown)) is expected


def test_the_model_counts() -> None:
    assert likeness(order("t2v", TEXT), task(TEXT, "t2v_v3")) is OTHER
    assert likeness(order("t2v", TEXT), task(TEXT, "T2V")) is SAME
    assert likeness(order("t2v", TEXT), task(TEXT, None)) is MAYBE


FILM = "https://films.example/a.mp4"
SOUND = "https://sounds.example/a.mp3"
UPLOADED = "https://uploads.service.example/1.png"

SPECS: dict[str, VideoSpec] = {
    "minimax": MiniMaxH3(prompt="a red fox in the snow", resolution="1080p", tier="base"),
    "minimax with frames": MiniMaxH3(prompt="a red fox in the snow", image=PNG, last_frame=URL),
    "minimax with references": MiniMaxH3(
        prompt="a red fox in the snow",
        reference_images=[PNG, URL, data_uri(PNG)],
        reference_video=FILM,
        reference_audios=[SOUND, SOUND + "2"],
    ),
    "minimax with addresses": MiniMaxH3(prompt="a red fox in the snow", reference_images=[URL, URL + "2"]),
    "seedance20": Seedance20(prompt="a red fox in the snow", duration=5, resolution="480p", aspect_ratio="16:9"),
    "seedance20 without words": Seedance20(
        image=PNG, video=FILM, audio=SOUND, duration=5, resolution="480p", aspect_ratio="16:9"
    ),
    "wan27": Wan27(prompt="a red fox in the snow", image=PNG, duration=5),
    "wan27 in other words": Wan27(prompt="a red fox in the snow", duration=5, prompt_extend=True),
    "happyhorse": HappyHorse(prompt="a red fox in the snow", duration=3),
    "happyhorse with one": HappyHorse(prompt="a red fox in the snow", image=PNG, duration=3),
    "happyhorse with several": HappyHorse(prompt="a red fox in the snow", image=[PNG, PNG, URL], duration=3),
}


def order_of(spec: VideoSpec) -> Order:
    """As a submit makes it, with all images read."""

    def ready(image: object) -> Image | str:
        return image if isinstance(image, str) and image.startswith("http") else as_image(PNG)

    images = {
        name: [ready(one) for one in image] if isinstance(image, tuple) else ready(image)
        for name, image in images_of(spec).items()
    }
    return order(spec.model, outline(spec, images))


def stored(value: object) -> Any:
    """What the service shows in its place: it has a place of its own for an image that came as data."""
    if isinstance(value, list | tuple):
        return [stored(item) for item in value]
    return UPLOADED if isinstance(value, bytes) or str(value).startswith("data:") else value


def row(spec: VideoSpec, **changed: Any) -> TaskDetails:
    wire = {name: stored(value) for name, value in to_wire(spec).items()}
    return task({**wire, **changed}, spec.model)


NOT_SENT: dict[str, dict[str, object]] = {
    "minimax": {"imageUrl": None, "lastFrameUrl": None, "referenceImageUrls": [], "referenceVideoUrl": None, "seed": 7},
    "seedance20": {"image": None, "video": None, "audio": "", "prompt": None, "watermark": False},
    "wan27": {"image": None, "promptExtend": False, "seed": 7},
    "happyhorse": {"image": None, "promptExtend": True},
}


@pytest.mark.parametrize("name", SPECS)
def test_an_order_is_known_by_what_the_list_shows_of_it(name: str) -> None:
    """With URLs in place of uploads, with numbers for texts, and with what the service adds."""
    spec = SPECS[name]
    ours = order_of(spec)
    shown = row(spec).input
    as_texts = {key: str(value) if type(value) is int else value for key, value in shown.items()}
    as_numbers = {key: int(str(value)) if str(value).isdigit() else value for key, value in shown.items()}
    with_more = {**NOT_SENT[spec.model], **shown}
    for wire in (shown, as_texts, as_numbers, with_more):
        assert likeness(ours, task(dict(wire), spec.model)) is SAME
    assert likeness(ours, task(dict(shown), spec.model.upper())) is SAME
    assert likeness(ours, task(dict(shown), "t2v")) is OTHER


@pytest.mark.parametrize("name", SPECS)
def test_an_order_in_another_form_is_not_ruled_out(name: str) -> None:
    """Addresses of copies, other spellings, lists as texts, and what is not shown at all."""
    spec = SPECS[name]
    ours = order_of(spec)
    shown = row(spec).input
    copied = {
        key: json.loads(json.dumps(value).replace("example", "copies.service.example")) for key, value in shown.items()
    }
    spelled = {**shown, "resolution": str(shown["resolution"]).lower().removesuffix("p") + "p"}
    spelled["duration"] = f"{shown['duration']}s"
    packed = {key: json.dumps(value) if isinstance(value, list) else value for key, value in shown.items()}
    unpacked = {key: value[0] if isinstance(value, list) else value for key, value in shown.items()}
    for wire in (copied, spelled, packed, unpacked, *({**shown, key: None} for key in shown), {}):
        assert likeness(ours, task(dict(wire), spec.model)) in {SAME, MAYBE}


@pytest.mark.parametrize("name", SPECS)
def test_other_orders_are_told_apart(name: str) -> None:
    """By their words; by their settings, where they have none."""
    spec = SPECS[name]
    ours = order_of(spec)
    if isinstance(spec, Seedance20) and spec.prompt is None:
        for changed in ({"duration": 15}, {"resolution": 720}, {"ratio": "1:1"}):
            assert likeness(ours, row(spec, **changed)) is OTHER
        assert likeness(ours, row(spec, prompt="a blue whale")) is MAYBE
        assert likeness(ours, row(spec, image=None)) is MAYBE
        return
    other = row(spec, **{"content" if isinstance(spec, MiniMaxH3) else "prompt": "a blue whale in the sea"})
    # A service that may write more into a prompt may change it, too.
    extends = isinstance(spec, Wan27) and spec.prompt_extend
    assert likeness(ours, other) is (MAYBE if extends else OTHER)


@pytest.mark.parametrize("name", SPECS)
def test_an_order_with_an_image_is_not_that_of_somebody_without(name: str) -> None:
    """Nor the other way round, though all the words are the same: neither is adopted for the other."""
    spec = SPECS[name]
    images = {field.name: field.default for field in attrs.fields(type(spec)) if field.metadata.get("images")}
    if images_of(spec) and not (isinstance(spec, Seedance20) and spec.prompt is None):
        bare = attrs.evolve(spec, **images)
        assert likeness(order_of(spec), row(bare)) is MAYBE
        assert likeness(order_of(bare), row(spec)) is MAYBE


def test_orders_of_different_images_are_not_interchangeable() -> None:
    first, same, other = (order("i2v", {"prompt": "x", "image": picture(data)}) for data in (b"one", b"one", b"two"))
    assert first == same
    assert first != other
    lists = [order("i2v", {"image": ["data:image/png;base64,AAAA", URL + end]}) for end in ("", "", "?2")]
    assert lists[0] == lists[1] != lists[2]


def test_numbers_without_end_and_things_without_bottom() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    assert order("t2v", {"prompt": "x", "n": float("inf"), "deep": deep, "odd": object}) is not None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists), st.text())
def test_an_order_is_always_like_itself(value: Any, prompt: str) -> None:
    sent = {"prompt": prompt or "x", "setting": value}
    shown = {name: item for name, item in sent.items() if not str(item).startswith("data:")}
    assert likeness(order("t2v", sent), task(shown)) in {SAME, MAYBE}
