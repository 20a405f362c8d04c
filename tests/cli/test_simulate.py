"""`simulate`: its output, its faults, and a process that serves."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
from email.message import Message
from typing import Any, get_type_hints
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from aivideomaker_async.cli import simulate
from aivideomaker_async.cli.exit_codes import UsageError
from aivideomaker_async.cli.main import main
from aivideomaker_async.cli.simulate import read_durations, read_fault
from aivideomaker_async.simulator.contract import REVISIONS
from aivideomaker_async.simulator.faults import FaultArguments
from tests.cli.conftest import TIMEOUT_S, Command


class StopsItself(io.StringIO):
    """Standard output that sends a signal to the process when a line was written to it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def flush(self) -> None:
        if self.getvalue():
            signal.raise_signal(self._number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """The URL and the key, each on a line; then the end, which is no error."""
    out = StopsItself(number)
    monkeypatch.setattr("sys.stdout", out)
    assert main(["simulate", "--credits", "7"]) == 0
    url, key = out.getvalue().splitlines()
    assert url.startswith("http://127.0.0.1:")
    assert key.startswith("ak_")
    err = capsys.readouterr().err
    assert f"export AIVIDEO_BASE_URL={url} AIVIDEO_API_KEY={key}" in err
    assert err.endswith("stopped\n")


def test_json_has_a_ready_event(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StopsItself(signal.SIGINT)
    monkeypatch.setattr("sys.stdout", out)
    assert main(["--json", "simulate", "--limit", "0"]) == 0
    event = json.loads(out.getvalue())
    assert (event.keys(), event["event"]) == ({"event", "url", "api_key"}, "ready")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--port=65536", "65535"),
        ("--speed=0", "Must be > 0"),
        ("--speed=inf", "speed must be a number of more than 0, got inf"),
        ("--revision=1999-01", "2026-09"),
        ("--limit=-1", "--limit"),
        ("--idempotency=perhaps", "ignored"),
        ("--host=", "host must be a text that is not empty"),
        ("--api-key=a b", "api_key must be a text of printable ASCII characters"),
        ("--durations=5", "--durations 5: must be seconds in the queue and of work, such as 2:30"),
        ("--late-cancel=600", "599"),
        ("--late-files=-1", "--late-files"),
        ("--link-lifetime=0", "--link-lifetime"),
    ],
)
def test_a_wrong_option_is_a_usage_error(cli: Command, option: str, message: str) -> None:
    ran = cli("simulate", option)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1


def test_the_help_has_all_revisions(cli: Command) -> None:
    out = cli("simulate", "--help").out
    assert all(revision in out for revision in REVISIONS)


def test_a_port_in_use_is_exit_code_4(cli: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = cli("simulate", "--port", str(port))
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith(f"error: the simulator cannot listen on 127.0.0.1:{port}: ")
    assert len(ran.err.splitlines()) == 1


def test_a_process_serves_as_its_options_are_and_stops() -> None:
    """The two lines come before the first request, also when standard output is a pipe."""
    options = ["--revision=2026-09", "--credits=100", "--speed=100", "--host=127.0.0.2", "--api-key=ak_test"]
    options += ["--durations=0:0", "--late-cancel=409", "--late-files=1e6", "--link-lifetime=1e6", "--strict-headers"]
    faults = ("--fault", "status:on=list,status=503,retry_after=7", "--fault", "rate_limit:on=query,retry_after=none")
    process = subprocess.Popen(
        [sys.executable, "-m", "aivideomaker_async", "simulate", *options, *faults],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url, key = process.stdout.readline().strip(), process.stdout.readline().strip()

    def ask(path: str, body: bytes | None = None, method: str | None = None) -> tuple[int, Message, Any]:
        headers = {"key": key, "Content-Type": "application/json", "Idempotency-Key": "key-0001"}
        request = Request(url + path, body, {**headers, "User-Agent": "Mozilla/5.0"}, method=method)  # noqa: S310
        try:
            with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return answer.status, answer.headers, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, error.headers, json.load(error)

    try:
        assert (url.rpartition(":")[0], key) == ("http://127.0.0.2", "ak_test")
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{url}/api/v1/account", timeout=TIMEOUT_S)  # noqa: S310
        with refused.value as page:
            assert page.code == 403
        answers = [ask("/api/v1/tasks") for _ in range(3)]
        expected = [(503, "7"), (429, None), (200, None)]
        assert [(status, headers["Retry-After"]) for status, headers, _ in answers] == expected
        body = json.dumps({"prompt": "x", "aspectRatio": "1:1", "duration": "5"}).encode()
        first, again = [ask("/api/v1/generate/t2v", body)[2] for _ in range(2)]
        assert again == {**first, "idempotentReplay": True}
        assert ask("/api/v1/account")[2]["currentBalance"] == 100 - 15
        task_path = f"/api/v1/tasks/{first['taskId']}"
        assert ask(f"{task_path}/cancel", method="PUT")[0] == 409
        link = ask(task_path)[2]["output"]["url"]
        assert "?expires=" in link
        assert ask(link.removeprefix(url))[0] == 404
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


# --- durations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("2:30", (2, 30), (2, 30)),
        ("0:0.5", (0, 0.5), (0, 0.5)),
        ("5-30:60-120", (5, 60), (30, 120)),
        ("1.5-2.5:7", (1.5, 7), (2.5, 7)),
    ],
)
def test_durations_are_seconds_or_ranges(text: str, least: tuple[float, float], most: tuple[float, float]) -> None:
    durations = read_durations(text)
    assert callable(durations)
    drawn = [durations("t2v", 5) for _ in range(200)]
    for place in (0, 1):
        seconds = [span[place] for span in drawn]
        assert least[place] <= min(seconds) <= max(seconds) <= most[place]
        assert len(set(seconds)) == (1 if least[place] == most[place] else 200)


@pytest.mark.parametrize(
    "text", ["", ":", "5", "5:", "5:6:7", "30-5:60", "5:60-30", "-1:5", "a:b", "1e3:5", "5 : 6", "٣:5"]
)
def test_other_durations_are_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="must be seconds in the queue and of work"):
        read_durations(text)


# --- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "arguments"),
    [
        ("drop", "drop", {}),
        ("drop:", "drop", {}),
        (
            "drop:on=submit,acted=true,probability=0.05",
            "drop",
            {"on": "submit", "acted": True, "probability": 0.05},
        ),
        (
            "hang:acted=false,task_id=ck1,times=none,after=2",
            "hang",
            {"acted": False, "task_id": "ck1", "times": None, "after": 2},
        ),
        ("rate_limit:retry_after=3,times=3", "rate_limit", {"retry_after": 3.0, "times": 3}),
        ("rate_limit:retry_after=none", "rate_limit", {"retry_after": None}),
        ("rate_limit:retry_after=soon", "rate_limit", {"retry_after": "soon"}),
        ("status:body=none", "status", {"body": None}),
        ("drop:on=none,task_id=none,model=none", "drop", {"on": None, "task_id": None, "model": None}),
        (
            r"rate_limit:retry_after=Sun\, 06 Nov 1994 08:49:37 GMT,times=2",
            "rate_limit",
            {"retry_after": "Sun, 06 Nov 1994 08:49:37 GMT", "times": 2},
        ),
        (r'status:body={"a":1\,"b":"c:\\d"}', "status", {"body": r'{"a":1,"b":"c:\\d"}'}),
        ("redirect:location=http://x:1/?a=b", "redirect", {"location": "http://x:1/?a=b"}),
        ("status:status=503,body=so = it is", "status", {"status": 503, "body": "so = it is"}),
        ("wrong_length:by=-5,model=t2v", "wrong_length", {"by": -5, "model": "t2v"}),
        ("trickle:seconds=0.5,size=10", "trickle", {"seconds": 0.5, "size": 10}),
        ("deep_json:depth=10", "deep_json", {"depth": 10}),
    ],
)
def test_a_fault_is_parsed(text: str, kind: str, arguments: dict[str, object]) -> None:
    assert read_fault(text) == (kind, arguments)


def test_every_argument_of_a_fault_can_be_parsed() -> None:
    assert {*simulate._RULE_READERS, *simulate._DETAIL_READERS} == set(get_type_hints(FaultArguments))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drip:on=any", "the kind of a fault must be one of drop, reset, "),
        ("drop:acted", "'acted' must be NAME=VALUE, with a name out of on, task_id, model, "),
        ("drop:on=any,,", "'' must be NAME=VALUE"),
        ("status:body=a,b", "'b' must be NAME=VALUE"),
        ("drop:acted=none", "acted must be true or false, got 'none'"),
        ("drop:seconds=1", "'seconds=1' must be NAME=VALUE, with a name out of on, task_id, model, after, times, "),
        ("drop:on=any,on=list", "on is given twice"),
        ("drop:times=often", "times must be a whole number, or none for no end, got 'often'"),
        ("drop:after=1.5", "after must be a whole number, got '1.5'"),
        ("drop:probability=p", "probability must be a number, got 'p'"),
        ("drop:times=0", "times must be a whole number of at least 1, got 0"),
    ],
)
def test_a_wrong_fault_is_a_usage_error(cli: Command, text: str, message: str) -> None:
    ran = cli("simulate", "--fault", "drop", f"--fault={text}")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: --fault {text}: {message}")
    assert len(ran.err.splitlines()) == 1
