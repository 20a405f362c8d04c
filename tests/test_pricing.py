from __future__ import annotations

import copy
import pickle
from datetime import date
from typing import Any

import attrs
import pytest

from aivideomaker_async import PRICES_2026_03, LongVideo, PriceTable, TextToVideo, UnknownPrice

SPEC = TextToVideo(prompt="A cat", aspect_ratio="1:1", duration=8)
MINE = PriceTable(revision="mine", published=date(2026, 9, 1), source="an invoice", per_second={"t2v": 3})


def test_a_table_of_one_s_own_decides_the_price() -> None:
    """By seconds of video."""
    assert SPEC.credits() == 8
    assert SPEC.credits(MINE) == SPEC.credits(prices=MINE) == MINE.credits(SPEC) == 24


def test_a_model_without_a_price_is_an_error() -> None:
    """That names the model and the table; it is a LookupError too."""
    with pytest.raises(UnknownPrice, match="the price table mine has no price for the model 'lv'") as caught:
        LongVideo(image="https://example.com/a.png", prompts=("a",)).credits(MINE)
    assert (caught.value.model, caught.value.revision) == ("lv", "mine")
    assert isinstance(caught.value, LookupError)


def test_the_default_is_dated_data() -> None:
    """It says when it was true and who said so."""
    assert PRICES_2026_03.published == date(2026, 3, 19)
    assert PRICES_2026_03.source.startswith("https://aivideomaker.ai")
    assert dict(PRICES_2026_03.per_second) == {"t2v": 1, "i2v": 1, "lv": 15, "t2v_v3": 10, "i2v_v3": 10}


def test_a_table_does_not_change() -> None:
    """Neither its fields nor its prices, nor with the mapping that it was made of."""
    prices = {"t2v": 3}
    table = PriceTable(revision="mine", published=date(2026, 9, 1), source="", per_second=prices)
    prices["t2v"] = 99
    assert table.credits(SPEC) == 24
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        table.revision = "other"  # type: ignore[misc]
    rates: Any = table.per_second
    with pytest.raises(TypeError):
        rates["t2v"] = 99


@pytest.mark.parametrize("table", [PRICES_2026_03, MINE])
def test_a_table_survives_pickle_and_copy(table: PriceTable) -> None:
    """On its way to a worker process; equal tables hash alike."""
    for twin in (pickle.loads(pickle.dumps(table)), copy.copy(table), copy.deepcopy(table)):  # noqa: S301
        assert twin == table
        assert hash(twin) == hash(table)
        assert twin.credits(SPEC) == table.credits(SPEC)
