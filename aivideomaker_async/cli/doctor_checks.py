"""The checks of `doctor`: each has a finding, a verdict, and advice what to do.

Versions, environment and key are checked locally. The service gets at most two queries, each of them once: the account,
or for a service of revision 2026-03, which has none, a task that does not exist.
"""

from __future__ import annotations

import asyncio
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final
from urllib.request import getproxies

from attrs import field, frozen

from .._limits import HostRateLimiter
from .._redaction import Secret, sanitize
from .._util.base_url import has_api_path_in
from .._util.version import __version__
from ..client import AIVideoMaker
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
from .context import FROM_ENVIRONMENT, Context
from .exit_codes import Exit
from .prices import in_dollars

__all__ = ["Check", "Verdict", "run_checks"]

_QUERY_TIMEOUT_S: Final = 10.0
"""For each of the two queries, with its wait for the limiter."""

_TOLERATED_SKEW_S: Final = 30.0
"""Clocks may differ by this much. The `Date` of the service has whole seconds."""

_NO_KEY: Final = "none"
"""The value of the key header if there is no usable key: the query still shows whether the service can be reached."""

_EDGE_STATUSES: Final = frozenset({401, 403, 407, 429})
"""Statuses with which something in front of the service refuses a client."""

_LIBRARIES: Final = ("aiohttp", "anyio", "attrs", "cattrs", "puremagic")
_EXTRAS: Final = {
    "cli": ("cyclopts", "rich"),
    "simulator": ("av", "pillow"),
    "redis": ("redis",),
    "images": ("pillow-heif",),
}
_VARIABLES: Final = (
    "AIVIDEO_API_KEY",
    "AIVIDEO_BASE_URL",
    "AIVIDEO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "XDG_STATE_HOME",
)
_VENDOR_VARIABLES: Final = ("AIVIDEO_TIMEOUT_MS", "AIVIDEO_MAX_RETRIES")
"""Variables that the vendor's own tools read, and this package does not."""

_CONNECT_ADVICE: Final = {
    "DNS": "the name cannot be looked up: check the base URL, and the network",
    "Certificate": "the certificate is not trusted: check the certificates and the clock of this machine, and proxies",
    "SSL": "no encrypted connection: check the base URL, and proxies",
    "no connection within": "packets are dropped: check the network and its firewall",
}
"""Advice by a part of the message of a `ConnectFailed`."""


class Verdict(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Check:
    """The finding of one check."""

    name: str
    found: str
    advice: str | None = None
    verdict: Verdict = field(kw_only=True, default=Verdict.OK)
    code: Exit = field(kw_only=True, default=Exit.OK)
    """The exit code of the command because of this check."""


def _warning(name: str, found: str, advice: str) -> Check:
    """Return the finding of a check that does not keep videos from being generated."""
    return Check(name, found, advice, verdict=Verdict.WARNING)


def _problem(name: str, found: str, advice: str, code: Exit = Exit.SERVICE) -> Check:
    """Return the finding of a check that keeps videos from being generated."""
    return Check(name, found, advice, verdict=Verdict.PROBLEM, code=code)


async def run_checks(context: Context) -> list[Check]:
    """Return the findings of all checks, in the order of the screen."""
    checks = await asyncio.to_thread(_check_surroundings)
    key, is_usable = _check_key()
    try:
        checks.append(_check_proxy(context))
    except ConfigurationError as error:
        advice = "set AIVIDEO_PROXY or --proxy to http://host:port"
        return [*checks, _problem("proxy", f"unusable: {error}", advice, Exit.CONFIGURATION), key]
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                context.single_attempt_client(_QUERY_TIMEOUT_S, api_key=None if is_usable else _NO_KEY)
            )
        except ConfigurationError as error:
            advice = "set AIVIDEO_BASE_URL or --base-url to https://host"
            return [*checks, _problem("base URL", f"unusable: {error}", advice, Exit.CONFIGURATION), key]
        checks += [_check_base_url(context, client), key]
        checks += await _check_service(client, has_key=is_usable)
        checks += [_check_clock(client), *await _check_limit(client)]
    return checks


# --- without a network -------------------------------------------------------------------------------


def _check_surroundings() -> list[Check]:
    """Check versions and environment. Some of it is read from files."""
    return [*_check_versions(), _check_environment()]


def _check_versions() -> Iterator[Check]:
    system = f"{platform.python_implementation()} on {platform.platform()}"
    yield Check("package", f"aivideomaker-async {__version__}, Python {platform.python_version()}, {system}")
    yield Check("libraries", ", ".join(f"{name} {_version(name) or 'missing'}" for name in _LIBRARIES))
    yield Check("extras", ", ".join(f"{extra} {_installed(names)}" for extra, names in _EXTRAS.items()))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _installed(names: tuple[str, ...]) -> str:
    found = [f"{name} {_version(name)}" for name in names if _version(name) is not None]
    return f"({', '.join(found)})" if len(found) == len(names) else "not installed"


def _check_environment() -> Check:
    found = [f"{name} {'set' if os.environ.get(name) else 'not set'}" for name in _VARIABLES]
    # A user who has set one of these expects it to have an effect.
    found += [f"{name} set, and not read by this package" for name in _VENDOR_VARIABLES if os.environ.get(name)]
    return Check("environment", ", ".join(found))


def _check_proxy(context: Context) -> Check:
    proxy = context.find_proxy()
    names = sorted(set(getproxies()) - {"no"})
    of_environment = f"the environment has one for {', '.join(names)}" if names else "the environment has none"
    if proxy == FROM_ENVIRONMENT:
        return Check("proxy", f"as the environment says: {of_environment}")
    if proxy is not None:
        return Check("proxy", f"one is used, from {'--proxy' if context.proxy else 'AIVIDEO_PROXY'}")
    if not names:
        return Check("proxy", "none is used")
    return Check("proxy", f"none is used, though {of_environment}; --proxy env uses it")


def _check_key() -> tuple[Check, bool]:
    """Check the form of the key, and return whether it can be sent."""
    key = os.environ.get("AIVIDEO_API_KEY", "").strip()
    if not key:
        advice = "export AIVIDEO_API_KEY=ak_...; keys come from your account at https://aivideomaker.ai"
        return _problem("key", "AIVIDEO_API_KEY is not set", advice, Exit.CONFIGURATION), False
    found = f"from AIVIDEO_API_KEY, {len(key)} characters"
    if not key.isascii() or not key.isprintable() or " " in key:
        advice = "copy it again: it has spaces, line breaks or other characters that no key has"
        return _problem("key", found, advice, Exit.CONFIGURATION), False
    if not key.startswith("ak_"):
        return _warning("key", found, "keys begin with ak_, and this one does not: is it a key?"), True
    return Check("key", f"{found}, begins with ak_"), True


def _check_base_url(context: Context, client: AIVideoMaker) -> Check:
    source = "by default"
    if context.base_url:
        source = "from --base-url"
    elif os.environ.get("AIVIDEO_BASE_URL"):
        source = "from AIVIDEO_BASE_URL"
    if has_api_path_in(Secret(context.base_url or os.environ.get("AIVIDEO_BASE_URL") or "")):
        advice = f"set it to {client.base_url}: each request adds this path, and other programs may not leave it out"
        return _problem("base URL", f"ends in the path of the API, {source}", advice, Exit.CONFIGURATION)
    found = f"{client.base_url} {source}"
    return Check("base URL", found if client.base_url.startswith("https:") else f"{found}, not encrypted")


# --- the service -------------------------------------------------------------------------------------


async def _check_service(client: AIVideoMaker, *, has_key: bool) -> list[Check]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    account: Account | None = None
    try:
        account = await client.account()
    except EndpointNotFound:
        began = loop.time()
        checks = await _check_by_task(client, has_key=has_key)
    except AIVideoMakerError as error:
        checks = _check_error(error, has_key=has_key)
    else:
        checks = _check_account(account, has_key=has_key)
    if any(check.name == "service" for check in checks):
        return checks
    found = f"it answers, in {loop.time() - began:.2f} s with the wait for the limiter"
    return [Check("service", found), *checks]


async def _check_by_task(client: AIVideoMaker, *, has_key: bool) -> list[Check]:
    """Check the key by a query for an unknown task, at a service without accounts."""
    try:
        await client.get_status(f"doctor-{uuid.uuid4().hex}")
    except TaskNotFound as error:
        if not error.by_service:
            found = f"something answers, but not as the service does: {error}"
            return [_problem("service", found, "check the base URL, and proxies")]
    except AIVideoMakerError as error:
        return _check_error(error, has_key=has_key)
    accepted = [Check("key accepted", "yes")] if has_key else []
    return [*accepted, Check("revision", "2026-03: neither account nor quotes")]


def _check_account(account: Account, *, has_key: bool) -> list[Check]:
    versions = [f"API {account.api_version}"] * (account.api_version is not None)
    versions += [f"skill {account.skill_version}"] * (account.skill_version is not None)
    daily, rate = account.daily_credit_limit, account.generation_requests_per_minute
    credits_a_day = "unlimited credits a day" if daily is None else f"{in_dollars(daily)} a day"
    submits = "unlimited" if rate is None else rate
    return [
        *([Check("key accepted", "yes")] if has_key else []),
        Check("revision", "2026-09" + f" ({sanitize(', '.join(versions))})" * bool(versions)),
        _check_balance(account),
        Check("guardrails", f"{credits_a_day}, {submits} submits a minute"),
        Check("models", sanitize(", ".join(account.supported_models)) or "not reported"),
    ]


def _check_balance(account: Account) -> Check:
    balance, warning_at = account.current_balance, account.credit_warning_at
    if balance <= 0:
        return _problem("balance", in_dollars(balance), "buy credits: no video is free")
    if warning_at is not None and balance <= warning_at:
        return _warning("balance", in_dollars(balance), f"not above the warning level of {warning_at} credits")
    return Check("balance", in_dollars(balance))


def _check_error(error: AIVideoMakerError, *, has_key: bool) -> list[Check]:
    """Return the findings about the service and the key that follow from an error."""
    if isinstance(error, AuthenticationFailed) and error.by_service:
        if not has_key:
            return []
        advice = "check the key in your account at https://aivideomaker.ai: it may be disabled, or of another service"
        return [_problem("key accepted", f"no: {error}", advice, Exit.CONFIGURATION)]
    if isinstance(error, RateLimited):
        wait = "" if error.retry_after is None else f" for {error.retry_after:.0f} s"
        advice = f"too many queries come from this address: the service refuses them{wait}"
        return [_warning("service", f"it answers: {error}", advice)]
    if isinstance(error, TransportError) and not isinstance(error, ConnectFailed) and not error.sent:
        advice = "the query limit had no room for a query: see below, and try again"
        return [_warning("service", "not checked", advice)]
    return [_problem("service", str(error), _advice(error))]


def _advice(error: AIVideoMakerError) -> str:
    if isinstance(error, ConnectFailed):
        usual = "nothing answers there: check the base URL, and the network"
        return next((advice for sign, advice in _CONNECT_ADVICE.items() if sign in error.message), usual)
    if isinstance(error, ServerError):
        return "the service has trouble: try again later"
    if isinstance(error, BadResponse):
        return "this is not the answer of the service: check the base URL, and whether a proxy answers in its place"
    if isinstance(error, APIError) and error.status in _EDGE_STATUSES:
        return "the service has not said this: a gateway, a bot check or a proxy in front of it refuses this machine"
    if isinstance(error, APIError):
        return "this is not how the service refuses: check the base URL, and whether a proxy answers in its place"
    return "the service or the network is slow or breaks connections: try again"


# --- clock and limit ---------------------------------------------------------------------------------


def _check_clock(client: AIVideoMaker) -> Check:
    offset = client.statistics().clock_offset
    if offset is None:
        return Check("clock", "not compared: no answer of the service had a date")
    if abs(offset) <= _TOLERATED_SKEW_S:
        return Check("clock", f"as the service's, within {max(1.0, abs(offset)):.0f} s")
    found = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} the service's"
    return _warning("clock", found, "set it: dates that the service sends for retries depend on it")


async def _check_limit(client: AIVideoMaker) -> list[Check]:
    limiter, state = client.limiter, client.statistics().limiter
    checks = []
    if isinstance(limiter, HostRateLimiter):
        file = await asyncio.to_thread(limiter.find_file)
        if file is None:
            advice = "processes of this machine cannot share the limit: make the state folder of your user writable"
            checks.append(_warning("limit file", "there is no place for it", advice))
        else:
            checks.append(Check("limit file", _relative_to_home(file)))
    free = max(0, state.limit - state.in_window)
    used = f"{state.in_window} of {state.limit} queries in {state.window:g} s used, {free} free now"
    found = f"{type(limiter).__name__}: {used}"
    if state.paused_for > 0:
        advice = "the service has answered 429, to this or another process; queries continue after the pause"
        return [_warning("limit", f"{found}, paused for {state.paused_for:.0f} s", advice), *checks]
    return [Check("limit", f"{found}, not paused"), *checks]


def _relative_to_home(file: Path) -> str:
    # The name of the home folder is that of the user, which does not belong into a bug report.
    try:
        return f"~{os.sep}{file.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(file)
