"""The fields of the models of September 2026: their values, and how they are sent."""

from __future__ import annotations

import enum
import io
import pickle
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from aivideomaker_async import HappyHorse, InvalidSpec, MiniMaxH3, Seedance20, VideoSpec, Wan27
from aivideomaker_async.specs import to_wire
from tests.support.pictures import PNG, data_uri

URL = "https://example.com/a.png"
FILM = "https://example.com/a.mp4"
SOUND = "https://example.com/a.mp3"
URI = data_uri(PNG)
BASE64 = data_uri(PNG * 3).partition(",")[2].replace("=", "")
"""An image that has lost its head."""

LEAST: dict[type[VideoSpec], dict[str, Any]] = {
    MiniMaxH3: {"prompt": "A cat"},
    Seedance20: {"prompt": "A cat", "duration": 5, "resolution": "480p", "aspect_ratio": "1:1"},
    Wan27: {"prompt": "A cat", "duration": 5},
    HappyHorse: {"prompt": "A cat", "duration": 5},
}
kinds = pytest.mark.parametrize("kind", LEAST)


def make(kind: type[VideoSpec], **changed: Any) -> VideoSpec:
    return kind(**{**LEAST[kind], **changed})


def refused(kind: type[VideoSpec], **changed: Any) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        make(kind, **changed)
    assert caught.value.spec == kind.__name__
    return caught.value


# --- settings ----------------------------------------------------------------------------------------

RIGHT: dict[tuple[type[VideoSpec], str], tuple[str, Mapping[object, object]]] = {
    (MiniMaxH3, "duration"): ("duration", {seconds: seconds for seconds in range(5, 21)}),
    (MiniMaxH3, "resolution"): (
        "resolution",
        {"720p": "720p", "720P": "720p", 720: "720p", "1080p": "1080p", "1080P": "1080p", 1080: "1080p"},
    ),
    (MiniMaxH3, "tier"): ("tier", {"turbo": "turbo", "base": "base"}),
    (MiniMaxH3, "aspect_ratio"): (
        "aspectRatio",
        {ratio: ratio for ratio in ("auto", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16")},
    ),
    (Seedance20, "duration"): ("duration", {seconds: seconds for seconds in range(4, 16)}),
    (Seedance20, "resolution"): (
        "resolution",
        {"480p": 480, "480P": 480, 480: 480, "720p": 720, "720P": 720, 720: 720},
    ),
    (Seedance20, "aspect_ratio"): ("ratio", {ratio: ratio for ratio in ("16:9", "9:16", "1:1")}),
    (Wan27, "duration"): ("duration", {5: "5", 10: "10", 15: "15"}),
    (Wan27, "resolution"): (
        "resolution",
        {"720p": "720P", "720P": "720P", 720: "720P", "1080p": "1080P", "1080P": "1080P", 1080: "1080P"},
    ),
    (Wan27, "aspect_ratio"): ("ratio", {ratio: ratio for ratio in ("16:9", "9:16", "1:1", "4:3", "3:4")}),
    (Wan27, "prompt_extend"): ("promptExtend", {True: True, False: False}),
    (HappyHorse, "duration"): ("duration", {seconds: seconds for seconds in range(3, 16)}),
    (HappyHorse, "resolution"): (
        "resolution",
        {"720p": "720P", "720P": "720P", 720: "720P", "1080p": "1080P", "1080P": "1080P", 1080: "1080P"},
    ),
    (HappyHorse, "aspect_ratio"): ("ratio", {ratio: ratio for ratio in ("16:9", "9:16", "3:4", "4:3", "1:1")}),
}
"""How each allowed value is sent, and under which name."""


@pytest.mark.parametrize(
    ("kind", "name", "wire_name", "value", "wire"),
    [(*field, wire_name, *pair) for field, (wire_name, values) in RIGHT.items() for pair in values.items()],
)
def test_a_setting_is_sent_as_documented(
    kind: type[VideoSpec], name: str, wire_name: str, value: object, wire: object
) -> None:
    """By name and by type: a number is not a text."""
    spec = make(kind, **{name: value})
    found = to_wire(spec)[wire_name]
    assert (type(found), found) == (type(wire), wire)
    assert spec == attrs.evolve(spec)


class Lines(enum.IntEnum):
    HD = 720


class Spelling(str, enum.Enum):  # noqa: UP042  (as users of 3.10 wrote it, and as they still do)
    HD = "720P"


@pytest.mark.parametrize("value", [Lines.HD, Spelling.HD])
@kinds
def test_a_resolution_from_an_enum_is_one_of_ours(kind: type[VideoSpec], value: object) -> None:
    """A plain text in the one spelling, so that equal specs are equal."""
    spec = make(kind, resolution=value)
    assert type(spec.resolution) is str  # type: ignore[attr-defined]
    assert spec == make(kind, resolution="720p")
    assert hash(spec) == hash(make(kind, resolution=720))


HUGE = 10**5000
NO_RESOLUTIONS = [None, True, 720.0, "720", "720i", " 720p", 4320, "4k", b"720p", [720], {720}, HUGE, "p" * 10**6]


def test_a_wrong_resolution_is_reported_as_it_was_given() -> None:
    for value in [480, *NO_RESOLUTIONS]:
        error = refused(MiniMaxH3, resolution=value)
        assert [(problem.field, problem.allowed) for problem in error.problems] == [("resolution", "'720p' or '1080p'")]
        assert len(error.value) < 600
        if isinstance(value, int) and value < HUGE:
            assert error.value == repr(value)


# --- which fields go together ------------------------------------------------------------------------

FRAMES: dict[str, Any] = {"image": URL, "last_frame": URI}
REFERENCES: dict[str, Any] = {"reference_images": [URL], "reference_video": FILM, "reference_audios": [SOUND]}


def chosen(fields: dict[str, Any], bits: int) -> dict[str, Any]:
    return {name: value for place, (name, value) in enumerate(fields.items()) if bits >> place & 1}


@pytest.mark.parametrize("frames", range(4))
@pytest.mark.parametrize("references", range(8))
def test_frames_and_references_exclude_each_other(frames: int, references: int) -> None:
    """Each field that is too much is reported."""
    given, too_much = chosen(FRAMES, frames), chosen(REFERENCES, references)
    if not given or not too_much:
        MiniMaxH3(prompt="A cat", **given, **too_much)
        return
    error = refused(MiniMaxH3, **given, **too_much)
    assert [problem.field for problem in error.problems] == list(too_much)
    beside = " and ".join(given)
    assert error.allowed == f"left out beside {beside}: frames and references exclude each other"


def test_empty_references_are_none() -> None:
    """A program may gather them in a list."""
    spec = MiniMaxH3(prompt="A cat", image=URL, reference_images=[], reference_audios=[], reference_video=None)
    assert spec == MiniMaxH3(prompt="A cat", image=URL)


SOURCES: dict[str, Any] = {"prompt": "A cat", "image": URL, "video": FILM}


@pytest.mark.parametrize("with_audio", [False, True])
@pytest.mark.parametrize("bits", range(8))
def test_one_source_at_least_is_needed(bits: int, with_audio: bool) -> None:
    """A sound is not one, and needs one."""
    sources = {"prompt": None, **chosen(SOURCES, bits)}
    if with_audio:
        sources["audio"] = SOUND
    if bits:
        assert to_wire(make(Seedance20, **sources)).keys() >= {name for name, value in sources.items() if value}
        return
    error = refused(Seedance20, **sources)
    assert [problem.field for problem in error.problems] == ["prompt", "audio"][: 1 + with_audio]
    assert error.allowed == "given, or else image or video: at least one of the three"


class Ambiguous:
    """As arrays are: what is compared with it is neither the same nor another."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "name", ["reference_images", "reference_video", "reference_audios", "last_frame", "tier", "duration"]
)
def test_a_value_that_cannot_be_compared_is_refused(name: str) -> None:
    """Like anything else that is wrong."""
    error = refused(MiniMaxH3, image=URL, **{name: Ambiguous()})
    assert error.field == name


# --- images and addresses ----------------------------------------------------------------------------

LISTS: list[tuple[type[VideoSpec], str]] = [(MiniMaxH3, "reference_images"), (HappyHorse, "image")]

MADE: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "generator": lambda images: (image for image in images),
    "deque": deque,
    "values": lambda images: dict(enumerate(images)).values(),
}


@pytest.mark.parametrize("form", MADE)
@pytest.mark.parametrize(("kind", "name"), LISTS)
def test_several_images_are_a_list_of_any_kind(kind: type[VideoSpec], name: str, form: str) -> None:
    """It is copied, and so are the buffers in it."""
    buffer = bytearray(PNG)
    images = [URL, buffer, Path("a.png")]
    spec = make(kind, **{name: MADE[form](images)})
    images.clear()
    buffer[:] = bytes(len(buffer))
    assert getattr(spec, name) == (URL, PNG, Path("a.png"))
    assert hash(spec) == hash(attrs.evolve(spec))
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301


class Folder:
    """A path that gives the files in it, as those of `py.path` do."""

    def __fspath__(self) -> str:
        return "folder"

    def __iter__(self) -> Any:
        raise AssertionError("its files are not listed")


@pytest.mark.parametrize(
    "value",
    [
        URL,
        URI,
        PNG,
        bytearray(PNG),
        memoryview(PNG),
        Path("a.png"),
        io.BytesIO(PNG),
        Folder(),
        {URL},
        {URL: 1},
        None,
        5,
    ],
)
def test_one_image_is_not_a_list_of_references(value: object) -> None:
    """Nor is a set, which has no order."""
    error = refused(MiniMaxH3, reference_images=value)
    assert (error.field, error.allowed) == ("reference_images", "a list of at most 4 images")
    assert len(error.problems) == 1


def test_a_path_is_one_image_whatever_else_it_can_do() -> None:
    """It is not iterated over."""
    folder = Folder()
    assert make(HappyHorse, image=folder).image is folder  # type: ignore[attr-defined]


# --- what is shown -----------------------------------------------------------------------------------

SIGNED = "https://me:password@cdn.example/a.png?signature=SECRET#SECRET"
SECRETS = ("SECRET", "password", "iVBOR", "PNG", BASE64[:40])


def assert_shows_nothing(text: str) -> None:
    assert not [secret for secret in SECRETS if secret in text]
    assert len(text) < 5000


def test_no_repr_shows_what_is_private() -> None:
    """In no field, and in no list."""
    images: list[str | bytes] = [SIGNED, URI, PNG]
    specs = [
        MiniMaxH3(prompt=f"like {URI}", image=SIGNED, last_frame=PNG),
        MiniMaxH3(prompt="a", reference_images=images, reference_video=SIGNED, reference_audios=[SIGNED, SIGNED]),
        Seedance20(image=URI, video=SIGNED, audio=SIGNED, duration=5, resolution=480, aspect_ratio="1:1"),
        Wan27(prompt="a", image=PNG, duration=5),
        HappyHorse(prompt="a", image=images * 100, duration=5),
    ]
    for spec in specs:
        assert_shows_nothing(repr(spec))
    assert "image=['https://cdn.example/a.png?…', <data URI," in repr(specs[-1])
    assert "… (290 more)]" in repr(specs[-1])
    assert "reference_audios=['https://cdn.example/a.png?…', 'https://cdn.example/a.png?…']" in repr(specs[1])


@kinds
def test_no_error_shows_what_is_private(kind: type[VideoSpec]) -> None:
    """Of any value in any field, of any length."""
    private: list[Any] = [SIGNED + " ", URI + "!", BASE64, PNG[1:]]
    values = [*private, private, {BASE64: 1}, {"a": BASE64}, {BASE64}, [private], private * 1000, [SIGNED] * 1000]
    errors = 0
    for name in attrs.fields_dict(kind):
        for value in values:
            try:
                make(kind, **{"prompt": "A cat", name: value})
            except InvalidSpec as error:
                errors += 1
                assert_shows_nothing(str(error))
                assert_shows_nothing(repr(error.problems))
    # Texts are good prompts, a data URI looks like an image at first, and mappings are good further fields.
    assert errors > (len(values) - 1) * len(attrs.fields_dict(kind)) * 0.8
    assert_shows_nothing(str(refused(MiniMaxH3, image=URL, reference_video=SIGNED, reference_audios=[SIGNED])))
    assert_shows_nothing(str(refused(Seedance20, prompt=None, audio=SIGNED)))
