from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._util.http_dates import parse_http_date

MOMENT = datetime(2026, 9, 1, 12, 0, 42, tzinfo=UTC).timestamp()


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the local time of this process differ from UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


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
def test_every_form_of_an_http_date_is_parsed(value: str) -> None:
    """Also the obsolete ones. A date without a zone is UTC, whatever the local time."""
    assert parse_http_date(value) == MOMENT


@pytest.mark.parametrize(
    "value", [None, "", "1693", "yesterday", "Tue, 99 Foo 2026 99:99:99 GMT", "Tue, 01 Sep 99999 12:00:42 GMT", "\x00"]
)
def test_a_missing_or_malformed_date_is_none(value: str | None) -> None:
    assert parse_http_date(value) is None


@given(st.text(max_size=60))
def test_any_text_is_a_moment_or_none(value: str) -> None:
    assert isinstance(parse_http_date(value), float | None)


@given(st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_any_date_of_the_standard_library_is_parsed(at: datetime) -> None:
    at = at.replace(microsecond=0)
    assert parse_http_date(format_datetime(at, usegmt=True)) == at.timestamp()
