from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._http.sizes import LIST, SMALL, TASK, Size, marks
from tests.support.lists import values
from tests.support.pictures import PNG, data_uri


def count(value: object) -> int:
    """The values in a value, with itself."""
    if isinstance(value, dict):
        return 1 + sum(count(item) for item in value.values())
    return 1 + sum(count(item) for item in value) if isinstance(value, list) else 1


@given(values | st.lists(st.lists(st.just({})), max_size=20))
def test_no_json_has_more_values_than_marks_and_one(value: object) -> None:
    """However it is nested and laid out; in bytes as in a text."""
    for layout in ({}, {"indent": 1}, {"separators": (",", ":")}):
        text = json.dumps(value, **layout)
        assert count(value) <= marks(text) + 1
        assert marks(text) == marks(text.encode()) == marks(bytearray(text.encode()))


def test_an_image_has_no_marks_but_its_own() -> None:
    """However large it is, it is one value."""
    assert marks(data_uri(PNG * 1000)) == 1


@pytest.mark.parametrize(
    ("size", "answer", "times"),
    [
        (SMALL, {"status": "SUBMITTED", "taskId": "x" * 1000, "supportedModels": ["model"] * 1000}, 1),
        (TASK, {"input": {"prompt": ["A cat, a dog, " * 100] * 6, "image": "x" * 27_000_000}}, 1),
        (
            LIST,
            {"id": "x" * 25, "input": {"prompt": "A cat, " * 20}, "output": {"url": "x" * 200}, "n": [0] * 8},
            10**5,
        ),
    ],
)
def test_what_a_service_has_to_tell_fits(size: Size, answer: object, times: int) -> None:
    """With room to spare: 100,000 tasks with prompts full of commas, or one with an image of 20 MB."""
    body = json.dumps(answer)
    assert len(body) * times < size.bytes
    assert marks(body) * times < size.marks
