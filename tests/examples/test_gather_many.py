"""The batch example against the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from aivideomaker_async.simulator import Simulator
from examples import gather_many

pytestmark = pytest.mark.anyio


def files(folder: Path) -> dict[str, bytes]:
    """Return the names in a folder, with the four bytes that mark an MP4 file."""
    return {path.name: path.read_bytes()[4:8] for path in folder.iterdir()}


async def test_every_finished_video_is_downloaded_and_a_failure_stops_no_other(
    service: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three prompts one fails: there are two files, and a line with the reason why the third is missing."""
    written = await gather_many.generate_all(["a boat", "a kite [fail: no wind]", "a lamp"], tmp_path)
    assert sorted(path.name[:4] for path in written) == ["001-", "003-"]
    assert files(tmp_path) == {path.name: b"ftyp" for path in written}
    assert "2: task " in (said := capsys.readouterr().out)
    assert "no wind" in said
    assert service.statistics().rejected == 0


async def test_no_more_than_the_agreed_number_runs_at_once(
    service: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two at once, five tasks of two minutes take three times two minutes."""
    monkeypatch.setattr(gather_many, "AT_ONCE", 2)
    assert len(await gather_many.generate_all([f"boat {number}" for number in range(5)], tmp_path)) == 5
    times = sorted(task.created_at for task in service.tasks.values())
    assert (times[2] - times[0]).total_seconds() >= 120
    assert (times[4] - times[2]).total_seconds() >= 120


def test_without_prompts_it_prints_its_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is submitted."""
    monkeypatch.setattr("sys.argv", ["gather_many.py", "videos"])
    with pytest.raises(SystemExit, match=r"gather_many\.py videos"):
        gather_many.main()
