"""Whether a task of the list is what was ordered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._core.data_uri import Image, Text, Views
from aivideomaker_async._core.likeness import Likeness, likeness, order
from aivideomaker_async.tasks import TaskDetails, TaskStatus

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
