from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import AIVideoMakerError, ConfigurationError, errors
from aivideomaker_async._http.retry import (
    DEFAULT_RATE_LIMIT_PAUSE_S,
    Failure,
    RetryPolicy,
    classify_error,
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
    refusals: int = 0,
) -> float | None:
    return RetryPolicy().pause_before_retry(
        failure,
        attempt=attempt,
        random=random,
        repeatable=repeatable,
        time_left=time_left,
        retry_after=retry_after,
        refusals=refusals,
    )


# --- what is known about an attempt ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "failure"),
    [
        ([200, 201, 204, 299], None),
        ([429], RATE_LIMITED),
        ([408, 500, 502, 503, 504, 520, 599], LOST),
        ([301, 302, 304, 307, 400, 401, 402, 403, 404, 405, 409, 418, 422], REFUSED),
    ],
)
def test_a_status_decides_what_is_known_about_the_attempt(statuses: list[int], failure: Failure | None) -> None:
    """A redirect counts as a refusal."""
    assert {classify_status(status) for status in statuses} == {failure}


CALL: dict[str, Any] = {"method": "GET", "path": "/p"}


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (errors.ConnectFailed("no", **CALL), NEVER_SENT),
        (errors.RequestTimeout("late", **CALL, sent=False), NEVER_SENT),
        (errors.RequestTimeout("late", **CALL), LOST),
        (errors.Disconnected("broke", **CALL), LOST),
        (errors.BadResponse("?", **CALL), LOST),
        (errors.RateLimited("no", **CALL, status=429), RATE_LIMITED),
        # Known by its code alone.
        (errors.RateLimited("no", **CALL, status=200), RATE_LIMITED),
        (errors.ServerError("no", **CALL, status=503), LOST),
        (errors.APIError("no", **CALL, status=408), LOST),
        (errors.InvalidRequest("no", **CALL, status=400), REFUSED),
        (errors.APIError("no", **CALL, status=302), REFUSED),
        # An error in disguise.
        (errors.InsufficientCredits("no", **CALL, status=200), REFUSED),
    ],
    ids=repr,
)
def test_an_error_decides_what_is_known_about_the_attempt(error: AIVideoMakerError, failure: Failure) -> None:
    assert classify_error(error) is failure


# --- what follows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "repeatable", "pause"),
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
def test_what_is_known_about_the_attempt_decides_what_follows(
    failure: Failure, repeatable: bool, pause: float | None
) -> None:
    """A lost submit is looked up and never repeated blindly, a refusal is raised, the rest is tried again."""
    retry_after = 30.0 if failure is RATE_LIMITED else None
    assert decide(failure, repeatable, retry_after=retry_after) == pause


@pytest.mark.parametrize(("failure", "repeatable"), [(NEVER_SENT, QUERY), (NEVER_SENT, SUBMIT), (LOST, QUERY)])
def test_nothing_follows_the_last_attempt(failure: Failure, repeatable: bool) -> None:
    assert decide(failure, repeatable, attempt=3) is not None
    assert decide(failure, repeatable, attempt=4) is None


def test_a_429_uses_up_no_attempt() -> None:
    """Waiting is what cures it; only the deadline ends that."""
    assert decide(RATE_LIMITED, QUERY, attempt=1000, retry_after=10.0) == 10.25
    assert decide(RATE_LIMITED, QUERY, attempt=1, retry_after=10.0, time_left=10.0) is None


def test_a_429_without_retry_after_pauses_some_seconds() -> None:
    assert decide(RATE_LIMITED, QUERY) == DEFAULT_RATE_LIMIT_PAUSE_S + 0.25
    assert decide(RATE_LIMITED, QUERY, retry_after=0.0) == 0.25


def test_a_429_that_comes_again_and_again_pauses_ever_longer() -> None:
    """Also with `Retry-After: 0`; where the service asks for more, that holds."""
    pauses = [decide(RATE_LIMITED, SUBMIT, refusals=refusals, retry_after=0.0, random=0.0) for refusals in range(8)]
    assert pauses == [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert decide(RATE_LIMITED, SUBMIT, refusals=8, retry_after=20.0, random=0.0) == 20.0


def test_a_server_error_with_retry_after_is_waited_out() -> None:
    """It holds where it is longer than the backoff."""
    assert decide(LOST, QUERY, retry_after=20.0) == 20.0
    assert decide(LOST, QUERY, retry_after=0.1) == 0.25


@given(policies, st.integers(1, 5000), randoms)
def test_the_backoff_is_drawn_from_zero_to_a_doubling_bound(policy: RetryPolicy, attempt: int, random: float) -> None:
    """Full jitter, with a bound of its own and without overflow."""
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
    st.integers(0, 100),
)
def test_every_pause_ends_after_retry_after_and_before_the_deadline(
    policy: RetryPolicy,
    failure: Failure,
    attempt: int,
    random: float,
    repeatable: bool,
    time_left: float,
    retry_after: float | None,
    refusals: int,
) -> None:
    pause = policy.pause_before_retry(
        failure,
        attempt=attempt,
        random=random,
        repeatable=repeatable,
        time_left=time_left,
        retry_after=retry_after,
        refusals=refusals,
    )
    if pause is not None:
        assert failure is not REFUSED
        assert repeatable or failure is not LOST
        assert (retry_after or 0.0) <= pause < time_left
        assert attempt < policy.max_attempts or failure is RATE_LIMITED


@pytest.mark.parametrize(
    "options", [{"max_attempts": 0}, {"first_pause": 0}, {"longest_pause": float("nan")}, {"grace": -1}]
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        RetryPolicy(**options)


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
def test_retry_after_is_seconds_or_none_when_malformed(value: str | None, seconds: float | None) -> None:
    assert parsed(value) == seconds


def test_a_date_is_measured_against_the_clock_that_wrote_it() -> None:
    """Our clock may be an hour off."""
    assert parsed("Tue, 01 Sep 2026 13:01:00 GMT", "Tue, 01 Sep 2026 13:00:00 GMT") == 60.0


@pytest.mark.parametrize("date", [None, "", "yesterday", "1693"])
def test_without_a_usable_date_a_date_is_measured_against_our_own_clock(date: str | None) -> None:
    """A proxy may drop or mangle the Date header."""
    assert parsed("Tue, 01 Sep 2026 12:01:00 GMT", date) == 60.0


def test_our_own_clock_is_read_only_when_it_is_needed() -> None:
    def unwanted() -> float:
        raise AssertionError

    for value in ("5", "soon", DATE, None):
        parse_retry_after(value, date=DATE, wall_clock=unwanted)


@given(st.text(max_size=60), st.none() | st.text(max_size=60))
def test_any_header_is_seconds_or_none(value: str, date: str | None) -> None:
    seconds = parsed(value, date)
    assert seconds is None or 0 <= seconds < inf


@given(st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_any_date_is_seconds_from_now(at: datetime) -> None:
    """One in the past means now. The date is written by the standard library."""
    at = at.replace(microsecond=0)
    assert parsed(format_datetime(at, usegmt=True)) == pytest.approx(max(0.0, (at - NOW).total_seconds()))
