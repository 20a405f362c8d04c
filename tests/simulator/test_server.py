"""The API over HTTP. Answers of revision 2026-09 are held to the simulator's OpenAPI document."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import gzip
import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from aivideomaker_async.simulator.options import SimulatorOptions
from aivideomaker_async.simulator.response_bodies import LIST_BLOCK_TASKS
from tests.simulator.client import PNG, PNG_URI, T2V, Caller, FakeClock, running
from tests.simulator.conforming import september
from tests.simulator.test_contract import VALID

pytestmark = pytest.mark.anyio

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)
GENERATE, QUOTE, ACCOUNT, TASKS = "/api/v1/generate/t2v", "/api/v1/quote/t2v", "/api/v1/account", "/api/v1/tasks"
KEY = {"Idempotency-Key": "key-0001"}


# --- keys, routes and methods ------------------------------------------------------------------------


async def test_the_key_is_checked_before_anything_else() -> None:
    """Before the method, the path and the body, and before the query is counted."""
    requests = [("GET", TASKS), ("POST", GENERATE), ("POST", "/api/v1/generate/unknown"), ("DELETE", TASKS)]
    async with running() as (simulator, call), aiohttp.ClientSession() as session:
        for method, path in [*requests, ("GET", "/api/v1/nowhere")]:
            for key in ("", "ak_wrong"):
                answer = await call(method, path, key=key)
                message = "Invalid API key. Please check your API key."
                assert (answer.status, answer.json) == (401, {"status": "FAILED", "message": message})
            async with session.request(method, f"{simulator.url}{path}") as bare:
                assert bare.status == 401
        assert simulator.statistics().queries == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        *(("GET", path, 404, "") for path in ("/", "/api/v1", "/api/v1/tasks/a/b", "/videos/", "/videos/x.mp4")),
        *(("GET", ACCOUNT, 404, ""), ("POST", QUOTE, 404, "")),
        *((method, TASKS, 405, "GET") for method in ("POST", "HEAD")),
        ("PUT", "/api/v1/tasks/x", 405, "GET"),
        *((method, "/api/v1/tasks/x/cancel", 405, "PUT") for method in ("POST", "DELETE")),
        ("GET", GENERATE, 405, "POST"),
        ("POST", "/videos/x.mp4", 405, "GET,HEAD"),
    ],
)
async def test_unknown_paths_and_wrong_methods_are_answered_in_json(
    method: str, path: str, status: int, allowed: str
) -> None:
    async with running() as (_, call):
        answer = await call(method, path)
        assert (answer.status, answer.headers.get("Allow", "")) == (status, allowed)
        assert method == "HEAD" or answer.json["status"] == "FAILED"


async def test_an_endpoint_of_a_newer_revision_is_not_found_and_the_message_says_how_to_get_it() -> None:
    """Whatever the method: to a client it is as any other path that is not there."""
    hint = 'revision 2026-09 has it: start the simulator with --revision 2026-09, or Simulator(revision="2026-09")'
    async with running() as (_, call):
        for method, path in [("GET", ACCOUNT), ("POST", ACCOUNT), ("POST", QUOTE), ("GET", QUOTE)]:
            answer = await call(method, path)
            assert (answer.status, answer.json) == (404, {"status": "FAILED", "message": f"Not Found ({hint})"})


RIGHT_HEADERS = {"Content-Type": "application/json", "User-Agent": "Mozilla/5.0 (x)"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"User-Agent": "Mozilla/5.0"}, 200),
        ({"Content-Type": "text/plain"}, 403),
        ({"Content-Type": ""}, 403),
        ({"User-Agent": "curl/8.5.0"}, 403),
        ({"User-Agent": "x Mozilla/5.0"}, 403),
        ({"User-Agent": ""}, 403),
    ],
)
async def test_an_edge_may_insist_on_headers(headers: dict[str, str], status: int) -> None:
    """In front of everything but files and the document: it knows no keys, and counts no queries."""
    async with running(strict_headers=True) as (simulator, call):
        answer = await call("GET", TASKS, headers={**RIGHT_HEADERS, **headers})
        assert (answer.status, simulator.statistics().queries) == (status, int(status == 200))
        if status == 403:
            assert (await call("GET", TASKS, headers={**RIGHT_HEADERS, **headers}, key="wrong")).status == 403
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.body.startswith(b"<!DOCTYPE html>")
        assert (await call("GET", "/openapi.json", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("POST", ACCOUNT, "GET"), ("HEAD", ACCOUNT, "GET"), ("GET", QUOTE, "POST")]
)
async def test_september_has_methods_of_its_own(method: str, path: str, allowed: str) -> None:
    async with september() as (_, call):
        answer = await call(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)


# --- submits -----------------------------------------------------------------------------------------


async def test_an_order_is_quoted_charged_and_finished() -> None:
    body, price = VALID["2026-09"]["wan27"]
    async with september(durations=(0, 10), clock=FakeClock()) as (simulator, call):
        quoted = (await call("POST", "/api/v1/quote/wan27", body)).json
        assert (quoted["credits"], len(simulator.tasks), simulator.credits) == (price, 0, 10_000)
        answer = await call("POST", "/api/v1/generate/wan27", body)
        (task_id,) = simulator.tasks
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert (answer.json["taskId"], answer.json["creditsCharged"]) == (task_id, price)
        assert simulator.credits == 10_000 - price
        simulator.advance(10)
        task = (await call("GET", f"/api/v1/tasks/{task_id}")).json
        assert (task["model"], task["input"], task["status"]) == ("wan27", body, "COMPLETED")
        assert [task[name] for name in ("creditsCharged", "creditsRefunded", "listValueCents")] == [price, 0, price]
        assert (await call("GET", TASKS)).json == {"tasks": [task]}


@pytest.mark.parametrize(
    ("revision", "options", "model", "body", "status", "code", "message"),
    [
        ("2026-03", {}, "t2v", {**T2V, "duration": 5}, 400, None, "duration"),
        ("2026-03", {}, "so%2Fra", T2V, 400, None, "Unsupported model: so/ra"),
        ("2026-03", {"supported_models": ["i2v"]}, "t2v", T2V, 400, None, "Unsupported model: t2v"),
        ("2026-09", {"supported_models": ["veo9"]}, "veo9", T2V, 400, "INVALID_MODEL", "Unsupported model: veo9"),
        ("2026-09", {"daily_credit_limit": 14}, "t2v", T2V, 402, "INSUFFICIENT_CREDITS", "daily limit of 14"),
        ("2026-09", {"headers": {"X-Max-Credits": "14"}}, "t2v", T2V, 422, "BUDGET_EXCEEDED", "budget of 14"),
        ("2026-09", {"headers": {"Idempotency-Key": "short"}}, "t2v", T2V, 400, "INVALID_PAYLOAD", "8 to 128"),
    ],
)
async def test_a_refused_submit_has_a_status_and_in_september_a_code(
    revision: str, options: dict[str, Any], model: str, body: Any, status: int, code: str | None, message: str
) -> None:
    options = dict(options)
    headers = options.pop("headers", {})
    async with running(revision=revision, **options) as (simulator, call):
        before = simulator.credits
        answer = await call("POST", f"/api/v1/generate/{model}", body, headers=headers)
        assert (answer.status, answer.json["status"], answer.json.get("errorCode")) == (status, "FAILED", code)
        assert message in answer.json["message"]
        has_error = code not in {None, "INVALID_MODEL"}
        assert answer.json.get("error") == (answer.json["message"] if has_error else None)
        assert (len(simulator.tasks), simulator.credits) == (0, before)


@pytest.mark.parametrize(
    ("headers", "data", "status"),
    [
        *(({"Content-Type": media}, None, 415) for media in ("text/plain", "application/x-www-form-urlencoded", "x")),
        ({"Content-Type": "application/json; charset=utf-8"}, None, 200),
        *(({"Content-Encoding": encoding}, b"no archive", 400) for encoding in ("gzip", "deflate")),
        ({"Content-Encoding": "gzip"}, gzip.compress(json.dumps(T2V).encode(), mtime=0), 200),
    ],
)
async def test_a_body_is_declared_as_json_and_may_be_compressed(
    headers: dict[str, str], data: bytes | None, status: int
) -> None:
    async with september() as (_, call):
        body = data if data is not None else json.dumps(T2V).encode()
        answer = await call("POST", GENERATE, data=body, headers={"Content-Type": "application/json", **headers})
        assert answer.status == status
        assert status == 200 or answer.json["errorCode"] == "INVALID_PAYLOAD"


async def test_a_body_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aivideomaker_async.simulator.server._MAX_BODY_BYTES", 1000)
    async with running() as (_, call):
        answer = await call("POST", GENERATE, {**T2V, "prompt": "x" * 1000})
        assert (answer.status, answer.json["status"]) == (413, "FAILED")


# --- idempotency -------------------------------------------------------------------------------------


async def test_an_ignored_key_is_recorded_and_has_no_effect() -> None:
    async with running() as (simulator, call):
        ids = [await call.submit(headers={"Idempotency-Key": "x"}) for _ in range(2)]
        assert len(set(ids)) == 2
        assert [task.idempotency_key for task in simulator.tasks.values()] == ["x"] * 2
        assert "idempotencyKey" not in (await call("GET", f"/api/v1/tasks/{ids[0]}")).json
        assert "idempotentReplay" not in (await call("POST", GENERATE, T2V)).json
    async with september(idempotency="ignored") as (simulator, call):
        assert [(await call("POST", GENERATE, T2V, headers=KEY)).json["idempotentReplay"] for _ in range(2)] == [
            *(False, False)
        ]
        assert [row["idempotencyKey"] for row in (await call("GET", TASKS)).json["tasks"]] == [None, None]


@pytest.mark.parametrize(("revision", "price"), [("2026-03", 5), ("2026-09", 15)])
async def test_a_kept_key_returns_the_first_task_whatever_the_budget_and_the_balance(revision: str, price: int) -> None:
    async with running(revision=revision, idempotency="kept", credits=price) as (simulator, call):
        headers = [KEY, {**KEY, "X-Max-Credits": "0"}]
        first, again = [await call("POST", GENERATE, T2V, headers=one) for one in headers]
        assert (first.status, first.json["idempotentReplay"]) == (200, False)
        assert (again.status, again.json) == (200, {**first.json, "idempotentReplay": True})
        assert (len(simulator.tasks), simulator.credits) == (1, 0)
        (row,) = (await call("GET", TASKS)).json["tasks"]
        assert row["idempotencyKey"] == "key-0001"
        other = await call("POST", GENERATE, {**T2V, "prompt": "x"}, headers=KEY)
        assert (other.status, other.json["errorCode"]) == (409, "IDEMPOTENCY_CONFLICT")


async def test_the_same_image_is_the_same_request() -> None:
    async with running(idempotency="kept") as (simulator, call):
        ids = {await call.submit("i2v", headers=KEY, image=PNG_URI) for _ in range(2)}
        assert len(ids) == len(simulator.tasks) == 1


# --- images ------------------------------------------------------------------------------------------


async def test_an_image_in_base64_is_stored_and_shown_by_its_url() -> None:
    content = PNG[:8] + bytes(400_000)
    large = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    async with september() as (simulator, call):
        body = {"content": "x", "referenceImageUrls": [PNG_URI, "https://example.com/a.png", large]}
        task_id = (await call("POST", "/api/v1/generate/minimax", body)).json["taskId"]
        shown = (await call("GET", f"/api/v1/tasks/{task_id}")).json["input"]["referenceImageUrls"]
        assert shown[0].startswith(f"{simulator.url}/uploads/")
        assert shown[1] == "https://example.com/a.png"
        small, big = [await call("GET", shown[number], key="") for number in (0, 2)]
        assert (small.status, small.headers["Content-Type"], small.body) == (200, "image/png", PNG)
        assert big.body == content


async def test_an_image_is_stored_neither_for_a_quote_nor_for_an_order_that_is_not_paid() -> None:
    async with september(credits=0) as (simulator, call):
        body = {"image": PNG_URI, "duration": "5"}
        assert (await call("POST", "/api/v1/generate/i2v", body)).status == 402
        assert (await call("POST", "/api/v1/quote/i2v", body)).status == 200
        assert simulator._server.uploads == {}
        assert (await call("GET", "/uploads/0.png")).status == 404


# --- queries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 2])
async def test_a_list_can_be_cut_short(limit: int) -> None:
    async with running(list_limit=limit) as (_, call):
        ids = [await call.submit() for _ in range(3)]
        assert [task["id"] for task in (await call("GET", TASKS)).json["tasks"]] == ids[::-1][:limit]


async def test_a_status_is_answered_alone() -> None:
    async with running(durations=(10, 50)) as (simulator, call):
        task_id = await call.submit()
        seen = []
        for seconds in (0, 10, 50):
            simulator.advance(seconds)
            seen.append((await call("GET", f"/api/v1/tasks/{task_id}/status")).json)
        assert seen == [{"status": one} for one in ("SUBMITTED", "PROGRESS", "COMPLETED")]


async def test_a_list_can_lag_behind() -> None:
    async with running(clock=FakeClock(), durations=(10, 50), list_lag=5) as (simulator, call):
        task_id = await call.submit()
        seen = []
        for seconds in (0, 4, 1, 5, 5):
            simulator.advance(seconds)
            rows = (await call("GET", TASKS)).json["tasks"]
            direct = (await call("GET", f"/api/v1/tasks/{task_id}")).json["status"]
            seen.append(([row["status"] for row in rows], direct))
        assert seen == [
            ([], "SUBMITTED"),
            ([], "SUBMITTED"),
            (["SUBMITTED"], "SUBMITTED"),
            (["SUBMITTED"], "PROGRESS"),
            (["PROGRESS"], "PROGRESS"),
        ]


async def test_a_new_task_may_be_unknown_for_a_while_and_can_be_cancelled() -> None:
    async with running(clock=FakeClock(), lookup_lag=5) as (simulator, call):
        task_id = await call.submit()
        for seconds, status in ((0, 404), (4.5, 404), (0.5, 200)):
            simulator.advance(seconds)
            for path in (f"/api/v1/tasks/{task_id}", f"/api/v1/tasks/{task_id}/status"):
                assert (await call("GET", path)).status == status
            assert len((await call("GET", TASKS)).json["tasks"]) == 1
        assert (await call("PUT", f"/api/v1/tasks/{await call.submit()}/cancel")).status == 200


@pytest.mark.parametrize(
    "task_id",
    ["x", "a%2Fb", "..", "%2e%2e%2fx", "%00", "%F0%9F%98%80", "%ff", "%", "a%20b", "x" * 10_000],
    ids=lambda task_id: task_id[:20],
)
async def test_an_odd_id_is_unknown(task_id: str) -> None:
    async with running() as (_, call):
        for path in (f"/api/v1/tasks/{task_id}", f"/api/v1/tasks/{task_id}/status"):
            assert (await call("GET", path)).json["status"] == "FAILED"
        answer = await call("PUT", "/api/v1/tasks/x%2F..%2Fy/cancel")
        assert (answer.status, answer.json) == (404, {"status": "FAILED", "message": "Task not found"})


async def test_the_account_counts_as_a_query_and_a_quote_does_not() -> None:
    async with september(limit=2, credits=15, clock=FakeClock(), supported_models=("t2v", "veo9")) as (simulator, call):
        assert (await call("GET", ACCOUNT)).json == {
            "ok": True,
            "apiVersion": "v1",
            "skillVersion": "1.0.15",
            "currentBalance": 15,
            "supportedModels": ["t2v", "veo9"],
            "dailyCreditLimit": -1,
            "generationRequestsPerMinute": -1,
            "creditWarningAt": -1,
        }
        await call("GET", TASKS)
        refused = await call("GET", ACCOUNT)
        assert (refused.status, refused.json["errorCode"]) == (429, "RATE_LIMITED")
        quote = {"model": "t2v", "listPriceUsd": 0.15, "usdPerCredit": 0.01, "currentBalance": 15, "billable": False}
        for body, price in ((T2V, 15), ({**T2V, "prompt": "[reject]", "duration": "8"}, 24)):
            answer = await call("POST", QUOTE, body, headers=KEY)
            expected = {**quote, "credits": price, "listPriceUsd": price / 100, "affordable": price <= 15}
            assert (answer.status, answer.json) == (200, expected)
        assert (await call("POST", QUOTE, {**T2V, "duration": 5})).json["errorCode"] == "INVALID_PAYLOAD"
        assert (len(simulator.tasks), simulator.statistics().queries) == (0, 3)


async def test_the_account_has_guardrails_and_a_history_with_all_models() -> None:
    options: SimulatorOptions = {"credit_warning_at": 0, "daily_credit_limit": 30, "history": 300, "seed": 1}
    options |= {"credits": 100}
    async with september(**options) as (simulator, call):
        account = (await call("GET", ACCOUNT)).json
        assert (account["creditWarningAt"], account["dailyCreditLimit"]) == (0, 30)
        mine = await call.submit()
        rows = (await call("GET", TASKS)).json["tasks"]
        assert [row["id"] for row in rows] == [*reversed(list(simulator.tasks))]
        assert rows[0]["id"] == mine
        assert {row["model"] for row in rows} == set(VALID["2026-09"])
        assert all(row["completedAt"] < rows[0]["createdAt"] for row in rows[1:])
        counts = simulator.statistics()
        assert (counts.tasks, simulator.credits, counts.credits_charged, counts.credits_refunded) == (301, 85, 15, 0)


# --- cancels -----------------------------------------------------------------------------------------


async def test_a_submitted_task_is_cancelled_and_refunded() -> None:
    async with september(durations=(10, 50)) as (simulator, call):
        task_id = await call.submit()
        answer = await call("PUT", f"/api/v1/tasks/{task_id}/cancel")
        assert answer.json == {"status": "CANCEL", "taskId": task_id}
        assert simulator.credits == 10_000
        task = (await call("GET", f"/api/v1/tasks/{task_id}")).json
        assert (task["output"], task["creditsRefunded"]) == (None, 15)


@pytest.mark.parametrize(("late_cancel", "shown"), [(200, "PROGRESS"), (400, "FAILED"), (409, "FAILED")])
async def test_a_cancel_that_comes_too_late_changes_nothing(late_cancel: int, shown: str) -> None:
    """With the status 200 it is answered with the status of the task, and otherwise it is an error."""
    async with running(durations=(10, 50), late_cancel=late_cancel) as (simulator, call):
        task_id = await call.submit()
        simulator.advance(10)
        answer = await call("PUT", f"/api/v1/tasks/{task_id}/cancel")
        assert (answer.status, answer.json["status"]) == (late_cancel, shown)
        assert simulator.tasks[task_id].status == "PROGRESS"


# --- the query limit ---------------------------------------------------------------------------------


async def test_all_queries_share_one_limit_and_other_requests_do_not_count() -> None:
    async with running(limit=3, clock=FakeClock()) as (simulator, call):
        task_id = await call.submit()
        statuses = [(await call("GET", f"{TASKS}{end}")).status for end in ("", f"/{task_id}", "/x/status", "")]
        assert statuses == [200, 200, 404, 429]
        await call.submit()
        assert (await call("PUT", f"/api/v1/tasks/{task_id}/cancel")).status == 200
        counts = simulator.statistics()
        assert (counts.queries, counts.rejected, counts.worst_window) == (4, 1, 4)


async def test_submits_have_a_limit_of_their_own() -> None:
    """A submit that is refused for another reason counts too, and a quote does not."""
    clock = FakeClock()
    async with september(generation_limit=2, clock=clock, speed=2.0) as (simulator, call):
        assert [(await call("POST", GENERATE, {**T2V, "prompt": one})).status for one in ("a", "")] == [200, 400]
        refused = await call("POST", GENERATE, T2V)
        assert (refused.status, refused.json["errorCode"]) == (429, "RATE_LIMITED")
        assert refused.headers["Retry-After"] == "30"
        assert (await call("POST", QUOTE, T2V)).status == 200
        assert simulator.statistics().queries == 0
        clock.seconds += 30
        assert (await call("POST", GENERATE, T2V)).status == 200
        assert (await call("GET", ACCOUNT)).json["generationRequestsPerMinute"] == 2


async def test_retry_after_can_be_a_date() -> None:
    clock = FakeClock()
    async with running(limit=1, clock=clock, epoch=EPOCH, retry_after="date") as (_, call):
        await call("GET", TASKS)
        clock.seconds += 0.5
        retry_after = (await call("GET", TASKS)).headers["Retry-After"]
        assert email.utils.parsedate_to_datetime(retry_after) == EPOCH + timedelta(seconds=60)


async def test_every_address_has_a_limit_of_its_own() -> None:
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with (
        running(limit=1) as (simulator, call),
        aiohttp.ClientSession(connector=connector) as session,
    ):
        other = Caller(simulator.url, simulator.api_key, session)
        assert [(await one("GET", TASKS)).status for one in (call, other)] == [200, 200]
        assert [one.client for one in simulator.requests] == ["127.0.0.1", "127.0.0.2"]


# --- files -------------------------------------------------------------------------------------------


async def test_a_finished_video_is_served_without_a_key_and_in_parts() -> None:
    async with running(durations=(10, 50), epoch=EPOCH, clock=FakeClock()) as (simulator, call):
        task_id = await call.submit()
        simulator.advance(60)
        url = (await call("GET", f"/api/v1/tasks/{task_id}")).json["output"]["url"]
        assert url == f"{simulator.url}/videos/{task_id}.mp4"
        whole = await call("GET", url, key="")
        assert (whole.status, whole.headers["Content-Type"]) == (200, "video/mp4")
        assert whole.headers["Last-Modified"] == "Thu, 19 Mar 2026 08:01:00 GMT"
        head = await call("HEAD", url, key="")
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Length", "ETag", "Last-Modified", "Content-Type", "Accept-Ranges"):
            assert head.headers[name] == whole.headers[name]
        headers = {"Range": "bytes=100-", "If-Range": whole.headers["ETag"]}
        rest = await call("GET", url, headers=headers)
        assert (rest.status, rest.body) == (206, whole.body[100:])
        size = len(whole.body)
        assert rest.headers["Content-Range"] == f"bytes 100-{size - 1}/{size}"
        beyond = await call("GET", url, headers={"Range": f"bytes={size}-"})
        assert (beyond.status, beyond.body) == (416, b"")


async def test_a_file_may_come_late() -> None:
    async with running(durations=(10, 50), late_files=20, clock=FakeClock()) as (simulator, call):
        task_id = await call.submit()
        seen = []
        for seconds in (60, 19.5, 0.5, 24 * 3600 - 20.5, 0.5):
            simulator.advance(seconds)
            seen.append((await call("GET", f"/videos/{task_id}.mp4")).status)
        assert seen == [404, 404, 200, 200, 410]


async def test_a_link_may_work_for_a_while_and_each_answer_has_a_fresh_one() -> None:
    """Also a list whose rows are otherwise the same each time."""
    history = {"t2v": LIST_BLOCK_TASKS}
    async with running(link_lifetime=30, history=history, seed=1, clock=FakeClock()) as (simulator, call):
        task_id = list(simulator.tasks)[-1]

        async def links() -> list[str]:
            details = (await call("GET", f"{TASKS}/{task_id}")).json
            (row,) = (one for one in (await call("GET", TASKS)).json["tasks"] if one["id"] == task_id)
            return [one["output"]["url"] for one in (details, row)]

        first, listed = await links()
        assert first == listed
        assert first.startswith(f"{simulator.url}/videos/{task_id}.mp4?expires=30.000&signature=")
        assert (await call("GET", first, key="")).status == 200
        simulator.advance(29.5)
        fresh = await links()
        assert (await call("GET", first)).status == 200
        simulator.advance(0.5)
        refused = await call("GET", first)
        assert (refused.status, refused.json["status"]) == (403, "FAILED")
        assert fresh[0] == fresh[1] != first
        assert (await call("GET", fresh[0])).status == 200


@pytest.mark.parametrize(("old", "new"), [("expires=30.000", "expires=90.000"), ("30.000", "x"), ("re=", "re=0")])
async def test_a_link_that_was_made_up_does_not_work(old: str, new: str) -> None:
    async with running(clock=FakeClock(), link_lifetime=30, durations=(0, 0)) as (_, call):
        url = (await call("GET", f"{TASKS}/{await call.submit()}")).json["output"]["url"]
        statuses = [(await call("GET", one)).status for one in (url, url.replace(old, new), url.partition("?")[0])]
        assert statuses == [200, 403, 403]


async def test_only_a_completed_task_has_a_video() -> None:
    async with running() as (simulator, call):
        task_id = await call.submit()
        for status in ("SUBMITTED", "PROGRESS", "FAILED", "CANCEL", "QUEUED"):
            simulator.set_status(task_id, status)
            assert (await call("GET", f"/videos/{task_id}.mp4")).status == 404


# --- sending -----------------------------------------------------------------------------------------


async def test_sent_bytes_are_counted() -> None:
    async with running(history=2 * LIST_BLOCK_TASKS) as (simulator, call):
        one = len((await call("GET", "/api/v1/tasks/ck1")).body)
        assert simulator.statistics().bytes_sent == one
        body = (await call("GET", TASKS)).body
        assert len(json.loads(body)["tasks"]) == 2 * LIST_BLOCK_TASKS
        assert simulator.statistics().bytes_sent == one + len(body)


async def test_a_client_that_disconnects_is_not_sent_the_rest_of_a_list() -> None:
    # More than the socket buffers of the system take.
    async with running(history=8_000, seed=1) as (simulator, call):
        whole = len((await call("GET", TASKS)).body)
        assert whole > 4_000_000
        before = simulator.statistics().bytes_sent
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(simulator.url.rpartition(":")[2])))
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(f"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nkey: {simulator.api_key}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Content-Type: application/json; charset=utf-8" in head
        assert len(await reader.readexactly(1000)) == 1000
        writer.close()
        async with asyncio.timeout(10):
            while len(simulator.requests) < 2:  # noqa: ASYNC110  (there is no event for it)
                await asyncio.sleep(0.001)
        assert 1000 < simulator.statistics().bytes_sent - before < whole
        assert (await call("GET", "/api/v1/tasks/ck1")).status == 404


# --- time --------------------------------------------------------------------------------------------


async def test_at_speed_everything_happens_sooner_in_the_time_of_the_clients() -> None:
    clock, speed = FakeClock(), 60.0

    def passed(simulated: float) -> None:
        clock.seconds += simulated / speed

    options: SimulatorOptions = {"speed": speed, "clock": clock, "epoch": EPOCH, "durations": (30, 90), "limit": 2}
    async with running(**options) as (simulator, call):
        task_id = await call.submit()
        passed(120)
        task = (await call("GET", f"/api/v1/tasks/{task_id}")).json
        assert datetime.fromisoformat(task["createdAt"]) == EPOCH
        assert datetime.fromisoformat(task["completedAt"]) == EPOCH + timedelta(seconds=120 / speed)
        shown = simulator.tasks[task_id]
        seconds = [(at - EPOCH).total_seconds() for at, _ in shown.history]
        assert seconds == [0, 30 / speed, 120 / speed]
        # The window of the limit.
        await call("GET", TASKS)
        refused = await call("GET", TASKS)
        assert (refused.status, refused.headers["Retry-After"]) == (429, str(round(60 / speed)))
        assert abs(email.utils.parsedate_to_datetime(refused.headers["Date"]) - datetime.now(UTC)).total_seconds() < 60
        passed(60)
        assert (await call("GET", TASKS)).status == 200
        # The 24 hours of a file.
        url = f"/videos/{task_id}.mp4"
        passed(24 * 3600 - 61)
        answer = await call("GET", url)
        modified = email.utils.parsedate_to_datetime(answer.headers["Last-Modified"])
        assert (answer.status, modified) == (200, EPOCH + timedelta(seconds=120 / speed))
        passed(1)
        answer = await call("GET", url)
        assert (answer.status, answer.json["status"]) == (410, "FAILED")


async def test_the_history_is_as_old_as_its_files_at_speed() -> None:
    async with running(history={"t2v": 300}, speed=600, epoch=EPOCH, clock=FakeClock()) as (simulator, _):
        ages = [(EPOCH - task.created_at).total_seconds() for task in simulator.tasks.values()]
        assert 29 * 86400 / 600 < max(ages) < 31 * 86400 / 600


@pytest.mark.parametrize("skew_date", [True, False])
@pytest.mark.parametrize("years", [-30, 0.001, 500])
async def test_the_clock_of_the_service_may_be_wrong(years: float, skew_date: bool) -> None:
    skew = timedelta(days=365.25 * years)
    options: SimulatorOptions = {"clock": FakeClock(), "epoch": EPOCH, "durations": (0, 60), "limit": 1}
    options |= {"retry_after": "date", "clock_skew": skew.total_seconds(), "skew_date": skew_date}
    async with running(**options) as (simulator, call):
        task_id = await call.submit()
        simulator.advance(60)
        answer = await call("GET", f"/api/v1/tasks/{task_id}")
        assert datetime.fromisoformat(answer.json["createdAt"]) == EPOCH + skew
        assert datetime.fromisoformat(answer.json["completedAt"]) == EPOCH + timedelta(seconds=60) + skew
        wrong = skew if skew_date else timedelta()
        for one in (answer, await call("GET", "/nowhere"), await call("GET", f"/videos/{task_id}.mp4")):
            date = email.utils.parsedate_to_datetime(one.headers["Date"])
            assert abs(date - datetime.now(UTC) - wrong) < timedelta(seconds=60)
        modified = email.utils.parsedate_to_datetime(one.headers["Last-Modified"])
        assert abs(modified - EPOCH - skew - timedelta(seconds=60)) <= timedelta(seconds=1)
        refused = await call("GET", TASKS)
        retry_at = email.utils.parsedate_to_datetime(refused.headers["Retry-After"])
        assert abs(retry_at - EPOCH - wrong - timedelta(seconds=60)) < timedelta(seconds=2)
        # The views of the test stay right.
        assert simulator.tasks[task_id].created_at == EPOCH
