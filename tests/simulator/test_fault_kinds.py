import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import attrs
import pytest

from aivideomaker_async.simulator.fault_kinds import KINDS, Details, FaultDetails, FaultKind, kind_named

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_every_kind_is_described_as_data() -> None:
    assert tuple(KINDS) == get_args(FaultKind)
    names = set(get_type_hints(FaultDetails))
    assert names == {field.name for field in attrs.fields(Details)}
    for kind in KINDS.values():
        assert set(kind.required) <= set(kind.takes) <= names


def test_every_kind_and_detail_is_in_the_tables_of_the_page() -> None:
    """With its defaults, where they are written as values."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {name: re.findall(r"`(\w+)(?:=([^`]*))?`", details) for name, details in rows if name in KINDS}
    assert tuple(told) == tuple(KINDS)
    for name, kind in KINDS.items():
        assert {detail for detail, _ in told[name]} == set(kind.takes), name
        for detail, value in told[name]:
            if value:
                assert str(getattr(kind.defaults, detail)) == value.replace("_", ""), (name, detail)


@pytest.mark.parametrize("name", ["drops", "", None, 5, "Drop"])
def test_an_unknown_kind_is_answered_with_all_there_are(name: object) -> None:
    with pytest.raises(ValueError, match=rf"the kind of a fault must be one of drop, reset.*got {name!r}"):
        kind_named(name)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("drop", {"status": 500}, "of the kind drop takes only acted, got status"),
        ("changed", {"acted": True}, "of the kind changed takes no details, got acted"),
        ("slow", {}, "of the kind slow needs seconds"),
        ("redirect", {}, "of the kind redirect needs location"),
        ("drop", {"acted": 1}, "acted must be True or False, got 1"),
        ("slow", {"seconds": -1}, "seconds must be a number of at least 0, got -1"),
        ("slow", {"seconds": float("nan")}, "seconds must be a number of at least 0, got nan"),
        ("slow", {"seconds": float("inf")}, "seconds must be a number of at least 0, got inf"),
        ("slow", {"seconds": "1"}, "seconds must be a number of at least 0, got '1'"),
        ("slow", {"seconds": True}, "seconds must be a number of at least 0, got True"),
        ("status", {"status": 199}, "status must be from 200 to 599, got 199"),
        ("status", {"status": 600}, "status must be from 200 to 599, got 600"),
        ("status", {"status": "500"}, "status must be a whole number of at least 0, got '500'"),
        ("redirect", {"location": "/", "status": 200}, "status must be one of 301, 302, 303, 307, 308, got 200"),
        ("redirect", {"location": "/\r\nx: y"}, r"location must be a text of printable ASCII characters, got '/\\r"),
        ("redirect", {"location": ""}, "location must be a text of printable"),
        ("rate_limit", {"retry_after": "s\x00"}, "retry_after must be a text of printable"),
        ("rate_limit", {"retry_after": -1}, "retry_after must be a number of at least 0, got -1"),
        ("rate_limit", {"retry_after": datetime(2026, 1, 1)}, "retry_after must be a datetime with a time zone"),  # noqa: DTZ001
        ("garbage", {"size": 0}, "size must be a whole number of at least 1, got 0"),
        ("garbage", {"size": 1.5}, "size must be a whole number of at least 1, got 1.5"),
        ("deep_json", {"depth": True}, "depth must be a whole number of at least 1, got True"),
        ("wrong_length", {"by": 0}, "by must be a whole number other than 0, got 0"),
        ("wrong_length", {"by": 1.0}, "by must be a whole number other than 0, got 1.0"),
        ("status", {"body": 5}, "body must be a text, bytes or a dict for JSON, got 5"),
        ("status", {"body": {"x": object}}, "body must be what JSON can hold"),
    ],
)
def test_a_wrong_detail_is_named_with_what_is_allowed(kind: str, given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KINDS[kind].details(kind, given)


def test_right_details_are_taken_and_others_have_defaults() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    given: FaultDetails = {"status": 503, "body": {"a": [1]}, "retry_after": moment, "acted": True}
    assert KINDS["status"].details("status", given) == Details(**given)
    assert KINDS["status"].details("status", {}) == Details(status=500)
    assert KINDS["rate_limit"].details("rate_limit", {"retry_after": None}) == Details(status=429)
    assert KINDS["slow"].details("slow", {"seconds": 0}) == Details(acted=True, seconds=0)
