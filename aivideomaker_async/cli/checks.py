"""What `doctor` finds without asking anybody: versions, environment, and the key; and how it tells what it finds."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.request import getproxies

from attrs import field, frozen

from .._util.version import __version__
from .exits import Exit

__all__ = ["Check", "Verdict", "key", "problem", "surroundings", "warning"]

_LIBRARIES: Final = ("aiohttp", "anyio", "attrs", "cattrs", "puremagic", "platformdirs")
_EXTRAS: Final = {"cli": ("cyclopts", "rich"), "simulator": ("av", "pillow"), "redis": ("redis",)}
_VARIABLES: Final = ("AIVIDEO_API_KEY", "AIVIDEO_BASE_URL", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_STATE_HOME")
_UNUSED: Final = ("AIVIDEO_TIMEOUT_MS", "AIVIDEO_MAX_RETRIES")


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    advice: str | None = None
    verdict: Verdict = field(kw_only=True, default=Verdict.OK)
    code: Exit = field(kw_only=True, default=Exit.OK)
    """How the command is to end for it."""


def warning(name: str, found: str, advice: str) -> Check:
    """It works all the same."""
    return Check(name, found, advice, verdict=Verdict.WARNING)


def problem(name: str, found: str, advice: str, code: Exit = Exit.SERVICE) -> Check:
    """It does not work."""
    return Check(name, found, advice, verdict=Verdict.PROBLEM, code=code)


def surroundings() -> list[Check]:
    """Versions and environment. Some of it is read from files."""
    return [*_versions(), _environment(), _proxies()]


def _versions() -> Iterator[Check]:
    yield Check("package", f"aivideomaker-async {__version__}, Python {platform.python_version()}, {_system()}")
    yield Check("libraries", ", ".join(f"{name} {_version(name) or 'missing'}" for name in _LIBRARIES))
    yield Check("extras", ", ".join(f"{extra} {_extra(names)}" for extra, names in _EXTRAS.items()))


def _system() -> str:
    return f"{platform.python_implementation()} on {platform.platform()}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _extra(names: tuple[str, ...]) -> str:
    found = [f"{name} {_version(name)}" for name in names if _version(name) is not None]
    return f"({', '.join(found)})" if len(found) == len(names) else "not installed"


def _environment() -> Check:
    told = [f"{name} {'set' if os.environ.get(name) else 'not set'}" for name in _VARIABLES]
    # The vendor's own tools read them, and whoever sets them expects something of it.
    told += [f"{name} set, and not read by this package" for name in _UNUSED if os.environ.get(name)]
    return Check("environment", ", ".join(told))


def _proxies() -> Check:
    there = sorted(set(getproxies()) - {"no"})
    if not there:
        return Check("proxy", "none is used")
    return Check("proxy", f"none is used, though the environment names one for {', '.join(there)}")


def key() -> tuple[Check, bool]:
    """What can be said of the key, and whether it can be sent."""
    given = os.environ.get("AIVIDEO_API_KEY", "").strip()
    if not given:
        advice = "export AIVIDEO_API_KEY=ak_...; keys come from your account at https://aivideomaker.ai"
        return problem("key", "AIVIDEO_API_KEY is not set", advice, Exit.CONFIGURATION), False
    told = f"from AIVIDEO_API_KEY, {len(given)} characters"
    if not given.isascii() or not given.isprintable() or " " in given:
        advice = "copy it again: it has spaces, line breaks or characters that no key has"
        return problem("key", told, advice, Exit.CONFIGURATION), False
    if not given.startswith("ak_"):
        return warning("key", told, "keys begin with ak_, and this one does not: is it a key?"), True
    return Check("key", f"{told}, begins with ak_"), True
