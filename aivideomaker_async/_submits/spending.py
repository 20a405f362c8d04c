"""What may be spent, and what has been: credits that are reserved, charged and refunded.

Whatever is not known counts as spent: a reservation until the submit is over, and all of it when the service does not
tell what it has charged.
"""

from __future__ import annotations

from enum import Enum, auto

from attrs import define, field

__all__ = ["Hold", "Spending"]


class _State(Enum):
    RESERVED = auto()
    CHARGED = auto()
    RELEASED = auto()


@define(eq=False)
class Hold:
    """A part of a budget, for one submit."""

    reserved: int
    """Credits that the submit is expected to cost."""
    state: _State = _State.RESERVED
    charged: int = 0
    refunded: int = 0
    is_refund_told: bool = False
    """Whether the service has told the refund itself."""

    @property
    def taken(self) -> int:
        """Credits that it takes from the budget now."""
        if self.state is _State.CHARGED:
            return self.charged - self.refunded
        return self.reserved if self.state is _State.RESERVED else 0


@define(eq=False)
class Spending:
    """What becomes of so many credits."""

    limit: int
    spent: int = field(default=0, init=False)
    """Credits that were charged, less those that were refunded. More than the limit when prices rose on the way."""
    reserved: int = field(default=0, init=False)
    """Credits for submits that are under way, or whose outcome is unknown."""

    @property
    def remaining(self) -> int:
        """Credits that can still be reserved."""
        return max(0, self.limit - self.spent - self.reserved)

    def reserve(self, credits_: int) -> Hold | None:
        """Reserve so many credits; None when fewer remain."""
        if credits_ > self.remaining:
            return None
        self.reserved += credits_
        return Hold(credits_)

    def raise_to(self, hold: Hold, credits_: int) -> bool:
        """Reserve so many credits in all, if they are more; returns False when fewer remain, and nothing changes."""
        more = credits_ - hold.reserved
        if hold.state is not _State.RESERVED or more <= 0:
            return True
        if more > self.remaining:
            return False
        self.reserved += more
        hold.reserved = credits_
        return True

    def lower_to(self, hold: Hold, credits_: int) -> None:
        """Reserve no more than so many credits: what was raised is needed no longer."""
        if hold.state is _State.RESERVED and credits_ < hold.reserved:
            self.reserved -= hold.reserved - credits_
            hold.reserved = credits_

    def settle(self, hold: Hold, charged: int | None) -> None:
        """The submit has its task, for so many credits. Also later, when the service tells another number.

        Of one that has charged nothing, this is not believed: the task is somebody else's.

        Args:
            hold: what was reserved for it.
            charged: credits; None when the service does not tell.
        """
        if hold.state is _State.RELEASED or (charged is None and hold.state is _State.CHARGED):
            return
        charged = hold.reserved if charged is None else charged
        with_refund = min(hold.refunded, charged)
        self._change(hold, _State.CHARGED, charged, with_refund)

    def release(self, hold: Hold) -> None:
        """The submit has charged nothing. Of one that has its task this is not believed."""
        if hold.state is _State.RESERVED:
            self._change(hold, _State.RELEASED, 0, 0)

    def refund(self, hold: Hold, refunded: int | None) -> None:
        """The task has failed or was cancelled, or the service tells what it has given back.

        Args:
            hold: what was reserved for it.
            refunded: credits that the service has given back, in all; None when it does not tell: then it is what the
                task has cost.
        """
        if hold.state is not _State.CHARGED or (refunded is None and hold.is_refund_told):
            return
        hold.is_refund_told = refunded is not None
        back = hold.charged if refunded is None else max(0, min(refunded, hold.charged))
        self._change(hold, _State.CHARGED, hold.charged, back)

    def _change(self, hold: Hold, state: _State, charged: int, refunded: int) -> None:
        self._count(hold, -1)
        hold.state, hold.charged, hold.refunded = state, charged, refunded
        self._count(hold, 1)

    def _count(self, hold: Hold, sign: int) -> None:
        if hold.state is _State.RESERVED:
            self.reserved += sign * hold.taken
        else:
            self.spent += sign * hold.taken
