"""The server as the official client sees it, on both eras of the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPError

from aivideomaker_async import AIVideoMaker, RateLimiter
from aivideomaker_async.agents import Report, Tool, VideoTools
from aivideomaker_async.mcp_server import CLIENTS, config, make_server
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.agents.conftest import FOX, ToolSets

pytestmark = [
    pytest.mark.anyio,
    # Of the old era's calls, which are tested here on purpose.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mcp"),
]

both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])


class Person:
    """Answers questions."""

    def __init__(self, *answers: types.ElicitResult) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, _context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        return self.answers.pop(0)


YES = types.ElicitResult(action="accept", content={"agree": True})


@asynccontextmanager
async def talking(tools: VideoTools, era: str = "auto", person: Person | None = None) -> AsyncIterator[Client]:
    asking: dict[str, Any] = {} if person is None else {"elicitation_callback": person}
    async with Client(make_server(tools), mode=era, **asking) as client:
        yield client


async def bought(service: ThreadedSimulator) -> list[str]:
    return await asyncio.to_thread(lambda: list(service.tasks))


@pytest.fixture
def slow() -> Iterator[ThreadedSimulator]:
    """A service whose tasks do not end."""
    with ThreadedSimulator(render=False, limit=None, durations=(0, 600)) as service:
        yield service


@pytest.fixture
def slow_tools(tool_sets: ToolSets, slow: ThreadedSimulator) -> VideoTools:
    key, url = slow.api_key, slow.url
    return tool_sets(client=lambda: AIVideoMaker(key, base_url=url, limiter=RateLimiter(60_000)))


def report_of(result: types.CallToolResult) -> dict[str, Any]:
    """Its structured content, which its text repeats."""
    (text, *_) = result.content
    assert isinstance(text, types.TextContent)
    assert json.loads(text.text) == result.structured_content
    found: dict[str, Any] = result.structured_content
    return found


@pytest.mark.parametrize("revision", ["2026-09"])
async def test_the_tools_are_shown_with_their_rules_and_hints(tools: VideoTools) -> None:
    async with talking(tools) as client:
        shown = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(shown) == [tool.name for tool in tools.tools]
    submit = shown["submit_video"]
    assert submit.input_schema["required"] == ["order", "model"]
    assert submit.input_schema["properties"]["model"]["enum"] == list(tools.models)
    assert submit.input_schema["properties"]["duration"]["type"] == "integer"
    hints = {name: tool.annotations for name, tool in shown.items()}
    assert [name for name, hint in hints.items() if hint and hint.destructive_hint] == ["submit_video"]
    assert all(hint is not None and hint.idempotent_hint for hint in hints.values())
    assert not hints["cancel_video"].read_only_hint  # type: ignore[union-attr]


@both_eras
async def test_a_video_from_the_order_to_its_link(tools: VideoTools, service: ThreadedSimulator, era: str) -> None:
    """Three submits at once buy one."""
    async with talking(tools, era) as client:
        ordered = await asyncio.gather(*(client.call_tool("submit_video", FOX) for _ in range(3)))
        (task_id,) = {report_of(result)["task_id"] for result in ordered}
        ended = await client.call_tool("wait_for_video", {"task_id": task_id})
        resource = await client.read_resource(f"video://{task_id}")
    (link,) = (block for block in ended.content if isinstance(block, types.ResourceLink))
    assert (link.uri, link.mime_type) == (f"{service.url}/videos/{task_id}.mp4", "video/mp4")
    (content,) = resource.contents
    assert isinstance(content, types.TextResourceContents)
    assert json.loads(content.text)["status"] == "COMPLETED"
    assert await bought(service) == [task_id]


@pytest.mark.parametrize("revision", ["2026-09"])
@both_eras
async def test_what_is_wrong_is_told_by_the_tool(tools: VideoTools, era: str) -> None:
    """And not by a validator, whose words say less."""
    async with talking(tools, era) as client:
        result = await client.call_tool("submit_video", FOX | {"duration": 7, "model": "t2v"})
        assert result.is_error
        assert report_of(result)["message"] == "TextToVideo: duration=7: must be 5 or 8 (seconds)"
        assert report_of(await client.call_tool("submit_video", {}))["error"] == "InvalidSpec"
        with pytest.raises(MCPError, match="there is no tool 'sell'"):
            await client.call_tool("sell", {})
        with pytest.raises(MCPError, match="there is no resource"):
            await client.read_resource("https://example.com")


@both_eras
async def test_the_person_is_asked_once_with_the_price(
    tools: VideoTools, service: ThreadedSimulator, era: str, price: int, revision: str
) -> None:
    """And not again for an order that was bought."""
    person = Person(YES)
    async with talking(tools, era, person) as client:
        first = report_of(await client.call_tool("submit_video", FOX))
        again = report_of(await client.call_tool("submit_video", FOX))
    about = "about " if revision == "2026-03" else ""
    assert person.asked == [f"Buy a video (t2v) for {about}{price} credits (USD {price / 100:.2f})? Order fox-1: A fox"]
    assert first["task_id"] == again["task_id"]
    assert len(await bought(service)) == 1


@pytest.mark.parametrize("revision", ["2026-09"])
@both_eras
@pytest.mark.parametrize(
    "answer",
    [
        types.ElicitResult(action="decline"),
        types.ElicitResult(action="cancel"),
        types.ElicitResult(action="accept", content={"agree": False}),
        types.ElicitResult(action="accept"),
    ],
    ids=lambda answer: f"{answer.action} {answer.content}",
)
async def test_without_a_yes_nothing_is_bought(
    tools: VideoTools, service: ThreadedSimulator, era: str, answer: types.ElicitResult
) -> None:
    async with talking(tools, era, Person(answer)) as client:
        report = report_of(await client.call_tool("submit_video", FOX))
    assert (report["status"], "without their word" in report["next"]) == ("DECLINED", True)
    assert await bought(service) == []


@both_eras
async def test_no_more_is_paid_than_was_shown(
    tools: VideoTools, service: ThreadedSimulator, era: str, price: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The price has risen while the person thought."""
    quoted = price - 1
    call = tools.call

    async def cheaper(tool: Tool, given: Mapping[str, object]) -> Report:
        report = await call(tool, given)
        return Report(report | {"credits": quoted}) if report["status"] == "PRICE" else report

    monkeypatch.setattr(tools, "call", cheaper)
    async with talking(tools, era, Person(YES)) as client:
        report = report_of(await client.call_tool("submit_video", FOX))
    assert report["error"] == "BudgetExceeded"
    assert f"it costs {price} credits; allowed are {quoted} for one video" in report["message"]
    assert await bought(service) == []


@pytest.mark.parametrize("revision", ["2026-09"])
@both_eras
async def test_a_cancelled_call_ends_the_wait_and_no_submit(
    slow_tools: VideoTools, slow: ThreadedSimulator, era: str
) -> None:
    async with talking(slow_tools, era) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call_tool("submit_video", FOX), 0.01)
        task_id = report_of(await client.call_tool("submit_video", FOX))["task_id"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call_tool("wait_for_video", {"task_id": task_id}), 0.1)
        assert report_of(await client.call_tool("wait_for_video", {"task_id": task_id, "seconds": 1}))["next"]
    assert await bought(slow) == [task_id]


@pytest.mark.parametrize("revision", ["2026-09"])
async def test_progress_is_reported_while_waiting(slow_tools: VideoTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aivideomaker_async.mcp_server.server.SLICE_S", 1)
    seen: list[tuple[float, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        del total
        seen.append((progress, message))

    async with talking(slow_tools) as client:
        task_id = report_of(await client.call_tool("submit_video", FOX))["task_id"]
        await client.call_tool("wait_for_video", {"task_id": task_id, "seconds": 3}, progress_callback=progress)
    assert [done for done, _ in seen] == [1.0, 2.0]
    assert seen[0][1] is not None
    assert seen[0][1].startswith("PROGRESS")


@pytest.mark.parametrize("revision", ["2026-09"])
async def test_prompts_say_what_to_do(tools: VideoTools) -> None:
    async with talking(tools) as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        prompt = await client.get_prompt("text-to-video", {"description": "a fox"})
    assert names == ["text-to-video", "image-to-video"]
    (message,) = prompt.messages
    assert isinstance(message.content, types.TextContent)
    assert "description: a fox" in message.content.text
    assert "tell me the price before you buy" in message.content.text


# --- configurations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_s_configuration_has_the_command_and_no_key(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tomllib

    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_SECRETSECRET")
    found = config(client, max_credits=50, budget=500)
    assert "ak_" not in found.text
    assert found.where
    for words in ("uvx", "aivideomaker-async[mcp]", "--max-credits", "50", "--budget", "500", "AIVIDEO_API_KEY"):
        assert words in found.text
    if client == "codex":
        assert tomllib.loads(found.text)["mcp_servers"]["aivideomaker"]["command"] == "uvx"
    elif client != "claude-code":
        ((_, servers),) = json.loads(found.text).items()
        assert servers["aivideomaker"]["args"][2:4] == ["aivideomaker", "mcp"]
