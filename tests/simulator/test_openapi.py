"""The OpenAPI document of each revision: complete, valid, and true of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from aivideomaker_async.simulator.contract import REVISIONS, revision_named
from aivideomaker_async.simulator.openapi import document
from tests.simulator.client import running
from tests.simulator.conforming import Document
from tests.simulator.test_contract import VALID

BASE = "http://127.0.0.1:1"


def written(name: str, late_cancel: int = 400) -> dict[str, Any]:
    # As a client reads it.
    found: dict[str, Any] = json.loads(json.dumps(document(revision_named(name), BASE, late_cancel)))
    return found


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_each_revision_has_its_paths() -> None:
    tasks = {"/api/v1/tasks", *(f"/api/v1/tasks/{{taskId}}{end}" for end in ("", "/status", "/cancel"))}
    march = {f"/api/v1/generate/{model}" for model in VALID["2026-03"]}
    september = {f"/api/v1/{call}/{model}" for call in ("generate", "quote") for model in VALID["2026-09"]}
    assert set(written("2026-03")["paths"]) == tasks | march
    assert set(written("2026-09")["paths"]) == tasks | september | {"/api/v1/account"}


@pytest.mark.parametrize("name", REVISIONS)
def test_every_schema_is_valid_and_used(name: str) -> None:
    content = written(name)
    schemas = content["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    assert set(references(content)) == {f"#/components/schemas/{one}" for one in schemas}
    assert (content["openapi"], content["info"]["version"]) == ("3.1.0", name)
    assert content["servers"] == [{"url": BASE}]


def test_headers_are_described_where_they_have_an_effect() -> None:
    def headers(name: str, path: str) -> dict[str, Any]:
        operation = written(name)["paths"][path]["post"]
        return {one["name"]: one["schema"] for one in operation.get("parameters", [])}

    assert set(headers("2026-03", "/api/v1/generate/t2v")) == {"webhookUrl"}
    found = headers("2026-09", "/api/v1/generate/t2v")
    assert set(found) == {"webhookUrl", "Idempotency-Key", "X-Max-Credits"}
    assert found["Idempotency-Key"] == {"type": "string", "minLength": 8, "maxLength": 128}
    assert found["X-Max-Credits"] == {"type": "integer", "minimum": 0}
    assert headers("2026-09", "/api/v1/quote/t2v") == {}


@pytest.mark.parametrize(
    ("late_cancel", "statuses"),
    [(400, {"200", "400", "401", "404"}), (404, {"200", "401", "404"}), (200, {"200", "401", "404"})],
)
def test_a_late_cancel_is_described_as_it_is_answered(late_cancel: int, statuses: set[str]) -> None:
    content = written("2026-09", late_cancel)
    assert set(content["paths"]["/api/v1/tasks/{taskId}/cancel"]["put"]["responses"]) == statuses
    validator = Document(content).validator(content["components"]["schemas"]["CancelledTask"])
    assert validator.is_valid({"status": "COMPLETED", "taskId": "x"}) == (late_cancel == 200)


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
SUBMITTED = {"status": "SUBMITTED", "taskId": "x", "responseUrl": URL, "statusUrl": URL, "cancelUrl": URL}
ERROR = {"status": "FAILED", "message": "x"}


def fits(name: str, schema: str, value: object) -> bool:
    return Document(written(name)).validator({"$ref": f"#/components/schemas/{schema}"}).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "march", "more"),
    [
        ("Task", TASK, {"creditsCharged": 5, "creditsRefunded": 0, "listValueCents": 5, "idempotencyKey": None}),
        ("SubmittedTask", SUBMITTED, {"creditsCharged": 5, "idempotentReplay": False}),
    ],
)
def test_answers_have_more_fields_in_september(schema: str, march: dict[str, Any], more: dict[str, Any]) -> None:
    assert fits("2026-03", schema, march)
    assert not fits("2026-09", schema, march)
    assert fits("2026-09", schema, {**march, **more})
    assert not any(fits("2026-09", schema, {**march, **more, name: 1.5}) for name in more)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        *(("Task", {**TASK, name: value}) for name, value in (("status", "QUEUED"), ("createdAt", "yesterday"))),
        *(("Task", {**TASK, name: value}) for name, value in (("completedAt", 5), ("input", []))),
        *(("Task", {**TASK, "output": {"url": url}}) for url in (None, "no address")),
        ("Error", {**ERROR, "errorCode": None}),
        ("Error", {**ERROR, "status": "SUBMITTED"}),
    ],
    ids=str,
)
def test_a_wrong_answer_does_not_fit_its_schema(schema: str, value: dict[str, Any]) -> None:
    assert fits("2026-09", "Error", {**ERROR, "errorCode": "A", "error": "x"})
    assert not fits("2026-09" if schema == "Error" else "2026-03", schema, value)


@pytest.mark.anyio
async def test_the_document_needs_no_key_and_has_the_models_of_the_account() -> None:
    async with running(revision="2026-09", supported_models=["t2v"], idempotency="ignored") as (simulator, call):
        answer = await call("GET", "/openapi.json", key="")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert simulator.statistics().queries == 0
        assert [path for path in answer.json["paths"] if "generate" in path] == ["/api/v1/generate/t2v"]
        operation = answer.json["paths"]["/api/v1/generate/t2v"]["post"]
        assert "409" not in operation["responses"]
        assert "Idempotency-Key" not in json.dumps(operation["parameters"])
