"""A submit that is about to be made, as a value to be stored before: what a crash cannot take away."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from datetime import UTC, datetime
from typing import Final

from attrs import evolve, frozen

from ..errors import SubmitOutcomeUnknown
from ..tasks import JSONForm, SubmitTrace
from .state import Fingerprint

__all__ = ["Intent"]

_IMPORTED_AS: Final = uuid.uuid4().hex


def this_process() -> str:
    """Return a name that no other process has; a fork has another one."""
    return f"{_IMPORTED_AS}-{os.getpid()}"


@frozen(kw_only=True)
class Intent(JSONForm):
    """A submit that is about to be made. Made by `AIVideoMaker.intend`, used by `AIVideoMaker.submit(intent=...)`.

    Store `to_dict()` before the submit. After a crash, `submit` with the restored intent searches for the task of the
    earlier process first, and submits again only when there is surely none.

    It holds neither images nor addresses, only their digests; the texts of the order are in it.
    """

    model: str
    idempotency_key: str
    """The key that goes out with the submit."""
    made_at: datetime
    """By the service's clock (aware, UTC)."""
    made_by: str
    """The process that made it."""
    trace: SubmitTrace

    @property
    def fingerprint(self) -> str:
        """A digest of what is ordered. Equal orders have equal ones, whatever their keys."""
        uploads = {name: digest.hex() for name, digest in self.trace.uploads.items()}
        text = json.dumps([self.trace.model, dict(self.trace.fields), uploads], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made here, where what became of its submit is remembered."""
        return self.made_by == this_process()

    def orders(self, fingerprint: Fingerprint) -> bool:
        """Return whether this is what it was made for."""
        known = Fingerprint(self.trace.model, self.trace.fields, self.trace.uploads)
        return known == fingerprint

    def lost(self, now: float) -> SubmitOutcomeUnknown:
        """Return the error of a submit whose process has ended: it, or another one since, may have sent it until now.

        Args:
            now: the time by the service's clock, in seconds since the epoch.
        """
        return SubmitOutcomeUnknown(
            "the process that was to submit this has ended",
            model=self.model,
            idempotency_key=self.idempotency_key,
            began_at=self.made_at,
            trace=evolve(self.trace, lost_at=max(now, self.trace.sent_at)).to_dict(),
        )


def make_intent(
    key: str, fingerprint: Fingerprint, *, service_now: float, is_time_known: bool, assigned: tuple[str, ...]
) -> Intent:
    """Return the intent of a submit that is about to be made in this process.

    Args:
        key: its idempotency key.
        fingerprint: what it orders.
        service_now: the time by the service's clock, in seconds since the epoch.
        is_time_known: whether the service has reported its time; else `service_now` is this machine's.
        assigned: tasks of the same model that were assigned to other submits of this process lately.
    """
    return Intent(
        model=fingerprint.model,
        idempotency_key=key,
        made_at=datetime.fromtimestamp(service_now, UTC),
        made_by=this_process(),
        trace=SubmitTrace(
            model=fingerprint.model,
            fields=fingerprint.fields,
            uploads=fingerprint.uploads,
            sent_at=service_now,
            lost_at=service_now,
            is_time_known=is_time_known,
            may_still_arrive=False,
            assigned=assigned,
        ),
    )
