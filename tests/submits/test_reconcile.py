"""No credit is spent twice: random interleavings of creations, losses, delays, list lags and clocks, then each rule.

The world of the first tests has a service, submits whose answers are lost or not, and a clock; no event loop.
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
from aivideomaker_async._submits.reconcile import (
    RETENTION_S,
    WITNESSES,
    Adopted,
    LookAgain,
    NotCreated,
    Reconciler,
)
from aivideomaker_async._submits.state import (
    DEFAULT_GRACE_S,
    Fingerprint,
    Instant,
    ServiceClock,
    Submit,
    SubmitState,
    restore_submit,
)
from aivideomaker_async.tasks import TaskDetails, TaskStatus

EPOCH = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


@dataclass
class Task:
    id: str
    order: Fingerprint
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
    """Whether the header of its answers shows the same clock that stamps tasks."""
    shows_ends: bool = False
    """Whether its rows show when tasks ended."""
    alters: str = ""
    """How it shows orders: with another model's "name", with other "words", or (empty) as they were sent."""
    lag: Callable[[], float] = lambda: 0.0
    tasks: list[Task] = field(default_factory=list)

    def stamp(self, at: float) -> float:
        return EPOCH + self.skew + at * self.speed

    def date(self, at: float) -> float:
        return self.stamp(at) if self.honest_date else EPOCH + at

    def create(self, order: Fingerprint, key: str, at: float, lasts: float) -> Task:
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
        has_ended = at >= task.ended
        return TaskDetails(
            id=task.id,
            status=TaskStatus.COMPLETED if has_ended else TaskStatus.PROGRESS,
            model=f"{task.order.model}-turbo" if self.alters == "name" else task.order.model,
            input={**task.order.fields, **shown, **({"prompt": "ein roter Fuchs"} if self.alters == "words" else {})},
            created_at=datetime.fromtimestamp(self.stamp(task.created), UTC),
            completed_at=datetime.fromtimestamp(self.stamp(task.ended), UTC)
            if self.shows_ends and at >= task.ended
            else None,
            idempotency_key=task.key,
        )


@dataclass
class Asked:
    """A submit and what became of it."""

    submit: Submit
    handle: str | None = None
    unknown: bool = False
    resumed: bool = False
    """Whether it was searched for again after its outcome was unknown."""


class World:
    def __init__(self, service: Service, rng: random.Random) -> None:
        self.service = service
        self.rng = rng
        self.reconciler = Reconciler()
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
        raise AssertionError("the world never ends")

    def moment(self) -> Instant:
        # The wall clock of this machine is off as well.
        return Instant(self.now, EPOCH - 4321.0 + self.now)

    def clock(self) -> ServiceClock:
        return ServiceClock(self.moment(), self.service.date(self.now))

    # --- a submit, as the service makes it -------------------------------------------------------

    def submit(self, order: Fingerprint, fates: list[str]) -> None:
        asked = Asked(Submit(f"key-{len(self.asked)}", order))
        self.asked.append(asked)
        self.reconciler.open(asked.submit)
        self.attempt(asked, fates)

    def attempt(self, asked: Asked, fates: list[str]) -> None:
        self.reconciler.sent(asked.submit, self.moment())
        fate, rest = (fates[0], fates[1:]) if fates else ("answered", [])
        latency = self.rng.uniform(0.0, 2.0)
        slow = self.rng.uniform(0.0, 0.6 * DEFAULT_GRACE_S)
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
        task = task or self.service.create(asked.submit.fingerprint, key, self.now, self.rng.uniform(0.1, 200.0))
        if answered:
            found = task
            self.at(self.now + self.rng.uniform(0.0, 1.0), lambda: self.answer(asked, found))

    def answer(self, asked: Asked, task: Task) -> None:
        self.reconciler.answered(asked.submit, task.id, self.moment())
        asked.handle = task.id

    def lose(self, asked: Asked, fates: list[str]) -> None:
        self.reconciler.lost(asked.submit, self.now)
        self.decide(asked, fates)

    def decide(self, asked: Asked, fates: list[str]) -> None:
        verdict = self.reconciler.decide(asked.submit, self.clock())
        if isinstance(verdict, Adopted):
            asked.handle = verdict.details.id
        elif isinstance(verdict, NotCreated):
            self.reconciler.refused(asked.submit)
            self.at(self.now + 0.5, lambda: self.attempt(asked, fates))
        elif isinstance(verdict, LookAgain):
            self.at(verdict.at + self.rng.uniform(0.0, 0.2), lambda: self.look(asked, fates))
        else:
            asked.unknown = True
            self.reconciler.give_up(asked.submit)
            if not asked.resumed:
                self.at(self.now + self.rng.uniform(1.0, 5000.0), lambda: self.resume(asked, fates))

    def resume(self, asked: Asked, fates: list[str]) -> None:
        """Search again for one whose outcome was unknown."""
        asked.unknown, asked.resumed = False, True
        self.reconciler.resume(asked.submit)
        self.look(asked, fates)

    def look(self, asked: Asked, fates: list[str]) -> None:
        requested_at = self.now
        arrives = self.now + self.rng.uniform(0.0, 0.5)

        def answer() -> None:
            rows = self.service.list(arrives)
            self.reconciler.take_list(rows, requested_at=requested_at, now=self.now)
            self.decide(asked, fates)

        self.at(arrives + self.rng.uniform(0.0, 0.5), answer)


ORDERS = (
    Fingerprint("t2v", {"prompt": "a red fox", "duration": "5"}),
    Fingerprint("t2v", {"prompt": "a red fox", "duration": "8"}),
    Fingerprint("i2v", {"prompt": "it moves", "duration": "5"}, {"image": b"one"}),
    Fingerprint("i2v", {"prompt": "it moves", "duration": "5"}, {"image": b"two"}),
    Fingerprint("i2v", {"duration": "5"}, {"image": b"one"}),
)

fates = st.lists(st.sampled_from(["answered", "lost after", "created late", "lost before"]), max_size=3)
plans = st.lists(st.tuples(st.floats(0.0, 40.0), st.sampled_from(ORDERS), fates), min_size=1, max_size=12)


def build(data: dict[str, Any], seed: int) -> World:
    rng = random.Random(seed)
    most = data.pop("most_lag")
    if data["speed"] > 2.0:
        # By a clock of another speed, no duration is what it seems: rows with ends must be right about them.
        data["shows_ends"] = False
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
            assert ours[asked.handle].order == asked.submit.fingerprint, "the handle of another order"
    # A task without a handle was reported as unknown.
    assert len(ours) - len(handles) <= sum(asked.unknown for asked in world.asked)


@given(plan=plans, alters=st.sampled_from(["name", "words"]), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_no_task_is_bought_twice_that_is_shown_altered(
    plan: list[tuple[float, Fingerprint, list[str]]], alters: str, seed: int
) -> None:
    """Translated, moderated, or under another model's name: what is new and nobody's may be the lost one."""
    world = World(Service(alters=alters), random.Random(seed))
    for at, order, fates in plan:
        world.at(at, lambda order=order, fates=fates: world.submit(order, fates))  # type: ignore[misc]
    world.run()
    assert len(world.service.tasks) <= len(world.asked), "a credit was spent twice"
    handles = [asked.handle for asked in world.asked if asked.handle is not None]
    assert len(world.service.tasks) - len(handles) <= sum(asked.unknown for asked in world.asked)


SKEWS = (40.0, 120.0, 600.0, 1200.0, 3600.0, 7200.0, 3e7)
"""How far the clock that stamps tasks is from the right time: some seconds to a year."""


@given(
    plan=plans,
    olds=st.lists(st.tuples(st.floats(60.0, 90_000.0), st.sampled_from(ORDERS), st.floats(1.0, 600.0)), max_size=6),
    spread=st.sampled_from([1.0, 1.0, 180.0]),
    data=st.fixed_dictionaries(
        {
            "keeps_keys": st.sampled_from([False, False, True]),
            "skew": st.sampled_from([0.0, *SKEWS, *(-skew for skew in SKEWS)]),
            "speed": st.sampled_from([1.0, 1.0, 1.001, 0.999, 24.0, 600.0]),
            "honest_date": st.sampled_from([False, False, True]),
            "shows_ends": st.sampled_from([False, True, True]),
            "most_lag": st.sampled_from([0.0, 1.0, DEFAULT_GRACE_S / 3]),
        }
    ),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=300)
def test_no_task_is_bought_twice_and_no_handle_given_twice(
    plan: list[tuple[float, Fingerprint, list[str]]],
    olds: list[tuple[float, Fingerprint, float]],
    spread: float,
    data: dict[str, Any],
    seed: int,
) -> None:
    """Whatever clock stamps tasks: ahead or behind by seconds to a year, with or without drift over two hours.

    Older tasks of the same orders are in the list, and are not taken for new ones.
    """
    world = build(data, seed)
    for number, (age, order, lasts) in enumerate(sorted(olds, key=lambda old: -old[0])):
        # By a clock that is ahead by just its age, an older task is a new one.
        looks_new = -100.0 < world.service.stamp(-age) - EPOCH < 15_000.0
        if world.service.honest_date or not looks_new:
            world.service.tasks.append(Task(f"old{number}", order, None, -age, -age + lasts))
    for at, order, fates in plan:
        world.at(spread * at, lambda order=order, fates=fates: world.submit(order, fates))  # type: ignore[misc]
    world.run()
    check(world)


@pytest.mark.parametrize("skew", [skew * sign for skew in SKEWS for sign in (1.0, -1.0)])
@pytest.mark.parametrize("speed", [1.0, 1.001, 0.999])
def test_a_clock_that_was_never_compared_rules_no_task_out(skew: float, speed: float) -> None:
    """Only the first submit of the process is lost, and searched for again within two hours, when its task has ended.

    Its task may look much older than it is.
    """
    for seed in range(40):
        rng = random.Random(seed)
        service = Service(skew=skew, speed=speed, honest_date=False, shows_ends=seed % 2 == 0)
        world = World(service, rng)
        world.submit(ORDERS[0], [rng.choice(["lost after", "created late"])])
        world.run()
        check(world)
        assert len(service.tasks) == 1


@given(
    losses=st.integers(0, 6),
    submits=st.integers(1, 6),
    keeps_keys=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_identical_orders_each_get_one(losses: int, submits: int, keeps_keys: bool, seed: int) -> None:
    """They are interchangeable, so nothing about them stays unknown."""
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
SHOWN = {"prompt": "it moves", "duration": "5", "image": "https://service.example/1.png"}
"""How the list shows the third and the fourth of the orders."""


def moment(at: float) -> Instant:
    return Instant(at, EPOCH + at)


def clock(at: float) -> ServiceClock:
    return ServiceClock(moment(at), EPOCH + at)


def row(task_id: str = "ck1", created: float | None = 0.0, **fields: Any) -> TaskDetails:
    stamp = None if created is None else datetime.fromtimestamp(EPOCH + created, UTC)
    known = {"model": "t2v", "input": ORDER.fields, "status": TaskStatus.PROGRESS, "created_at": stamp}
    return TaskDetails(id=task_id, **(known | fields))


def sent(reconciler: Reconciler, at: float, key: str = "key-1", order: Fingerprint = ORDER) -> Submit:
    submit = Submit(key, order)
    reconciler.open(submit)
    reconciler.sent(submit, moment(at))
    return submit


def lose(
    reconciler: Reconciler, *, sent_at: float = 0.0, at: float = 1.0, key: str = "key-1", order: Fingerprint = ORDER
) -> Submit:
    submit = sent(reconciler, sent_at, key, order)
    reconciler.lost(submit, at)
    return submit


def buy(
    reconciler: Reconciler,
    task_id: str,
    *,
    sent_at: float,
    answered_at: float,
    key: str = "key-2",
    order: Fingerprint = ORDER,
) -> Submit:
    submit = sent(reconciler, sent_at, key, order)
    reconciler.answered(submit, task_id, moment(answered_at))
    return submit


def take(reconciler: Reconciler, at: float, *rows: TaskDetails, **more: Any) -> None:
    reconciler.take_list(rows, requested_at=at, now=at + 0.1, **more)


def verdict(reconciler: Reconciler, submit: Submit, at: float) -> str:
    return type(reconciler.decide(submit, clock(at))).__name__


def test_lists_are_requested_over_the_grace_time() -> None:
    reconciler = Reconciler()
    submit = lose(reconciler)
    now, requested = 1.0, list[float]()
    while isinstance(decision := reconciler.decide(submit, clock(now)), LookAgain):
        now = decision.at
        requested.append(now - 1.0)
        take(reconciler, now)
    assert requested == [0.0, 1.0, 3.0, 7.0, DEFAULT_GRACE_S]
    assert isinstance(decision, NotCreated)


# --- what proves an absence --------------------------------------------------------------------------


def test_a_list_that_hides_a_task_assigned_meanwhile_proves_nothing() -> None:
    """It lags by minutes, or shows a limited number of tasks."""
    reconciler = Reconciler()
    submit = lose(reconciler, at=5.0)
    buy(reconciler, "ck9", sent_at=1.0, answered_at=2.0, order=ORDERS[2])
    take(reconciler, 30.0)
    assert verdict(reconciler, submit, 30.2) == "LookAgain"
    take(reconciler, 60.0)
    assert verdict(reconciler, submit, 60.2) == "Undecided"
    take(reconciler, 61.0, row("ck9", 1.5, model="i2v"))
    assert verdict(reconciler, submit, 61.2) == "NotCreated"


def test_a_submit_that_may_still_arrive_never_counts_as_not_created() -> None:
    """Its connection could not be reset. A task that appears after all is its own, also much later."""
    reconciler = Reconciler()
    submit = sent(reconciler, 0.0)
    reconciler.lost(submit, 1.0, may_still_arrive=True)
    for at in (1.1, 9.0, 17.0, 3600.0):
        take(reconciler, at)
    assert verdict(reconciler, submit, 3600.2) == "Undecided"
    snapshot = reconciler.snapshot(submit, clock(3600.2))
    for one in (submit, restore_submit(snapshot, key="key-1", model="", began_at=0.0, clock=clock(1), grace_s=15.0)):
        assert one.may_still_arrive
    take(reconciler, 4000.0, row("ck1", 3900.0))
    assert verdict(reconciler, submit, 4000.2) == "Adopted"


def test_tasks_outside_of_the_search_need_not_be_listed() -> None:
    """Begun before the submit, or assigned after its loss: a list that lags a little may miss them."""
    reconciler = Reconciler()
    early = sent(reconciler, -1.0, "key-2", ORDERS[2])
    submit = lose(reconciler, at=5.0)
    reconciler.answered(early, "begun before", moment(3.0))
    buy(reconciler, "assigned after", sent_at=3.0, answered_at=6.0, order=ORDERS[2], key="key-3")
    take(reconciler, 30.0)
    assert verdict(reconciler, submit, 30.2) == "NotCreated"


@pytest.mark.parametrize("listed", range(WITNESSES + 1))
def test_a_list_that_hides_one_of_the_last_tasks_proves_nothing(listed: int) -> None:
    """Those assigned shortly before the submit; of more than the witnesses, the oldest need not be listed."""
    reconciler = Reconciler()
    for number in range(WITNESSES + 3):
        buy(reconciler, f"ck{number}", sent_at=-20.0 + number, answered_at=-19.5 + number, key=f"other-{number}")
    submit = lose(reconciler)
    newest = [row(f"ck{number}", -19.7 + number) for number in reversed(range(WITNESSES + 3))]
    take(reconciler, 30.0, *newest[:listed])
    assert verdict(reconciler, submit, 30.2) == ("NotCreated" if listed == WITNESSES else "LookAgain")


@pytest.mark.parametrize(("age", "expected"), [(RETENTION_S - 1.0, "LookAgain"), (RETENTION_S + 2.0, "NotCreated")])
def test_a_list_need_not_show_what_was_assigned_long_before(age: float, expected: str) -> None:
    reconciler = Reconciler()
    buy(reconciler, "ck0", sent_at=-age - 1.0, answered_at=-age)
    submit = lose(reconciler)
    take(reconciler, 30.0)
    assert verdict(reconciler, submit, 30.2) == expected


def test_a_row_that_cannot_be_decoded_may_be_the_task() -> None:
    reconciler = Reconciler()
    submit = lose(reconciler)
    take(reconciler, 30.0, unreadable=1)
    assert verdict(reconciler, submit, 30.2) == "LookAgain"
    take(reconciler, 100.0, unreadable=1)
    assert verdict(reconciler, submit, 100.2) == "Undecided"


@pytest.mark.parametrize(
    ("strangers", "begins", "expected"),
    [(9, 2.0, "NotCreated"), (10, 2.0, "Undecided"), (10, -60.0, "NotCreated"), (10, None, "NotCreated")],
)
def test_a_list_that_begins_after_the_submit_may_be_cut_off(
    strangers: int, begins: float | None, expected: str
) -> None:
    """Others have filled the number of tasks that the service shows."""
    reconciler = Reconciler()
    submit = lose(reconciler)
    buy(reconciler, "ck9", sent_at=3.0, answered_at=4.0)
    oldest_at = None if begins is None else EPOCH + begins
    for at in (20.0, 60.0):
        take(reconciler, at, row("ck9", 3.5), rows_read=strangers + 1, oldest_at=oldest_at)
    assert verdict(reconciler, submit, 60.2) == expected


@pytest.mark.parametrize(("rows", "expected"), [(9, "NotCreated"), (10, "Undecided")])
def test_where_a_submit_was_sent_at_an_unknown_time_any_long_list_may_be_cut_off(rows: int, expected: str) -> None:
    """The clock of its machine may have been wrong by any time."""
    reconciler = Reconciler()
    submit = lose(reconciler)
    submit.is_time_known = False
    for at in (20.0, 60.0):
        take(reconciler, at, rows_read=rows, oldest_at=EPOCH - 1e7)
    assert verdict(reconciler, submit, 60.2) == expected


def test_a_service_that_shows_no_order_as_it_was_sent_proves_nothing() -> None:
    """How it shows an assigned task decides what a row that looks different and is not surely new proves."""
    reconciler = Reconciler()
    buy(reconciler, "ck0", sent_at=-10.0, answered_at=-9.0)
    submit = lose(reconciler)
    translated = {"prompt": "ein roter Fuchs", "duration": "5"}
    take(reconciler, 30.0, row("ck1", -50.0, input=translated), row("ck0", -9.5, input=translated))
    assert verdict(reconciler, submit, 30.2) == "Undecided"
    buy(reconciler, "ck2", sent_at=30.3, answered_at=30.4, key="key-3")
    take(reconciler, 31.0, row("ck2", 30.35), row("ck1", -50.0, input=translated), row("ck0", -9.5))
    assert verdict(reconciler, submit, 31.2) == "NotCreated"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input": {"prompt": "ein roter Fuchs", "duration": "5"}}, "Undecided"),
        ({"model": "t2v-turbo"}, "Undecided"),
        ({"model": "t2v-turbo", "input": {"prompt": "ein roter Fuchs"}}, "NotCreated"),
        ({"input": {"prompt": "x"}, "idempotency_key": "another-key"}, "NotCreated"),
        ({"input": {"prompt": "x"}, "created_at": None}, "NotCreated"),
    ],
    ids=["other words", "another name", "both", "somebody else's key", "not surely new"],
)
def test_a_new_task_of_nobody_may_be_the_lost_one_in_another_form(fields: dict[str, Any], expected: str) -> None:
    """Translated, moderated, or under a new name of its model: unless it is known to be somebody else's."""
    reconciler = Reconciler()
    submit = lose(reconciler)
    for at in (1.5, 17.0):
        take(reconciler, at, row("ck1", 0.5, **fields))
    assert verdict(reconciler, submit, 17.2) == expected
    if expected == "Undecided":
        assert [one.id for one in reconciler.candidates(submit, clock(17.2))] == ["ck1"]


def test_a_new_task_is_told_to_be_that_of_another_submit_of_this_process() -> None:
    """It shows exactly what that one has ordered, whose answer is still to come; or there is a handle for it."""
    reconciler = Reconciler()
    submit = lose(reconciler)
    sent(reconciler, 0.2, "key-2", Fingerprint("t2v", {"prompt": "a blue whale"}))
    whale = row("ck1", 0.5, input={"prompt": "a blue whale"})
    for at in (1.5, 17.0):
        take(reconciler, at, whale)
    assert verdict(reconciler, submit, 17.2) == "NotCreated"
    reconciler = Reconciler()
    submit = lose(reconciler)
    for at in (1.5, 17.0):
        take(reconciler, at, whale, known_tasks=["ck1"])
    assert verdict(reconciler, submit, 17.2) == "NotCreated"


def test_a_list_that_is_forgotten_proves_nothing() -> None:
    reconciler = Reconciler()
    assert reconciler.is_blank
    submit, other = lose(reconciler), lose(reconciler, key="key-2")
    take(reconciler, 100.0)
    assert not reconciler.is_blank
    reconciler.close(other)
    assert verdict(reconciler, submit, 100.2) == "NotCreated"
    reconciler.close(submit)
    assert reconciler.is_blank
    assert verdict(reconciler, lose(reconciler, key="key-3"), 200.0) == "LookAgain"


# --- which task is whose -----------------------------------------------------------------------------


def test_a_new_task_is_not_adopted_beside_one_of_unsure_age() -> None:
    """Either may belong to the submit."""
    reconciler = Reconciler()
    submit = lose(reconciler)
    take(reconciler, 1.0, row("unsure", None))
    assert verdict(reconciler, submit, 1.2) == "LookAgain"
    take(reconciler, 30.0, row("new", None), row("unsure", None))
    assert verdict(reconciler, submit, 30.2) == "Undecided"
    reconciler.settle(Submit("key-2", ORDER), "unsure", moment(30.3))
    take(reconciler, 31.0, row("new", None), row("unsure", None))
    assert reconciler.decide(submit, clock(31.2)) == Adopted(row("new", None))


def test_a_task_with_a_handle_of_its_own_is_not_adopted() -> None:
    """Somebody took it up by its id."""
    reconciler = Reconciler()
    submit = lose(reconciler)
    take(reconciler, 30.0, row(), known_tasks=["ck1"])
    assert verdict(reconciler, submit, 30.2) == "Undecided"
    assert [task.id for task in reconciler.candidates(submit, clock(30.2))] == ["ck1"]


def test_a_task_that_was_listed_before_the_submit_is_not_its_own() -> None:
    """Whatever its stamp shows."""
    reconciler = Reconciler()
    first = lose(reconciler)
    take(reconciler, 2.0, row("ck1", 5000.0))
    second = lose(reconciler, sent_at=3.0, at=4.0, key="key-2")
    take(reconciler, 30.0, row("ck1", 5000.0))
    reconciler.give_up(first)
    assert verdict(reconciler, second, 30.2) == "NotCreated"


def test_a_submit_that_was_given_up_may_still_own_a_task() -> None:
    """Its order looks the same in the list, and is another: neither may take the other's."""
    reconciler = Reconciler()
    given_up = lose(reconciler, key="key-0", order=ORDERS[3])
    reconciler.give_up(given_up)
    submit = lose(reconciler, sent_at=2.0, at=3.0, order=ORDERS[2])
    take(reconciler, 30.0, row("ck1", 2.5, model="i2v", input=SHOWN))
    assert verdict(reconciler, submit, 30.2) == "Undecided"
    reconciler.close(given_up)
    assert verdict(reconciler, submit, 30.2) == "Adopted"


def test_a_submit_that_is_taken_up_again_does_not_take_what_came_meanwhile() -> None:
    reconciler = Reconciler()
    buy(reconciler, "ck0", sent_at=-20.0, answered_at=-19.0)
    submit = lose(reconciler)
    reconciler.give_up(submit)
    reconciler.resume(submit)
    take(reconciler, 5000.0, row("ck0", -19.5), row("ck1", 3000.0))
    assert verdict(reconciler, submit, 5000.2) == "Undecided"


@pytest.mark.parametrize("model", ["T2V", "t2v ", "t-2-v"])
def test_a_model_in_another_spelling_is_the_same(model: str) -> None:
    reconciler = Reconciler()
    submit = lose(reconciler)
    assert reconciler.row_filter(clock(100.0)).matches({"id": "ck1", "model": model})
    take(reconciler, 1.0, row("ck1", 0.5, model=model))
    assert verdict(reconciler, submit, 1.2) == "Adopted"


def test_a_key_that_may_be_the_submit_s_in_another_form_is_in_doubt() -> None:
    """Nothing is in doubt about one that is surely another's."""
    reconciler = Reconciler()
    submit = lose(reconciler, key="avm-0123-4567")
    take(reconciler, 30.0, row(idempotency_key="AVM-0123-4567"), row("ck2", idempotency_key="somebody-elses"))
    assert verdict(reconciler, submit, 30.2) == "Undecided"
    assert [task.id for task in reconciler.candidates(submit, clock(30.2))] == ["ck1"]


def test_a_service_that_shows_keys_would_show_the_submit_s() -> None:
    """Of this model: a task without one is in doubt."""
    reconciler = Reconciler()
    buy(reconciler, "ck0", sent_at=-10.0, answered_at=-9.0)
    submit = lose(reconciler)
    take(reconciler, 30.0, row("ck1", 0.5), row("ck0", -9.5, idempotency_key="key-2"))
    assert verdict(reconciler, submit, 30.2) == "Undecided"


def test_the_clocks_are_compared_by_assigned_tasks() -> None:
    """Stamps are an hour behind the service's header: by that alone, the age of each task would be unsure."""
    reconciler = Reconciler()
    buy(reconciler, "ck0", sent_at=-200.0, answered_at=-199.0)
    submit = lose(reconciler)
    listed = [row("ck2", -3600.0 - 150.0), row("ck0", -3600.0 - 199.0)]
    take(reconciler, 1.0, *listed)
    assert verdict(reconciler, submit, 1.2) == "LookAgain"
    take(reconciler, 30.0, *listed)
    assert verdict(reconciler, submit, 30.2) == "NotCreated"


# --- settled by others -------------------------------------------------------------------------------


def test_what_was_settled_meanwhile_stays_settled() -> None:
    """Two clients may search for it."""
    reconciler = Reconciler()
    submit = lose(reconciler)
    take(reconciler, 30.0, row())
    assert reconciler.decide(submit, clock(30.2)) == reconciler.decide(submit, clock(31.0)) == Adopted(row())
    other = buy(reconciler, "ck2", sent_at=40.0, answered_at=41.0, order=ORDERS[2])
    decision = reconciler.decide(other, clock(42.0))
    assert isinstance(decision, Adopted)
    assert decision.details.id == "ck2"


def test_a_person_can_settle_a_submit() -> None:
    reconciler = Reconciler()
    one, other = lose(reconciler), lose(reconciler, key="key-2")
    assert reconciler.settle(one, "ck1", moment(5.0))
    assert reconciler.settle(other, None, moment(5.0))
    assert reconciler.bought_with("key-1") == ("ck1", ORDER)
    assert reconciler.bought_with("key-2") is None
    assert reconciler.open_with("key-2") is None


def test_a_submit_is_not_settled_by_the_task_of_another() -> None:
    reconciler = Reconciler()
    submit = lose(reconciler)
    buy(reconciler, "ck2", sent_at=1.0, answered_at=2.0)
    assert not reconciler.settle(submit, "ck2", moment(3.0))
    assert reconciler.open_with("key-1") is submit
    assert reconciler.settle(submit, "ck1", moment(3.0))
    assert reconciler.settle(submit, "ck1", moment(4.0)), "again"
    assert reconciler.bought_with("key-1") == ("ck1", ORDER)


# --- other processes ---------------------------------------------------------------------------------


def test_a_submit_of_another_process_is_searched_for_within_its_time() -> None:
    """The snapshot has the tasks that were assigned to others until then; what came much later may be anybody's."""
    there = Reconciler()
    given_up = lose(there)
    buy(there, "ck2", sent_at=1.0, answered_at=2.0)
    buy(there, "of another model", sent_at=1.0, answered_at=2.0, key="key-3", order=ORDERS[2])
    there.give_up(given_up)
    snapshot = there.snapshot(given_up, clock(50.0))
    assert snapshot["assigned"] == ["ck2"]

    def again(*rows: TaskDetails) -> tuple[str, list[str]]:
        here = Reconciler()
        submit = restore_submit(
            snapshot, key="key-1", model="t2v", began_at=EPOCH, clock=clock(90_000.0), grace_s=DEFAULT_GRACE_S
        )
        here.resume(submit)
        take(here, 90_000.5, *rows)
        decision = here.decide(submit, clock(90_001.0))
        return type(decision).__name__, [task.id for task in here.candidates(submit, clock(90_001.0))]

    assert again(row("ck2", 1.5)) == ("NotCreated", [])
    assert again(row("ck1", 0.5), row("ck2", 1.5)) == ("Adopted", [])
    assert again(row("tomorrow", 86_400.0), row("ck2", 1.5)) == ("Undecided", ["tomorrow"])


def test_a_snapshot_has_the_newest_tasks_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limited number, since it is part of a pickled error."""
    monkeypatch.setattr(rules, "MAX_SNAPSHOT_TASKS", 2)
    reconciler = Reconciler()
    for number in range(4):
        buy(reconciler, f"ck{number}", sent_at=number, answered_at=number + 0.5, key=f"other-{number}")
    buy(reconciler, "other", sent_at=4.0, answered_at=5.0, key="other-4", order=ORDERS[2])
    submit = lose(reconciler, sent_at=6.0, at=7.0)
    assert reconciler.snapshot(submit, clock(8.0))["assigned"] == ["ck2", "ck3"]
    late = lose(reconciler, sent_at=3.0 + RETENTION_S, at=8.0 + RETENTION_S, key="key-late")
    assert reconciler.snapshot(late, clock(9.0 + RETENTION_S))["assigned"] == ["ck3"]


def test_in_a_fork_nothing_of_the_parent_is_in_flight() -> None:
    """What looks like its orders is in doubt, since the parent may get the task."""
    reconciler = Reconciler()
    idle = Submit("a", ORDER)
    reconciler.open(idle)
    in_flight, parents = sent(reconciler, 0.0, "b"), lose(reconciler, key="c")
    reconciler.give_up_all(moment(5.0))
    assert [reconciler.open_with(key) for key in "abc"] == [None, in_flight, parents]
    assert (idle.state, in_flight.state) == (SubmitState.DONE, SubmitState.GIVEN_UP)
    submit = lose(reconciler, sent_at=6.0, at=7.0)
    take(reconciler, 30.0, row("ck1", 6.5))
    assert verdict(reconciler, submit, 30.2) == "Undecided"


# --- memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settles", [True, False])
def test_of_submits_that_were_given_up_the_oldest_is_forgotten(settles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_UNSETTLED", 3)
    reconciler = Reconciler()
    for number in range(5):
        submit = lose(reconciler, sent_at=10.0 * number, at=10.0 * number + 1.0, key=f"key-{number}")
        reconciler.give_up(submit)
        if settles and number == 2:
            reconciler.settle(submit, None, moment(25.0))
    kept = [number for number in range(5) if reconciler.open_with(f"key-{number}") is not None]
    assert kept == ([1, 3, 4] if settles else [2, 3, 4])


def test_a_limited_number_of_callers_keys_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_REMEMBERED_KEYS", 2)
    reconciler = Reconciler()
    for number in range(4):
        submit = Submit(f"key-{number}", ORDER, has_callers_key=True)
        reconciler.open(submit)
        reconciler.sent(submit, moment(number))
        reconciler.answered(submit, f"ck{number}", moment(number))
    buy(reconciler, "ck9", sent_at=5.0, answered_at=6.0, key="a fresh one")
    known = [reconciler.bought_with(f"key-{number}") for number in range(4)]
    assert known == [None, None, ("ck2", ORDER), ("ck3", ORDER)]
    assert reconciler.bought_with("a fresh one") is None


def is_assigned(reconciler: Reconciler, task_id: str) -> bool:
    return reconciler.row_filter(clock(100.0)).matches({"id": task_id, "model": "none"})


def test_of_too_many_assignments_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a submit that is never settled would need them."""
    monkeypatch.setattr(rules, "MAX_ASSIGNMENTS", 10)
    reconciler = Reconciler()
    reconciler.give_up(lose(reconciler, sent_at=-1.0, at=-0.5))
    for number in range(30):
        buy(reconciler, f"ck{number}", sent_at=number / 10, answered_at=number / 10, key=f"other-{number}")
    assert [number for number in range(30) if is_assigned(reconciler, f"ck{number}")] == list(range(20, 30))


@given(
    spans=st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 3000)), max_size=6),
    moments=st.lists(st.integers(0, 40_000), min_size=1, max_size=40, unique=True),
)
def test_no_assignment_is_forgotten_that_an_open_submit_needs(spans: list[tuple[int, int]], moments: list[int]) -> None:
    reconciler = Reconciler()
    for number, (begin, _) in enumerate(spans):
        lose(reconciler, sent_at=float(begin), at=float(begin + 1), key=f"open-{number}")
    last = float(max(moments))
    for at in sorted(moments):
        buy(reconciler, f"ck{at}", sent_at=float(at), answered_at=float(at), key=f"other-{at}")
    since = min([last, *(float(begin) for begin, _ in spans)]) - RETENTION_S
    assert all(is_assigned(reconciler, f"ck{at}") == (at >= since) for at in moments)


def test_rows_that_are_of_no_use_are_not_decoded() -> None:
    reconciler = Reconciler()
    submit = lose(reconciler)
    buy(reconciler, "ck9", sent_at=0.0, answered_at=0.5, key="key-9", order=ORDERS[2])
    matches = reconciler.row_filter(clock(100.0)).matches
    assert matches({"id": "ck1", "model": "t2v"}), "a model that was lost"
    assert matches({"id": "ck9", "model": "x"}), "an assigned task"
    assert matches({"id": "ck1"}), "an unknown model"
    assert matches({"model": "x", "idempotencyKey": submit.key})
    assert not matches({"id": "ck1", "model": "i2v"})
    assert not matches({"id": 7, "model": "x", "idempotencyKey": None})
