"""Which models the account has, as far as the service tells, and a word to who asks for another."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from .._http import ApiClient, Deadline, get_account
from .._limits import Priority
from .._redaction import single_line
from ..errors import AIVideoMakerError, EndpointNotFound
from ..tasks import Account

__all__ = ["Catalogue"]

logger: Final = logging.getLogger("aivideomaker_async.models")

PERHAPS_RETIRED: Final = frozenset({"lv"})
"""Models that the service once documented and no longer names among those it supports."""

LOOK_TIMEOUT: Final = 5.0
"""Seconds for the look into the account before one of them is submitted."""


class Catalogue:
    """What the account of a client has.

    Args:
        api: makes the calls.
    """

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._supported: frozenset[str] = frozenset()
        self._has_looked = False
        self._told: set[str] = set()

    async def account(self, *, deadline: Deadline) -> Account:
        """Ask for the account.

        Raises:
            AIVideoMakerError: as `ApiClient.call`. `EndpointNotFound` where the service does not tell.
        """
        try:
            account = await self._api.call(get_account(), deadline)
        except EndpointNotFound:
            self._has_looked = True
            raise
        self._take(account)
        return account

    async def _look(self) -> Account:
        """Ask once: it is no reason to keep a submit waiting."""
        permit = await self._api.acquire(Priority.FOREGROUND)
        return await self._api.attempt(get_account(), permit=permit, timeout=LOOK_TIMEOUT)

    def _take(self, account: Account) -> None:
        self._supported, self._has_looked = frozenset(account.supported_models), True

    async def warn_of(self, model: str, *, timeout: float) -> None:
        """Say so, once, when the account does not name this model. It may be submitted all the same.

        The account is asked for models that may be retired; for others it is used where it is known anyway.

        Args:
            model: its name on the wire.
            timeout: seconds that the look may take.
        """
        if model in PERHAPS_RETIRED and not self._has_looked:
            self._has_looked = True
            try:
                async with asyncio.timeout(min(timeout, LOOK_TIMEOUT)):
                    self._take(await self._look())
            except (AIVideoMakerError, TimeoutError) as error:
                logger.debug("which models the account has is not known: %s", error)
        if self._supported and model not in self._supported and model not in self._told:
            self._told.add(model)
            named = ", ".join(sorted(self._supported))
            logger.warning(
                "the account does not name the model %s among those it supports (%s): the service may refuse it",
                single_line(model),
                single_line(named),
            )
