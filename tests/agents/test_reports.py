"""Every error becomes a report that says what to do."""

from __future__ import annotations

import json

import pytest

from aivideomaker_async.agents.reports import SUBMITTING, next_step, report_of_error, report_of_failure
from aivideomaker_async.errors import AIVideoMakerError
from aivideomaker_async.tasks import TaskStatus
from tests.test_errors import EXAMPLES


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_has_a_report(error: AIVideoMakerError) -> None:
    """As JSON, also as text. Of an error about a task it has the task's id."""
    report = report_of_error(error)
    assert json.loads(str(report)) == report
    assert report["status"]
    assert report["next"].endswith(".")
    known = getattr(error, "task_id", None) or getattr(getattr(error, "details", None), "id", None)
    assert report.get("task_id") == known
    assert known or (report["error"], report["message"]) == (type(error).__name__, str(error))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (TaskStatus.SUBMITTED, "Call wait_for_video"),
        (TaskStatus.PROGRESS, "Do not submit it again"),
        (TaskStatus.COMPLETED, "Call download_video now"),
        (TaskStatus.FAILED, "use a new order"),
        (TaskStatus.CANCEL, "use a new order"),
        ("PAUSED", "Call wait_for_video"),
        (SUBMITTING, "the same order"),
    ],
)
def test_every_status_has_a_next_step(status: str, words: str) -> None:
    assert words in next_step(status)


def test_an_error_that_nobody_promised_has_a_report_too() -> None:
    report = report_of_failure(OSError(28, "No space left on device"))
    assert (report["status"], report["error"]) == ("ERROR", "OSError")
    assert "No space left" in report["message"]
