"""What follows each kind of trouble, once and lasting: the table that docs/errors.md shows, walked cell by cell."""

from __future__ import annotations

from math import inf

import pytest

from tests.support.trouble import DOCS, TABLE, follow, with_table

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


@pytest.mark.parametrize(("activity", "trouble"), TABLE)
async def test_what_follows_a_trouble_is_as_the_table_says(activity: str, trouble: str) -> None:
    cell = TABLE[activity, trouble]
    end, _, _ = await follow(activity, trouble, times=1)
    assert end == cell.once
    end, attempts, seconds = await follow(activity, trouble, times=inf)
    # The deadline may also pass while a 429 of another call is waited out.
    assert end == cell.ends or {end, cell.ends} == {"RateLimited", "RequestTimeout"}
    assert attempts == cell.attempts if cell.attempts is not None else attempts > 10
    # Pauses are drawn at random.
    assert cell.seconds / 2 - 1 <= seconds <= 1.3 * cell.seconds + 2


async def test_the_docs_show_the_table() -> None:
    """`python -m tests.support.trouble` writes it anew."""
    text = DOCS.read_text()
    assert text == with_table(text)
