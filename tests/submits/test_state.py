"""The clocks that a submit is measured by, and the snapshot that reconciles it in another process."""

from __future__ import annotations

import json

import pytest

from aivideomaker_async._submits.body import BytesContent, Image
from aivideomaker_async._submits.matching import make_fingerprint
from aivideomaker_async._submits.state import (
    Fingerprint,
    Instant,
    ServiceClock,
    Submit,
    SubmitState,
    restore_submit,
    take_snapshot,
)

EPOCH = 1_772_000_000.0


@pytest.mark.parametrize(
    ("wall_ahead", "by_wall", "earliest"),
    [(0.0, 10.0, 10.0), (3600.0, -3590.0, -3590.0), (-3600.0, 3610.0, 10.0)],
)
def test_a_moment_is_measured_by_both_clocks(wall_ahead: float, by_wall: float, earliest: float) -> None:
    """A wall clock that went further than the loop's: it was set, or the machine slept."""
    clock = ServiceClock(Instant(50.0, EPOCH + 50.0 + wall_ahead), 50.0)
    moment = Instant(10.0, EPOCH + 10.0)
    assert (clock.by_loop(moment), clock.by_wall(moment)) == (10.0, by_wall)
    assert clock.earliest(moment) == earliest


def lost_submit() -> Submit:
    image = Image("image/png", 5, b"\x01digest", BytesContent([b"image"]))
    fields = {"prompt": "a red fox", "duration": 5, "seed": None, "on": True, "list": ["a", {"b": 1.5}], "image": image}
    submit = Submit("key-1", make_fingerprint("i2v", fields), 20.0)
    submit.state, submit.sent_at, submit.lost_at = SubmitState.LOST, Instant(3.0, EPOCH + 3.0), 4.0
    return submit


def test_a_snapshot_is_plain_data() -> None:
    """It is pickled by users, and must be readable by later versions."""
    snapshot = take_snapshot(lost_submit(), ServiceClock(Instant(10.0, EPOCH + 10.0), 1010.0), {"ck2", "ck1"})
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert snapshot["uploads"] == {"image": b"\x01digest".hex()}
    assert (snapshot["sent_at"], snapshot["lost_at"], snapshot["assigned"]) == (1003.0, 1004.0, ["ck1", "ck2"])


def test_a_submit_is_restored_from_its_snapshot() -> None:
    submit = lost_submit()
    snapshot = take_snapshot(submit, ServiceClock(Instant(10.0, EPOCH + 10.0), 1010.0), {"ck1"})
    clock = ServiceClock(Instant(2.0, 5000.0), 1100.0)
    restored = restore_submit(snapshot, key="key-1", model="x", began_at=0.0, clock=clock, grace_s=30.0)
    assert restored.fingerprint == submit.fingerprint
    assert restored.assigned_elsewhere == {"ck1"}
    assert (restored.sent_at, restored.lost_at) == (Instant(2.0 - 97.0, 5000.0 - 97.0), 2.0 - 96.0)
    assert (restored.state, restored.was_lost, restored.sent_elsewhere) == (SubmitState.GIVEN_UP, True, True)
    assert (restored.has_callers_key, restored.grace_s) == (True, 30.0)


def test_a_submit_in_flight_is_lost_when_its_snapshot_is_taken() -> None:
    submit = Submit("key-1", Fingerprint("t2v", {}))
    submit.state, submit.sent_at = SubmitState.IN_FLIGHT, Instant(3.0, EPOCH + 3.0)
    snapshot = take_snapshot(submit, ServiceClock(Instant(10.0, EPOCH + 10.0), 1010.0), ())
    assert (snapshot["sent_at"], snapshot["lost_at"]) == (1003.0, 1010.0)


def test_an_error_made_by_hand_has_no_snapshot() -> None:
    """The key, the model and the time are known."""
    clock = ServiceClock(Instant(10.0, EPOCH + 10.0), 1010.0)
    restored = restore_submit(None, key="key-1", model="t2v", began_at=1000.0, clock=clock, grace_s=15.0)
    assert restored.fingerprint == Fingerprint("t2v", {}, is_known=False)
    assert (restored.sent_at, restored.lost_at) == (Instant(0.0, EPOCH), 0.0)


def test_a_moment_in_the_future_is_now() -> None:
    """The clock of the service is behind that of the other process."""
    clock = ServiceClock(Instant(10.0, EPOCH + 10.0), 1010.0)
    restored = restore_submit(None, key="key-1", model="t2v", began_at=5000.0, clock=clock, grace_s=15.0)
    assert (restored.sent_at, restored.lost_at) == (clock.now, 10.0)
