"""The public calls of the client, against the simulator, which shares no code with the client."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from aivideomaker_async import (
    AIVideoMaker,
    AIVideoMakerError,
    APIError,
    ConfigurationError,
    ConnectFailed,
    InvalidRequest,
    InvalidSpec,
    RateLimited,
    RateLimiter,
    RequestTimeout,
    RetryPolicy,
    ServerError,
    TaskNotFound,
    TaskStatus,
    TextToVideo,
    TransportError,
)
from aivideomaker_async.simulator import Simulator
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import Action, Arrival, Drop, Hang, Reply, is_younger, one_by_one, row, scripted, submitted

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="1:1", duration=8)


def client_of(url: str, **options: Any) -> AIVideoMaker:
    return AIVideoMaker("ak_test", base_url=url, limiter=RateLimiter(), **options)


# --- submits -----------------------------------------------------------------------------------------


async def test_a_submit_sends_the_headers_of_the_api() -> None:
    """With a new idempotency key for each submit, and the optional ones only where they were asked for."""
    async with scripted(lambda arrival: Reply(404) if is_younger(arrival) else submitted()) as service:
        async with client_of(service.url + "/") as client:
            task = await client.submit(SPEC, webhook_url="https://example.com/h?t=1", max_credits=8)
            await client.submit(SPEC)
    quote, _, _, first, second = service.arrivals
    assert (quote.path, first.path) == ("/api/v1/quote/t2v", "/api/v1/generate/t2v")
    assert (first.headers["webhookurl"], first.headers["x-max-credits"]) == ("https://example.com/h?t=1", "8")
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
    assert 8 <= len(first.headers["idempotency-key"]) <= 128
    assert "webhookurl" not in second.headers and "x-max-credits" not in second.headers
    assert task.submitted is not None and task.submitted.status_url is not None
    assert (task.last_status, repr(task)) == (TaskStatus.SUBMITTED, "<VideoTask 'ck1' SUBMITTED>")


@pytest.mark.parametrize(
    "arguments",
    [
        {"idempotency_key": "short"},
        {"max_credits": -1},
        {"webhook_url": "https://example.com/\r\nX: y"},
        {"timeout": 0},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
async def test_a_wrong_argument_is_refused_before_anything_is_sent(
    arguments: dict[str, Any], simulator: Simulator, client: AIVideoMaker
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        await client.submit(SPEC, **arguments)
    assert len(simulator.requests) == 0


async def test_a_model_without_a_class_can_be_submitted_by_name(simulator: Simulator, client: AIVideoMaker) -> None:
    """With name and fields as two arguments or as a pair. The service decides what it refuses."""
    body = {"prompt": "x", "aspectRatio": "16:9", "duration": "5"}
    assert (await client.submit("t2v", body)).id != (await client.submit(("t2v", body))).id
    with pytest.raises(InvalidRequest):
        await client.submit("veo/../9?", {"prompt": "x"})
    with pytest.raises(InvalidSpec):
        await client.submit("t2v", {"prompt": float("nan")})
    with pytest.raises(InvalidSpec):
        await client.submit(3)  # type: ignore[call-overload]
    sent = len(simulator.requests)
    with pytest.raises(ConfigurationError, match="body: only beside the name of a model"):
        await client.submit(SPEC, body)  # type: ignore[call-overload]
    assert len(simulator.requests) == sent, "it would buy the spec, and not the body"
    assert [item.path for item in simulator.requests][-1].endswith("/veo%2F..%2F9%3F")


async def test_a_submit_that_was_never_sent_is_not_an_unknown_outcome() -> None:
    """Nobody listens; or the service asks for a pause that is longer than the call."""
    async with client_of("http://127.0.0.1:9", retries=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(ConnectFailed):
            await client.submit(SPEC)
        assert client.unsettled() == []
    async with scripted(lambda _: Reply(429, headers={"Retry-After": "500"})) as service:
        async with client_of(service.url) as client:
            with pytest.raises(RateLimited):
                await client.submit(SPEC, timeout=10)
            with pytest.raises(RequestTimeout) as caught:
                await client.submit(SPEC, timeout=10)
            assert not caught.value.sent
            assert client.unsettled() == []
            await assert_nothing_held(client)
    assert len(service.arrivals) == 1


# --- cancels -----------------------------------------------------------------------------------------


async def test_a_cancel_returns_what_happened(simulator: Simulator, client: AIVideoMaker) -> None:
    """It cancelled the task, or that was done before, or it came too late."""
    task = await client.submit(SPEC)
    assert attrs.astuple(await task.cancel()) == (task.id, True, TaskStatus.CANCEL)
    assert (await task.cancel()).cancelled, "a cancel that arrives twice is no error"
    assert task.last_status == TaskStatus.CANCEL
    late = await client.submit(SPEC)
    async for change in late:
        if change.status == TaskStatus.PROGRESS:
            break
    assert attrs.astuple(await late.cancel()) == (late.id, False, TaskStatus.PROGRESS)
    await late.result()
    assert attrs.astuple(await late.cancel()) == (late.id, False, TaskStatus.COMPLETED)
    with pytest.raises(TaskNotFound):
        await client.cancel("nobody")
    assert simulator.statistics().credits_refunded == 8


@pytest.mark.parametrize("late", [200, 400, 409])
async def test_the_simulator_s_answers_to_a_late_cancel_are_understood(late: int) -> None:
    """The answer is not documented: it may be an error, or a 200 with another status."""
    async with Simulator(late_cancel=late, durations=(0.0, 100.0)) as simulator:
        async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter()) as client:
            task = await client.submit(SPEC)
            await asyncio.sleep(1)
            result = await task.cancel()
            assert (result.outcome, result.status) == ("too_late", TaskStatus.PROGRESS)
            simulator.finish(task.id)
            result = await task.cancel()
            assert (result.outcome, result.status) == ("finished", TaskStatus.COMPLETED)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("CANCEL", "cancelled"), ("PROGRESS", "too_late"), ("FAILED", "finished"), ("COMPLETED", "finished")],
)
@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, {"status": "FAILED", "message": "Task cannot be cancelled"}),
        Reply(403, {"message": "too late"}),
        Reply(404, {"message": "nothing to cancel"}),
        Reply(410, {"message": "gone"}),
        Reply(500),
        Reply(204),
        Reply(200, "<html>Done</html>"),
        Drop(),
        Hang(),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_after_a_failed_cancel_the_status_of_the_task_decides(answer: Action, status: str, outcome: str) -> None:
    """A cancel whose answer is lost may have been carried out."""

    def handle(arrival: Arrival) -> Action:
        return answer if arrival.method == "PUT" else Reply(body={"status": status})

    async with scripted(handle) as service, client_of(service.url, timeout=5) as client:
        result = await client.cancel("ck1", timeout=60)
        assert (result.outcome, result.status) == (outcome, status)


async def test_a_cancel_whose_answer_was_lost_is_repeated() -> None:
    """The service may answer then that there is nothing to cancel."""
    answers: list[Action] = [
        Drop(),
        Reply(400, {"message": "Only a SUBMITTED task can be cancelled"}),
        Reply(body={"status": "CANCEL"}),
    ]
    async with scripted(one_by_one(answers)) as service, client_of(service.url) as client:
        assert (await client.cancel("ck1")).outcome == "cancelled"


async def test_a_cancel_that_was_refused_for_another_reason_is_an_error() -> None:
    """The task is SUBMITTED, so the cancel did not come too late."""

    def handle(arrival: Arrival) -> Action:
        return Reply(422, {"message": "not today"}) if arrival.method == "PUT" else Reply(body={"status": "SUBMITTED"})

    async with scripted(handle) as service, client_of(service.url) as client:
        with pytest.raises(APIError, match="not today"):
            await client.cancel("ck1")


async def test_a_cancel_whose_outcome_cannot_be_found_out_raises_its_own_error() -> None:
    """One that was never sent queries nothing."""
    async with scripted(lambda arrival: Reply(500 if arrival.method == "PUT" else 404)) as service:
        async with client_of(service.url) as client:
            with pytest.raises(ServerError):
                await client.cancel("ck1")
    async with client_of("http://127.0.0.1:1") as client:
        with pytest.raises(ConnectFailed):
            await client.cancel("ck1")
        assert client.limiter.statistics().granted == 0


# --- tasks by id -------------------------------------------------------------------------------------


@pytest.mark.parametrize("task_id", ["", 7])
async def test_a_value_that_cannot_be_an_id_is_refused(task_id: Any, client: AIVideoMaker) -> None:
    with pytest.raises(ConfigurationError, match="task_id"):
        client.task(task_id)
    with pytest.raises(ConfigurationError, match="task_id"):
        await client.get_status(task_id)


async def test_the_list_has_all_tasks_and_begins_with_the_newest(client: AIVideoMaker) -> None:
    tasks = [await client.submit(TextToVideo(prompt=f"number {n}", aspect_ratio="1:1", duration=5)) for n in range(3)]
    listed = await client.list_tasks()
    assert [item.id for item in listed] == [task.id for task in reversed(tasks)]
    assert listed[0].input["prompt"] == "number 2"
    assert listed[0].created_at is not None and listed[0].created_at.utcoffset() is not None


async def test_another_client_can_wait_for_a_task_by_its_id(simulator: Simulator, client: AIVideoMaker) -> None:
    """As after a restart of the program."""
    task = await client.submit(SPEC)
    await client.aclose()
    async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter()) as second:
        handle = second.task(task.id)
        assert (handle.id, handle.last_status, handle.submitted) == (task.id, None, None)
        assert [str(change.status) async for change in handle][-1] == "COMPLETED"
        assert (await handle.result()).id == task.id


async def test_details_that_a_call_reads_wake_all_waiters_without_a_poll() -> None:
    def handle(arrival: Arrival) -> Action:
        if arrival.method == "POST":
            return submitted()
        return Reply(body={"status": "PROGRESS"} if arrival.path.endswith("/status") else row("ck1", "COMPLETED"))

    async with scripted(handle) as service, client_of(service.url) as client:
        task = await client.submit(SPEC)
        wait = asyncio.ensure_future(task.result())
        # In virtual time, which passes only while nothing is on its way.
        await asyncio.sleep(10)
        assert not wait.done()
        await task.details()
        assert (await wait).id == "ck1"


# --- options -----------------------------------------------------------------------------------------


def test_a_missing_key_is_an_error_that_says_how_to_get_and_pass_one() -> None:
    with pytest.raises(ConfigurationError, match=r"AIVIDEO_API_KEY.*https://aivideomaker.ai"):
        AIVideoMaker()


def test_key_and_address_come_from_arguments_or_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address, the client uses the vendor's."""
    monkeypatch.setenv("AIVIDEO_API_KEY", " ak_env\n")
    monkeypatch.setenv("AIVIDEO_BASE_URL", "http://127.0.0.1:1/")
    assert AIVideoMaker()._api.settings.key.reveal() == "ak_env"
    assert repr(AIVideoMaker()) == "<AIVideoMaker http://127.0.0.1:1 open>"
    assert repr(AIVideoMaker(base_url="http://127.0.0.1:2/v/")) == "<AIVideoMaker http://127.0.0.1:2/v open>"
    monkeypatch.delenv("AIVIDEO_BASE_URL")
    assert repr(AIVideoMaker("ak_arg")) == "<AIVideoMaker https://aivideomaker.ai open>"


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "aivideomaker.ai"},
        {"timeout": 0},
        {"timeout": "5"},
        {"call_timeout": -1},
        {"wait_timeout": -1},
        {"max_image_size": 0},
        {"http": {}},
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_by_its_name(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        AIVideoMaker("ak_x", **{"base_url": "http://127.0.0.1:1", **options})


# --- many calls at once ------------------------------------------------------------------------------


async def test_fifty_generations_at_once_meet_no_429(simulator: Simulator, client: AIVideoMaker) -> None:
    specs = [TextToVideo(prompt=f"number {n}", aspect_ratio="1:1", duration=5) for n in range(50)]
    videos = await asyncio.gather(*(client.generate(spec) for spec in specs))
    statistics = simulator.statistics()
    assert len({video.id for video in videos}) == 50
    assert (statistics.rejected, statistics.tasks) == (0, 50)
    assert statistics.worst_window <= 60


async def test_neither_a_burst_of_calls_nor_the_watcher_starves_the_other(client: AIVideoMaker) -> None:
    loop = asyncio.get_running_loop()
    specs = [TextToVideo(prompt=f"number {n}", aspect_ratio="1:1", duration=5) for n in range(10)]
    tasks = [await client.submit(spec) for spec in specs]
    waits = [asyncio.ensure_future(task.result()) for task in tasks]
    await asyncio.sleep(30)
    began = loop.time()
    polls = client.statistics()
    await asyncio.gather(*(tasks[0].status() for _ in range(40)))
    assert loop.time() - began <= 40 * 60 / 57 * 1.3 + 2
    assert client.statistics().polls - polls.polls >= 7
    await asyncio.gather(*waits)


@pytest.mark.parametrize(
    ("path", "words"), [("/api", "is the path of the base URL right, /api"), ("/api/v1", "/api/v1")]
)
async def test_a_404_behind_a_base_url_with_a_path_names_it(path: str, words: str) -> None:
    """With the whole path that was asked for. No price of another revision is taken for that of the service."""
    async with scripted(lambda _: Reply(404, "<html>")) as service:
        async with client_of(service.url + path) as client:
            for call in (client.account(), client.price(SPEC), client.submit(SPEC), client.get_task("ck1")):
                with pytest.raises(APIError, match=f"404: .*{words}") as caught:
                    await call
                assert caught.value.path == service.arrivals[-1].path


@pytest.mark.parametrize("action", [Drop(), Reply(200, "<html>"), Reply(500, "<html>")], ids=["no", "bad", "error"])
async def test_an_error_shows_the_whole_path_that_was_asked_for(action: Action) -> None:
    once = RetryPolicy(max_attempts=1)
    async with scripted(lambda _: action) as service, client_of(service.url + "/api", retries=once) as client:
        with pytest.raises(AIVideoMakerError, match="GET /api/api/v1/tasks/ck1: ") as caught:
            await client.get_task("ck1")
        assert isinstance(caught.value, APIError | TransportError)
        assert caught.value.path == service.arrivals[-1].path == "/api/api/v1/tasks/ck1"
