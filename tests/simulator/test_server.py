import asyncio
import base64
import email.utils
import gzip
import json
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from aivideomaker_async.simulator.threaded import Options
from tests.simulator.client import PNG, PNG_URI, T2V, Caller, FakeClock, running

pytestmark = pytest.mark.anyio

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)


# Keys, routes and methods


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/tasks"),
        ("POST", "/api/v1/generate/t2v"),
        ("POST", "/api/v1/generate/unknown"),
        ("DELETE", "/api/v1/tasks"),
        ("GET", "/api/v1/nowhere"),
        ("GET", "/api/"),
    ],
)
@pytest.mark.parametrize("key", ["", "ak_wrong"])
async def test_the_key_is_checked_before_anything_else(method: str, path: str, key: str) -> None:
    async with running() as (simulator, call):
        answer = await call(method, path, key=key)
        assert answer.status == 401
        assert answer.json == {"status": "FAILED", "message": "Invalid API key"}
        assert simulator.statistics().queries == 0


async def test_a_request_without_any_key_is_refused() -> None:
    async with (
        running() as (simulator, _),
        aiohttp.ClientSession() as session,
        session.get(f"{simulator.url}/api/v1/tasks") as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/tasks/a/b", "/api/v1/account", "/videos/"])
async def test_an_unknown_path_is_answered_404_in_json(path: str) -> None:
    async with running() as (_, call):
        answer = await call("GET", path)
        assert (answer.status, answer.json["status"]) == (404, "FAILED")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/tasks", {"GET"}),
        ("HEAD", "/api/v1/tasks", {"GET"}),
        ("PUT", "/api/v1/tasks/x", {"GET"}),
        ("POST", "/api/v1/tasks/x/cancel", {"PUT"}),
        ("DELETE", "/api/v1/tasks/x/cancel", {"PUT"}),
        ("GET", "/api/v1/generate/t2v", {"POST"}),
        ("POST", "/videos/x.mp4", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_answered_405_with_the_right_ones(method: str, path: str, allowed: set[str]) -> None:
    async with running() as (_, call):
        answer = await call(method, path)
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(",")) == allowed


# Submit


async def test_a_submit_is_answered_as_the_vendor_does() -> None:
    async with running(seed=1) as (simulator, call):
        answer = await call("POST", "/api/v1/generate/t2v", T2V)
        (task_id,) = simulator.tasks
        url = f"https://aivideomaker.ai/api/v1/tasks/{task_id}"
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.json == {
            "status": "SUBMITTED",
            "taskId": task_id,
            "responseUrl": url,
            "statusUrl": f"{url}/status",
            "cancelUrl": f"{url}/cancel",
        }
        assert simulator.credits == 10_000 - 5


async def test_a_wrong_field_is_named_and_nothing_is_created() -> None:
    async with running() as (simulator, call):
        answer = await call("POST", "/api/v1/generate/t2v", {**T2V, "duration": 5})
        assert (answer.status, answer.json["status"]) == (400, "FAILED")
        assert "duration" in answer.json["message"]
        assert (len(simulator.tasks), simulator.credits) == (0, 10_000)


async def test_an_unknown_model_is_refused() -> None:
    async with running() as (_, call):
        answer = await call("POST", "/api/v1/generate/so%2Fra", T2V)
        assert answer.status == 400
        assert answer.json["message"] == 'Invalid model: "so/ra"'


async def test_too_few_credits_are_answered_402() -> None:
    async with running(credits=4) as (simulator, call):
        answer = await call("POST", "/api/v1/generate/t2v", T2V)
        assert answer.status == 402
        assert answer.json == {"status": "FAILED", "message": "Insufficient credits"}
        assert len(simulator.tasks) == 0


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "x"])
async def test_a_body_is_declared_as_json(media_type: str) -> None:
    async with running() as (_, call):
        answer = await call(
            "POST",
            "/api/v1/generate/t2v",
            data=json.dumps(T2V).encode(),
            headers={"Content-Type": media_type},
        )
        assert answer.status == 415
        assert "application/json" in answer.json["message"]


async def test_a_charset_beside_the_type_is_fine() -> None:
    async with running() as (_, call):
        headers = {"Content-Type": "application/json; charset=utf-8"}
        body = json.dumps(T2V).encode()
        answer = await call("POST", "/api/v1/generate/t2v", data=body, headers=headers)
        assert answer.status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_cannot_be_read_is_refused(encoding: str) -> None:
    async with running() as (_, call):
        headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
        answer = await call("POST", "/api/v1/generate/t2v", data=b"no archive", headers=headers)
        assert (answer.status, answer.json["status"]) == (400, "FAILED")


async def test_a_compressed_body_is_read() -> None:
    async with running() as (_, call):
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        body = gzip.compress(json.dumps(T2V).encode())
        answer = await call("POST", "/api/v1/generate/t2v", data=body, headers=headers)
        assert answer.status == 200


async def test_a_body_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aivideomaker_async.simulator.server._LARGEST_BODY", 1000)
    async with running() as (_, call):
        answer = await call("POST", "/api/v1/generate/t2v", {**T2V, "prompt": "x" * 1000})
        assert (answer.status, answer.json["status"]) == (413, "FAILED")


# Idempotency


async def test_a_key_is_only_recorded_where_it_is_ignored() -> None:
    async with running() as (simulator, call):
        ids = [await call.submit(headers={"Idempotency-Key": "key-0001"}) for _ in range(2)]
        assert len(set(ids)) == 2
        assert simulator.credits == 10_000 - 10
        assert [task.idempotency_key for task in simulator.tasks.values()] == ["key-0001"] * 2
        assert "idempotencyKey" not in (await call("GET", f"/api/v1/tasks/{ids[0]}")).json
        short = await call("POST", "/api/v1/generate/t2v", T2V, headers={"Idempotency-Key": "x"})
        assert short.status == 200
        assert "idempotentReplay" not in short.json


async def test_a_key_that_is_kept_gives_the_first_task_again() -> None:
    async with running(idempotency="kept") as (simulator, call):
        headers = {"Idempotency-Key": "key-0001"}
        first, again = [await call("POST", "/api/v1/generate/t2v", T2V, headers=headers) for _ in range(2)]
        assert (first.status, first.json["idempotentReplay"]) == (200, False)
        assert (again.status, again.json) == (200, {**first.json, "idempotentReplay": True})
        assert (len(simulator.tasks), simulator.credits) == (1, 10_000 - 5)
        without = await call("POST", "/api/v1/generate/t2v", T2V)
        assert without.json["idempotentReplay"] is False
        assert without.json["taskId"] != first.json["taskId"]
        rows = (await call("GET", "/api/v1/tasks")).json["tasks"]
        assert [row["idempotencyKey"] for row in rows] == [None, "key-0001"]
        details = (await call("GET", f"/api/v1/tasks/{first.json['taskId']}")).json
        assert details["idempotencyKey"] == "key-0001"


async def test_the_first_task_comes_again_though_all_is_spent() -> None:
    async with running(idempotency="kept", credits=5) as (_, call):
        headers = {"Idempotency-Key": "key-0001"}
        assert await call.submit(headers=headers) == await call.submit(headers=headers)


async def test_a_key_with_another_body_is_a_conflict() -> None:
    async with running(idempotency="kept") as (simulator, call):
        headers = {"Idempotency-Key": "key-0001"}
        await call.submit(headers=headers)
        other = await call("POST", "/api/v1/generate/t2v", {**T2V, "prompt": "x"}, headers=headers)
        assert (other.status, other.json["errorCode"]) == (409, "IDEMPOTENCY_CONFLICT")
        assert other.json["status"] == "FAILED"
        assert len(simulator.tasks) == 1


async def test_a_key_of_a_wrong_length_is_refused_where_keys_are_kept() -> None:
    async with running(idempotency="kept") as (simulator, call):
        answer = await call("POST", "/api/v1/generate/t2v", T2V, headers={"Idempotency-Key": "short"})
        assert (answer.status, "Idempotency-Key" in answer.json["message"]) == (400, True)
        assert len(simulator.tasks) == 0


async def test_the_same_image_is_the_same_body() -> None:
    async with running(idempotency="kept") as (simulator, call):
        headers = {"Idempotency-Key": "key-0001"}
        ids = {await call.submit("i2v", headers=headers, image=PNG_URI) for _ in range(2)}
        assert len(ids) == len(simulator.tasks) == 1


# Images


async def test_an_image_in_base64_is_stored_and_shown_by_its_url() -> None:
    async with running() as (simulator, call):
        task_id = await call.submit("i2v", image=PNG_URI)
        url = simulator.tasks[task_id].input["image"]
        assert isinstance(url, str)
        assert url.startswith(f"{simulator.url}/uploads/")
        answer = await call("GET", url, key="")
        assert (answer.status, answer.body) == (200, PNG)
        assert answer.headers["Content-Type"] == "image/png"


async def test_a_large_image_is_read_whole() -> None:
    content = PNG[:8] + bytes(400_000)
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    async with running() as (simulator, call):
        task_id = await call.submit("i2v", image=uri)
        answer = await call("GET", str(simulator.tasks[task_id].input["image"]))
        assert answer.body == content


async def test_an_image_is_not_stored_for_an_order_that_is_not_paid() -> None:
    async with running(credits=0) as (simulator, call):
        body = {"image": PNG_URI, "duration": "5"}
        assert (await call("POST", "/api/v1/generate/i2v", body)).status == 402
        assert (await call("GET", "/uploads/0.png")).status == 404
        assert simulator.requests[-1].status == 404


# Queries


async def test_tasks_are_listed_newest_first() -> None:
    async with running(clock=FakeClock(), epoch=EPOCH, durations=(10, 50)) as (simulator, call):
        first = await call.submit(prompt="one")
        simulator.advance(20)
        second = await call.submit(prompt="two")
        answer = await call("GET", "/api/v1/tasks")
        assert answer.json == {
            "tasks": [
                {
                    "id": second,
                    "createdAt": "2026-03-19T08:00:20.000Z",
                    "model": "t2v",
                    "input": {**T2V, "prompt": "two"},
                    "output": None,
                    "status": "SUBMITTED",
                    "completedAt": None,
                },
                {
                    "id": first,
                    "createdAt": "2026-03-19T08:00:00.000Z",
                    "model": "t2v",
                    "input": {**T2V, "prompt": "one"},
                    "output": None,
                    "status": "PROGRESS",
                    "completedAt": None,
                },
            ]
        }
        details = await call("GET", f"/api/v1/tasks/{first}")
        assert details.json == answer.json["tasks"][1]


async def test_a_list_can_be_cut_short() -> None:
    async with running(list_limit=2) as (_, call):
        ids = [await call.submit() for _ in range(3)]
        answer = await call("GET", "/api/v1/tasks")
        assert [task["id"] for task in answer.json["tasks"]] == ids[:0:-1]


async def test_a_status_is_told_alone() -> None:
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
            rows = (await call("GET", "/api/v1/tasks")).json["tasks"]
            direct = (await call("GET", f"/api/v1/tasks/{task_id}")).json["status"]
            seen.append(([row["status"] for row in rows], direct))
        assert seen == [
            ([], "SUBMITTED"),
            ([], "SUBMITTED"),
            (["SUBMITTED"], "SUBMITTED"),
            (["SUBMITTED"], "PROGRESS"),
            (["PROGRESS"], "PROGRESS"),
        ]


async def test_a_new_task_may_be_unknown_for_a_while() -> None:
    async with running(clock=FakeClock(), lookup_lag=5) as (simulator, call):
        task_id = await call.submit()
        for seconds, status in ((0, 404), (4.5, 404), (0.5, 200)):
            simulator.advance(seconds)
            for path in (f"/api/v1/tasks/{task_id}", f"/api/v1/tasks/{task_id}/status"):
                assert (await call("GET", path)).status == status
            assert len((await call("GET", "/api/v1/tasks")).json["tasks"]) == 1


async def test_a_new_task_can_be_cancelled_before_it_is_known() -> None:
    async with running(lookup_lag=5) as (simulator, call):
        assert (await call("PUT", f"/api/v1/tasks/{await call.submit()}/cancel")).status == 200
        assert simulator.credits == 10_000


@pytest.mark.parametrize("skew_date", [True, False])
@pytest.mark.parametrize("years", [-30, 0.001, 500])
async def test_the_clock_of_the_server_may_be_wrong(years: float, skew_date: bool) -> None:
    skew = timedelta(days=365.25 * years)
    options: Options = {"clock": FakeClock(), "epoch": EPOCH, "durations": (0, 60), "limit": 1, "retry_after": "date"}
    options |= {"clock_skew": skew.total_seconds(), "skew_date": skew_date}
    async with running(**options) as (simulator, call):
        task_id = await call.submit()
        simulator.advance(60)
        answer = await call("GET", f"/api/v1/tasks/{task_id}")
        assert datetime.fromisoformat(answer.json["createdAt"]) == EPOCH + skew
        assert datetime.fromisoformat(answer.json["completedAt"]) == EPOCH + timedelta(seconds=60) + skew
        wrong = skew if skew_date else timedelta()
        for one in (answer, await call("GET", "/nowhere"), await call("GET", f"/videos/{task_id}.mp4")):
            told = email.utils.parsedate_to_datetime(one.headers["Date"])
            assert abs(told - datetime.now(UTC) - wrong) < timedelta(seconds=60)
        modified = email.utils.parsedate_to_datetime(one.headers["Last-Modified"])
        assert abs(modified - EPOCH - skew - timedelta(seconds=60)) <= timedelta(seconds=1)
        refused = await call("GET", "/api/v1/tasks")
        told = email.utils.parsedate_to_datetime(refused.headers["Retry-After"])
        assert abs(told - EPOCH - wrong - timedelta(seconds=60)) < timedelta(seconds=2)
        # What it shows to the test stays right.
        assert simulator.tasks[task_id].created_at == EPOCH


@pytest.mark.parametrize(
    "task_id",
    ["x", "a%2Fb", "..", "%2e%2e%2fx", "%00", "%F0%9F%98%80", "%ff", "%", "a%20b", "x" * 10_000],
    ids=lambda task_id: task_id[:20],
)
@pytest.mark.parametrize("form", ["GET /api/v1/tasks/{}", "GET /api/v1/tasks/{}/status"])
async def test_an_odd_id_is_only_unknown(task_id: str, form: str) -> None:
    async with running() as (_, call):
        method, path = form.format(task_id).split()
        answer = await call(method, path)
        assert (answer.status, answer.json["status"]) == (404, "FAILED")


async def test_an_unknown_id_cannot_be_cancelled() -> None:
    async with running() as (_, call):
        answer = await call("PUT", "/api/v1/tasks/x%2F..%2Fy/cancel")
        assert answer.status == 404
        assert answer.json == {"status": "FAILED", "message": "Task not found"}


# Cancel


async def test_a_submitted_task_is_cancelled_and_refunded() -> None:
    async with running(durations=(10, 50)) as (simulator, call):
        task_id = await call.submit()
        answer = await call("PUT", f"/api/v1/tasks/{task_id}/cancel")
        assert answer.json == {"status": "CANCEL", "taskId": task_id}
        assert simulator.credits == 10_000
        simulator.advance(1000)
        assert simulator.tasks[task_id].status == "CANCEL"


@pytest.mark.parametrize("status", [400, 409])
async def test_a_cancel_that_comes_too_late_changes_nothing(status: int) -> None:
    async with running(durations=(10, 50), late_cancel=status) as (simulator, call):
        task_id = await call.submit()
        simulator.advance(10)
        answer = await call("PUT", f"/api/v1/tasks/{task_id}/cancel")
        assert (answer.status, answer.json["status"]) == (status, "FAILED")
        assert simulator.tasks[task_id].status == "PROGRESS"


async def test_a_late_cancel_can_be_answered_with_the_status_instead() -> None:
    async with running(durations=(0, 0), late_cancel=200) as (_, call):
        task_id = await call.submit()
        answer = await call("PUT", f"/api/v1/tasks/{task_id}/cancel")
        assert (answer.status, answer.json) == (200, {"status": "COMPLETED", "taskId": task_id})


# The query limit


async def test_all_queries_share_one_limit_and_nothing_else_counts() -> None:
    async with running(limit=3, clock=FakeClock()) as (simulator, call):
        task_id = await call.submit()
        paths = ["", f"/{task_id}", f"/{task_id}/status", "/unknown"]
        statuses = [(await call("GET", f"/api/v1/tasks{path}")).status for path in paths]
        assert statuses == [200, 200, 200, 429]
        await call.submit()
        assert (await call("PUT", f"/api/v1/tasks/{task_id}/cancel")).status == 200
        counts = simulator.statistics()
        assert (counts.queries, counts.rejected, counts.worst_window) == (4, 1, 4)


async def test_a_refused_query_is_told_when_to_come_back_in_real_seconds() -> None:
    clock = FakeClock()
    async with running(limit=1, speed=20.0, clock=clock) as (_, call):
        await call("GET", "/api/v1/tasks")
        clock.seconds += 0.5
        answer = await call("GET", "/api/v1/tasks")
        assert answer.status == 429
        assert answer.json == {"status": "FAILED", "message": "Too many requests"}
        # 60 simulated seconds are 3 real ones, of which half a second is over.
        assert answer.headers["Retry-After"] == "3"
        clock.seconds += 2.5
        assert (await call("GET", "/api/v1/tasks")).status == 200


async def test_retry_after_can_be_a_date() -> None:
    clock = FakeClock()
    async with running(limit=1, clock=clock, epoch=EPOCH, retry_after="date") as (_, call):
        await call("GET", "/api/v1/tasks")
        clock.seconds += 0.5
        told = (await call("GET", "/api/v1/tasks")).headers["Retry-After"]
        assert email.utils.parsedate_to_datetime(told) == EPOCH + timedelta(seconds=60)


async def test_addresses_have_a_limit_each() -> None:
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with (
        running(limit=1) as (simulator, call),
        aiohttp.ClientSession(connector=connector) as session,
    ):
        other = Caller(simulator.url, simulator.api_key, session)
        assert [(await one("GET", "/api/v1/tasks")).status for one in (call, other)] == [200, 200]
        assert [one.client for one in simulator.requests] == ["127.0.0.1", "127.0.0.2"]


async def test_without_a_limit_nothing_is_refused() -> None:
    async with running(limit=None) as (simulator, call):
        answers = await asyncio.gather(*(call("GET", "/api/v1/tasks") for _ in range(100)))
        assert {answer.status for answer in answers} == {200}
        assert simulator.statistics().worst_window == 100


# Files


async def test_a_finished_video_is_served_without_a_key() -> None:
    async with running(durations=(10, 50), epoch=EPOCH, clock=FakeClock()) as (simulator, call):
        task_id = await call.submit()
        simulator.advance(60)
        url = (await call("GET", f"/api/v1/tasks/{task_id}")).json["output"]["url"]
        assert url == f"{simulator.url}/videos/{task_id}.mp4"
        answer = await call("GET", url, key="")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "video/mp4")
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Last-Modified"] == "Thu, 19 Mar 2026 08:01:00 GMT"
        head = await call("HEAD", url, key="")
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Length", "ETag", "Last-Modified", "Content-Type"):
            assert head.headers[name] == answer.headers[name]


async def test_a_video_is_served_in_parts() -> None:
    async with running(durations=(0, 0)) as (_, call):
        url = f"/videos/{await call.submit()}.mp4"
        whole = await call("GET", url)
        headers = {"Range": "bytes=100-", "If-Range": whole.headers["ETag"]}
        rest = await call("GET", url, headers=headers)
        assert (rest.status, rest.body) == (206, whole.body[100:])
        size = len(whole.body)
        assert rest.headers["Content-Range"] == f"bytes 100-{size - 1}/{size}"
        other = await call("GET", url, headers={**headers, "If-Range": '"other"'})
        assert (other.status, other.body) == (200, whole.body)
        beyond = await call("GET", url, headers={"Range": f"bytes={size}-"})
        assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
        assert beyond.body == b""


@pytest.mark.parametrize("status", ["SUBMITTED", "PROGRESS", "FAILED", "CANCEL", "QUEUED"])
async def test_there_is_a_video_only_of_a_completed_task(status: str) -> None:
    async with running() as (simulator, call):
        task_id = await call.submit()
        simulator.set_status(task_id, status)
        assert (await call("GET", f"/videos/{task_id}.mp4")).status == 404


async def test_a_video_is_kept_for_24_hours() -> None:
    async with running(durations=(10, 50), clock=FakeClock()) as (simulator, call):
        url = f"/videos/{await call.submit()}.mp4"
        simulator.advance(60 + 24 * 3600 - 1)
        assert (await call("GET", url)).status == 200
        simulator.advance(1)
        answer = await call("GET", url)
        assert (answer.status, answer.json["status"]) == (410, "FAILED")


async def test_an_unknown_video_is_not_found() -> None:
    async with running() as (_, call):
        assert (await call("GET", "/videos/x.mp4")).status == 404
