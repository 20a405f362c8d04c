from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aivideomaker_async.simulator.kinds import Choice, Image, Number, OneOrSeveral, Several, Text
from aivideomaker_async.simulator.models import AtLeastOne, Exclusive, Field, Model, Rule, per_second

FRAMES = Exclusive(("first", "last"), ("pictures", "sound"))
NEEDED = AtLeastOne(("prompt", "image", "video"), also=("audio",))
MODEL = Model(
    fields=(
        Field(name="prompt", kind=Text()),
        Field(name="first", kind=Image(), required=False, nullable=True),
        Field(name="pictures", kind=Several(Image(), most=3), required=False),
        Field(name="either", kind=OneOrSeveral(), required=False, nullable=True),
        Field(name="duration", kind=Number(1, 9), required=False, default=5),
        Field(name="aspectRatio", kind=Choice(("auto", "1:1", "16:9")), required=False, default="16:9"),
    ),
    rules=(Exclusive(("first",), ("pictures",)),),
    price=per_second(3),
)


@pytest.mark.parametrize(
    ("field", "data", "problem"),
    [
        (Field(name="a", kind=Text()), {}, "a is required"),
        (Field(name="a", kind=Text()), {"a": None}, "a must be a string, got null"),
        (Field(name="a", kind=Text(), required=False), {}, None),
        (Field(name="a", kind=Text(), required=False), {"a": None}, "a must be a string, got null"),
        (Field(name="a", kind=Text(), nullable=True), {"a": None}, None),
        (Field(name="a", kind=Text()), {"a": "b"}, None),
    ],
)
def test_a_field_names_itself(field: Field, data: dict[str, object], problem: str | None) -> None:
    assert field.problem(data) == problem


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        (Field(name="a", kind=Text(blank=True), nullable=True), {"type": ["string", "null"]}),
        (
            Field(name="a", kind=Choice(("x",)), nullable=True, default="x"),
            {"anyOf": [{"enum": ["x"]}, {"type": "null"}], "default": "x"},
        ),
    ],
)
def test_a_field_describes_null_and_its_default(field: Field, schema: dict[str, object]) -> None:
    assert field.schema() == schema


@pytest.mark.parametrize(
    ("rule", "data", "problem"),
    [
        (FRAMES, {"last": "x", "sound": "y"}, "last cannot be used together with sound"),
        (FRAMES, {"first": "x", "pictures": ["y"]}, "first cannot be used together with pictures"),
        (FRAMES, {"first": "x", "last": "y", "pictures": [], "sound": None}, None),
        (FRAMES, {"first": None, "last": None, "pictures": ["x"], "sound": "y"}, None),
        (FRAMES, {}, None),
        (NEEDED, {}, "prompt, image or video is required"),
        (NEEDED, {"audio": "x"}, "audio needs prompt, image or video beside it"),
        (NEEDED, {"audio": "x", "video": "y"}, None),
    ],
)
def test_a_rule_names_the_fields(rule: Rule, data: dict[str, object], problem: str | None) -> None:
    assert rule.problem(data) == problem


@given(
    st.sampled_from([FRAMES, NEEDED]),
    st.dictionaries(
        st.sampled_from(["first", "last", "pictures", "sound", "prompt", "image", "video", "audio"]),
        st.sampled_from(["x", ["x"], [], None]),
    ),
)
def test_a_rule_holds_exactly_where_its_schema_does(rule: Rule, data: dict[str, object]) -> None:
    assert (rule.problem(data) is None) == Draft202012Validator(rule.schema()).is_valid(data)


def test_a_model_has_what_is_left_out() -> None:
    assert MODEL.filled({"prompt": "x"}) == {"prompt": "x", "duration": 5, "aspectRatio": "16:9"}
    assert MODEL.filled({"duration": 9})["duration"] == 9
    assert MODEL.seconds(MODEL.filled({})) == 5
    assert MODEL.price({}, 7) == 21


def test_a_model_is_wrong_by_its_fields_and_then_by_its_rules() -> None:
    assert MODEL.problem({"first": 5, "pictures": ["x"]}) == "prompt is required"
    assert MODEL.problem({"prompt": "x", "first": "x", "pictures": ["x"]}) == (
        "first cannot be used together with pictures"
    )
    assert MODEL.problem({"prompt": "x"}) is None


def test_images_are_found_where_they_stand() -> None:
    data: dict[str, Any] = {"prompt": "no", "first": None, "pictures": ["a", "b"], "either": "c", "other": "no"}
    assert list(MODEL.images(data)) == [(("pictures", 0), "a"), (("pictures", 1), "b"), (("either", None), "c")]


@pytest.mark.parametrize(
    ("data", "decides", "aspect"),
    [
        ({}, False, "16:9"),
        ({"aspectRatio": "1:1"}, False, "1:1"),
        ({"aspectRatio": "auto"}, False, None),
        ({"either": "a"}, False, "16:9"),
        ({"either": "a"}, True, None),
        ({"either": ["a"]}, True, None),
        ({"either": ["a", "b"]}, True, "16:9"),
        ({"either": None}, True, "16:9"),
    ],
)
def test_the_shape_is_told_or_an_image_decides(data: dict[str, object], decides: bool, aspect: str | None) -> None:
    model = Model(fields=MODEL.fields, price=MODEL.price, one_image_decides=decides)
    assert model.aspect(data) == aspect


def test_a_model_describes_its_fields_and_rules() -> None:
    schema = MODEL.schema()
    assert (schema["required"], schema["additionalProperties"]) == (["prompt"], True)
    assert len(schema["allOf"]) == 1  # type: ignore[arg-type]
    assert "allOf" not in Model(fields=(), price=per_second(1)).schema()
