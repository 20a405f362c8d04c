"""Submits are made exactly once, whatever becomes of their answers: the whole way through a client."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image

from aivideomaker_async import (
    AIVideoMaker,
    ConfigurationError,
    IdempotencyConflict,
    ImageToVideo,
    InsufficientCredits,
    LongVideo,
    RateLimiter,
    RetryPolicy,
    ServerError,
    SubmitOutcomeUnknown,
    TextToVideo,
    TransportError,
    VideoTask,
)
from aivideomaker_async._http.upload import Upload
from aivideomaker_async._submits import service as submit_service
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import LOST_ANSWERS, Action, Drop, Hang, Reply, scripted
from tests.support.shop import START, Lost, Shop, buying, ids, posts

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="a red fox in the snow", aspect_ratio="16:9", duration=5)
OTHER = TextToVideo(prompt="a blue whale", aspect_ratio="16:9", duration=5)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


def picture(color: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 36), color).save(file, "PNG")
    return file.getvalue()


SPECS = {
    "text": SPEC,
    "image": ImageToVideo(image=picture(), prompt="it moves", duration=5),
    "image without words": ImageToVideo(image=picture(), duration=8),
    "image at a URL": ImageToVideo(image="https://pictures.example/a.png", duration=8),
    "long": LongVideo(image=picture(), prompts=["one", "two"]),
}


@pytest.mark.parametrize("keeps_keys", [True, False])
@pytest.mark.parametrize("acted", [True, False])
@pytest.mark.parametrize("action", [*LOST_ANSWERS, Reply(499, "<html>client closed request</html>")], ids=repr)
async def test_a_lost_answer_is_looked_up(action: Action, acted: bool, keeps_keys: bool) -> None:
    """One task is created, and its handle returned. The answer of a proxy is not the service's."""
    shop = Shop(Lost(acted, action), keeps_keys=keeps_keys)
    async with buying(shop) as (service, client):
        task = await client.submit(SPEC)
        assert [sold.id for sold in shop.sold] == [task.id]
        assert client.unsettled() == []
        assert (await task.result()).url == f"https://cdn.example/{task.id}.mp4"
    assert len(posts(service)) == (1 if acted else 2)
    assert len({arrival.headers["idempotency-key"] for arrival in posts(service)}) == 1


@pytest.mark.parametrize("keeps_keys", [True, False])
@pytest.mark.parametrize("kind", SPECS)
async def test_every_kind_of_order_is_recognised(kind: str, keeps_keys: bool) -> None:
    """Also where the service shows an image under a URL of its own."""
    shop = Shop(Lost(acted=True), Lost(acted=False), keeps_keys=keeps_keys)
    async with buying(shop) as (service, client):
        first = await client.submit(SPECS[kind])
        second = await client.submit(SPECS[kind])
    assert ids([first, second]) == ["ck1", "ck2"]
    assert len(shop.sold) == 2
    assert len(posts(service)) == 3


@pytest.mark.parametrize("keeps_keys", [True, False])
async def test_many_lost_answers_share_the_lists(keeps_keys: bool) -> None:
    """A restart of the service loses many at once, and the query limit is small."""
    shop = Shop(*[Lost(acted=number % 2 == 0) for number in range(30)], keeps_keys=keeps_keys)
    specs = [TextToVideo(prompt=f"fox number {number}", aspect_ratio="1:1", duration=5) for number in range(30)]
    async with buying(shop) as (service, client):
        tasks = await asyncio.gather(*map(client.submit, specs))
    assert ids(tasks) == ids(shop.sold)
    assert len(shop.sold) == 30
    for spec, task in zip(specs, tasks, strict=True):
        assert next(sold for sold in shop.sold if sold.id == task.id).body["prompt"] == spec.prompt
    assert len([arrival for arrival in service.arrivals if arrival.method == "GET"]) <= 12


async def test_the_task_of_an_order_in_flight_is_not_taken() -> None:
    """The only task in the list may belong to an identical submit whose answer is still to come."""
    shop = Shop(Lost(acted=False))
    async with buying(shop) as (_, client):
        first = asyncio.ensure_future(client.submit(SPEC))
        await asyncio.sleep(0.5)
        shop.answer_after = 4.0
        second = asyncio.ensure_future(client.submit(SPEC))
        tasks = await asyncio.gather(first, second)
    assert ids(tasks) == ids(shop.sold) == ["ck1", "ck2"]


async def test_without_a_reset_of_its_connection_a_lost_submit_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may arrive at any time, so it is not sent again, however long the list does not show its task."""
    monkeypatch.setattr(Upload, "_socket", lambda _: None)
    async with buying(Shop(Lost(acted=False, action=Hang()))) as (service, client):
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(SPEC)
        with pytest.raises(SubmitOutcomeUnknown):
            await client.reconcile(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301
    assert len(posts(service)) == 1


async def test_the_grace_time_is_the_callers() -> None:
    shop = Shop(Lost(acted=True, late=50.0))
    async with buying(shop, retries=RetryPolicy(grace=60.0)) as (service, client):
        assert (await client.submit(SPEC)).id == "ck1"
    assert len(posts(service)) == 1


@pytest.mark.parametrize("skew", [timedelta(hours=-5), timedelta(days=900), timedelta(days=-900)])
async def test_the_clock_of_the_service_may_be_off(skew: timedelta) -> None:
    shop = Shop(Lost(acted=True), Lost(acted=False), None, Lost(acted=True))
    shop.skew = skew
    async with buying(shop) as (_, client):
        tasks = [await client.submit(SPEC) for _ in range(4)]
    assert ids(tasks) == ids(shop.sold)
    assert len(shop.sold) == 4


@pytest.mark.parametrize("age", [timedelta(minutes=2), timedelta(hours=3), timedelta(days=2)])
@pytest.mark.parametrize("status", ["COMPLETED", "FAILED"])
async def test_an_older_identical_task_is_not_adopted(age: timedelta, status: str) -> None:
    """A job that runs every day orders the same every day."""
    shop = Shop(Lost(acted=False), Lost(acted=True))
    async with buying(shop) as (_, client):
        old = shop.clock(asyncio.get_running_loop().time()) - age
        order = {"prompt": SPEC.prompt, "aspectRatio": "16:9", "duration": "5"}
        shop.old_rows = [
            {
                "id": "old",
                "model": "t2v",
                "input": order,
                "createdAt": old.isoformat(),
                "completedAt": (old + timedelta(seconds=90)).isoformat(),
                "status": status,
                "output": {},
            }
        ]
        first, second = await client.submit(SPEC), await client.submit(SPEC)
    assert ids([first, second]) == ["ck1", "ck2"]
    assert len(shop.sold) == 2


@pytest.mark.parametrize(("fault", "kind"), [(Lost(False, Reply(500)), ServerError), (Lost(False), TransportError)])
async def test_what_is_never_created_is_an_error_in_the_end(fault: Lost, kind: type[Exception]) -> None:
    shop = Shop(*[fault] * 4)
    async with buying(shop) as (service, client):
        with pytest.raises(kind):
            await client.submit(SPEC)
        assert client.unsettled() == []
    assert shop.sold == []
    assert len(posts(service)) == 4


async def test_a_refusal_after_a_loss_may_be_the_echo_of_a_task() -> None:
    """The first attempt came through late, and has spent the credits that the second one lacks."""
    shop = Shop(Lost(acted=True, late=18.0), Reply(402, {"status": "FAILED", "message": "Insufficient credits"}))
    async with buying(shop) as (_, client):
        assert (await client.submit(SPEC)).id == "ck1"
    assert len(shop.sold) == 1


async def test_a_refusal_after_a_loss_is_raised() -> None:
    shop = Shop(Lost(acted=False), Reply(402, {"status": "FAILED", "message": "Insufficient credits"}))
    async with buying(shop) as (_, client):
        with pytest.raises(InsufficientCredits):
            await client.submit(SPEC)
        assert client.unsettled() == []


@pytest.mark.parametrize("action", [Reply(500), Drop(), Reply(401, {"message": "no"}), Reply(404), Reply(200, b"{}")])
async def test_without_a_list_nothing_is_known(action: Action) -> None:
    shop = Shop(Lost(acted=True))
    shop.override = lambda arrival: action if arrival.method == "GET" else None
    async with buying(shop) as (service, client):
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(SPEC, timeout=120)
        assert len(posts(service)) == 1
        assert len(service.arrivals) < 60
        assert client.unsettled() == [caught.value]
        assert caught.value.idempotency_key in str(caught.value)
        shop.override = lambda _: None
        found = await client.reconcile(caught.value)
        assert found is not None
        assert found.id == "ck1"
        assert client.unsettled() == []
        assert (await found.result()).id == "ck1"
        # Again, with the same result.
        again = await client.reconcile(caught.value)
        assert again is not None
        assert again.id == "ck1"


async def test_of_too_many_unsettled_submits_the_oldest_is_forgotten_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(submit_service, "MAX_UNSETTLED", 2)
    shop = Shop(*[Lost(acted=True)] * 3)
    shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
    async with buying(shop) as (_, client):
        for number in range(3):
            with pytest.raises(SubmitOutcomeUnknown):
                await client.submit(SPEC, idempotency_key=f"order-no-{number}", timeout=30)
        assert [error.idempotency_key for error in client.unsettled()] == ["order-no-1", "order-no-2"]
    (forgotten,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "order-no-0" in forgotten.getMessage()


def pickled(error: SubmitOutcomeUnknown) -> str:
    stored = pickle.dumps(error)
    assert b"aivideomaker_async._" not in stored, "a private name of the package"
    assert b"aivideomaker_async.errors" in stored
    return f"pickle.loads({stored!r})"


def as_json(error: SubmitOutcomeUnknown) -> str:
    return f"SubmitOutcomeUnknown.from_dict(json.loads({json.dumps(error.to_dict())!r}))"


@pytest.mark.parametrize(
    ("write", "keeps_keys", "knows_time"),
    [(pickled, True, False), (pickled, False, True), (pickled, False, False), (as_json, False, True)],
)
async def test_reconcile_in_another_process(
    write: Callable[[SubmitOutcomeUnknown], str], keeps_keys: bool, knows_time: bool
) -> None:
    """The error is pickled or written as JSON, and settled by a process that knows nothing else."""
    shop = Shop(Lost(acted=True), None, keeps_keys=keeps_keys)
    async with buying(shop) as (service, client):
        dated = shop._dated if knows_time else lambda reply: reply
        shop.override = lambda arrival: dated(Reply(500)) if arrival.method == "GET" else None
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(ImageToVideo(image=picture(), prompt="it moves", duration=5), timeout=30)
        shop.override = lambda _: None
        stored = write(caught.value)
        # By this machine's clock, the task is months older than the submit.
        expected = "ck1" if keeps_keys or knows_time else "unknown: ck1"
        grace = 0.1 if expected.startswith("unknown") else 15.0
        assert await asyncio.to_thread(_reconcile_elsewhere, service.url, stored, grace) == expected


RECONCILE = """
import asyncio, json, pickle, sys
from aivideomaker_async import AIVideoMaker, RateLimiter, RetryPolicy, SubmitOutcomeUnknown

async def main():
    options = dict(base_url=sys.argv[1], limiter=RateLimiter(), retries=RetryPolicy(grace=float(sys.argv[3])))
    async with AIVideoMaker("ak_test", **options) as client:
        try:
            task = await client.reconcile(eval(sys.argv[2]))
            print(task and task.id)
        except SubmitOutcomeUnknown as error:
            print("unknown:", *(candidate.id for candidate in error.candidates))

asyncio.run(main())
"""


def _reconcile_elsewhere(url: str, stored: str, grace: float) -> str:
    command = [sys.executable, "-c", RECONCILE, url, stored, str(grace)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


async def test_an_error_made_by_hand_does_not_keep_its_key_from_being_used() -> None:
    """Key and time were noted, and the rest was lost: what was ordered is what is ordered now."""
    shop = Shop()
    async with buying(shop) as (service, client):
        error = SubmitOutcomeUnknown("noted", model="t2v", idempotency_key="order-42", began_at=START)
        shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
        with pytest.raises(SubmitOutcomeUnknown):
            await client.reconcile(error, timeout=20)
        shop.override = lambda _: None
        task = await client.submit(SPEC, idempotency_key="order-42")
    assert ids(shop.sold) == [task.id]
    assert len(posts(service)) == 1


async def test_a_task_that_is_known_to_be_somebody_elses_keeps_no_submit_unknown() -> None:
    """Only people know it, where another process has ordered the same."""
    shop = Shop(Lost(acted=False))
    other = {"id": "ck9", "model": "t2v", "status": "PROGRESS", "input": {"prompt": SPEC.prompt}, "createdAt": None}
    async with buying(shop) as (service, client):
        shop.old_rows = [other]
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(SPEC)
        assert ids(caught.value.candidates) == ["ck9"]
        with pytest.raises(ConfigurationError, match="known='ck9': must be task ids in a list"):
            await client.reconcile(caught.value, known="ck9")
        assert await client.reconcile(caught.value, known=["ck9"]) is None
    assert len(posts(service)) == 1


async def test_two_clients_with_one_key_do_not_share_a_task() -> None:
    shop = Shop(Lost(acted=True), Lost(acted=False))
    async with scripted(shop) as service:
        options: dict[str, Any] = {"base_url": service.url, "limiter": RateLimiter()}
        async with AIVideoMaker("ak_test", **options) as one, AIVideoMaker("ak_test", **options) as two:
            tasks = await asyncio.gather(one.submit(SPEC), two.submit(SPEC))
    assert ids(tasks) == ids(shop.sold) == ["ck1", "ck2"]


# --- keys of the caller ----------------------------------------------------------------------------


@pytest.mark.parametrize("keeps_keys", [True, False])
async def test_the_same_key_gives_the_same_task(keeps_keys: bool) -> None:
    """One after the other and at once; the service may ignore keys."""
    shop = Shop(keeps_keys=keeps_keys)
    async with buying(shop) as (_, client):
        tasks = await asyncio.gather(*[client.submit(SPEC, idempotency_key="order-42") for _ in range(3)])
        tasks.append(await client.submit(SPEC, idempotency_key="order-42"))
    assert ids(tasks) == ["ck1"] * 4
    assert len(shop.sold) == 1


async def test_the_same_key_for_another_order_is_a_conflict() -> None:
    shop = Shop()
    async with buying(shop) as (service, client):
        await client.submit(SPEC, idempotency_key="order-42")
        with pytest.raises(IdempotencyConflict, match="nothing was sent"):
            await client.submit(OTHER, idempotency_key="order-42")
    assert len(posts(service)) == 1


async def test_a_key_whose_submit_was_cancelled_is_settled_first() -> None:
    """An agent gives up after a minute, and asks again later."""
    shop = Shop(Lost(acted=True, action=Hang()))
    async with buying(shop) as (service, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await client.submit(SPEC, idempotency_key="order-42")
        assert [error.idempotency_key for error in client.unsettled()] == ["order-42"]
        task = await client.submit(SPEC, idempotency_key="order-42")
        assert task.id == "ck1"
        assert client.unsettled() == []
    assert len(posts(service)) == 1


async def test_a_key_whose_submit_failed_can_be_used_again() -> None:
    shop = Shop(Reply(402, {"status": "FAILED", "message": "Insufficient credits"}))
    async with buying(shop) as (_, client):
        with pytest.raises(InsufficientCredits):
            await client.submit(SPEC, idempotency_key="order-42")
        assert (await client.submit(SPEC, idempotency_key="order-42")).id == "ck1"


# --- cancellation ----------------------------------------------------------------------------------


async def test_a_submit_cancelled_anywhere_is_neither_lost_nor_repeated() -> None:
    """What was created is either a handle, or can be reconciled; and nothing is held."""
    reported: list[SubmitOutcomeUnknown] = []
    shop = Shop()
    shop.answer_after = 0.05
    handles: list[VideoTask] = []

    async def submit() -> None:
        handles.append(await client.submit(SPEC))

    async with buying(shop, on_unsettled=reported.append) as (_, client):

        async def check() -> None:
            await assert_nothing_held(client)
            sold = len(shop.sold)
            await asyncio.sleep(1.0)
            unsettled = client.unsettled()
            assert reported == unsettled
            assert len(unsettled) <= 1
            for error in unsettled:
                found = await client.reconcile(error)
                handles.extend([] if found is None else [found])
            reported.clear()
            # What arrived after the cancellation is created all the same.
            assert sold <= len(shop.sold)
            assert ids(handles) == ids(shop.sold)

        await cancel_everywhere(submit, check, at_least=8)
    assert handles


@pytest.mark.parametrize("acted", [True, False])
async def test_a_search_cancelled_anywhere_is_neither_lost_nor_repeated(acted: bool) -> None:
    shop = Shop()
    handles: list[VideoTask] = []

    async def submit() -> None:
        shop.faults = [Lost(acted=acted)]
        handles.append(await client.submit(SPEC))

    retries = RetryPolicy(grace=0.5)
    async with buying(shop, limiter=RateLimiter(100_000), retries=retries) as (_, client):

        async def check() -> None:
            await assert_nothing_held(client)
            for error in client.unsettled():
                found = await client.reconcile(error)
                handles.extend([] if found is None else [found])
            assert client.unsettled() == []
            assert ids(handles) == ids(shop.sold)

        await cancel_everywhere(submit, check, at_least=10 if acted else 20)


async def test_a_submit_that_is_cancelled_before_it_is_sent_is_forgotten() -> None:
    shop = Shop(Reply(429, {"message": "later"}, {"Retry-After": "30"}))
    async with buying(shop) as (service, client):
        submit = asyncio.ensure_future(client.submit(SPEC))
        await asyncio.sleep(10)
        submit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submit
        assert client.unsettled() == []
    assert len(posts(service)) == 1


async def test_closing_the_client_ends_submits_in_flight_as_unknown() -> None:
    shop = Shop(Lost(acted=True, action=Hang()))
    async with scripted(shop) as service:
        client = AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter())
        submit = asyncio.ensure_future(client.submit(SPEC))
        await service.arrival()
        await client.aclose()
        with pytest.raises(SubmitOutcomeUnknown):
            await submit
        assert len(client.unsettled()) == 1
        with pytest.raises(ConfigurationError):
            await client.reconcile(client.unsettled()[0])
        assert len(client.unsettled()) == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_callback_that_fails_is_logged(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise ValueError("the callback's own")

    async def fail_later(_: object) -> None:
        await asyncio.sleep(0)
        raise ValueError("the callback's own")

    shop = Shop(Lost(acted=True, action=Hang()))
    async with buying(shop, on_unsettled=fail_later if is_async else fail) as (_, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await client.submit(SPEC)
        assert len(client.unsettled()) == 1
    assert "on_unsettled failed" in caplog.text


# --- several clients, several days -------------------------------------------------------------------


async def test_the_same_key_in_two_clients_of_a_process() -> None:
    """One is cancelled, the other one finds what became of it."""
    shop = Shop(Lost(acted=True, action=Hang()))
    async with scripted(shop) as service:
        options: dict[str, Any] = {"base_url": service.url, "limiter": RateLimiter()}
        async with AIVideoMaker("ak_test", **options) as one, AIVideoMaker("ak_test", **options) as two:
            first = asyncio.ensure_future(one.submit(SPEC, idempotency_key="order-42"))
            await service.arrival()
            second = asyncio.ensure_future(two.submit(SPEC, idempotency_key="order-42"))
            await asyncio.sleep(1.0)
            first.cancel()
            await asyncio.wait([first])
            (error,) = one.unsettled()
            assert (await second).id == "ck1"
            assert one.unsettled() == []
            found = await one.reconcile(error)
            assert found is not None
            assert found.id == "ck1"
            assert one.unsettled() == []
    assert len(posts(service)) == 1


async def test_a_client_that_is_gone_has_bought_what_it_has_bought() -> None:
    """A program may open a client for each job."""
    shop = Shop(None, Lost(acted=False))
    async with scripted(shop) as service:
        for number in ("ck1", "ck2"):
            async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
                assert (await client.submit(SPEC)).id == number
            del client


async def test_a_person_can_settle_what_cannot_be_known() -> None:
    """Two submits with different images look the same in the list, and a person has looked at the videos."""
    shop = Shop(Lost(acted=True), Lost(acted=True))
    specs = [ImageToVideo(image=picture(color), prompt="it moves", duration=5) for color in ("red", "blue")]
    async with buying(shop) as (service, client):
        outcomes = await asyncio.gather(*map(client.submit, specs), return_exceptions=True)
        assert len(posts(service)) == 2
        for outcome in outcomes:
            assert isinstance(outcome, SubmitOutcomeUnknown)
            assert ids(outcome.candidates) == ["ck1", "ck2"]
        assert set(client.unsettled()) == set(outcomes)
        one, other = client.unsettled()
        task = client.settle(one, "ck2")
        assert task is not None
        assert task.id == "ck2"
        found = await client.reconcile(other)
        assert found is not None
        assert found.id == "ck1"
        assert client.unsettled() == []
    shop = Shop(Lost(acted=True), Lost(acted=True))
    async with buying(shop) as (_, client):
        await asyncio.gather(*map(client.submit, specs), return_exceptions=True)
        assert [client.settle(error, None) for error in client.unsettled()] == [None, None]
        assert client.unsettled() == []


async def test_lists_that_fail_are_shared_as_well() -> None:
    """The query limit is small, and others need it."""
    shop = Shop(*[Lost(acted=True)] * 20)
    shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
    specs = [TextToVideo(prompt=f"fox number {number}", aspect_ratio="1:1", duration=5) for number in range(20)]
    async with buying(shop) as (service, client):
        submits = [client.submit(spec, timeout=120) for spec in specs]
        outcomes = await asyncio.gather(*submits, return_exceptions=True)
        assert all(isinstance(outcome, SubmitOutcomeUnknown) for outcome in outcomes)
    assert len(service.arrivals) - 20 <= 60
