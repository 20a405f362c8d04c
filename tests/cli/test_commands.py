"""The commands on existing tasks (`watch`, `status`, `get`, `list`, `cancel`), and `account`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import AIVideoMaker, AuthenticationFailed, TextToVideo, VideoTask
from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from aivideomaker_async.simulator.video_store import BUNDLED_CLIP
from tests.cli.conftest import Command


def submit(simulator: ThreadedSimulator, prompt: str = "A sunset") -> str:
    """Submit a task, and return its id."""

    async def submitted() -> str:
        async with AIVideoMaker(simulator.api_key, base_url=simulator.url) as client:
            return (await client.submit(TextToVideo(prompt=prompt, aspect_ratio="16:9", duration=5))).id

    return asyncio.run(submitted())


def test_watch_waits_for_a_task_of_another_process(
    cli: Command, slow_service: ThreadedSimulator, tmp_path: Path
) -> None:
    """It saves the video as `generate` does."""
    task_id = submit(slow_service)
    slow_service.finish(task_id)
    ran = cli("watch", task_id, "--output", str(tmp_path / "a.mp4"))
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'a.mp4'}\n")
    assert ran.err.startswith(f"{task_id}  COMPLETED  0:00\n")
    assert (tmp_path / "a.mp4").read_bytes() == BUNDLED_CLIP.read_bytes()


def test_watch_of_a_cancelled_task_is_exit_code_1(cli: Command, slow_service: ThreadedSimulator) -> None:
    task_id = submit(slow_service)
    slow_service.set_status(task_id, "CANCEL")
    ran = cli("watch", task_id)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == f"error: task {task_id} was cancelled"


def test_watch_of_an_unknown_task_is_exit_code_4(cli: Command, service: ThreadedSimulator) -> None:
    """There is no advice to pick it up."""
    ran = cli("watch", "nothing")
    assert ran.code == 4
    assert ran.err == "error: GET /api/v1/tasks/nothing: 404: Task not found\n"


def test_watch_with_a_refused_key_gives_no_advice(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_wrong")
    ran = cli("watch", "nothing")
    assert ran.code == 3
    assert len(ran.err.splitlines()) == 1


def test_a_key_that_is_refused_later_leaves_the_advice_to_watch(
    cli: Command, slow_service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task exists, so it goes on."""

    async def refused(task: VideoTask, timeout: float | None = None) -> None:
        raise AuthenticationFailed("disabled", status=401, method="GET", path="/")

    task_id = submit(slow_service)
    slow_service.finish(task_id)
    monkeypatch.setattr(VideoTask, "result", refused)
    ran = cli("watch", task_id)
    assert ran.code == 3
    assert f"aivideomaker watch {task_id}" in ran.err


def test_a_video_that_has_expired_leaves_no_advice(
    cli: Command, slow_service: ThreadedSimulator, tmp_path: Path
) -> None:
    task_id = submit(slow_service)
    slow_service.finish(task_id)
    slow_service.advance(25 * 3600)
    ran = cli("watch", task_id, "--output", str(tmp_path / "a.mp4"))
    assert ran.code == 4
    assert "is gone" in ran.err
    assert "aivideomaker watch" not in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task_id", ["", ".."])
@pytest.mark.parametrize("command", ["watch", "status", "get", "cancel"])
def test_an_impossible_id_is_a_usage_error(
    cli: Command, service: ThreadedSimulator, command: str, task_id: str
) -> None:
    ran = cli(command, task_id)
    assert (ran.code, service.requests) == (2, [])
    assert "task_id" in ran.err


def test_status_prints_one_word(cli: Command, slow_service: ThreadedSimulator) -> None:
    """The status FAILED is not a failure of this command."""
    task_id = submit(slow_service)
    assert (cli("status", task_id).out, cli("status", task_id).code) == ("PROGRESS\n", 0)
    slow_service.fail(task_id)
    ran = cli("status", task_id, "--json")
    assert ran.code == 0
    unknown = {"previous": None, "at": None, "eta": None}
    assert ran.events == [{"event": "status", "task_id": task_id, "status": "FAILED", **unknown}]


def test_get_prints_everything(cli: Command, slow_service: ThreadedSimulator) -> None:
    """Fields of the input have their names on the wire."""
    task_id = submit(slow_service)
    slow_service.fail(task_id, "no luck")
    (event,) = cli("get", task_id, "--json").events
    assert (event["event"], event["task_id"], event["status"], event["model"]) == ("task", task_id, "FAILED", "t2v")
    assert event["input"] == {"prompt": "A sunset", "aspectRatio": "16:9", "duration": "5"}
    assert event["output"]["error"] == "no luck" or event["output"]["message"] == "no luck"
    assert event["created_at"].endswith("Z")
    assert set(event) == {
        *("event", "task_id", "status", "model", "input", "output", "created_at", "completed_at"),
        *("credits_charged", "credits_refunded", "list_value_cents", "idempotency_key", "extra"),
    }
    lines = cli("get", task_id).out.splitlines()
    shown = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in lines}
    assert shown["input.prompt"] == "A sunset"
    assert shown["status"] == "FAILED"
    assert "no luck" in shown.values()
    assert not shown.keys() & {"credits_charged", "output.extra"}


def test_get_shows_people_nothing_private(cli: Command, slow_service: ThreadedSimulator) -> None:
    """Programs get the values as they are, except for the key."""
    task_id = submit(slow_service, prompt="see https://b.example/a.png?sig=SECRET")
    words = f"{slow_service.api_key}: https://b.example/a.png?sig=SECRET {'and so on ' * 50}the end"
    slow_service.fail(task_id, words)
    ran = cli("get", task_id)
    assert "SECRET" not in ran.out + ran.err
    assert slow_service.api_key not in ran.out + ran.err
    assert "<secret>: https://b.example/… and so on" in ran.out
    assert "the end" in ran.out, "the whole reason is shown"
    assert words.replace(slow_service.api_key, "<secret>") in cli("get", task_id, "--json").events[0]["output"].values()


def test_get_of_a_running_task_has_no_output(cli: Command, slow_service: ThreadedSimulator) -> None:
    task_id = submit(slow_service)
    assert cli("get", task_id, "--json").events[0]["output"] is None
    assert "output" not in cli("get", task_id).out


def test_a_text_of_the_service_cannot_control_the_terminal(cli: Command, slow_service: ThreadedSimulator) -> None:
    """Control characters are escaped."""
    task_id = submit(slow_service, prompt="red \x1b[31m \x07 [bold]plain[/] é")
    ran = cli("get", task_id)
    assert "red \\x1b[31m \\x07 [bold]plain[/] é" in ran.out
    assert "\x1b" not in ran.out
    slow_service.fail(task_id, "\x1b]0;mine\x07 [red]x")
    ran = cli("watch", task_id)
    assert "\\x1b]0;mine\\x07 [red]x" in ran.err


def test_list_has_a_line_for_each_task(cli: Command, slow_service: ThreadedSimulator) -> None:
    """The newest first."""
    older, newer = submit(slow_service), submit(slow_service)
    slow_service.finish(older)
    ran = cli("list")
    assert [line.split()[:3] for line in ran.out.splitlines()] == [
        [newer, "PROGRESS", "t2v"],
        [older, "COMPLETED", "t2v"],
    ]
    assert [(one["event"], one["task_id"]) for one in cli("list", "--json").events] == [
        ("task", newer),
        ("task", older),
    ]


def test_an_empty_list_is_a_message(cli: Command, service: ThreadedSimulator) -> None:
    ran = cli("list")
    assert (ran.code, ran.out, ran.err) == (0, "", "no tasks\n")
    assert cli("list", "--json").events == []


def test_cancel_in_time(cli: Command, slow_service: ThreadedSimulator) -> None:
    task_id = submit(slow_service)
    slow_service.set_status(task_id, "SUBMITTED")
    ran = cli("cancel", task_id, "--json")
    assert (ran.code, slow_service.tasks[task_id].status) == (0, "CANCEL")
    assert ran.events == [{"event": "cancel", "task_id": task_id, "cancelled": True, "status": "CANCEL"}]


def test_cancel_too_late_is_exit_code_1(cli: Command, slow_service: ThreadedSimulator) -> None:
    """The status is printed."""
    task_id = submit(slow_service)
    ran = cli("cancel", task_id)
    assert (ran.code, ran.out) == (1, "PROGRESS\n")
    assert "too late" in ran.err


def test_account_prints_balance_guardrails_and_missing_models(cli: Command, serve: SimulatorFactory) -> None:
    models = ["t2v", "i2v", "t2v_v3", "i2v_v3", "minimax", "seedance20", "wan27", "happyhorse"]
    serve(revision="2026-09", credits=415)
    ran = cli("account")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "balance           415 credits (USD 4.15)",
        "daily limit       unlimited",
        "submits a minute  unlimited",
        "warning below     no warning",
        f"models            {', '.join(models)}",
    ]
    assert ran.err == "note: lv not among them: the service may refuse other models\n"
    (event,) = cli("account", "--json").events
    assert event == {
        "event": "account",
        "balance": 415,
        "daily_credit_limit": None,
        "generation_requests_per_minute": None,
        "credit_warning_at": None,
        "supported_models": models,
        "missing_models": ["lv"],
        "api_version": "v1",
        "skill_version": "1.0.15",
        "extra": {"ok": True},
    }
    guardrails: dict[str, Any] = {"daily_credit_limit": 1, "generation_limit": 5, "credit_warning_at": 100}
    serve(revision="2026-09", supported_models=[*models, "lv"], **guardrails)
    ran = cli("account")
    assert ran.err == ""
    assert [line.split("  ")[-1].strip() for line in ran.out.splitlines()[1:4]] == [
        *("1 credit (USD 0.01)", "5", "100 credits (USD 1.00)"),
    ]


def test_a_service_without_accounts_is_exit_code_4_with_a_reason(cli: Command, service: ThreadedSimulator) -> None:
    ran = cli("account")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        "error: GET /api/v1/account: 404: Not Found (revision 2026-09 has it: start the simulator with "
        '--revision 2026-09, or Simulator(revision="2026-09"))\n'
        "this service has no account endpoint: it speaks the revision 2026-03, or the base URL is wrong\n"
    )
