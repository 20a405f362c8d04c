from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import DownloadError
from aivideomaker_async.part_file import PartFile

OLD, NEW = b"old", b"new content"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4"


def begun(target: Path, *, overwrite: bool = False) -> PartFile:
    part = PartFile(target, overwrite=overwrite)
    part.open()
    part.write(NEW)
    return part


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(target: Path) -> None:
    """Until then it is beside it under a name that says so, and afterwards nothing else is there."""
    part = begun(target)
    (beside,) = names(target.parent)
    assert beside.startswith("clip.mp4.")
    assert beside.endswith(".part")
    part.write(bytearray(b", and more"))
    part.commit()
    assert target.read_bytes() == NEW + b", and more"
    assert names(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize("name", ["clip", "clip.tar.gz", ".hidden", "with space.mp4", "クリップ.mp4", "x.part", "-rf"])
def test_any_name_will_do(name: str, tmp_path: Path) -> None:
    """Dots, spaces and letters of any kind."""
    begun(tmp_path / name).commit()
    assert names(tmp_path) == [name]


def test_a_file_that_exists_is_not_replaced_unasked(target: Path) -> None:
    """And nothing is begun."""
    target.write_bytes(OLD)
    part = PartFile(target, overwrite=False)
    with pytest.raises(DownloadError, match=r"clip\.mp4 exists already; pass overwrite=True"):
        part.open()
    part.discard()
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["clip.mp4"]


def test_a_file_that_appears_meanwhile_is_not_replaced_unasked(target: Path) -> None:
    """Somebody else's download was faster."""
    part = begun(target)
    target.write_bytes(OLD)
    with pytest.raises(DownloadError, match="exists already"):
        part.commit()
    part.discard()
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["clip.mp4"]


def test_a_file_is_replaced_when_asked_and_only_at_the_end(target: Path) -> None:
    """Whoever reads it meanwhile reads the old one."""
    target.write_bytes(OLD)
    part = begun(target, overwrite=True)
    assert target.read_bytes() == OLD
    part.commit()
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["clip.mp4"]


def test_a_replacement_that_is_given_up_leaves_the_old_file(target: Path) -> None:
    """Nothing half-written takes its place."""
    target.write_bytes(OLD)
    begun(target, overwrite=True).discard()
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["clip.mp4"]


def test_two_downloads_to_one_place_do_not_mix(target: Path) -> None:
    """The last one to finish wins, whole; what another is still writing is not in it."""
    first, second = (PartFile(target, overwrite=True) for _ in range(2))
    first.open()
    first.write(b"1111")
    second.open()
    second.write(b"22")
    first.write(b"1111")
    first.commit()
    assert target.read_bytes() == b"11111111"
    second.write(b"22")
    assert target.read_bytes() == b"11111111"
    second.commit()
    assert target.read_bytes() == b"2222"
    assert names(target.parent) == ["clip.mp4"]


def test_giving_up_one_of_two_downloads_leaves_the_other(target: Path) -> None:
    """Each removes its own."""
    first, second = begun(target), PartFile(target, overwrite=False)
    second.open()
    second.discard()
    first.commit()
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("stage", ["made", "open", "written", "committed", "discarded"])
def test_giving_up_at_any_stage_leaves_nothing_behind(stage: str, target: Path) -> None:
    """Only what was complete stays; and nothing that comes late begins anew."""
    part = PartFile(target, overwrite=False)
    if stage != "made":
        part.open()
    if stage in {"written", "committed"}:
        part.write(NEW)
    if stage == "committed":
        part.commit()
    if stage == "discarded":
        part.discard()
    part.discard()
    # The thread of a cancelled step may still come along.
    part.open()
    part.write(b"late")
    part.commit()
    part.discard()
    assert names(target.parent) == (["clip.mp4"] if stage == "committed" else [])
    assert stage != "committed" or target.read_bytes() == NEW


@pytest.mark.parametrize("step", ["open", "write", "commit"])
def test_giving_up_while_a_thread_is_at_work_leaves_nothing_behind(
    step: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step ends first, whatever it was, and then its file is removed, or is complete."""
    entered, let_go = threading.Event(), threading.Event()

    def halt() -> None:
        entered.set()
        assert let_go.wait(10)

    def after_halting(real: Callable[..., None]) -> Callable[..., None]:
        def halting(*arguments: object) -> None:
            halt()
            real(*arguments)

        return halting

    part = PartFile(target, overwrite=False)
    if step != "open":
        part.open()
    real_fsync, check = os.fsync, part._check_target
    if step == "commit":
        monkeypatch.setattr(os, "fsync", after_halting(real_fsync))
    elif step == "open":
        monkeypatch.setattr(part, "_check_target", after_halting(check))
    else:
        part._file = _Halting(part._file, halt)  # type: ignore[assignment]
    worker = threading.Thread(target={"open": part.open, "write": lambda: part.write(NEW), "commit": part.commit}[step])
    worker.start()
    assert entered.wait(10)
    giving_up = threading.Thread(target=part.discard)
    giving_up.start()
    let_go.set()
    worker.join(10)
    giving_up.join(10)
    assert names(target.parent) == (["clip.mp4"] if step == "commit" else [])


class _Halting:
    """A file that halts before it writes."""

    def __init__(self, file: Any, halt: Callable[[], None]) -> None:
        self._real, self._halt = file, halt

    def write(self, data: bytes) -> int:
        self._halt()
        return int(self._real.write(data))

    def close(self) -> None:
        self._real.close()


def test_a_folder_that_does_not_exist_is_an_error_of_the_system(tmp_path: Path) -> None:
    """And giving up after it does nothing."""
    part = PartFile(tmp_path / "no" / "clip.mp4", overwrite=False)
    with pytest.raises(FileNotFoundError):
        part.open()
    part.discard()
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    """And leaves nothing."""
    tmp_path.chmod(0o500)
    try:
        part = PartFile(tmp_path / "clip.mp4", overwrite=False)
        with pytest.raises(PermissionError):
            part.open()
        part.discard()
        assert names(tmp_path) == []
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_in_the_place_of_the_file_is_an_error_that_leaves_nothing(target: Path) -> None:
    """Even when it may be replaced: a folder is no file."""
    target.mkdir()
    part = begun(target, overwrite=True)
    with pytest.raises(OSError, match=r"clip\.mp4"):
        part.commit()
    part.discard()
    assert names(target.parent) == ["clip.mp4"]
    assert target.is_dir()


def test_a_disk_that_is_full_leaves_nothing(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bytes may fail when they are flushed."""
    part = begun(target)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        part.commit()
    part.discard()
    assert names(target.parent) == []
