from typing import Any

import pytest

from aivideomaker_async.simulator.contract import revision
from aivideomaker_async.simulator.schemas import schemas
from tests.simulator.conforming import Document

URL = "https://aivideomaker.ai/api/v1/tasks/x"
TASK: dict[str, Any] = {
    "id": "x",
    "createdAt": "2026-03-19T08:00:00.250Z",
    "model": "t2v",
    "input": {},
    "output": None,
    "status": "SUBMITTED",
    "completedAt": None,
}
BILLED = {"creditsCharged": 5, "creditsRefunded": 0, "listValueCents": 5, "idempotencyKey": None}
SUBMITTED = {"status": "SUBMITTED", "taskId": "x", "responseUrl": URL, "statusUrl": URL, "cancelUrl": URL}


def fits(name: str, schema: str, value: object) -> bool:
    found = schemas(revision(name))
    document = Document({"components": {"schemas": found}})
    return document.validator({"$ref": f"#/components/schemas/{schema}"}).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "march", "more"),
    [
        ("Task", TASK, BILLED),
        ("SubmittedTask", SUBMITTED, {"creditsCharged": 5, "idempotentReplay": False}),
    ],
)
def test_september_tells_more(schema: str, march: dict[str, Any], more: dict[str, Any]) -> None:
    assert fits("2026-03", schema, march)
    assert not fits("2026-09", schema, march)
    assert fits("2026-09", schema, {**march, **more})
    for name in more:
        assert not fits("2026-09", schema, {**march, **more, name: 1.5})


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "QUEUED"},
        {"createdAt": "yesterday"},
        {"completedAt": 5},
        {"output": {"url": None}},
        {"output": {"url": "no address"}},
        {"input": []},
    ],
    ids=str,
)
def test_a_wrong_task_does_not_fit(wrong: dict[str, Any]) -> None:
    assert not fits("2026-03", "Task", {**TASK, **wrong})


def test_an_error_has_a_code_in_september() -> None:
    assert fits("2026-03", "Error", {"status": "FAILED", "message": "x"})
    assert fits("2026-09", "Error", {"status": "FAILED", "message": "x", "errorCode": "A", "error": "x"})
    assert not fits("2026-09", "Error", {"status": "FAILED", "message": "x", "errorCode": None})
    assert not fits("2026-09", "Error", {"status": "SUBMITTED", "message": "x"})


def test_there_is_an_account_only_in_september() -> None:
    names = {name for name in schemas(revision("2026-09")) if not name.endswith("_request")}
    others = {name for name in schemas(revision("2026-03")) if not name.endswith("_request")}
    assert names - others == {"Quote", "Account"}
    assert others < names
