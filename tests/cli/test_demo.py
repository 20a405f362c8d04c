"""`demo`: every model on a simulator, for people and for machines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import PRICES_2026_03, ImageToVideo, RateLimiter, TextToVideo
from aivideomaker_async.cli import demo
from aivideomaker_async.cli.main import main
from aivideomaker_async.simulator import Simulator
from tests.cli.conftest import Command, Terminal, interrupt


def test_every_status_of_every_model_is_shown_and_takes_half_a_minute() -> None:
    """At the default speed every task works for several polls of the real pace."""
    models = [spec.model for spec in demo.specs()]
    assert sorted(models) == sorted(demo.DURATIONS) == sorted(PRICES_2026_03.per_second)
    speed, pace = 24.0, RateLimiter().pace
    assert all(work / speed > 3 * pace for _, work in demo.DURATIONS.values())
    assert max(queue + work for queue, work in demo.DURATIONS.values()) / speed < 20


def test_it_generates_a_file_with_each_model(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key and without a network. The limit of its service is the real one, whatever the speed."""
    made: list[dict[str, Any]] = []

    def make(**options: Any) -> Simulator:
        made.append(options)
        return Simulator(**options)

    monkeypatch.setattr("aivideomaker_async.simulator.simulator.Simulator", make)
    folder = tmp_path / "new" / "folder"
    ran = cli("demo", "--json", "--speed", "200", "--output-dir", str(folder))
    assert ran.code == 0, ran.err
    *events, summary = ran.events
    ids = {one["task_id"]: one["model"] for one in events if one["event"] == "submitted"}
    assert sorted(ids.values()) == sorted(PRICES_2026_03.per_second)
    for task_id, model in ids.items():
        seen = [one["status"] for one in events if one["event"] == "status" and one["task_id"] == task_id]
        assert seen == ["SUBMITTED", "PROGRESS", "COMPLETED"], model
        assert (folder / f"{model}.mp4").read_bytes()[4:8] == b"ftyp"
    files = sorted(map(str, folder.iterdir()))
    assert sorted(one["path"] for one in events if one["event"] == "result") == files
    assert (summary["event"], sorted(summary["files"])) == ("summary", files)
    assert summary["credits_charged"] == 5 + 5 + 150 + 100 + 100
    assert (summary["limit"], summary["window"], summary["rejected"]) == (60, 60.0, 0)
    assert 0 < summary["queries"] <= 60
    assert [(options["limit"], options["window"] / options["speed"]) for options in made] == [(60, 60.0)]


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A demo with two models, whose folder has a video of an earlier one."""
    chosen = (
        TextToVideo(prompt="a", aspect_ratio="16:9", duration=5),
        ImageToVideo(image=demo.png_image(), duration=5),
    )
    monkeypatch.setattr(demo, "specs", lambda: chosen)
    (tmp_path / "t2v.mp4").write_text("old")
    return tmp_path


def test_without_a_terminal_each_change_is_a_line(cli: Command, small_demo: Path) -> None:
    """The summary is the result. Earlier files are replaced."""
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
    screen = terminal()
    assert main(["demo", "--speed", "300", "--output-dir", str(small_demo)]) == 0
    last = screen.getvalue().rpartition("t2v")[2]
    for status in ("SUBMITTED", "PROGRESS", "COMPLETED"):
        assert f"{status} 0:0" in last
    assert "kB" in last
    assert "…" not in last


def test_a_failed_task_ends_the_demo_with_1_and_without_advice(
    cli: Command, small_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks of the simulator end with it."""
    failing = (TextToVideo(prompt="[fail: no luck]", aspect_ratio="16:9", duration=5),)
    monkeypatch.setattr(demo, "specs", lambda: failing)
    ran = cli("demo", "--speed", "300", "--output-dir", str(small_demo))
    assert ran.code == 1
    assert ran.err.endswith("failed: no luck\n")
    assert ran.out == ""


def test_an_interrupted_demo_gives_no_advice(cli: Command, small_demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(client: object, spec: object, **options: object) -> None:
        interrupt()
        await asyncio.Event().wait()

    monkeypatch.setattr("aivideomaker_async.AIVideoMaker.submit", stuck)
    ran = cli("demo", "--output-dir", str(small_demo))
    assert ran.code == 130
    assert ran.err.splitlines()[1:] == ["error: interrupted"]


def test_an_impossible_speed_is_a_usage_error(cli: Command, small_demo: Path) -> None:
    ran = cli("demo", "--speed", "1e308", "--output-dir", str(small_demo))
    assert (ran.code, ran.out) == (2, "")
    assert " must be " in ran.err


def test_a_folder_that_cannot_be_made_is_exit_code_4(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = cli("demo", "--output-dir", str(tmp_path / "file" / "x"))
    assert ran.code == 4
    assert ran.err == f"error: {tmp_path / 'file' / 'x'}: Not a directory\n"
