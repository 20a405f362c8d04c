"""The client as users hold it: against the simulator, which knows nothing of the client's code."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from PIL import Image

from aivideomaker_async import (
    AIVideoMaker,
    APIError,
    AuthenticationFailed,
    ConfigurationError,
    ConnectFailed,
    EndpointNotFound,
    ImageToVideo,
    ImageToVideoV3,
    InsufficientCredits,
    InvalidRequest,
    InvalidSpec,
    LongVideo,
    RateLimiter,
    ServerError,
    TaskFailed,
    TaskNotFound,
    TaskStatus,
    TextToVideo,
    TextToVideoV3,
    VideoSpec,
)
from aivideomaker_async.simulator import Simulator
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import Action, Arrival, Drop, Hang, Reply, is_younger, one_by_one, row, scripted, submitted

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


def picture(kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 36), "teal").save(file, kind)
    return file.getvalue()


def data_uri(mime: str = "image/png") -> str:
    import base64

    return f"data:{mime};base64,{base64.b64encode(picture()).decode()}"


SPECS: list[VideoSpec] = [
    TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5),
    TextToVideo(prompt="Ünïcödé ☀", aspect_ratio="9:16", duration=8),
    ImageToVideo(image=picture(), duration=5),
    ImageToVideo(image="https://example.com/a.png?sig=1", prompt="It moves", duration=8),
    LongVideo(image=picture("JPEG"), prompts=["one"]),
    LongVideo(image=data_uri("image/jpg"), prompts=["1", "2", "3", "4", "5", "6"]),
    TextToVideoV3(prompt="A sunset", aspect_ratio="1:1", duration=20),
    ImageToVideoV3(image=bytearray(picture("WEBP")), duration=15),
    ImageToVideoV3(image=memoryview(picture("GIF")), prompt="x", duration=10, extra={"filterMode": "strict"}),
]


async def test_every_model_generates_through_a_strict_service(simulator: Simulator, client: AIVideoMaker) -> None:
    """All at once: what the service charges is what each spec says, and no query is refused."""
    videos = await asyncio.gather(*(client.generate(spec) for spec in SPECS))
    for spec, video in zip(SPECS, videos, strict=True):
        assert video.details.model == spec.model
        assert video.details.status == TaskStatus.COMPLETED
        assert simulator.tasks[video.id].credits_charged == spec.credits()
        assert video.expires_at > video.details.created_at  # type: ignore[operator]
    statistics = simulator.statistics()
    assert (statistics.tasks, statistics.rejected) == (len(SPECS), 0)
    assert statistics.worst_window <= 60


@pytest.mark.parametrize("form", ["bytes", "bytearray", "memoryview", "path", "open file", "file object", "data URI"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
async def test_every_form_of_an_image_arrives(
    form: str, kind: str, simulator: Simulator, client: AIVideoMaker, tmp_path: Path
) -> None:
    """Whatever it is given as, under whatever name: the service finds an image."""
    data = picture(kind)
    path = tmp_path / "misleading.txt"
    await asyncio.to_thread(path.write_bytes, data)
    with await asyncio.to_thread(path.open, "rb") as file:
        forms: dict[str, Callable[[], Any]] = {
            "bytes": lambda: data,
            "bytearray": lambda: bytearray(data),
            "memoryview": lambda: memoryview(data),
            "path": lambda: path,
            "open file": lambda: file,
            "file object": lambda: io.BytesIO(data),
            "data URI": lambda: data_uri("image/jpg"),
        }
        image = forms[form]()
        task = await client.submit(ImageToVideo(image=image, duration=5))
        if form in {"open file", "file object"}:
            assert not image.closed
            assert image.tell() == 0
    assert simulator.tasks[task.id].status == "SUBMITTED"
    assert (await task.details()).input["image"].startswith(simulator.url)  # type: ignore[attr-defined]


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7 ...", b"PK\x03\x04" + b"\0" * 30])
async def test_what_is_no_image_is_refused_before_any_request(
    content: bytes, simulator: Simulator, client: AIVideoMaker, tmp_path: Path
) -> None:
    """The content counts, not the name."""
    path = tmp_path / "photo.png"
    await asyncio.to_thread(path.write_bytes, content)
    for image in (path, io.BytesIO(content), tmp_path / "nowhere.png", tmp_path):
        with pytest.raises(InvalidSpec, match="image"):
            await client.submit(ImageToVideo(image=image, duration=5))
    with pytest.raises(InvalidSpec, match="image"):
        ImageToVideo(image=content, duration=5)
    assert len(simulator.requests) == 0


async def test_a_model_without_a_class_can_be_submitted(simulator: Simulator, client: AIVideoMaker) -> None:
    """By name and mapping, as two arguments or as a pair; what the service refuses, it refuses."""
    body = {"prompt": "x", "aspectRatio": "16:9", "duration": "5"}
    assert (await client.submit("t2v", body)).id != (await client.submit(("t2v", body))).id
    with pytest.raises(InvalidRequest):
        await client.submit("veo/../9?", {"prompt": "x"})
    with pytest.raises(InvalidSpec):
        await client.submit("t2v", {"prompt": float("nan")})
    with pytest.raises(InvalidSpec):
        await client.submit(3)  # type: ignore[arg-type]
    assert [item.path for item in simulator.requests][-1].endswith("/veo%2F..%2F9%3F")


async def test_a_failure_is_told_and_refunded(simulator: Simulator, client: AIVideoMaker) -> None:
    """The balance is what it was."""
    before = simulator.credits
    with pytest.raises(TaskFailed, match="too dark"):
        await client.generate(TextToVideo(prompt="[fail: too dark]", aspect_ratio="1:1", duration=8))
    assert simulator.credits == before


async def test_cancel_says_what_happened(simulator: Simulator, client: AIVideoMaker) -> None:
    """Cancelled; cancelled before; too late; too late for good."""
    spec = TextToVideo(prompt="x", aspect_ratio="1:1", duration=8)
    task = await client.submit(spec)
    assert attrs.astuple(await task.cancel()) == (task.id, True, TaskStatus.CANCEL)
    assert (await task.cancel()).cancelled, "a cancel that arrives twice is no error"
    assert task.last_status == TaskStatus.CANCEL
    late = await client.submit(spec)
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
async def test_a_late_cancel_is_understood_however_the_service_says_it(late: int) -> None:
    """Undocumented: a 4xx, or a 200 with another status."""
    async with Simulator(late_cancel=late, durations=(0.0, 100.0)) as simulator:
        async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter()) as client:
            task = await client.submit(TextToVideo(prompt="x", aspect_ratio="1:1", duration=8))
            await asyncio.sleep(1)
            result = await task.cancel()
            assert (result.cancelled, result.status) == (False, TaskStatus.PROGRESS)
            assert result.outcome == "too_late"
            simulator.finish(task.id)
            result = await task.cancel()
            assert (result.outcome, result.status) == ("finished", TaskStatus.COMPLETED)


async def test_a_late_cancel_that_looks_like_an_error_is_no_failure_of_the_task() -> None:
    """200 with FAILED and a message is how 2026-03 says no; the task itself is asked."""

    def handle(arrival: Any) -> Reply:
        if arrival.method == "PUT":
            return Reply(200, {"status": "FAILED", "message": "Task cannot be cancelled"})
        return Reply(body={"status": "PROGRESS"})

    async with scripted(handle) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            assert (await client.cancel("ck1")).status == TaskStatus.PROGRESS


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("CANCEL", "cancelled"), ("PROGRESS", "too_late"), ("FAILED", "finished"), ("COMPLETED", "finished")],
)
@pytest.mark.parametrize(
    "answer",
    [
        Reply(403, {"message": "too late"}),
        Reply(404, {"message": "nothing to cancel"}),
        Reply(410, {"message": "gone"}),
        Reply(500),
        Reply(204),
        Reply(200, "<html>Done</html>"),
        Drop(),
        Hang(),
    ],
    ids=repr,
)
async def test_what_a_cancel_has_done_is_told_by_the_task(answer: Action, status: str, outcome: str) -> None:
    """A late one may be answered in any way, and one whose answer is lost may have been carried out."""

    def handle(arrival: Arrival) -> Action:
        return answer if arrival.method == "PUT" else Reply(body={"status": status})

    async with scripted(handle) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter(), timeout=5) as client:
            result = await client.cancel("ck1", timeout=60)
            assert (result.outcome, result.status) == (outcome, status)


async def test_a_cancel_that_nobody_can_tell_of_fails_as_it_did() -> None:
    """Neither the cancel nor the task is answered; and one that never left asks for nothing."""
    async with scripted(lambda arrival: Reply(500 if arrival.method == "PUT" else 404)) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            with pytest.raises(ServerError):
                await client.cancel("ck1")
    asked = RateLimiter()
    async with AIVideoMaker("ak_test", base_url="http://127.0.0.1:1", limiter=asked) as client:
        with pytest.raises(ConnectFailed):
            await client.cancel("ck1")
        assert asked.statistics().granted == 0


async def test_a_cancel_that_is_refused_for_another_reason_is_an_error() -> None:
    """The task is SUBMITTED, so it was not too late."""

    def handle(arrival: Any) -> Reply:
        return Reply(422, {"message": "not today"}) if arrival.method == "PUT" else Reply(body={"status": "SUBMITTED"})

    async with scripted(handle) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            with pytest.raises(APIError, match="not today"):
                await client.cancel("ck1")


async def test_a_cancel_whose_answer_is_lost_is_no_error() -> None:
    """It is sent again, and then the service may say that there is nothing to cancel."""
    answers: list[Action] = [
        Drop(),
        Reply(400, {"message": "Only a SUBMITTED task can be cancelled"}),
        Reply(body={"status": "CANCEL"}),
    ]

    async with scripted(one_by_one(answers)) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            assert (await client.cancel("ck1")).outcome == "cancelled"


async def test_wrong_keys_and_empty_accounts_are_told(simulator: Simulator) -> None:
    """The service's words, without the key."""
    spec = TextToVideo(prompt="x", aspect_ratio="1:1", duration=8)
    async with AIVideoMaker("ak_not_the_right_one", base_url=simulator.url, limiter=RateLimiter()) as client:
        for call in (client.submit(spec), client.list_tasks(), client.get_status("a"), client.cancel("a")):
            with pytest.raises(AuthenticationFailed) as caught:
                await call
            assert "ak_not" not in str(caught.value)
        await assert_nothing_held(client)
    async with Simulator(credits=15) as poor:
        async with AIVideoMaker(poor.api_key, base_url=poor.url, limiter=RateLimiter()) as client:
            await client.submit(spec)
            with pytest.raises(InsufficientCredits, match="Insufficient credits"):
                await client.submit(spec)
        assert poor.credits == 7


@pytest.mark.parametrize("task_id", ["../x?y", "ünï ☀ 鍵", "x" * 5_000, "%2e%2e%2f", "a/b/cancel", "..%00", "nul\0"])
async def test_hostile_ids_find_nothing_and_break_nothing(
    task_id: str, simulator: Simulator, client: AIVideoMaker
) -> None:
    """Every call with such an id is answered by: no such task."""
    handle = client.task(task_id)
    for call in (handle.status(), handle.details(), handle.cancel(), handle.result()):
        with pytest.raises(TaskNotFound):
            await call
    with pytest.raises(TaskNotFound):
        async for _ in handle:
            pass
    assert {item.status for item in simulator.requests} == {404}


async def test_ids_of_ten_thousand_bytes_end_in_a_clear_error(client: AIVideoMaker) -> None:
    """Servers limit the length of a line; whatever they say, it is an error of the tree."""
    with pytest.raises(APIError):
        await client.get_status("x" * 10_000)


@pytest.mark.parametrize("task_id", ["", ".", "..", 7, None, "\ud800"])
async def test_what_can_be_no_id_is_refused(task_id: Any, client: AIVideoMaker) -> None:
    """Before any request, with the value."""
    with pytest.raises(ConfigurationError, match="task_id"):
        client.task(task_id)
    with pytest.raises(ConfigurationError, match="task_id"):
        await client.get_status(task_id)


async def test_the_list_is_whole_and_newest_first(simulator: Simulator, client: AIVideoMaker) -> None:
    """All tasks, with what they are."""
    tasks = [await client.submit(TextToVideo(prompt=f"number {n}", aspect_ratio="1:1", duration=5)) for n in range(3)]
    listed = await client.list_tasks()
    assert [item.id for item in listed] == [task.id for task in reversed(tasks)]
    assert listed[0].input["prompt"] == "number 2"
    assert listed[0].created_at is not None and listed[0].created_at.utcoffset() is not None


async def test_a_task_can_be_taken_up_after_a_restart(simulator: Simulator, client: AIVideoMaker) -> None:
    """Another client, with nothing but the id."""
    task = await client.submit(TextToVideo(prompt="x", aspect_ratio="1:1", duration=5))
    await client.aclose()
    async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter()) as second:
        handle = second.task(task.id)
        assert (handle.id, handle.last_status, handle.submitted) == (task.id, None, None)
        assert [str(change.status) async for change in handle][-1] == "COMPLETED"
        assert (await handle.result()).id == task.id


async def test_endpoints_of_a_later_revision_are_told_to_be_missing(client: AIVideoMaker) -> None:
    """A 2026-03 service has neither account nor quote."""
    with pytest.raises(EndpointNotFound):
        await client.account()
    with pytest.raises(EndpointNotFound):
        await client.quote(TextToVideo(prompt="x", aspect_ratio="1:1", duration=5))


async def test_account_and_quote_of_a_later_revision_are_read() -> None:
    """-1 is unlimited, and unknown fields are kept."""

    def handle(arrival: Any) -> Reply:
        if arrival.path == "/api/v1/quote/t2v":
            assert arrival.json() == {"prompt": "x", "aspectRatio": "1:1", "duration": "5"}
            return Reply(body={"model": "t2v", "credits": 15, "affordable": True, "new": 1, "billable": False})
        return Reply(body={"ok": True, "currentBalance": 415, "supportedModels": ["t2v"], "dailyCreditLimit": -1})

    async with scripted(handle) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            quote = await client.quote(TextToVideo(prompt="x", aspect_ratio="1:1", duration=5))
            account = await client.account()
    assert (quote.credits, quote.affordable, dict(quote.extra)) == (15, True, {"new": 1})
    assert (account.current_balance, account.supported_models, account.daily_credit_limit) == (415, ("t2v",), None)


async def test_a_submit_sends_what_it_is_told_to() -> None:
    """The headers of the API, and a fresh idempotency key for each submit."""
    async with scripted(lambda arrival: Reply(404) if is_younger(arrival) else submitted()) as service:
        async with AIVideoMaker("ak_test", base_url=service.url + "/", limiter=RateLimiter()) as client:
            spec = TextToVideo(prompt="x", aspect_ratio="1:1", duration=5)
            task = await client.submit(spec, webhook_url="https://example.com/h?t=1", max_credits=5)
            await client.submit(spec)
    quote, first, second = service.arrivals
    assert (quote.path, first.path) == ("/api/v1/quote/t2v", "/api/v1/generate/t2v")
    assert (first.headers["webhookurl"], first.headers["x-max-credits"]) == ("https://example.com/h?t=1", "5")
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
    assert 8 <= len(first.headers["idempotency-key"]) <= 128
    assert "webhookurl" not in second.headers and "x-max-credits" not in second.headers
    assert task.submitted is not None and task.submitted.status_url is not None
    assert (task.last_status, repr(task)) == (TaskStatus.SUBMITTED, "<VideoTask 'ck1' SUBMITTED>")


@pytest.mark.parametrize(
    "arguments",
    [
        {"idempotency_key": "short"},
        {"idempotency_key": "line\nbreak in it"},
        {"idempotency_key": "x" * 129},
        {"max_credits": -1},
        {"max_credits": 1.5},
        {"max_credits": True},
        {"webhook_url": "ftp://example.com"},
        {"webhook_url": "https://example.com/\r\nX: y"},
        {"timeout": 0},
    ],
)
async def test_arguments_that_cannot_travel_are_refused(
    arguments: dict[str, Any], simulator: Simulator, client: AIVideoMaker
) -> None:
    """Before anything is sent; the message names the argument."""
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        await client.submit(TextToVideo(prompt="x", aspect_ratio="1:1", duration=5), **arguments)
    assert len(simulator.requests) == 0


async def test_nothing_secret_is_logged_or_shown(
    simulator: Simulator, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """At DEBUG, through submits, waits, failures and a download: no key, no image, no signed query."""
    caplog.set_level(logging.DEBUG, logger="aivideomaker_async")
    uri = data_uri()
    shown: list[str] = []
    async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter()) as client:
        spec = ImageToVideo(image=uri, duration=5)
        task = await client.submit(spec, webhook_url="http://127.0.0.1:9/hook?token=hush")
        video = await task.result()
        await video.download(tmp_path / "a.mp4")
        with pytest.raises(TaskNotFound) as caught:
            await client.get_status("nobody")
        shown += map(
            repr, [client, spec, task, task.submitted, video, video.details, client.statistics(), caught.value]
        )
        shown += map(repr, [vars(client), vars(client._api), client._api.settings])
    shown.append(caplog.text)
    assert "submitted i2v as task" in caplog.text and "GET /api/v1/tasks" in caplog.text
    for text in shown:
        assert simulator.api_key not in text
        assert uri[30:60] not in text
        assert "hush" not in text


def test_a_missing_key_says_where_to_get_and_set_one() -> None:
    """The first thing that a newcomer meets."""
    with pytest.raises(ConfigurationError, match=r"AIVIDEO_API_KEY.*https://aivideomaker.ai"):
        AIVideoMaker()


def test_key_and_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments first, then the environment, then the vendor's address."""
    monkeypatch.setenv("AIVIDEO_API_KEY", " ak_env\n")
    monkeypatch.setenv("AIVIDEO_BASE_URL", "http://127.0.0.1:1/")
    assert AIVideoMaker()._api.settings.key.reveal() == "ak_env"
    assert repr(AIVideoMaker()) == "<AIVideoMaker http://127.0.0.1:1 open>"
    assert repr(AIVideoMaker(base_url="http://127.0.0.1:2/v/")) == "<AIVideoMaker http://127.0.0.1:2/v open>"
    monkeypatch.delenv("AIVIDEO_BASE_URL")
    assert repr(AIVideoMaker("ak_arg")) == "<AIVideoMaker https://aivideomaker.ai open>"


@pytest.mark.parametrize(
    "url", ["aivideomaker.ai", "ftp://h", "http://", "http://u:pass@h", "http://h?x=1", "http://h /"]
)
def test_a_bad_address_is_refused_without_showing_it(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        AIVideoMaker("ak_x", base_url=url)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": "5"}, {"call_timeout": -1}, {"wait_timeout": -1}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    """The message names the option."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        AIVideoMaker("ak_x", base_url="http://127.0.0.1:1", **options)


def test_clients_of_one_service_share_a_limiter_by_default() -> None:
    """The limit is the address's, not the client's."""
    one, two = (AIVideoMaker("ak_x", base_url="http://127.0.0.1:1/path") for _ in range(2))
    other = AIVideoMaker("ak_x", base_url="http://127.0.0.1:2")
    assert one._api.limiter is two._api.limiter
    assert one._api.limiter is not other._api.limiter


async def test_fifty_generations_at_once_are_never_refused(simulator: Simulator, client: AIVideoMaker) -> None:
    """Plain gather over fifty specs: zero 429, and every video is there."""
    specs = [TextToVideo(prompt=f"number {n}", aspect_ratio="1:1", duration=5) for n in range(50)]
    videos = await asyncio.gather(*(client.generate(spec) for spec in specs))
    statistics = simulator.statistics()
    assert len({video.id for video in videos}) == 50
    assert (statistics.rejected, statistics.tasks) == (0, 50)
    assert statistics.worst_window <= 60


async def test_a_foreground_call_goes_before_the_polls(simulator: Simulator, client: AIVideoMaker) -> None:
    """A user's burst of forty calls does not starve the watcher, nor the reverse."""
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


async def test_a_details_query_wakes_those_who_wait() -> None:
    """What get_task and list_tasks see needs no poll."""
    finished = row("ck1", "COMPLETED")

    def handle(arrival: Any) -> Reply:
        if arrival.method == "POST":
            return submitted()
        return Reply(body={"status": "PROGRESS"} if arrival.path.endswith("/status") else finished)

    async with scripted(handle) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            task = await client.submit(TextToVideo(prompt="x", aspect_ratio="1:1", duration=5))
            wait = asyncio.ensure_future(task.result())
            await asyncio.sleep(10)
            assert not wait.done()
            await task.details()
            assert (await wait).id == "ck1"
