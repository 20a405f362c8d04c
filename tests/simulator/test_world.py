import random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.contract import Order, Refusal
from aivideomaker_async.simulator.world import TooLate, World


def order(prompt: str = "a sunset", credits: int = 5) -> Order:  # noqa: A002
    return Order(model="t2v", input={"prompt": prompt}, seconds=5, credits=credits, prompts=(prompt,))


def world(credits: int = 100, **options: Any) -> World:  # noqa: A002
    return World(credits, random.Random(1), **{"durations": (10, 50), **options})


def test_a_task_is_paid_when_it_is_submitted() -> None:
    account = world()
    account.submit(order(credits=30), 0)
    assert (account.balance(0), account.charged) == (70, 30)
    assert account.balance(9999) == 70


def test_a_key_finds_its_task_again() -> None:
    account = world()
    assert account.original(order(), "key-0001") is None
    task = account.submit(order(), 0, None, "key-0001")
    assert account.submit(order(), 0, None, "key-0001") is not task
    assert account.submit(order(), 0).idempotency_key is None
    assert account.original(order(), "key-0001") is task
    assert account.original(order(), "key-0002") is None
    with pytest.raises(Refusal) as told:
        account.original(order("another"), "key-0001")
    assert (told.value.status, told.value.code) == (409, "IDEMPOTENCY_CONFLICT")


@pytest.mark.parametrize("changed", [{"model": "lv"}, {"input": {"prompt": True}}, {"input": {"prompt": 1.0}}])
def test_a_key_belongs_to_a_model_and_to_the_very_input(changed: dict[str, Any]) -> None:
    account = world()
    first = evolve(order(), input={"prompt": 1})
    account.submit(first, 0, None, "key-0001")
    with pytest.raises(Refusal, match="another request"):
        account.original(evolve(first, **changed), "key-0001")


def test_what_was_not_paid_keeps_no_key() -> None:
    account = world(3)
    with pytest.raises(Refusal, match="credits"):
        account.submit(order(), 0, None, "key-0001")
    assert account.original(order("another"), "key-0001") is None


@pytest.mark.parametrize(("length", "fits"), [(7, False), (8, True), (128, True), (129, False), (0, False)])
def test_a_key_has_8_to_128_characters(length: int, fits: bool) -> None:
    account = world()
    if fits:
        assert account.original(order(), "k" * length) is None
    else:
        with pytest.raises(Refusal, match="8 to 128 characters") as told:
            account.original(order(), "k" * length)
        assert told.value.status == 400


def test_a_task_can_be_looked_up_as_of_a_moment() -> None:
    account = world()
    task = account.submit(order(), 5)
    assert account.task(task.id) is task
    assert account.task(task.id, created_by=5) is task
    with pytest.raises(Refusal, match="not found"):
        account.task(task.id, created_by=4.9)


def test_the_model_of_a_task_is_known_by_its_id() -> None:
    account = world()
    assert account.model_of(account.submit(order(), 0).id) == "t2v"
    assert account.model_of("x") is None


def test_too_few_credits_create_nothing() -> None:
    account = world(credits=4)
    with pytest.raises(Refusal, match="Insufficient credits") as refused:
        account.submit(order(), 0)
    assert refused.value.status == 402
    assert (account.tasks, account.balance(0), account.charged) == ({}, 4, 0)


def test_the_last_credit_can_be_spent() -> None:
    account = world(credits=5)
    account.submit(order(), 0)
    assert account.balance(0) == 0


def test_a_failed_task_is_refunded_at_the_moment_it_fails() -> None:
    account = world()
    task = account.submit(order("[fail]"), 0)
    assert (task.status(59), account.balance(59)) == ("PROGRESS", 95)
    assert (task.status(60), account.balance(60)) == ("FAILED", 100)
    assert (task.refunded, account.refunded) == (5, 5)


def test_a_refund_can_pay_for_the_next_task() -> None:
    account = world(credits=5)
    account.submit(order("[fail]"), 0)
    account.submit(order(), 60)
    assert len(account.tasks) == 2


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [("a [fail: no GPU left] b", "no GPU left"), ("[fail]", "Generation failed"), ("[fail:]", "G")],
)
def test_a_prompt_can_tell_why_its_task_fails(prompt: str, problem: str) -> None:
    assert problem in world().submit(order(prompt), 0).problem


def test_a_cancelled_task_is_refunded_once() -> None:
    account = world()
    task = account.submit(order("[fail]"), 0)
    account.cancel(task.id, 9)
    assert (task.status(9), account.balance(9)) == ("CANCEL", 100)
    assert (task.status(9999), account.balance(9999)) == ("CANCEL", 100)


@pytest.mark.parametrize(("now", "status"), [(10, "PROGRESS"), (60, "COMPLETED")])
def test_only_a_submitted_task_can_be_cancelled(now: float, status: str) -> None:
    account = world()
    task = account.submit(order(), 0)
    with pytest.raises(TooLate, match=status) as late:
        account.cancel(task.id, now, 409)
    assert (late.value.status, late.value.task_status) == (409, status)
    assert (task.status(now), account.balance(now)) == (status, 95)


def test_a_task_can_be_finished_and_failed_before_its_time() -> None:
    account = world()
    good, bad = (account.submit(order(), 0) for _ in range(2))
    account.finish(good.id, 1)
    account.fail(bad.id, "out of memory", 2)
    assert (good.completed(1), bad.completed(2)) == (1, 2)
    assert (bad.problem, account.balance(2)) == ("out of memory", 95)


def test_a_task_that_has_ended_cannot_fail_and_keeps_its_output() -> None:
    account = world()
    task = account.submit(order("[fail: first]"), 0)
    with pytest.raises(ValueError, match="is FAILED"):
        account.fail(task.id, "second", 60)
    assert task.problem == "first"


def test_finishing_a_task_that_was_to_fail_takes_its_refund_away() -> None:
    account = world()
    task = account.submit(order("[fail]"), 0)
    account.finish(task.id, 20)
    assert account.balance(9999) == 95


def test_an_unknown_task_is_refused_with_404() -> None:
    for call in (world().task, lambda task_id: world().cancel(task_id, 0)):
        with pytest.raises(Refusal, match="Task not found") as refused:
            call("ck")
        assert refused.value.status == 404


def test_a_task_is_complete_only_in_its_two_ends() -> None:
    account = world()
    task = account.submit(order(), 0)
    account.cancel(task.id, 5)
    assert task.completed(5) is None


def test_the_seed_decides_ids_and_durations() -> None:
    one, two = (World(100, random.Random(3)).submit(order(), 0) for _ in range(2))
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
    account, now = world(credits=40), 0.0
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
        if task.status(now) in {"FAILED", "CANCEL"}:
            assert task.refunded == task.order.credits
