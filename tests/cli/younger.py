"""A service of the revision 2026-09 in a thread of its own: account, quotes, and strict about what it takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

from tests.support.scripted import Action, Arrival, Reply, ScriptedService, row, scripted

PATIENCE: Final = 20.0

Rule: TypeAlias = Callable[[Any], bool]


def one_of(*allowed: object) -> Rule:
    # Of the same type: "5" is not 5.
    return lambda value: any(type(value) is type(one) and value == one for one in allowed)


def text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def image(value: object) -> bool:
    return url(value) or (isinstance(value, str) and value.startswith("data:image/"))


def whole(least: int, most: int) -> Rule:
    return lambda value: type(value) is int and least <= value <= most


def some(each: Rule, most: int) -> Rule:
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(each, value))


def perhaps(rule: Rule) -> Rule:
    return lambda value: value is None or rule(value)


_RATIOS: Final = one_of("16:9", "9:16", "1:1", "4:3", "3:4")
_SHORT: Final = one_of("5", "8")
_LONG: Final = one_of("5", "10", "15", "20")

FIELDS: Final[Mapping[str, Mapping[str, Rule]]] = {
    "t2v": {"prompt": text, "aspectRatio": one_of("16:9", "9:16", "1:1"), "duration": _SHORT},
    "i2v": {"image": image, "prompt": perhaps(text), "duration": _SHORT},
    "lv": {"image": image, "prompt": some(text, 6)},
    "t2v_v3": {"prompt": text, "aspectRatio": one_of("16:9", "9:16", "1:1"), "duration": _LONG},
    "i2v_v3": {"image": image, "prompt": perhaps(text), "duration": _LONG},
    "minimax": {
        "content": text,
        "duration": whole(5, 20),
        "resolution": one_of("720p", "1080p"),
        "tier": one_of("turbo", "base"),
        "aspectRatio": one_of("auto", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"),
        "imageUrl": perhaps(image),
        "lastFrameUrl": perhaps(image),
        "referenceImageUrls": perhaps(some(image, 4)),
        "referenceVideoUrl": perhaps(url),
        "referenceAudioUrls": perhaps(some(url, 2)),
    },
    "seedance20": {
        "prompt": perhaps(text),
        "image": perhaps(image),
        "video": perhaps(url),
        "audio": perhaps(url),
        "duration": whole(4, 15),
        "resolution": one_of(480, 720),
        "ratio": one_of("16:9", "9:16", "1:1"),
    },
    "wan27": {
        "prompt": text,
        "image": perhaps(image),
        "duration": one_of("5", "10", "15"),
        "resolution": one_of("720P", "1080P"),
        "ratio": _RATIOS,
        "promptExtend": one_of(True, False),
    },
    "happyhorse": {
        "prompt": text,
        "image": lambda value: value is None or image(value) or (some(image, 9)(value) and bool(value)),
        "duration": whole(3, 15),
        "resolution": one_of("720P", "1080P"),
        "ratio": _RATIOS,
    },
}

PER_SECOND: Final = {"t2v": 3, "i2v": 3, "t2v_v3": 4, "i2v_v3": 4}


def price_of(model: str, body: Mapping[str, Any]) -> int:
    """What a video costs, by the vendor's words."""
    if model == "lv":
        return len(body["prompt"]) * 5 * 15
    seconds = int(body["duration"])
    if model == "minimax":
        return seconds * ({"720p": 3, "1080p": 4}[body["resolution"]] + {"turbo": 0, "base": 1}[body["tier"]])
    if model == "seedance20":
        return {(4, 480): 41, (5, 480): 51, (5, 720): 110}[seconds, body["resolution"]]
    if model == "wan27":
        return seconds * {"720P": 10, "1080P": 15}[body["resolution"]]
    if model == "happyhorse":
        return seconds * {"720P": 25, "1080P": 50}[body["resolution"]]
    return seconds * PER_SECOND[model]


def refused(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"status": "FAILED", "errorCode": code, "error": message, "message": message})


class YoungerService:
    """Its tasks are COMPLETED as soon as they are asked for.

    A context manager. What a test changes is looked at anew for each request.
    """

    def __init__(self) -> None:
        self.api_key = "ak_0123456789abcdef"
        self.balance = 415
        self.models = [model for model in FIELDS if model != "lv"]
        self.guardrails: dict[str, Any] = {
            "dailyCreditLimit": -1,
            "generationRequestsPerMinute": -1,
            "creditWarningAt": -1,
        }
        self.prices: list[int] = []
        """Prices of the next quotes, before the usual ones."""
        self.skew = timedelta()
        self.override: Callable[[Arrival], Action | None] = lambda _: None
        self.submits: list[tuple[str, dict[str, Any], Arrival]] = []
        """Model, body and request of each task."""
        self._ready, self._service = threading.Event(), ScriptedService(self._answer)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with scripted(self._answer) as self._service:
            self._ready.set()
            await self._over.wait()

    @property
    def url(self) -> str:
        return self._service.url

    @property
    def paths(self) -> list[str]:
        """Method and path of each request, without /api/v1."""
        return [path.replace("/api/v1", "") for path in self._service.paths()]

    @property
    def arrivals(self) -> list[Arrival]:
        return list(self._service.arrivals)

    def _answer(self, arrival: Arrival) -> Action:
        action = self.override(arrival) or self._usual(arrival)
        if isinstance(action, Reply):
            date = format_datetime(datetime.now(UTC) + self.skew, usegmt=True)
            return Reply(action.status, action.body, {"Date": date, **action.headers}, action.delay, action.cut)
        return action

    def _usual(self, arrival: Arrival) -> Action:
        if arrival.headers.get("key") != self.api_key:
            return refused(401, "AUTH_FAILED", "Invalid API key")
        _, _, _, place, *rest = urlsplit(arrival.path).path.split("/")
        if (arrival.method, place, rest) == ("GET", "account", []):
            return Reply(body=self._account())
        if arrival.method == "POST" and place in {"quote", "generate"}:
            return self._on_model(place, *rest, arrival=arrival)
        if (arrival.method, place, rest) == ("GET", "tasks", []):
            return Reply(body={"tasks": [row(f"ck{number + 1}", "COMPLETED") for number in range(len(self.submits))]})
        if arrival.method == "GET" and place == "tasks" and rest[0] in {f"ck{n + 1}" for n in range(len(self.submits))}:
            return Reply(body=row(rest[0], "COMPLETED") if len(rest) == 1 else {"status": "COMPLETED"})
        return refused(404, "NOT_FOUND", "Task not found")

    def _account(self) -> dict[str, Any]:
        return {
            "ok": True,
            "apiVersion": "v1",
            "skillVersion": "1.0.15",
            "currentBalance": self.balance,
            "supportedModels": self.models,
            **self.guardrails,
        }

    def _on_model(self, place: str, model: str, *, arrival: Arrival) -> Reply:
        if model not in self.models:
            return refused(400, "INVALID_MODEL", f"Unsupported model: {model}")
        body = arrival.json()
        wrong = [name for name, rule in FIELDS[model].items() if not rule(body.get(name))]
        wrong += [name for name in body if name not in FIELDS[model]]
        if wrong:
            return refused(400, "INVALID_PAYLOAD", f"wrong: {', '.join(wrong)}")
        if place == "generate":
            return self._submit(model, body, arrival)
        price = self.prices.pop(0) if self.prices else price_of(model, body)
        return Reply(
            body={
                "model": model,
                "credits": price,
                "listPriceUsd": price / 100,
                "usdPerCredit": 0.01,
                "currentBalance": self.balance,
                "affordable": price <= self.balance,
                "billable": False,
            }
        )

    def _submit(self, model: str, body: dict[str, Any], arrival: Arrival) -> Reply:
        price, most = price_of(model, body), arrival.headers.get("x-max-credits")
        if most is not None and price > int(most):
            return refused(422, "BUDGET_EXCEEDED", f"{price} is more than {most}")
        if price > self.balance:
            return refused(402, "INSUFFICIENT_CREDITS", "Insufficient credits")
        self.submits.append((model, body, arrival))
        task_id = f"ck{len(self.submits)}"
        return Reply(
            body={"status": "SUBMITTED", "taskId": task_id, "creditsCharged": price, "idempotentReplay": False}
        )
