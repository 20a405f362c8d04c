"""The tools of an agent against the simulator: bounded calls, and nothing bought twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from aivideomaker_async import AIVideoMaker
from aivideomaker_async.simulator import Simulator
from examples import agent_tool
from examples.agent_tool import LONGEST_CALL, VideoTools

pytestmark = pytest.mark.anyio


@pytest.fixture
async def maker(service: Simulator) -> AsyncIterator[AIVideoMaker]:
    """A client of `service`."""
    async with AIVideoMaker(base_url=service.url) as client:
        yield client


def submits(service: Simulator) -> int:
    """Return how many submits arrived."""
    return sum(arrival.method == "POST" for arrival in service.requests)


async def test_a_call_ends_in_time_with_a_handle_and_later_calls_bring_the_video(
    service: Simulator, maker: AIVideoMaker
) -> None:
    """Two minutes of work take three calls of at most 50 s, and one submit."""
    now = asyncio.get_running_loop().time
    tools = VideoTools(maker)
    began = now()
    report = await tools.make_video("a boat")
    calls = 1
    while report["status"] in {"SUBMITTED", "PROGRESS"}:
        assert now() - began <= LONGEST_CALL + 0.1
        assert "do not submit it again" in report["message"]
        report = json.loads(json.dumps(report))
        began = now()
        report = await tools.continue_video(report["task_id"])
        calls += 1
    assert report["status"] == "COMPLETED"
    assert report["url"].startswith(service.url)
    assert calls == 3
    assert submits(service) == 1
    assert maker.statistics().watched == 0


async def test_another_process_continues_a_video(service: Simulator, maker: AIVideoMaker) -> None:
    """The id is all that is needed."""
    report = await VideoTools(maker).make_video("a boat")
    async with AIVideoMaker(base_url=service.url) as other:
        tools = VideoTools(other)
        while report["status"] != "COMPLETED":
            report = await tools.continue_video(report["task_id"])
    assert submits(service) == 1


async def test_the_same_call_again_takes_up_the_running_task(service: Simulator, maker: AIVideoMaker) -> None:
    """An agent that forgets its handle buys nothing twice. After the video is done, the same call is a new order."""
    tools = VideoTools(maker)
    first = await tools.make_video("a boat")
    while (report := await tools.make_video("a boat"))["status"] != "COMPLETED":
        assert report["task_id"] == first["task_id"]
    assert submits(service) == 1
    assert (await tools.make_video("a boat"))["task_id"] != first["task_id"]


async def test_a_submit_survives_a_framework_that_cancels_its_call(service: Simulator, maker: AIVideoMaker) -> None:
    """The next call gets the task of the cancelled submit."""
    tools = VideoTools(maker)
    call = asyncio.create_task(tools.make_video("a boat"))
    # One step into the submit, and no further.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    report = await tools.make_video("a boat")
    assert report["task_id"] in service.tasks
    assert submits(service) == 1


async def test_errors_are_reports(service: Simulator, maker: AIVideoMaker) -> None:
    """A bad argument, an unknown task and a failed one raise nothing."""
    tools = VideoTools(maker)
    bad = await tools.make_video("a boat", duration=7)  # type: ignore[arg-type]
    assert bad["status"] == "NOT_SUBMITTED"
    assert "duration" in bad["message"]
    assert submits(service) == 0
    unknown = await tools.continue_video("ck-nothing")
    assert unknown["status"] == "UNKNOWN"
    report = await tools.make_video("a kite [fail: no wind]")
    while report["status"] in {"SUBMITTED", "PROGRESS"}:
        report = await tools.continue_video(report["task_id"])
    assert report["status"] == "FAILED"
    assert "no wind" in report["message"]


async def test_a_refused_submit_can_be_made_again(service: Simulator, maker: AIVideoMaker) -> None:
    """Nothing was charged, so the call is not remembered."""
    async with AIVideoMaker("ak_wrong", base_url=service.url) as stranger:
        tools = VideoTools(stranger)
        for _ in range(2):
            assert (await tools.make_video("a boat"))["status"] == "NOT_SUBMITTED"
    assert submits(service) == 2


async def test_the_program_prints_reports_until_the_video_is_there(
    service: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demonstration at the end of the example."""
    await agent_tool.main()
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["status"] for report in reports] == ["PROGRESS", "PROGRESS", "COMPLETED"]
    assert submits(service) == 1
