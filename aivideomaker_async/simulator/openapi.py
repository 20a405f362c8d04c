"""The OpenAPI document of a revision, written from the data that requests are judged by. Pure."""

from collections.abc import Mapping, Sequence

from .contract import Revision
from .kinds import Schema, WebUrl
from .schemas import request_name, schemas
from .terms import BUDGET, KEY, WEBHOOK
from .world import KEY_LENGTHS

_DESCRIPTION = "What the simulator of the AI Video Maker API takes and answers."
_ERRORS: Mapping[int, str] = {
    400: "The model, the body or a header is wrong; the message names the field",
    401: "The key is missing or wrong",
    402: "Too few credits",
    404: "There is no such task",
    409: "The Idempotency-Key came with another request before",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    422: "Above the budget, or the content was rejected",
    429: "Too many requests; honour Retry-After",
}
_TASK_ID: Schema = {"name": "taskId", "in": "path", "required": True, "schema": {"type": "string"}}


def document(revision: Revision, base_url: str, late_cancel: int = 400) -> dict[str, object]:
    """Write the document. `late_cancel` is the HTTP status of a cancel that comes too late."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "AI Video Maker API, simulated", "version": revision.name, "description": _DESCRIPTION},
        "servers": [{"url": base_url}],
        "security": [{"apiKey": []}],
        "paths": {**_orders(revision), **_tasks(late_cancel), **(_account() if revision.billing else {})},
        "components": {
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "key"}},
            "schemas": schemas(revision, late_cancel),
        },
    }


def _orders(revision: Revision) -> dict[str, object]:
    paths: dict[str, object] = {}
    refusals = (400, 401, 402, *((409,) if revision.idempotency else ()), 413, 415, 422, 429)
    for model in revision.models:
        paths[f"/api/v1/generate/{model}"] = {
            "post": _operation(
                f"generate_{model}",
                f"Create a task of {model}",
                "SubmittedTask",
                refusals,
                parameters=_headers(revision),
                requestBody=_body(model),
            )
        }
        if revision.billing:
            paths[f"/api/v1/quote/{model}"] = {
                "post": _operation(
                    f"quote_{model}", f"Quote {model}", "Quote", (400, 401, 413, 415), requestBody=_body(model)
                )
            }
    return paths


def _tasks(late_cancel: int) -> dict[str, object]:
    one = {"parameters": [_TASK_ID]}
    late = () if late_cancel == 200 else (late_cancel,)
    return {
        "/api/v1/tasks": {
            "get": _operation("list_tasks", "List the tasks of the key, newest first", "TaskList", (401, 429))
        },
        "/api/v1/tasks/{taskId}": {"get": _operation("get_task", "Get a task", "Task", (401, 404, 429)), **one},
        "/api/v1/tasks/{taskId}/status": {
            "get": _operation("get_status", "Get a status", "Status", (401, 404, 429)),
            **one,
        },
        "/api/v1/tasks/{taskId}/cancel": {
            "put": _operation("cancel_task", "Cancel a submitted task", "CancelledTask", sorted({401, 404, *late})),
            **one,
        },
    }


def _account() -> dict[str, object]:
    return {"/api/v1/account": {"get": _operation("get_account", "Get balance and guardrails", "Account", (401, 429))}}


def _operation(name: str, summary: str, answer: str, errors: Sequence[int], **more: object) -> dict[str, object]:
    answers: dict[str, object] = {"200": {"description": "Done", "content": _json(answer)}}
    for status in errors:
        told: dict[str, object] = {"description": _ERRORS.get(status, "Too late"), "content": _json("Error")}
        if status == 429:
            told["headers"] = {"Retry-After": {"description": "Seconds or a date", "schema": {"type": "string"}}}
        answers[str(status)] = told
    return {"operationId": name, "summary": summary, **more, "responses": answers}


def _json(name: str) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _body(model: str) -> dict[str, object]:
    return {"required": True, "content": _json(request_name(model))}


def _headers(revision: Revision) -> list[object]:
    headers: dict[str, Schema] = {WEBHOOK: WebUrl().schema()}
    if revision.idempotency:
        headers[KEY] = {"type": "string", "minLength": KEY_LENGTHS[0], "maxLength": KEY_LENGTHS[1]}
    if revision.billing:
        headers[BUDGET] = {"type": "integer", "minimum": 0}
    return [{"name": name, "in": "header", "required": False, "schema": schema} for name, schema in headers.items()]
