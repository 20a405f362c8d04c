"""The same scenarios against a service of each revision, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aivideomaker_async import (
    PRICES_2026_03,
    PRICES_2026_09,
    AIVideoMaker,
    APIError,
    Budget,
    BudgetExceeded,
    ContentRejected,
    EndpointNotFound,
    HappyHorse,
    IdempotencyConflict,
    ImageToVideo,
    ImageToVideoV3,
    InsufficientCredits,
    InvalidRequest,
    LongVideo,
    MiniMaxH3,
    RateLimiter,
    Seedance20,
    SubmitOutcomeUnknown,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TextToVideo,
    TextToVideoV3,
    VideoSpec,
    Wan27,
)
from aivideomaker_async.simulator import Simulator
from aivideomaker_async.specs import to_wire
from tests.support.leaks import assert_nothing_held
from tests.support.pictures import PNG, data_uri

pytestmark = pytest.mark.anyio

REVISIONS = ("2026-03", "2026-09")
TABLES = {"2026-03": PRICES_2026_03, "2026-09": PRICES_2026_09}
revisions = pytest.mark.parametrize("revision", REVISIONS)

URL = "https://example.com/a.png"
VIDEO, SOUND = "https://example.com/a.mp4", "https://example.com/a.mp3"

LONG = LongVideo(image=URL, prompts=["a", "b"])
OLD: list[VideoSpec] = [
    TextToVideo(prompt="a", aspect_ratio="9:16", duration=8),
    ImageToVideo(image=URL, duration=5),
    ImageToVideo(image=URL, prompt="b", duration=8),
    TextToVideoV3(prompt="a", aspect_ratio="1:1", duration=20),
    ImageToVideoV3(image=URL, prompt="b", duration=15),
]
YOUNG: list[VideoSpec] = [
    MiniMaxH3(prompt="a"),
    MiniMaxH3(prompt="a", duration=20, resolution="1080P", tier="base", aspect_ratio="auto", image=URL, last_frame=URL),
    MiniMaxH3(
        prompt="a", aspect_ratio="21:9", reference_images=[URL, URL], reference_video=VIDEO, reference_audios=[SOUND]
    ),
    Seedance20(prompt="a", duration=4, resolution="480p", aspect_ratio="1:1"),
    Seedance20(image=URL, video=VIDEO, audio=SOUND, duration=15, resolution=720, aspect_ratio="9:16"),
    Wan27(prompt="a", image=URL, duration=15, resolution="1080p", aspect_ratio="3:4", prompt_extend=True),
    HappyHorse(prompt="a", duration=3),
    HappyHorse(prompt="a", duration=15, image=[URL, URL], resolution=1080, aspect_ratio="4:3"),
]
MODELS = [*(("2026-03", spec) for spec in [*OLD, LONG]), *(("2026-09", spec) for spec in [*OLD, *YOUNG])]
SPEC = TextToVideo(prompt="A fox", aspect_ratio="16:9", duration=5)


@asynccontextmanager
async def running(revision: str, **options: Any) -> AsyncIterator[tuple[Simulator, AIVideoMaker]]:
    own = {name: options.pop(name) for name in ("budget", "call_timeout") if name in options}
    # An edge in front of the service may insist on headers: all calls have them.
    async with Simulator(revision=revision, seed=1, render=False, strict_headers=True, **options) as service:
        async with AIVideoMaker(service.api_key, base_url=service.url, limiter=RateLimiter(), **own) as client:
            yield service, client
            await assert_nothing_held(client)


def expected_price(revision: str, spec: VideoSpec) -> int:
    if isinstance(spec, Seedance20):
        return {(4, "480p"): 41, (15, "720p"): 330}[spec.duration, spec.resolution]
    return spec.credits(TABLES[revision])


@pytest.mark.parametrize(("revision", "spec"), MODELS, ids=lambda value: getattr(value, "model", ""))
async def test_every_model_is_generated_for_its_price(revision: str, spec: VideoSpec) -> None:
    """The service, which knows the documented fields, gets those of the spec."""
    price = expected_price(revision, spec)
    async with running(revision) as (service, client):
        video = await client.generate(spec)
        assert video.url.endswith(f"/videos/{video.id}.mp4")
        (task,) = service.tasks.values()
        assert (task.model, task.credits_charged) == (spec.model, price)
        wire = json.loads(json.dumps(to_wire(spec)))
        assert {name: value for name, value in task.input.items() if name in wire} == wire
        charged = price if revision == "2026-09" else None
        assert (video.details.credits_charged, video.details.list_value_cents) == (charged, charged)
        if revision == "2026-09":
            assert (await client.quote(spec)).credits == price
            assert (await client.price(spec)).credits == price


@revisions
async def test_images_of_every_form_arrive_in_every_field(revision: str, tmp_path: Any) -> None:
    """The service shows each under a URL of its own."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    forms = [PNG, data_uri(PNG), path]
    specs: list[VideoSpec] = [ImageToVideo(image=form, duration=5) for form in forms]
    if revision == "2026-09":
        specs += [
            MiniMaxH3(prompt="a", image=path, last_frame=PNG),
            MiniMaxH3(prompt="a", reference_images=[*forms, URL]),
            HappyHorse(prompt="a", duration=5, image=[path, PNG]),
            Seedance20(image=path, duration=5, resolution=480, aspect_ratio="1:1"),
            Wan27(prompt="a", image=PNG, duration=5),
        ]
    async with running(revision) as (service, client):
        for spec in specs:
            await client.submit(spec)
        shown = [
            value
            for task in service.tasks.values()
            for name, item in task.input.items()
            if "image" in name.lower() or "frame" in name.lower()
            for value in (item if isinstance(item, list) else [item])
        ]
        assert len(shown) == (3 if revision == "2026-03" else 3 + 2 + 4 + 2 + 1 + 1)
        assert all(str(value).startswith(service.url) or value == URL for value in shown)


@revisions
async def test_a_task_can_be_followed_from_its_submit_to_its_file(revision: str, tmp_path: Any) -> None:
    async with running(revision) as (service, client):
        task = await client.submit(SPEC)
        submitted = task.submitted
        assert submitted is not None
        expected = (15, False) if revision == "2026-09" else (None, None)
        assert (submitted.credits_charged, submitted.idempotent_replay) == expected
        assert submitted.status_url == f"https://aivideomaker.ai/api/v1/tasks/{task.id}/status"
        seen = [change.status async for change in task]
        assert seen[0] == "SUBMITTED" and seen[-1] == "COMPLETED"
        video = await task.result()
        assert (await video.download(tmp_path / "a.mp4")).read_bytes()[4:8] == b"ftyp"
        (listed,) = await client.list_tasks()
        assert listed == await client.get_task(task.id) == video.details
        assert await client.get_status(task.id) == "COMPLETED"
        assert listed.extra == {}
        key = service.tasks[task.id].idempotency_key
        assert listed.idempotency_key == (key if revision == "2026-09" else None)


@revisions
async def test_a_cancelled_task_is_refunded(revision: str) -> None:
    async with running(revision, credits=100) as (service, client):
        task = await client.submit(SPEC)
        assert (await task.cancel()).outcome == "cancelled"
        with pytest.raises(TaskCancelled):
            await task.result()
        assert service.credits == 100
        details = await task.details()
        assert details.credits_refunded == (15 if revision == "2026-09" else None)
        assert details.list_value_cents == (0 if revision == "2026-09" else None)


@revisions
async def test_a_failed_task_has_a_reason_and_is_refunded(revision: str) -> None:
    async with running(revision, credits=100) as (service, client):
        with pytest.raises(TaskFailed, match="too dark") as caught:
            await client.generate(TextToVideo(prompt="[fail: too dark]", aspect_ratio="1:1", duration=5))
        assert caught.value.details.credits_refunded == (15 if revision == "2026-09" else None)
        assert service.credits == 100


@revisions
async def test_a_submit_whose_answer_was_lost_is_paid_once(revision: str) -> None:
    async with running(revision, budget=Budget(100)) as (service, client):
        service.fault("drop", on="submit", acted=True)
        task = await client.submit(SPEC)
        assert list(service.tasks) == [task.id]
        assert (await task.result()).id == task.id
        assert service.statistics().tasks == 1


async def test_in_another_process_an_idempotency_key_is_the_same_task_where_the_service_keeps_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not charged again; with another body it is a 409."""
    async with running("2026-09") as (service, client):
        first = await client.submit(SPEC, idempotency_key="order-0001")
        forget_what_this_process_knows(monkeypatch)
        budget = Budget(15)
        async with AIVideoMaker(service.api_key, base_url=service.url, limiter=RateLimiter()) as other:
            again = await other.submit(SPEC, idempotency_key="order-0001", budget=budget)
            assert again.id == first.id and again.submitted is not None
            assert (again.submitted.idempotent_replay, budget.remaining) == (True, 15)
        for spec in (MiniMaxH3(prompt="a"), TextToVideo(prompt="Another", aspect_ratio="16:9", duration=5)):
            forget_what_this_process_knows(monkeypatch)
            async with AIVideoMaker(service.api_key, base_url=service.url, limiter=RateLimiter()) as other:
                with pytest.raises(IdempotencyConflict) as caught:
                    await other.submit(spec, idempotency_key="order-0001")
                assert (caught.value.status, caught.value.code) == (409, "IDEMPOTENCY_CONFLICT")
        assert service.statistics().credits_charged == 15


def forget_what_this_process_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    from aivideomaker_async._submits import registry

    monkeypatch.setattr(registry, "_registries", registry._Registries())


# --- refusals ----------------------------------------------------------------------------------------


def code_of(revision: str, code: str) -> str | None:
    return code if revision == "2026-09" else None


@revisions
async def test_a_refusal_is_an_error_of_its_class_and_costs_nothing(revision: str) -> None:
    """It has the code and the message of the service, which names the field."""
    cases: list[tuple[Any, type[APIError], str, str]] = [
        (("no-such-model", {"prompt": "a"}), InvalidRequest, "INVALID_MODEL", "no-such-model"),
        (("t2v", {"prompt": "a", "aspectRatio": "1:1", "duration": 5}), InvalidRequest, "INVALID_PAYLOAD", "duration"),
        (("t2v", {"prompt": "a", "duration": "5"}), InvalidRequest, "INVALID_PAYLOAD", "aspectRatio"),
        (
            TextToVideo(prompt="[reject: violence]", aspect_ratio="1:1", duration=5),
            ContentRejected,
            "CONTENT_REJECTED",
            "violence",
        ),
    ]
    async with running(revision, credits=100) as (service, client):
        for spec, kind, code, hint in cases:
            with pytest.raises(kind) as caught:
                await client.submit(spec)
            assert type(caught.value) is kind
            assert caught.value.code == code_of(revision, code)
            assert hint in caught.value.message
        for call in (client.get_status, client.get_task, client.cancel):
            with pytest.raises(TaskNotFound):
                await call("ck-none")
        assert service.credits == 100 and service.statistics().tasks == 0


@revisions
async def test_too_few_credits_are_an_error(revision: str) -> None:
    async with running(revision, credits=4) as (_, client):
        with pytest.raises(InsufficientCredits) as caught:
            await client.submit(SPEC)
        assert caught.value.code == code_of(revision, "INSUFFICIENT_CREDITS")


async def test_all_submits_wait_for_the_limit_on_submits() -> None:
    async with running("2026-09", generation_limit=2) as (service, client):
        began = asyncio.get_running_loop().time()
        tasks = await asyncio.gather(*(client.submit(SPEC) for _ in range(5)))
        assert len({task.id for task in tasks}) == service.statistics().tasks == 5
        assert asyncio.get_running_loop().time() - began >= 120
        account = await client.account()
        assert account.generation_requests_per_minute == 2


# --- account, quotes, budgets ------------------------------------------------------------------------


async def test_the_2026_09_revision_has_an_account_and_quotes() -> None:
    async with running("2026-09", credits=50) as (service, client):
        account = await client.account()
        assert (account.current_balance, account.api_version) == (50, "v1")
        assert set(account.supported_models) == set(PRICES_2026_09.per_second) | PRICES_2026_09.only_quoted
        quote = await client.quote(SPEC)
        assert (quote.model, quote.credits, quote.affordable, quote.current_balance) == ("t2v", 15, True, 50)
        assert (quote.list_price_usd, quote.usd_per_credit, quote.billable, quote.extra) == (0.15, 0.01, False, {})
        dear = await client.quote(TextToVideoV3(prompt="a", aspect_ratio="1:1", duration=20))
        assert dear.affordable is False
        assert service.statistics().tasks == 0


async def test_the_2026_03_revision_has_neither_account_nor_quotes() -> None:
    async with running("2026-03") as (_, client):
        for call in (client.account(), client.quote(SPEC)):
            with pytest.raises(EndpointNotFound):
                await call
        price = await client.price(SPEC)
        assert (price.credits, price.quote) == (5, None)


@revisions
async def test_max_credits_is_not_exceeded(revision: str) -> None:
    price = SPEC.credits(TABLES[revision])
    async with running(revision) as (service, client):
        with pytest.raises(BudgetExceeded) as caught:
            await client.submit(SPEC, max_credits=price - 1)
        assert (caught.value.credits, caught.value.allowed) == (price, price - 1)
        assert service.statistics().tasks == 0
        await client.submit(SPEC, max_credits=price)
        assert service.statistics().credits_charged == price


PROMPTS = {1: "[fail]", 3: "[reject]"}


@revisions
async def test_a_budget_is_never_exceeded_and_equals_what_was_charged(revision: str) -> None:
    """With lost answers, failed tasks and refusals."""
    price = SPEC.credits(TABLES[revision])
    budget = Budget(10 * price + price // 2)
    specs = [
        TextToVideo(prompt=f"{PROMPTS.get(number % 7, 'fox')} {number}", aspect_ratio="16:9", duration=5)
        for number in range(40)
    ]
    async with running(revision, limit=None) as (service, client):
        service.fault("drop", on="submit", acted=True, probability=0.2)
        service.fault("status", on="submit", status=503, acted=False, probability=0.2)
        errors = [
            type(outcome.error)
            async for outcome in client.generate_many(specs, max_active=8, budget=budget)
            if outcome.error is not None
        ]
        assert set(errors) <= {TaskFailed, ContentRejected, BudgetExceeded, SubmitOutcomeUnknown}
        assert BudgetExceeded in errors
        for error in client.unsettled():
            await client.reconcile(error)
        net = service.statistics().credits_charged - service.statistics().credits_refunded
        assert budget.spent + budget.reserved == net <= budget.credits
        # The last task that fails may be refunded when all others were refused already.
        assert budget.remaining < 2 * price
