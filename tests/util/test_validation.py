from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from aivideomaker_async import ConfigurationError
from aivideomaker_async._redaction import Secret
from aivideomaker_async._util import validation

HUGE = pytest.param(10**400, id="huge")


@pytest.mark.parametrize("value", [1, 2, 60, HUGE])
def test_a_count_is_a_whole_number_from_1(value: int) -> None:
    assert validation.count("limit", value) == value


@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, "5", None, nan, inf, [1]])
def test_any_other_count_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        validation.count("limit", value)
    assert str(caught.value) == f"limit={value!r}: must be a whole number, 1 or more"


@pytest.mark.parametrize("value", [0, 1, 100, HUGE])
def test_an_amount_is_a_whole_number_from_0(value: int) -> None:
    assert validation.amount("max_credits", value) == value


@pytest.mark.parametrize("value", [-1, 1.0, True, "5", None, nan])
def test_any_other_amount_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        validation.amount("max_credits", value)
    assert str(caught.value) == f"max_credits={value!r}: must be a whole number of credits, 0 or more"


@pytest.mark.parametrize("value", [0.001, 1, 30.0, 1e9])
def test_seconds_are_finite_and_more_than_0(value: float) -> None:
    assert validation.seconds("timeout", value) == value
    assert type(validation.seconds("timeout", value)) is float


@pytest.mark.parametrize("value", [0, -1, -0.0, nan, inf, -inf, True, "30", None, HUGE])
def test_any_other_seconds_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        validation.seconds("timeout", value)
    assert str(caught.value) == f"timeout={value!r}: must be seconds, more than 0"


@pytest.mark.parametrize("value", [0, 0.0, 1, 3600.0, inf])
def test_seconds_of_a_wait_may_be_0_or_infinite(value: float) -> None:
    assert validation.seconds_or_inf("timeout", value) == value
    assert type(validation.seconds_or_inf("timeout", value)) is float


@pytest.mark.parametrize("value", [-1, -inf, nan, True, "30", None, HUGE])
def test_any_other_seconds_of_a_wait_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        validation.seconds_or_inf("timeout", value)
    assert str(caught.value) == f"timeout={value!r}: must be seconds, 0 or more (math.inf for no limit)"


@pytest.mark.parametrize("value", ["x", "...", "a/b", " ", "ключ", "\n", "x" * 10_000])
def test_nearly_any_text_can_be_a_task_id(value: str) -> None:
    assert validation.is_task_id(value)
    assert validation.task_id(value) == value


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800", "a\udfff", 17, None, b"x", ["x"]])
def test_a_task_id_must_survive_in_a_path(value: object) -> None:
    assert not validation.is_task_id(value)
    with pytest.raises(ConfigurationError, match=r"task_id=.*: must be a text that is not empty, not '.' or '..'"):
        validation.task_id(value)


@pytest.mark.parametrize("value", ["ak_123", "  ak_123\n", "abcd", "!~#$"])
def test_an_api_key_is_taken_without_the_space_around_it(value: str) -> None:
    """Keys that are read from files or shells have some."""
    secret = validation.api_key(Secret(value))
    assert secret.reveal() == value.strip()
    assert value.strip() not in repr(secret)


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_missing_api_key_is_an_error_that_says_how_to_pass_one(value: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"api_key=.*AIVIDEO_API_KEY.*https://aivideomaker\.ai"):
        validation.api_key(None if value is None else Secret(value))


@pytest.mark.parametrize(
    "value", ["ak_SECRET 1", "ak_SECRET\r\nx: y", "ak_SECRETключ", "ak_SECRET\x00", "ak_\tSECRET", 5, b"ak_SECRET"]
)
def test_a_malformed_api_key_is_refused_and_not_shown(value: Any) -> None:
    """It may be right but for one character."""
    with pytest.raises(ConfigurationError) as caught:
        validation.api_key(Secret(value))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("value", [b"ak_SECRET", ["ak_SECRET"], 5, False])
def test_an_api_key_that_is_not_a_text_is_an_error_that_names_its_type(value: Any) -> None:
    """False is not a missing key."""
    with pytest.raises(ConfigurationError) as caught:
        validation.api_key(Secret(value))
    assert str(caught.value) == f"api_key: must be a text, not {type(value).__name__}"
