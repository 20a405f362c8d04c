"""Validation of real answers by an OpenAPI document, with a validator of others."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Unpack

import aiohttp
from attrs import frozen
from jsonschema import Draft202012Validator, FormatChecker
from yarl import URL

from aivideomaker_async.simulator import Simulator
from aivideomaker_async.simulator.options import SimulatorOptions
from tests.simulator.client import Answer, Caller

FORMATS = FormatChecker(())
"""The formats in the documents. The usual checkers of these are slow to import."""


@FORMATS.checks("uri")
def is_uri(value: object) -> bool:
    """Return whether `value` is an absolute URI. Other types than texts have no format."""
    return not isinstance(value, str) or re.fullmatch(r"[a-z][a-z0-9+.-]*:[!-~]+", value, re.IGNORECASE) is not None


@FORMATS.checks("date-time", raises=ValueError)
def is_time(value: object) -> bool:
    """Return whether `value` is a time by RFC 3339, with its offset."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@frozen
class Document:
    """An OpenAPI document that validates answers."""

    content: Mapping[str, Any]

    def validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        """Return a validator for a schema of this document, with its formats."""
        return Draft202012Validator({**schema, "components": self.content["components"]}, format_checker=FORMATS)

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Fail unless the document has this answer for this request."""
        operation = self.operation(method, path)
        described = operation["responses"][str(answer.status)]
        assert answer.headers["Content-Type"].partition(";")[0] in described["content"]
        self.validator(described["content"]["application/json"]["schema"]).validate(answer.json)
        for name in described.get("headers", {}):
            assert name in answer.headers

    def operation(self, method: str, path: str) -> Mapping[str, Any]:
        """Return the operation of a request. Raises `LookupError` when the document has none."""
        for template, operations in self.content["paths"].items():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in operations:
                found: Mapping[str, Any] = operations[method.lower()]
                return found
        raise LookupError(f"{method} {path}")


@frozen
class Conforming(Caller):
    """A caller that validates every answer by the simulator's own document, if that has the request."""

    document: Document

    async def __call__(self, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        """Send one request, and validate its answer."""
        answer = await super().__call__(method, path, *args, **kwargs)
        try:
            self.document.operation(method, URL(path).path)
        except LookupError:
            return answer
        self.document.check(method, URL(path).path, answer)
        return answer


@asynccontextmanager
async def september(**options: Unpack[SimulatorOptions]) -> AsyncIterator[tuple[Simulator, Conforming]]:
    """Run a simulator of revision 2026-09, and a client that validates its answers."""
    options.setdefault("revision", "2026-09")
    options.setdefault("render", False)
    async with Simulator(**options) as simulator, aiohttp.ClientSession() as session:
        async with session.get(f"{simulator.url}/openapi.json") as response:
            assert response.status == 200
            document = Document(await response.json())
        yield simulator, Conforming(simulator.url, simulator.api_key, session, document)
