import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.timeline import CANCEL, COMPLETED, FAILED, PROGRESS, SUBMITTED, TERMINAL, Timeline

PLANNED = Timeline.planned(100, 10, 50, COMPLETED)


@pytest.mark.parametrize(
    ("now", "status", "since", "following"),
    [
        (100, SUBMITTED, 100, 110),
        (109, SUBMITTED, 100, 110),
        (110, PROGRESS, 110, 160),
        (159, PROGRESS, 110, 160),
        (160, COMPLETED, 160, None),
        (9999, COMPLETED, 160, None),
    ],
)
def test_the_status_is_the_last_step_that_has_begun(
    now: float, status: str, since: float, following: float | None
) -> None:
    assert PLANNED.status(now) == status
    assert PLANNED.since(now) == since
    assert PLANNED.next_step(now) == following


def test_a_task_always_has_its_first_status() -> None:
    assert PLANNED.status(0) == SUBMITTED


def test_a_new_status_replaces_what_was_planned() -> None:
    changed = PLANNED.then(105, [CANCEL])
    assert changed.steps == ((100, SUBMITTED), (105, CANCEL))
    assert changed.next_step(105) is None


def test_a_submitted_task_ends_by_way_of_progress() -> None:
    ended = PLANNED.ended(105, COMPLETED)
    assert ended.steps == ((100, SUBMITTED), (105, PROGRESS), (105, COMPLETED))
    assert ended.status(105) == COMPLETED


@pytest.mark.parametrize("status", [PROGRESS, "QUEUED"])
def test_a_task_past_the_queue_ends_directly(status: str) -> None:
    assert PLANNED.then(101, [status]).ended(105, FAILED).steps[-2:] == (
        (101, status),
        (105, FAILED),
    )


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_what_has_ended_cannot_end_again(status: str) -> None:
    with pytest.raises(ValueError, match=f"is {status}: it cannot become FAILED"):
        PLANNED.then(101, [status]).ended(102, FAILED)


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from([CANCEL, "X", PROGRESS]))))
def test_the_past_never_changes(changes: list[tuple[int, str]]) -> None:
    timeline = Timeline.planned(0, 10, 50, COMPLETED)
    for now, status in sorted(changes, key=lambda change: change[0]):
        before = timeline.passed(now)
        timeline = timeline.then(now, [status])
        assert timeline.passed(now)[: len(before)] == before
        assert timeline.status(now) == status
