import json
import random
from datetime import UTC, datetime, timedelta, timezone

from aivideomaker_async.simulator.contract import Order, Refusal, Revision
from aivideomaker_async.simulator.wire import Scribe, error_body, iso, submitted_body
from aivideomaker_async.simulator.world import Task, World

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)


def scribe() -> Scribe:
    writer = Scribe(lambda at: EPOCH + timedelta(seconds=at))
    writer.base_url = "http://127.0.0.1:1"
    return writer


def submitted(prompt: str = "x", world: World | None = None) -> Task:
    world = world or World(100, random.Random(1), (10, 50))
    data = {"prompt": prompt, "aspectRatio": "1:1", "duration": "5"}
    return world.submit(Order(model="t2v", input=data, seconds=5, credits=5, prompts=(prompt,)), 0.25)


def test_times_are_utc_with_milliseconds() -> None:
    moment = datetime(2026, 3, 19, 10, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    assert iso(moment) == "2026-03-19T08:00:00.123Z"


def test_a_new_task_has_no_output_yet() -> None:
    task = submitted()
    assert json.loads(scribe().task(task, 0.25)) == {
        "id": task.id,
        "createdAt": "2026-03-19T08:00:00.250Z",
        "model": "t2v",
        "input": {"prompt": "x", "aspectRatio": "1:1", "duration": "5"},
        "output": None,
        "status": "SUBMITTED",
        "completedAt": None,
    }


def test_a_finished_task_names_its_video() -> None:
    task = submitted()
    body = json.loads(scribe().task(task, 60.25))
    assert (body["status"], body["completedAt"]) == ("COMPLETED", "2026-03-19T08:01:00.250Z")
    assert body["output"] == {
        "url": f"http://127.0.0.1:1/videos/{task.id}.mp4",
        "msg": "The video is kept for 24 hours",
    }


def test_a_failed_task_tells_why() -> None:
    body = json.loads(scribe().task(submitted("[fail: too dark]"), 60.25))
    assert body["output"] == {"error": "too dark"}
    assert body["completedAt"] == "2026-03-19T08:01:00.250Z"


def test_what_was_written_is_written_anew_when_the_task_changes() -> None:
    world, writer = World(100, random.Random(1), (10, 50)), scribe()
    task = submitted(world=world)
    statuses = [json.loads(writer.task(task, now))["status"] for now in (1, 2, 11, 61)]
    assert statuses == ["SUBMITTED", "SUBMITTED", "PROGRESS", "COMPLETED"]
    world.set_status(task.id, "QUEUED", 61)
    assert json.loads(writer.task(task, 61))["status"] == "QUEUED"
    assert writer.task(task, 61) is writer.task(task, 99)


def test_any_text_can_be_written() -> None:
    body = json.loads(scribe().task(submitted("\ud800 \x00 😀"), 1))
    assert body["input"]["prompt"] == "\ud800 \x00 😀"


def test_a_submit_is_answered_with_urls_of_the_vendor() -> None:
    task = submitted()
    url = f"https://aivideomaker.ai/api/v1/tasks/{task.id}"
    assert submitted_body(task) == {
        "status": "SUBMITTED",
        "taskId": task.id,
        "responseUrl": url,
        "statusUrl": f"{url}/status",
        "cancelUrl": f"{url}/cancel",
    }


def test_an_answer_tells_a_replay_where_keys_are_kept() -> None:
    task = submitted()
    for replay in (False, True):
        assert submitted_body(task, replay=replay) == {**submitted_body(task), "idempotentReplay": replay}


def test_tasks_tell_their_keys_where_they_are_kept() -> None:
    writer, task = Scribe(lambda at: EPOCH, keys=True), submitted()
    assert json.loads(writer.task(task, 1))["idempotencyKey"] is None
    task.idempotency_key = "key-0001"
    assert json.loads(writer.task(task, 12))["idempotencyKey"] == "key-0001"


def test_a_task_is_written_as_of_the_past_too() -> None:
    """Though the present was written before, and is written again."""
    task, writer = submitted(), scribe()
    statuses = [json.loads(writer.task(task, now))["status"] for now in (61, 11, 61, 1, 11)]
    assert statuses == ["COMPLETED", "PROGRESS", "COMPLETED", "SUBMITTED", "PROGRESS"]


def test_a_conflict_of_keys_tells_its_code_in_any_revision() -> None:
    refusal = Refusal(409, "No", "IDEMPOTENCY_CONFLICT")
    assert error_body(refusal, Revision(models={}))["errorCode"] == "IDEMPOTENCY_CONFLICT"


def test_error_codes_belong_to_later_revisions() -> None:
    refusal = Refusal(402, "Insufficient credits", "INSUFFICIENT_CREDITS")
    plain = {"status": "FAILED", "message": "Insufficient credits"}
    assert error_body(refusal, Revision(models={})) == plain
    later = Revision(models={}, error_codes=True)
    assert error_body(refusal, later) == {
        **plain,
        "errorCode": "INSUFFICIENT_CREDITS",
        "error": "Insufficient credits",
    }
    assert error_body(Refusal(404, "x"), later) == {"status": "FAILED", "message": "x", "error": "x"}
