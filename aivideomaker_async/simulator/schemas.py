"""The schemas of what a revision takes and answers, for its OpenAPI document. Pure."""

from .contract import Revision
from .kinds import Schema
from .timeline import CANCEL, COMPLETED, FAILED, PROGRESS, SUBMITTED

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_URI: Schema = {"type": "string", "format": "uri"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_CREDITS: Schema = {"type": "integer", "minimum": 0}
_OR_UNLIMITED: Schema = {"type": "integer", "minimum": -1, "description": "-1 is no limit"}
_STATUS: Schema = {"$ref": "#/components/schemas/TaskStatus"}


def request_name(model: str) -> str:
    """Return the name of the schema of a model's input."""
    return f"{model}_request"


def schemas(revision: Revision, late_cancel: int = 400) -> dict[str, object]:
    """Return the schemas by their names. `late_cancel` is the HTTP status of a cancel that comes too late."""
    found: dict[str, object] = {
        "TaskStatus": {"type": "string", "enum": [SUBMITTED, PROGRESS, COMPLETED, FAILED, CANCEL]},
        "SubmittedTask": _submitted(revision),
        "Task": _task(revision),
        "TaskList": _object({"tasks": {"type": "array", "items": {"$ref": "#/components/schemas/Task"}}}),
        "Status": _object({"status": _STATUS}),
        "CancelledTask": _object({"status": _STATUS if late_cancel == 200 else {"const": CANCEL}, "taskId": _TEXT}),
        "Error": _error(revision),
        **{request_name(name): model.schema() for name, model in revision.models.items()},
    }
    return {**found, "Quote": _quote(), "Account": _account()} if revision.billing else found


def _object(properties: dict[str, Schema], *optional: str) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _submitted(revision: Revision) -> Schema:
    properties = {"status": _STATUS, "taskId": _TEXT, "responseUrl": _URI, "statusUrl": _URI, "cancelUrl": _URI}
    if revision.billing:
        properties["creditsCharged"] = _CREDITS
    if revision.billing or revision.idempotency:
        properties["idempotentReplay"] = _FLAG
    return _object(properties)


def _task(revision: Revision) -> Schema:
    output = _object({"url": _URI, "msg": _TEXT, "error": _TEXT}, "url", "msg", "error")
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
    return _object(properties)


def _error(revision: Revision) -> Schema:
    properties: dict[str, Schema] = {"status": {"const": FAILED}, "message": _TEXT}
    if revision.error_codes:
        properties |= {"errorCode": _TEXT, "error": _TEXT}
    return _object(properties, "errorCode", "error")


def _quote() -> Schema:
    return _object(
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


def _account() -> Schema:
    return _object(
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
