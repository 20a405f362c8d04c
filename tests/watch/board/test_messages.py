"""What the members of a board decide, without a loop, a clock or a Redis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import TaskDetails, TaskOutput, TaskStatus
from aivideomaker_async._watch.board import messages as board
from aivideomaker_async._watch.board.messages import Others, Seat, Step, Want, read_message, read_news, read_want

WANT = Want(since=1000.0, model=None, length=None, details=False, webhook=False, fresh=False)
COMPLETED, PROGRESS = TaskStatus.COMPLETED, TaskStatus.PROGRESS

wants = st.builds(
    Want,
    since=st.floats(-1e12, 1e12),
    model=st.none() | st.text(),
    length=st.none() | st.integers(),
    details=st.booleans(),
    webhook=st.booleans(),
    fresh=st.booleans(),
)
ids = st.sampled_from(["a", "b", "c", "d"])


# --- wants -------------------------------------------------------------------------------------------


@given(wants)
def test_a_want_is_read_as_it_was_written(want: Want) -> None:
    """Also as bytes, which Redis gives back."""
    assert read_want(want.write()) == want
    assert read_want(want.write().encode()) == want


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        "[]",
        '["1", null, null, 0]',
        "[1, 2, null, 0]",
        "[1, null, 1.5, 0]",
        "[1, null, null]",
        "[1, null, null, 0, 0]",
        "[true, null, null, 0]",
        "[1, null, true, 0]",
        "[NaN, null, null, 0]",
        "[Infinity, null, null, 0]",
        f"[{10**400}, null, null, 0]",
        "[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_want_is_none(text: str | bytes) -> None:
    """Whatever somebody has written there."""
    assert read_want(text) is None


def applied(steps: Iterable[Step], to: dict[str, Want] | None = None) -> dict[str, Want]:
    """What a port knows after `steps`."""
    known = {} if to is None else to
    for task_id, want in steps:
        if want is None:
            del known[task_id]
        else:
            assert known.get(task_id) != want, "told what was known"
            known[task_id] = want
    return known


def test_a_task_is_wanted_once_however_many_want_it() -> None:
    """By all that any of them wants, since the first of them; and no more when the last one has enough."""
    others = Others()
    early = evolve(WANT, since=1.0, model="t2v")
    late = evolve(WANT, since=2.0, model="lv", length=5, details=True, webhook=True, fresh=True)
    assert others.change("m1", 1, {"a": late}) == [("a", late)]
    both = evolve(early, length=5, details=True, webhook=True, fresh=True)
    assert others.change("m2", 1, {"a": early}) == [("a", evolve(both, model="lv"))]
    assert others.change("m1", 2, {"a": None}) == [("a", early)]
    assert others.change("m2", 2, {"a": early}) == []
    assert "a" in others
    assert len(others) == 1
    assert others.change("m2", 3, {"a": None, "b": None}) == [("a", None)]
    assert "a" not in others
    assert len(others) == 0


def test_the_model_is_told_if_anybody_knows_it() -> None:
    """One who watches a task by its id alone knows neither model nor length."""
    others = Others()
    others.change("m1", 1, {"a": WANT})
    assert others.change("m2", 1, {"a": evolve(WANT, model="t2v", length=8)}) == [
        ("a", evolve(WANT, model="t2v", length=8))
    ]
    assert others.change("m3", 1, {"a": WANT}) == []


def test_a_lost_change_makes_a_member_stale_until_all_is_read_again() -> None:
    """A change that was heard before is heard once."""
    others = Others()
    known = applied(others.change("m", 1, {"a": WANT}))
    assert others.change("m", 1, {"b": WANT}) == []
    assert not others.stale
    assert others.change("m", 3, {"c": WANT}) == []
    assert others.stale == {"m"}
    others.begin("m")
    assert not others.stale
    applied(others.page("m", {"b": WANT}), known)
    applied(others.page("m", {"c": WANT}), known)
    applied(others.finish("m", 3), known)
    assert known.keys() == {"b", "c"}
    assert applied(others.change("m", 4, {"b": None}), known).keys() == {"c"}


def test_changes_told_while_all_is_read_come_after_it() -> None:
    """As far as they are not in it; if one of them is missing, it all begins again."""
    others = Others()
    others.begin("m")
    known = applied(others.page("m", {"a": WANT, "b": WANT}))
    assert others.change("m", 2, {"b": None}) == []
    assert others.change("m", 3, {"c": WANT, "a": None}) == []
    assert others.change("m", 4, {"a": WANT}) == []
    assert applied(others.finish("m", 2), known).keys() == {"a", "b", "c"}
    assert not others.stale
    others.begin("m")
    others.change("m", 7, {})
    others.finish("m", 5)
    assert others.stale == {"m"}


def test_what_was_read_of_a_member_that_is_gone_is_void() -> None:
    """It left while it was read."""
    others = Others()
    others.begin("m")
    list(others.drop("m"))
    assert others.page("m", {"a": WANT}) == others.finish("m", 1) == []
    others.change("m", 1, {"a": WANT})
    assert others.page("m", {"b": WANT}) == others.finish("m", 9) == []


def test_the_wants_of_the_dead_are_void() -> None:
    """Some at a time; those of the living, also where they are the same, are not."""
    others = Others()
    many = {str(number): WANT for number in range(2 * board.AT_ONCE + 1)}
    others.change("dead", 1, many)
    others.change("alive", 1, {"0": WANT})
    others.change("behind", 1, {})
    others.begin("read")
    others.count()
    others.change("just come", 1, {"0": WANT})
    slices = list(others.compare({"alive": 1, "behind": 2, "new": 0, "read": 5}))
    assert [len(some) for some in slices] == [board.AT_ONCE - 1, board.AT_ONCE, 1]
    assert "0" in others
    assert len(others) == 1
    assert others.stale == {"behind", "new"}
    others.count()
    list(others.compare({"alive": 1}))
    assert len(others) == 1
    assert others.stale == set()


def test_a_member_that_tells_something_while_it_is_counted_is_known() -> None:
    """One that has told less than is known has never told it."""
    others = Others()
    others.change("m", 1, {"a": WANT})
    others.count()
    others.change("m", 2, {"b": WANT})
    list(others.compare({"m": 1}))
    assert not others.stale
    others.count()
    list(others.compare({"m": 1}))
    assert others.stale == {"m"}
    assert list(others.drop("nobody")) == []


changes = st.dictionaries(ids, st.none() | wants, max_size=4)


@given(st.lists(st.tuples(st.sampled_from(["m1", "m2"]), changes, st.booleans()), max_size=20))
@settings(max_examples=80, deadline=None)
def test_the_leader_ends_up_with_what_is_wanted_whatever_is_lost(
    said: list[tuple[str, Mapping[str, Want | None], bool]],
) -> None:
    """Some changes arrive and others do not; once all that is stale is read, it knows what they want."""
    others = Others()
    truth: dict[str, dict[str, Want]] = {"m1": {}, "m2": {}}
    versions = {"m1": 0, "m2": 0}
    known: dict[str, Want] = {}
    for member, change, arrives in said:
        versions[member] += 1
        for task_id, want in change.items():
            truth[member].pop(task_id, None)
            if want is not None:
                truth[member][task_id] = want
        if arrives:
            applied(others.change(member, versions[member], change), known)
    others.count()
    for some in others.compare(versions):
        applied(some, known)
    while others.stale:
        member = min(others.stale)
        others.begin(member)
        applied(others.page(member, truth[member]), known)
        applied(others.finish(member, versions[member]), known)
    assert known.keys() == truth["m1"].keys() | truth["m2"].keys()
    assert {task_id for task_id in "abcd" if task_id in others} == known.keys()
    for task_id, want in known.items():
        wanted = [some[task_id] for some in truth.values() if task_id in some]
        assert want.since == min(item.since for item in wanted)
        assert want.details == any(item.details for item in wanted)


# --- who leads ---------------------------------------------------------------------------------------


def test_one_who_takes_the_lead_has_it_for_a_lease_less_what_clocks_differ() -> None:
    """And renews it three times as often as it must."""
    seat = Seat("me", 3.0)
    assert not seat.leads(0)
    assert not seat.follows(0)
    assert seat.turns_at(0) is None
    assert seat.beaten(10.0, "me", 3.0, 0.5)
    assert (seat.leads(12.69), seat.leads(12.71), seat.follows(11)) == (True, False, False)
    assert seat.beat_at == pytest.approx(11.0)
    assert seat.turns_at(11) == pytest.approx(12.7)
    assert seat.turns_at(13) is None
    assert not seat.beaten(11.0, "me", 3.0, 0.5)
    assert seat.leads(13.6)


def test_a_beat_that_was_answered_late_makes_no_leader() -> None:
    """The lease counts from when it was asked for, so a process that was stopped has lost it."""
    seat = Seat("me", 3.0)
    seat.beaten(10.0, "me", 3.0, 0.5)
    assert not seat.leads(20.0)


def test_a_follower_gives_a_successor_the_time_of_one_beat() -> None:
    """And claims the lead when the lease ends, not all at the same moment."""
    seat = Seat("me", 3.0)
    assert seat.beaten(10.0, "other", 2.5, 0.0)
    assert (seat.follows(13.4), seat.follows(13.6), seat.leads(11)) == (True, False, False)
    assert seat.beat_at == pytest.approx(11.0)
    seat.beaten(11.0, "other", 0.4, 1.0)
    assert seat.beat_at == pytest.approx(11.4 + 0.15)
    seat.beaten(11.5, "other", -5, 0.0)
    assert seat.beat_at == pytest.approx(11.53)
    seat.beaten(12.0, "other", 1000, 0.0)
    assert seat.until == pytest.approx(15.0)


def test_what_others_say_of_the_lead_is_asked_for_at_once() -> None:
    """Only a beat tells who leads; one who says so may have lost it again."""
    seat = Seat("me", 3.0)
    seat.beaten(10.0, "other", 3.0, 0.0)
    seat.heard("other", 10.1)
    assert seat.beat_at == pytest.approx(11.0)
    seat.heard("third", 10.2)
    assert (seat.beat_at, seat.leader) == (10.2, "other")
    seat.beaten(10.2, "third", 3.0, 0.0)
    seat.freed("other", 10.4)
    assert seat.follows(13.0)
    seat.freed("third", 10.5)
    assert (seat.beat_at, seat.until) == (10.5, 10.5)
    assert seat.follows(11.4)
    assert not seat.follows(11.6)


def test_without_a_connection_nobody_leads() -> None:
    """Neither this one nor another, as far as it knows."""
    for leader in ("me", "other"):
        seat = Seat("me", 3.0)
        seat.beaten(10.0, leader, 3.0, 0.0)
        seat.lost()
        assert not seat.leads(10.0)
        assert not seat.follows(10.0)
        assert seat.beat_at < 0


# --- what is said ------------------------------------------------------------------------------------


def test_messages_are_read_as_they_were_written() -> None:
    """All kinds of them."""
    lead = read_message(board.write_message("lead", "m"))
    assert lead is not None
    assert (lead.kind, lead.sender) == ("lead", "m")
    hint = read_message(board.write_message("hint", "m", ids=["a", "b"]))
    assert hint is not None
    assert hint.ids == ("a", "b")
    change = read_message(board.write_message("want", "m", version=3, wants={"a": WANT.write(), "b": None}).encode())
    assert change is not None
    assert (change.version, change.wants) == (3, {"a": WANT, "b": None})
    news = read_message(board.news_message("m", [board.write_news("a", PROGRESS), board.write_news("b", COMPLETED)]))
    assert news is not None
    assert [read_news(row) for row in news.rows] == [("a", PROGRESS), ("b", COMPLETED)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "5",
        "{}",
        '{"kind": "lead"}',
        '{"kind": 5, "sender": "m"}',
        '{"kind": "lead", "sender": ""}',
        '{"kind": "other", "sender": "m"}',
        "[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_message_is_none(text: str | bytes) -> None:
    """Whatever somebody says in the channel."""
    assert read_message(text) is None


def test_of_a_message_only_what_is_right_is_read() -> None:
    """What is odd is left out, and takes nothing from the rest."""
    odd = {"ids": ["a", 5, "", "x" * 2000], "rows": [{"id": "a"}, 5], "version": "1"}
    odd_wants = {"a": WANT.write(), "b": "no", "c": 5, "": None, "x" * 2000: None, "d": None}
    message = read_message(board.write_message("want", "m", **odd, wants=odd_wants))
    assert message is not None
    assert (message.ids, message.rows, message.version) == (("a",), ({"id": "a"},), 0)
    assert message.wants == {"a": WANT, "d": None}
    other = read_message(board.write_message("want", "m", ids=5, rows={}, wants=[]))
    assert other is not None
    assert (other.ids, other.rows, other.wants) == ((), (), {})


# --- news --------------------------------------------------------------------------------------------

DETAILS = TaskDetails(
    id="a",
    status=COMPLETED,
    model="t2v",
    input={"prompt": "⚡"},
    output=TaskOutput(url="https://a/v.mp4", extra={"n": [1]}),
    created_at=datetime(2026, 9, 1, tzinfo=UTC),
    credits_charged=15,
    extra={"new": None},
)


@pytest.mark.parametrize("news", [DETAILS, TaskDetails(id="a", status=PROGRESS), PROGRESS, TaskStatus("QUEUED")])
def test_news_is_read_as_it_was_written(news: TaskDetails | TaskStatus) -> None:
    """Whole rows as rows, a bare status as a status; also as bytes, and as a part of a message."""
    text = board.write_news("a", news)
    for form in (text, text.encode(), json.loads(text)):
        assert read_news(form) == ("a", news)
        assert type(read_news(form)[1]) is type(news)  # type: ignore[index]


def test_news_that_cannot_be_written_is_told_by_its_status() -> None:
    """What somebody has made by hand may hold anything."""
    assert read_news(board.write_news("a", evolve(DETAILS, extra={"x": object()}))) == ("a", COMPLETED)


def test_news_that_is_very_long_is_told_by_its_status() -> None:
    """An image in the input of a task is not sent to every process."""
    image = {"image": "x" * board.LARGEST_NEWS}
    assert read_news(board.write_news("a", evolve(DETAILS, input=image))) == ("a", COMPLETED)
    image = {"image": "x" * (board.LARGEST_NEWS // 2)}
    assert read_news(board.write_news("a", evolve(DETAILS, input=image))) == ("a", evolve(DETAILS, input=image))


def test_a_message_that_is_very_long_is_not_looked_at() -> None:
    """Whoever reaches the place where members meet may write there."""
    beat = board.write_message("lead", "m")
    assert read_message(beat + " " * 1000) is not None
    assert read_message(beat + " " * board.LARGEST_MESSAGE) is None
    assert read_news(board.write_news("a", PROGRESS) + " " * board.LARGEST_MESSAGE) is None


@pytest.mark.parametrize("task_id", [".", "..", "", "\ud800", "x" * 1001, 5, None])
def test_what_others_want_can_be_asked_for(task_id: object) -> None:
    """An id that fits into no path is none, also when another process says so."""
    assert not board.is_id(task_id)
    assert board.is_id("../x")


@pytest.mark.parametrize(
    "row", [5, None, "", "[]", b"{", {}, {"id": 5, "status": "PROGRESS"}, {"id": "a"}, {"id": "a", "status": 5}]
)
def test_what_is_no_news_is_none(row: object) -> None:
    """Whatever is found in its place."""
    assert read_news(row) is None
    assert read_news({"id": "a", "status": 5, "input": {}}) is None


@pytest.mark.parametrize(
    ("news", "told", "expected"),
    [
        (PROGRESS, None, True),
        (PROGRESS, PROGRESS, False),
        (COMPLETED, PROGRESS, True),
        (PROGRESS, COMPLETED, False),
        (TaskStatus.FAILED, COMPLETED, False),
        (DETAILS, COMPLETED, True),
        (DETAILS, DETAILS, False),
        (COMPLETED, DETAILS, False),
        (DETAILS, evolve(DETAILS, output=None), True),
        (evolve(DETAILS, status=PROGRESS), COMPLETED, False),
        (evolve(DETAILS, status=PROGRESS), PROGRESS, True),
        (PROGRESS, evolve(DETAILS, status=PROGRESS), False),
    ],
)
def test_only_what_says_more_is_news(
    news: TaskDetails | TaskStatus, told: TaskDetails | TaskStatus | None, expected: bool
) -> None:
    """An ended task does not go on, and a bare status says no more than a row with the same."""
    assert board.is_news(news, told) is expected
