"""The rules by themselves, and the problems that they report."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import InvalidSpec
from aivideomaker_async.errors import FieldProblem
from aivideomaker_async.specs.validators import (
    LONG_TEXT_CHARACTERS,
    Rule,
    boolean,
    check_extra,
    check_fields,
    check_model_name,
    image,
    list_of,
    one_of,
    one_or_more,
    optional,
    replace_long_texts,
    text,
    texts_in,
    web_url,
    whole_number,
)
from tests.support.pictures import PNG, data_uri

URL = "https://example.com/a.png"
URI = data_uri(PNG)


def problems_of(rule: Rule, value: object) -> list[tuple[str, str, str]]:
    return [(problem.field, problem.value, problem.allowed) for problem in rule.problems("x", value)]


ALL: dict[str, tuple[Rule, list[Any], list[Any], str]] = {
    "text": (text, ["a", " a ", "é💥"], ["", " ", None, 5, b"a"], "a text that is not blank"),
    "boolean": (boolean, [True, False], [0, 1, None, "true"], "True or False"),
    "one_of": (one_of(5, 8, unit="seconds"), [5, 8], [5.0, True, "5", None, 6, [5]], "5 or 8 (seconds)"),
    "one_of texts": (one_of("a", "b"), ["a", "b"], ["A", "", None, ("a",), b"a"], "'a' or 'b'"),
    "one": (one_of(1), [1], [True, 1.0], "1"),
    "whole_number": (
        whole_number(3, 5, unit="seconds"),
        [3, 4, 5],
        [2, 6, 3.0, True, "3", None],
        "a whole number from 3 to 5 (seconds)",
    ),
    "list_of": (
        list_of(text, at_most=2, of="texts"),
        [("a",), ("a", "b")],
        ["a", ["a"], None, 5],
        "a list of 1 to 2 texts",
    ),
    "web_url": (
        web_url,
        [URL, "http://example.com"],
        [
            *(URI, "", "a.mp4", "/a.mp4", "ftp://example.com/a.mp4", "https://", f"{URL} ", "\ud800"),
            *(b"a", None, 5, True, [URL], {URL}, Path("a.mp4"), io.BytesIO(b"film")),
        ],
        "a public http(s) URL (the service fetches videos and sounds, and takes no data)",
    ),
    "images": (
        list_of(image, at_most=2, at_least=0, of="images"),
        [(), (URL,), (PNG, URI)],
        [[URL], URL, None, PNG],
        "a list of at most 2 images",
    ),
}


@pytest.mark.parametrize("name", ALL)
def test_a_rule_reports_wrong_values_with_what_is_allowed(name: str) -> None:
    """In its own words; and nothing about allowed values."""
    rule, right, wrong, allowed = ALL[name]
    assert rule.allowed == allowed
    for value in right:
        assert problems_of(rule, value) == []
    for value in wrong:
        ((of, shown, words),) = problems_of(rule, value)
        assert (of, words) == ("x", allowed)
        assert shown


@pytest.mark.parametrize("name", ALL)
def test_an_optional_value_may_be_none(name: str) -> None:
    """And nothing else that the rule refuses."""
    rule, right, wrong, allowed = ALL[name]
    loose = optional(rule)
    assert loose.allowed == f"{allowed}, or None"
    for value in (None, *right):
        assert problems_of(loose, value) == []
    for value in wrong:
        if value is not None:
            assert [words for _, _, words in problems_of(loose, value)] == [f"{allowed}, or None"]


def test_an_item_of_an_optional_list_cannot_be_none() -> None:
    """The list may be None, and its values may not."""
    rule = optional(list_of(text, at_most=3, of="texts"))
    assert problems_of(rule, None) == []
    assert problems_of(rule, ("a", None)) == [("x[1]", "None", "a text that is not blank")]


def test_one_or_more_allows_a_value_or_a_list() -> None:
    """The message for a wrong single value mentions the list as well."""
    rule = one_or_more(text)
    assert problems_of(rule, "a") == problems_of(rule, ("a", "b")) == []
    allowed = "a text that is not blank; or a list of these that is not empty"
    assert rule.allowed == allowed
    assert problems_of(rule, 5) == [("x", "5", allowed)]
    assert problems_of(rule, ()) == [("x", "<an empty list>", allowed)]
    assert problems_of(rule, ("a", 5)) == [("x[1]", "5", "a text that is not blank")]
    assert problems_of(rule, ["a"]) == [("x", "['a']", allowed)]


def test_a_list_that_is_too_long_is_reported_by_its_length() -> None:
    """Its values are checked up to the greatest length."""
    rule = list_of(text, at_most=2, of="texts")
    assert problems_of(rule, ("a",) * 1000) == [("x", "<1000 texts>", "a list of 1 to 2 texts")]
    assert [of for of, _, _ in problems_of(rule, (5,) * 1000)] == ["x", "x[0]", "x[1]"]
    assert problems_of(rule, ()) == [("x", "<0 texts>", "a list of 1 to 2 texts")]


@pytest.mark.parametrize("value", ["\ud800", "a\udfff" * 3])
def test_a_text_that_cannot_be_written_is_refused(value: str) -> None:
    """A lone surrogate has no UTF-8."""
    assert [words for _, _, words in problems_of(text, value)] == ["a text without lone surrogates"]


@pytest.mark.parametrize("name", [".", ".."])
def test_a_step_in_a_path_is_not_a_model(name: str) -> None:
    """Quoted or not."""
    assert list(check_model_name("model", name)) == [FieldProblem("model", repr(name), "the name of a model")]
    assert list(check_model_name("model", "t2v")) == []


BASE64 = URI.partition(",")[2].replace("=", "")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [URI, BASE64, PNG, [BASE64], {BASE64: 1}, {"a": [URI]}, "https://a.b/c?sig=SECRET"])
def test_no_rule_shows_what_is_private(name: str, value: object) -> None:
    """Of any value, also of an image that has lost its head."""
    for _, shown, words in problems_of(ALL[name][0], value):
        assert not [secret for secret in ("iVBOR", "PNG", "SECRET") if secret in shown + words]


@given(st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers()) | st.just(10**5000))
def test_any_value_is_right_or_wrong(value: object) -> None:
    """Nothing is raised."""
    for rule in (image, *(rule for rule, *_ in ALL.values())):
        for _, shown, _ in problems_of(rule, value):
            assert len(shown) < 600


# --- further fields, and JSON ------------------------------------------------------------------------


def test_extra_fields_have_names_and_values_that_can_be_written() -> None:
    """Each that is wrong is reported."""
    wrong: dict[Any, Any] = {
        5: 1,
        "": 1,
        "\ud800": 1,
        "taken": 1,
        "bytes": b"a",
        "nan": float("nan"),
        "fine": [None, {"a": 1.5}],
    }
    found = [(problem.field, problem.value) for problem in check_extra("extra", wrong, taken=["taken"])]
    assert found == [
        ("extra", "5"),
        ("extra", "''"),
        ("extra", "'\\ud800'"),
        ("extra['taken']", "1"),
        ("extra['bytes']", "'<1 bytes>'"),
        ("extra['nan']", "nan"),
    ]
    assert [problem.allowed for problem in check_extra("extra", [("a", 1)], taken=())] == [
        "a mapping of wire names to JSON values"
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, True, 0.5, "é", {"b": ()}]}, True),
        ("a" * (LONG_TEXT_CHARACTERS + 1), True),
        ("é" * (LONG_TEXT_CHARACTERS + 1), True),
        ("\ud800" * (LONG_TEXT_CHARACTERS + 1), False),
        ("\ud800", False),
        ({"\ud800": 1}, False),
        ([{"b": "\udfff"}], False),
        (float("inf"), False),
        (b"a", False),
        ({1, 2}, False),
        (object(), False),
    ],
)
def test_values_are_those_of_json_in_utf_8(value: object, expected: bool) -> None:
    assert (list(check_extra("extra", {"a": value}, taken=())) == []) is expected


def test_endless_nesting_is_not_json() -> None:
    """A list in itself, and one that is too deep."""
    endless: list[object] = []
    endless.append(endless)
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    found = check_extra("extra", {"endless": endless, "deep": deep}, taken=())
    assert [problem.field for problem in found] == ["extra['endless']", "extra['deep']"]


def test_long_texts_are_found_wherever_they_stand() -> None:
    """And nothing else is changed."""
    long = "a" * (LONG_TEXT_CHARACTERS + 1)
    value = {"a": long, "b": [long[1:], ("c", long)], long: 5}
    assert replace_long_texts(value, len) == {"a": len(long), "b": [long[1:], ["c", len(long)]], long: 5}
    assert sorted(texts_in(value)) == sorted(["c", long[1:], long, long])
    assert list(texts_in(5)) == []


# --- all rules of a class ----------------------------------------------------------------------------


@frozen
class Thing:
    """Two fields with rules, and one without."""

    one: object = field(metadata={"rule": text})
    two: object = field(metadata={"rule": list_of(text, at_most=100, of="texts")})
    other: object = None


def test_all_rules_of_a_class_are_applied() -> None:
    """In the order of its fields; problems of their combination come last."""
    more = FieldProblem("other", "None", "something")
    check_fields(Thing("a", ("b",)), iter(()))
    with pytest.raises(InvalidSpec) as caught:
        check_fields(Thing("", (5,)), iter([more]))
    assert [problem.field for problem in caught.value.problems] == ["one", "two[0]", "other"]
    assert caught.value.spec == "Thing"


def test_a_limited_number_of_problems_is_reported() -> None:
    """A list of a million wrong values is not checked to its end."""
    looked = 0

    def endless() -> Iterator[FieldProblem]:
        nonlocal looked
        while True:
            looked += 1
            yield FieldProblem("other", "None", "something")

    with pytest.raises(InvalidSpec) as caught:
        check_fields(Thing("", (5, 5)), endless())
    assert len(caught.value.problems) == 12
    assert looked < 12
