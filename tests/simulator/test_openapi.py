import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from aivideomaker_async.simulator.contract import REVISIONS, revision
from aivideomaker_async.simulator.openapi import document
from aivideomaker_async.simulator.simulator import Idempotency
from aivideomaker_async.simulator.threaded import Options
from tests.simulator.client import T2V, FakeClock, running
from tests.simulator.conforming import Document, documented
from tests.simulator.test_contract import VALID as MARCH
from tests.simulator.test_models_2026_09 import VALID as SEPTEMBER

BASE = "http://127.0.0.1:1"
VALID = {"2026-03": MARCH, "2026-09": SEPTEMBER}


def paths(name: str) -> set[str]:
    return set(written(name)["paths"])


def written(name: str, late_cancel: int = 400) -> dict[str, Any]:
    # As a client reads it.
    found: dict[str, Any] = json.loads(json.dumps(document(revision(name), BASE, late_cancel)))
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
    march = {f"/api/v1/generate/{model}" for model in MARCH}
    september = {f"/api/v1/{call}/{model}" for call in ("generate", "quote") for model in SEPTEMBER}
    assert paths("2026-03") == tasks | march
    assert paths("2026-09") == tasks | september | {"/api/v1/account"}


@pytest.mark.parametrize("name", REVISIONS)
def test_every_schema_is_one_and_every_reference_leads_to_it(name: str) -> None:
    content = written(name)
    schemas = content["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    used = set(references(content))
    assert used == {f"#/components/schemas/{one}" for one in schemas}
    assert (content["openapi"], content["info"]["version"]) == ("3.1.0", name)
    assert content["servers"] == [{"url": BASE}]


@pytest.mark.parametrize(
    ("name", "model"), [(name, model) for name, models in VALID.items() for model in models], ids=str
)
def test_what_the_simulator_takes_is_described(name: str, model: str) -> None:
    content = written(name)
    body = content["paths"][f"/api/v1/generate/{model}"]["post"]["requestBody"]
    validator = Document(content).validator(body["content"]["application/json"]["schema"])
    validator.validate(VALID[name][model])
    validator.validate({**VALID[name][model], "filterMode": "strict"})
    assert not validator.is_valid({**VALID[name][model], "duration": None, "prompt": 5, "content": 5})


def test_headers_are_told_where_they_matter() -> None:
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
def test_a_late_cancel_is_told_as_it_is_answered(late_cancel: int, statuses: set[str]) -> None:
    content = written("2026-09", late_cancel)
    cancel = content["paths"]["/api/v1/tasks/{taskId}/cancel"]["put"]
    assert set(cancel["responses"]) == statuses
    validator = Document(content).validator(content["components"]["schemas"]["CancelledTask"])
    assert validator.is_valid({"status": "COMPLETED", "taskId": "x"}) == (late_cancel == 200)


@pytest.mark.anyio
@pytest.mark.parametrize("name", REVISIONS)
async def test_it_is_served_without_a_key(name: str) -> None:
    async with running(revision=name) as (simulator, call):
        answer = await call("GET", "/openapi.json", key="")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert answer.json == json.loads(json.dumps(document(revision(name), simulator.url)))
        assert simulator.statistics().queries == 0


@pytest.mark.anyio
@pytest.mark.parametrize("idempotency", ["kept", "ignored"])
@pytest.mark.parametrize("name", REVISIONS)
async def test_the_way_of_a_task_is_as_documented(name: str, idempotency: Idempotency) -> None:
    options: Options = {"revision": name, "idempotency": idempotency, "limit": 9, "clock": FakeClock()}
    options |= {"durations": (10, 50)}
    async with documented(**options) as (simulator, call):
        path, headers = "/api/v1/generate/t2v", {"Idempotency-Key": "key-0001"}
        statuses = [(await call("POST", path, T2V, headers=headers)).status for _ in range(2)]
        statuses.append((await call("POST", path, {**T2V, "prompt": "[fail]"})).status)
        statuses.append((await call("PUT", f"/api/v1/tasks/{list(simulator.tasks)[-1]}/cancel")).status)
        statuses.append((await call("POST", path, {**T2V, "prompt": "[fail]"})).status)
        assert statuses == [200] * 5
        simulator.advance(60)
        for task_id in simulator.tasks:
            for end in ("", "/status"):
                statuses.append((await call("GET", f"/api/v1/tasks/{task_id}{end}")).status)
        assert {one.status for one in simulator.tasks.values()} == {"COMPLETED", "CANCEL", "FAILED"}
        errors = [
            await call("PUT", f"/api/v1/tasks/{list(simulator.tasks)[-1]}/cancel"),
            await call("POST", path, T2V, key="wrong"),
            await call("POST", path, data=b"x", headers={"Content-Type": "text/plain"}),
            await call("POST", path, {**T2V, "prompt": "[reject]"}),
            await call("PUT", "/api/v1/tasks/x/cancel"),
            *[await call("GET", "/api/v1/tasks") for _ in range(4)],
        ]
        assert {one.status for one in errors[:5]} == {400, 401, 415, 422, 404}
        assert errors[-1].status == 429


@pytest.mark.anyio
async def test_only_what_is_spoken_is_documented() -> None:
    async with running(revision="2026-09", supported_models=["t2v"], idempotency="ignored") as (_, call):
        content = (await call("GET", "/openapi.json")).json
        assert [path for path in content["paths"] if "generate" in path] == ["/api/v1/generate/t2v"]
        operation = content["paths"]["/api/v1/generate/t2v"]["post"]
        assert "409" not in operation["responses"]
        assert "Idempotency-Key" not in json.dumps(operation["parameters"])
