"""What the tools do for an agent: no order is bought twice, nothing is raised, each answer says what to do next."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import AIVideoMaker, ConfigurationError
from aivideomaker_async.agents import VideoTools
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from benchmarks.giving_up import PROGRAM
from tests.agents.conftest import FOX, ToolSets, awaited, blocking


def test_from_the_price_to_the_file(
    tools: VideoTools, service: ThreadedSimulator, revision: str, price: int, tmp_path: Path
) -> None:
    """Each report is JSON, also as text."""
    call = blocking(tools)
    quoted = call["quote_video"](**{name: value for name, value in FOX.items() if name != "order"})
    ordered = call["submit_video"](**FOX)
    task_id = ordered["task_id"]
    ended = call["wait_for_video"](task_id)
    saved = call["download_video"](task_id, name="fox")
    account = call["account_balance"]()
    assert (quoted["status"], quoted["credits"], quoted["budget_left"]) == ("PRICE", price, 100)
    assert (ordered["credits"], ordered["bought_before"]) == (price, False)
    assert (ended["status"], ended["url"]) == ("COMPLETED", f"{service.url}/videos/{task_id}.mp4")
    assert (saved["path"], saved["bytes"]) == (str(tmp_path / "videos" / "fox.mp4"), 15_228)
    assert Path(saved["path"]).read_bytes()[4:8] == b"ftyp"
    assert account["budget_left"] == 100 - price
    assert account.get("balance") == (None if revision == "2026-03" else 1000 - price)
    (listed,) = call["list_videos"]()["videos"]
    assert (listed["task_id"], listed["order"], listed["status"]) == (task_id, "fox-1", "COMPLETED")
    for report in (quoted, ordered, ended, saved, account):
        assert json.loads(str(report)) == report
        assert report["next"].endswith(".")


def test_one_order_buys_once_however_it_is_given(
    tools: VideoTools, tool_sets: ToolSets, service: ThreadedSimulator
) -> None:
    """At once, cut off, in several event loops, and by another tool set."""
    call = awaited(tools)

    async def at_once() -> list[dict[str, Any]]:
        return await asyncio.gather(*(call["submit_video"](**FOX) for _ in range(3)))

    async def cut_off() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call["submit_video"](**FOX), 0.001)

    asyncio.run(cut_off())
    reports = [*asyncio.run(at_once()), *asyncio.run(at_once()), blocking(tool_sets())["submit_video"](**FOX)]
    assert {report["task_id"] for report in reports} == set(service.tasks)
    assert len(service.tasks) == 1
    assert reports[-1]["bought_before"]


def test_equal_orders_with_other_names_are_other_videos(tools: VideoTools, service: ThreadedSimulator) -> None:
    submit = blocking(tools)["submit_video"]
    tasks = [submit(**FOX | {"order": f"fox-{number}"})["task_id"] for number in range(3)]
    assert sorted(tasks) == sorted(service.tasks)


def test_an_order_is_that_of_one_video(tools: VideoTools, tool_sets: ToolSets, service: ThreadedSimulator) -> None:
    """Also while it is being bought, and in another process."""
    call, other = awaited(tools), FOX | {"prompt": "An owl"}
    # Once the client is there, calls begin in their order.
    blocking(tools)["account_balance"]()

    async def at_once() -> list[dict[str, Any]]:
        return list(await asyncio.gather(call["submit_video"](**FOX), call["submit_video"](**other)))

    reports = [*asyncio.run(at_once()), blocking(tools)["submit_video"](**other)]
    reports.append(blocking(tool_sets())["submit_video"](**other))
    assert [report.get("error") for report in reports] == [None] + ["IdempotencyConflict"] * 3
    assert reports[1]["next"] == "This order was used for another video. Choose a new order."
    assert len(service.tasks) == 1


def test_another_account_has_bought_nothing(tools: VideoTools, tool_sets: ToolSets, service: ThreadedSimulator) -> None:
    """The order of a simulator is none of the service."""
    blocking(tools)["submit_video"](**FOX)
    with ThreadedSimulator(render=False, durations=(0, 0)) as elsewhere:
        others = tool_sets(client=lambda: AIVideoMaker(elsewhere.api_key, base_url=elsewhere.url))
        assert not blocking(others)["submit_video"](**FOX)["bought_before"]
        assert (len(service.tasks), len(elsewhere.tasks)) == (1, 1)


@pytest.mark.parametrize(
    ("tool", "given", "error", "words"),
    [
        ("submit_video", {"duration": 7}, "InvalidSpec", "duration=7: must be 5 or 8 (seconds)"),
        ("submit_video", {"order": "a"}, "InvalidSpec", "order='a': must be a name of 4 to 100 characters"),
        ("submit_video", {"order": None}, "InvalidSpec", "order=None: must be a name"),
        ("submit_video", {"model": "sora"}, "InvalidSpec", "model='sora': must be one of t2v, i2v"),
        ("submit_video", {"model": "t2v_v3", "duration": 20}, "BudgetExceeded", "allowed are 50 for one video"),
        ("wait_for_video", {"task_id": ""}, "InvalidSpec", "task_id='': must be the id of a task"),
        ("wait_for_video", {"task_id": "none"}, "TaskNotFound", "404"),
        ("cancel_video", {"task_id": "none"}, "TaskNotFound", "404"),
        ("download_video", {"task_id": "none"}, "TaskNotFound", "404"),
        ("download_video", {"task_id": "none", "name": "../a.mp4"}, "InvalidSpec", "a file name without a folder"),
        ("download_video", {"task_id": "none", "name": ".."}, "InvalidSpec", "a file name without a folder"),
    ],
)
def test_what_is_wrong_is_told_and_costs_nothing(
    tools: VideoTools, service: ThreadedSimulator, tool: str, given: dict[str, Any], error: str, words: str
) -> None:
    report = blocking(tools)[tool](**(FOX | given if tool == "submit_video" else given))
    assert (report["status"], report["error"]) == ("ERROR", error)
    assert words in report["message"]
    assert report["next"]
    assert not service.tasks


def test_a_task_that_failed_gives_its_credits_back_to_the_budget(tool_sets: ToolSets, price: int) -> None:
    """As soon as a tool has seen it."""
    call, bad = blocking(tool_sets(budget=price)), FOX | {"prompt": "A fox [fail: too foxy]"}
    ordered = call["submit_video"](**bad)
    assert call["submit_video"](**FOX | {"order": "fox-2"})["error"] == "BudgetExceeded"
    failed = call["wait_for_video"](ordered["task_id"])
    assert (failed["status"], failed["error"]) == ("FAILED", "TaskFailed")
    assert "too foxy" in failed["message"]
    assert call["account_balance"]()["budget_left"] == price
    again = call["submit_video"](**bad)
    assert (again["status"], again["task_id"]) == ("FAILED", ordered["task_id"])
    assert "use a new order" in again["next"]


def test_the_budget_holds_over_restarts(tool_sets: ToolSets, service: ThreadedSimulator, price: int) -> None:
    """By what was written down."""
    reports = [
        blocking(tool_sets(budget=3 * price))["submit_video"](**FOX | {"order": f"fox-{number}"}) for number in range(5)
    ]
    assert [report["status"] for report in reports[3:]] == ["ERROR", "ERROR"]
    assert f"0 are left of the budget of {3 * price}" in reports[3]["message"]
    assert len(service.tasks) == 3


def test_no_file_is_replaced(tools: VideoTools, tmp_path: Path) -> None:
    """Whatever name a model chooses. A second download under the usual name is the first one."""
    call = blocking(tools)
    task_id = call["submit_video"](**FOX)["task_id"]
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mine.mp4").write_text("mine")
    refused = call["download_video"](task_id, name="mine")
    assert (refused["status"], "exists already" in refused["message"]) == ("ERROR", True)
    assert (tmp_path / "videos" / "mine.mp4").read_text() == "mine"
    saved = [call["download_video"](task_id)["path"] for _ in range(2)]
    assert saved == [str(tmp_path / "videos" / f"{task_id}.mp4")] * 2
    assert call["download_video"](task_id, name="run.sh")["path"].endswith("run.sh.mp4")


def test_a_refused_order_can_be_given_again(tools: VideoTools, service: ThreadedSimulator) -> None:
    submit = blocking(tools)["submit_video"]
    service.fault("status", on="submit", status=402, body={"status": "FAILED", "message": "Insufficient credits"})
    assert submit(**FOX)["error"] == "InsufficientCredits"
    assert submit(**FOX)["bought_before"] is False
    assert len(service.tasks) == 1


def test_where_orders_cannot_be_written_down_nothing_is_bought(
    tool_sets: ToolSets, service: ThreadedSimulator, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    report = blocking(tool_sets(state=tmp_path / "file"))["submit_video"](**FOX)
    assert report["error"] == "ConfigurationError"
    assert "orders cannot be written down" in report["message"]
    assert not service.tasks


@pytest.mark.parametrize("revision", ["2026-09"])
def test_a_wait_ends_in_time_and_goes_on(tool_sets: ToolSets, tmp_path: Path) -> None:
    with ThreadedSimulator(render=False, limit=None, durations=(0, 1.5)) as slow:
        call = blocking(tool_sets(client=lambda: AIVideoMaker(slow.api_key, base_url=slow.url)))
        task_id = call["submit_video"](**FOX)["task_id"]
        began = time.monotonic()
        first = call["wait_for_video"](task_id, seconds="1")
        assert time.monotonic() - began < 1.4
        assert (first["status"] in {"SUBMITTED", "PROGRESS"}, first["task_id"]) == (True, task_id)
        assert "Do not submit it again" in first["next"]
        assert call["wait_for_video"](task_id, seconds=10_000)["status"] == "COMPLETED"


def test_each_model_has_a_tool_of_its_own_on_request(tool_sets: ToolSets, service: ThreadedSimulator) -> None:
    tools = tool_sets(layout="per-model", models=["t2v", "wan27"])
    call = blocking(tools)
    assert {"quote_t2v", "submit_t2v", "quote_wan27", "submit_wan27"} < call.keys()
    assert "submit_video" not in call
    report = call["submit_t2v"](order="fox-1", prompt="A fox", aspect_ratio="16:9", duration=5)
    assert report["task_id"] in service.tasks


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_credits": -1}, "max_credits=-1"),
        ({"budget": None}, "budget=None"),
        ({"name": "../x"}, r"name='../x': must be 1 to 64"),
        ({"models": "t2v"}, "models='t2v': must be a list"),
        ({"models": ["sora"]}, "must be a list of models out of t2v"),
        ({"layout": "two"}, "layout='two': must be"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        VideoTools(**{"max_credits": 1, "budget": 1, **options})


def test_without_a_key_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIVIDEO_API_KEY", raising=False)
    with VideoTools(max_credits=1, budget=1, state=tmp_path) as tools:
        report = blocking(tools)["submit_video"](**FOX)
    assert (report["status"], report["error"]) == ("ERROR", "ConfigurationError")
    assert "AIVIDEO_API_KEY" in report["message"]
    assert blocking(tools)["account_balance"]()["error"] == "ConfigurationError"


def test_a_process_that_is_killed_again_and_again_buys_once(service: ThreadedSimulator, tmp_path: Path) -> None:
    """At any moment, also while its order is on its way."""
    service.fault("slow", on="submit", seconds=0.3, times=None)
    command = [sys.executable, "-c", PROGRAM, service.url, service.api_key, str(tmp_path), json.dumps(FOX)]
    for milliseconds in (0, 20, 60, 120, 200, 300):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begins\n"
            time.sleep(milliseconds / 1000)
            process.kill()
    service.clear_faults()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    assert [report["task_id"]] == list(service.tasks)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_fork_shares_orders_and_nothing_else(tools: VideoTools, service: ThreadedSimulator) -> None:
    submit = blocking(tools)["submit_video"]
    task_id = submit(**FOX)["task_id"]
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, str(submit(**FOX)).encode())
        os._exit(0)
    os.wait()
    report = json.loads(os.read(read, 10_000))
    assert (report["task_id"], report["bought_before"]) == (task_id, True)
    assert len(service.tasks) == 1
