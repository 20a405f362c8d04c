"""`doctor`: what it finds, what it advises, and what it keeps to itself."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import HostRateLimiter, RateLimiter
from aivideomaker_async._limits import default_limiter
from aivideomaker_async.cli import checks as checks_of
from aivideomaker_async.cli import examination
from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import Command
from tests.cli.younger import YoungerService, refused
from tests.support.scripted import Action, Arrival, Drop, Hang, Raw, Reply


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


Checks = dict[str, dict[str, Any]]


@pytest.fixture
def doctor(cli: Command) -> Callable[..., tuple[int, Checks]]:
    """Runs it and returns the exit code and the checks by their names."""

    def run(*argv: str) -> tuple[int, Checks]:
        ran = cli("doctor", "--json", *argv)
        (event,) = ran.events
        assert event["event"] == "doctor"
        assert event["exit_code"] == ran.code
        assert all(set(check) == {"name", "verdict", "found", "advice"} for check in event["checks"])
        return ran.code, {check["name"]: check for check in event["checks"]}

    return run


Doctor = Callable[..., tuple[int, Checks]]


def troubles(checks: Checks) -> dict[str, str]:
    return {name: check["verdict"] for name, check in checks.items() if check["verdict"] != "ok"}


def test_all_is_well(cli: Command, younger: YoungerService) -> None:
    """One screen of aligned lines, for one query."""
    ran = cli("doctor")
    assert (ran.code, ran.err, younger.paths) == (0, "", ["GET /account"])
    lines = ran.out.splitlines()
    assert len(lines) < 24
    names = [re.split(r"  +", line)[1] for line in lines]
    assert names == [
        *("package", "libraries", "extras", "environment", "proxy", "base URL", "key", "service", "key accepted"),
        *("revision", "balance", "guardrails", "models", "clock", "limit"),
    ]
    assert {line[:17] for line in lines} == {f"ok       {name.ljust(8)}"[:17] for name in names}
    start = lines[0].index("aivideomaker-async")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines)
    told = dict(zip(names, (line[start:] for line in lines), strict=True))
    assert told["revision"] == "2026-09 (API v1, skill 1.0.15)"
    assert told["balance"] == "415 credits (USD 4.15)"
    assert told["guardrails"] == "unlimited credits a day, unlimited submits a minute"
    assert told["key"] == f"from AIVIDEO_API_KEY, {len(younger.api_key)} characters, begins with ak_"
    assert told["base URL"] == f"{younger.url} from AIVIDEO_BASE_URL, not encrypted"
    assert told["clock"].startswith("as the service's, within ")


def test_a_service_of_2026_03_is_well_too(doctor: Doctor, service: ThreadedSimulator) -> None:
    """A second query, of a task that there is not, tells that the key is right."""
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {})
    assert checks["revision"]["found"] == "2026-03: neither account nor quotes"
    assert checks["key accepted"]["found"] == "yes"
    assert "balance" not in checks
    paths = [arrival.path for arrival in service.requests]
    assert paths[0] == "/api/v1/account"
    assert re.fullmatch(r"/api/v1/tasks/doctor-\w+/status", paths[1])
    assert len(paths) == 2


@pytest.mark.parametrize("revision", ["2026-03", "2026-09"])
def test_a_key_that_is_refused_is_exit_code_3(
    doctor: Doctor, serve: SimulatorFactory, younger: YoungerService, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    if revision == "2026-03":
        serve()
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_wrong")
    code, checks = doctor()
    assert (code, troubles(checks)) == (3, {"key accepted": "problem"})
    assert "401" in checks["key accepted"]["found"]


def test_a_key_is_checked_where_only_tasks_ask_for_one(doctor: Doctor, younger: YoungerService) -> None:
    """A service of 2026-03 may not look at the key of a request for what it does not have."""

    def older(arrival: Arrival) -> Action:
        if "/tasks/" not in arrival.path:
            return Reply(404, b"<html>Not found</html>")
        return refused(401, "", "Invalid API key")

    younger.override = older
    code, checks = doctor()
    assert (code, troubles(checks), len(younger.paths)) == (3, {"key accepted": "problem"}, 2)


@pytest.mark.parametrize(
    ("key", "found"),
    [(None, "AIVIDEO_API_KEY is not set"), (" ", "AIVIDEO_API_KEY is not set"), ("ak_a b", "from AIVIDEO_API_KEY, 6")],
)
def test_a_key_of_no_use_is_exit_code_3(
    doctor: Doctor, younger: YoungerService, monkeypatch: pytest.MonkeyPatch, key: str | None, found: str
) -> None:
    """Whether the service can be reached is told all the same; no part of the key is sent."""
    if key is None:
        monkeypatch.delenv("AIVIDEO_API_KEY")
    else:
        monkeypatch.setenv("AIVIDEO_API_KEY", key)
    code, checks = doctor()
    assert (code, troubles(checks)) == (3, {"key": "problem"})
    assert checks["key"]["found"].startswith(found)
    assert checks["service"]["found"].startswith("it answers")
    assert [arrival.headers["key"] for arrival in younger.arrivals] == ["none"]
    assert "key accepted" not in checks


def test_a_key_of_another_kind_is_tried_with_a_word(
    doctor: Doctor, younger: YoungerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    younger.api_key = "0123456789"
    monkeypatch.setenv("AIVIDEO_API_KEY", younger.api_key)
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {"key": "warning"})


def test_a_base_url_of_no_use_is_exit_code_3(doctor: Doctor, younger: YoungerService) -> None:
    for url in ("http://user:password@host", "nonsense", "http://nowhere.invalid"):
        code, checks = doctor("--base-url", url)
        assert (code, troubles(checks)) == (3, {"base URL": "problem"})
        assert "password" not in str(checks)
    assert younger.paths == []


@pytest.mark.parametrize(
    ("action", "found", "advice"),
    [
        (Hang(), "no answer within 0.24 s", "slow"),
        (Drop(), "the connection broke", "slow or breaks connections"),
        (Reply(503, {"message": "later"}), "503: later", "trouble"),
        (Reply(200, "<html>Log in</html>"), "cannot be understood: the body is not JSON", "proxy"),
        (Reply(302, b"", {"Location": "https://login.example/x"}), "redirects to https://login.example", "base URL"),
        (Reply(403, "<html>Blocked</html>"), "the body is HTML", "stands in between"),
        (Raw(b"\x00 nonsense"), "breaks the rules of HTTP", "proxy"),
        (Reply(404, "<html>Not found</html>"), "something answers, and not as the service does", "base URL"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_service_that_does_not_do_its_work_is_exit_code_4(
    doctor: Doctor,
    younger: YoungerService,
    monkeypatch: pytest.MonkeyPatch,
    action: Action,
    found: str,
    advice: str,
) -> None:
    """It says what came instead, and what to look at; each request is made once."""
    if isinstance(action, Hang):
        monkeypatch.setattr(examination, "_SECONDS", 0.3)
    younger.override = lambda arrival: action
    code, checks = doctor()
    assert (code, troubles(checks)) == (4, {"service": "problem"})
    assert found in checks["service"]["found"]
    assert advice in checks["service"]["advice"]
    assert len(younger.paths) == (2 if getattr(action, "status", 0) == 404 else 1)


@pytest.mark.parametrize(
    ("url", "found", "advice"),
    [
        ("http://127.0.0.1:1", "cannot connect", "nothing answers there"),
        ("https://LOOPBACK", "SSL", "no encrypted connection"),
        ("https://no-such-host.invalid", "DNS", "the name cannot be looked up"),
    ],
)
def test_a_service_that_cannot_be_reached_is_exit_code_4(
    doctor: Doctor, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, url: str, found: str, advice: str
) -> None:
    """Names, ports and encryption go wrong in ways of their own."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **options: Any) -> Any:
        # Some networks take their time, or know every name.
        if host == "no-such-host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    code, checks = doctor("--base-url", url.replace("LOOPBACK", service.url.partition("//")[2]))
    assert (code, troubles(checks)) == (4, {"service": "problem"})
    assert found in checks["service"]["found"]
    assert checks["service"]["advice"].startswith(advice)
    assert checks["clock"]["found"] == "the service has not told the time"


def test_a_limit_that_is_reached_is_no_problem_of_the_key(doctor: Doctor, younger: YoungerService) -> None:
    """A 429 is told, and not waited out."""
    younger.override = lambda arrival: Reply(429, {"message": "slow down"}, {"Retry-After": "2"})
    code, checks = doctor()
    assert (code, len(younger.paths)) == (0, 1)
    assert troubles(checks) == {"service": "warning", "limit": "warning"}
    assert "slow down" in checks["service"]["found"]
    assert re.search(r"paused for [12] s", checks["limit"]["found"])


def test_a_limit_that_others_have_used_up_is_told(
    doctor: Doctor, younger: YoungerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_up = RateLimiter(1, 60.0)
    assert used_up.acquire_nowait() is not None
    monkeypatch.setattr("aivideomaker_async.client.client.default_limiter", lambda origin: used_up)
    monkeypatch.setattr(examination, "_SECONDS", 0.2)
    code, checks = doctor()
    assert (code, younger.paths, troubles(checks)) == (0, [], {"service": "warning"})
    assert checks["limit"]["found"] == "RateLimiter: 1 of 1 queries in 60 s used, 0 free now, not paused"


def test_the_file_of_the_limit_is_told(
    doctor: Doctor, younger: YoungerService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the name of the user, which is that of the home folder."""
    monkeypatch.setattr("aivideomaker_async.client.client.default_limiter", default_limiter)
    state = Path(os.environ["XDG_STATE_HOME"])
    monkeypatch.setattr(Path, "home", lambda: state)
    code, checks = doctor()
    assert code == 0
    assert re.fullmatch(r"~/aivideomaker-async/limits/127\.0\.0\.1-\d+-\w+\.sqlite3", checks["limit file"]["found"])
    assert (state / checks["limit file"]["found"][2:]).is_file()
    assert checks["limit"]["found"] == "HostRateLimiter: 1 of 60 queries in 60 s used, 59 free now, not paused"
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert doctor()[1]["limit file"]["found"].startswith(str(state))


def test_a_limit_without_a_file_is_a_warning(
    doctor: Doctor, younger: YoungerService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    limiter = HostRateLimiter(name="x", directory=tmp_path / "file" / "below")
    monkeypatch.setattr("aivideomaker_async.client.client.default_limiter", lambda origin: limiter)
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {"limit file": "warning"})


@pytest.mark.parametrize(
    ("skew", "found"),
    [(timedelta(minutes=5), r"(299|300) s behind the service's"), (-timedelta(hours=1), "360[01] s ahead of the")],
)
def test_a_clock_that_is_wrong_is_a_warning(
    doctor: Doctor, younger: YoungerService, skew: timedelta, found: str
) -> None:
    younger.skew = skew
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {"clock": "warning"})
    assert re.match(found, checks["clock"]["found"])


def test_balance_and_guardrails_are_told(doctor: Doctor, younger: YoungerService) -> None:
    """No credits are a problem; few of them a warning, where somebody wants one."""
    younger.guardrails = {"dailyCreditLimit": 500, "generationRequestsPerMinute": 5, "creditWarningAt": 415}
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {"balance": "warning"})
    assert checks["guardrails"]["found"] == "500 credits (USD 5.00) a day, 5 submits a minute"
    younger.balance = 0
    code, checks = doctor()
    assert (code, troubles(checks)) == (4, {"balance": "problem"})


def test_the_surroundings_are_told(doctor: Doctor, younger: YoungerService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions with numbers, variables without values; a proxy of the environment is not used, and it says so."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pass@proxy.example:8080")
    monkeypatch.setenv("AIVIDEO_TIMEOUT_MS", "12345")
    monkeypatch.setattr(checks_of, "_EXTRAS", {"cli": ("cyclopts", "rich"), "none": ("no-such-package", "rich")})
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {})
    assert re.match(r"aivideomaker-async \d\S+, Python 3\.\d+\.\d+\S*, \w+ on ", checks["package"]["found"])
    assert re.match(r"aiohttp 3\.\S+, anyio \d\S+, attrs \d\S+, cattrs \d", checks["libraries"]["found"])
    assert re.fullmatch(r"cli \(cyclopts \S+, rich \S+\), none not installed", checks["extras"]["found"])
    assert checks["proxy"]["found"] == "none is used, though the environment names one for https"
    assert "AIVIDEO_API_KEY set, AIVIDEO_BASE_URL set" in checks["environment"]["found"]
    assert "AIVIDEO_TIMEOUT_MS set, and not read by this package" in checks["environment"]["found"]
    assert not re.search("12345|proxy.example|pass", str(checks))


KEY = "ak_SeCrEtSeCrEt0123456789"


@pytest.mark.parametrize("flags", [(), ("--json",), ("--verbose",)], ids=str)
@pytest.mark.parametrize(
    "action",
    [
        lambda key: Reply(401, {"message": f"Invalid API key: {key}"}),
        lambda key: Reply(500, {"message": f"cannot look up {key[3:]} of {key[:-4]}", "errorCode": key}),
        lambda key: Reply(200, f"<html>{key}</html>"),
        lambda key: Reply(302, b"", {"Location": f"https://{key.lower()}.example/{key}"}),
        lambda key: Reply(404, {"message": key}),
        lambda key: Raw(f"{key} nonsense".encode()),
        lambda key: Reply(
            200,
            {
                "currentBalance": 1,
                "apiVersion": key,
                "skillVersion": f"x{key}x",
                "supportedModels": [key, "t2v"],
                "dailyCreditLimit": -1,
                key: key,
            },
        ),
    ],
)
def test_nothing_secret_is_told_whatever_the_service_says(
    cli: Command,
    younger: YoungerService,
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[str], Action],
    flags: tuple[str, ...],
) -> None:
    """Not even a long piece of it, in capitals or not."""
    monkeypatch.setenv("AIVIDEO_API_KEY", KEY)
    monkeypatch.setenv("AIVIDEO_BASE_URL", f"{younger.url}/{KEY}")
    younger.override = lambda arrival: action(KEY)
    ran = cli("doctor", *flags)
    assert ran.code in {0, 3, 4}
    shown = (ran.out + ran.err).lower()
    pieces = {KEY[start : start + 8].lower() for start in range(len(KEY) - 7)}
    assert [piece for piece in pieces if piece in shown] == []
    assert f"{len(KEY)} characters" in shown
