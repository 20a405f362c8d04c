"""Faults: which request is hit by which, the details of each kind, and how bodies are corrupted."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import attrs
import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async.simulator import body_corruption
from aivideomaker_async.simulator.fault_kinds import FAULT_KINDS, Details, FaultDetails, FaultKind
from aivideomaker_async.simulator.faults import Call, Fault, Faults
from aivideomaker_async.simulator.video_store import BUNDLED_CLIP

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"
MODELS = {"ck1": "t2v", "ck/2": "lv"}

CALLS = {
    "submit": ("POST", "/api/v1/generate/t2v"),
    "list": ("GET", "/api/v1/tasks"),
    "details": ("GET", "/api/v1/tasks/ck1"),
    "status": ("GET", "/api/v1/tasks/ck1/status"),
    "cancel": ("PUT", "/api/v1/tasks/ck1/cancel"),
    "account": ("GET", "/api/v1/account"),
    "quote": ("POST", "/api/v1/quote/wan27"),
    "video": ("GET", "/videos/ck1.mp4"),
    "upload": ("GET", "/uploads/abc.png"),
    "nothing": ("GET", "/api/v1/models"),
    "elsewhere": ("GET", "/"),
}
API_CALLS = set(CALLS) - {"video", "upload", "elsewhere"}


def call(method: str, path: str) -> Call:
    return Call.of(method, path, MODELS.get)


def hits(faults: Faults, *calls: Call) -> list[Fault | None]:
    return [faults.hit(one) for one in calls]


LIST = call(*CALLS["list"])
SUBMIT = call(*CALLS["submit"])


# --- which request -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_an_endpoint_has_its_method_and_path(name: str) -> None:
    expected = None if name in {"nothing", "elsewhere"} else name
    assert call(*CALLS[name]).endpoint == expected
    assert call("PATCH", CALLS[name][1]).endpoint is None


@pytest.mark.parametrize(
    ("method", "path", "task_id", "model"),
    [
        ("GET", "/api/v1/tasks/ck%2F2/status", "ck/2", "lv"),
        ("GET", "/videos/other.mp4", "other", None),
        ("POST", "/api/v1/quote/wan%2F27", None, "wan/27"),
        ("GET", "/api/v1/tasks", None, None),
    ],
)
def test_ids_and_models_are_read_from_the_path(method: str, path: str, task_id: str | None, model: str | None) -> None:
    found = call(method, path)
    assert (found.task_id, found.model) == (task_id, model)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        *(({"on": name}, {name}) for name in CALLS if name not in {"nothing", "elsewhere"}),
        ({"on": "query"}, {"list", "details", "status"}),
        ({"on": "any"}, API_CALLS),
        ({}, API_CALLS),
        ({"on": lambda method, path: method == "GET" and path.endswith("ck1")}, {"details"}),
        ({"task_id": "ck1"}, {"details", "status", "cancel"}),
        ({"model": "t2v"}, {"submit", "details", "status", "cancel"}),
        ({"on": "quote", "model": "wan27"}, {"quote"}),
    ],
)
def test_a_fault_hits_the_requests_that_it_is_for(arguments: dict[str, Any], expected: set[str]) -> None:
    faults = Faults()
    faults.add("drop", times=None, **arguments)
    assert {name for name, one in CALLS.items() if faults.hit(call(*one))} == expected


def test_a_fault_of_files_is_for_videos_by_default() -> None:
    assert Faults().add("changed").on == "video"
    assert Faults().add("no_ranges", on="upload").on == "upload"
    assert callable(Faults().add("changed", on=lambda *_: True).on)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("drop", {"on": "submits"}, "on must be one of submit, list, details, .*, or a function .*, got 'submits'"),
        ("drop", {"on": 5}, "on must be one of"),
        ("drop", {"on": []}, "on must be one of"),
        ("changed", {"on": "any"}, "on must be one of video, upload, or a function, for the kind changed, got"),
        ("drop", {"on": "submit", "task_id": "x"}, "task_id must be None for on='submit', whose requests have none"),
        *(("drop", {"on": on, "task_id": "x"}, f"task_id must be None for on='{on}'") for on in ("upload", "quote")),
        *(("drop", {"on": on, "model": "t2v"}, f"model must be None for on='{on}'") for on in ("list", "account")),
        ("drop", {"task_id": 5}, "task_id must be a text or None, got 5"),
        ("drop", {"model": b"x"}, "model must be a text or None, got b'x'"),
        ("drop", {"after": -1}, "after must be a whole number of at least 0, got -1"),
        ("drop", {"times": 0}, "times must be a whole number of at least 1, got 0"),
        ("drop", {"times": 1.0}, "times must be a whole number of at least 1, got 1.0"),
        ("drop", {"probability": 1.1}, "probability must be a number from 0 to 1, got 1.1"),
        ("drop", {"probability": "1"}, "probability must be a number from 0 to 1, got '1'"),
        ("drips", {}, r"the kind of a fault must be one of drop, reset.*got 'drips'"),
        (None, {}, r"the kind of a fault must be one of drop, reset.*got None"),
        ("drop", {"status": 500}, "of the kind drop takes only acted, got status"),
        ("changed", {"acted": True}, "of the kind changed takes no details, got acted"),
        ("slow", {}, "of the kind slow needs seconds"),
        ("redirect", {}, "of the kind redirect needs location"),
        ("drop", {"acted": 1}, "acted must be True or False, got 1"),
        *(
            ("slow", {"seconds": wrong}, f"seconds must be a number of at least 0, got {wrong!r}")
            for wrong in (-1, float("nan"), float("inf"), "1", True)
        ),
        *(("status", {"status": wrong}, f"status must be from 200 to 599, got {wrong}") for wrong in (199, 600)),
        ("status", {"status": "500"}, "status must be a whole number of at least 0, got '500'"),
        ("redirect", {"location": "/", "status": 200}, "status must be one of 301, 302, 303, 307, 308, got 200"),
        ("redirect", {"location": "/\r\nx: y"}, r"location must be a text of printable ASCII characters, got '/\\r"),
        *(("redirect", {"location": wrong}, "location must be a text of printable") for wrong in ("", None)),
        ("rate_limit", {"retry_after": "s\x00"}, "retry_after must be a text of printable"),
        ("rate_limit", {"retry_after": -1}, "retry_after must be a number of at least 0, got -1"),
        ("rate_limit", {"retry_after": datetime(2026, 1, 1)}, "retry_after must be a datetime with a time zone"),  # noqa: DTZ001
        *(("garbage", {"size": wrong}, "size must be a whole number of at least 1") for wrong in (0, 1.5)),
        ("deep_json", {"depth": True}, "depth must be a whole number of at least 1, got True"),
        *(("wrong_length", {"by": wrong}, "by must be a whole number other than 0") for wrong in (0, 1.0)),
        ("status", {"body": 5}, "body must be a text, bytes or a dict for JSON, got 5"),
        ("status", {"body": {"x": object}}, "body must be what JSON can hold"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_added(kind: Any, wrong: dict[str, Any], message: str) -> None:
    faults = Faults()
    with pytest.raises(ValueError, match=message):
        faults.add(kind, **wrong)
    assert not faults.any


# --- when --------------------------------------------------------------------------------------------


def test_a_fault_hits_once_by_default_and_without_end_when_asked() -> None:
    faults = Faults()
    once = faults.add("drop")
    assert hits(faults, LIST, LIST) == [once, None]
    assert not faults.any
    always = faults.add("drop", times=None)
    assert hits(faults, LIST, LIST, LIST) == [always] * 3
    assert (once.hits, always.hits, faults.hits) == (1, 3, 4)


def test_faults_happen_one_after_the_other() -> None:
    """A request is hit by one fault, and the faults after it do not count the request."""
    faults = Faults()
    first = faults.add("drop", on="list", times=2)
    second = faults.add("html", on="query", after=1)
    third = faults.add("hang", on="submit")
    assert hits(faults, LIST, LIST, SUBMIT, LIST, LIST, LIST) == [first, first, third, None, second, None]


def test_a_fault_is_removed_by_its_handle_or_its_block_or_with_all_others() -> None:
    faults = Faults()
    fault = faults.add("drop", times=None)
    assert repr(fault) == "<Fault drop on any, 0 hits>"
    faults.hit(LIST)
    fault.remove()
    assert repr(fault) == "<Fault drop on any, 1 hits, removed>"
    with faults.add("html", on=lambda *_: True, times=None) as within:
        assert hits(faults, LIST) == [within]
    assert repr(within) == "<Fault html on some, 1 hits, removed>"
    for _ in range(2):
        faults.add("drop", times=None)
    faults.clear()
    assert hits(faults, LIST) == [None]
    assert faults.hits == 2


@settings(deadline=None)
@given(
    after=st.integers(0, 5),
    times=st.none() | st.integers(1, 5),
    probability=st.sampled_from([0.0, 0.5, 1.0]),
    matching=st.lists(st.booleans(), max_size=30),
)
def test_after_times_and_probability_decide_which_matching_requests_are_hit(
    after: int, times: int | None, probability: float, matching: list[bool]
) -> None:
    faults = Faults(1)
    fault = faults.add("drop", on="list", after=after, times=times, probability=probability)
    hit = [faults.hit(LIST if match else SUBMIT) is fault for match in matching]
    meant = [yes for yes, match in zip(hit, matching, strict=True) if match]
    assert sum(hit) == sum(meant) == fault.hits
    assert not any(meant[:after])
    assert times is None or fault.hits <= times
    if probability == 1:
        expected = min(len(meant[after:]), times or len(meant))
        assert meant[after:] == [True] * expected + [False] * (len(meant[after:]) - expected)
    if probability == 0:
        assert fault.hits == 0


# --- chance ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(seed=st.integers(0, 1000), probability=st.floats(0.05, 0.95), others=st.integers(0, 3))
def test_the_draws_of_a_fault_repeat_independent_of_other_faults(seed: int, probability: float, others: int) -> None:
    def drawn(more: int) -> list[bool]:
        faults = Faults(seed)
        fault = faults.add("drop", on="list", probability=probability)
        for _ in range(more):
            faults.add("html", on="submit", probability=0.5)
        return [faults.hit(one) is fault for one in (LIST, SUBMIT) * 30]

    before = random.getstate()
    assert drawn(others) == drawn(0)
    assert random.getstate() == before


def test_a_probability_has_no_end_and_is_about_right() -> None:
    faults = Faults(7)
    fault = faults.add("drop", probability=0.05)
    rounds = 4000
    for _ in range(rounds):
        faults.hit(LIST)
    assert fault.times is None
    assert 0.04 < fault.hits / rounds < 0.06
    assert faults.add("drop", probability=0.5, times=1).times == 1


def test_without_a_seed_runs_differ() -> None:
    def drawn(faults: Faults) -> list[bool]:
        faults.add("drop", probability=0.5)
        return [faults.hit(LIST) is not None for _ in range(100)]

    assert drawn(Faults()) != drawn(Faults())
    assert drawn(Faults(1)) != drawn(Faults(2))


# --- kinds -------------------------------------------------------------------------------------------


def test_every_kind_and_detail_is_in_the_tables_of_the_page() -> None:
    """With its defaults, where the page has values."""
    assert tuple(FAULT_KINDS) == get_args(FaultKind)
    assert set(get_type_hints(FaultDetails)) == {field.name for field in attrs.fields(Details)}
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name: re.findall(r"`(\w+)(?:=([^`]*))?`", details) for name, details in rows if name in FAULT_KINDS}
    assert tuple(documented) == tuple(FAULT_KINDS)
    for name, kind in FAULT_KINDS.items():
        assert {detail for detail, _ in documented[name]} == set(kind.takes), name
        assert set(kind.required) <= set(kind.takes)
        for detail, value in documented[name]:
            if value:
                assert str(getattr(kind.defaults, detail)) == value.replace("_", ""), (name, detail)


# --- corrupted bodies --------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
OBJECTS = st.dictionaries(st.text(), SCALARS | st.dictionaries(st.text(), SCALARS))


@settings(deadline=None)
@given(st.binary(), st.none() | st.integers(1, 50))
def test_a_truncated_body_is_never_whole(body: bytes, size: int | None) -> None:
    part = body_corruption.truncated(body, size)
    assert body.startswith(part)
    assert len(part) < len(body) or not body
    if size is not None and size < len(body):
        assert len(part) == size


@settings(deadline=None)
@given(OBJECTS | st.dictionaries(st.just("tasks"), st.lists(OBJECTS, min_size=1)))
def test_every_field_gets_another_type(answer: dict[str, Any]) -> None:
    wrong = json.loads(body_corruption.wrong_types(json.dumps(answer).encode()))
    assert wrong.keys() == answer.keys()
    for name, value in answer.items():
        if isinstance(value, list):
            for right, bad in zip(value, wrong[name], strict=True):
                assert right.keys() == bad.keys()
                assert all(type(right[key]) is not type(bad[key]) for key in right)
        else:
            assert type(wrong[name]) is not type(value)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [(b"\x00\xff", b"7"), (b"", b"7"), (b"[1]", b'"seven"'), (b'{"tasks": []}', b'{"tasks": "seven"}')],
)
def test_a_body_that_is_no_object_gets_another_type_as_a_whole(body: bytes, wrong: bytes) -> None:
    assert body_corruption.wrong_types(body) == wrong


@settings(deadline=None)
@given(st.binary(max_size=100), st.integers(0, 300_000))
def test_a_gzip_bomb_unpacks_to_the_padded_body(body: bytes, size: int) -> None:
    """Also for readers of the first member only, and with a right checksum and length."""
    expected = body.rjust(size)
    assert b"".join(body_corruption.padded(body, size)) == expected
    packed = b"".join(body_corruption.gzip_bomb(body, size))
    assert gzip.decompress(packed) == expected
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert reader.decompress(packed) == expected
    assert (reader.eof, reader.unused_data) == (True, b"")


def test_a_gzip_bomb_is_a_thousandth_of_its_size() -> None:
    assert sum(map(len, body_corruption.gzip_bomb(b"{}", 50_000_000))) < 70_000


def test_a_changed_file_still_plays_and_no_part_of_it_continues_the_old_one() -> None:
    content = BUNDLED_CLIP.read_bytes()
    other = body_corruption.changed_file(content)
    with av.open(io.BytesIO(content), "r") as one, av.open(io.BytesIO(other), "r") as two:
        assert one.duration == two.duration
    for cut in (20, len(content) // 2, len(content) - 1):
        assert content[:cut] + other[cut:] not in {content, other}
        assert other[:cut] + content[cut:] not in {content, other}


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=50))
def test_any_file_can_be_changed(content: bytes) -> None:
    assert body_corruption.changed_file(content) != content
