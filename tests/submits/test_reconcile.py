"""No credit spent twice: the rules, over random interleavings of creations, losses, delays and list lags.

The world of these tests has a service, submits whose answers are lost or not, and a clock; no event loop.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._submits import reconcile as rules
from aivideomaker_async._submits.matching import Order
from aivideomaker_async._submits.reconcile import Adopted, Ledger, LookAgain, NotCreated
from aivideomaker_async._submits.state import GRACE, Clock, Moment, Submit
from aivideomaker_async.tasks import TaskDetails, TaskStatus

EPOCH = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


@dataclass
class Task:
    id: str
    order: Order
    key: str | None
    created: float
    """When it was created, in seconds of the world."""
    ended: float


@dataclass
class Service:
    """Stamps tasks with a clock of its own, and shows them late."""

    keeps_keys: bool = False
    skew: float = 0.0
    speed: float = 1.0
    honest_date: bool = True
    """Whether the header of its answers tells the same clock that stamps tasks."""
    lag: Callable[[], float] = lambda: 0.0
    tasks: list[Task] = field(default_factory=list)

    def stamp(self, at: float) -> float:
        return EPOCH + self.skew + at * self.speed

    def date(self, at: float) -> float:
        return self.stamp(at) if self.honest_date else EPOCH + at

    def create(self, order: Order, key: str, at: float, lasts: float) -> Task:
        task = Task(f"ck{len(self.tasks)}", order, key if self.keeps_keys else None, at, at + lasts)
        self.tasks.append(task)
        return task

    def replay(self, key: str) -> Task | None:
        return next((task for task in self.tasks if self.keeps_keys and task.key == key), None)

    def list(self, at: float) -> list[TaskDetails]:
        shown_until = at - self.lag()
        return [self.row(task, at) for task in reversed(self.tasks) if task.created <= shown_until]

    def row(self, task: Task, at: float) -> TaskDetails:
        shown = dict.fromkeys(task.order.uploads, f"https://service.example/{task.id}.png")
        return TaskDetails(
            id=task.id,
            status=TaskStatus.COMPLETED if at >= task.ended else TaskStatus.PROGRESS,
            model=task.order.model,
            input={**task.order.fields, **shown},
            created_at=datetime.fromtimestamp(self.stamp(task.created), UTC),
            idempotency_key=task.key,
        )


@dataclass
class Asked:
    """A submit that somebody has asked for, and what became of it."""

    submit: Submit
    handle: str | None = None
    unknown: bool = False
    attempts: int = 0


class World:
    def __init__(self, service: Service, rng: random.Random) -> None:
        self.service = service
        self.rng = rng
        self.ledger = Ledger()
        self.now = 0.0
        self.asked: list[Asked] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(moment, self.now), next(self._numbers), event))

    def run(self) -> None:
        for _ in range(20_000):
            if not self._events:
                return
            self.now, _, event = heapq.heappop(self._events)
            event()
        raise AssertionError("it never ends")

    def moment(self) -> Moment:
        # The wall clock of this machine is off as well.
        return Moment(self.now, EPOCH - 4321.0 + self.now)

    def clock(self) -> Clock:
        return Clock(self.moment(), self.service.date(self.now))

    # --- a submit, as the shell makes it ---------------------------------------------------------

    def submit(self, order: Order, fates: list[str]) -> None:
        asked = Asked(Submit(f"key-{len(self.asked)}", order))
        self.asked.append(asked)
        self.ledger.open(asked.submit)
        self.attempt(asked, fates)

    def attempt(self, asked: Asked, fates: list[str]) -> None:
        asked.attempts += 1
        self.ledger.sent(asked.submit, self.moment())
        fate, rest = (fates[0], fates[1:]) if fates else ("answered", [])
        latency = self.rng.uniform(0.0, 2.0)
        slow = self.rng.uniform(0.0, 0.6 * GRACE)
        if fate == "answered":
            self.at(self.now + latency, lambda: self.create(asked, answered=True))
        elif fate == "lost after":
            self.at(self.now + latency, lambda: self.create(asked, answered=False))
            self.at(self.now + latency, lambda: self.lose(asked, rest))
        elif fate == "created late":
            self.at(self.now + latency + slow, lambda: self.create(asked, answered=False))
            self.at(self.now + latency, lambda: self.lose(asked, rest))
        else:
            self.at(self.now + latency, lambda: self.lose(asked, rest))

    def create(self, asked: Asked, *, answered: bool) -> None:
        key = asked.submit.key
        task = self.service.replay(key)
        task = task or self.service.create(asked.submit.order, key, self.now, self.rng.uniform(0.1, 200.0))
        if answered:
            found = task
            self.at(self.now + self.rng.uniform(0.0, 1.0), lambda: self.answer(asked, found))

    def answer(self, asked: Asked, task: Task) -> None:
        self.ledger.answered(asked.submit, task.id, self.moment())
        asked.handle = task.id

    def lose(self, asked: Asked, fates: list[str]) -> None:
        self.ledger.lost(asked.submit, self.now)
        self.decide(asked, fates)

    def decide(self, asked: Asked, fates: list[str]) -> None:
        verdict = self.ledger.decide(asked.submit, self.clock())
        if isinstance(verdict, Adopted):
            asked.handle = verdict.details.id
        elif isinstance(verdict, NotCreated):
            self.ledger.refused(asked.submit)
            self.at(self.now + 0.5, lambda: self.attempt(asked, fates))
        elif isinstance(verdict, LookAgain):
            self.at(verdict.at + self.rng.uniform(0.0, 0.2), lambda: self.look(asked, fates))
        else:
            asked.unknown = True
            self.ledger.give_up(asked.submit)

    def look(self, asked: Asked, fates: list[str]) -> None:
        asked_at = self.now
        told = self.now + self.rng.uniform(0.0, 0.5)

        def answer() -> None:
            wanted = self.ledger.wanted()
            rows = [row for row in self.service.list(told) if wanted.concerns(_wire(row))]
            self.ledger.take(rows, asked_at=asked_at, now=self.now)
            self.decide(asked, fates)

        self.at(told + self.rng.uniform(0.0, 0.5), answer)


def _wire(row: TaskDetails) -> dict[str, object]:
    return {"id": row.id, "model": row.model, "idempotencyKey": row.idempotency_key}


ORDERS = (
    Order("t2v", {"prompt": "a red fox", "duration": "5"}),
    Order("t2v", {"prompt": "a red fox", "duration": "8"}),
    Order("i2v", {"prompt": "it moves", "duration": "5"}, {"image": b"one"}),
    Order("i2v", {"prompt": "it moves", "duration": "5"}, {"image": b"two"}),
    Order("i2v", {"duration": "5"}, {"image": b"one"}),
)

fates = st.lists(st.sampled_from(["answered", "lost after", "created late", "lost before"]), max_size=3)
plans = st.lists(st.tuples(st.floats(0.0, 40.0), st.sampled_from(ORDERS), fates), min_size=1, max_size=12)


def build(data: dict[str, Any], seed: int) -> World:
    rng = random.Random(seed)
    most = data.pop("most_lag")
    service = Service(**data, lag=lambda: rng.uniform(0.0, most))
    return World(service, rng)


def check(world: World) -> None:
    handles = [asked.handle for asked in world.asked if asked.handle is not None]
    assert len(handles) == len(set(handles)), "two handles share a task"
    ours = {task.id: task for task in world.service.tasks if not task.id.startswith("old")}
    assert len(ours) <= len(world.asked), "a credit was spent twice"
    for asked in world.asked:
        assert (asked.handle is None) == asked.unknown, "every submit ends"
        if asked.handle is not None:
            assert ours[asked.handle].order == asked.submit.order, "the handle of another order"
    # What nobody has a handle of was reported.
    assert len(ours) - len(handles) <= sum(asked.unknown for asked in world.asked)


@given(
    plan=plans,
    data=st.fixed_dictionaries(
        {
            "keeps_keys": st.booleans(),
            "skew": st.sampled_from([0.0, -7200.0, 3600.0, 3e7, -3e7, 40.0, -40.0]),
            "speed": st.sampled_from([1.0, 1.0, 24.0, 600.0]),
            "honest_date": st.booleans(),
            "most_lag": st.sampled_from([0.0, 1.0, GRACE / 3]),
        }
    ),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_no_task_is_bought_twice_and_no_handle_given_twice(
    plan: list[tuple[float, Order, list[str]]], data: dict[str, Any], seed: int
) -> None:
    world = build(data, seed)
    for at, order, fates in plan:
        world.at(at, lambda order=order, fates=fates: world.submit(order, fates))  # type: ignore[misc]
    world.run()
    check(world)


@given(
    plan=plans,
    olds=st.lists(st.tuples(st.floats(60.0, 90_000.0), st.sampled_from(ORDERS), st.floats(1.0, 600.0)), max_size=6),
    data=st.fixed_dictionaries(
        {
            "keeps_keys": st.booleans(),
            "skew": st.sampled_from([0.0, -7200.0, 3600.0, 3e7, -3e7]),
            "most_lag": st.sampled_from([0.0, 1.0, GRACE / 3]),
        }
    ),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_tasks_of_the_past_are_not_taken_for_new_ones(
    plan: list[tuple[float, Order, list[str]]],
    olds: list[tuple[float, Order, float]],
    data: dict[str, Any],
    seed: int,
) -> None:
    world = build(data, seed)
    for number, (age, order, lasts) in enumerate(sorted(olds, key=lambda old: -old[0])):
        world.service.tasks.append(Task(f"old{number}", order, None, -age, -age + lasts))
    for at, order, fates in plan:
        world.at(at, lambda order=order, fates=fates: world.submit(order, fates))  # type: ignore[misc]
    world.run()
    check(world)


@given(
    losses=st.integers(0, 6),
    submits=st.integers(1, 6),
    keeps_keys=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_identical_orders_each_get_one(losses: int, submits: int, keeps_keys: bool, seed: int) -> None:
    """They are interchangeable, so nothing about them need stay unknown."""
    world = World(Service(keeps_keys=keeps_keys), random.Random(seed))
    for number in range(submits):
        fate = world.rng.choice(["lost after", "lost before"]) if number < losses else "answered"
        world.at(world.rng.uniform(0.0, 3.0), lambda fate=fate: world.submit(ORDERS[0], [fate]))  # type: ignore[misc]
    world.run()
    check(world)
    assert [asked.unknown for asked in world.asked] == [False] * submits
    assert len(world.service.tasks) == submits


# --- one rule at a time ----------------------------------------------------------------------------

ORDER = ORDERS[0]


def moment(at: float) -> Moment:
    return Moment(at, EPOCH + at)


def clock(at: float) -> Clock:
    return Clock(moment(at), EPOCH + at)


def row(task_id: str = "ck1", created: float | None = 0.0, **fields: Any) -> TaskDetails:
    stamp = None if created is None else datetime.fromtimestamp(EPOCH + created, UTC)
    known = {"model": "t2v", "input": ORDER.fields, "status": TaskStatus.PROGRESS, "created_at": stamp}
    return TaskDetails(id=task_id, **(known | fields))


def lost(ledger: Ledger, *, sent: float = 0.0, at: float = 1.0, key: str = "key-1") -> Submit:
    submit = Submit(key, ORDER)
    ledger.open(submit)
    ledger.sent(submit, moment(sent))
    ledger.lost(submit, at)
    return submit


def look(ledger: Ledger, at: float, *rows: TaskDetails, **more: Any) -> None:
    ledger.take(rows, asked_at=at, now=at + 0.1, **more)


def kinds(ledger: Ledger, submit: Submit, at: float) -> str:
    return type(ledger.decide(submit, clock(at))).__name__


def test_the_looks_are_spread_over_the_grace_time() -> None:
    ledger = Ledger()
    submit = lost(ledger)
    now, asked = 1.0, list[float]()
    while isinstance(verdict := ledger.decide(submit, clock(now)), LookAgain):
        now = verdict.at
        asked.append(now - 1.0)
        look(ledger, now)
    assert asked == [0.0, 1.0, 3.0, 7.0, GRACE]
    assert isinstance(verdict, NotCreated)


def test_a_list_that_hides_known_tasks_proves_nothing() -> None:
    """It lags by minutes, or shows only so many."""
    ledger = Ledger()
    submit = lost(ledger, sent=0.0, at=5.0)
    other = Submit("key-2", ORDERS[2])
    ledger.open(other)
    ledger.sent(other, moment(1.0))
    ledger.answered(other, "ck9", moment(2.0))
    look(ledger, 30.0)
    assert kinds(ledger, submit, 30.2) == "LookAgain"
    look(ledger, 60.0)
    assert kinds(ledger, submit, 60.2) == "Undecided"
    look(ledger, 61.0, row("ck9", 1.5, model="i2v"))
    assert kinds(ledger, submit, 61.2) == "NotCreated"


def test_a_row_that_cannot_be_read_may_be_it() -> None:
    ledger = Ledger()
    submit = lost(ledger)
    look(ledger, 30.0, unreadable=1)
    assert kinds(ledger, submit, 30.2) == "LookAgain"
    look(ledger, 100.0, unreadable=1)
    assert kinds(ledger, submit, 100.2) == "Undecided"


def test_a_task_without_a_time_is_new_when_it_was_not_there_before() -> None:
    ledger = Ledger()
    submit = lost(ledger)
    look(ledger, 1.0, row("old", None))
    assert kinds(ledger, submit, 1.2) == "LookAgain"
    look(ledger, 30.0, row("old", None))
    assert kinds(ledger, submit, 30.2) == "Undecided"
    look(ledger, 31.0, row("new", None), row("old", None))
    assert ledger.decide(submit, clock(31.2)) == Adopted(row("new", None))


def test_a_task_with_a_handle_of_its_own_is_not_adopted() -> None:
    """Somebody took it up by its id."""
    ledger = Ledger()
    submit = lost(ledger)
    look(ledger, 30.0, row(), handled=["ck1"])
    assert kinds(ledger, submit, 30.2) == "Undecided"
    assert [task.id for task in ledger.candidates(submit, clock(30.2))] == ["ck1"]


def test_a_task_that_was_there_before_is_old_whatever_its_time_says() -> None:
    ledger = Ledger()
    first = lost(ledger, sent=0.0, at=1.0)
    look(ledger, 2.0, row("ck1", 5000.0))
    second = lost(ledger, sent=3.0, at=4.0, key="key-2")
    look(ledger, 30.0, row("ck1", 5000.0))
    ledger.give_up(first)
    assert kinds(ledger, second, 30.2) == "NotCreated"


def test_one_that_was_given_up_may_still_own_a_task() -> None:
    """Interchangeable ones take one each; another order's does not."""
    ledger = Ledger()
    given_up = Submit("key-0", ORDERS[3])
    ledger.open(given_up)
    ledger.sent(given_up, moment(0.0))
    ledger.lost(given_up, 1.0)
    ledger.give_up(given_up)
    submit = Submit("key-1", ORDERS[2])
    ledger.open(submit)
    ledger.sent(submit, moment(2.0))
    ledger.lost(submit, 3.0)
    shown = {"prompt": "it moves", "duration": "5", "image": "https://service.example/1.png"}
    look(ledger, 30.0, row("ck1", 2.5, model="i2v", input=shown))
    assert kinds(ledger, submit, 30.2) == "Undecided"
    ledger.close(given_up)
    assert kinds(ledger, submit, 30.2) == "Adopted"


def ended(task_id: str, created: float, took: float) -> TaskDetails:
    completed = datetime.fromtimestamp(EPOCH + created + took, UTC)
    return row(task_id, created, status=TaskStatus.COMPLETED, completed_at=completed)


def test_a_finished_task_is_old_if_it_took_longer_than_the_submit_is_ago() -> None:
    """By clocks that were never compared."""
    ledger = Ledger()
    submit = lost(ledger)
    look(ledger, 30.0, ended("yesterday", -86_400.0, 120.0))
    assert kinds(ledger, submit, 30.2) == "NotCreated"
    submit = lost(ledger, sent=200.0, at=201.0, key="key-2")
    look(ledger, 240.0, ended("quick", -3600.0, 10.0))
    assert kinds(ledger, submit, 240.2) == "Undecided"


def test_a_task_that_has_been_running_for_months_was_just_created() -> None:
    """No task takes so long: the clock that says so is not to be believed. For hours, one may hang."""
    ledger = Ledger()
    submit, other = lost(ledger), lost(ledger, key="key-2")
    other.order = ORDERS[1]
    look(ledger, 30.0, row("ck1", -30_000_000.0), row("ck2", -30_000.0, input=ORDERS[1].fields))
    assert kinds(ledger, submit, 30.2) == "Adopted"
    assert kinds(ledger, other, 30.2) == "Undecided"


@pytest.mark.parametrize(("created", "verdict"), [(-1800.0, "Undecided"), (-4000.0, "NotCreated"), (0.5, "Adopted")])
def test_a_clock_that_was_set_forward_makes_no_old_task_new(created: float, verdict: str) -> None:
    """By an hour, meanwhile. The machine may as well have slept, so what is an hour old is in doubt."""
    ledger = Ledger()
    submit = lost(ledger)
    look(ledger, 30.0, ended("ck1", created, 3000.0 if created < -3600.0 else 10.0))
    told = ledger.decide(submit, Clock(Moment(30.2, EPOCH + 3600.0 + 30.2), EPOCH + 30.2))
    assert type(told).__name__ == verdict


def test_a_clock_that_was_set_back_changes_nothing() -> None:
    ledger = Ledger()
    submit = lost(ledger)
    look(ledger, 30.0, row("ck1", 0.5))
    told = ledger.decide(submit, Clock(Moment(30.2, EPOCH - 3600.0 + 30.2), EPOCH + 30.2))
    assert isinstance(told, Adopted)


@pytest.mark.parametrize(
    ("strangers", "begins", "verdict"),
    [(9, 2.0, "NotCreated"), (10, 2.0, "Undecided"), (10, -60.0, "NotCreated"), (10, None, "NotCreated")],
)
def test_a_list_that_begins_after_the_submit_may_be_cut_off(strangers: int, begins: float | None, verdict: str) -> None:
    """It shows so many at most, and others have filled it."""
    ledger = Ledger()
    submit = lost(ledger)
    bought(ledger, "ck9", 3.0, 4.0)
    reaches_back = None if begins is None else EPOCH + begins
    for at in (20.0, 60.0):
        look(ledger, at, row("ck9", 3.5), rows_read=strangers + 1, reaches_back=reaches_back)
    assert kinds(ledger, submit, 60.2) == verdict


def test_what_another_process_has_lost_is_looked_for_within_its_time() -> None:
    """Which tasks were given to others there is told up to the loss; what came much later is nobody's for sure."""
    there = Ledger()
    given_up = lost(there)
    bought(there, "ck2", 1.0, 2.0)
    bought(there, "of another model", 1.0, 2.0).order = ORDERS[2]
    there.give_up(given_up)
    trace = there.trace(given_up, clock(50.0))
    assert trace.taken == {"ck2", "of another model"}

    def again(*rows: TaskDetails) -> tuple[str, list[str]]:
        here = Ledger()
        submit = trace.restore("key-1", clock(90_000.0), GRACE)
        here.open(submit)
        here.resume(submit)
        look(here, 90_000.5, *rows)
        verdict = here.decide(submit, clock(90_001.0))
        return type(verdict).__name__, [task.id for task in here.candidates(submit, clock(90_001.0))]

    assert again(row("ck2", 1.5)) == ("NotCreated", [])
    assert again(row("ck1", 0.5), row("ck2", 1.5)) == ("Adopted", [])
    assert again(row("tomorrow", 86_400.0), row("ck2", 1.5)) == ("Undecided", ["tomorrow"])


def test_a_submit_under_way_is_told_as_lost_now() -> None:
    ledger = Ledger()
    submit = Submit("key-1", ORDER)
    ledger.open(submit)
    ledger.sent(submit, moment(3.0))
    trace = ledger.trace(submit, clock(10.0))
    assert (trace.sent, trace.lost_at) == (EPOCH + 3.0, EPOCH + 10.0)


def test_in_a_fork_nothing_of_the_parent_is_under_way() -> None:
    """And what looks like its orders is in doubt, since the parent may get the task."""
    ledger = Ledger()
    idle, under_way, parents = Submit("a", ORDER), Submit("b", ORDER), lost(ledger, key="c")
    for one in (idle, under_way):
        ledger.open(one)
    ledger.sent(under_way, moment(0.0))
    ledger.give_up_all(moment(5.0))
    assert [ledger.open_with(key) for key in "abc"] == [None, under_way, parents]
    submit = lost(ledger, sent=6.0, at=7.0)
    look(ledger, 30.0, row("ck1", 6.5))
    assert kinds(ledger, submit, 30.2) == "Undecided"


def test_a_task_of_another_submit_is_not_taken() -> None:
    ledger = Ledger()
    submit = lost(ledger)
    bought(ledger, "ck2", 1.0, 2.0)
    with pytest.raises(ValueError):  # noqa: PT011  (it says nothing: whoever asks knows the id)
        ledger.settle(submit, "ck2", moment(3.0))
    assert ledger.open_with("key-1") is submit
    ledger.settle(submit, "ck1", moment(3.0))
    ledger.settle(submit, "ck1", moment(4.0))
    assert ledger.bought_with("key-1") == ("ck1", ORDER)


@pytest.mark.parametrize("model", ["T2V", "t2v ", "t-2-v"])
def test_a_model_in_another_spelling_is_the_same(model: str) -> None:
    ledger = Ledger()
    submit = lost(ledger)
    assert ledger.wanted().concerns({"id": "ck1", "model": model})
    look(ledger, 1.0, row("ck1", 0.5, model=model))
    assert kinds(ledger, submit, 1.2) == "Adopted"


def test_a_finished_task_of_the_future_says_nothing() -> None:
    """Another may have ordered the same before, on a clock that runs ahead."""
    ledger = Ledger()
    submit = lost(ledger)
    look(ledger, 30.0, ended("ahead", 5000.0, 60.0))
    assert kinds(ledger, submit, 30.2) == "Undecided"


def test_a_key_that_may_be_ours_in_another_form_is_in_doubt() -> None:
    ledger = Ledger()
    submit = lost(ledger, key="avm-0123-4567")
    look(ledger, 30.0, row(idempotency_key="AVM-0123-4567"), row("ck2", idempotency_key="somebody-elses"))
    assert kinds(ledger, submit, 30.2) == "Undecided"
    assert [task.id for task in ledger.candidates(submit, clock(30.2))] == ["ck1"]


def bought(ledger: Ledger, task_id: str, sent: float, answered: float, key: str = "key-2") -> Submit:
    submit = Submit(key, ORDER)
    ledger.open(submit)
    ledger.sent(submit, moment(sent))
    ledger.answered(submit, task_id, moment(answered))
    return submit


def test_a_service_that_shows_no_order_as_it_was_sent_proves_nothing() -> None:
    """What it made of a known one tells that."""
    ledger = Ledger()
    bought(ledger, "ck0", -10.0, -9.0)
    submit = lost(ledger)
    translated = {"prompt": "ein roter Fuchs", "duration": "5"}
    look(ledger, 30.0, row("ck1", 0.5, input=translated), row("ck0", -9.5, input=translated))
    assert kinds(ledger, submit, 30.2) == "Undecided"
    bought(ledger, "ck2", 30.3, 30.4, key="key-3")
    look(ledger, 31.0, row("ck2", 30.35), row("ck1", 0.5, input=translated), row("ck0", -9.5))
    assert kinds(ledger, submit, 31.2) == "NotCreated"


def test_a_list_that_hides_the_last_tasks_is_not_believed() -> None:
    ledger = Ledger()
    bought(ledger, "ck0", -20.0, -19.0)
    submit = lost(ledger)
    look(ledger, 30.0)
    assert kinds(ledger, submit, 30.2) == "LookAgain"


def test_a_task_that_appears_is_not_old_whatever_its_clock_says() -> None:
    """Servers of one service may have clocks of their own."""
    ledger = Ledger()
    bought(ledger, "ck0", -20.0, -19.0)
    submit = lost(ledger)
    look(ledger, 1.0, row("ck0", -19.5))
    assert kinds(ledger, submit, 1.2) == "LookAgain"
    look(ledger, 30.0, row("ck0", -19.5), row("ck1", -200.0))
    assert kinds(ledger, submit, 30.2) == "Undecided"


def test_one_that_is_taken_up_again_much_later_does_not_take_what_came_meanwhile() -> None:
    ledger = Ledger()
    bought(ledger, "ck0", -20.0, -19.0)
    submit = lost(ledger)
    ledger.give_up(submit)
    ledger.resume(submit)
    look(ledger, 5000.0, row("ck0", -19.5), row("ck1", 3000.0))
    assert kinds(ledger, submit, 5000.2) == "Undecided"


def test_a_ledger_that_has_forgotten_its_list_says_so() -> None:
    """What is forgotten proves no absence."""
    ledger = Ledger()
    assert ledger.is_blank
    submit, other = lost(ledger), lost(ledger, key="key-2")
    look(ledger, 100.0)
    assert not ledger.is_blank
    ledger.close(other)
    assert kinds(ledger, submit, 100.2) == "NotCreated"
    ledger.close(submit)
    assert ledger.is_blank
    assert kinds(ledger, lost(ledger, key="key-3"), 200.0) == "LookAgain"


def test_what_was_settled_meanwhile_stays_settled() -> None:
    """Two clients may be at it."""
    ledger = Ledger()
    submit, other = lost(ledger), Submit("key-2", ORDERS[2])
    look(ledger, 30.0, row())
    assert ledger.decide(submit, clock(30.2)) == ledger.decide(submit, clock(31.0)) == Adopted(row())
    ledger.open(other)
    ledger.sent(other, moment(40.0))
    ledger.answered(other, "ck2", moment(41.0))
    verdict = ledger.decide(other, clock(42.0))
    assert isinstance(verdict, Adopted)
    assert verdict.details.id == "ck2"


def test_somebody_who_knows_can_tell() -> None:
    ledger = Ledger()
    one, other = lost(ledger), lost(ledger, key="key-2")
    ledger.settle(one, "ck1", moment(5.0))
    ledger.settle(other, None, moment(5.0))
    assert ledger.bought_with("key-1") == ("ck1", ORDER)
    assert ledger.bought_with("key-2") is None
    assert ledger.open_with("key-2") is None


def test_a_submit_that_was_given_up_owns_nothing_that_comes_hours_later() -> None:
    """So those that look alike can be told apart again."""
    ledger = Ledger()
    bought(ledger, "ck0", -20.0, -19.0)
    given_up = Submit("key-0", ORDERS[3])
    ledger.open(given_up)
    ledger.sent(given_up, moment(0.0))
    ledger.lost(given_up, 1.0)
    ledger.give_up(given_up)
    shown = {"prompt": "it moves", "duration": "5", "image": "https://service.example/1.png"}

    def lose(at: float) -> str:
        submit = Submit(f"key-{at}", ORDERS[2])
        ledger.open(submit)
        ledger.sent(submit, moment(at))
        ledger.lost(submit, at + 1.0)
        task = row(f"ck-{at}", at + 0.5, model="i2v", input=shown)
        look(ledger, at + 30.0, task, row("ck0", -19.5))
        kind = kinds(ledger, submit, at + 30.2)
        ledger.close(submit)
        return kind

    assert lose(3000.0) == "Undecided"
    assert lose(3000.0 + 1000.0) == "Adopted"


@pytest.mark.parametrize("settle", [True, False])
def test_of_those_that_were_given_up_the_oldest_is_forgotten(settle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_UNSETTLED", 3)
    ledger = Ledger()
    for number in range(5):
        submit = lost(ledger, sent=10.0 * number, at=10.0 * number + 1.0, key=f"key-{number}")
        ledger.give_up(submit)
        if settle and number == 2:
            ledger.settle(submit, None, moment(25.0))
    kept = [number for number in range(5) if ledger.open_with(f"key-{number}") is not None]
    assert kept == ([1, 3, 4] if settle else [2, 3, 4])


def test_keys_that_may_come_again_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "KEYS_KNOWN", 2)
    ledger = Ledger()
    for number in range(4):
        submit = Submit(f"key-{number}", ORDER, recurs=True)
        ledger.open(submit)
        ledger.sent(submit, moment(number))
        ledger.answered(submit, f"ck{number}", moment(number))
    bought(ledger, "ck9", 5.0, 6.0, key="a fresh one")
    assert [ledger.bought_with(f"key-{number}") for number in range(4)] == [None, None, ("ck2", ORDER), ("ck3", ORDER)]
    assert ledger.bought_with("a fresh one") is None


def test_what_can_tell_nothing_is_not_deciphered() -> None:
    ledger = Ledger()
    submit = lost(ledger)
    done = Submit("key-9", ORDERS[2])
    ledger.open(done)
    ledger.sent(done, moment(0.0))
    ledger.answered(done, "ck9", moment(0.5))
    wanted = ledger.wanted()
    concerns = (
        {"id": "ck1", "model": "t2v"},
        {"id": "ck9", "model": "x"},
        {"id": "ck1"},
        {"model": "x", "idempotencyKey": submit.key},
    )
    assert all(map(wanted.concerns, concerns))
    assert not wanted.concerns({"id": "ck1", "model": "i2v"})
    assert not wanted.concerns({"id": 7, "model": "x", "idempotencyKey": None})
