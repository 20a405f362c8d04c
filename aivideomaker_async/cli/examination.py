"""What `doctor` looks at: each check says what was found, and what to do about it.

At most two queries are made, each of them once.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import Final

from .._limits import HostRateLimiter
from .._redaction import told
from ..client.client import AIVideoMaker
from ..errors import (
    AIVideoMakerError,
    APIError,
    AuthenticationFailed,
    BadResponse,
    ConfigurationError,
    ConnectFailed,
    EndpointNotFound,
    RateLimited,
    ServerError,
    TaskNotFound,
    TransportError,
)
from ..tasks import Account
from .checks import Check, key, problem, surroundings, warning
from .context import Context
from .exits import Exit
from .prices import in_dollars

__all__ = ["examine"]

_SECONDS: Final = 10.0
"""For each of the two queries, its turn under the limit included."""

_SKEW: Final = 30.0
"""Seconds by which clocks may differ. The service tells whole ones."""

_NO_KEY: Final = "none"
"""What goes as the key where there is none: the service is reached or not all the same."""

_NO_REASON: Final = "no reason given"
"""How the message of an error begins that has none of the service's words."""

_ADVICE: Final = {
    "DNS": "the name cannot be looked up: check the base URL, and the network",
    "Certificate": "the certificate is not trusted: check the machine's certificates and clock, and what is in between",
    "SSL": "no encrypted connection: check the base URL, and what is in between",
    "no connection within": "something drops the connection: check the network and its firewall",
}


async def examine(context: Context) -> list[Check]:
    """All checks, in the order of a screen."""
    checks = await asyncio.to_thread(surroundings)
    the_key, has_key = key()
    try:
        client = context.impatient_client(_SECONDS, api_key=None if has_key else _NO_KEY)
    except ConfigurationError as error:
        advice = "set AIVIDEO_BASE_URL or --base-url to https://host"
        return [*checks, problem("base URL", f"of no use: {error}", advice, Exit.CONFIGURATION), the_key]
    async with client:
        checks += [_base_url(context, client), the_key]
        checks += await _ask(client, has_key=has_key)
        checks += [_clock(client), *await _limit(client)]
    return checks


def _base_url(context: Context, client: AIVideoMaker) -> Check:
    source = "by default"
    if context.base_url:
        source = "from --base-url"
    elif os.environ.get("AIVIDEO_BASE_URL"):
        source = "from AIVIDEO_BASE_URL"
    found = f"{client.base_url} {source}"
    return Check("base URL", found if client.base_url.startswith("https:") else f"{found}, not encrypted")


# --- what the service says ---------------------------------------------------------------------------


async def _ask(client: AIVideoMaker, *, has_key: bool) -> list[Check]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    account: Account | None = None
    try:
        account = await client.account()
    except EndpointNotFound:
        began = loop.time()
        checks = await _ask_for_a_task(client, has_key=has_key)
    except AIVideoMakerError as error:
        checks = _refused(error, has_key=has_key)
    else:
        checks = _account(account, has_key=has_key)
    if any(check.name == "service" for check in checks):
        return checks
    return [Check("service", f"it answers, in {loop.time() - began:.2f} s with the turn under the limit"), *checks]


async def _ask_for_a_task(client: AIVideoMaker, *, has_key: bool) -> list[Check]:
    """Find out whether the key is right, from a service that does not tell of accounts."""
    try:
        await client.get_status(f"doctor-{uuid.uuid4().hex}")
    except TaskNotFound as error:
        if error.message.startswith(_NO_REASON):
            found = f"something answers, and not as the service does: {error}"
            return [problem("service", found, "check the base URL, and whether something stands in between")]
    except AIVideoMakerError as error:
        return _refused(error, has_key=has_key)
    accepted = [Check("key accepted", "yes")] if has_key else []
    return [*accepted, Check("revision", "2026-03: neither account nor quotes")]


def _account(account: Account, *, has_key: bool) -> list[Check]:
    versions = [f"API {account.api_version}"] * (account.api_version is not None)
    versions += [f"skill {account.skill_version}"] * (account.skill_version is not None)
    return [
        *([Check("key accepted", "yes")] if has_key else []),
        Check("revision", "2026-09" + f" ({told(', '.join(versions))})" * bool(versions)),
        _balance(account),
        _guardrails(account),
        Check("models", told(", ".join(account.supported_models)) or "not told"),
    ]


def _balance(account: Account) -> Check:
    balance, least = account.current_balance, account.credit_warning_at
    if balance <= 0:
        return problem("balance", in_dollars(balance), "buy credits: no video is free")
    if least is not None and balance <= least:
        return warning("balance", in_dollars(balance), f"not above the {least} credits at which you want to be warned")
    return Check("balance", in_dollars(balance))


def _guardrails(account: Account) -> Check:
    daily, rate = account.daily_credit_limit, account.generation_requests_per_minute
    credits_ = "unlimited credits a day" if daily is None else f"{in_dollars(daily)} a day"
    return Check("guardrails", f"{credits_}, {'unlimited' if rate is None else rate} submits a minute")


def _refused(error: AIVideoMakerError, *, has_key: bool) -> list[Check]:
    """What an error says of the service and the key."""
    if isinstance(error, AuthenticationFailed) and not error.message.startswith(_NO_REASON):
        if not has_key:
            return []
        advice = "check the key in your account at https://aivideomaker.ai: it may be disabled, or of another service"
        return [problem("key accepted", f"no: {error}", advice, Exit.CONFIGURATION)]
    if isinstance(error, RateLimited):
        wait = "" if error.retry_after is None else f" for {error.retry_after:.0f} s"
        advice = f"too many queries come from this address: none will be answered{wait}"
        return [warning("service", f"it answers: {error}", advice)]
    if isinstance(error, TransportError) and not isinstance(error, ConnectFailed) and not error.sent:
        return [warning("service", "not asked", "the limit had no room for a query: see below, and try again")]
    return [problem("service", str(error), _advice(error))]


def _advice(error: AIVideoMakerError) -> str:
    if isinstance(error, ConnectFailed):
        usual = "nothing answers there: check the base URL, and the network"
        return next((advice for sign, advice in _ADVICE.items() if sign in error.message), usual)
    if isinstance(error, ServerError):
        return "the service has trouble: try again later"
    if isinstance(error, BadResponse):
        return "something else than the service answers: check the base URL, and whether a proxy stands in between"
    if isinstance(error, APIError):
        return "it refuses, and not in the words of the service: check the base URL, and what stands in between"
    return "the service or the network is slow or breaks connections: try again"


# --- clock and limit ---------------------------------------------------------------------------------


def _clock(client: AIVideoMaker) -> Check:
    offset = client.statistics().clock_offset
    if offset is None:
        return Check("clock", "the service has not told the time")
    if abs(offset) <= _SKEW:
        return Check("clock", f"as the service's, within {max(1.0, abs(offset)):.0f} s")
    found = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} the service's"
    return warning("clock", found, "set it: dates that the service gives for retries depend on it")


async def _limit(client: AIVideoMaker) -> list[Check]:
    limiter, state = client.limiter, client.statistics().limiter
    kind = type(limiter).__name__
    checks = []
    if isinstance(limiter, HostRateLimiter):
        file = await asyncio.to_thread(limiter.find_file)
        if file is None:
            advice = "processes of this machine cannot share the limit: make the state folder of your user writable"
            checks.append(warning("limit file", "there is no place for it", advice))
        else:
            checks.append(Check("limit file", _from_home(file)))
    free = max(0, state.limit - state.in_window)
    found = f"{kind}: {state.in_window} of {state.limit} queries in {state.window:g} s used, {free} free now"
    if state.paused_for > 0:
        advice = "the service has said 429, or another process has heard it: queries go on by themselves after that"
        return [warning("limit", f"{found}, paused for {state.paused_for:.0f} s", advice), *checks]
    return [Check("limit", f"{found}, not paused"), *checks]


def _from_home(file: Path) -> str:
    try:
        return f"~{os.sep}{file.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(file)
