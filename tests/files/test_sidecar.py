"""A note beside a file, and its lock: for one at a time, and free again whatever becomes of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async._files import sidecar
from aivideomaker_async._files.sidecar import Locked, Sidecar, open_regular


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4.part.json"


def opened(path: Path) -> Sidecar:
    one = Sidecar(path)
    one.open()
    return one


def test_a_note_stays_until_it_is_removed(path: Path) -> None:
    """A shorter one leaves nothing of a longer one."""
    one = opened(path)
    assert one.read() == ""
    one.write("a long note", durable=True)
    one.write("short", durable=False)
    assert one.read() == "short"
    one.close(remove=False)
    one.close(remove=True)
    two = opened(path)
    assert two.read() == "short"
    two.close(remove=True)
    assert not path.exists()


def test_bytes_that_are_no_text_break_nothing(path: Path) -> None:
    """Whoever reads the note finds that it makes no sense."""
    path.write_bytes(b"\xff\x00{")
    one = opened(path)
    assert "{" in one.read()
    one.close(remove=True)


def test_it_is_for_one_at_a_time(path: Path) -> None:
    """Also in one process; and who was refused holds nothing."""
    one = opened(path)
    two = Sidecar(path)
    for _ in range(2):
        with pytest.raises(Locked):
            two.open()
    two.close(remove=True)
    assert path.exists()
    one.close(remove=False)
    two.open()
    two.close(remove=True)


def test_another_process_is_refused_until_it_is_free(path: Path) -> None:
    """And the lock of a process that was killed is gone with it."""
    program = f"""
import sys, time
from pathlib import Path
from aivideomaker_async._files.sidecar import Sidecar
one = Sidecar(Path({str(path)!r}))
one.open()
print("locked", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(Locked):
            Sidecar(path).open()
        process.kill()
    opened(path).close(remove=True)


def test_a_file_that_was_removed_meanwhile_is_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock on a file that nobody else can find would protect nothing."""
    real, calls = sidecar._try_lock, 0

    def lock(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            # Another download ends at this very moment.
            path.unlink()
        real(fd)

    monkeypatch.setattr(sidecar, "_try_lock", lock)
    one = opened(path)
    assert calls == 2
    with pytest.raises(Locked):
        Sidecar(path).open()
    one.close(remove=True)


def test_an_error_of_the_lock_is_passed_on_and_nothing_is_held(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither "busy" nor "no locks here"."""
    closed: list[int] = []
    real = os.close

    def close(fd: int) -> None:
        closed.append(fd)
        real(fd)

    def fails(_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sidecar, "_try_lock", fails)
    monkeypatch.setattr(os, "close", close)
    with pytest.raises(OSError, match="Input/output"):
        Sidecar(path).open()
    assert len(closed) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    """A pipe would wait for a reader for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "pipe")
    fd = open_regular(tmp_path / "new", new=True)
    os.close(fd)
    with pytest.raises(FileExistsError):
        open_regular(tmp_path / "new", new=True)
