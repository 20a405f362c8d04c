from __future__ import annotations

import errno
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import DownloadError
from aivideomaker_async._files.part_file import PartFile
from aivideomaker_async._files.versions import Begun, Version

OLD, NEW = b"old", b"new content"
V1, V2 = Version(etag='"v1"', total=100), Version(etag='"v2"', total=100)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4"


def begun(target: Path, *, overwrite: bool = False) -> PartFile:
    part = PartFile(target, overwrite=overwrite)
    assert part.open() is None
    part.begin(V1)
    part.write(NEW)
    return part


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(target: Path) -> None:
    """Until then it is beside it under a name that says so, and afterwards nothing else is there."""
    part = begun(target)
    (beside,) = names(target.parent)
    assert re.fullmatch(r"clip\.mp4\.[0-9a-f]{8}\.part", beside)
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
    part.give_up()
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["clip.mp4"]


def test_a_file_that_appears_meanwhile_is_not_replaced_unasked(target: Path) -> None:
    """Somebody else's download was faster."""
    part = begun(target)
    target.write_bytes(OLD)
    with pytest.raises(DownloadError, match="exists already"):
        part.commit()
    part.give_up()
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
    begun(target, overwrite=True).give_up()
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
    second.give_up()
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
        part.give_up()
    part.give_up()
    # The thread of a cancelled step may still come along.
    part.open()
    part.write(b"late")
    part.commit()
    part.give_up()
    assert names(target.parent) == (["clip.mp4"] if stage == "committed" else [])
    assert stage != "committed" or target.read_bytes() == NEW


@pytest.mark.parametrize("step", ["open", "write", "commit"])
def test_giving_up_while_a_thread_is_at_work_leaves_nothing_behind(
    step: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step ends first, whatever it was, and then its file is removed; a commit that is not through is none."""
    entered, let_go = threading.Event(), threading.Event()

    def halt() -> None:
        entered.set()
        assert let_go.wait(10)

    def after_halting(real: Callable[..., Any]) -> Callable[..., Any]:
        def halting(*arguments: Any) -> Any:
            halt()
            return real(*arguments)

        return halting

    part = PartFile(target, overwrite=False)
    if step != "open":
        part.open()
    name = {"open": "open", "write": "write", "commit": "fsync"}[step]
    monkeypatch.setattr(os, name, after_halting(getattr(os, name)))
    worker = threading.Thread(target={"open": part.open, "write": lambda: part.write(NEW), "commit": part.commit}[step])
    worker.start()
    assert entered.wait(10)
    giving_up = threading.Thread(target=part.give_up)
    giving_up.start()
    deadline = time.monotonic() + 10
    while not part._given_up and time.monotonic() < deadline:
        time.sleep(0.001)
    let_go.set()
    worker.join(10)
    giving_up.join(10)
    assert names(target.parent) == []
    assert part._fd is None


def test_a_folder_that_does_not_exist_is_an_error_of_the_system(tmp_path: Path) -> None:
    """And giving up after it does nothing."""
    part = PartFile(tmp_path / "no" / "clip.mp4", overwrite=False)
    with pytest.raises(FileNotFoundError):
        part.open()
    part.give_up()
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    """And leaves nothing."""
    tmp_path.chmod(0o500)
    try:
        part = PartFile(tmp_path / "clip.mp4", overwrite=False)
        with pytest.raises(PermissionError):
            part.open()
        part.give_up()
        assert names(tmp_path) == []
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_in_the_place_of_the_file_is_an_error(target: Path) -> None:
    """Even when it may be replaced: a folder is no file, which is told before anything is fetched."""
    target.mkdir()
    for path in (target, Path(), Path("/"), target / ".."):
        part = PartFile(path, overwrite=True)
        with pytest.raises(IsADirectoryError):
            part.open()
        part.give_up()
    assert names(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize("identity", [None, "me"])
def test_a_disk_that_is_full_is_an_error_of_the_system(identity: str | None, target: Path) -> None:
    """What is written to a full device is refused by the kernel itself."""
    part = PartFile(target, overwrite=False, identity=identity)
    part.open()
    part.begin(V1)
    assert part._fd is not None
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, part._fd)
    os.close(full)
    with pytest.raises(OSError, match="No space left") as caught:
        part.write(NEW)
    assert caught.value.errno == errno.ENOSPC
    part.give_up()
    assert names(target.parent) == []


def test_what_the_disk_may_have_lost_is_not_kept(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error of fsync the system may say that all is well, though it is not."""
    monkeypatch.setattr("aivideomaker_async._files.part_file.SAFE_EVERY", 5)
    part = PartFile(target, overwrite=False, identity="me")
    part.open()
    part.begin(V1)
    part.write(NEW)
    assert part._safe == len(NEW)

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        part.commit()
    part.give_up()
    assert names(target.parent) == []


def test_a_part_that_somebody_else_has_changed_gets_no_name(target: Path) -> None:
    """Its size is not what was written."""
    part = begun(target)
    (beside,) = target.parent.iterdir()
    beside.write_bytes(b"")
    with pytest.raises(OSError, match="somebody else"):
        part.commit()
    part.give_up()
    assert names(target.parent) == []


def test_a_file_system_without_links_will_do(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is looked whether the file is there, and renamed."""

    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    begun(target).commit()
    assert target.read_bytes() == NEW
    part = PartFile(target.with_name("other"), overwrite=False)
    part.open()
    part.write(NEW)
    target.with_name("other").write_bytes(OLD)
    with pytest.raises(DownloadError, match="exists already"):
        part.commit()
    part.give_up()
    assert target.with_name("other").read_bytes() == OLD
    assert names(target.parent) == ["clip.mp4", "other"]


def test_a_link_that_leads_nowhere_is_a_file_that_exists(target: Path) -> None:
    """It is not written through."""
    target.symlink_to(target.with_name("elsewhere"))
    with pytest.raises(DownloadError, match="exists already"):
        begun(target)
    begun(target, overwrite=True).commit()
    assert not target.is_symlink()
    assert names(target.parent) == ["clip.mp4"]


def test_the_folder_is_the_one_of_the_beginning(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the same at the end as at the beginning."""
    monkeypatch.chdir(target.parent)
    part = begun(Path("clip.mp4"))
    (target.parent / "sub").mkdir()
    monkeypatch.chdir("sub")
    part.commit()
    assert target.read_bytes() == NEW
    assert names(target.parent / "sub") == []


# --- parts that are kept -----------------------------------------------------------------------------


def kept(target: Path, size: int = 40, *, identity: str = "me", version: Version = V1) -> PartFile:
    """A part of so many bytes, given up."""
    part = PartFile(target, overwrite=False, identity=identity)
    assert part.open() is None
    part.begin(version)
    part.write(b"1" * size)
    part.give_up()
    return part


def again(target: Path, identity: str = "me", *, overwrite: bool = False) -> tuple[PartFile, Begun | None]:
    part = PartFile(target, overwrite=overwrite, identity=identity)
    return part, part.open()


def test_a_part_is_taken_up_where_it_ended(target: Path) -> None:
    """With what is known of it; and when it is complete, nothing of that stays."""
    kept(target)
    assert names(target.parent) == ["clip.mp4.part", "clip.mp4.part.json"]
    part, found = again(target)
    assert found == Begun(version=V1, size=40)
    part.write(b"2" * 60)
    part.commit()
    assert target.read_bytes() == b"1" * 40 + b"2" * 60
    assert names(target.parent) == ["clip.mp4"]


def test_a_part_that_is_taken_up_may_be_begun_anew(target: Path) -> None:
    """The server has another file by now, and nothing of the old one is in it."""
    kept(target)
    part, _ = again(target)
    part.begin(V2)
    part.write(b"2")
    part.give_up()
    part, found = again(target)
    assert found == Begun(version=V2, size=1)
    part.commit()
    assert target.read_bytes() == b"2"


@pytest.mark.parametrize("size", [0, 40])
def test_a_part_that_cannot_be_used_is_not_kept(size: int, target: Path) -> None:
    """It is empty, or nobody would know what it is a part of."""
    kept(target, 0)
    assert names(target.parent) == []
    kept(target, size, version=Version(total=100))
    assert names(target.parent) == []
    part, _ = again(target)
    part.begin(V1)
    part.write(NEW)
    part.give_up(keep=False)
    assert names(target.parent) == []


def test_a_part_of_another_file_is_begun_anew(target: Path) -> None:
    """Another task, or another address, with the same name for its file."""
    kept(target)
    part, found = again(target, "you")
    assert found is None
    part.begin(V1)
    part.write(NEW)
    part.commit()
    assert target.read_bytes() == NEW


def test_what_is_not_surely_on_disk_is_not_taken_up(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash: what was written since the last note counts for nothing, though it may be there."""
    monkeypatch.setattr("aivideomaker_async._files.part_file.SAFE_EVERY", 10)
    part, _ = again(target)
    part.begin(V1)
    for _ in range(3):
        part.write(b"1" * 7)
    crash(part)
    assert target.with_name("clip.mp4.part").stat().st_size == 21
    part, found = again(target)
    assert found == Begun(version=V1, size=14)
    assert target.with_name("clip.mp4.part").stat().st_size == 14
    part.write(b"2")
    part.commit()
    assert target.read_bytes() == b"1" * 14 + b"2"


def crash(part: PartFile) -> None:
    """As when the process is killed: all descriptors are closed, and nothing else is done."""
    assert part._fd is not None and part._sidecar is not None and part._sidecar._fd is not None
    os.close(part._fd)
    os.close(part._sidecar._fd)
    part._fd = part._sidecar._fd = None


def test_a_crash_while_it_is_begun_anew_mixes_nothing(target: Path) -> None:
    """The note is of the new version before a byte of it is written."""
    kept(target)
    part, _ = again(target)
    part.begin(V2)
    crash(part)
    part, found = again(target)
    assert found == Begun(version=V2, size=0)
    part.give_up()


def test_a_crash_between_the_names_does_not_touch_the_target(target: Path) -> None:
    """Then the part is the target by another name: it is not written to."""
    kept(target, 100)
    os.link(target.with_name("clip.mp4.part"), target)
    part, found = again(target, overwrite=True)
    assert found is None
    part.begin(V2)
    part.write(NEW)
    assert target.read_bytes() == b"1" * 100
    part.commit()
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["clip.mp4"]


def test_a_crash_before_the_first_byte_is_in_nobodys_way(target: Path) -> None:
    """An empty part with an empty note is begun."""
    part, _ = again(target)
    crash(part)
    assert names(target.parent) == ["clip.mp4.part", "clip.mp4.part.json"]
    part, found = again(target)
    assert found is None
    part.give_up()
    assert names(target.parent) == []


def test_a_part_that_is_shorter_than_noted_is_begun_anew(target: Path) -> None:
    """Somebody has cut it."""
    kept(target)
    target.with_name("clip.mp4.part").write_bytes(b"1")
    part, found = again(target)
    assert found is None
    part.give_up()


def test_a_file_of_somebody_else_is_not_taken_for_a_part(target: Path) -> None:
    """Browsers name theirs so, too."""
    other = target.with_name("clip.mp4.part")
    other.write_bytes(OLD)
    part = PartFile(target, overwrite=False, identity="me")
    with pytest.raises(DownloadError, match=r"clip\.mp4\.part is in the way"):
        part.open()
    part.give_up()
    assert other.read_bytes() == OLD
    assert names(target.parent) == ["clip.mp4.part"]


@pytest.mark.parametrize("part", [None, b"", OLD])
def test_a_file_of_somebody_else_is_not_taken_for_a_note(part: bytes | None, target: Path) -> None:
    """It stays, and so does a file beside it that might be a part."""
    mine, beside = target.with_name("clip.mp4.part.json"), target.with_name("clip.mp4.part")
    mine.write_bytes(b'{"parts": 2}')
    if part is not None:
        beside.write_bytes(part)
    before = names(target.parent)
    for overwrite in (False, True):
        download = PartFile(target, overwrite=overwrite, identity="me")
        with pytest.raises(DownloadError, match=r"clip\.mp4\.part\.json is in the way"):
            download.open()
        download.give_up()
    assert mine.read_bytes() == b'{"parts": 2}'
    assert part is None or beside.read_bytes() == part
    assert names(target.parent) == before


@pytest.mark.parametrize("cut", [None, 30])
def test_a_note_that_was_cut_short_is_in_nobodys_way(cut: int | None, target: Path) -> None:
    """By a full disk; or it is of another download. Then the file is begun anew."""
    kept(target, identity="me" if cut else "somebody else")
    note = target.with_name("clip.mp4.part.json")
    note.write_bytes(note.read_bytes()[:cut])
    part, found = again(target)
    assert found is None
    part.give_up()
    assert names(target.parent) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has them elsewhere")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_file_is_never_replaced(overwrite: bool, link: bool, target: Path) -> None:
    """A named pipe or a device, as /dev/stdout is one behind a link."""
    pipe = target.with_name("pipe") if link else target
    os.mkfifo(pipe)
    if link:
        target.symlink_to(pipe)
    for identity in (None, "me"):
        part = PartFile(target, overwrite=overwrite, identity=identity)
        with pytest.raises(DownloadError, match=r"clip\.mp4 exists already, and is no regular file"):
            part.open()
        part.give_up()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert target.is_symlink() is link
    assert len(names(target.parent)) == 1 + link


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_replaced_and_not_what_it_leads_to(there: bool, target: Path) -> None:
    """In a folder that others write to, it may lead to a file of one's own."""
    victim = target.with_name("victim")
    if there:
        victim.write_bytes(OLD)
    target.symlink_to(victim)
    with pytest.raises(DownloadError, match="exists already; pass"):
        PartFile(target, overwrite=False).open()
    begun(target, overwrite=True).commit()
    assert target.read_bytes() == NEW and not target.is_symlink()
    assert victim.read_bytes() == OLD if there else not victim.exists()


@pytest.mark.parametrize("length", [239, 240, 242, 250, 255])
@pytest.mark.parametrize("identity", [None, "me"])
def test_a_name_may_be_as_long_as_the_system_takes(length: int, identity: str | None, tmp_path: Path) -> None:
    """Those beside it are shortened. Two long names that begin alike do not come into each other's way."""
    one, other = (tmp_path / ("x" * (length - 5) + f"{number}.mp4") for number in range(2))
    parts = [PartFile(target, overwrite=False, identity=identity) for target in (one, other)]
    for part in parts:
        part.open()
        part.begin(V1)
        part.write(NEW)
    for part in parts:
        part.commit()
    assert names(tmp_path) == [one.name, other.name]


@pytest.mark.parametrize("name", ["clip.mp4.part", "clip.mp4.part.json"])
def test_a_link_in_wait_is_not_followed(name: str, target: Path) -> None:
    """In a folder that others write to, somebody may have put it there."""
    victim = target.with_name("victim")
    victim.write_bytes(OLD)
    target.with_name(name).symlink_to(victim)
    part = PartFile(target, overwrite=False, identity="me")
    with pytest.raises(OSError, match=r"symbolic links|regular"):
        part.open()
    part.give_up()
    assert victim.read_bytes() == OLD
    assert names(target.parent) == sorted([name, "victim"])


def test_only_one_at_a_time_writes_a_part_that_is_kept(target: Path) -> None:
    """The second is told so at once, and what the first writes is safe; afterwards it is anybody's."""
    first, _ = again(target)
    first.begin(V1)
    first.write(b"1")
    second = PartFile(target, overwrite=True, identity="me")
    with pytest.raises(DownloadError, match=r"another download is writing .*clip\.mp4"):
        second.open()
    second.give_up()
    first.write(b"1")
    first.commit()
    assert target.read_bytes() == b"11"
    third, found = again(target, overwrite=True)
    assert found is None
    third.give_up()
    assert names(target.parent) == ["clip.mp4"]


def test_a_failed_start_keeps_what_was_there(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that cannot be opened now may be of use later."""
    kept(target)
    real = os.open

    def refuse(path: Any, *arguments: Any) -> int:
        if str(path).endswith(".part"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    part = PartFile(target, overwrite=False, identity="me")
    with pytest.raises(PermissionError):
        part.open()
    part.give_up()
    monkeypatch.undo()
    part, found = again(target)
    assert found is not None
    part.give_up()


def test_a_name_that_has_appeared_meanwhile_costs_nothing_but_the_name(target: Path) -> None:
    """All that has come is kept, and can be had by the next download."""
    part, _ = again(target)
    part.begin(Version(etag='"v1"', total=3))
    part.write(b"111")
    target.write_bytes(OLD)
    with pytest.raises(DownloadError, match="exists already"):
        part.commit()
    part.give_up()
    assert target.read_bytes() == OLD
    part, found = again(target, overwrite=True)
    assert found is not None and found.size == 3
    part.commit()
    assert target.read_bytes() == b"111"


def test_where_there_are_no_locks_nothing_is_kept(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part has a name of its own, and is removed."""
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    part, found = again(target)
    assert found is None
    part.begin(V1)
    part.write(NEW)
    (beside,) = names(target.parent)
    assert re.fullmatch(r"clip\.mp4\.[0-9a-f]{8}\.part", beside)
    part.give_up()
    assert names(target.parent) == []
