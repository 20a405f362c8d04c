from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aivideomaker_async._http.extent import Extent
from tests.support.lists import cuts, values

wholes = st.lists(values, max_size=5) | st.dictionaries(st.text(max_size=5), values, max_size=5) | st.text(max_size=30)


def pieces_of(text: str, places: list[int]) -> list[str]:
    ends = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


def end_of(pieces: list[str], start: int = 0) -> tuple[int, int] | None:
    """In which piece the value is found to end, and how many characters have come by then; None: in none."""
    extent = Extent()
    for number, piece in enumerate(pieces):
        if extent.ends_in(piece, 0 if number else start):
            return number, extent.length
    return None


@given(wholes, st.booleans(), st.sampled_from(["", ",", "]}", ' "x"', "\\", "[[["]), cuts)
@example(["\\", '"', '\\"'], False, "", list(range(40)))
@settings(max_examples=100, deadline=None)
def test_a_value_ends_in_the_piece_that_it_ends_in(
    value: object, ascii_only: bool, behind: str, places: list[int]
) -> None:
    """However it is cut, whatever its texts hold, and whatever comes behind it."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    pieces = pieces_of(text + behind, places)
    found = end_of(pieces)
    assert found is not None
    number, length = found
    assert len("".join(pieces[:number])) < len(text) <= len("".join(pieces[: number + 1])) == length


@given(wholes, cuts)
@settings(max_examples=25, deadline=None)
def test_a_value_that_breaks_off_has_no_end(value: object, places: list[int]) -> None:
    """At whatever place it does."""
    text = json.dumps(value)
    for end in range(len(text)):
        assert end_of(pieces_of(text[:end], places)) is None


def test_a_value_may_begin_in_the_middle_of_a_piece() -> None:
    """What stands before it does not count."""
    assert end_of(['}]"\\', "x"], 2) is None
    assert end_of(['}]"\\', '""]'], 2) == (1, 5)
    assert end_of(["]]]{", "}"], 3) == (1, 2)


@pytest.mark.parametrize(
    ("text", "marks"), [("[]", 1), ('"a"', 1), ('["a", {"b": [1, 2]}]', 7), ('["[{,"]', 2), ('["\\",,,"]', 2)]
)
def test_what_costs_the_decoder_time_is_counted(text: str, marks: int) -> None:
    """Brackets that open, commas and texts; not what stands in a text."""
    extent = Extent()
    assert extent.ends_in(text)
    assert extent.marks == marks


@given(st.text(alphabet='{}[]",\\x', max_size=60), cuts)
def test_nonsense_ends_or_does_not(text: str, places: list[int]) -> None:
    """What is no JSON is no mistake here."""
    end_of(["[", *pieces_of(text, places)])
