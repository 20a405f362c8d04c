from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import ConfigurationError
from aivideomaker_async._http.retry import (
    DEFAULT_RATE_LIMIT_PAUSE_S,
    Failure,
    RetryPolicy,
    classify_status,
    parse_retry_after,
)

NEVER_SENT, RATE_LIMITED, LOST, REFUSED = Failure.NEVER_SENT, Failure.RATE_LIMITED, Failure.LOST, Failure.REFUSED
QUERY, SUBMIT = True, False
"""Whether a request that may have arrived can be sent again."""

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 10),
    first_pause=st.floats(0.001, 10),
    longest_pause=st.floats(0.001, 100),
)
randoms = st.floats(0, 1, exclude_max=True)


def decide(
    failure: Failure,
    repeatable: bool,
    *,
    attempt: int = 1,
    random: float = 0.5,
    time_left: float = 600.0,
    retry_after: float | None = None,
) -> float | None:
    return RetryPolicy().pause_before_retry(
        failure,
        attempt=attempt,
        random=random,
        repeatable=repeatable,
        time_left=time_left,
        retry_after=retry_after,
    )


# The table of the design, row by row: never sent, 429, lost, refused; queries and commands, then submits.
@pytest.mark.parametrize(
    ("failure", "repeatable", "expected"),
    [
        (NEVER_SENT, QUERY, 0.25),
        (NEVER_SENT, SUBMIT, 0.25),
        (RATE_LIMITED, QUERY, 30.25),
        (RATE_LIMITED, SUBMIT, 30.25),
        (LOST, QUERY, 0.25),
        (LOST, SUBMIT, None),
        (REFUSED, QUERY, None),
        (REFUSED, SUBMIT, None),
    ],
)
def test_what_is_known_about_the_attempt_decides(failure: Failure, repeatable: bool, expected: float | None) -> None:
    """A lost submit is looked up and never repeated; what was refused is an error; the rest is tried again."""
    retry_after = 30.0 if failure is RATE_LIMITED else None
    assert decide(failure, repeatable, retry_after=retry_after) == expected


@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize("attempt", [1, 4, 100])
def test_a_submit_that_may_have_arrived_is_never_repeated(failure: Failure, attempt: int) -> None:
    """Not on the first attempt and not on the last, however much time is left."""
    if failure is LOST:
        assert decide(failure, SUBMIT, attempt=attempt, retry_after=1.0, time_left=inf) is None


@pytest.mark.parametrize("repeatable", [QUERY, SUBMIT])
def test_attempts_end(repeatable: bool) -> None:
    """After the last attempt nothing is sent again."""
    assert decide(NEVER_SENT, repeatable, attempt=3) is not None
    assert decide(NEVER_SENT, repeatable, attempt=4) is None
    assert decide(LOST, QUERY, attempt=4) is None


def test_waiting_cures_a_429_however_often_it_comes() -> None:
    """A 429 uses up no attempt; only the deadline ends it."""
    assert decide(RATE_LIMITED, QUERY, attempt=1000, retry_after=10.0) == 10.25
    assert decide(RATE_LIMITED, QUERY, attempt=1, retry_after=10.0, time_left=10.0) is None


def test_a_429_that_does_not_tell_how_long_waits_a_little() -> None:
    """Without Retry-After some seconds pass; with 0 hardly any."""
    assert decide(RATE_LIMITED, QUERY) == DEFAULT_RATE_LIMIT_PAUSE_S + 0.25
    assert decide(RATE_LIMITED, QUERY, retry_after=0.0) == 0.25


def test_a_server_error_that_tells_how_long_is_waited_for() -> None:
    """Retry-After of a 503 holds where it is longer than the backoff."""
    assert decide(LOST, QUERY, retry_after=20.0) == 20.0
    assert decide(LOST, QUERY, retry_after=0.1) == 0.25


@pytest.mark.parametrize("failure", [NEVER_SENT, RATE_LIMITED, LOST])
def test_nothing_is_tried_after_the_deadline(failure: Failure) -> None:
    """A pause that would end at the deadline or later is an error now."""
    assert decide(failure, QUERY, time_left=0.0) is None
    assert decide(failure, QUERY, time_left=-5.0) is None
    assert decide(failure, QUERY, time_left=inf) is not None


@given(policies, st.integers(1, 5000), randoms)
def test_the_backoff_is_drawn_from_zero_to_a_doubling_bound(policy: RetryPolicy, attempt: int, random: float) -> None:
    """Full jitter: 0 to first_pause, twice that, four times, at most longest_pause; and no overflow, ever."""
    bound = min(policy.longest_pause, policy.first_pause * 2 ** min(attempt - 1, 100))
    assert 0 <= policy.backoff(attempt, random) <= bound
    assert policy.backoff(attempt, 0.0) == 0
    assert policy.backoff(attempt, 0.5) == pytest.approx(bound / 2)


@given(
    policies,
    st.sampled_from(Failure),
    st.integers(1, 12),
    randoms,
    st.booleans(),
    st.floats(-10, 1000),
    st.none() | st.floats(0, 1e12),
)
def test_every_retry_ends_before_the_deadline_and_not_before_it_was_asked_for(
    policy: RetryPolicy,
    failure: Failure,
    attempt: int,
    random: float,
    repeatable: bool,
    time_left: float,
    retry_after: float | None,
) -> None:
    """Whatever the policy and the failure."""
    pause = policy.pause_before_retry(
        failure,
        attempt=attempt,
        random=random,
        repeatable=repeatable,
        time_left=time_left,
        retry_after=retry_after,
    )
    if pause is not None:
        assert failure is not REFUSED
        assert repeatable or failure is not LOST
        assert (retry_after or 0.0) <= pause < time_left
        assert attempt < policy.max_attempts or failure is RATE_LIMITED


@pytest.mark.parametrize(
    ("statuses", "failure"),
    [
        ([200, 201, 204, 299], None),
        ([429], RATE_LIMITED),
        ([408, 500, 502, 503, 504, 520, 599], LOST),
        ([301, 302, 304, 307, 400, 401, 402, 403, 404, 405, 409, 418, 422], REFUSED),
    ],
)
def test_the_status_tells_what_became_of_the_attempt(statuses: list[int], failure: Failure | None) -> None:
    """Success, 429, an answer that tells nothing of the outcome, or a refusal; a redirect is a refusal."""
    assert {classify_status(status) for status in statuses} == {failure}


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's local time is not UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# --- Retry-After -------------------------------------------------------------------------------------

NOW = datetime(2026, 9, 1, 12, 0, 0, tzinfo=UTC)
DATE = "Tue, 01 Sep 2026 12:00:00 GMT"


def parsed(value: str | None, date: str | None = None) -> float | None:
    return parse_retry_after(value, date=date, wall_clock=NOW.timestamp)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("17", 17.0),
        (" 17 ", 17.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("99999999999999999999", 1e20),
        ("1e400", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("12 parsecs", None),
        ("Tue, 99 Foo 2026 99:99:99 GMT", None),
        ("\x00\udcff", None),
        (None, None),
    ],
)
def test_seconds_are_read_and_nonsense_is_none(value: str | None, seconds: float | None) -> None:
    """A negative time is none at all; what cannot be understood says nothing."""
    assert parsed(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "Tue, 01 Sep 2026 12:00:42 GMT",
        "Tuesday, 01-Sep-26 12:00:42 GMT",
        "Tue Sep  1 12:00:42 2026",
        "Tue, 01 Sep 2026 12:00:42 -0000",
        "Tue, 01 Sep 2026 14:00:42 +0200",
    ],
)
@pytest.mark.usefixtures("far_from_greenwich")
def test_every_form_of_an_http_date_is_read(value: str) -> None:
    """Also the obsolete one that names no zone and means UTC, wherever this machine is."""
    assert parsed(value, DATE) == 42.0
    assert parsed(value) == 42.0


def test_a_date_is_measured_against_the_clock_that_wrote_it() -> None:
    """Where our clock is an hour off, the wait is still a minute."""
    assert parsed("Tue, 01 Sep 2026 13:01:00 GMT", "Tue, 01 Sep 2026 13:00:00 GMT") == 60.0


@pytest.mark.parametrize("date", [None, "", "yesterday", "1693"])
def test_without_a_usable_date_our_own_clock_must_do(date: str | None) -> None:
    """A proxy may drop or mangle the Date header."""
    assert parsed("Tue, 01 Sep 2026 12:01:00 GMT", date) == 60.0


def test_our_own_clock_is_asked_only_when_it_is_needed() -> None:
    """Seconds, nonsense and dates with a Date beside them need none."""

    def unwanted() -> float:
        raise AssertionError

    for value in ("5", "soon", DATE, None):
        parse_retry_after(value, date=DATE, wall_clock=unwanted)


def test_a_date_that_has_passed_means_now() -> None:
    """No negative wait."""
    assert parsed("Tue, 01 Sep 2020 12:00:00 GMT", DATE) == 0.0


@given(st.text(max_size=60), st.none() | st.text(max_size=60))
def test_no_header_breaks_the_reader(value: str, date: str | None) -> None:
    """Any text is seconds, a date, or nothing."""
    seconds = parsed(value, date)
    assert seconds is None or 0 <= seconds < inf


@given(st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_any_date_is_seconds_from_now(at: datetime) -> None:
    """As the standard library writes it."""
    at = at.replace(microsecond=0)
    assert parsed(format_datetime(at, usegmt=True)) == pytest.approx(max(0.0, (at - NOW).total_seconds()))


@pytest.mark.parametrize("options", [{"max_attempts": 0}, {"first_pause": 0}, {"longest_pause": float("nan")}])
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        RetryPolicy(**options)
