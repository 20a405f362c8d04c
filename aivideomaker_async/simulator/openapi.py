"""The OpenAPI document of a revision, written from the data by which requests are validated. Pure."""

from collections.abc import Mapping, Sequence

from .contract import BUDGET_HEADER, IDEMPOTENCY_HEADER, IDEMPOTENCY_KEY_CHARS, WEBHOOK_HEADER, Revision
from .field_types import Schema, UrlType
from .state import CANCEL, COMPLETED, FAILED, PROGRESS, SUBMITTED

_DESCRIPTION = "The simulator of the AI Video Maker API: its requests and its answers."
_ERRORS: Mapping[int, str] = {
    400: "The model, the body or a header is wrong; the message names the field",
    401: "The key is missing or wrong",
    402: "Too few credits",
    404: "There is no such task",
    409: "The Idempotency-Key was used with another request",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    422: "Above the budget, or the content was rejected",
    429: "Too many requests; honour Retry-After",
}
_TASK_ID: Schema = {"name": "taskId", "in": "path", "required": True, "schema": {"type": "string"}}

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_URI: Schema = {"type": "string", "format": "uri"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_CREDITS: Schema = {"type": "integer", "minimum": 0}
_OR_UNLIMITED: Schema = {"type": "integer", "minimum": -1, "description": "-1 is no limit"}
_STATUS: Schema = {"$ref": "#/components/schemas/TaskStatus"}


def document(revision: Revision, base_url: str, late_cancel: int = 400) -> dict[str, object]:
    """Return the document. `late_cancel` is the HTTP status for a cancel that comes too late."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "AI Video Maker API, simulated", "version": revision.name, "description": _DESCRIPTION},
        "servers": [{"url": base_url}],
        "security": [{"apiKey": []}],
        "paths": {
            **_order_paths(revision),
            **_task_paths(late_cancel),
            **(_account_path() if revision.billing else {}),
        },
        "components": {
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "key"}},
            "schemas": schemas(revision, late_cancel),
        },
    }


# --- paths -------------------------------------------------------------------------------------------


def _order_paths(revision: Revision) -> dict[str, object]:
    paths: dict[str, object] = {}
    refusals = (400, 401, 402, *((409,) if revision.idempotency else ()), 413, 415, 422, 429)
    for model in revision.models:
        paths[f"/api/v1/generate/{model}"] = {
            "post": _operation(
                f"generate_{model}",
                f"Create a task of {model}",
                "SubmittedTask",
                refusals,
                parameters=_submit_headers(revision),
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


def _task_paths(late_cancel: int) -> dict[str, object]:
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


def _account_path() -> dict[str, object]:
    return {"/api/v1/account": {"get": _operation("get_account", "Get balance and guardrails", "Account", (401, 429))}}


def _operation(name: str, summary: str, answer: str, errors: Sequence[int], **more: object) -> dict[str, object]:
    answers: dict[str, object] = {"200": {"description": "Done", "content": _json(answer)}}
    for status in errors:
        error: dict[str, object] = {"description": _ERRORS.get(status, "Too late"), "content": _json("Error")}
        if status == 429:
            error["headers"] = {"Retry-After": {"description": "Seconds or a date", "schema": {"type": "string"}}}
        answers[str(status)] = error
    return {"operationId": name, "summary": summary, **more, "responses": answers}


def _json(name: str) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _body(model: str) -> dict[str, object]:
    return {"required": True, "content": _json(_request_name(model))}


def _submit_headers(revision: Revision) -> list[object]:
    headers: dict[str, Schema] = {WEBHOOK_HEADER: UrlType().schema()}
    if revision.idempotency:
        least, most = IDEMPOTENCY_KEY_CHARS
        headers[IDEMPOTENCY_HEADER] = {"type": "string", "minLength": least, "maxLength": most}
    if revision.billing:
        headers[BUDGET_HEADER] = {"type": "integer", "minimum": 0}
    return [{"name": name, "in": "header", "required": False, "schema": schema} for name, schema in headers.items()]


# --- schemas -----------------------------------------------------------------------------------------


def _request_name(model: str) -> str:
    return f"{model}_request"


def schemas(revision: Revision, late_cancel: int = 400) -> dict[str, object]:
    """Return the schemas by their names. `late_cancel` is the HTTP status for a cancel that comes too late."""
    found: dict[str, object] = {
        "TaskStatus": {"type": "string", "enum": [SUBMITTED, PROGRESS, COMPLETED, FAILED, CANCEL]},
        "SubmittedTask": _submitted_schema(revision),
        "Task": _task_schema(revision),
        "TaskList": _object_schema({"tasks": {"type": "array", "items": {"$ref": "#/components/schemas/Task"}}}),
        "Status": _object_schema({"status": _STATUS}),
        "CancelledTask": _object_schema(
            {"status": _STATUS if late_cancel == 200 else {"const": CANCEL}, "taskId": _TEXT}
        ),
        "Error": _error_schema(revision),
        **{_request_name(name): model.schema() for name, model in revision.models.items()},
    }
    return {**found, "Quote": _quote_schema(), "Account": _account_schema()} if revision.billing else found


def _object_schema(properties: dict[str, Schema], *optional: str) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _submitted_schema(revision: Revision) -> Schema:
    properties = {"status": _STATUS, "taskId": _TEXT, "responseUrl": _URI, "statusUrl": _URI, "cancelUrl": _URI}
    if revision.billing:
        properties["creditsCharged"] = _CREDITS
    if revision.billing or revision.idempotency:
        properties["idempotentReplay"] = _FLAG
    return _object_schema(properties)


def _task_schema(revision: Revision) -> Schema:
    output = _object_schema({"url": _URI, "msg": _TEXT, "error": _TEXT}, "url", "msg", "error")
    properties: dict[str, Schema] = {
        "id": _TEXT,
        "createdAt": _TIME,
        "model": _TEXT,
        "input": {"type": "object"},
        "output": {"oneOf": [{"type": "null"}, output]},
        "status": _STATUS,
        "completedAt": _or_null(_TIME),
    }
    if revision.billing:
        properties |= dict.fromkeys(("creditsCharged", "creditsRefunded", "listValueCents"), _CREDITS)
    if revision.billing or revision.idempotency:
        properties["idempotencyKey"] = _or_null(_TEXT)
    return _object_schema(properties)


def _error_schema(revision: Revision) -> Schema:
    properties: dict[str, Schema] = {"status": {"const": FAILED}, "message": _TEXT}
    if revision.error_codes:
        properties |= {"errorCode": _TEXT, "error": _TEXT}
    return _object_schema(properties, "errorCode", "error")


def _quote_schema() -> Schema:
    return _object_schema(
        {
            "model": _TEXT,
            "credits": _CREDITS,
            "listPriceUsd": {"type": "number", "minimum": 0},
            "usdPerCredit": {"type": "number", "const": 0.01},
            "currentBalance": _CREDITS,
            "affordable": _FLAG,
            "billable": {"type": "boolean", "const": False},
        }
    )


def _account_schema() -> Schema:
    return _object_schema(
        {
            "ok": {"const": True},
            "apiVersion": _TEXT,
            "skillVersion": _TEXT,
            "currentBalance": _CREDITS,
            "supportedModels": {"type": "array", "items": _TEXT},
            "dailyCreditLimit": _OR_UNLIMITED,
            "generationRequestsPerMinute": _OR_UNLIMITED,
            "creditWarningAt": _OR_UNLIMITED,
        }
    )
