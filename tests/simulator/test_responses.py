"""The JSON that the simulator sends, the caches of tasks and of lists, and parts of files."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async.simulator.contract import Refusal, Revision, VideoOrder
from aivideomaker_async.simulator.response_bodies import (
    LIST_BLOCK_TASKS,
    TaskListWriter,
    TaskWriter,
    error_body,
    iso,
    quote_body,
    submitted_body,
)
from aivideomaker_async.simulator.responses import FilePart, select_part
from aivideomaker_async.simulator.state import AccountState, Task

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)


def task_writer(**options: bool) -> TaskWriter:
    writer = TaskWriter(lambda at: EPOCH + timedelta(seconds=at), **options)
    writer.base_url = "http://127.0.0.1:1"
    return writer


def submitted(prompt: str = "x", state: AccountState | None = None) -> Task:
    state = state or AccountState(100, random.Random(1), (10, 50))
    data = {"prompt": prompt, "aspectRatio": "1:1", "duration": "5"}
    return state.submit(VideoOrder(model="t2v", input=data, seconds=5, credits=5, prompts=(prompt,)), 0.25)


def account(tasks: int) -> tuple[AccountState, TaskListWriter, TaskWriter]:
    state, writer = AccountState(10**6, random.Random(1), lambda *_: (10, 50)), task_writer()
    for number in range(tasks):
        state.submit(VideoOrder(model="t2v", input={}, seconds=5, credits=1, prompts=("x",)), number / 100)
    return state, TaskListWriter(state, writer), writer


def listed(writer: TaskListWriter, now: float, limit: int | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(b"".join(writer.pieces(now, limit)))["tasks"]
    return rows


def test_times_are_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 3, 19, 10, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    assert iso(moment) == "2026-03-19T08:00:00.123Z"


@pytest.mark.parametrize(
    ("prompt", "now", "status", "completed_at", "output"),
    [
        ("x", 0.25, "SUBMITTED", None, None),
        ("\ud800 \x00 😀", 10.25, "PROGRESS", None, None),
        ("x", 60.25, "COMPLETED", "2026-03-19T08:01:00.250Z", {"msg": "The video is kept for 24 hours"}),
        ("[fail: too dark]", 60.25, "FAILED", "2026-03-19T08:01:00.250Z", {"error": "too dark"}),
    ],
)
def test_a_task_has_its_status_and_output(
    prompt: str, now: float, status: str, completed_at: str | None, output: dict[str, str] | None
) -> None:
    task = submitted(prompt)
    if status == "COMPLETED":
        output = {"url": f"http://127.0.0.1:1/videos/{task.id}.mp4", **(output or {})}
    assert json.loads(task_writer().task(task, now)) == {
        "id": task.id,
        "createdAt": "2026-03-19T08:00:00.250Z",
        "model": "t2v",
        "input": {"prompt": prompt, "aspectRatio": "1:1", "duration": "5"},
        "output": output,
        "status": status,
        "completedAt": completed_at,
    }


def test_keys_and_costs_are_reported_where_the_revision_has_them() -> None:
    task = submitted("[fail]")
    task.idempotency_key = "key-0001"
    for options, expected in (
        ({"keys": True}, {"idempotencyKey": "key-0001"}),
        ({"billing": True}, {"creditsCharged": 5, "creditsRefunded": 5, "listValueCents": 0, "idempotencyKey": None}),
    ):
        fields = json.loads(task_writer(**options).task(task, 61))
        assert {name: fields[name] for name in list(fields)[7:]} == expected


def test_a_task_is_written_again_when_it_has_changed_and_also_as_of_the_past() -> None:
    state, writer = AccountState(100, random.Random(1), (10, 50)), task_writer()
    task = submitted(state=state)
    statuses = [json.loads(writer.task(task, now))["status"] for now in (1, 11, 61, 11, 61, 1)]
    assert statuses == ["SUBMITTED", "PROGRESS", "COMPLETED", "PROGRESS", "COMPLETED", "SUBMITTED"]
    state.set_status(task.id, "QUEUED", 61)
    assert json.loads(writer.task(task, 61))["status"] == "QUEUED"
    assert writer.task(task, 61) is writer.task(task, 99)


def test_the_answer_to_a_submit_has_urls_of_the_vendor_and_a_replay_where_keys_are_kept() -> None:
    task = submitted()
    url = f"https://aivideomaker.ai/api/v1/tasks/{task.id}"
    plain = {
        "status": "SUBMITTED",
        "taskId": task.id,
        "responseUrl": url,
        "statusUrl": f"{url}/status",
        "cancelUrl": f"{url}/cancel",
    }
    assert submitted_body(task) == plain
    assert submitted_body(task, replay=True) == {**plain, "idempotentReplay": True}
    billed = {**plain, "creditsCharged": 5, "idempotentReplay": False}
    assert submitted_body(task, replay=False, billing=True) == billed


def test_a_price_in_dollars_has_no_tail_of_a_binary_fraction() -> None:
    for price in range(400):
        order = VideoOrder(model="t2v", input={}, seconds=5, credits=price, prompts=())
        assert len(json.dumps(quote_body(order, 0)["listPriceUsd"])) <= 4


def test_error_codes_belong_to_later_revisions_but_for_a_conflict_of_keys() -> None:
    march, september = Revision(models={}), Revision(models={}, error_codes=True)
    refusal = Refusal(402, "Insufficient credits", "INSUFFICIENT_CREDITS")
    plain = {"status": "FAILED", "message": "Insufficient credits"}
    assert error_body(refusal, march) == plain
    coded = {**plain, "errorCode": "INSUFFICIENT_CREDITS", "error": "Insufficient credits"}
    assert error_body(refusal, september) == coded
    assert error_body(Refusal(404, "x"), september) == {"status": "FAILED", "message": "x", "error": "x"}
    assert error_body(Refusal(409, "No", "IDEMPOTENCY_CONFLICT"), march)["errorCode"] == "IDEMPOTENCY_CONFLICT"


def test_an_empty_list_is_json() -> None:
    assert account(0)[1].pieces(0) == [b'{"tasks": [', b"]}"]


@settings(deadline=None)
@given(
    tasks=st.integers(0, 3 * LIST_BLOCK_TASKS),
    limit=st.none() | st.integers(0, 3 * LIST_BLOCK_TASKS),
    moments=st.lists(st.floats(8, 80), max_size=4),
    changed=st.integers(0, 3 * LIST_BLOCK_TASKS - 1),
)
def test_a_list_has_the_rows_of_its_tasks(tasks: int, limit: int | None, moments: list[float], changed: int) -> None:
    state, writer, of_tasks = account(tasks)
    for now in sorted(moments):
        newest_first = [*reversed(state.in_order)][:limit]
        assert listed(writer, now, limit) == [json.loads(of_tasks.task(task, now)) for task in newest_first]
        if changed < tasks:
            task_id = state.in_order[changed].id
            state.set_status(task_id, "QUEUED", now)
            assert {row["status"] for row in listed(writer, now) if row["id"] == task_id} == {"QUEUED"}


@settings(deadline=None)
@given(lag=st.floats(0, 20), moments=st.lists(st.floats(0, 100), max_size=3), changed=st.floats(0, 100))
def test_a_list_of_the_past_is_as_it_was(lag: float, moments: list[float], changed: float) -> None:
    """Whether or not the present was listed before, and a task was changed since."""
    state, writer, _ = account(LIST_BLOCK_TASKS + 10)
    for now in sorted(moments):
        if now >= changed and not state.changes:
            state.set_status(state.in_order[0].id, "QUEUED", changed)
        for then in (now, now - lag):
            seen = [(row["id"], row["status"]) for row in listed(writer, then)]
            there = [task for task in state.in_order if task.created <= then]
            assert seen == [(task.id, task.status(then)) for task in reversed(there)]


def test_a_block_is_cached_until_one_of_its_tasks_takes_a_step() -> None:
    state, writer, _ = account(2 * LIST_BLOCK_TASKS)
    assert writer.pieces(9)[1] is writer.pieces(9.5)[1]
    assert writer.pieces(9)[1] is not writer.pieces(10)[1]
    settled = writer.pieces(100)[1]
    assert writer.pieces(10_000)[1] is settled
    state.set_status(state.in_order[0].id, "QUEUED", 10_000)
    assert writer.pieces(10_000)[1] is not settled


# --- parts of files ----------------------------------------------------------------------------------

WHOLE = FilePart(200, 0, 100)
ETAG, MODIFIED = '"abc"', "Thu, 19 Mar 2026 08:00:00 GMT"


def chosen(**headers: str) -> FilePart:
    return select_part({name.replace("_", "-"): one for name, one in headers.items()}, 100, ETAG, MODIFIED)


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", FilePart(206, 0, 1)),
        ("bytes=90-", FilePart(206, 90, 100)),
        ("bytes=90-999999", FilePart(206, 90, 100)),
        ("bytes=-10", FilePart(206, 90, 100)),
        ("bytes=-1000", FilePart(206, 0, 100)),
        *((beyond, FilePart(416, 0, 0)) for beyond in ("bytes=100-", "bytes=100-200", "bytes=-0")),
        *((ignored, WHOLE) for ignored in ("", "bytes", "bytes=", "bytes=-", "bytes=9-3", "items=0-1")),
        *((ignored, WHOLE) for ignored in ("bytes=0-1,5-6", "bytes=\u0661-\u0662")),
    ],
)
def test_a_single_range_is_answered_with_its_part_and_another_is_ignored(wanted: str, part: FilePart) -> None:
    assert chosen(Range=wanted) == part


def test_a_file_that_has_changed_is_sent_whole() -> None:
    for validator in (ETAG, MODIFIED):
        assert chosen(Range="bytes=50-", If_Range=validator) == FilePart(206, 50, 100)
    assert chosen(Range="bytes=50-", If_Range='"old"') == WHOLE
    assert chosen() == WHOLE
    assert WHOLE.headers(100) == {}
    assert FilePart(416, 0, 0).headers(100) == {"Content-Range": "bytes */100"}


def test_an_empty_file_has_no_part() -> None:
    for wanted in ("bytes=0-", "bytes=-5"):
        assert select_part({"Range": wanted}, 0, ETAG, MODIFIED).status == 416


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_part_is_a_slice(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    part = select_part({"Range": f"bytes={first}-{last}"}, size, ETAG, MODIFIED)
    if last < first:
        assert part.status == 200
    elif first >= size:
        assert part.status == 416
    else:
        assert content[part.start : part.stop] == content[first : last + 1]
        assert part.headers(size) == {"Content-Range": f"bytes {first}-{min(last, size - 1)}/{size}"}
