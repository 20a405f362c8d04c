"""Who waits for what, without a loop: where records are sorted, and what a poll gets to see of thousands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._watch.durations import Durations
from aivideomaker_async._watch.record import Hint, Record, Subscription
from aivideomaker_async._watch.schedule import View
from aivideomaker_async._watch.trust import FIRST_SPACING, Announcements, ListTrust
from aivideomaker_async._watch.waiting import LISTED_AGAIN, MOST_LOOKED_AT, Waiting
from aivideomaker_async.tasks import TaskStatus

NOW = 1000.0


class House:
    """A `Waiting` with all that it depends on."""

    def __init__(self) -> None:
        self.durations, self.announcements, self.lists = Durations(), Announcements(), ListTrust()
        self.waiting = Waiting(self.durations, self.announcements, self.lists)

    def add(self, task_id: str, *, age: float = 60.0, asked: float | None = 1.0, details: bool = True) -> Record:
        record = Record(task_id, NOW - age, model="t2v", length=5)
        record.asked_at = None if asked is None else NOW - asked
        record.subscribe(Subscription(record, wants_details=details))
        self.waiting.add(record, NOW)
        return record

    def view(self, now: float = NOW, *, followed: bool = False) -> View:
        view = self.waiting.view(now, pace=1.0, list_seconds=0.1, followed=followed)
        assert view is not None
        return view

    def places(self) -> tuple[list[str], list[str]]:
        """The ids that are asked for alone, and those of the crowd."""
        view = self.view()
        crowd = [] if view.crowd is None else [item.task_id for item in view.crowd.sample]
        return [item.task_id for item in view.alone], crowd


def test_nobody_waits_and_there_is_nothing_to_see() -> None:
    """Also after somebody did."""
    house = House()
    record = house.add("a")
    assert house.waiting.discard(record)
    assert not house.waiting.discard(record)
    assert house.waiting.view(NOW, pace=1.0, list_seconds=0.0) is None
    assert len(house.waiting) == 0


def test_the_list_answers_for_those_that_it_shows() -> None:
    """What it does not show is asked for alone, for a while that becomes longer each time."""
    house = House()
    a, _ = house.add("a"), house.add("b")
    assert house.places() == ([], ["a", "b"])
    for times in (1, 2, 4):
        house.waiting.was_not_listed(a, NOW)
        assert house.places() == (["a"], ["b"])
        assert house.waiting.listable().keys() == {"b"} and house.waiting.unlisted() == {"a"}
        back = NOW + LISTED_AGAIN * times
        assert [item.task_id for item in house.view(back - 1).alone] == ["a"]
        assert not house.view(back).alone
    house.waiting.was_not_listed(a, NOW)
    house.waiting.was_listed(a, NOW)
    assert house.places() == ([], ["b", "a"]) and a.missed == 0


def test_an_end_without_its_output_is_urgent() -> None:
    """The list is not needed for it any more, and may bring it all the same."""
    house = House()
    record = house.add("a")
    house.add("b")
    record.progression.observe(TaskStatus.COMPLETED)
    house.waiting.asked(record, NOW)
    assert house.places() == (["a"], ["b"])
    assert house.view().alone[0].needs_details
    assert house.waiting.listable().keys() == {"b"} and house.waiting.unlisted() == {"a"}


def test_a_hint_is_urgent_and_the_list_may_confirm_it() -> None:
    """Several hints are confirmed by one list."""
    house = House()
    record = house.add("a")
    record.hint = Hint(NOW, None, 3)
    house.waiting.sort(record, NOW)
    assert house.places() == (["a"], []) and house.view().alone[0].hinted
    assert house.waiting.listable().keys() == {"a"}


def test_a_doubt_is_settled_by_the_list_that_shows_the_task() -> None:
    """An error that looked like an end is none; the list is asked for it, and it is known where the list is silent."""
    house = House()
    record = house.add("a")
    record.in_doubt = True
    house.waiting.sort(record, NOW)
    (seen,) = house.view().alone
    assert seen.needs_details and seen.doubtful and not seen.missing
    assert house.waiting.listable().keys() == {"a"}
    house.waiting.was_not_listed(record, NOW)
    (seen,) = house.view().alone
    assert seen.doubtful and seen.missing


def test_one_who_was_never_asked_for_makes_the_crowd_due() -> None:
    """Until the list, or an answer of its own, has told of it."""
    house = House()
    house.add("a")
    new = house.add("b", asked=None)
    crowd = house.view().crowd
    assert crowd is not None and crowd.asked_at is None and crowd.longest_unasked == "b"
    house.waiting.was_listed(new, NOW)
    house.waiting.all_listed(NOW)
    crowd = house.view().crowd
    assert crowd is not None and crowd.asked_at == NOW
    house.waiting.ask_all_soon()
    crowd = house.view().crowd
    assert crowd is not None and crowd.asked_at is None


def test_one_who_is_missing_and_was_never_asked_for_does_not_make_the_crowd_due() -> None:
    """Or lists would be fetched for it again and again."""
    house = House()
    house.add("a")
    new = house.add("b", asked=None)
    house.waiting.was_not_listed(new, NOW)
    view = house.view()
    assert view.crowd is not None and view.crowd.asked_at is not None
    assert [item.asked_at for item in view.alone] == [None]


def test_an_answer_that_was_of_no_use_is_asked_for_again_behind_the_others() -> None:
    """Nobody hears of it."""
    house = House()
    a, b = house.add("a"), house.add("b")
    for record in (a, b):
        house.waiting.was_not_listed(record, NOW)
    house.waiting.set_back(a, NOW)
    assert house.places() == (["b", "a"], [])


def test_a_follower_relies_on_the_leader_but_for_what_is_urgent() -> None:
    """It asks for what the leader did not bring, and the crowd knows that it is followed."""
    house = House()
    house.add("a", asked=None)
    house.waiting.was_not_listed(house.add("b"), NOW)
    urgent = house.add("c")
    urgent.in_doubt = True
    house.waiting.sort(urgent, NOW)
    view = house.view(followed=True)
    assert [(item.task_id, item.followed, item.asked_at) for item in view.alone] == [("c", True, NOW), ("b", True, NOW)]
    assert view.crowd is not None and view.crowd.followed and view.crowd.asked_at == NOW
    assert not view.lesson_due


def test_the_list_is_checked_by_a_task_that_should_have_ended() -> None:
    """When a check is due: the likeliest; none where all are too young; any where nothing is known."""
    house = House()
    for _ in range(20):
        house.durations.learn_own("t2v", 5, 100.0)
    house.add("young", age=20)
    house.waiting.all_listed(NOW)
    crowd = house.view().crowd
    assert crowd is not None and crowd.suspect is None, "no check is due"
    for _ in range(FIRST_SPACING):
        house.lists.listed(NOW)
    crowd = house.view().crowd
    assert crowd is not None and crowd.suspect is None, "none that should have ended"
    house.add("old", age=150)
    crowd = house.view().crowd
    assert crowd is not None and crowd.suspect == "old"
    stranger = House()
    stranger.add("a", age=1)
    stranger.waiting.all_listed(NOW)
    for _ in range(FIRST_SPACING):
        stranger.lists.listed(NOW)
    crowd = stranger.view().crowd
    assert crowd is not None and crowd.suspect == "a"


def test_a_webhook_announces_only_while_deliveries_come() -> None:
    """A task with a webhook is as any other until the first delivery."""
    house = House()
    record = house.add("a")
    record.has_webhook = True
    crowd = house.view().crowd
    assert crowd is not None and crowd.sample[0].heard_at is None
    house.announcements.heard(NOW)
    crowd = house.view().crowd
    assert crowd is not None and crowd.sample[0].heard_at == NOW


@given(st.integers(1, 5000), st.integers(0, 300), st.integers(0, 300))
def test_a_poll_looks_at_a_few_of_thousands(crowded: int, missing: int, urgent: int) -> None:
    """Whatever the numbers; the crowd is counted in full, and those who stand for it are spread over it."""
    house = House()
    for number in range(crowded):
        house.add(f"crowd{number}")
    for number in range(missing):
        house.waiting.was_not_listed(house.add(f"missing{number}"), NOW)
    for number in range(urgent):
        record = house.add(f"urgent{number}")
        record.in_doubt = True
        house.waiting.sort(record, NOW)
    view = house.view()
    assert len(view.alone) == min(missing, MOST_LOOKED_AT) + min(urgent, MOST_LOOKED_AT)
    assert view.crowd is not None and view.crowd.waiting == crowded
    assert min(crowded, MOST_LOOKED_AT / 2) <= len(view.crowd.sample) <= MOST_LOOKED_AT + 3
    assert view.crowd.sample[0].task_id == "crowd0"


def test_those_for_whom_a_shorter_interval_holds_are_among_those_who_stand_for_all() -> None:
    """The youngest, one who wants each change, and one without a webhook: wherever they stand."""
    house = House()
    house.announcements.heard(NOW)
    for number in range(1000):
        record = house.add(f"crowd{number}", details=number != 501)
        record.has_webhook = number != 777
    for record in list(house.waiting.records.values()):
        house.waiting.sort(record, NOW)
    crowd = house.view().crowd
    assert crowd is not None
    assert any(item.changes_matter for item in crowd.sample)
    assert any(item.heard_at is None for item in crowd.sample)
    assert "crowd999" in {item.task_id for item in crowd.sample}


def test_a_task_that_has_ended_needs_no_place() -> None:
    """Also if a consumer has not read so far: no query is made for it."""
    house = House()
    record = house.add("a", details=False)
    record.progression.observe(TaskStatus.COMPLETED)
    house.waiting.asked(record, NOW)
    assert len(house.waiting) == 0
