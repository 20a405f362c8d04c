from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import (
    HappyHorse,
    ImageToVideo,
    ImageToVideoV3,
    InvalidSpec,
    LongVideo,
    MiniMaxH3,
    OtherModel,
    Seedance20,
    TextToVideo,
    TextToVideoV3,
    VideoSpec,
    Wan27,
)
from aivideomaker_async.specs import SPECS, as_spec, to_wire, wire_names
from aivideomaker_async.specs.image_input import IMAGE_FORMS
from tests.support.pictures import PNG, data_uri

URL = "https://example.com/cat.png"
SIGNED = "https://me:password@cdn.example/cat.png?signature=SECRET#SECRET"
URI = data_uri(PNG * 10)

GOOD: dict[type[VideoSpec], dict[str, Any]] = {
    TextToVideo: {"prompt": "A cat", "aspect_ratio": "16:9", "duration": 5},
    ImageToVideo: {"image": URL, "prompt": "It moves", "duration": 8},
    LongVideo: {"image": URL, "prompts": ("One", "Two")},
    TextToVideoV3: {"prompt": "A cat", "aspect_ratio": "1:1", "duration": 20},
    ImageToVideoV3: {"image": URL, "prompt": "It moves", "duration": 10},
    MiniMaxH3: {"prompt": "A cat", "duration": 6},
    Seedance20: {"prompt": "A cat", "duration": 4, "resolution": "480p", "aspect_ratio": "16:9"},
    Wan27: {"prompt": "A cat", "duration": 10, "image": URL, "prompt_extend": True},
    HappyHorse: {"prompt": "A cat", "duration": 3, "image": (URL, URL)},
}
OPTIONAL: dict[type[VideoSpec], dict[str, Any]] = {
    ImageToVideo: {"prompt": None},
    ImageToVideoV3: {"prompt": None},
    MiniMaxH3: {
        "duration": 5,
        "resolution": "720p",
        "tier": "turbo",
        "aspect_ratio": "16:9",
        "image": None,
        "last_frame": None,
        "reference_images": (),
        "reference_video": None,
        "reference_audios": (),
    },
    Seedance20: {"prompt": None, "image": None, "video": None, "audio": None},
    Wan27: {"resolution": "720p", "aspect_ratio": "16:9", "image": None, "prompt_extend": False},
    HappyHorse: {"resolution": "720p", "aspect_ratio": "16:9", "image": None},
}
"""What may be left out, and what it is then."""

image_fields = pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "image") for kind in (ImageToVideo, LongVideo, ImageToVideoV3)),
        *((kind, "image") for kind in (MiniMaxH3, Seedance20, Wan27, HappyHorse)),
        (MiniMaxH3, "last_frame"),
    ],
)
kinds = pytest.mark.parametrize("kind", GOOD)


def make(kind: type[VideoSpec], **changed: Any) -> VideoSpec:
    return kind(**{**GOOD[kind], **changed})


def problems(kind: type[VideoSpec], **changed: Any) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        make(kind, **changed)
    return caught.value


# --- the models --------------------------------------------------------------------------------------


def test_every_documented_model_has_its_class() -> None:
    """By the name that the API gives it."""
    assert {
        "t2v": TextToVideo,
        "i2v": ImageToVideo,
        "lv": LongVideo,
        "t2v_v3": TextToVideoV3,
        "i2v_v3": ImageToVideoV3,
        "minimax": MiniMaxH3,
        "seedance20": Seedance20,
        "wan27": Wan27,
        "happyhorse": HappyHorse,
    } == SPECS
    assert {name: spec.model for name, spec in SPECS.items()} == {name: name for name in SPECS}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (TextToVideo, {"prompt", "aspectRatio", "duration"}),
        (ImageToVideo, {"image", "prompt", "duration"}),
        (LongVideo, {"image", "prompt"}),
        (TextToVideoV3, {"prompt", "aspectRatio", "duration"}),
        (ImageToVideoV3, {"image", "prompt", "duration"}),
        (
            MiniMaxH3,
            {
                *("content", "duration", "resolution", "tier", "aspectRatio"),
                *("imageUrl", "lastFrameUrl", "referenceImageUrls", "referenceVideoUrl", "referenceAudioUrls"),
            },
        ),
        (Seedance20, {"prompt", "image", "video", "audio", "duration", "resolution", "ratio"}),
        (Wan27, {"prompt", "image", "duration", "resolution", "ratio", "promptExtend"}),
        (HappyHorse, {"prompt", "image", "duration", "resolution", "ratio"}),
    ],
)
def test_the_fields_have_the_documented_wire_names(kind: type[VideoSpec], names: set[str]) -> None:
    """No other name, and none twice."""
    assert sorted(wire_names(kind)) == sorted(names)


@pytest.mark.parametrize("count", range(1, 7))
def test_a_long_video_is_as_long_as_its_segments(count: int) -> None:
    """One to six prompts, 5 seconds each; a list is accepted, and copied."""
    prompts = [f"Segment {number}" for number in range(count)]
    spec = LongVideo(image=URL, prompts=prompts)
    assert spec.seconds == 5 * count
    prompts.append("Another")
    assert len(spec.prompts) == count


@kinds
def test_every_spec_has_a_length(kind: type[VideoSpec]) -> None:
    """In seconds."""
    assert make(kind).seconds == GOOD[kind].get("duration", 10)


@kinds
def test_the_defaults_are_the_documented_ones(kind: type[VideoSpec]) -> None:
    """A field without a documented default is required."""
    defaults = {item.name: item.default for item in attrs.fields(kind) if item.default is not attrs.NOTHING}
    defaults.pop("extra")
    assert defaults == OPTIONAL.get(kind, {})


# --- wrong values ------------------------------------------------------------------------------------

TEXT = "a text that is not blank"
RATIOS = "'16:9' or '9:16' or '1:1'"
MORE_RATIOS = f"{RATIOS} or '4:3' or '3:4'"
ADDRESS = "a public http(s) URL (the service fetches videos and sounds, and takes no data)"
IMAGES = f"{IMAGE_FORMS}; or a list of these that is not empty"
ALLOWED: dict[type[VideoSpec], dict[str, str]] = {
    TextToVideo: {"prompt": TEXT, "aspect_ratio": RATIOS, "duration": "5 or 8 (seconds)"},
    ImageToVideo: {"image": IMAGE_FORMS, "prompt": f"{TEXT}, or None", "duration": "5 or 8 (seconds)"},
    LongVideo: {"image": IMAGE_FORMS, "prompts": "a list of 1 to 6 texts"},
    TextToVideoV3: {"prompt": TEXT, "aspect_ratio": RATIOS, "duration": "5 or 10 or 15 or 20 (seconds)"},
    ImageToVideoV3: {
        "image": IMAGE_FORMS,
        "prompt": f"{TEXT}, or None",
        "duration": "5 or 10 or 15 or 20 (seconds)",
    },
    MiniMaxH3: {
        "prompt": TEXT,
        "duration": "a whole number from 5 to 20 (seconds)",
        "resolution": "'720p' or '1080p'",
        "tier": "'turbo' or 'base'",
        "aspect_ratio": "'auto' or '21:9' or '16:9' or '4:3' or '1:1' or '3:4' or '9:16'",
        "image": f"{IMAGE_FORMS}, or None",
        "last_frame": f"{IMAGE_FORMS}, or None",
        "reference_images": "a list of at most 4 images",
        "reference_video": f"{ADDRESS}, or None",
        "reference_audios": "a list of at most 2 URLs",
    },
    Seedance20: {
        "prompt": f"{TEXT}, or None",
        "image": f"{IMAGE_FORMS}, or None",
        "video": f"{ADDRESS}, or None",
        "audio": f"{ADDRESS}, or None",
        "duration": "a whole number from 4 to 15 (seconds)",
        "resolution": "'480p' or '720p'",
        "aspect_ratio": RATIOS,
    },
    Wan27: {
        "prompt": TEXT,
        "duration": "5 or 10 or 15 (seconds)",
        "image": f"{IMAGE_FORMS}, or None",
        "resolution": "'720p' or '1080p'",
        "aspect_ratio": MORE_RATIOS,
        "prompt_extend": "True or False",
    },
    HappyHorse: {
        "prompt": TEXT,
        "duration": "a whole number from 3 to 15 (seconds)",
        "image": f"{IMAGES}, or None",
        "resolution": "'720p' or '1080p'",
        "aspect_ratio": MORE_RATIOS,
    },
}
"""The rule of each field, in its own words. What a rule refuses is tested in `test_validators`."""


@kinds
def test_a_wrong_value_is_refused_by_name(kind: type[VideoSpec]) -> None:
    """Before anything is sent. The message names the class, the field and what is allowed."""
    assert ALLOWED[kind].keys() == attrs.fields_dict(kind).keys() - {"extra"}
    for name, allowed in ALLOWED[kind].items():
        error = problems(kind, **{name: object()})
        assert [(problem.field, problem.allowed) for problem in error.problems] == [(name, allowed)]
        assert str(error) == f"{kind.__name__}: {name}={error.value}: must be {allowed}"


@pytest.mark.parametrize(("kind", "name"), [(LongVideo, "prompts"), (MiniMaxH3, "reference_audios")])
def test_a_text_alone_or_a_value_without_an_order_is_not_a_list(kind: type[VideoSpec], name: str) -> None:
    """A text has letters, and a set or a mapping would give the segments in any order."""
    values: list[object] = [None, 5, "one text", b"bytes", {"a": 1}, {"a", "b"}, frozenset("a")]
    for value in values:
        assert [problem.field for problem in problems(kind, **{name: value}).problems] == [name]


def test_all_problems_are_reported_at_once() -> None:
    """In the order of the fields, with the first in the attributes and all in the text."""
    error = problems(TextToVideo, prompt="", aspect_ratio="4:3", duration=7, extra={"duration": "7"})
    assert [problem.field for problem in error.problems] == [
        "prompt",
        "aspect_ratio",
        "duration",
        "extra['duration']",
    ]
    assert (error.field, error.value) == ("prompt", "''")
    assert str(error) == (
        "TextToVideo: prompt='': must be a text that is not blank; "
        "aspect_ratio='4:3': must be '16:9' or '9:16' or '1:1'; "
        "duration=7: must be 5 or 8 (seconds); "
        "extra['duration']='7': must be a wire field that the spec does not set itself"
    )


@kinds
def test_fields_are_required_and_given_by_name(kind: type[VideoSpec]) -> None:
    """Every field without a documented default."""
    with pytest.raises(TypeError):
        kind()
    with pytest.raises(TypeError):
        kind(*GOOD[kind].values())
    for name in GOOD[kind]:
        rest = {key: value for key, value in GOOD[kind].items() if key != name}
        if kind is Seedance20 and name == "prompt":
            with pytest.raises(InvalidSpec, match="at least one"):
                kind(**rest)
        elif name in OPTIONAL.get(kind, {}):
            assert getattr(kind(**rest), name) == OPTIONAL[kind][name]
        else:
            with pytest.raises(TypeError, match=name):
                kind(**rest)


# --- extra fields ------------------------------------------------------------------------------------


@kinds
def test_extra_wire_fields_are_accepted(kind: type[VideoSpec]) -> None:
    """In any value that JSON has; the spec keeps a copy."""
    extra: dict[str, object] = {"filterMode": "strict", "seed": 5, "nested": {"a": [1, None, True, 0.5]}}
    spec = make(kind, extra=extra)
    assert spec.extra == extra
    extra["late"] = 1
    assert "late" not in spec.extra


@kinds
def test_an_extra_field_does_not_replace_one_of_the_spec(kind: type[VideoSpec]) -> None:
    """Under no wire name of the spec."""
    for name in wire_names(kind):
        error = problems(kind, extra={name: "x", "fine": 1})
        assert [problem.field for problem in error.problems] == [f"extra[{name!r}]"]


def test_the_name_of_an_extra_field_is_redacted() -> None:
    """It may hold an image or an address: it is shown as a value is."""
    for name in ("data:image/png;base64,SECRET", "https://example.com/a?sig=SECRET"):
        wrong: list[Any] = [{name: float("nan")}, {name: b""}, {5: name}]
        for extra in wrong:
            with pytest.raises(InvalidSpec) as caught:
                TextToVideo(prompt="x", aspect_ratio="1:1", duration=5, extra=extra)
            assert "SECRET" not in str(caught.value) + repr(caught.value.problems)
    assert "SECRET" not in repr(OtherModel("data:image/png;base64,SECRET", {"key": "SECRET", "webhook": ["SECRET"]}))


# --- values ------------------------------------------------------------------------------------------


@kinds
def test_a_spec_does_not_change(kind: type[VideoSpec]) -> None:
    """No field can be set, and none added."""
    spec = make(kind)
    for name in (*GOOD[kind], "extra", "model", "new"):
        with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
            setattr(spec, name, "x")


@kinds
def test_equal_specs_are_interchangeable(kind: type[VideoSpec]) -> None:
    """As keys of a dict, too; other values and other models are not equal."""
    assert make(kind) == make(kind)
    assert hash(make(kind, extra={"a": 1})) == hash(make(kind, extra={"a": 1}))
    assert make(kind) != make(kind, extra={"a": 1})
    for other in GOOD:
        assert (make(kind) == make(other)) is (kind is other)


@kinds
def test_a_spec_survives_pickle_and_copy(kind: type[VideoSpec]) -> None:
    """On its way to another process, or into a queue."""
    spec = make(kind, extra={"a": [1]})
    for twin in (pickle.loads(pickle.dumps(spec)), copy.copy(spec), copy.deepcopy(spec)):  # noqa: S301
        assert twin == spec
        assert type(twin) is kind


@kinds
def test_a_changed_copy_is_checked_again(kind: type[VideoSpec]) -> None:
    """`attrs.evolve` is a construction like any other."""
    assert attrs.evolve(make(kind), extra={"a": 1}) == make(kind, extra={"a": 1})
    with pytest.raises(InvalidSpec):
        attrs.evolve(make(kind), extra={"a": float("inf")})


@image_fields
def test_a_buffer_is_copied(kind: type[VideoSpec], name: str) -> None:
    """What its owner does to it afterwards changes nothing."""
    buffer = bytearray(PNG)
    spec = make(kind, **{name: buffer})
    buffer[0:4] = b"XXXX"
    assert getattr(spec, name) == PNG
    assert hash(spec)


@image_fields
def test_a_repr_names_an_image_and_does_not_show_it(kind: type[VideoSpec], name: str) -> None:
    """A URL is shown without what may be a secret."""
    text = repr(make(kind, **{name: SIGNED}))
    assert f"{name}='https://cdn.example/cat.png?…'" in text
    assert not any(secret in text for secret in ("SECRET", "password"))


@pytest.mark.parametrize(
    "text", [URI, " " * 100 + URI, URI.upper(), f"like {URI} please", f"as in\n{SIGNED}"[6:], "x" * 10_000]
)
def test_a_repr_shows_no_secret_and_no_novel(text: str) -> None:
    """Wherever it stands: in a prompt, in an extra field, in the fields of another model."""
    shown = [
        repr(TextToVideo(prompt=text, aspect_ratio="1:1", duration=5, extra={"deep": [{"er": text}]})),
        repr(LongVideo(image=URL, prompts=(text,))),
        repr(OtherModel("seedance20", {"image": text, "list": [text]})),
    ]
    for line in shown:
        assert "iVBOR" not in line.replace("IVBOR", "iVBOR")
        assert "SECRET" not in line
        assert len(line) < 1000


# --- other models ------------------------------------------------------------------------------------


def test_a_model_without_a_class_is_a_name_and_its_fields() -> None:
    """It keeps a copy of them, compares, hashes, pickles and does not change."""
    body: dict[str, object] = {"content": "A cat", "duration": 5}
    spec = OtherModel("minimax", body)
    body["late"] = 1
    assert spec.body == {"content": "A cat", "duration": 5}
    assert spec == OtherModel("minimax", {"content": "A cat", "duration": 5})
    assert spec == pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec)  # noqa: S301
    assert len({spec, OtherModel("minimax", {"content": "A cat", "duration": 5}), OtherModel("x", {})}) == 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.model = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "body", "field"),
    [
        ("", {}, "model"),
        (" ", {}, "model"),
        (None, {}, "model"),
        ("\ud800", {}, "model"),
        (".", {}, "model"),
        ("..", {}, "model"),
        ([], {}, "model"),
        ("x", None, "body"),
        ("x", [1], "body"),
        ("x", {1: 1}, "body"),
        ("x", {"a": PNG}, "body['a']"),
        ("x", {"a": float("inf")}, "body['a']"),
    ],
)
def test_a_wrong_request_for_another_model_is_refused(model: Any, body: Any, field: str) -> None:
    """Dots would be steps in the path."""
    with pytest.raises(InvalidSpec) as caught:
        OtherModel(model, body)
    assert (caught.value.spec, caught.value.field) == ("OtherModel", field)


@kinds
def test_a_spec_is_a_spec(kind: type[VideoSpec]) -> None:
    """Also one for another model, and a pair of a name and fields."""
    spec = make(kind)
    assert as_spec(spec) is spec
    other = OtherModel("minimax", {"content": "A cat"})
    assert as_spec(other) is other
    assert as_spec(("minimax", {"content": "A cat"})) == other


@pytest.mark.parametrize("value", [None, "t2v", {"prompt": "a"}, ("t2v",), ("t2v", {}, 1), ["t2v", {}], TextToVideo, 5])
def test_another_value_than_a_spec_is_refused(value: object) -> None:
    """By its type; its content may be anything."""
    with pytest.raises(InvalidSpec, match=f"spec=<{type(value).__name__}>: must be a spec, or a pair"):
        as_spec(value)


@given(
    st.sampled_from(list(GOOD)),
    st.dictionaries(
        st.sampled_from(sorted({"extra", *(item.name for kind in GOOD for item in attrs.fields(kind))})),
        st.none()
        | st.integers()
        | st.booleans()
        | st.sampled_from([720, "1080P", "base", "16:9", 10, URL])
        | st.lists(st.just(URL))
        | st.text()
        | st.binary()
        | st.lists(st.text())
        | st.dictionaries(st.text(), st.text()),
    ),
)
def test_any_values_make_a_spec_or_are_refused(kind: type[VideoSpec], changed: dict[str, object]) -> None:
    """Only wrong fields are reported, and every spec can be written and has a price or none."""
    known = {name: value for name, value in changed.items() if name in attrs.fields_dict(kind)}
    try:
        spec = make(kind, **known)
    except InvalidSpec as error:
        reported = {problem.field.partition("[")[0] for problem in error.problems}
        assert reported <= set(known)
    else:
        json.dumps(to_wire(spec), default=repr)
        assert kind is Seedance20 or spec.credits() > 0
