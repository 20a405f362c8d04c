"""The soak in small, and that its books would tell."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from attrs import evolve

from benchmarks import soak
from benchmarks.soak import Books, Extent


@pytest.fixture(scope="module")
def books() -> list[Books]:
    return soak.measure(Extent(submits=60, at_once=30, outages=0))


def test_the_books_agree(books: list[Books]) -> None:
    assert [one.keys for one in books] == ["ignored", "kept"]
    for one in books:
        assert one.faultless, one
        assert one.submits == 60
        assert one.created == one.handles + one.unknown_created > 40


@pytest.mark.parametrize(
    "change",
    [
        {"created": 61},
        {"credits_charged": 0},
        {"budget_spent": 1},
        {"budget_reserved": 5},
        {"duplicates": 1},
        {"unaccounted": 1},
        {"wrong_ends": 1},
        {"hangs": 1},
        {"tasks_left": 1},
        {"connections_left": 1},
        {"descriptors_left": 1},
        {"objects_left": 1_000_000},
    ],
)
def test_what_is_wrong_is_told(books: list[Books], change: dict[str, Any]) -> None:
    assert not evolve(books[0], **change).faultless


def test_the_report_has_a_column_for_each_service(books: list[Books]) -> None:
    text = str(soak.report(books))
    assert "| 2026-03, keys ignored | 2026-09, keys kept |" in text
    assert f"{books[0].created:,}" in text


def test_more_tasks_of_an_order_than_submits_are_duplicates() -> None:
    """Whoever of equal ones has got which."""
    assert soak._beyond(Counter(fox=3, whale=1), Counter(fox=2, whale=4, owl=1)) == 1
