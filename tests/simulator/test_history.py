import json
import random
from collections import Counter

import pytest

from aivideomaker_async.simulator.contract import revision
from aivideomaker_async.simulator.history import DAYS, History, old_tasks
from aivideomaker_async.simulator.timing import Durations
from aivideomaker_async.simulator.world import Task, World
from tests.simulator.client import running

DAY = 86400.0


def tasks(history: History, durations: Durations | None = None) -> list[Task]:
    return list(old_tasks(history, revision("2026-03"), durations, World(0, random.Random(1))))


def test_old_tasks_have_ended_before_the_start_and_are_spread_over_the_days() -> None:
    found = tasks(600)
    assert [task.created for task in found] == sorted(task.created for task in found)
    ends = sorted(task.timeline.since(0) for task in found)
    assert -DAYS * DAY <= ends[0] < -(DAYS - 1) * DAY
    assert -DAY < ends[-1] < 0
    assert Counter(task.status(0) for task in found).keys() == {"COMPLETED", "FAILED"}
    assert all(task.timeline.good_until(0) == float("inf") for task in found)
    assert len({task.id for task in found}) == 600


def test_all_models_are_mixed_unless_it_is_told_how_many_of_each() -> None:
    assert {task.order.model for task in tasks(200)} == {"t2v", "i2v", "lv", "t2v_v3", "i2v_v3"}
    assert Counter(task.order.model for task in tasks({"t2v": 3, "lv": 2})) == {"t2v": 3, "lv": 2}
    assert tasks(0) == tasks({}) == []


def test_durations_are_those_of_the_simulator() -> None:
    task = tasks({"t2v": 1}, (10, 50))[0]
    assert [round(at - task.created, 6) for at, _ in task.timeline.steps] == [0, 10, 60]


@pytest.mark.parametrize("wrong", [-1, {"t2v": -1}, {"warp": 1}])
def test_a_senseless_history_is_named(wrong: History) -> None:
    with pytest.raises(ValueError, match=r"history must be .*(-1|warp)"):
        tasks(wrong)


@pytest.mark.anyio
async def test_an_account_with_a_past_lists_it_and_has_paid_for_it() -> None:
    async with running(history=300, credits=100, seed=4) as (simulator, call):
        mine = await call.submit()
        listed = (await call("GET", "/api/v1/tasks")).json["tasks"]
        assert [task["id"] for task in listed] == [*reversed(list(simulator.tasks))]
        assert listed[0]["id"] == mine
        assert all(task["completedAt"] < listed[0]["createdAt"] for task in listed[1:])
        counts = simulator.statistics()
        assert (counts.tasks, simulator.credits, counts.credits_charged, counts.credits_refunded) == (301, 95, 5, 0)
        assert 300 < len(json.dumps(listed[1])) < 900


@pytest.mark.anyio
async def test_files_of_old_tasks_have_expired_but_for_the_last_day() -> None:
    async with running(history={"t2v": 10 * DAYS}, seed=4) as (simulator, call):
        done = [task.id for task in simulator.tasks.values() if task.status == "COMPLETED"]
        oldest = await call("GET", f"/videos/{done[0]}.mp4")
        newest = await call("GET", f"/videos/{done[-1]}.mp4")
        assert (oldest.status, newest.status) == (410, 200)
