"""`simulate` and `demo`."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any, get_type_hints
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from aivideomaker_async import ImageToVideo, RateLimiter, TextToVideo
from aivideomaker_async.cli import demo, simulate
from aivideomaker_async.cli.main import main
from aivideomaker_async.cli.simulate import read_fault
from aivideomaker_async.pricing import PRICES_2026_03
from aivideomaker_async.simulator import Simulator
from aivideomaker_async.simulator.contract import REVISIONS
from aivideomaker_async.simulator.faults import FaultArguments
from tests.cli.conftest import PATIENCE, Command, Terminal, interrupt
from tests.cli.test_interruptions import start


class StopsItself(io.StringIO):
    """Standard output that gets a signal as soon as a line was written to it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def flush(self) -> None:
        if self.getvalue():
            signal.raise_signal(self._number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_serves_until_a_signal(
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


def test_simulate_tells_machines_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StopsItself(signal.SIGINT)
    monkeypatch.setattr("sys.stdout", out)
    assert main(["--json", "simulate", "--limit", "0"]) == 0
    event = json.loads(out.getvalue())
    assert (event.keys(), event["event"]) == ({"event", "url", "api_key"}, "ready")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--port", "65536"), ("--speed", "0"), ("--speed", "inf"), ("--revision", "1999-01"), ("--limit", "-1")],
)
def test_wrong_options_of_simulate_are_usage_errors(cli: Command, option: str, value: str) -> None:
    ran = cli("simulate", f"{option}={value}")
    assert (ran.code, ran.out) == (2, "")
    assert value in ran.err or "more than 0" in ran.err


def test_a_port_in_use_is_exit_code_4(cli: Command) -> None:
    """One line says which."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = cli("simulate", "--port", str(port))
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith(f"error: the simulator cannot listen on 127.0.0.1:{port}: ")
    assert len(ran.err.splitlines()) == 1


def test_a_process_serves_and_stops() -> None:
    """The two lines come before the first request, also when standard output is a pipe."""
    process = start("simulate", "--port", "0", "--speed", "100")
    assert process.stdout is not None
    url, key = process.stdout.readline().strip(), process.stdout.readline().strip()
    with urlopen(Request(f"{url}/api/v1/tasks", headers={"key": key}), timeout=PATIENCE) as answer:  # noqa: S310
        assert json.load(answer) == {"tasks": []}
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


def test_a_process_goes_wrong_as_it_was_told() -> None:
    """With faults in the order in which they are given, and keys that are kept."""
    faults = ("--fault", "status:on=list,status=503,retry_after=7", "--fault", "rate_limit:on=query,retry_after=none")
    process = start("simulate", "--idempotency", "kept", *faults)
    assert process.stdout is not None
    url, key = process.stdout.readline().strip(), process.stdout.readline().strip()

    def ask(path: str, body: bytes | None = None) -> tuple[int, Message, bytes]:
        headers = {"key": key, "Content-Type": "application/json", "Idempotency-Key": "key-0001"}
        try:
            with urlopen(Request(url + path, body, headers), timeout=PATIENCE) as answer:  # noqa: S310
                return answer.status, answer.headers, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    try:
        answers = [ask("/api/v1/tasks") for _ in range(3)]
        assert [(status, headers["Retry-After"]) for status, headers, _ in answers] == [
            (503, "7"),
            (429, None),
            (200, None),
        ]
        body = json.dumps({"prompt": "x", "aspectRatio": "1:1", "duration": "5"}).encode()
        first, again = [json.loads(ask("/api/v1/generate/t2v", body)[2]) for _ in range(2)]
        assert again == {**first, "idempotentReplay": True}
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


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
def test_faults_are_read_from_texts(text: str, kind: str, arguments: dict[str, object]) -> None:
    assert read_fault(text) == (kind, arguments)


def test_every_detail_can_be_given_on_the_command_line() -> None:
    readable = {*simulate._RULE_READERS, *simulate._DETAIL_READERS}
    assert readable == set(get_type_hints(FaultArguments))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the kind of a fault must be one of drop, reset, "),
        ("drip:on=any", "the kind of a fault must be one of drop, reset, "),
        ("drop:acted", "'acted' must be NAME=VALUE, with a name out of on, task_id, model, "),
        ("drop:on=any,,", "'' must be NAME=VALUE"),
        ("status:body=a,b", "'b' must be NAME=VALUE"),
        ("drop:acted=none", "acted must be true or false, got 'none'"),
        ("redirect:location=none", "location must be a text of printable ASCII characters, got None"),
        ("drop:seconds=1", "'seconds=1' must be NAME=VALUE, with a name out of on, task_id, model, after, times, "),
        ("drop:on=any,on=list", "on is given twice"),
        ("drop:on=nowhere", "on must be one of submit, list, "),
        ("drop:acted=yes", "acted must be true or false, got 'yes'"),
        ("drop:times=often", "times must be a whole number, or none for no end, got 'often'"),
        ("drop:after=1.5", "after must be a whole number, got '1.5'"),
        ("drop:probability=p", "probability must be a number, got 'p'"),
        ("drop:probability=2", "probability must be a number from 0 to 1, got 2.0"),
        ("drop:times=0", "times must be a whole number of at least 1, got 0"),
        ("slow", "a fault of the kind slow needs seconds"),
        ("slow:seconds=nan", "seconds must be a number of at least 0, got nan"),
        ("status:status=1000", "status must be from 200 to 599, got 1000"),
    ],
)
def test_a_fault_that_is_wrong_is_a_usage_error(cli: Command, text: str, told: str) -> None:
    ran = cli("simulate", "--fault", "drop", f"--fault={text}")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: --fault {text}: {told}")
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("words", [("simulate", "--speed", "inf"), ("demo", "--speed", "1e308")], ids=str)
def test_an_option_that_the_simulator_refuses_is_a_usage_error(
    cli: Command, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its words."""
    monkeypatch.chdir(tmp_path)
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert " must be " in ran.err
    assert len(ran.err.splitlines()) == 1


def test_the_revisions_are_told(cli: Command) -> None:
    """By the help as well as when another is asked for."""
    ran = cli("simulate", "--revision", "2020-01")
    assert (ran.code, ran.out) == (2, "")
    for words in (ran.err, cli("simulate", "--help").out):
        assert all(revision in words for revision in REVISIONS)


def test_a_process_speaks_the_revision_of_september() -> None:
    """With an account, and with keys that are kept without being told to."""
    process = start("simulate", "--revision", "2026-09", "--credits", "100")
    assert process.stdout is not None
    url, key = process.stdout.readline().strip(), process.stdout.readline().strip()
    headers = {"key": key, "Content-Type": "application/json", "Idempotency-Key": "key-0001"}

    def ask(path: str, body: bytes | None = None) -> dict[str, Any]:
        with urlopen(Request(url + path, body, headers), timeout=PATIENCE) as answer:  # noqa: S310
            return dict(json.load(answer))

    try:
        body = json.dumps({"prompt": "x", "aspectRatio": "1:1", "duration": "5"}).encode()
        answers = [ask("/api/v1/generate/t2v", body) for _ in range(2)]
        assert [one["idempotentReplay"] for one in answers] == [False, True]
        assert ask("/api/v1/account")["currentBalance"] == 100 - 15
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_keys_are_kept_or_ignored(cli: Command) -> None:
    ran = cli("simulate", "--idempotency", "perhaps")
    assert (ran.code, ran.out) == (2, "")
    assert "perhaps" in ran.err
    assert "ignored" in ran.err


def test_the_demo_shows_every_model_and_every_status(cli: Command, tmp_path: Path) -> None:
    """No key and no network are needed; each video is a file of its own."""
    folder = tmp_path / "new" / "folder"
    ran = cli("demo", "--json", "--speed", "200", "--output-dir", str(folder))
    assert ran.code == 0, ran.err
    *events, summary = ran.events
    ids = {one["task_id"]: one["model"] for one in events if one["event"] == "submitted"}
    assert sorted(ids.values()) == sorted(PRICES_2026_03.per_second)
    for task_id, model in ids.items():
        seen = [one["status"] for one in events if one["event"] == "status" and one["task_id"] == task_id]
        assert seen == ["SUBMITTED", "PROGRESS", "COMPLETED"], model
        video = (folder / f"{model}.mp4").read_bytes()
        assert video[4:8] == b"ftyp"
    assert {one["path"] for one in events if one["event"] == "result"} == set(map(str, folder.iterdir()))
    assert summary["event"] == "summary"
    assert sorted(summary["files"]) == sorted(map(str, folder.iterdir()))
    assert summary["credits_charged"] == 5 + 5 + 150 + 100 + 100
    assert (summary["limit"], summary["window"], summary["rejected"]) == (60, 60.0, 0)
    assert 0 < summary["queries"] <= 60


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A demo with two models, whose folder has videos of an earlier one."""
    chosen = (
        TextToVideo(prompt="a", aspect_ratio="16:9", duration=5),
        ImageToVideo(image=demo.png_image(), duration=5),
    )
    monkeypatch.setattr(demo, "specs", lambda: chosen)
    (tmp_path / "t2v.mp4").write_text("old")
    return tmp_path


def test_a_person_sees_each_change_and_a_summary(cli: Command, small_demo: Path) -> None:
    """Without a terminal each change is a line; the summary is the result. Earlier files are replaced."""
    ran = cli("demo", "--speed", "300", "--output-dir", str(small_demo))
    assert ran.code == 0, ran.err
    changes = [line.split()[:2] for line in ran.err.splitlines()[1:]]
    assert sorted(changes) == sorted(
        [model, status] for model in ("t2v", "i2v") for status in ("SUBMITTED", "PROGRESS", "COMPLETED")
    )
    first, second, videos, queries = ran.out.splitlines()
    assert first.startswith(f"{small_demo / 't2v.mp4'}  ")
    assert second.startswith(f"{small_demo / 'i2v.mp4'}  ")
    assert videos.startswith("2 videos in ")
    assert videos.endswith(" for 10 simulated credits")
    assert queries.endswith("where the limit is 60 a minute; 0 were answered 429")
    assert (small_demo / "t2v.mp4").read_bytes()[4:8] == b"ftyp"


def test_a_terminal_shows_a_table_that_fits(small_demo: Path, terminal: Callable[[], Terminal]) -> None:
    """Each task has a row with all its changes."""
    screen = terminal()
    assert main(["demo", "--speed", "300", "--output-dir", str(small_demo)]) == 0
    last = screen.getvalue().rpartition("t2v")[2]
    for status in ("SUBMITTED", "PROGRESS", "COMPLETED"):
        assert f"{status} 0:0" in last
    assert "kB" in last
    assert "…" not in last


def test_a_task_that_fails_ends_the_demo_with_1(
    cli: Command, small_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is sent to pick up a task of a simulator that is gone."""
    failing = (TextToVideo(prompt="[fail: no luck]", aspect_ratio="16:9", duration=5),)
    monkeypatch.setattr(demo, "specs", lambda: failing)
    ran = cli("demo", "--speed", "300", "--output-dir", str(small_demo))
    assert ran.code == 1
    assert ran.err.endswith("failed: no luck\n")
    assert ran.out == ""


def test_an_interrupted_demo_gives_no_advice(cli: Command, small_demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tasks were never real."""

    async def stuck(client: object, spec: object, **options: object) -> None:
        interrupt()
        await asyncio.Event().wait()

    monkeypatch.setattr("aivideomaker_async.AIVideoMaker.submit", stuck)
    ran = cli("demo", "--output-dir", str(small_demo))
    assert ran.code == 130
    assert ran.err.splitlines()[1:] == ["error: interrupted"]


def test_the_limit_of_the_demo_is_a_minute_by_the_wall(
    cli: Command, small_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that ran as fast as the tasks would let far more queries through than the real service."""
    made: list[dict[str, Any]] = []

    def make(**options: Any) -> Simulator:
        made.append(options)
        return Simulator(**options)

    monkeypatch.setattr("aivideomaker_async.simulator.simulator.Simulator", make)
    monkeypatch.setattr(demo, "specs", lambda: [TextToVideo(prompt="[fail]", aspect_ratio="16:9", duration=5)])
    cli("demo", "--speed", "400", "--output-dir", str(small_demo))
    assert [options["window"] / options["speed"] for options in made] == [60.0]


def test_a_folder_that_cannot_be_made_is_exit_code_4(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = cli("demo", "--output-dir", str(tmp_path / "file" / "x"))
    assert ran.code == 4
    assert ran.err == f"error: {tmp_path / 'file' / 'x'}: Not a directory\n"


def test_the_demo_is_as_slow_as_polls_need_and_as_fast_as_people_want() -> None:
    """At its usual speed every task works for several polls of the real pace, and all is over in half a minute."""
    speed, pace = 24.0, RateLimiter().pace
    assert set(demo.DURATIONS) == set(PRICES_2026_03.per_second)
    assert all(work / speed > 3 * pace for _, work in demo.DURATIONS.values())
    assert max(queue + work for queue, work in demo.DURATIONS.values()) / speed < 20
