"""Waited-for tasks, without a loop: where they are sorted, and what a poll sees of thousands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._watch.durations import Durations
from aivideomaker_async._watch.schedule import Batch, WatchedTask
from aivideomaker_async._watch.task_state import Backoff, Subscription, TaskState
from aivideomaker_async._watch.wait_set import SAMPLE_SIZE, UNLISTED_FOR_S, WaitSet
from aivideomaker_async.tasks import TaskStatus

NOW = 1000.0


class House:
    """A wait set with the tasks that a test adds."""

    def __init__(self) -> None:
        self.wait_set = WaitSet(Durations())

    def add(self, task_id: str, *, age: float = 60.0, asked: float | None = 1.0, details: bool = True) -> TaskState:
        state = TaskState(task_id)
        observed = state.observed
        observed.started_at, observed.model, observed.length = NOW - age, "t2v", 5
        if asked is not None:
            observed.last_answer_at = NOW - asked
        state.subscribe(Subscription(state, wants_details=details))
        self.wait_set.add(state, NOW)
        return state

    def doubt(self, task_id: str) -> TaskState:
        state = self.add(task_id)
        state.backoff = Backoff(in_doubt=True)
        self.wait_set.sort(state, NOW)
        return state

    def singles(self, now: float = NOW) -> list[WatchedTask]:
        return self.wait_set.singles(now, followed_since=None)

    def batch(self, announced_at: float | None = None) -> Batch:
        batch = self.wait_set.batch(NOW, followed_since=None, announced_at=announced_at)
        assert batch is not None
        return batch

    def places(self) -> tuple[list[str], list[str]]:
        """The ids that are asked for one by one, and those of the batch."""
        batch = self.wait_set.batch(NOW, followed_since=None, announced_at=None)
        return [item.task_id for item in self.singles()], [] if batch is None else [
            item.task_id for item in batch.sample
        ]


def test_a_task_that_is_not_waited_for_any_more_is_gone() -> None:
    house = House()
    state = house.add("a")
    house.wait_set.discard(state)
    house.wait_set.discard(state)
    house.wait_set.sort(state, NOW)
    assert house.places() == ([], [])
    assert len(house.wait_set) == house.wait_set.batch_size == 0


def test_a_task_that_the_list_does_not_show_is_asked_for_by_itself() -> None:
    """For a while that becomes longer each time, until the list shows it."""
    house = House()
    a, _ = house.add("a"), house.add("b")
    assert house.places() == ([], ["a", "b"])
    for times in (1, 2, 4):
        house.wait_set.not_listed(a, NOW)
        assert house.places() == (["a"], ["b"])
        assert house.wait_set.listable().keys() == {"b"}
        assert house.wait_set.optional() == {"a"}
        back = NOW + UNLISTED_FOR_S * times
        assert [item.task_id for item in house.singles(back - 1)] == ["a"]
        assert not house.singles(back)
    house.wait_set.not_listed(a, NOW)
    house.wait_set.listed(a, NOW)
    assert house.places() == ([], ["b", "a"])
    assert a.list_misses == 0


def test_an_end_without_its_output_is_urgent() -> None:
    """The list is not read for it any more, and may have it all the same."""
    house = House()
    state = house.add("a")
    house.add("b")
    state.observed.progression.observe(TaskStatus.COMPLETED)
    house.wait_set.polled(state, NOW)
    assert house.places() == (["a"], ["b"])
    assert house.singles()[0].needs_details
    assert not house.singles()[0].in_doubt
    assert house.wait_set.listable().keys() == {"b"}
    assert house.wait_set.optional() == {"a"}


def test_a_doubt_is_settled_by_the_list_that_shows_the_task() -> None:
    """An error that looked like an end may be none."""
    house = House()
    state = house.doubt("a")
    (seen,) = house.singles()
    assert seen.needs_details and seen.in_doubt and not seen.unlisted
    assert house.wait_set.listable().keys() == {"a"}
    house.wait_set.not_listed(state, NOW)
    (seen,) = house.singles()
    assert seen.in_doubt and seen.unlisted


def test_a_task_that_was_never_asked_for_makes_the_batch_due() -> None:
    """Until the list, or an answer of its own, has reported its status."""
    house = House()
    house.add("a")
    new = house.add("b", asked=None)
    assert (house.batch().asked_at, house.batch().longest_unasked) == (float("-inf"), "b")
    house.wait_set.listed(new, NOW)
    house.wait_set.list_read(NOW)
    assert house.batch().asked_at == NOW
    house.wait_set.ask_all_soon()
    assert house.batch().asked_at == float("-inf")


def test_an_unlisted_task_that_was_never_asked_for_does_not_make_the_batch_due() -> None:
    """Or lists would be fetched for it again and again."""
    house = House()
    house.add("a")
    new = house.add("b", asked=None)
    house.wait_set.not_listed(new, NOW)
    assert house.batch().asked_at > float("-inf")
    assert [item.asked_at for item in house.singles()] == [float("-inf")]


def test_a_task_whose_poll_failed_goes_behind_the_others() -> None:
    house = House()
    a, b = house.add("a"), house.add("b")
    for state in (a, b):
        house.wait_set.not_listed(state, NOW)
    a.backoff = Backoff(failures=1, failed_at=NOW)
    house.wait_set.polled(a, NOW)
    assert house.places() == (["b", "a"], [])
    assert [(item.failed, item.asked_at) for item in house.singles()] == [(False, NOW - 1), (True, NOW)]


def test_a_follower_counts_from_the_moment_when_it_began_to_follow() -> None:
    """The process that polls asks at once for what was never asked for."""
    house = House()
    house.add("a", asked=None)
    house.wait_set.not_listed(house.add("b"), NOW)
    house.doubt("c")
    singles = house.wait_set.singles(NOW, followed_since=NOW)
    batch = house.wait_set.batch(NOW, followed_since=NOW, announced_at=None)
    assert [(item.task_id, item.followed, item.asked_at) for item in singles] == [("c", True, NOW), ("b", True, NOW)]
    assert batch is not None and batch.followed and batch.asked_at == NOW


def test_only_listed_tasks_with_a_webhook_are_announced() -> None:
    """The list confirms deliveries, so it must show the task."""
    house = House()
    for task_id in ("a", "b", "c"):
        house.add(task_id).observed.has_webhook = task_id != "b"
    house.wait_set.not_listed(house.wait_set.states["c"], NOW)
    assert [item.announced_at for item in house.batch(NOW).sample] == [NOW, None]
    assert [item.announced_at for item in house.batch().sample] == [None, None]
    assert [item.announced_at for item in house.singles()] == [None]


@given(st.integers(1, 5000), st.integers(0, 300), st.integers(0, 300))
def test_a_poll_looks_at_a_few_of_thousands(batch: int, unlisted: int, urgent: int) -> None:
    """The batch is counted in full, and its sample is spread over it."""
    house = House()
    for number in range(batch):
        house.add(f"batch{number}")
    for number in range(unlisted):
        house.wait_set.not_listed(house.add(f"unlisted{number}"), NOW)
    for number in range(urgent):
        house.doubt(f"urgent{number}")
    assert len(house.singles()) == min(unlisted, SAMPLE_SIZE) + min(urgent, SAMPLE_SIZE)
    seen = house.batch()
    assert seen.waiting == batch
    assert min(batch, SAMPLE_SIZE / 2) <= len(seen.sample) <= SAMPLE_SIZE + 3
    assert seen.sample[0].task_id == "batch0"


def test_tasks_for_which_a_shorter_interval_holds_are_in_the_sample() -> None:
    """The newest, one whose every change is wanted, and one without a webhook: wherever they stand."""
    house = House()
    for number in range(1000):
        state = house.add(f"batch{number}", details=number != 501)
        state.observed.has_webhook = number != 777
    for state in list(house.wait_set.states.values()):
        house.wait_set.sort(state, NOW)
    sample = house.batch(NOW).sample
    assert house.wait_set.wants_changes
    assert any(item.changes_matter for item in sample)
    assert any(item.announced_at is None for item in sample)
    assert "batch999" in {item.task_id for item in sample}


def test_a_task_that_has_ended_needs_no_place() -> None:
    """Also if a consumer has not read so far: no query is made for it."""
    house = House()
    state = house.add("a", details=False)
    state.observed.progression.observe(TaskStatus.COMPLETED)
    house.wait_set.polled(state, NOW)
    assert len(house.wait_set) == 0
