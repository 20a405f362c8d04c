"""Revision 2026-09 over HTTP. Every answer is held to the simulator's own OpenAPI document."""

import io
import json
from typing import Any

import av
import pytest

from tests.simulator.client import PNG, PNG_URI, T2V, FakeClock, running
from tests.simulator.conforming import Conforming, september
from tests.simulator.test_models_2026_09 import VALID

pytestmark = pytest.mark.anyio

GENERATE, QUOTE, ACCOUNT = "/api/v1/generate/t2v", "/api/v1/quote/t2v", "/api/v1/account"
KEY = {"Idempotency-Key": "key-0001"}
PRICE = 15


async def order(call: Conforming, headers: dict[str, str] | None = None, **changes: object) -> tuple[int, Any]:
    answer = await call("POST", GENERATE, {**T2V, **changes}, headers=headers)
    return answer.status, answer.json


def code(told: tuple[int, Any]) -> tuple[int, str]:
    status, body = told
    assert body["status"] == "FAILED"
    assert body["error"] == body["message"]
    return status, body["errorCode"]


# Submit


@pytest.mark.parametrize("model", VALID)
async def test_every_model_can_be_quoted_and_ordered(model: str) -> None:
    async with september(durations=(0, 10), clock=FakeClock()) as (simulator, call):
        quote = (await call("POST", f"/api/v1/quote/{model}", VALID[model])).json
        answer = (await call("POST", f"/api/v1/generate/{model}", VALID[model])).json
        price = quote["credits"]
        assert (answer["creditsCharged"], answer["idempotentReplay"]) == (price, False)
        assert simulator.credits == 10_000 - price
        simulator.advance(10)
        task = (await call("GET", f"/api/v1/tasks/{answer['taskId']}")).json
        assert (task["model"], task["input"], task["status"]) == (model, VALID[model], "COMPLETED")
        assert [task[name] for name in ("creditsCharged", "creditsRefunded", "listValueCents")] == [price, 0, price]
        assert task["idempotencyKey"] is None
        assert (await call("GET", "/api/v1/tasks")).json == {"tasks": [task]}


@pytest.mark.parametrize(
    ("path", "body", "status", "expected"),
    [
        ("generate/lv", {"image": PNG_URI, "prompt": ["x"]}, 400, "INVALID_MODEL"),
        ("generate/t2v", {**T2V, "duration": 5}, 400, "INVALID_PAYLOAD"),
        ("generate/seedance20", {}, 400, "INVALID_PAYLOAD"),
        ("quote/lv", {"image": PNG_URI, "prompt": ["x"]}, 400, "INVALID_MODEL"),
        ("quote/t2v", {**T2V, "duration": 5}, 400, "INVALID_PAYLOAD"),
        ("quote/minimax", {"content": "x", "imageUrl": "x"}, 400, "INVALID_PAYLOAD"),
        ("generate/t2v", {**T2V, "prompt": "[reject]"}, 422, "CONTENT_REJECTED"),
    ],
)
async def test_errors_have_a_code(path: str, body: object, status: int, expected: str) -> None:
    async with september() as (simulator, call):
        answer = await call("POST", f"/api/v1/{path}", body)
        assert code((answer.status, answer.json)) == (status, expected)
        assert (len(simulator.tasks), simulator.credits) == (0, 10_000)


async def test_a_wrong_key_and_a_wrong_type_have_a_code() -> None:
    async with september() as (_, call):
        answer = await call("POST", QUOTE, T2V, key="wrong")
        assert code((answer.status, answer.json)) == (401, "AUTH_FAILED")
        for path in (QUOTE, GENERATE):
            answer = await call("POST", path, data=b"{}", headers={"Content-Type": "text/plain"})
            assert code((answer.status, answer.json)) == (415, "INVALID_PAYLOAD")
        text = "Task not found"
        assert (await call("GET", "/api/v1/tasks/x")).json == {"status": "FAILED", "message": text, "error": text}


async def test_refunds_are_told_with_the_task() -> None:
    async with september(durations=(10, 50), clock=FakeClock()) as (simulator, call):
        failing, cancelled = await call.submit(prompt="[fail: no]"), await call.submit()
        assert (await call("PUT", f"/api/v1/tasks/{cancelled}/cancel")).json["status"] == "CANCEL"
        before, refunded = [PRICE, 0, PRICE], [PRICE, PRICE, 0]
        for seconds, expected in ((0, before), (60, refunded)):
            simulator.advance(seconds)
            rows = {row["id"]: row for row in (await call("GET", "/api/v1/tasks")).json["tasks"]}
            costs = {
                one: [row[name] for name in ("creditsCharged", "creditsRefunded", "listValueCents")]
                for one, row in rows.items()
            }
            assert costs == {failing: expected, cancelled: refunded}
        assert rows[failing]["output"] == {"error": "no"}
        assert rows[cancelled]["output"] is None
        assert simulator.credits == 10_000
        late = await call("PUT", f"/api/v1/tasks/{failing}/cancel")
        assert (late.status, late.json["status"]) == (400, "FAILED")
        assert (await call("GET", f"/api/v1/tasks/{failing}/status")).json == {"status": "FAILED"}


async def test_what_was_refunded_stays_refunded() -> None:
    """Also when the task is put into another status by hand, before anybody has asked for the balance."""
    async with september(clock=FakeClock()) as (simulator, call):
        task_id = await call.submit()
        for status in ("FAILED", "PROGRESS"):
            simulator.set_status(task_id, status)
        assert (await call("GET", f"/api/v1/tasks/{task_id}")).json["creditsRefunded"] == PRICE
        assert (simulator.credits, simulator.tasks[task_id].credits_refunded) == (10_000, PRICE)


# Idempotency


async def test_keys_are_kept_by_default() -> None:
    async with september(durations=(10, 50)) as (simulator, call):
        (_, first), (status, again) = await order(call, KEY), await order(call, KEY)
        assert (status, again) == (200, {**first, "idempotentReplay": True})
        assert (first["idempotentReplay"], simulator.credits) == (False, 10_000 - PRICE)
        task = (await call("GET", f"/api/v1/tasks/{first['taskId']}")).json
        assert task["idempotencyKey"] == "key-0001"
        assert code(await order(call, KEY, prompt="other")) == (409, "IDEMPOTENCY_CONFLICT")
        body = {**T2V, "image": PNG_URI, "duration": "5"}
        other = await call("POST", "/api/v1/generate/i2v", body, headers=KEY)
        assert code((other.status, other.json)) == (409, "IDEMPOTENCY_CONFLICT")
        assert len(simulator.tasks) == 1


async def test_keys_can_be_ignored_and_are_not_told_then() -> None:
    async with september(idempotency="ignored") as (simulator, call):
        answers = [(await order(call, {"Idempotency-Key": "x"}))[1] for _ in range(2)]
        assert [one["idempotentReplay"] for one in answers] == [False, False]
        rows = (await call("GET", "/api/v1/tasks")).json["tasks"]
        assert [row["idempotencyKey"] for row in rows] == [None, None]
        assert [task.idempotency_key for task in simulator.tasks.values()] == ["x", "x"]


@pytest.mark.parametrize(("key", "status"), [("x" * 7, 400), ("x" * 8, 200), ("x" * 128, 200), ("x" * 129, 400)])
async def test_a_key_has_8_to_128_characters(key: str, status: int) -> None:
    async with september() as (_, call):
        told = await order(call, {"Idempotency-Key": key})
        assert told[0] == status
        if status == 400:
            assert code(told) == (400, "INVALID_PAYLOAD")


async def test_an_order_that_was_refused_does_not_use_up_its_key() -> None:
    async with september() as (_, call):
        assert code(await order(call, {**KEY, "X-Max-Credits": "14"})) == (422, "BUDGET_EXCEEDED")
        assert code(await order(call, KEY, prompt="[reject]")) == (422, "CONTENT_REJECTED")
        status, body = await order(call, {**KEY, "X-Max-Credits": "15"}, prompt="other")
        assert (status, body["idempotentReplay"]) == (200, False)


# What an order may cost


@pytest.mark.parametrize(("budget", "status"), [("0", 422), ("14", 422), ("15", 200), ("9" * 100, 200)])
async def test_a_price_above_the_budget_is_refused_before_it_is_charged(budget: str, status: int) -> None:
    async with september() as (simulator, call):
        told = await order(call, {"X-Max-Credits": budget})
        assert told[0] == status
        assert simulator.credits == 10_000 - (PRICE if status == 200 else 0)
        if status == 422:
            assert code(told) == (422, "BUDGET_EXCEEDED")


async def test_a_budget_is_a_whole_number() -> None:
    async with september() as (simulator, call):
        assert code(await order(call, {"X-Max-Credits": "1.5"})) == (400, "INVALID_PAYLOAD")
        assert len(simulator.tasks) == 0


async def test_a_replay_is_not_limited_by_anything_that_costs() -> None:
    async with september(credits=PRICE, daily_credit_limit=PRICE) as (_, call):
        assert (await order(call, KEY))[0] == 200
        status, body = await order(call, {**KEY, "X-Max-Credits": "0"})
        assert (status, body["idempotentReplay"]) == (200, True)


async def test_march_knows_no_budget() -> None:
    async with running() as (_, call):
        assert (await call("POST", GENERATE, T2V, headers={"X-Max-Credits": "x"})).status == 200


async def test_an_empty_account_is_told() -> None:
    async with september(credits=PRICE - 1) as (_, call):
        assert code(await order(call)) == (402, "INSUFFICIENT_CREDITS")


async def test_what_may_be_spent_in_a_day_is_limited() -> None:
    async with september(daily_credit_limit=2 * PRICE, clock=FakeClock(), durations=(10, 50), history=50) as (
        simulator,
        call,
    ):
        await call.submit(prompt="[fail]")
        simulator.advance(3600)
        for _ in range(2):
            await call.submit()
        told = await order(call)
        assert code(told) == (402, "INSUFFICIENT_CREDITS")
        assert "daily limit of 30 credits" in told[1]["message"]
        simulator.advance(23 * 3600)
        assert (await order(call))[0] == 402
        simulator.advance(3600)
        assert (await order(call))[0] == 200
        assert (await call("GET", ACCOUNT)).json["dailyCreditLimit"] == 2 * PRICE


async def test_submits_may_be_limited_for_a_minute() -> None:
    clock = FakeClock()
    async with september(generation_limit=2, clock=clock, speed=2.0) as (simulator, call):
        statuses = [(await order(call, prompt=prompt))[0] for prompt in ("a", "")]
        assert statuses == [200, 400]
        refused = await call("POST", GENERATE, T2V)
        assert code((refused.status, refused.json)) == (429, "RATE_LIMITED")
        assert refused.headers["Retry-After"] == "30"
        assert (await call("POST", QUOTE, T2V)).status == 200
        assert simulator.statistics().queries == 0
        clock.seconds += 30
        assert (await order(call))[0] == 200
        assert (await call("GET", ACCOUNT)).json["generationRequestsPerMinute"] == 2


# Moderation


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        ("t2v", {"prompt": "a [reject: too wild] b"}, "too wild"),
        ("minimax", {"content": "[reject]"}, "The content was rejected by moderation"),
        ("wan27", {"prompt": "[reject:]"}, "The content was rejected by moderation"),
    ],
)
async def test_moderation_refuses_an_order_and_not_its_quote(model: str, changes: dict[str, str], told: str) -> None:
    body = {**VALID[model], **changes}
    async with september() as (simulator, call):
        assert (await call("POST", f"/api/v1/quote/{model}", body)).status == 200
        answer = await call("POST", f"/api/v1/generate/{model}", body)
        assert code((answer.status, answer.json)) == (422, "CONTENT_REJECTED")
        assert answer.json["message"] == told
        assert (len(simulator.tasks), simulator.credits) == (0, 10_000)


async def test_moderation_refuses_in_march_too() -> None:
    async with running() as (simulator, call):
        answer = await call("POST", "/api/v1/generate/lv", {"image": PNG_URI, "prompt": ["a", "[reject: b]"]})
        assert (answer.status, answer.json) == (422, {"status": "FAILED", "message": "b"})
        assert simulator.credits == 10_000


# Account and quotes


async def test_the_account_is_told_and_counts_as_a_query() -> None:
    async with september(limit=2, credits=415, clock=FakeClock()) as (simulator, call):
        assert (await call("GET", ACCOUNT)).json == {
            "ok": True,
            "apiVersion": "v1",
            "skillVersion": "1.0.15",
            "currentBalance": 415,
            "supportedModels": list(VALID),
            "dailyCreditLimit": -1,
            "generationRequestsPerMinute": -1,
            "creditWarningAt": -1,
        }
        await call("GET", "/api/v1/tasks")
        refused = await call("GET", ACCOUNT)
        assert code((refused.status, refused.json)) == (429, "RATE_LIMITED")
        assert simulator.statistics().queries == 3


async def test_the_account_tells_what_its_owner_has_set() -> None:
    async with september(credit_warning_at=0, supported_models=("wan27", "veo9")) as (_, call):
        account = (await call("GET", ACCOUNT)).json
        assert (account["creditWarningAt"], account["supportedModels"]) == (0, ["wan27", "veo9"])
        for path in (GENERATE, QUOTE, "/api/v1/generate/veo9"):
            answer = await call("POST", path, T2V)
            assert code((answer.status, answer.json)) == (400, "INVALID_MODEL")
        assert (await call("POST", "/api/v1/quote/wan27", VALID["wan27"])).status == 200


async def test_models_can_be_missing_in_march_too() -> None:
    async with running(supported_models=["i2v"], history=5, seed=1) as (simulator, call):
        assert (await call("POST", GENERATE, T2V)).status == 400
        assert {task.model for task in simulator.tasks.values()} - {"i2v"}


@pytest.mark.parametrize(("credits", "affordable"), [(124, False), (125, True)])
async def test_a_quote_tells_the_price_and_does_nothing(
    credits: int,  # noqa: A002
    affordable: bool,
) -> None:
    async with september(credits=credits, limit=1) as (simulator, call):
        body = {"prompt": "x", "image": [PNG_URI]}
        answers = [await call("POST", "/api/v1/quote/happyhorse", body, headers=KEY) for _ in range(3)]
        assert {answer.status for answer in answers} == {200}
        assert answers[0].json == {
            "model": "happyhorse",
            "credits": 125,
            "listPriceUsd": 1.25,
            "usdPerCredit": 0.01,
            "currentBalance": credits,
            "affordable": affordable,
            "billable": False,
        }
        assert (len(simulator.tasks), simulator.credits, simulator.statistics().queries) == (0, credits, 0)
        assert simulator._server.uploads == {}


async def test_a_quote_is_in_cents() -> None:
    """No price has the tail of a binary fraction."""
    async with september() as (_, call):
        for seconds in range(4, 16):
            body = {**VALID["seedance20"], "duration": seconds, "resolution": 720}
            quote = (await call("POST", "/api/v1/quote/seedance20", body)).json
            assert len(json.dumps(quote["listPriceUsd"])) <= 4


@pytest.mark.parametrize(("method", "path"), [("POST", ACCOUNT), ("GET", QUOTE), ("HEAD", ACCOUNT)])
async def test_a_wrong_method_is_answered_405(method: str, path: str) -> None:
    async with september() as (_, call):
        answer = await call(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET" if path == ACCOUNT else "POST")


@pytest.mark.parametrize(("method", "path"), [("GET", ACCOUNT), ("POST", QUOTE)])
async def test_march_has_neither_an_account_nor_quotes(method: str, path: str) -> None:
    async with running() as (_, call):
        answer = await call(method, path, T2V)
        assert (answer.status, answer.json["status"]) == (404, "FAILED")


# Images, videos and the past


async def test_every_uploaded_image_is_shown_by_its_url() -> None:
    async with september() as (simulator, call):
        body = {"content": "x", "referenceImageUrls": [PNG_URI, "https://example.com/a.png", PNG_URI]}
        task_id = (await call("POST", "/api/v1/generate/minimax", body)).json["taskId"]
        shown = (await call("GET", f"/api/v1/tasks/{task_id}")).json["input"]["referenceImageUrls"]
        assert shown[0] == shown[2]
        assert shown[0].startswith(f"{simulator.url}/uploads/")
        assert shown[1] == "https://example.com/a.png"
        assert (await call("GET", shown[0], key="")).body == PNG


@pytest.mark.parametrize(
    ("model", "changes", "size"),
    [
        ("minimax", {"aspectRatio": "auto", "imageUrl": PNG_URI}, (480, 480)),
        ("minimax", {"aspectRatio": "21:9"}, (640, 360)),
        ("seedance20", {"ratio": "9:16", "prompt": "x" * 2000}, (360, 640)),
        ("wan27", {"ratio": "3:4"}, (360, 640)),
        ("happyhorse", {"ratio": "4:3", "duration": 3.4, "image": [PNG_URI, PNG_URI]}, (640, 360)),
        ("happyhorse", {"ratio": "16:9", "image": [PNG_URI]}, (480, 480)),
    ],
)
async def test_videos_of_all_models_are_rendered(model: str, changes: dict[str, Any], size: tuple[int, int]) -> None:
    async with september(render=True, durations=(0, 0)) as (_, call):
        answer = await call("POST", f"/api/v1/generate/{model}", {**VALID[model], **changes})
        task = (await call("GET", f"/api/v1/tasks/{answer.json['taskId']}")).json
        video = await call("GET", task["output"]["url"], key="")
        with av.open(io.BytesIO(video.body), "r") as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == size


async def test_an_account_has_a_past_with_all_models() -> None:
    async with september(history=300, seed=1) as (_, call):
        rows = (await call("GET", "/api/v1/tasks")).json["tasks"]
        assert {row["model"] for row in rows} == set(VALID)
        assert {row["status"] for row in rows} == {"COMPLETED", "FAILED"}
        for row in rows:
            charged = row["creditsCharged"]
            assert row["creditsRefunded"] == (charged if row["status"] == "FAILED" else 0)
