"""Whether a task of the list is what was ordered, and whether it was created since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import HappyHorse, MiniMaxH3, Seedance20, VideoSpec, Wan27
from aivideomaker_async._submits.body import BytesContent, Image, LongText
from aivideomaker_async._submits.matching import (
    ClockReference,
    ListedTask,
    Match,
    Recency,
    compare,
    make_fingerprint,
    recency,
    stamped_times,
)
from aivideomaker_async._submits.state import Fingerprint, Instant, ServiceClock, Submit, SubmitState
from aivideomaker_async.specs import image_fields, to_wire, wire_fields
from aivideomaker_async.tasks import TaskDetails, TaskStatus
from tests.support.pictures import PNG, as_image, data_uri

SAME, MAYBE, OTHER = Match.SAME, Match.MAYBE, Match.OTHER
LONG = "A postcard of the harbour at dawn, number"
TEXT = {"prompt": "a red fox in the snow", "aspectRatio": "16:9", "duration": "5"}


def picture(content: bytes = b"\x89PNG") -> Image:
    return Image("image/png", len(content), content, BytesContent([content]))


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
        # Settings that it does not show: the words are enough.
        (TEXT, {"prompt": TEXT["prompt"]}, SAME),
        # Other words are another order.
        (TEXT, TEXT | {"prompt": "a blue whale"}, OTHER),
        (TEXT, TEXT | {"prompt": "a red"}, OTHER),
        ({"prompt": "fox number 1"}, {"prompt": "fox number 12"}, OTHER),
        # What is not shown, or cut off.
        (TEXT, {}, MAYBE),
        (TEXT, TEXT | {"prompt": ""}, MAYBE),
        (TEXT, {"duration": "5"}, MAYBE),
        ({"duration": "5"}, {"resolution": "720p"}, MAYBE),
        (TEXT, TEXT | {"prompt": "a red fox in the s..."}, MAYBE),
        (TEXT, TEXT | {"prompt": "a red fox…"}, MAYBE),
        ({"prompt": LONG + " 37"}, {"prompt": LONG}, MAYBE),
        # A short text is shown whole: it is another one that begins alike.
        (TEXT, TEXT | {"prompt": "a red fox in the s"}, OTHER),
        ({"prompt": "postcard 37"}, {"prompt": "postcard 3"}, OTHER),
        ({"prompt": ["one", "two"]}, {"prompt": '["one", "two"]'}, MAYBE),
        # A setting in another form, or another order: settings rule nothing out.
        ({"duration": "5"}, {"duration": "8"}, MAYBE),
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
        ({"prompt": {"a": "x"}}, {"prompt": {"a": "y"}}, MAYBE),
        ({"prompt": ["one"]}, {"prompt": "one"}, MAYBE),
        ({"prompt": "https://words.example/1"}, {"prompt": "words"}, MAYBE),
        ({"prompt": None, "duration": "5"}, {"prompt": "", "duration": "5"}, SAME),
        ({"duration": "5", "on": True}, {"duration": "5", "on": False}, MAYBE),
        ({"duration": "5", "more": {"a": 1}}, {"duration": "5", "more": {"a": 2}}, MAYBE),
        # Images: at a URL, of which the service may keep a copy; and as data, which it shows as a URL.
        ({"prompt": "x", "image": URL}, {"prompt": "x", "image": URL}, SAME),
        ({"prompt": "x", "image": URL}, {"prompt": "x", "image": "https://copies.example/1.png"}, MAYBE),
        ({"prompt": "x", "image": URL}, {"prompt": "x"}, MAYBE),
        ({"prompt": "x", "image": URL}, {"prompt": "x", "image": "storage/1.png"}, MAYBE),
        ({"prompt": "x", "image": PICTURE}, {"prompt": "x", "image": "https://copies.example/1.png"}, SAME),
        ({"prompt": "x", "image": "data:image/png;base64,AAAA"}, {"prompt": "x", "image": URL}, SAME),
        ({"prompt": "x", "image": ["data:image/png;base64,AAAA", URL]}, {"prompt": "x", "image": [URL, URL]}, SAME),
        ({"duration": "5", "image": PICTURE}, {"duration": "5", "image": URL}, SAME),
        ({"prompt": "x", "audio": LongText("a" * 9)}, {"prompt": "x", "audio": URL}, SAME),
        # An image that is not shown at all: another may have ordered the same without one.
        ({"prompt": "x", "image": PICTURE}, {"prompt": "x"}, MAYBE),
        ({"prompt": "x", "image": PICTURE}, {"prompt": "x", "image": None}, MAYBE),
        ({"prompt": "x", "images": [PICTURE, URL]}, {"prompt": "x", "images": []}, MAYBE),
        ({"prompt": "x", "images": [URL, URL]}, {"prompt": "x"}, MAYBE),
        ({"prompt": "x", "more": {"image": URL}}, {"prompt": "x"}, MAYBE),
        ({"prompt": "x", "seeds": [1, 2]}, {"prompt": "x"}, SAME),
        ({"duration": 5, "resolution": 480}, {"duration": "5s", "resolution": "480p"}, MAYBE),
        (
            {"prompt": "x", "more": {"b": 1, "a": "data:image/png;base64,AAAA"}},
            {"prompt": "x", "more": {"a": URL}},
            SAME,
        ),
    ],
)
def test_a_task_compares_with_an_order_by_what_is_shown(
    sent: dict[str, Any], shown: dict[str, Any], expected: Match
) -> None:
    assert compare(make_fingerprint("t2v", sent), task(shown)) is expected


def test_an_address_is_compared_by_its_digest() -> None:
    """It may be signed, and what was ordered is kept in errors. Words with an address in them are words."""
    one, other = f"{URL}?signature=SECRET", f"{URL}?signature=OTHER"
    sent = {"prompt": f"like {URL}", "image": one, "hooks": {"to": ["https://me.example/hooks/SECRET"]}}
    fingerprint = make_fingerprint("t2v", sent)
    assert "SECRET" not in str(fingerprint.fields)
    assert fingerprint.fields["prompt"] == sent["prompt"]
    assert compare(fingerprint, task(sent)) is SAME
    assert compare(fingerprint, task(sent | {"image": other})) is MAYBE


def test_the_model_counts() -> None:
    assert compare(make_fingerprint("t2v", TEXT), task(TEXT, "t2v_v3")) is OTHER
    assert compare(make_fingerprint("t2v", TEXT), task(TEXT, "T2V")) is SAME
    assert compare(make_fingerprint("t2v", TEXT), task(TEXT, None)) is MAYBE


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


def order_of(spec: VideoSpec) -> Fingerprint:
    """As a submit makes it, with all images loaded."""

    def load(image: object) -> Image | str:
        return image if isinstance(image, str) and image.startswith("http") else as_image(PNG)

    names = wire_fields(type(spec))
    images = {
        names[name]: [load(one) for one in image] if isinstance(image, tuple) else load(image)
        for name, image in image_fields(spec).items()
    }
    return make_fingerprint(spec.model, to_wire(spec) | images)


def stored(value: object) -> Any:
    """What the service shows in its place: an address of its own for an image that came as data."""
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
def test_an_order_is_recognised_by_what_the_list_shows(name: str) -> None:
    """With URLs in place of uploads, with numbers for texts, and with what the service adds."""
    spec = SPECS[name]
    ours = order_of(spec)
    shown = row(spec).input
    as_texts = {key: str(value) if type(value) is int else value for key, value in shown.items()}
    as_numbers = {key: int(str(value)) if str(value).isdigit() else value for key, value in shown.items()}
    with_more = {**NOT_SENT[spec.model], **shown}
    for wire in (shown, as_texts, as_numbers, with_more):
        assert compare(ours, task(dict(wire), spec.model)) is SAME
    assert compare(ours, task(dict(shown), spec.model.upper())) is SAME
    assert compare(ours, task(dict(shown), "t2v")) is OTHER


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
        assert compare(ours, task(dict(wire), spec.model)) in {SAME, MAYBE}


@pytest.mark.parametrize("name", SPECS)
def test_other_orders_are_told_apart(name: str) -> None:
    """By their words alone."""
    spec = SPECS[name]
    ours = order_of(spec)
    if isinstance(spec, Seedance20) and spec.prompt is None:
        for changed in ({"duration": 15}, {"resolution": 720}, {"ratio": "1:1"}):
            assert compare(ours, row(spec, **changed)) is MAYBE
        assert compare(ours, row(spec, prompt="a blue whale")) is MAYBE
        assert compare(ours, row(spec, image=None)) is MAYBE
        return
    other = row(spec, **{"content" if isinstance(spec, MiniMaxH3) else "prompt": "a blue whale in the sea"})
    # A service that may write more into a prompt may change it, too.
    extends = isinstance(spec, Wan27) and spec.prompt_extend
    assert compare(ours, other) is (MAYBE if extends else OTHER)


@pytest.mark.parametrize("name", SPECS)
def test_an_order_with_an_image_is_not_that_of_somebody_without(name: str) -> None:
    """Nor the other way round, though all the words are the same: neither is adopted for the other."""
    spec = SPECS[name]
    images = {field.name: field.default for field in attrs.fields(type(spec)) if field.metadata.get("images")}
    if image_fields(spec) and not (isinstance(spec, Seedance20) and spec.prompt is None):
        bare = attrs.evolve(spec, **images)
        assert compare(order_of(spec), row(bare)) is MAYBE
        assert compare(order_of(bare), row(spec)) is MAYBE


def test_orders_of_different_images_are_not_interchangeable() -> None:
    first, same, other = (
        make_fingerprint("i2v", {"prompt": "x", "image": picture(data)}) for data in (b"one", b"one", b"two")
    )
    assert first == same
    assert first != other
    lists = [make_fingerprint("i2v", {"image": ["data:image/png;base64,AAAA", URL + end]}) for end in ("", "", "?2")]
    assert lists[0] == lists[1] != lists[2]


def test_infinite_numbers_and_endless_nesting_are_no_problem() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    assert make_fingerprint("t2v", {"prompt": "x", "n": float("inf"), "deep": deep, "odd": object}) is not None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists), st.text())
def test_an_order_is_always_like_itself(value: Any, prompt: str) -> None:
    sent = {"prompt": prompt or "x", "setting": value}
    shown = {name: item for name, item in sent.items() if not str(item).startswith("data:")}
    assert compare(make_fingerprint("t2v", sent), task(shown)) in {SAME, MAYBE}


# --- when it was created -----------------------------------------------------------------------------

OLD, UNSURE, NEW = Recency.OLD, Recency.UNSURE, Recency.NEW
EPOCH = 1_772_000_000.0


def listed(created: float | None, *, took: float | None = None, first_seen: float = 5.0) -> ListedTask:
    """A task that was stamped at `created` took `took` seconds, and was listed first at `first_seen`."""

    def stamp(at: float) -> datetime:
        return datetime.fromtimestamp(EPOCH + at, UTC)

    details = TaskDetails(
        id="ck1",
        status=TaskStatus.PROGRESS if took is None else TaskStatus.COMPLETED,
        created_at=None if created is None else stamp(created),
        completed_at=None if created is None or took is None else stamp(created + took),
    )
    return ListedTask(details, first_seen)


def lost_submit(*, appeared: bool = False) -> Submit:
    """A submit that was sent at 0 and lost at 1. Its first list had the task, unless that `appeared` in a later one."""
    submit = Submit("key-1", Fingerprint("t2v", {}))
    submit.state, submit.sent_at, submit.lost_at, submit.was_lost = SubmitState.LOST, Instant(0.0, EPOCH), 1.0, True
    submit.polls, submit.seen_at_first_poll = 1, set() if appeared else {"ck1"}
    return submit


def age(
    task: ListedTask,
    submit: Submit,
    *,
    now: float = 30.0,
    wall_ahead: float = 0.0,
    references: Sequence[ClockReference] = (),
) -> Recency:
    """The recency at `now`; the wall clock of this machine has been set forward by `wall_ahead` since the submit."""
    clock = ServiceClock(Instant(now, EPOCH + now + wall_ahead), EPOCH + now)
    return recency(task, submit, stamped_times(submit, clock, references))


def reference(at: float, stamp: float) -> ClockReference:
    return ClockReference(Instant(at, EPOCH + at), EPOCH + stamp)


@pytest.mark.parametrize(
    ("created", "took", "seen_before", "appeared"),
    [
        (0.5, None, NEW, NEW),
        (-4.0, None, NEW, NEW),
        (-6.0, None, UNSURE, NEW),
        (-3600.0, None, UNSURE, NEW),
        (None, None, UNSURE, NEW),
        # Longer than the submit is ago: by whatever clock, it began before. An hour may as well be the clock's mistake.
        (-3600.0, 61.0, OLD, UNSURE),
        (-3600.0, 59.0, UNSURE, NEW),
        (-80.0, 75.0, UNSURE, NEW),
        (-30_000_000.0, None, UNSURE, NEW),
        # In the future, and later than all that the submit can have created.
        (34.0, None, NEW, NEW),
        (36.0, None, UNSURE, NEW),
        (105.0, None, UNSURE, NEW),
        (107.0, None, UNSURE, UNSURE),
    ],
)
def test_a_stamp_tells_the_age_of_a_task(
    created: float | None, took: float | None, seen_before: Recency, appeared: Recency
) -> None:
    """As far as that, by a clock that was never compared with the service's."""
    task = listed(created, took=took)
    assert age(task, lost_submit()) is seen_before
    assert age(task, lost_submit(appeared=True)) is appeared


@pytest.mark.parametrize("created", [None, 0.5, 5000.0])
def test_a_task_that_was_listed_before_the_submit_is_old(created: float | None) -> None:
    assert age(listed(created, first_seen=-1.0), lost_submit()) is OLD


def test_a_list_just_before_a_submit_of_another_process_proves_nothing() -> None:
    """When that was sent is known by whole seconds: it may have been before the list."""
    submit = lost_submit()
    submit.sent_elsewhere = True
    assert age(listed(0.5, first_seen=-1.0), submit) is NEW
    assert age(listed(0.5, first_seen=-60.0), submit) is OLD


@pytest.mark.parametrize("ahead", [0.0, -7200.0, 3600.0, 3e7])
def test_a_compared_clock_tells_what_is_old(ahead: float) -> None:
    """However wrong it is; and what is new, unless it is behind."""
    references = [reference(-100.0, ahead - 100.5)]
    ages = [age(listed(ahead + at), lost_submit(), references=references) for at in (-95.0, -85.0, -6.0, 0.5, 29.0)]
    is_behind = ahead < 0
    assert ages == [OLD, UNSURE, UNSURE, UNSURE if is_behind else NEW, UNSURE if is_behind else NEW]
    assert age(listed(ahead + 0.5), lost_submit(appeared=True), references=references) is NEW


def test_a_clock_that_was_set_meanwhile_leaves_more_unsure() -> None:
    """Between two tasks whose stamps are known, back by an hour: the task of the submit may be stamped either way."""
    references = [reference(-100.0, -100.5), reference(10.0, -3590.5)]
    ages = [age(listed(at), lost_submit(), references=references) for at in (-3700.0, -3600.0, -100.0, 0.5)]
    assert ages == [OLD, UNSURE, UNSURE, NEW]


@pytest.mark.parametrize(
    ("created", "took", "wall_ahead", "expected"),
    [
        # The machine may have slept for an hour as well: then the submit is an hour ago.
        (-1800.0, 100.0, 3600.0, UNSURE),
        (-9000.0, 8000.0, 3600.0, OLD),
        (-9000.0, 3000.0, 3600.0, UNSURE),
        (0.5, None, 3600.0, NEW),
        (-1800.0, 100.0, -3600.0, OLD),
        (0.5, None, -3600.0, NEW),
    ],
)
def test_a_wall_clock_that_was_set_makes_no_old_task_new(
    created: float, took: float | None, wall_ahead: float, expected: Recency
) -> None:
    """Nor a new one old."""
    assert age(listed(created, took=took), lost_submit(), wall_ahead=wall_ahead) is expected


@pytest.mark.parametrize(("created", "expected"), [(20.0, NEW), (22.0, UNSURE)])
def test_a_submit_of_another_process_has_less_time(created: float, expected: Recency) -> None:
    """Which tasks were assigned to others there since is unknown."""
    submit = lost_submit()
    submit.sent_elsewhere = True
    assert age(listed(created), submit) is expected


@pytest.mark.parametrize(("created", "took"), [(-90_000.0, 80_000.0), (-9000.0, 8000.0), (0.5, None)])
def test_a_submit_that_was_sent_at_an_unknown_time_rules_no_task_out(created: float, took: float | None) -> None:
    """Its process had not learned the time of the service: the submit may be older than it seems."""
    submit = lost_submit()
    submit.is_time_known = False
    references = [reference(-100.0, -100.5)]
    for task in (listed(created, took=took), listed(created, took=took, first_seen=-1.0)):
        assert age(task, submit) is not OLD
        assert age(task, submit, references=references) is not OLD


def test_a_submit_in_flight_has_no_end() -> None:
    """A task that it may own is never too late."""
    submit = lost_submit()
    submit.was_lost, submit.lost_at = False, -inf
    assert age(listed(500.0), submit, now=600.0) is NEW


@given(
    created=st.floats(-1e5, 1e5),
    took=st.none() | st.floats(0.0, 1e4),
    skew=st.floats(-1e5, 1e5),
    slept=st.floats(0.0, 5000.0),
    known_at=st.none() | st.floats(-1000.0, -0.1),
)
def test_a_task_of_the_submit_is_never_old(
    created: float, took: float | None, skew: float, slept: float, known_at: float | None
) -> None:
    """Whatever the clock that stamps tasks shows, and however long the machine slept after the submit."""
    created = created % 1.0
    now = created + 20.0
    took = None if took is None else min(took, now + slept - created)
    references = (
        [] if known_at is None else [ClockReference(Instant(known_at, EPOCH + known_at), EPOCH + known_at + skew)]
    )
    submit = lost_submit()
    clock = ServiceClock(Instant(now, EPOCH + now + slept), EPOCH + now + slept)
    task = listed(created + skew, took=took)
    assert recency(task, submit, stamped_times(submit, clock, references)) is not OLD
