from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aivideomaker_async.simulator.kinds import (
    Choice,
    Flag,
    Image,
    Kind,
    Number,
    OneOrSeveral,
    Several,
    Text,
    WebUrl,
    echo,
    holds_images,
)

URL = "https://example.com/a"
KINDS: list[Kind] = [
    Text(),
    Text(blank=True),
    Choice(("5", "8")),
    Choice((480, 720)),
    Flag(),
    Number(4, 15),
    Number(5, 20, whole=True),
    Several(Text(blank=True), most=2),
    Several(Text(blank=True), most=3, least=1),
    Several(Image(), most=None),
    OneOrSeveral(),
    Image(),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=6,
)
LIKELY = st.sampled_from(
    ["5", "8", 480, 720.0, 5, 5.0, 4.5, 4, 15, 16, 20, 21, True, "", " ", URL, [], ["a"], [URL, "b"]]
)


@pytest.mark.parametrize("kind", KINDS, ids=repr)
@given(value=JSON | LIKELY)
def test_a_kind_takes_what_its_schema_allows_and_nothing_else(kind: Kind, value: Any) -> None:
    allowed = Draft202012Validator(kind.schema()).is_valid(value)
    assert (kind.problem(value) is None) == allowed


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (Text(), 5, "must be a string, got 5"),
        (Text(), " ", "must not be empty"),
        (Choice((480, 720)), "480", 'must be one of 480, 720, got "480"'),
        (Choice((1, 2)), True, "must be one of 1, 2, got true"),
        (Flag(), "true", 'must be a boolean, got "true"'),
        (Number(4, 15), "5", 'must be a number from 4 to 15, got "5"'),
        (Number(4, 15), 15.5, "must be a number from 4 to 15, got 15.5"),
        (Number(5, 20, whole=True), 5.5, "must be an integer from 5 to 20, got 5.5"),
        (Number(5, 20, whole=True), True, "must be an integer from 5 to 20, got true"),
        (WebUrl(), "data:video/mp4;base64,AAAA", 'must be a public http(s) URL, got "data:video/mp4;base64,AAAA"'),
        (WebUrl(), None, "must be a public http(s) URL, got null"),
        (Several(WebUrl(), most=2), URL, f'must be a list of strings, got "{URL}"'),
        (Several(WebUrl(), most=2), [URL] * 3, "must have 0 to 2 items, got 3"),
        (Several(WebUrl(), most=2), [URL, 5], "[1] must be a public http(s) URL, got 5"),
        (OneOrSeveral(), 5, "must be a string or a list of strings, got 5"),
        (OneOrSeveral(), [URL, None], "[1] must be a string, got null"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_allowed(kind: Kind, value: object, problem: str) -> None:
    assert kind.problem(value) == problem


def test_a_url_is_all_that_a_video_may_be() -> None:
    assert WebUrl().problem(URL) is None
    assert WebUrl().schema()["format"] == "uri"


def test_a_long_value_is_cut_short() -> None:
    assert echo("x" * 100) == '"' + "x" * 59 + "…"


def test_images_stand_alone_or_in_lists() -> None:
    holding = [kind for kind in KINDS if holds_images(kind)]
    assert holding == [Several(Image(), most=None), OneOrSeveral(), Image()]
