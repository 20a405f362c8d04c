"""The fields of the specs as arguments that a language model fills, and what is made of what it sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import fields

from aivideomaker_async import ImageToVideo, InvalidSpec
from aivideomaker_async.agents.parameters import common_parameters, model_parameters, spec_from
from aivideomaker_async.specs import SPECS

IMAGE = "https://example.com/a.png"
GOOD: dict[str, dict[str, Any]] = {
    "t2v": {"prompt": "A fox", "aspect_ratio": "16:9", "duration": 8},
    "i2v": {"image": IMAGE, "duration": 8},
    "lv": {"image": IMAGE, "prompts": "It sits\nIt runs"},
    "t2v_v3": {"prompt": "A fox", "aspect_ratio": "16:9", "duration": 20},
    "i2v_v3": {"image": IMAGE, "duration": 20},
    "minimax": {"prompt": "A fox"},
    "seedance20": {"prompt": "A fox", "duration": 4, "resolution": "480p", "aspect_ratio": "1:1"},
    "wan27": {"prompt": "A fox", "duration": 15},
    "happyhorse": {"prompt": "A fox", "duration": 3},
}


@pytest.mark.parametrize("model", SPECS)
def test_a_model_s_arguments_are_the_fields_of_its_spec(model: str) -> None:
    """Flat and plain, each with a text; required where the spec requires them, else with the spec's default."""
    shown = {one.name: one for one in model_parameters(model)}
    assert list(shown) == [item.name for item in fields(SPECS[model]) if item.name != "extra"]
    assert all(one.text[0].isupper() or one.text[0] in '"1234567890' for one in shown.values())
    assert all(one.text.endswith(".") and "`" not in one.text and "None" not in one.text for one in shown.values())
    required = {one.name for one in shown.values() if one.is_required}
    assert required <= GOOD[model].keys()
    defaults = {one.name: one.default for one in shown.values() if not one.is_required}
    spec = spec_from(model, defaults | GOOD[model], None, SPECS)
    assert all(
        getattr(spec, name) in (default, None, ()) for name, default in defaults.items() if name not in GOOD[model]
    )


def test_one_tool_for_all_models_has_all_fields_and_says_whose_they_are() -> None:
    shown = {one.name: one for one in common_parameters(list(SPECS))}
    assert shown.keys() - {"model"} == {item.name for spec in SPECS.values() for item in fields(spec)} - {"extra"}
    assert [one.name for one in shown.values() if one.is_required] == ["model"]
    assert shown["model"].schema["enum"] == list(SPECS)
    assert shown["duration"].text.startswith("t2v, i2v: 5 or 8 seconds (required). t2v_v3, i2v_v3: 5, 10, 15 or 20")
    assert shown["tier"].text.startswith('minimax: "turbo" or "base"')
    assert shown["aspect_ratio"].schema["enum"] == ["16:9", "9:16", "1:1", "auto", "21:9", "4:3", "3:4", ""]
    # For one model there is nothing to tell apart.
    (_, prompt, *_) = common_parameters(["t2v"])
    assert prompt.text == "What the video shows (required)."


@pytest.mark.parametrize("model", SPECS)
@pytest.mark.parametrize("left_out", ["", None, 0, 0.0, False, []], ids=repr)
def test_what_models_send_for_nothing_is_left_out(model: str, left_out: object) -> None:
    others = {one.name: left_out for one in common_parameters(list(SPECS))[1:]}
    assert spec_from(model, others | GOOD[model], None, SPECS) == spec_from(model, GOOD[model], None, SPECS)


@pytest.mark.parametrize("duration", [8, "8", 8.0, " 8 ", "8.0"], ids=repr)
def test_whole_numbers_come_in_many_forms(duration: object) -> None:
    given = GOOD["t2v"] | {"duration": duration}
    assert spec_from("t2v", given, None, SPECS) == spec_from("t2v", GOOD["t2v"], None, SPECS)


@pytest.mark.parametrize(
    ("model", "given", "field", "value"),
    [
        ("wan27", {"prompt_extend": "true"}, "prompt_extend", True),
        ("wan27", {"resolution": 1080}, "resolution", "1080p"),
        ("lv", {"prompts": "It sits\n\n  It runs \n"}, "prompts", ("It sits", "It runs")),
        ("lv", {"prompts": ["It sits"]}, "prompts", ("It sits",)),
        ("happyhorse", {"image": IMAGE}, "image", IMAGE),
        ("happyhorse", {"image": f"{IMAGE}\n{IMAGE}"}, "image", (IMAGE, IMAGE)),
        ("minimax", {"reference_images": IMAGE}, "reference_images", (IMAGE,)),
        ("minimax", {"reference_audios": f"{IMAGE}\n{IMAGE}"}, "reference_audios", (IMAGE, IMAGE)),
    ],
)
def test_values_become_those_of_the_spec(model: str, given: dict[str, Any], field: str, value: object) -> None:
    assert getattr(spec_from(model, GOOD[model] | given, None, SPECS), field) == value


@pytest.mark.parametrize(
    ("model", "given", "problems"),
    [
        ("sora", {}, {"model": "one of t2v, i2v"}),
        (5, {}, {"model": "one of t2v, i2v"}),
        ("t2v", {"duration": 7}, {"duration": "5 or 8 (seconds)"}),
        ("t2v", {"duration": "eight", "aspect_ratio": "4:3"}, {"duration": "5 or 8", "aspect_ratio": "'16:9' or"}),
        ("t2v", {"duration": True}, {"duration": "5 or 8"}),
        ("t2v", {"prompt": ""}, {"prompt": "a text that is not blank"}),
        ("t2v", {"tier": "base"}, {"tier": "left out: t2v has no such field"}),
        ("i2v", {"image": "", "duration": 9}, {"image": "an http(s) URL", "duration": "5 or 8"}),
        ("i2v", {"image": "a.png", "duration": 9}, {"image": "no folder for images", "duration": "5 or 8"}),
        ("i2v", {"image": 5}, {"image": "an http(s) URL, a data URI, or the name of a file"}),
        ("minimax", {"reference_video": "a.mp4"}, {"reference_video": "a public http(s) URL"}),
    ],
)
def test_all_that_is_wrong_is_named_with_what_is_allowed(
    model: object, given: dict[str, Any], problems: dict[str, str]
) -> None:
    """In words that have no Python objects in them."""
    base = GOOD.get(model, {}) if isinstance(model, str) else {}
    with pytest.raises(InvalidSpec) as caught:
        spec_from(model, base | given, None, SPECS)
    found = {problem.field: problem.allowed for problem in caught.value.problems}
    assert found.keys() == problems.keys()
    assert all(found[field].find(words) >= 0 for field, words in problems.items()), found
    assert "bytes" not in str(caught.value)
    assert "None" not in str(caught.value)


# --- files -------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    (folder / "fox.png").write_bytes(b"fox")
    (folder / "more" / "owl.png").write_bytes(b"owl")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "up").symlink_to(tmp_path)
    (folder / "in.png").symlink_to(folder / "fox.png")
    return folder


@pytest.mark.parametrize("name", ["fox.png", "more/owl.png", "more/../fox.png", "in.png", " fox.png "])
def test_a_file_of_the_folder_is_an_image(images: Path, name: str) -> None:
    spec = spec_from("i2v", {"image": name, "duration": 5}, images, SPECS)
    assert isinstance(spec, ImageToVideo)
    assert isinstance(spec, ImageToVideo)
    assert spec.image in {(images / "fox.png").resolve(), (images / "more" / "owl.png").resolve()}


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "out.png", "up/secret.png", "/etc/hostname", "more", "none.png", "~/a.png", "\0", "a" * 5000],
)
def test_nothing_outside_the_folder_is_read(images: Path, name: str) -> None:
    """Whether it is there is not told either."""
    with pytest.raises(InvalidSpec, match="there is no such file in it"):
        spec_from("i2v", {"image": name, "duration": 5}, images, SPECS)


def test_an_absolute_name_within_the_folder_is_fine(images: Path) -> None:
    spec = spec_from("i2v", {"image": str(images / "fox.png"), "duration": 5}, images, SPECS)
    assert isinstance(spec, ImageToVideo)
    assert spec.image == (images / "fox.png").resolve()
