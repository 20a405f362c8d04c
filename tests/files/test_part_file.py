"""A file appears when it is complete; a kept part is continued, by one program at a time, and never trusted blindly."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import DownloadError
from aivideomaker_async._files.part_file import PartFile
from aivideomaker_async._files.resume import PartMetadata, Version
from aivideomaker_async._util import file_lock

OLD, NEW = b"old", b"new content"
V1, V2 = Version(etag='"v1"', total=100), Version(etag='"v2"', total=100)
RANDOM_NAME = r"clip\.mp4\.[0-9a-f]{8}\.part"
KEPT = ["clip.mp4.part", "clip.mp4.part.json"]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def written(target: Path, *, overwrite: bool = False, key: str | None = None, version: Version = V1) -> PartFile:
    """A part with some bytes in it."""
    part = PartFile(target, overwrite=overwrite, key=key)
    assert part.open() is None
    part.begin(version)
    part.write(NEW)
    return part


# --- the target --------------------------------------------------------------------------------------


def test_a_file_appears_when_it_is_complete(target: Path) -> None:
    part = written(target)
    (beside,) = names(target.parent)
    assert re.fullmatch(RANDOM_NAME, beside)
    part.write(bytearray(b", and more"))
    part.commit()
    assert target.read_bytes() == NEW + b", and more"
    assert names(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize(
    "name", ["clip", "clip.tar.gz", ".hidden", "with space.mp4", "クリップ.mp4", "x.part", "-rf", "x" * 251 + ".mp4"]
)
@pytest.mark.parametrize("key", [None, "me"])
def test_any_file_name_is_accepted(name: str, key: str | None, tmp_path: Path) -> None:
    """Also the longest that the system allows: those of the files beside it are shortened."""
    written(tmp_path / name, key=key).commit()
    assert names(tmp_path) == [name]


def test_an_existing_file_is_not_replaced_unless_asked(target: Path) -> None:
    target.write_bytes(OLD)
    part = PartFile(target, overwrite=False)
    with pytest.raises(DownloadError, match=r"clip\.mp4 exists already; pass overwrite=True"):
        part.open()
    part.close()
    written(target, overwrite=True).close()
    assert target.read_bytes() == OLD
    part = written(target, overwrite=True)
    assert target.read_bytes() == OLD, "until the new file is complete"
    part.commit()
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_during_the_download_is_not_replaced(
    links: bool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without hard links as well."""
    if not links:

        def no_links(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
    part = written(target)
    target.write_bytes(OLD)
    with pytest.raises(DownloadError, match="exists already") as caught:
        part.commit()
    assert isinstance(caught.value.__context__, FileExistsError)
    part.close()
    assert target.read_bytes() == OLD
    written(target.with_name("other")).commit()
    assert names(target.parent) == ["clip.mp4", "other"]


def test_two_downloads_to_one_target_do_not_mix(target: Path) -> None:
    """The last one to finish wins, and closing one leaves the other."""
    first, second, third = (PartFile(target, overwrite=True) for _ in range(3))
    for part in (first, second, third):
        part.open()
    first.write(b"1111")
    second.write(b"22")
    third.close()
    first.write(b"1111")
    first.commit()
    assert target.read_bytes() == b"11111111"
    second.write(b"22")
    assert target.read_bytes() == b"11111111"
    second.commit()
    assert target.read_bytes() == b"2222"
    assert names(target.parent) == ["clip.mp4"]


def test_a_folder_is_not_replaced(target: Path) -> None:
    target.mkdir()
    for path in (target, Path(), Path("/"), target / ".."):
        part = PartFile(path, overwrite=True)
        with pytest.raises(IsADirectoryError):
            part.open()
        part.close()
    assert names(target.parent) == ["clip.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has them elsewhere")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_or_device_is_never_replaced(overwrite: bool, link: bool, target: Path) -> None:
    """Also behind a link, as /dev/stdout is one."""
    pipe = target.with_name("pipe") if link else target
    os.mkfifo(pipe)
    if link:
        target.symlink_to(pipe)
    for key in (None, "me"):
        part = PartFile(target, overwrite=overwrite, key=key)
        with pytest.raises(DownloadError, match=r"clip\.mp4 exists already and is not a regular file"):
            part.open()
        part.close()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert len(names(target.parent)) == 1 + link


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_replaced_and_not_the_file_that_it_leads_to(there: bool, target: Path) -> None:
    """In a folder that others write to, it may lead to a file of one's own."""
    victim = target.with_name("victim")
    if there:
        victim.write_bytes(OLD)
    target.symlink_to(victim)
    with pytest.raises(DownloadError, match="exists already; pass"):
        PartFile(target, overwrite=False).open()
    written(target, overwrite=True).commit()
    assert target.read_bytes() == NEW
    assert not target.is_symlink()
    assert victim.read_bytes() == OLD if there else not victim.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize(("kind", "problem"), [("link", "symbolic links"), ("pipe", "not a regular file")])
def test_nothing_else_is_taken_for_a_part(name: str, kind: str, problem: str, target: Path) -> None:
    """A link could lead to any file, and a pipe would wait for its other end for ever."""
    victim = target.with_name("victim")
    victim.write_bytes(OLD)
    if kind == "link":
        target.with_name(name).symlink_to(victim)
    else:
        os.mkfifo(target.with_name(name))
    part = PartFile(target, overwrite=False, key="me")
    with pytest.raises(OSError, match=problem):
        part.open()
    part.close()
    assert victim.read_bytes() == OLD
    assert names(target.parent) == sorted([name, "victim"])


def test_a_relative_path_means_the_same_at_the_end_as_at_the_beginning(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(target.parent)
    part = written(Path("clip.mp4"))
    (target.parent / "sub").mkdir()
    monkeypatch.chdir("sub")
    part.commit()
    assert target.read_bytes() == NEW
    assert names(target.parent / "sub") == []


# --- errors of the system ----------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "me"])
def test_a_full_disk_is_an_error_of_the_system(key: str | None, target: Path) -> None:
    """The kernel itself refuses what is written to a full device."""
    part = PartFile(target, overwrite=False, key=key)
    part.open()
    part.begin(V1)
    assert part._fd is not None
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, part._fd)
    os.close(full)
    with pytest.raises(OSError, match="No space left") as caught:
        part.write(NEW)
    assert caught.value.errno == errno.ENOSPC
    part.close()
    assert names(target.parent) == []


def test_bytes_that_the_disk_may_have_lost_are_not_kept(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync the system may report that all is well."""
    part = written(target, key="me")

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        part.commit()
    part.close()
    assert names(target.parent) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EROFS])
def test_a_file_system_that_cannot_sync_gets_its_file_all_the_same(
    number: int, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some mounts of a network: there is no promise to be had."""

    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    part = written(target, key="me")
    part.commit()
    part.close()
    assert names(target.parent) == [target.name]


def test_a_part_that_another_program_has_changed_gets_no_name(target: Path) -> None:
    part = written(target)
    (beside,) = target.parent.iterdir()
    beside.write_bytes(b"")
    with pytest.raises(OSError, match="another program has changed the part"):
        part.commit()
    part.close()
    assert names(target.parent) == []


# --- steps of cancelled calls ------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["made", "open", "written", "committed", "closed"])
def test_closing_at_any_stage_leaves_nothing_incomplete(stage: str, target: Path) -> None:
    """And a step that comes late begins nothing anew."""
    part = PartFile(target, overwrite=False)
    if stage != "made":
        part.open()
    if stage in {"written", "committed"}:
        part.write(NEW)
    if stage == "committed":
        part.commit()
    if stage == "closed":
        part.close()
    part.close()
    part.open()
    part.begin(V1)
    part.write(b"late")
    part.commit()
    part.close()
    assert names(target.parent) == (["clip.mp4"] if stage == "committed" else [])
    assert stage != "committed" or target.read_bytes() == NEW


@pytest.mark.parametrize("step", ["open", "write", "commit"])
def test_closing_waits_for_the_step_at_work(step: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then its file is removed; a commit that has not given the name yet gives none."""
    entered, let_go = threading.Event(), threading.Event()
    part = PartFile(target, overwrite=False)
    if step != "open":
        part.open()
    call = {"open": "open", "write": "write", "commit": "fsync"}[step]
    real: Callable[..., Any] = getattr(os, call)

    def halting(*arguments: Any) -> Any:
        entered.set()
        assert let_go.wait(10)
        return real(*arguments)

    monkeypatch.setattr(os, call, halting)
    worker = threading.Thread(target={"open": part.open, "write": lambda: part.write(NEW), "commit": part.commit}[step])
    worker.start()
    assert entered.wait(10)
    closing = threading.Thread(target=part.close)
    closing.start()
    deadline = time.monotonic() + 10
    while not part._closed and time.monotonic() < deadline:
        time.sleep(0.001)
    let_go.set()
    worker.join(10)
    closing.join(10)
    assert names(target.parent) == []
    assert part._fd is None


# --- parts that are kept -----------------------------------------------------------------------------


def kept(target: Path, size: int = 40, *, key: str = "me", version: Version = V1) -> None:
    """Leave a part of this size."""
    part = PartFile(target, overwrite=False, key=key)
    assert part.open() is None
    part.begin(version)
    part.write(b"1" * size)
    part.close()


def again(target: Path, key: str = "me", *, overwrite: bool = False) -> tuple[PartFile, PartMetadata | None]:
    part = PartFile(target, overwrite=overwrite, key=key)
    return part, part.open()


def crash(part: PartFile) -> None:
    """Close the descriptor and do nothing else, as when the process is killed."""
    assert part._fd is not None
    os.close(part._fd)
    part._fd = None


def test_a_kept_part_is_continued_where_it_ended(target: Path) -> None:
    kept(target)
    assert names(target.parent) == KEPT
    part, found = again(target)
    assert found is not None
    assert (found.version, found.size) == (V1, 40)
    part.write(b"2" * 60)
    part.commit()
    assert target.read_bytes() == b"1" * 40 + b"2" * 60
    assert names(target.parent) == ["clip.mp4"]


def test_a_continued_part_may_begin_anew(target: Path) -> None:
    """The server has another file by now, and nothing of the old one is in it."""
    kept(target)
    part, _ = again(target)
    part.begin(V2)
    part.write(b"2")
    part.close()
    part, found = again(target)
    assert found is not None
    assert (found.version, found.size) == (V2, 1)
    part.commit()
    assert target.read_bytes() == b"2"


@pytest.mark.parametrize(("size", "version"), [(0, V1), (0, Version(total=100)), (40, Version(total=100))])
def test_a_part_that_cannot_be_continued_is_not_kept(size: int, version: Version, target: Path) -> None:
    """It is empty, or its version could not be recognized."""
    kept(target, size, version=version)
    assert names(target.parent) == []


def test_a_part_is_removed_when_asked(target: Path) -> None:
    written(target, key="me").close(keep=False)
    assert names(target.parent) == []


def corrupt(target: Path) -> None:
    """As after a power cut: the size is right, and the bytes never reached the disk."""
    target.with_name("clip.mp4.part").write_bytes(bytes(40))


def cut_the_part(target: Path) -> None:
    target.with_name("clip.mp4.part").write_bytes(b"1")


def cut_the_metadata(target: Path) -> None:
    metadata = target.with_name("clip.mp4.part.json")
    metadata.write_bytes(metadata.read_bytes()[:30])


def replace_with_older_metadata(target: Path) -> None:
    """The disk has lost the last update, and kept those bytes of the part that came after it."""
    metadata = target.with_name("clip.mp4.part.json")
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "size": 20}))


def remove_the_part(target: Path) -> None:
    target.with_name("clip.mp4.part").unlink()


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "key"),
    [
        *((corrupt, "me"), (cut_the_part, "me"), (cut_the_metadata, "me"), (replace_with_older_metadata, "me")),
        *((remove_the_part, "me"), (nothing, "another task or address")),
    ],
)
def test_a_part_that_disagrees_with_its_metadata_begins_anew(
    damage: Callable[[Path], None], key: str, target: Path
) -> None:
    kept(target)
    damage(target)
    part, found = again(target, key)
    assert found is None
    part.begin(V1)
    part.write(NEW)
    part.commit()
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["clip.mp4"]


def test_a_killed_download_continues_from_its_last_write(target: Path) -> None:
    """Bytes that were written after the last metadata are dropped."""
    part, _ = again(target)
    part.begin(V1)
    part.write(b"1" * 7)
    part.write(b"1" * 7)
    assert part._fd is not None
    os.write(part._fd, b"xx")
    crash(part)
    part, found = again(target)
    assert found is not None
    assert found.size == 14
    part.write(b"2")
    part.commit()
    assert target.read_bytes() == b"1" * 14 + b"2"


def test_a_crash_while_a_part_begins_anew_mixes_nothing(target: Path) -> None:
    """Before its first byte, and before it is empty."""
    for truncated in (True, False):
        kept(target)
        part, _ = again(target)
        part.begin(V2)
        crash(part)
        if not truncated:
            target.with_name("clip.mp4.part").write_bytes(b"1" * 40)
        part, found = again(target)
        assert found is not None
        assert (found.version, found.size) == (V2, 0)
        assert target.with_name("clip.mp4.part").stat().st_size == 0
        part.close()
        assert names(target.parent) == []


def test_a_crash_between_the_two_names_does_not_change_the_target(target: Path) -> None:
    """The part is the target under another name then, and is not written to."""
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


def test_a_crash_before_the_first_byte_does_not_stop_the_next_download(target: Path) -> None:
    part, _ = again(target)
    crash(part)
    assert names(target.parent) == ["clip.mp4.part"]
    part, found = again(target)
    assert found is None
    part.close()
    assert names(target.parent) == []


@pytest.mark.parametrize(
    ("part", "metadata"),
    [
        (OLD, None),
        *((part, content) for part in (None, b"", OLD) for content in (b'{"parts": 2}', b"\xff\x00{")),
    ],
)
def test_another_programs_files_are_not_taken_for_a_part(
    part: bytes | None, metadata: bytes | None, target: Path
) -> None:
    """Browsers give theirs such names, too. They stay, also a file that only might be a part."""
    before = {name: content for name, content in zip(KEPT, (part, metadata), strict=True) if content is not None}
    for name, content in before.items():
        target.with_name(name).write_bytes(content)
    in_the_way = KEPT[metadata is not None]
    for overwrite in (False, True):
        download = PartFile(target, overwrite=overwrite, key="me")
        with pytest.raises(DownloadError, match=rf"{re.escape(in_the_way)} is in the way"):
            download.open()
        download.close()
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == before


def test_a_failed_start_keeps_the_part(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(target)
    real = os.open

    def refuse(path: Any, *arguments: Any) -> int:
        if str(path).endswith(".part"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    part = PartFile(target, overwrite=False, key="me")
    with pytest.raises(PermissionError):
        part.open()
    part.close()
    monkeypatch.undo()
    part, found = again(target)
    assert found is not None
    part.close()


# --- the lock ----------------------------------------------------------------------------------------


def test_a_kept_part_is_written_by_one_download_at_a_time(target: Path) -> None:
    """In one process as well. The second fails at once and disturbs nothing."""
    first = written(target, key="me")
    for _ in range(2):
        second = PartFile(target, overwrite=True, key="me")
        with pytest.raises(DownloadError, match=r"another download is writing .*clip\.mp4") as caught:
            second.open()
        assert isinstance(caught.value.__cause__, BlockingIOError)
        second.close()
    first.write(NEW)
    first.commit()
    assert target.read_bytes() == NEW + NEW
    third, found = again(target, overwrite=True)
    assert found is None
    third.close()
    assert names(target.parent) == ["clip.mp4"]


def test_another_process_is_refused_until_the_lock_is_free(target: Path) -> None:
    """The lock of a process that was killed is gone with it, and its part stays."""
    program = f"""
import sys, time
from pathlib import Path
from aivideomaker_async._files.part_file import PartFile
from aivideomaker_async._files.resume import Version
part = PartFile(Path({str(target)!r}), overwrite=False, key="me")
part.open()
part.begin(Version(etag='"v1"', total=100))
part.write(b"1" * 40)
print("locked", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(DownloadError, match="another download"):
            again(target)
        process.kill()
    part, found = again(target)
    assert found is not None
    assert found.size == 40
    part.close(keep=False)


def test_a_lock_on_a_part_that_has_just_got_its_name_is_not_enough(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would find it, and to write to it would change the target."""
    first = written(target, key="me")
    real, calls = file_lock._try_lock, 0

    def lock(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            # Between the opening of the part and its lock, the other download ends.
            first.commit()
        real(fd)

    monkeypatch.setattr(file_lock, "_try_lock", lock)
    part, found = again(target, overwrite=True)
    assert (found, calls) == (None, 2)
    part.begin(V2)
    part.write(b"2")
    assert target.read_bytes() == NEW
    with pytest.raises(DownloadError, match="another download"):
        again(target, overwrite=True)
    part.close(keep=False)
    assert names(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_on_a_file_system_without_locks_nothing_is_kept(
    error: int, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part has a random name and is removed."""

    def no_locks(_: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(file_lock, "_try_lock", no_locks)
    part = written(target, key="me")
    (beside,) = names(target.parent)
    assert re.fullmatch(RANDOM_NAME, beside)
    part.close()
    assert names(target.parent) == []
    target.with_name("clip.mp4.part").write_bytes(OLD)
    written(target, key="me").commit()
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["clip.mp4", "clip.mp4.part"]
