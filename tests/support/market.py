"""A service of the 2026-09 revision as far as money goes: prices, quotes, limits and refunds; and lost answers."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.scripted import Action, Arrival, Reply
from tests.support.shop import Lost, Shop, Sold


class Market(Shop):
    """A service that sells tasks at `price` credits each, or at the price in their prompt: "7 credits".

    Args:
        faults: as for `Shop`.
        quotes: whether it has quotes, and an account.
        tells: whether its answers have the credits that were charged.
    """

    def __init__(self, *faults: Lost | Action | None, quotes: bool = True, tells: bool = True) -> None:
        super().__init__(*faults, keeps_keys=tells)
        self.quotes = quotes
        self.tells = tells
        self.price = 10
        self.models: list[str] = ["t2v", "i2v"]
        self.refused: list[Arrival] = []

    @property
    def charged(self) -> int:
        return sum(self.price_of(task.body) for task in self.sold)

    def price_of(self, body: dict[str, Any]) -> int:
        words = str(body.get("prompt") or body.get("content") or "").split()
        return int(words[0]) if "credits" in words else self.price

    async def __call__(self, arrival: Arrival) -> Action:
        if (action := self.override(arrival)) is not None:
            return action
        if self.quotes and arrival.path == "/api/v1/account":
            return Reply(body={"ok": True, "currentBalance": 500, "supportedModels": self.models, "apiVersion": "v1"})
        if self.quotes and arrival.path.startswith("/api/v1/quote/"):
            return self._quote(arrival)
        return await super().__call__(arrival)

    def _quote(self, arrival: Arrival) -> Action:
        price = self.price_of(arrival.json())
        return Reply(
            body={
                "model": arrival.path.rpartition("/")[2],
                "credits": price,
                "listPriceUsd": price / 100,
                "usdPerCredit": 0.01,
                "currentBalance": 500,
                "affordable": price <= 500,
                "billable": False,
            }
        )

    async def _sell(self, arrival: Arrival) -> Action:
        limit = arrival.headers.get("x-max-credits")
        if self.quotes and limit is not None and self.price_of(arrival.json()) > int(limit):
            self.refused.append(arrival)
            message = "The price is above X-Max-Credits"
            return Reply(
                422, {"status": "FAILED", "errorCode": "BUDGET_EXCEEDED", "message": message, "error": message}
            )
        return await super()._sell(arrival)

    def _answer(self, task: Sold, arrival: Arrival) -> Reply:
        answer = super()._answer(task, arrival)
        if self.tells:
            assert isinstance(answer.body, dict)
            answer.body["creditsCharged"] = self.price_of(task.body)
        return answer

    def status(self, task: Sold) -> str:
        over = asyncio.get_running_loop().time() > task.at + self.lasts
        return "FAILED" if over and "[fail]" in str(task.body) else super().status(task)

    def row(self, task: Sold) -> dict[str, Any]:
        price = self.price_of(task.body)
        charges = {"creditsCharged": price, "creditsRefunded": price if self.status(task) == "FAILED" else 0}
        return super().row(task) | (charges if self.tells else {})
