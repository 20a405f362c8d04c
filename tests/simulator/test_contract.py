import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.contract import REVISIONS, Order, Refusal, read_object, read_order, revision
from tests.simulator.client import PNG, PNG_URI, T2V

CONTRACT = revision("2026-03")
URL = "https://example.com/cat.png"
VALID: dict[str, dict[str, Any]] = {
    "t2v": T2V,
    "i2v": {"image": URL, "prompt": "it moves", "duration": "8"},
    "lv": {"image": URL, "prompt": ["one", "two"]},
    "t2v_v3": {"prompt": "a sunset", "aspectRatio": "9:16", "duration": "20"},
    "i2v_v3": {"image": URL, "prompt": None, "duration": "15"},
}


def read(model: str, body: object) -> Order:
    return read_order(CONTRACT, model, json.dumps(body).encode())


def refusal(model: str, body: object) -> Refusal:
    with pytest.raises(Refusal) as refused:
        read(model, body)
    assert refused.value.status == 400
    return refused.value


@pytest.mark.parametrize(
    ("model", "seconds", "credits"),
    [("t2v", 5, 5), ("i2v", 8, 8), ("lv", 10, 150), ("t2v_v3", 20, 200), ("i2v_v3", 15, 150)],
)
def test_an_order_has_the_length_and_the_price_of_its_model(
    model: str,
    seconds: int,
    credits: int,  # noqa: A002
) -> None:
    order = read(model, VALID[model])
    assert (order.model, order.seconds, order.credits) == (model, seconds, credits)
    assert order.input == VALID[model]


def test_every_model_of_the_revision_is_tested_here() -> None:
    assert set(VALID) == set(CONTRACT.models)


@pytest.mark.parametrize(
    ("model", "prompts", "aspect"),
    [("t2v", ("a sunset",), "16:9"), ("lv", ("one", "two"), None), ("i2v_v3", ("",), None)],
)
def test_an_order_tells_what_the_video_shows(model: str, prompts: tuple[str, ...], aspect: str | None) -> None:
    order = read(model, VALID[model])
    assert (order.prompts, order.aspect) == (prompts, aspect)


@pytest.mark.parametrize("model", VALID)
def test_unknown_fields_are_kept(model: str) -> None:
    body = {**VALID[model], "filterMode": "strict", "extra": {"a": [1, None]}}
    assert read(model, body).input == body


@pytest.mark.parametrize("model", VALID)
def test_a_missing_field_is_named(model: str) -> None:
    required = [one.name for one in CONTRACT.models[model].fields if one.required]
    assert required
    for name in required:
        body = {key: value for key, value in VALID[model].items() if key != name}
        assert f"{name} is required" in refusal(model, body).message


@pytest.mark.parametrize("value", [8, 8.0, True, None, "7", " 8", "", ["8"], {"a": 8}])
def test_a_duration_is_one_of_the_strings(value: object) -> None:
    assert 'duration must be one of "5", "8"' in refusal("t2v", {**T2V, "duration": value}).message


@pytest.mark.parametrize("model", ["t2v", "i2v", "t2v_v3"])
@pytest.mark.parametrize("value", [1, False, ["a"], {"a": 1}])
def test_a_prompt_is_a_string(model: str, value: object) -> None:
    message = refusal(model, {**VALID[model], "prompt": value}).message
    assert "prompt must be a string" in message


@pytest.mark.parametrize("value", ["", " \n"])
def test_a_required_prompt_is_not_empty(value: str) -> None:
    assert "prompt must not be empty" in refusal("t2v", {**T2V, "prompt": value}).message


@pytest.mark.parametrize("change", [{"prompt": None}, {"prompt": ""}, {}])
def test_the_prompt_beside_an_image_may_be_left_out(change: dict[str, object]) -> None:
    body = {"image": URL, "duration": "5", **change}
    assert read("i2v", body).prompts == ("",)


def test_a_required_field_is_not_null() -> None:
    assert "image must be a string, got null" in refusal("lv", {**VALID["lv"], "image": None}).message


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("one", "must be a list of strings"),
        ([], "must have 1 to 6 items, got 0"),
        (["a"] * 7, "must have 1 to 6 items, got 7"),
        (["a", 2], r"[1] must be a string, got 2"),
        (["a", "b", " "], r"[2] must not be empty"),
    ],
)
def test_the_prompts_of_a_long_video_are_1_to_6_strings(value: object, reason: str) -> None:
    assert f"prompt {reason}" in refusal("lv", {**VALID["lv"], "prompt": value}).message


@pytest.mark.parametrize("value", ["cat.png", "ftp://a/b.png", "data:image/png;base64,aGVsbG8="])
def test_an_image_is_a_url_or_really_an_image(value: str) -> None:
    assert "Invalid payload: image " in refusal("i2v", {**VALID["i2v"], "image": value}).message


@pytest.mark.parametrize("model", ["i2v", "lv", "i2v_v3"])
def test_an_image_in_base64_is_uploaded_and_shown_by_its_url(model: str) -> None:
    order = read(model, {**VALID[model], "image": PNG_URI})
    assert [upload.content for upload in order.uploads.values()] == [PNG]
    assert order.stored_at(lambda _: "http://a/x.png").input == {**VALID[model], "image": "http://a/x.png"}


def test_a_field_that_only_looks_like_an_image_is_no_upload() -> None:
    assert not read("t2v", {**T2V, "image": "not an image"}).uploads


def test_an_unknown_model_is_refused_before_its_body_is_looked_at() -> None:
    with pytest.raises(Refusal, match='Invalid model: "sora"') as refused:
        read_order(CONTRACT, "sora", b"")
    assert (refused.value.status, refused.value.code) == (400, "INVALID_MODEL")


def test_a_long_value_is_not_repeated_whole() -> None:
    assert len(refusal("t2v", {**T2V, "prompt": ["x" * 10_000]}).message) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": [1e999]}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal, match="not valid JSON"):
        read_object(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1", b"true"])
def test_a_body_is_an_object(body: bytes) -> None:
    with pytest.raises(Refusal, match="must be a JSON object"):
        read_object(body)


@pytest.mark.parametrize(("depth", "fine"), [(60, True), (70, False), (500, False)])
def test_what_is_read_can_be_written_again(depth: int, fine: bool) -> None:
    body = b'{"a": ' + b"[" * depth + b"]" * depth + b"}"
    if fine:
        assert json.dumps(read_object(body)) == body.decode()
    else:
        with pytest.raises(Refusal, match="nested"):
            read_object(body)


def test_an_unknown_revision_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="2026-03"):
        revision("2020-01")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
VALUES = JSON | st.sampled_from(["5", "8", "10", "16:9", "1:1", URL, PNG_URI, ["a"], ["a", "b"]])
FIELDS = st.sampled_from(["prompt", "image", "duration", "aspectRatio", "other"])


def read_or_refusal(model: str, body: object) -> Order | Refusal:
    try:
        return read(model, body)
    except Refusal as refused:
        return refused


@given(st.sampled_from(sorted(VALID)), st.dictionaries(FIELDS, VALUES))
def test_any_object_is_either_an_order_or_refused_naming_a_field(model: str, changes: dict[str, object]) -> None:
    body = {**VALID[model], **changes}
    answer = read_or_refusal(model, body)
    if isinstance(answer, Refusal):
        assert answer.status == 400
        names = [one.name for one in CONTRACT.models[model].fields]
        assert any(f"Invalid payload: {name} " in answer.message for name in names)
    else:
        assert answer.input == body
        assert answer.seconds in {5, 8, 10, 15, 20, 25, 30}
        assert answer.credits == answer.seconds * {"lv": 15, "t2v": 1, "i2v": 1}.get(model, 10)
        assert all(isinstance(prompt, str) for prompt in answer.prompts)


@given(st.sampled_from([b"", b"{", b"[", b'{"a":']), st.binary(max_size=40))
def test_any_bytes_are_an_object_or_refused_and_never_an_accident(head: bytes, tail: bytes) -> None:
    with contextlib.suppress(Refusal):
        assert isinstance(read_object(head + tail), dict)


def test_the_revisions_are_dated() -> None:
    assert "2026-03" in REVISIONS
