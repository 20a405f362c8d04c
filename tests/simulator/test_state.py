"""The account: how tasks change over time, what is charged and refunded, and what the history looks like."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.contract import Refusal, VideoOrder, revision_named
from aivideomaker_async.simulator.history import HISTORY_DAYS, History, old_tasks
from aivideomaker_async.simulator.state import (
    CANCEL,
    COMPLETED,
    FAILED,
    PROGRESS,
    SUBMITTED,
    TERMINAL,
    AccountState,
    CancelTooLate,
    Task,
    Timeline,
)
from aivideomaker_async.simulator.timing import Durations

DAY = 86400.0


def order(prompt: str = "a sunset", credits: int = 5) -> VideoOrder:  # noqa: A002
    return VideoOrder(model="t2v", input={"prompt": prompt}, seconds=5, credits=credits, prompts=(prompt,))


def state(credits: int = 100, **options: Any) -> AccountState:  # noqa: A002
    return AccountState(credits, random.Random(1), **{"durations": (10, 50), **options})


# --- timelines ---------------------------------------------------------------------------------------

PLANNED = Timeline.planned(100, 10, 50, COMPLETED)


@pytest.mark.parametrize(
    ("now", "status", "since", "following"),
    [
        (0, SUBMITTED, 100, 110),
        (100, SUBMITTED, 100, 110),
        (109, SUBMITTED, 100, 110),
        (110, PROGRESS, 110, 160),
        (160, COMPLETED, 160, None),
        (9999, COMPLETED, 160, None),
    ],
)
def test_the_status_is_the_last_step_that_has_begun(
    now: float, status: str, since: float, following: float | None
) -> None:
    assert (PLANNED.status(now), PLANNED.since(now), PLANNED.next_step(now)) == (status, since, following)


def test_a_new_status_replaces_the_planned_steps() -> None:
    assert PLANNED.then(105, [CANCEL]).steps == ((100, SUBMITTED), (105, CANCEL))


@pytest.mark.parametrize(
    ("status", "steps"),
    [
        (SUBMITTED, ((101, SUBMITTED), (105, PROGRESS), (105, FAILED))),
        (PROGRESS, ((101, PROGRESS), (105, FAILED))),
        ("QUEUED", ((101, "QUEUED"), (105, FAILED))),
    ],
)
def test_a_submitted_task_ends_by_way_of_progress_and_others_directly(
    status: str, steps: tuple[tuple[float, str], ...]
) -> None:
    assert PLANNED.then(101, [status]).ended(105, FAILED).steps[1:] == steps


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_ended_task_cannot_end_again(status: str) -> None:
    with pytest.raises(ValueError, match=f"is {status}: it cannot become FAILED"):
        PLANNED.then(101, [status]).ended(102, FAILED)


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from([CANCEL, "X", PROGRESS]))))
def test_past_steps_never_change(changes: list[tuple[int, str]]) -> None:
    timeline = Timeline.planned(0, 10, 50, COMPLETED)
    for now, status in sorted(changes, key=lambda change: change[0]):
        before = timeline.passed(now)
        timeline = timeline.then(now, [status])
        assert timeline.passed(now)[: len(before)] == before
        assert timeline.status(now) == status


# --- submits -----------------------------------------------------------------------------------------


def test_a_task_is_charged_when_it_is_submitted() -> None:
    account = state()
    account.submit(order(credits=30), 0)
    assert (account.balance(0), account.charged) == (70, 30)
    assert account.balance(9999) == 70


@pytest.mark.parametrize(
    ("options", "prompt", "budget", "status", "code", "message"),
    [
        ({"credits": 4}, "x", None, 402, "INSUFFICIENT_CREDITS", "Insufficient credits"),
        ({}, "x", 4, 422, "BUDGET_EXCEEDED", "5 credits exceeds the budget of 4"),
        ({"daily_limit": 4}, "x", None, 402, "INSUFFICIENT_CREDITS", "daily limit of 4 credits"),
        ({}, "a [reject: too wild] b", None, 422, "CONTENT_REJECTED", "too wild"),
        ({}, "[reject:]", None, 422, "CONTENT_REJECTED", "The content was rejected by moderation"),
        ({"credits": 4, "daily_limit": 4}, "[reject]", 4, 422, "BUDGET_EXCEEDED", "exceeds the budget"),
    ],
)
def test_a_refused_order_creates_and_charges_nothing(
    options: dict[str, Any], prompt: str, budget: int | None, status: int, code: str, message: str
) -> None:
    account = state(**options)
    before = account.balance(0)
    with pytest.raises(Refusal, match=message) as refused:
        account.submit(order(prompt), 0, None, "key-0001", budget)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert (account.tasks, account.balance(0), account.charged) == ({}, before, 0)
    assert account.replayed(order("another"), "key-0001") is None


def test_the_last_credit_and_the_whole_budget_can_be_spent() -> None:
    account = state(credits=5, daily_limit=5)
    account.submit(order(), 0, budget=5)
    assert account.balance(0) == 0


def test_a_day_limits_the_credits_that_were_spent_and_not_refunded() -> None:
    account = state(daily_limit=10)
    account.add_history(old_tasks(50, revision_named("2026-03"), None, account))
    account.submit(order("[fail]"), 0)
    account.balance(60)
    for at in (3600, 3601):
        account.submit(order(), at)
    with pytest.raises(Refusal, match="daily limit"):
        account.submit(order(), 3600 + DAY - 1)
    account.submit(order(), 3600 + DAY)


# --- idempotency keys --------------------------------------------------------------------------------


def test_a_key_finds_its_task_again_for_the_same_order_only() -> None:
    account = state()
    first = evolve(order(), input={"prompt": 1})
    assert account.replayed(first, "key-0001") is None
    task = account.submit(first, 0, None, "key-0001")
    assert account.submit(first, 0, None, "key-0001") is not task
    assert account.submit(first, 0).idempotency_key is None
    assert account.replayed(first, "key-0001") is task
    assert account.replayed(first, "key-0002") is None
    for changed in ({"model": "lv"}, {"input": {"prompt": True}}, {"input": {"prompt": 1.0}}):
        with pytest.raises(Refusal, match="another request") as refused:
            account.replayed(evolve(first, **changed), "key-0001")
        assert (refused.value.status, refused.value.code) == (409, "IDEMPOTENCY_CONFLICT")


@pytest.mark.parametrize(("length", "is_valid"), [(7, False), (8, True), (128, True), (129, False), (0, False)])
def test_a_key_has_8_to_128_characters(length: int, is_valid: bool) -> None:
    account = state()
    if is_valid:
        assert account.replayed(order(), "k" * length) is None
    else:
        with pytest.raises(Refusal, match="8 to 128 characters") as refused:
            account.replayed(order(), "k" * length)
        assert refused.value.status == 400


# --- ends and refunds --------------------------------------------------------------------------------


def test_a_failed_task_is_refunded_at_the_moment_it_fails() -> None:
    account = state()
    task = account.submit(order("[fail]"), 0)
    assert (task.status(59), account.balance(59), task.credits_refunded(59)) == (PROGRESS, 95, 0)
    assert (task.status(60), account.balance(60), task.credits_refunded(60)) == (FAILED, 100, 5)
    assert (task.refunded, account.refunded) == (5, 5)


@pytest.mark.parametrize(
    ("prompt", "failure"),
    [("a [fail: no GPU left] b", "no GPU left"), ("[fail]", "Generation failed"), ("[fail:]", "Generation failed")],
)
def test_a_prompt_can_have_the_reason_of_its_failure(prompt: str, failure: str) -> None:
    assert state().submit(order(prompt), 0).failure.startswith(failure)


def test_a_cancelled_task_is_refunded_once() -> None:
    account = state()
    task = account.submit(order("[fail]"), 0)
    account.cancel(task.id, 9)
    assert (task.status(9), account.balance(9), task.completed(9)) == (CANCEL, 100, None)
    assert (task.status(9999), account.balance(9999)) == (CANCEL, 100)


@pytest.mark.parametrize(("now", "status"), [(10, PROGRESS), (60, COMPLETED)])
def test_only_a_submitted_task_can_be_cancelled(now: float, status: str) -> None:
    account = state()
    task = account.submit(order(), 0)
    with pytest.raises(CancelTooLate, match=status) as late:
        account.cancel(task.id, now, 409)
    assert (late.value.status, late.value.task_status) == (409, status)
    assert (task.status(now), account.balance(now)) == (status, 95)


def test_a_task_can_be_finished_and_failed_early() -> None:
    account = state()
    good, bad, saved = (account.submit(order(prompt), 0) for prompt in ("x", "x", "[fail]"))
    account.finish(good.id, 1)
    account.fail(bad.id, "out of memory", 2)
    account.finish(saved.id, 20)
    assert (good.completed(1), bad.completed(2)) == (1, 2)
    assert (bad.failure, account.balance(9999)) == ("out of memory", 90)


def test_an_ended_task_cannot_fail_and_keeps_its_failure() -> None:
    account = state()
    task = account.submit(order("[fail: first]"), 0)
    with pytest.raises(ValueError, match="is FAILED"):
        account.fail(task.id, "second", 60)
    assert task.failure == "first"


def test_a_refund_stays_after_a_change_of_status_by_hand() -> None:
    """Also when nobody has asked for the balance in between."""
    account = state()
    task = account.submit(order(), 0)
    account.set_status(task.id, FAILED, 1)
    account.set_status(task.id, PROGRESS, 2)
    assert (account.balance(3), task.refunded, task.credits_refunded(3)) == (100, 5, 5)
    assert (task.completed(1), task.completed(3)) == (1, None)


def test_tasks_are_found_by_id_as_of_a_moment() -> None:
    account = state()
    task = account.submit(order(), 5)
    assert account.task(task.id, created_by=5) is task
    assert (account.model_of(task.id), account.model_of("x")) == ("t2v", None)
    with pytest.raises(Refusal, match="Task not found") as refused:
        account.task(task.id, created_by=4.9)
    assert refused.value.status == 404
    with pytest.raises(Refusal, match="Task not found"):
        account.cancel("ck", 0)


def test_the_seed_decides_ids_and_durations() -> None:
    one, two = (AccountState(100, random.Random(3)).submit(order(), 0) for _ in range(2))
    assert (one.id, one.timeline) == (two.id, two.timeline)
    assert len(one.id) == 25
    assert one.id.startswith("ck")


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "fail", "cancel", "finish", "FAILED", "QUEUED", "wait"]),
        st.integers(0, 30),
    ),
    max_size=40,
)


@given(ACTIONS)
def test_credits_are_neither_lost_nor_made(actions: list[tuple[str, int]]) -> None:
    account, now = state(credits=40), 0.0
    for action, gap in actions:
        now += gap
        known = [*account.tasks, "none"]
        chosen = known[gap % len(known)]
        try:
            if action == "submit":
                account.submit(order("[fail]" if gap % 2 else "x", credits=gap), now)
            elif action in {"fail", "cancel", "finish"}:
                arguments: list[Any] = [None, now] if action == "fail" else [now]
                getattr(account, action)(chosen, *arguments)
            elif action != "wait":
                account.set_status(chosen, action, now)
        except (Refusal, ValueError):
            pass
    balance = account.balance(now)
    assert balance == 40 - account.charged + account.refunded
    assert balance >= 0
    for task in account.tasks.values():
        assert task.refunded in {0, task.order.credits}
        if task.status(now) in {FAILED, CANCEL}:
            assert task.refunded == task.order.credits


# --- history -----------------------------------------------------------------------------------------


def history(number: History, durations: Durations | None = None) -> list[Task]:
    return list(old_tasks(number, revision_named("2026-03"), durations, AccountState(0, random.Random(1))))


def test_old_tasks_have_ended_before_the_start_and_are_spread_over_the_days() -> None:
    found = history(600)
    assert [task.created for task in found] == sorted(task.created for task in found)
    ends = sorted(task.timeline.since(0) for task in found)
    assert -HISTORY_DAYS * DAY <= ends[0] < -(HISTORY_DAYS - 1) * DAY
    assert -DAY < ends[-1] < 0
    assert Counter(task.status(0) for task in found).keys() == {COMPLETED, FAILED}
    assert all(task.refunded == (task.order.credits if task.status(0) == FAILED else 0) for task in found)
    assert all(task.timeline.valid_until(0) == float("inf") for task in found)
    assert len({task.id for task in found}) == 600


def test_old_tasks_are_of_all_models_or_of_those_that_are_named() -> None:
    assert {task.order.model for task in history(200)} == {"t2v", "i2v", "lv", "t2v_v3", "i2v_v3"}
    assert Counter(task.order.model for task in history({"t2v": 3, "lv": 2})) == {"t2v": 3, "lv": 2}
    assert history(0) == history({}) == []
    (task,) = history({"t2v": 1}, (10, 50))
    assert [round(at - task.created, 6) for at, _ in task.timeline.steps] == [0, 10, 60]


@pytest.mark.parametrize("name", ["2026-03", "2026-09"])
def test_inputs_of_old_tasks_are_valid_for_every_model(name: str) -> None:
    models = revision_named(name).models
    account = AccountState(0, random.Random(2))
    found = list(old_tasks(dict.fromkeys(models, 5), revision_named(name), None, account))
    assert {task.order.model for task in found} == set(models)
    assert not any(models[task.order.model].problems(task.order.input) for task in found)
