"""What the members of a board decide and exchange, without a loop, a clock or a Redis."""

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
from aivideomaker_async._watch.board.messages import (
    Interest,
    LeaderLease,
    RemoteInterests,
    Step,
    read_interest,
    read_message,
    read_news,
)

WANT = Interest(started_at=1000.0, model=None, length=None, details=False, webhook=False, fresh=False)
COMPLETED, PROGRESS = TaskStatus.COMPLETED, TaskStatus.PROGRESS

wants = st.builds(
    Interest,
    started_at=st.floats(-1e12, 1e12),
    model=st.none() | st.text(),
    length=st.none() | st.integers(),
    details=st.booleans(),
    webhook=st.booleans(),
    fresh=st.booleans(),
)
ids = st.sampled_from(["a", "b", "c", "d"])


# --- interests ---------------------------------------------------------------------------------------


@given(wants)
def test_an_interest_is_read_as_it_was_written(interest: Interest) -> None:
    """Also as bytes, which Redis returns."""
    assert read_interest(interest.write()) == interest
    assert read_interest(interest.write().encode()) == interest


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
def test_a_malformed_interest_is_ignored(text: str | bytes) -> None:
    assert read_interest(text) is None


def applied(steps: Iterable[Step], to: dict[str, Interest] | None = None) -> dict[str, Interest]:
    """What a port knows after `steps`."""
    known = {} if to is None else to
    for task_id, want in steps:
        if want is None:
            del known[task_id]
        else:
            assert known.get(task_id) != want, "reported though it was known"
            known[task_id] = want
    return known


def test_interests_of_several_members_are_one() -> None:
    """For all that any of them wants, since the first of them; none is left when the last one ends."""
    remote = RemoteInterests()
    early = WANT._replace(started_at=1.0, model="t2v")
    late = WANT._replace(started_at=2.0, model="lv", length=5, details=True, webhook=True, fresh=True)
    assert remote.change("m1", 1, {"a": late}) == [("a", late)]
    both = early._replace(length=5, details=True, webhook=True, fresh=True)
    assert remote.change("m2", 1, {"a": early}) == [("a", both._replace(model="lv"))]
    assert remote.change("m1", 2, {"a": None}) == [("a", early)]
    assert remote.change("m2", 2, {"a": early}) == []
    assert "a" in remote
    assert len(remote) == 1
    assert remote.change("m2", 3, {"a": None, "b": None}) == [("a", None)]
    assert "a" not in remote
    assert len(remote) == 0


def test_a_model_that_any_member_knows_is_in_the_interest() -> None:
    """A process that watches a task by its id alone knows neither model nor length."""
    remote = RemoteInterests()
    remote.change("m1", 1, {"a": WANT})
    assert remote.change("m2", 1, {"a": WANT._replace(model="t2v", length=8)}) == [
        ("a", WANT._replace(model="t2v", length=8))
    ]
    assert remote.change("m3", 1, {"a": WANT}) == []


def test_a_lost_change_makes_a_member_stale_until_all_is_read_again() -> None:
    """A change that arrives twice counts once."""
    remote = RemoteInterests()
    known = applied(remote.change("m", 1, {"a": WANT}))
    assert remote.change("m", 1, {"b": WANT}) == []
    assert not remote.stale
    assert remote.change("m", 3, {"c": WANT}) == []
    assert remote.stale == {"m"}
    remote.begin("m")
    assert not remote.stale
    applied(remote.page("m", {"b": WANT}), known)
    applied(remote.page("m", {"c": WANT}), known)
    applied(remote.finish("m", 3), known)
    assert known.keys() == {"b", "c"}
    assert applied(remote.change("m", 4, {"b": None}), known).keys() == {"c"}


def test_changes_that_arrive_during_the_reading_are_applied_after_it() -> None:
    """As far as they are not in it; if one of them is missing, the member is read again."""
    remote = RemoteInterests()
    remote.begin("m")
    known = applied(remote.page("m", {"a": WANT, "b": WANT}))
    assert remote.change("m", 2, {"b": None}) == []
    assert remote.change("m", 3, {"c": WANT, "a": None}) == []
    assert remote.change("m", 4, {"a": WANT}) == []
    assert applied(remote.finish("m", 2), known).keys() == {"a", "b", "c"}
    assert not remote.stale
    remote.begin("m")
    remote.change("m", 7, {})
    remote.finish("m", 5)
    assert remote.stale == {"m"}


def test_a_member_that_leaves_while_it_is_read_is_not_read_on() -> None:
    remote = RemoteInterests()
    remote.begin("m")
    list(remote.drop("m"))
    assert remote.page("m", {"a": WANT}) == remote.finish("m", 1) == []
    remote.change("m", 1, {"a": WANT})
    assert remote.page("m", {"b": WANT}) == remote.finish("m", 9) == []


def test_the_interests_of_dead_members_are_void() -> None:
    """Some at a time; those of the living, also where they are the same, are not."""
    remote = RemoteInterests()
    many = {str(number): WANT for number in range(2 * board.INTERESTS_PER_STEP + 1)}
    remote.change("dead", 1, many)
    remote.change("alive", 1, {"0": WANT})
    remote.change("behind", 1, {})
    remote.begin("read")
    remote.count()
    remote.change("just come", 1, {"0": WANT})
    slices = list(remote.compare({"alive": 1, "behind": 2, "new": 0, "read": 5}))
    assert [len(some) for some in slices] == [board.INTERESTS_PER_STEP - 1, board.INTERESTS_PER_STEP, 1]
    assert "0" in remote
    assert len(remote) == 1
    assert remote.stale == {"behind", "new"}
    remote.count()
    list(remote.compare({"alive": 1}))
    assert len(remote) == 1
    assert remote.stale == set()


def test_a_member_with_a_change_during_the_count_is_up_to_date() -> None:
    """A member with fewer changes than are known is another one, and is read again."""
    remote = RemoteInterests()
    remote.change("m", 1, {"a": WANT})
    remote.count()
    remote.change("m", 2, {"b": WANT})
    list(remote.compare({"m": 1}))
    assert not remote.stale
    remote.count()
    list(remote.compare({"m": 1}))
    assert remote.stale == {"m"}
    assert list(remote.drop("nobody")) == []


changes = st.dictionaries(ids, st.none() | wants, max_size=4)


@given(st.lists(st.tuples(st.sampled_from(["m1", "m2"]), changes, st.booleans()), max_size=20))
@settings(max_examples=80, deadline=None)
def test_the_leader_ends_up_with_the_right_interests_whatever_is_lost(
    sent: list[tuple[str, Mapping[str, Interest | None], bool]],
) -> None:
    """Some changes arrive and remote do not; once all stale members are read, its copy is right."""
    remote = RemoteInterests()
    truth: dict[str, dict[str, Interest]] = {"m1": {}, "m2": {}}
    versions = {"m1": 0, "m2": 0}
    known: dict[str, Interest] = {}
    for member, change, arrives in sent:
        versions[member] += 1
        for task_id, want in change.items():
            truth[member].pop(task_id, None)
            if want is not None:
                truth[member][task_id] = want
        if arrives:
            applied(remote.change(member, versions[member], change), known)
    remote.count()
    for some in remote.compare(versions):
        applied(some, known)
    while remote.stale:
        member = min(remote.stale)
        remote.begin(member)
        applied(remote.page(member, truth[member]), known)
        applied(remote.finish(member, versions[member]), known)
    assert known.keys() == truth["m1"].keys() | truth["m2"].keys()
    assert {task_id for task_id in "abcd" if task_id in remote} == known.keys()
    for task_id, want in known.items():
        wanted = [some[task_id] for some in truth.values() if task_id in some]
        assert want.started_at == min(item.started_at for item in wanted)
        assert want.details == any(item.details for item in wanted)


# --- who leads ---------------------------------------------------------------------------------------


def test_a_leader_relies_on_its_lease_but_for_a_tenth() -> None:
    """Clocks differ. It renews the lease three times as often as it must."""
    lease = LeaderLease("me", 3.0)
    assert not lease.is_leader(0)
    assert not lease.is_follower(0)
    assert lease.changes_at(0) is None
    assert lease.renewed(10.0, "me", 3.0, 0.5)
    assert (lease.is_leader(12.69), lease.is_leader(12.71), lease.is_follower(11)) == (True, False, False)
    assert lease.heartbeat_at == pytest.approx(11.0)
    assert lease.changes_at(11) == pytest.approx(12.7)
    assert lease.changes_at(13) is None
    assert not lease.renewed(11.0, "me", 3.0, 0.5)
    assert lease.is_leader(13.6)


def test_a_heartbeat_that_was_answered_late_makes_no_leader() -> None:
    """The lease counts from when it was asked for, so a process that was stopped has lost it."""
    lease = LeaderLease("me", 3.0)
    lease.renewed(10.0, "me", 3.0, 0.5)
    assert not lease.is_leader(20.0)


def test_a_follower_gives_a_successor_the_time_of_one_heartbeat() -> None:
    """And claims the lead when the lease ends, not all at the same moment."""
    lease = LeaderLease("me", 3.0)
    assert lease.renewed(10.0, "other", 2.5, 0.0)
    assert (lease.is_follower(13.4), lease.is_follower(13.6), lease.is_leader(11)) == (True, False, False)
    assert lease.heartbeat_at == pytest.approx(11.0)
    lease.renewed(11.0, "other", 0.4, 1.0)
    assert lease.heartbeat_at == pytest.approx(11.4 + 0.15)
    lease.renewed(11.5, "other", -5, 0.0)
    assert lease.heartbeat_at == pytest.approx(11.53)
    lease.renewed(12.0, "other", 1000, 0.0)
    assert lease.until == pytest.approx(15.0)


def test_a_message_about_the_lead_makes_a_heartbeat_due() -> None:
    """Only its answer decides: the sender may have lost the lead again."""
    lease = LeaderLease("me", 3.0)
    lease.renewed(10.0, "other", 3.0, 0.0)
    lease.announced("other", 10.1)
    assert lease.heartbeat_at == pytest.approx(11.0)
    lease.announced("third", 10.2)
    assert (lease.heartbeat_at, lease.leader) == (10.2, "other")
    lease.renewed(10.2, "third", 3.0, 0.0)
    lease.resigned("other", 10.4)
    assert lease.is_follower(13.0)
    lease.resigned("third", 10.5)
    assert (lease.heartbeat_at, lease.until) == (10.5, 10.5)
    assert lease.is_follower(11.4)
    assert not lease.is_follower(11.6)


def test_without_a_connection_no_leader_is_known() -> None:
    for leader in ("me", "other"):
        lease = LeaderLease("me", 3.0)
        lease.renewed(10.0, leader, 3.0, 0.0)
        lease.disconnected()
        assert not lease.is_leader(10.0)
        assert not lease.is_follower(10.0)
        assert lease.heartbeat_at < 0


# --- messages ----------------------------------------------------------------------------------------


def test_messages_are_read_as_they_were_written() -> None:
    lead = read_message(board.write_message("lead", "m"))
    assert lead is not None
    assert (lead.kind, lead.sender) == ("lead", "m")
    hint = read_message(board.write_message("hint", "m", ids=["a", "b"]))
    assert hint is not None
    assert hint.ids == ("a", "b")
    change = read_message(board.write_message("want", "m", version=3, wants={"a": WANT.write(), "b": None}).encode())
    assert change is not None
    assert (change.version, change.interests) == (3, {"a": WANT, "b": None})
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
def test_a_malformed_message_is_ignored(text: str | bytes) -> None:
    assert read_message(text) is None


def test_malformed_parts_of_a_message_are_left_out() -> None:
    """They take nothing from the rest."""
    odd = {"ids": ["a", 5, "", "x" * 2000], "rows": [{"id": "a"}, 5], "version": "1"}
    odd_wants = {"a": WANT.write(), "b": "no", "c": 5, "": None, "x" * 2000: None, "d": None}
    message = read_message(board.write_message("want", "m", **odd, wants=odd_wants))
    assert message is not None
    assert (message.ids, message.rows, message.version) == (("a",), ({"id": "a"},), 0)
    assert message.interests == {"a": WANT, "d": None}
    other = read_message(board.write_message("want", "m", ids=5, rows={}, wants=[]))
    assert other is not None
    assert (other.ids, other.rows, other.interests) == ((), (), {})


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
    """Details as details, a bare status as a status; also as bytes, and as a part of a message."""
    text = board.write_news("a", news)
    for form in (text, text.encode(), json.loads(text)):
        assert read_news(form) == ("a", news)
        assert type(read_news(form)[1]) is type(news)  # type: ignore[index]


def test_of_details_that_cannot_be_written_the_status_is_published() -> None:
    """Details that a program has made by hand may hold anything."""
    assert read_news(board.write_news("a", evolve(DETAILS, extra={"x": object()}))) == ("a", COMPLETED)


def test_of_very_long_details_the_status_is_published() -> None:
    """An image in the input of a task is not sent to every process."""
    image = {"image": "x" * board.MAX_NEWS_CHARACTERS}
    assert read_news(board.write_news("a", evolve(DETAILS, input=image))) == ("a", COMPLETED)
    image = {"image": "x" * (board.MAX_NEWS_CHARACTERS // 2)}
    assert read_news(board.write_news("a", evolve(DETAILS, input=image))) == ("a", evolve(DETAILS, input=image))


def test_a_very_long_message_is_ignored() -> None:
    """Anybody who can reach Redis may send one."""
    lead = board.write_message("lead", "m")
    assert read_message(lead + " " * 1000) is not None
    assert read_message(lead + " " * board.MAX_MESSAGE_CHARACTERS) is None
    assert read_news(board.write_news("a", PROGRESS) + " " * board.MAX_MESSAGE_CHARACTERS) is None


@pytest.mark.parametrize("task_id", [".", "..", "", "\ud800", "x" * 1001, 5, None])
def test_an_id_that_fits_into_no_path_is_none(task_id: object) -> None:
    """Also when another process has sent it."""
    assert not board.is_id(task_id)
    assert board.is_id("../x")


@pytest.mark.parametrize(
    "row", [5, None, "", "[]", b"{", {}, {"id": 5, "status": "PROGRESS"}, {"id": "a"}, {"id": "a", "status": 5}]
)
def test_malformed_news_is_ignored(row: object) -> None:
    assert read_news(row) is None
    assert read_news({"id": "a", "status": 5, "input": {}}) is None


@pytest.mark.parametrize(
    ("news", "published", "expected"),
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
def test_only_what_is_new_is_news(
    news: TaskDetails | TaskStatus, published: TaskDetails | TaskStatus | None, expected: bool
) -> None:
    """An ended task does not go on, and a bare status has no more in it than details with the same."""
    assert board.is_news(news, published) is expected
