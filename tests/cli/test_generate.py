"""`generate`: its events and lines, the file, and how it ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aivideomaker_async import StatusChange, SubmittedTask, Video
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from aivideomaker_async.simulator.video_store import BUNDLED_CLIP
from tests.cli.conftest import T2V, Command, ScriptedThread, Terminal, When, finish_all, polled
from tests.support.scripted import Action, Arrival, Reply, row


def test_json_has_each_change_and_the_result(cli: Command, slow_service: ThreadedSimulator, when: When) -> None:
    """The documented events in their order, with exactly the documented fields."""
    service = slow_service
    when(polled(service), finish_all(service))
    ran = cli(*T2V, "--json")
    assert ran.code == 0
    submitted, *changes, result = ran.events
    (task,) = service.tasks.values()
    assert submitted == {
        "event": "submitted",
        "task_id": task.id,
        "model": "t2v",
        "idempotency_key": task.idempotency_key,
        "credits_estimated": 5,
        "credits_quoted": None,
        "credits_charged": None,
        "status": "SUBMITTED",
        **{f"{name}_url": submitted[f"{name}_url"] for name in ("response", "status", "cancel")},
        "idempotent_replay": None,
        "extra": {},
    }
    assert submitted["idempotency_key"].startswith("avm-")
    assert [(one["status"], one["previous"]) for one in changes] == [
        ("SUBMITTED", None),
        ("PROGRESS", "SUBMITTED"),
        ("COMPLETED", "PROGRESS"),
    ]
    assert all(set(one) == {"event", "task_id", "status", "previous", "at", "eta"} for one in changes)
    assert all(one["event"] == "status" and one["at"].endswith("Z") for one in changes)
    assert result["event"] == "result"
    assert result["task_id"] == task.id
    assert result["url"] == f"{service.url}/videos/{task.id}.mp4"
    assert (result["model"], result["status"], result["path"], result["bytes"]) == ("t2v", "COMPLETED", None, None)
    assert set(result) == {
        *("event", "task_id", "model", "status", "url", "path", "bytes", "expires_at", "credits_charged", "details")
    }
    # A program that reads the events goes on with them.
    assert SubmittedTask.from_dict(submitted).task_id == task.id
    assert [StatusChange.from_dict(one).status for one in changes] == ["SUBMITTED", "PROGRESS", "COMPLETED"]
    assert Video.from_dict(result).details.input["prompt"] == "A sunset"


def test_a_person_gets_the_url_on_stdout_and_the_rest_on_stderr(
    cli: Command, slow_service: ThreadedSimulator, when: When
) -> None:
    """Standard output can be piped on. The price comes before the changes."""
    service = slow_service
    when(polled(service), finish_all(service))
    ran = cli(*T2V)
    (task,) = service.tasks.values()
    assert (ran.code, ran.out) == (0, f"{service.url}/videos/{task.id}.mp4\n")
    price, *changes, kept = ran.err.splitlines()
    assert price == "price: about 5 credits (USD 0.05) by the table of 2026-03"
    assert [line.split() for line in changes] == [
        ["t2v", task.id, status, "0:00"] for status in ("SUBMITTED", "PROGRESS", "COMPLETED")
    ]
    assert "24 hours" in kept
    assert "\x1b" not in ran.err


# --- the file ----------------------------------------------------------------------------------------


def test_output_saves_the_video(cli: Command, service: ThreadedSimulator, tmp_path: Path) -> None:
    target, size = tmp_path / "sunset.mp4", BUNDLED_CLIP.stat().st_size
    ran = cli(*T2V, "--output", str(target))
    assert (ran.code, ran.out) == (0, f"{target}\n")
    assert target.read_bytes() == BUNDLED_CLIP.read_bytes()
    assert f"saved, {size / 1000:.0f} kB" in ran.err
    result = cli(*T2V, "--output", str(target), "--overwrite", "--json").events[-1]
    assert (result["path"], result["bytes"]) == (str(target), size)


def test_an_existing_file_is_not_replaced_without_overwrite(
    cli: Command, service: ThreadedSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed before anything is paid, as is a folder that cannot be written to."""
    target = tmp_path / "old.mp4"
    target.write_text("old")
    ran = cli(*T2V, "--output", str(target))
    assert (ran.code, "--overwrite" in ran.err, target.read_text()) == (2, True, "old")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    ran = cli(*T2V, "--output", str(tmp_path / "new.mp4"))
    assert ran.code == 2
    assert f"the folder {tmp_path} cannot be written to" in ran.err
    assert service.requests == []


def test_a_failed_download_can_be_repeated(
    cli: Command, slow_service: ThreadedSimulator, tmp_path: Path, when: When
) -> None:
    """The video is paid and finished. Only the file is missing."""
    folder = tmp_path / "gone"
    folder.mkdir()

    def spoil() -> None:
        shutil.rmtree(folder)
        slow_service.finish(next(iter(slow_service.tasks)))

    when(polled(slow_service), spoil)
    ran = cli(*T2V, "--output", str(folder / "a.mp4"), "--json")
    (task,) = slow_service.tasks.values()
    assert ran.code == 4
    assert f"aivideomaker watch {task.id} --output {folder / 'a.mp4'}" in ran.err
    assert ran.events[-1]["type"] == "DownloadError"


def test_a_download_that_broke_off_is_resumed(
    cli: Command, service: ThreadedSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command that picks the task up again: both pass `resume` to the client."""
    seen: list[dict[str, object]] = []

    async def download(
        video: Video, path: Path, *, progress: Callable[[int, int | None], None], **options: object
    ) -> Path:
        seen.append(options)
        progress(1234, None)
        return path

    monkeypatch.setattr(Video, "download", download)
    target = tmp_path / "sunset.mp4"
    assert cli(*T2V, "--output", str(target)).code == 0
    result = cli(
        "watch", next(iter(service.tasks)), "--output", str(target), "--overwrite", "--allow-private", "--json"
    ).events[-1]
    assert (result["path"], result["bytes"]) == (str(target), 1234)
    assert seen == [
        {"overwrite": False, "resume": True, "allow_private": None},
        {"overwrite": True, "resume": True, "allow_private": True},
    ]


# --- ends --------------------------------------------------------------------------------------------


def test_a_failed_task_is_exit_code_1(cli: Command, service: ThreadedSimulator) -> None:
    """The reason is shown, and there is no advice to pick it up."""
    ran = cli("generate", "t2v", "--prompt", "x [fail: no luck]", *T2V[4:], "--json")
    (task,) = service.tasks.values()
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == f"error: task {task.id} failed: no luck"
    assert ran.events[-2]["status"] == "FAILED"
    error = ran.events[-1]
    assert (error["type"], error["exit_code"], error["task_id"]) == ("TaskFailed", 1, task.id)
    assert error["details"]["status"] == "FAILED"


@pytest.mark.parametrize("flags", [(), ("--json",), ("--verbose",)], ids=str)
def test_the_reason_of_a_failure_shows_nothing_private(
    cli: Command, service: ThreadedSimulator, flags: tuple[str, ...]
) -> None:
    signed = "https://b.example/a.png?X-Signature=Sg_Qw8Er5Ty2Ui9Op"
    words = f"[fail: key {service.api_key} cannot load {signed}]"
    ran = cli("generate", "t2v", "--prompt", words, *T2V[4:], *flags)
    assert ran.code == 1
    assert "key <secret> cannot load https://b.example/…" in ran.err
    assert service.api_key not in ran.out + ran.err
    assert "Sg_Qw8Er5Ty2Ui9Op" not in ran.out + ran.err


def test_a_timeout_is_exit_code_5_and_the_task_goes_on(cli: Command, slow_service: ThreadedSimulator) -> None:
    """The command that picks it up again has everything that this one had."""
    ran = cli(*T2V, "--timeout", "0.2", "--output", "my video.mp4", "--base-url", slow_service.url)
    (task,) = slow_service.tasks.values()
    assert (ran.code, ran.out, task.status) == (5, "", "PROGRESS")
    assert ran.err.splitlines()[-3:] == [
        "error: gave up after 0 s; the task was last seen in PROGRESS",
        "the task goes on; pick it up again with:",
        f"  aivideomaker watch {task.id} --output 'my video.mp4' --base-url {slow_service.url}",
    ]


# --- a service that charges more than it has quoted --------------------------------------------------


def charges_30(arrival: Arrival) -> Action:
    if "/quote/" in arrival.path:
        return Reply(body={"model": "t2v", "credits": 15, "currentBalance": 415, "affordable": True})
    if "/generate/" in arrival.path:
        return Reply(body={"status": "SUBMITTED", "taskId": "ck1", "creditsCharged": 30, "idempotentReplay": False})
    return Reply(body={"status": "COMPLETED"} if arrival.path.endswith("/status") else row("ck1", "COMPLETED"))


@pytest.mark.parametrize("limit", [("--max-credits", "15"), ()])
def test_a_charge_above_the_agreed_price_is_noted(
    cli: Command, scripted_service: ScriptedThread, limit: tuple[str, ...]
) -> None:
    """Some services ignore the limit."""
    scripted_service.handler = charges_30
    ran = cli(*T2V, *limit, "--json")
    assert (ran.code, ran.events[0]["credits_charged"]) == (0, 30)
    assert "note: the service has charged 30 credits (USD 0.30), more than the agreed 15" in ran.err


def test_the_live_line_has_the_charged_credits(
    cli: Command, scripted_service: ScriptedThread, terminal: Callable[[], Terminal]
) -> None:
    scripted_service.handler = charges_30
    screen = terminal()
    assert cli(*T2V).code == 0
    assert "30 credits" in screen.getvalue()
    assert "~" not in screen.getvalue()
