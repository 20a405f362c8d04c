"""`doctor`: its findings, its advice, and that it shows nothing secret."""

from __future__ import annotations

import re
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import HostRateLimiter, RateLimiter
from aivideomaker_async._limits import default_limiter
from aivideomaker_async.cli import doctor_checks
from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import Command, ScriptedThread, paths
from tests.support.scripted import Action, Arrival, Drop, Hang, Raw, Reply


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


Checks = dict[str, dict[str, Any]]
Doctor = Callable[..., tuple[int, Checks]]

ACCOUNT = {"ok": True, "currentBalance": 5, "supportedModels": ["t2v"], "dailyCreditLimit": -1}


@pytest.fixture
def doctor(cli: Command) -> Doctor:
    """Run the command, and return the exit code and the checks by their names."""

    def run(*argv: str) -> tuple[int, Checks]:
        ran = cli("doctor", "--json", *argv)
        (event,) = ran.events
        assert event["event"] == "doctor"
        assert event["exit_code"] == ran.code
        assert all(set(check) == {"name", "verdict", "found", "advice"} for check in event["checks"])
        return ran.code, {check["name"]: check for check in event["checks"]}

    return run


def troubles(checks: Checks) -> dict[str, str]:
    return {name: check["verdict"] for name, check in checks.items() if check["verdict"] != "ok"}


def test_without_trouble_it_is_one_screen_of_aligned_lines(cli: Command, september: ThreadedSimulator) -> None:
    """By one query."""
    ran = cli("doctor")
    assert (ran.code, ran.err, paths(september)) == (0, "", ["GET /account"])
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
    found = dict(zip(names, (line[start:] for line in lines), strict=True))
    assert found["revision"] == "2026-09 (API v1, skill 1.0.15)"
    assert found["balance"] == "415 credits (USD 4.15)"
    assert found["guardrails"] == "unlimited credits a day, unlimited submits a minute"
    assert found["key"] == f"from AIVIDEO_API_KEY, {len(september.api_key)} characters, begins with ak_"
    assert found["base URL"] == f"{september.url} from AIVIDEO_BASE_URL, not encrypted"
    assert found["clock"].startswith("as the service's, within ")


# --- the key -----------------------------------------------------------------------------------------


def test_at_a_service_without_accounts_a_second_query_checks_the_key(
    doctor: Doctor, service: ThreadedSimulator
) -> None:
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {})
    assert checks["revision"]["found"] == "2026-03: neither account nor quotes"
    assert checks["key accepted"]["found"] == "yes"
    assert "balance" not in checks
    first, second = paths(service)
    assert first == "GET /account"
    assert re.fullmatch(r"GET /tasks/doctor-\w+/status", second)


@pytest.mark.parametrize("revision", ["2026-03", "2026-09"])
def test_a_refused_key_is_exit_code_3(
    doctor: Doctor, serve: SimulatorFactory, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    serve(revision=revision)
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_wrong")
    code, checks = doctor()
    assert (code, troubles(checks)) == (3, {"key accepted": "problem"})
    assert "401" in checks["key accepted"]["found"]


def test_a_key_may_be_refused_by_the_second_query_alone(doctor: Doctor, scripted_service: ScriptedThread) -> None:
    """A service of 2026-03 may answer 404 before it checks the key."""

    def answer(arrival: Arrival) -> Action:
        if "/tasks/" not in arrival.path:
            return Reply(404, b"<html>Not found</html>")
        return Reply(401, {"status": "FAILED", "message": "Invalid API key"})

    scripted_service.handler = answer
    code, checks = doctor()
    assert (code, troubles(checks), len(scripted_service.arrivals)) == (3, {"key accepted": "problem"}, 2)


@pytest.mark.parametrize(
    ("key", "found"),
    [(None, "AIVIDEO_API_KEY is not set"), (" ", "AIVIDEO_API_KEY is not set"), ("ak_a b", "from AIVIDEO_API_KEY, 6")],
)
@pytest.mark.parametrize(
    "answer", [Reply(401, {"status": "FAILED", "message": "Invalid API key"}), Reply(body=ACCOUNT)], ids=["401", "200"]
)
def test_an_unusable_key_is_exit_code_3_and_is_not_sent(
    doctor: Doctor,
    scripted_service: ScriptedThread,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    found: str,
    answer: Reply,
) -> None:
    """Whether the service can be reached is checked all the same. No key was accepted then, whatever it answers."""
    if key is None:
        monkeypatch.delenv("AIVIDEO_API_KEY")
    else:
        monkeypatch.setenv("AIVIDEO_API_KEY", key)
    scripted_service.handler = lambda arrival: answer
    code, checks = doctor()
    assert (code, troubles(checks)) == (3, {"key": "problem"})
    assert checks["key"]["found"].startswith(found)
    assert checks["service"]["found"].startswith("it answers")
    assert [arrival.headers["key"] for arrival in scripted_service.arrivals] == ["none"]
    assert "key accepted" not in checks


def test_an_unusual_key_is_a_warning(doctor: Doctor, serve: SimulatorFactory) -> None:
    serve(api_key="0123456789")
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {"key": "warning"})


# --- the service -------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://user:password@host", "nonsense", "http://nowhere.invalid"])
def test_an_unusable_base_url_is_exit_code_3(doctor: Doctor, service: ThreadedSimulator, url: str) -> None:
    code, checks = doctor("--base-url", url)
    assert (code, troubles(checks)) == (3, {"base URL": "problem"})
    assert "password" not in str(checks)
    assert service.requests == []


@pytest.mark.parametrize(
    ("action", "found", "advice"),
    [
        (Hang(), "no answer within 0.24 s", "slow"),
        (Drop(), "the connection broke", "slow or breaks connections"),
        (Reply(503, {"message": "later"}), "503: later", "trouble"),
        (Reply(200, "<html>Log in</html>"), "cannot be understood: the body is not JSON", "proxy"),
        (Reply(302, b"", {"Location": "https://login.example/x"}), "redirects to https://login.example", "base URL"),
        (Reply(403, "<html>Blocked</html>"), "the body is HTML", "in front of it refuses this machine"),
        (Reply(405, "<html>Not allowed</html>"), "the body is HTML", "not how the service refuses"),
        (Raw(b"\x00 nonsense"), "breaks the rules of HTTP", "proxy"),
        (Reply(404, "<html>Not found</html>"), "something answers, but not as the service does", "base URL"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_service_that_does_not_work_is_exit_code_4(
    doctor: Doctor,
    scripted_service: ScriptedThread,
    monkeypatch: pytest.MonkeyPatch,
    action: Action,
    found: str,
    advice: str,
) -> None:
    """With its answer, and what to check. Each request is sent once."""
    if isinstance(action, Hang):
        monkeypatch.setattr(doctor_checks, "_QUERY_TIMEOUT_S", 0.3)
    scripted_service.handler = lambda arrival: action
    code, checks = doctor()
    assert (code, troubles(checks)) == (4, {"service": "problem"})
    assert found in checks["service"]["found"]
    assert advice in checks["service"]["advice"]
    assert len(scripted_service.arrivals) == (2 if getattr(action, "status", 0) == 404 else 1)


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
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **options: Any) -> Any:
        # Some networks are slow to answer, or know every name.
        if host == "no-such-host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    code, checks = doctor("--base-url", url.replace("LOOPBACK", service.url.partition("//")[2]))
    assert (code, troubles(checks)) == (4, {"service": "problem"})
    assert found in checks["service"]["found"]
    assert checks["service"]["advice"].startswith(advice)
    assert checks["clock"]["found"] == "not compared: no answer of the service had a date"


@pytest.mark.parametrize(
    ("options", "code", "verdict"),
    [({"credits": 416}, 0, "ok"), ({"credits": 415}, 0, "warning"), ({"credits": 0}, 4, "problem")],
)
def test_balance_and_guardrails_are_checked(
    doctor: Doctor, serve: SimulatorFactory, options: dict[str, Any], code: int, verdict: str
) -> None:
    serve(revision="2026-09", daily_credit_limit=500, generation_limit=5, credit_warning_at=415, **options)
    ended, checks = doctor()
    assert (ended, checks["balance"]["verdict"]) == (code, verdict)
    assert checks["guardrails"]["found"] == "500 credits (USD 5.00) a day, 5 submits a minute"


@pytest.mark.parametrize(
    ("skew", "found"), [(300, r"(299|300) s behind the service's"), (-3600, r"360[01] s ahead of")]
)
def test_a_wrong_clock_is_a_warning(doctor: Doctor, serve: SimulatorFactory, skew: float, found: str) -> None:
    serve(revision="2026-09", clock_skew=skew)
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {"clock": "warning"})
    assert re.match(found, checks["clock"]["found"])


# --- the limit ---------------------------------------------------------------------------------------


def test_a_429_is_a_warning_and_is_not_waited_out(doctor: Doctor, september: ThreadedSimulator) -> None:
    september.fault("rate_limit", retry_after=2, times=None)
    code, checks = doctor()
    assert (code, len(september.requests)) == (0, 1)
    assert troubles(checks) == {"service": "warning", "limit": "warning"}
    assert "Too many requests" in checks["service"]["found"]
    assert re.search(r"paused for [12] s", checks["limit"]["found"])


def test_a_limit_that_others_have_used_up_is_a_warning(
    doctor: Doctor, september: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_up = RateLimiter(1, 60.0)
    assert used_up.acquire_nowait() is not None
    monkeypatch.setattr("aivideomaker_async.client.client.default_limiter", lambda origin: used_up)
    monkeypatch.setattr(doctor_checks, "_QUERY_TIMEOUT_S", 0.2)
    code, checks = doctor()
    assert (code, september.requests, troubles(checks)) == (0, [], {"service": "warning"})
    assert checks["limit"]["found"] == "RateLimiter: 1 of 1 queries in 60 s used, 0 free now, not paused"


def test_the_file_of_the_limit_is_shown_without_the_name_of_the_user(
    doctor: Doctor, september: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("aivideomaker_async.client.client.default_limiter", default_limiter)
    state = tmp_path / "somebody"
    state.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(state))
    monkeypatch.setattr(Path, "home", lambda: state)
    code, checks = doctor()
    assert code == 0
    assert re.fullmatch(
        r"~/aivideomaker-async[\w-]*/limits/127\.0\.0\.1-\d+-\w+\.sqlite3", checks["limit file"]["found"]
    )
    assert (state / checks["limit file"]["found"][2:]).is_file()
    assert checks["limit"]["found"] == "HostRateLimiter: 1 of 60 queries in 60 s used, 59 free now, not paused"
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "elsewhere")
    assert doctor()[1]["limit file"]["found"].startswith(str(state))


def test_a_limit_without_a_file_is_a_warning(
    doctor: Doctor, september: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    limiter = HostRateLimiter(name="x", directory=tmp_path / "file" / "below")
    monkeypatch.setattr("aivideomaker_async.client.client.default_limiter", lambda origin: limiter)
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {"limit file": "warning"})


@pytest.mark.parametrize("by", ["option", "variable"])
def test_the_proxy_is_named_without_its_password(
    doctor: Doctor, scripted_service: ScriptedThread, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    proxy = scripted_service.url.replace("http://", "http://me:pa55word@")
    monkeypatch.setenv("AIVIDEO_PROXY", proxy if by == "variable" else "http://other.invalid:1")
    scripted_service.handler = lambda arrival: Reply(200, ACCOUNT)
    arguments = ("--proxy", proxy) if by == "option" else ()
    _, checks = doctor("--base-url", "http://nowhere.invalid", "--allow-http", *arguments)
    assert checks["proxy"]["found"] == f"one is used, from {'--proxy' if by == 'option' else 'AIVIDEO_PROXY'}"
    assert checks["service"]["verdict"] == "ok"
    assert "pa55word" not in str(checks)


@pytest.mark.parametrize("proxy", ["socks5://me:pa55word@host:1080", "host:3128", "http://host:x"])
def test_an_unusable_proxy_is_exit_code_3(doctor: Doctor, service: ThreadedSimulator, proxy: str) -> None:
    code, checks = doctor("--proxy", proxy)
    assert (code, troubles(checks)) == (3, {"proxy": "problem"})
    assert "such as http://host:3128" in checks["proxy"]["found"]
    assert "pa55word" not in str(checks)
    assert service.requests == []


# --- surroundings and secrets ------------------------------------------------------------------------


def test_versions_have_numbers_and_variables_no_values(
    doctor: Doctor, september: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment is not used, and the finding is that."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pass@proxy.example:8080")
    monkeypatch.setenv("AIVIDEO_TIMEOUT_MS", "12345")
    monkeypatch.setattr(doctor_checks, "_EXTRAS", {"cli": ("cyclopts", "rich"), "none": ("no-such-package", "rich")})
    code, checks = doctor()
    assert (code, troubles(checks)) == (0, {})
    assert re.match(r"aivideomaker-async \d\S+, Python 3\.\d+\.\d+\S*, \w+ on ", checks["package"]["found"])
    assert re.match(r"aiohttp 3\.\S+, anyio \d\S+, attrs \d\S+, cattrs \d", checks["libraries"]["found"])
    assert re.fullmatch(r"cli \(cyclopts \S+, rich \S+\), none not installed", checks["extras"]["found"])
    assert checks["proxy"]["found"] == "none is used, though the environment has one for https; --proxy env uses it"
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
            200, {**ACCOUNT, "apiVersion": key, "skillVersion": f"x{key}x", "supportedModels": [key, "t2v"], key: key}
        ),
    ],
)
def test_no_answer_of_a_service_makes_it_show_a_secret(
    cli: Command,
    scripted_service: ScriptedThread,
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[str], Action],
    flags: tuple[str, ...],
) -> None:
    """Not even a long piece of the key, in upper or lower case."""
    monkeypatch.setenv("AIVIDEO_API_KEY", KEY)
    monkeypatch.setenv("AIVIDEO_BASE_URL", f"{scripted_service.url}/{KEY}")
    scripted_service.handler = lambda arrival: action(KEY)
    ran = cli("doctor", *flags)
    assert ran.code in {0, 3, 4}
    shown = (ran.out + ran.err).lower()
    pieces = {KEY[start : start + 8].lower() for start in range(len(KEY) - 7)}
    assert [piece for piece in pieces if piece in shown] == []
    assert f"{len(KEY)} characters" in shown
