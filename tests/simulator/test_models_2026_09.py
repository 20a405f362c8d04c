import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.contract import Order, Refusal, read_order, revision
from tests.simulator.client import PNG, PNG_URI

CONTRACT = revision("2026-09")
URL = "https://example.com/cat.png"
VALID: dict[str, dict[str, Any]] = {
    "t2v": {"prompt": "a sunset", "aspectRatio": "16:9", "duration": "5"},
    "i2v": {"image": URL, "prompt": None, "duration": "8"},
    "t2v_v3": {"prompt": "a sunset", "aspectRatio": "9:16", "duration": "20"},
    "i2v_v3": {"image": URL, "duration": "10"},
    "minimax": {"content": "a sunset"},
    "seedance20": {"prompt": "a sunset", "duration": 4, "resolution": 480, "ratio": "16:9"},
    "wan27": {"prompt": "a sunset"},
    "happyhorse": {"prompt": "a sunset"},
}


def read(model: str, body: object) -> Order:
    return read_order(CONTRACT, model, json.dumps(body).encode())


def problem(model: str, **changes: object) -> str:
    with pytest.raises(Refusal) as refused:
        read(model, {**VALID[model], **changes})
    assert (refused.value.status, refused.value.code) == (400, "INVALID_PAYLOAD")
    return refused.value.message.removeprefix("Invalid payload: ")


def test_every_model_of_the_revision_is_tested_here() -> None:
    assert set(VALID) == set(CONTRACT.models)


def test_lv_is_gone() -> None:
    with pytest.raises(Refusal, match='Invalid model: "lv"') as refused:
        read("lv", {"image": URL, "prompt": ["a"]})
    assert (refused.value.status, refused.value.code) == (400, "INVALID_MODEL")


@pytest.mark.parametrize(
    ("model", "changes", "price"),
    [
        ("t2v", {}, 15),
        ("i2v", {}, 24),
        ("t2v_v3", {}, 80),
        ("i2v_v3", {}, 40),
        ("minimax", {}, 15),
        ("minimax", {"duration": 20, "resolution": "1080p"}, 80),
        ("minimax", {"duration": 10, "tier": "base"}, 40),
        ("minimax", {"duration": 7, "resolution": "1080p", "tier": "base"}, 35),
        ("seedance20", {}, 41),
        ("seedance20", {"duration": 5}, 51),
        ("seedance20", {"duration": 5, "resolution": 720}, 110),
        ("seedance20", {"duration": 15}, 153),
        ("seedance20", {"duration": 4.5}, 46),
        ("wan27", {}, 50),
        ("wan27", {"duration": "15", "resolution": "1080P"}, 225),
        ("happyhorse", {}, 125),
        ("happyhorse", {"duration": 3, "resolution": "1080P"}, 150),
    ],
)
def test_an_order_has_the_price_of_its_model(model: str, changes: dict[str, object], price: int) -> None:
    order = read(model, {**VALID[model], **changes})
    assert order.credits == price
    assert type(order.credits) is type(order.seconds) is int
    assert order.input == {**VALID[model], **changes}


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        ("minimax", {"content": ""}, "content must not be empty"),
        ("minimax", {"duration": "5"}, 'duration must be an integer from 5 to 20, got "5"'),
        ("minimax", {"duration": 4}, "duration must be an integer from 5 to 20, got 4"),
        ("minimax", {"duration": 21}, "duration must be an integer from 5 to 20, got 21"),
        ("minimax", {"duration": None}, "duration must be an integer from 5 to 20, got null"),
        ("minimax", {"resolution": "720P"}, 'resolution must be one of "720p", "1080p", got "720P"'),
        ("minimax", {"tier": "pro"}, 'tier must be one of "turbo", "base", got "pro"'),
        ("minimax", {"aspectRatio": "2:1"}, "aspectRatio must be one of"),
        ("minimax", {"imageUrl": 5}, "imageUrl must be a string, got 5"),
        ("minimax", {"imageUrl": "cat.png"}, "imageUrl must be a public http(s) URL or data:image/...;base64,..."),
        ("minimax", {"referenceImageUrls": [URL] * 5}, "referenceImageUrls must have 0 to 4 items, got 5"),
        ("minimax", {"referenceImageUrls": [URL, "x"]}, "referenceImageUrls [1] must be a public http(s) URL or"),
        ("minimax", {"referenceAudioUrls": [URL] * 3}, "referenceAudioUrls must have 0 to 2 items, got 3"),
        ("minimax", {"referenceAudioUrls": [PNG_URI]}, "referenceAudioUrls [0] must be a public http(s) URL, got"),
        (
            "minimax",
            {"referenceVideoUrl": "data:video/mp4;base64,AA"},
            "referenceVideoUrl must be a public http(s) URL",
        ),
        (
            "minimax",
            {"lastFrameUrl": URL, "referenceAudioUrls": [URL]},
            "lastFrameUrl cannot be used together with referenceAudioUrls",
        ),
        ("seedance20", {"duration": "4"}, 'duration must be a number from 4 to 15, got "4"'),
        ("seedance20", {"duration": 16}, "duration must be a number from 4 to 15, got 16"),
        ("seedance20", {"resolution": "480"}, 'resolution must be one of 480, 720, got "480"'),
        ("seedance20", {"ratio": "4:3"}, 'ratio must be one of "16:9", "9:16", "1:1", got "4:3"'),
        ("seedance20", {"video": PNG_URI}, "video must be a public http(s) URL, got"),
        ("wan27", {"duration": 5}, 'duration must be one of "5", "10", "15", got 5'),
        ("wan27", {"resolution": "720p"}, 'resolution must be one of "720P", "1080P", got "720p"'),
        ("wan27", {"promptExtend": "yes"}, 'promptExtend must be a boolean, got "yes"'),
        ("wan27", {"ratio": "21:9"}, "ratio must be one of"),
        ("happyhorse", {"duration": 2}, "duration must be a number from 3 to 15, got 2"),
        ("happyhorse", {"image": {"url": URL}}, "image must be a string or a list of strings, got"),
        ("happyhorse", {"image": [PNG_URI, "x"]}, "image [1] must be a public http(s) URL or data:image"),
    ],
)
def test_a_wrong_field_is_named(model: str, changes: dict[str, object], told: str) -> None:
    assert problem(model, **changes).startswith(told)


@pytest.mark.parametrize("model", VALID)
def test_a_missing_field_is_named(model: str) -> None:
    for name in (one.name for one in CONTRACT.models[model].fields if one.required):
        with pytest.raises(Refusal, match=f"{name} is required"):
            read(model, {key: value for key, value in VALID[model].items() if key != name})


def test_seedance_needs_something_to_begin_with() -> None:
    rest = {key: value for key, value in VALID["seedance20"].items() if key != "prompt"}
    for name, value in (("prompt", "x"), ("image", PNG_URI), ("video", URL)):
        assert read("seedance20", {**rest, name: value, "audio": URL}).credits == 41
    with pytest.raises(Refusal, match="prompt, image or video is required"):
        read("seedance20", rest)
    with pytest.raises(Refusal, match="audio needs prompt, image or video beside it"):
        read("seedance20", {**rest, "audio": URL})


def test_null_and_empty_lists_exclude_nothing() -> None:
    body = {**VALID["minimax"], "imageUrl": URL, "lastFrameUrl": None, "referenceImageUrls": []}
    assert read("minimax", {**body, "referenceVideoUrl": None}).credits == 15


@pytest.mark.parametrize(
    ("model", "changes", "prompts", "aspect"),
    [
        ("minimax", {}, ("a sunset",), "16:9"),
        ("minimax", {"aspectRatio": "auto"}, ("a sunset",), None),
        ("minimax", {"aspectRatio": "21:9"}, ("a sunset",), "21:9"),
        ("seedance20", {"ratio": "9:16"}, ("a sunset",), "9:16"),
        ("wan27", {"ratio": "3:4", "image": URL}, ("a sunset",), "3:4"),
        ("happyhorse", {"image": URL, "ratio": "1:1"}, ("a sunset",), None),
        ("happyhorse", {"image": [URL, URL], "ratio": "1:1"}, ("a sunset",), "1:1"),
        ("i2v", {}, ("",), None),
    ],
)
def test_an_order_tells_what_the_video_shows(
    model: str, changes: dict[str, object], prompts: tuple[str, ...], aspect: str | None
) -> None:
    order = read(model, {**VALID[model], **changes})
    assert (order.prompts, order.aspect) == (prompts, aspect)


@pytest.mark.parametrize(
    ("model", "changes", "stored"),
    [
        ("minimax", {"imageUrl": PNG_URI, "lastFrameUrl": PNG_URI}, {"imageUrl": "s:/1", "lastFrameUrl": "s:/2"}),
        ("minimax", {"referenceImageUrls": [PNG_URI, URL, PNG_URI]}, {"referenceImageUrls": ["s:/1", URL, "s:/2"]}),
        ("happyhorse", {"image": [URL, PNG_URI]}, {"image": [URL, "s:/1"]}),
        ("happyhorse", {"image": PNG_URI}, {"image": "s:/1"}),
        ("wan27", {"image": PNG_URI}, {"image": "s:/1"}),
        ("seedance20", {"image": PNG_URI, "video": URL}, {"image": "s:/1", "video": URL}),
    ],
)
def test_every_image_in_base64_is_shown_by_a_url(
    model: str, changes: dict[str, object], stored: dict[str, object]
) -> None:
    order = read(model, {**VALID[model], **changes})
    assert {upload.content for upload in order.uploads.values()} == {PNG}
    numbers = iter(range(1, 9))
    assert order.stored_at(lambda _: f"s:/{next(numbers)}").input == {**VALID[model], **stored}
    assert order.input == {**VALID[model], **changes}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
VALUES = JSON | st.sampled_from(
    ["5", 5, 5.0, 720, "720p", "16:9", URL, PNG_URI, [], [URL], [PNG_URI] * 3, [PNG_URI, 5]]
)
NAMES = sorted({field.name for model in CONTRACT.models.values() for field in model.fields})


@given(st.sampled_from(sorted(VALID)), st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_any_object_is_either_an_order_or_refused_naming_a_field(model: str, changes: dict[str, object]) -> None:
    body = {**VALID[model], **changes}
    try:
        order = read(model, body)
    except Refusal as refused:
        names = [one.name for one in CONTRACT.models[model].fields]
        assert any(refused.message.startswith(f"Invalid payload: {name} ") for name in names)
    else:
        assert order.input == body
        assert 3 <= order.seconds <= 20
        assert order.credits > 0
