"""Deliveries make polls due, cannot use up the limit, and are trusted as long as they announce every end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._watch.webhook_signals import LATE_S, MAX_MUTE_S, RETRIES, WebhookSignals

NOW = 1000.0
SOON = NOW + 0.1


class Signals(WebhookSignals):
    """With short forms for what usually happens."""

    def deliver(self, now: float = NOW, *, may_be_end: bool = True, changes_matter: bool = False) -> bool:
        return self.delivered(now, may_be_end=may_be_end, changes_matter=changes_matter)

    def end(self, now: float = SOON, *, has_webhook: bool = True) -> None:
        self.changed(now, is_end=True, has_webhook=has_webhook)

    def poll(self, now: float, *, ends: int = 0) -> None:
        """A poll that is answered at once."""
        for _ in range(ends):
            self.end(now)
        self.polled(now, now)

    def polls_in_vain(self, now: float) -> list[float]:
        """Poll whenever it is due, and find nothing; return when."""
        polls = []
        while self.due_at is not None:
            polls.append(max(now, self.due_at))
            self.poll(polls[-1])
        return polls


@pytest.fixture
def signals() -> Signals:
    return Signals()


# --- when a poll is due ------------------------------------------------------------------------------


def test_a_delivery_makes_a_poll_due_which_confirms_it(signals: Signals) -> None:
    assert signals.due_at is None
    assert signals.deliver()
    assert signals.due_at == NOW
    signals.poll(SOON, ends=1)
    assert signals.due_at is None


def test_one_poll_confirms_all_deliveries_before_it(signals: Signals) -> None:
    for _ in range(5):
        signals.deliver()
    signals.poll(SOON, ends=5)
    assert signals.due_at is None


def test_a_delivery_that_is_ahead_of_the_service_is_asked_about_again(signals: Signals) -> None:
    """After one and after two seconds, and then no more."""
    signals.deliver()
    assert signals.polls_in_vain(NOW) == [NOW, NOW + 1, NOW + 3]
    signals.deliver(NOW + 100)
    signals.poll(NOW + 100)
    signals.poll(NOW + 101, ends=1)
    assert signals.due_at is None


def test_a_poll_that_shows_fewer_ends_than_were_announced_is_repeated(signals: Signals) -> None:
    signals.deliver()
    signals.deliver()
    signals.poll(SOON, ends=1)
    assert signals.due_at == SOON + 1
    signals.poll(SOON + 1, ends=1)
    assert signals.due_at is None


def test_what_is_delivered_during_a_poll_is_asked_about_at_once(signals: Signals) -> None:
    signals.deliver(NOW)
    signals.deliver(NOW + 0.1)
    signals.end(NOW + 0.2)
    signals.polled(NOW, NOW + 0.2)
    assert signals.due_at == NOW + 0.2
    signals.poll(NOW + 0.3, ends=1)
    assert signals.due_at is None


def test_a_delivery_that_is_no_end_makes_a_poll_due_only_where_changes_matter(signals: Signals) -> None:
    assert not signals.deliver(may_be_end=False)
    assert signals.due_at is None
    assert signals.deliver(may_be_end=False, changes_matter=True)
    signals.changed(SOON, is_end=False, has_webhook=True)
    signals.poll(SOON)
    assert signals.due_at is None


def test_the_delivery_of_an_end_that_a_poll_has_found_is_asked_about_once(signals: Signals) -> None:
    """It probably announces that end; one poll makes up for the case that it does not."""
    signals.poll(NOW, ends=1)
    assert signals.deliver(NOW + LATE_S / 2)
    signals.poll(NOW + LATE_S / 2)
    assert signals.due_at is None
    # Later ones are not taken for that.
    signals.poll(NOW + 100, ends=1)
    signals.deliver(NOW + 100 + 2 * LATE_S)
    signals.poll(NOW + 100 + 2 * LATE_S)
    assert signals.due_at is not None


def test_polls_without_a_delivery_make_nothing_due(signals: Signals) -> None:
    signals.poll(NOW, ends=3)
    assert signals.due_at is None


# --- floods ------------------------------------------------------------------------------------------


def test_deliveries_that_announce_nothing_are_asked_about_less_and_less(signals: Signals) -> None:
    signals.deliver()
    now = signals.polls_in_vain(NOW)[-1]
    pauses = []
    for _ in range(8):
        signals.deliver(now)
        (poll,) = signals.polls_in_vain(now)
        pauses.append(poll - now)
        now = poll
    assert pauses == [2, 4, 8, 16, 32, MAX_MUTE_S, MAX_MUTE_S, MAX_MUTE_S]


def test_an_announced_end_makes_deliveries_count_again(signals: Signals) -> None:
    now = NOW
    for _ in range(5):
        signals.deliver(now)
        now = signals.polls_in_vain(now)[-1]
    signals.deliver(now)
    # A poll that was due anyway shows the end before the pause is over.
    signals.poll(now + 1, ends=1)
    assert signals.due_at is None
    signals.deliver(now + 2)
    assert signals.due_at == now + 2


deliveries = st.lists(st.tuples(st.floats(0.001, 5), st.booleans(), st.booleans()), min_size=1, max_size=300)


@given(deliveries)
def test_repeated_deliveries_cannot_use_up_the_limit(flood: list[tuple[float, bool, bool]]) -> None:
    """Whatever comes, as long as it announces nothing: a few polls at first, and then about one a minute."""
    signals, now, polls = Signals(), NOW, list[float]()
    for pause, may_be_end, changes_matter in flood:
        until = now + pause
        while signals.due_at is not None and signals.due_at <= until:
            now = max(now, signals.due_at)
            polls.append(now)
            # Each poll takes a tenth of a second, so that deliveries come during it.
            signals.polled(now, now + 0.1)
        now = max(now, until)
        signals.delivered(now, may_be_end=may_be_end, changes_matter=changes_matter)
    assert len(polls) <= 1 + RETRIES + 6 + (now - NOW) / MAX_MUTE_S
    for first, last in zip(polls, polls[12:], strict=False):
        assert last - first >= MAX_MUTE_S


@given(st.lists(st.sampled_from(["deliver", "note", "end", "poll"]), max_size=60))
def test_a_poll_is_due_only_while_something_is_to_be_confirmed(events: list[str]) -> None:
    """However deliveries, ends and polls follow each other, polls alone end it soon."""
    signals, now = Signals(), NOW
    for event in events:
        now += 0.5
        match event:
            case "deliver":
                assert signals.deliver(now)
                assert signals.due_at is not None
            case "note":
                assert signals.deliver(now, may_be_end=False, changes_matter=True)
            case "end":
                signals.end(now)
            case _:
                signals.poll(now)
    assert len(signals.polls_in_vain(now)) <= 1 + RETRIES
    assert signals.due_at is None


# --- trust -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "is_trusted"),
    [
        ([], False),
        (["delivery"], False),
        (["delivery", "end"], True),
        (["end"], False),
        (["delivery", "end", "end"], False),
        (["delivery", "end", "foreign end"], True),
        (["delivery", "end", "end", "delivery", "end"], True),
        (["note", "change"], True),
        (["note", "end"], False),
        (["change"], False),
    ],
)
def test_webhooks_are_trusted_as_long_as_they_announce_every_end(
    signals: Signals, events: list[str], is_trusted: bool
) -> None:
    """And not before an answer of the service has confirmed one; ends of tasks without a webhook do not count."""
    now = NOW
    for event in events:
        now += 10
        match event:
            case "delivery":
                signals.deliver(now)
            case "note":
                signals.deliver(now, may_be_end=False)
            case "change":
                signals.changed(now, is_end=False, has_webhook=True)
            case _:
                signals.end(now, has_webhook=event == "end")
    assert (signals.announced_at(now + LATE_S) is not None) is is_trusted


def test_a_delivery_may_be_a_little_later_than_the_poll(signals: Signals) -> None:
    """Both are about the same end, and the poll was faster."""
    signals.deliver(NOW)
    signals.end(NOW)
    signals.end(NOW + 10)
    assert signals.announced_at(NOW + 10 + LATE_S / 2) == NOW
    assert signals.announced_at(NOW + 10 + LATE_S) is None
    signals.deliver(NOW + 10 + LATE_S)
    assert signals.announced_at(NOW + 100) == NOW + 10 + LATE_S
