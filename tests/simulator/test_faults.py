import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async.simulator.faults import Call, Fault, Faults

MODELS = {"ck1": "t2v", "ck/2": "lv"}

CALLS = {
    "submit": ("POST", "/api/v1/generate/t2v"),
    "list": ("GET", "/api/v1/tasks"),
    "details": ("GET", "/api/v1/tasks/ck1"),
    "status": ("GET", "/api/v1/tasks/ck1/status"),
    "cancel": ("PUT", "/api/v1/tasks/ck1/cancel"),
    "video": ("GET", "/videos/ck1.mp4"),
    "upload": ("GET", "/uploads/abc.png"),
    "nothing": ("GET", "/api/v1/models"),
    "elsewhere": ("GET", "/"),
}


def call(method: str, path: str) -> Call:
    return Call.of(method, path, MODELS.get)


def hits(faults: Faults, *calls: Call) -> list[Fault | None]:
    return [faults.hit(one) for one in calls]


LIST = call(*CALLS["list"])
SUBMIT = call(*CALLS["submit"])


# What a request is


@pytest.mark.parametrize("name", CALLS)
def test_requests_are_told_apart_by_method_and_path(name: str) -> None:
    expected = None if name in {"nothing", "elsewhere"} else name
    assert call(*CALLS[name]).endpoint == expected
    assert call("PATCH", CALLS[name][1]).endpoint is None


def test_ids_and_models_are_read_from_the_path() -> None:
    found = call("GET", "/api/v1/tasks/ck%2F2/status")
    assert (found.endpoint, found.task_id, found.model) == ("status", "ck/2", "lv")
    assert (SUBMIT.task_id, SUBMIT.model) == (None, "t2v")
    unknown = call("GET", "/videos/other.mp4")
    assert (unknown.endpoint, unknown.task_id, unknown.model) == ("video", "other", None)
    assert (LIST.task_id, LIST.model) == (None, None)


# What is hit


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        *((name, {name}) for name in ("submit", "list", "details", "status", "cancel", "video", "upload")),
        ("query", {"list", "details", "status"}),
        ("any", {"submit", "list", "details", "status", "cancel", "nothing"}),
        (None, {"submit", "list", "details", "status", "cancel", "nothing"}),
        (lambda method, path: method == "GET" and path.endswith("ck1"), {"details"}),
    ],
)
def test_a_fault_hits_what_it_is_for(on: Any, expected: set[str]) -> None:
    faults = Faults()
    faults.add("drop", on=on, times=None)
    assert {name for name, one in CALLS.items() if faults.hit(call(*one))} == expected


def test_the_account_and_quotes_can_be_hit() -> None:
    account, quote = call("GET", "/api/v1/account"), call("POST", "/api/v1/quote/wan%2F27")
    assert [(one.endpoint, one.task_id, one.model) for one in (account, quote)] == [
        ("account", None, None),
        ("quote", None, "wan/27"),
    ]
    for on, hit in (("account", [True, False]), ("quote", [False, True]), ("any", [True, True])):
        faults = Faults()
        faults.add("drop", on=on, times=None)  # type: ignore[arg-type]
        assert [faults.hit(one) is not None for one in (account, quote)] == hit
    for on, narrowed in (("account", {"model": "t2v"}), ("account", {"task_id": "x"}), ("quote", {"task_id": "x"})):
        with pytest.raises(ValueError, match=f"must be None for on='{on}'"):
            Faults().add("drop", on=on, **narrowed)  # type: ignore[arg-type]
    assert Faults().add("drop", on="quote", model="t2v").model == "t2v"


def test_a_fault_of_files_is_for_videos_unless_told_otherwise() -> None:
    assert Faults().add("changed").on == "video"
    assert Faults().add("no_ranges", on="upload").on == "upload"
    assert callable(Faults().add("changed", on=lambda *_: True).on)
    with pytest.raises(ValueError, match="on must be one of video, upload, or a function, for the kind changed, got"):
        Faults().add("changed", on="any")


def test_a_task_or_a_model_narrows_it() -> None:
    faults = Faults()
    one = faults.add("drop", task_id="ck1", times=None)
    assert {name for name, what in CALLS.items() if faults.hit(call(*what))} == {"details", "status", "cancel"}
    one.remove()
    faults.add("drop", model="t2v", times=None)
    expected = {"submit", "details", "status", "cancel"}
    assert {name for name, what in CALLS.items() if faults.hit(call(*what))} == expected
    assert faults.hit(call("GET", "/api/v1/tasks/ck%2F2")) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"on": "submits"}, "on must be one of submit, list, details, .*, or a function .*, got 'submits'"),
        ({"on": 5}, "on must be one of"),
        ({"on": []}, "on must be one of"),
        ({"on": "submit", "task_id": "x"}, "task_id must be None for on='submit', whose requests have none, got 'x'"),
        ({"on": "list", "model": "t2v"}, "model must be None for on='list'"),
        ({"on": "upload", "task_id": "x"}, "task_id must be None for on='upload'"),
        ({"task_id": 5}, "task_id must be a text or None, got 5"),
        ({"model": b"x"}, "model must be a text or None, got b'x'"),
        ({"after": -1}, "after must be a whole number of at least 0, got -1"),
        ({"times": 0}, "times must be a whole number of at least 1, got 0"),
        ({"times": 1.0}, "times must be a whole number of at least 1, got 1.0"),
        ({"probability": 1.1}, "probability must be a number from 0 to 1, got 1.1"),
        ({"probability": "1"}, "probability must be a number from 0 to 1, got '1'"),
        ({"acted": None}, "acted must be True or False, got None"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_added(wrong: dict[str, Any], said: str) -> None:
    faults = Faults()
    with pytest.raises(ValueError, match=said):
        faults.add("drop", **wrong)
    assert faults.hit(SUBMIT) is None


# When


def test_it_hits_once_by_default_and_always_when_told() -> None:
    faults = Faults()
    once = faults.add("drop")
    assert hits(faults, LIST, LIST) == [once, None]
    always = faults.add("drop", times=None)
    assert hits(faults, LIST, LIST, LIST) == [always] * 3
    assert (once.hits, always.hits, faults.hits) == (1, 3, 4)


def test_the_first_may_pass() -> None:
    faults = Faults()
    fault = faults.add("drop", on="list", after=2, times=2)
    assert hits(faults, LIST, SUBMIT, LIST, LIST, LIST, LIST) == [None, None, None, fault, fault, None]


def test_what_is_over_is_forgotten() -> None:
    faults = Faults()
    assert not faults.any
    faults.add("drop")
    assert hits(faults, LIST, LIST)[1] is None
    assert not faults.any


def test_one_after_the_other() -> None:
    """A request is hit by one fault, and what comes behind does not even see it."""
    faults = Faults()
    first = faults.add("drop", on="list", times=2)
    second = faults.add("html", on="query", after=1)
    third = faults.add("hang", on="submit")
    assert hits(faults, LIST, LIST, SUBMIT, LIST, LIST, LIST) == [first, first, third, None, second, None]


def test_a_fault_is_removed_by_its_handle_or_its_block_or_with_all() -> None:
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


# Chance


@settings(deadline=None)
@given(seed=st.integers(0, 1000), probability=st.floats(0.05, 0.95), others=st.integers(0, 3))
def test_the_draws_of_a_fault_repeat_whatever_others_there_are(seed: int, probability: float, others: int) -> None:
    def drawn(more: int) -> list[bool]:
        faults = Faults(seed)
        fault = faults.add("drop", on="list", probability=probability)
        for _ in range(more):
            faults.add("html", on="submit", probability=0.5)
        return [faults.hit(one) is fault for one in (LIST, SUBMIT) * 30]

    assert drawn(others) == drawn(0)


def test_a_chance_has_no_end_and_is_about_right() -> None:
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


@settings(deadline=None)
@given(
    after=st.integers(0, 5),
    times=st.none() | st.integers(1, 5),
    probability=st.sampled_from([0.0, 0.5, 1.0]),
    matching=st.lists(st.booleans(), max_size=30),
)
def test_what_is_hit_is_what_the_words_say(
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
        assert meant[after:] == ([True] * len(meant[after:]))[:times] + [False] * (
            len(meant[after:]) - (times or 10**9)
        )
    if probability == 0:
        assert fault.hits == 0


def test_nothing_but_requests_moves_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module-wide generator is nobody's here."""
    state: Callable[[], object] = random.getstate
    before = state()
    faults = Faults(3)
    faults.add("drop", probability=0.5)
    faults.hit(LIST)
    assert state() == before
