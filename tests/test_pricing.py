from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import (
    PRICES_2026_03,
    PRICES_2026_09,
    ConfigurationError,
    HappyHorse,
    ImageToVideo,
    ImageToVideoV3,
    LongVideo,
    MiniMaxH3,
    OtherModel,
    Price,
    PriceTable,
    Quote,
    Seedance20,
    TextToVideo,
    TextToVideoV3,
    UnknownPrice,
    VideoSpec,
    Wan27,
)
from tests.support.pictures import PNG, data_uri

URL = "https://example.com/a.png"
SPEC = TextToVideo(prompt="A cat", aspect_ratio="1:1", duration=8)


def table_of(per_second: Any, **changed: Any) -> PriceTable:
    fields = {"revision": "mine", "published": date(2026, 9, 1), "source": "an invoice", "per_second": per_second}
    return PriceTable(**{**fields, **changed})


MINE = table_of({"t2v": 3})


def made(model: Callable[..., VideoSpec], **fields: Any) -> VideoSpec:
    """Make a spec from values of a table, which type checkers do not know."""
    spec: VideoSpec = model(**fields)
    return spec


# --- documented prices -------------------------------------------------------------------------------

WORDS: dict[str, Any] = {"prompt": "A cat", "aspect_ratio": "1:1"}
IN_2026_03: list[tuple[VideoSpec, int]] = [
    *((made(TextToVideo, **WORDS, duration=seconds), credits_) for seconds, credits_ in {5: 5, 8: 8}.items()),
    *((made(ImageToVideo, image=URL, duration=seconds), credits_) for seconds, credits_ in {5: 5, 8: 8}.items()),
    *(
        (LongVideo(image=URL, prompts=["A cat"] * prompts), credits_)
        for prompts, credits_ in {1: 75, 2: 150, 3: 225, 4: 300, 5: 375, 6: 450}.items()
    ),
    *(
        (spec, credits_)
        for seconds, credits_ in {5: 50, 10: 100, 15: 150, 20: 200}.items()
        for spec in (made(TextToVideoV3, **WORDS, duration=seconds), made(ImageToVideoV3, image=URL, duration=seconds))
    ),
]
PER_SECOND: list[tuple[Literal["720p", "1080p"], Literal["turbo", "base"], int]] = [
    ("720p", "turbo", 3),
    ("720p", "base", 4),
    ("1080p", "turbo", 4),
    ("1080p", "base", 5),
]
WITH_WAN: list[tuple[Literal["720p", "1080p"], int, int]] = [
    ("720p", 5, 50),
    ("720p", 10, 100),
    ("720p", 15, 150),
    ("1080p", 5, 75),
    ("1080p", 10, 150),
    ("1080p", 15, 225),
]
IN_2026_09: list[tuple[VideoSpec, int]] = [
    *((made(TextToVideo, **WORDS, duration=seconds), credits_) for seconds, credits_ in {5: 15, 8: 24}.items()),
    *((made(ImageToVideo, image=URL, duration=seconds), credits_) for seconds, credits_ in {5: 15, 8: 24}.items()),
    *(
        (spec, credits_)
        for seconds, credits_ in {5: 20, 10: 40, 15: 60, 20: 80}.items()
        for spec in (made(TextToVideoV3, **WORDS, duration=seconds), made(ImageToVideoV3, image=URL, duration=seconds))
    ),
    *(
        (MiniMaxH3(prompt="A cat", duration=seconds, resolution=resolution, tier=tier), seconds * rate)
        for seconds in range(5, 21)
        for resolution, tier, rate in PER_SECOND
    ),
    *(
        (made(Wan27, prompt="A cat", duration=seconds, resolution=resolution), credits_)
        for resolution, seconds, credits_ in WITH_WAN
    ),
    *((HappyHorse(prompt="A cat", duration=seconds, resolution="720p"), 25 * seconds) for seconds in range(3, 16)),
    *((HappyHorse(prompt="A cat", duration=seconds, resolution="1080p"), 50 * seconds) for seconds in range(3, 16)),
]


@pytest.mark.parametrize(
    ("prices", "documented"), [(PRICES_2026_03, IN_2026_03), (PRICES_2026_09, IN_2026_09)], ids=["2026-03", "2026-09"]
)
def test_the_tables_have_every_documented_price(prices: PriceTable, documented: list[tuple[VideoSpec, int]]) -> None:
    """For each value that the price of a model depends on; and no price of any other model."""
    for spec, credits_ in documented:
        assert spec.credits(prices) == prices.credits(spec) == credits_, spec
    assert {spec.model for spec, _ in documented} == set(prices.per_second)


def test_omitted_fields_have_the_cheapest_value() -> None:
    """The defaults of the service: 720p and turbo."""
    assert MiniMaxH3(prompt="A cat").credits() == 15
    assert Wan27(prompt="A cat", duration=5).credits() == 50
    assert HappyHorse(prompt="A cat", duration=5).credits() == 125


def test_the_default_table_is_that_of_2026_03_and_for_younger_models_that_of_2026_09() -> None:
    for spec, credits_ in IN_2026_03:
        assert spec.credits() == credits_
    for spec, credits_ in IN_2026_09:
        if isinstance(spec, MiniMaxH3 | Wan27 | HappyHorse):
            assert spec.credits() == credits_


@pytest.mark.parametrize(
    ("prices", "spec"),
    [
        (PRICES_2026_03, MiniMaxH3(prompt="A cat")),
        (PRICES_2026_03, Seedance20(prompt="A cat", duration=5, resolution="480p", aspect_ratio="1:1")),
        (PRICES_2026_03, Wan27(prompt="A cat", duration=5)),
        (PRICES_2026_03, HappyHorse(prompt="A cat", duration=5)),
        (PRICES_2026_09, LongVideo(image=URL, prompts=["A cat"])),
        (MINE, LongVideo(image=URL, prompts=["A cat"])),
    ],
)
def test_a_model_without_a_price_is_an_error_that_names_model_and_table(prices: PriceTable, spec: VideoSpec) -> None:
    with pytest.raises(UnknownPrice) as caught:
        spec.credits(prices)
    assert str(caught.value) == f"the price table {prices.revision} has no price for the model {spec.model!r}"
    assert (caught.value.model, caught.value.revision) == (spec.model, prices.revision)
    assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize("prices", [None, PRICES_2026_09])
def test_a_price_that_only_a_quote_can_give_is_an_error_that_says_so(prices: PriceTable | None) -> None:
    spec = Seedance20(prompt="A cat", duration=4, resolution="480p", aspect_ratio="1:1")
    with pytest.raises(UnknownPrice, match=r"2026-09 .* 'seedance20': ask the service for a quote"):
        spec.credits(prices)


def test_the_tables_have_a_date_and_a_source() -> None:
    assert (PRICES_2026_03.revision, PRICES_2026_03.published) == ("2026-03", date(2026, 3, 19))
    assert (PRICES_2026_09.revision, PRICES_2026_09.published) == ("2026-09", date(2026, 9, 1))
    for table in (PRICES_2026_03, PRICES_2026_09):
        assert table.source.startswith("https://aivideomaker.ai")


# --- tables of the user ------------------------------------------------------------------------------


def test_a_table_of_the_user_decides_the_price() -> None:
    assert SPEC.credits() == 8
    assert SPEC.credits(MINE) == SPEC.credits(prices=MINE) == MINE.credits(SPEC) == 24


NESTED = table_of(
    {"minimax": {"resolution": {"720p": 2, "1080p": 7}, "tier": {"turbo": 0}}, "wan27": {"prompt_extend": {True: 1}}},
    only_quoted=["happyhorse"],
)


def test_a_price_may_depend_on_any_fields() -> None:
    """It is the sum of the costs of their values, for each second."""
    assert MiniMaxH3(prompt="A cat", duration=6).credits(NESTED) == 12
    assert MiniMaxH3(prompt="A cat", duration=6, resolution="1080p").credits(NESTED) == 42
    assert Wan27(prompt="A cat", duration=5, prompt_extend=True).credits(NESTED) == 5
    with pytest.raises(UnknownPrice, match="ask the service for a quote"):
        HappyHorse(prompt="A cat", duration=5).credits(NESTED)


@pytest.mark.parametrize(
    ("spec", "rate"),
    [
        (MiniMaxH3(prompt="A cat", tier="base"), NESTED.per_second["minimax"]),
        (Wan27(prompt="A cat", duration=5), NESTED.per_second["wan27"]),
        (TextToVideo(**WORDS, duration=5), {"resolution": {"720p": 1}}),
        (Wan27(prompt="A cat", duration=5, extra={"a": 1}), {"extra": {"a": 1}}),
        (Wan27(prompt="A cat", duration=5), {"resolution": {}}),
    ],
)
def test_a_value_or_field_that_the_table_does_not_price_is_an_error(spec: VideoSpec, rate: Any) -> None:
    """Also one that the spec does not have, and a value that cannot be a key."""
    with pytest.raises(UnknownPrice) as caught:
        spec.credits(table_of({spec.model: rate}))
    assert str(caught.value) == f"the price table mine has no price for the model {spec.model!r} with these fields"


def test_only_free_fields_may_be_sent_beside_those_that_the_price_depends_on() -> None:
    """What another one would change in the price is not known."""
    table = table_of({"t2v": 3}, free_fields={"seed", "filterMode"})
    for names in ([], ["seed"], {"filterMode": 1, "seed": 2}):
        table.check_extra("t2v", names)
    with pytest.raises(UnknownPrice, match="the price table mine has no price for the model 't2v' with these fields"):
        table.check_extra("t2v", ["seed", "fps"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"per_second": None}, "per_second=None: must be a mapping of models' wire names to rates"),
        ({"per_second": 5}, "per_second=5: must be a mapping of models' wire names to rates"),
        ({"per_second": {"a": -1}}, "per_second['a']=-1: must be a whole number of credits, 0 or more"),
        ({"per_second": {"a": 1.5}}, "per_second['a']=1.5: must be a whole number of credits, 0 or more"),
        ({"per_second": {"a": Fraction(3)}}, "per_second['a']=Fraction(3, 1): must be a whole number"),
        ({"per_second": {"a": True}}, "per_second['a']=True: must be a whole number"),
        ({"per_second": {"a": "3"}}, "per_second['a']='3': must be a whole number"),
        ({"per_second": {"a": {}}}, "per_second['a']={}: must have a field that the price depends on"),
        ({"per_second": {"a": {"tier": 3}}}, "per_second['a']['tier']=3: must be a mapping of values of the field"),
        ({"per_second": {"a": {"tier": {"x": None}}}}, "per_second['a']['tier']['x']=None: must be a whole number"),
        ({"only_quoted": "seedance20"}, "only_quoted='seedance20': must be a set of wire names of models"),
        ({"free_fields": "seed"}, "free_fields='seed': must be a set of wire names of fields"),
    ],
)
def test_a_wrong_table_is_refused_when_it_is_made(changed: dict[str, Any], message: str) -> None:
    """A price below 0 would add to a budget."""
    with pytest.raises(ConfigurationError) as caught:
        table_of(**{"per_second": {}, **changed})
    assert str(caught.value).startswith(message)


def test_a_table_is_immutable() -> None:
    """It does not change with the mappings that it was made of either."""
    costs = {"720p": 3}
    prices: dict[str, Any] = {"t2v": 3, "wan27": {"resolution": costs}}
    table = table_of(prices)
    prices["t2v"] = costs["720p"] = 99
    prices["wan27"]["tier"] = {}
    assert table.credits(SPEC) == 24
    assert Wan27(prompt="A cat", duration=5).credits(table) == 15
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        table.revision = "other"  # type: ignore[misc]
    rates: Any = table.per_second
    for mapping in (rates, rates["wan27"], rates["wan27"]["resolution"]):
        with pytest.raises(TypeError):
            mapping["t2v"] = 99


@pytest.mark.parametrize("table", [PRICES_2026_03, PRICES_2026_09, MINE, NESTED], ids=["03", "09", "mine", "nested"])
def test_a_table_can_be_pickled_and_copied(table: PriceTable) -> None:
    """The copy is equal, has the same hash, and is as immutable."""
    twins = [pickle.loads(pickle.dumps(table)), copy.copy(table), copy.deepcopy(table), attrs.evolve(table)]  # noqa: S301
    for twin in twins:
        assert twin == table
        assert hash(twin) == hash(table)
        assert type(twin.per_second) is type(table.per_second)
        assert repr(twin) == repr(table)
    assert table != attrs.evolve(table, per_second={**table.per_second, "t2v": 77})


# --- models by name, with the fields of the request --------------------------------------------------

IMAGE = data_uri(PNG)
BY_NAME: list[tuple[str, dict[str, Any], int, int | None]] = [
    ("t2v", {"prompt": "A cat", "aspectRatio": "16:9", "duration": "8"}, 8, 24),
    ("t2v", {"prompt": "A cat", "aspectRatio": "16:9", "duration": 8, "filterMode": "strict"}, 8, 24),
    ("i2v", {"image": IMAGE, "prompt": None, "duration": "5"}, 5, 15),
    ("lv", {"image": URL, "prompt": ["One", "Two"]}, 150, None),
    ("t2v_v3", {"prompt": "A cat", "aspectRatio": "9:16", "duration": "20"}, 200, 80),
    ("i2v_v3", {"image": URL, "duration": "10"}, 100, 40),
    ("minimax", {"content": "A cat"}, 15, 15),
    ("minimax", {"content": "A cat", "duration": 7, "resolution": "1080p", "tier": "base"}, 35, 35),
    ("minimax", {"content": "A cat", "imageUrl": IMAGE, "lastFrameUrl": None, "referenceImageUrls": []}, 15, 15),
    ("wan27", {"prompt": "A cat", "duration": "10", "resolution": "1080P", "ratio": "4:3"}, 150, 150),
    ("happyhorse", {"prompt": "A cat", "duration": 3, "resolution": "720P", "image": [URL, IMAGE]}, 75, 75),
]


@pytest.mark.parametrize(("model", "body", "in_march", "in_september"), BY_NAME)
def test_a_model_by_name_has_the_price_of_its_class(
    model: str, body: dict[str, Any], in_march: int, in_september: int | None
) -> None:
    spec = OtherModel(model, body)
    assert spec.credits() == in_march
    if in_september is None:
        with pytest.raises(UnknownPrice, match="2026-09"):
            spec.credits(PRICES_2026_09)
    else:
        assert spec.credits(prices=PRICES_2026_09) == in_september


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("t2v", {}),
        ("t2v", {"prompt": "A cat", "aspectRatio": "16:9"}),
        ("t2v", {"prompt": "A cat", "aspect_ratio": "16:9", "duration": "8"}),
        *(
            ("t2v", {"prompt": "A cat", "aspectRatio": "16:9", "duration": duration})
            for duration in (
                None,
                "",
                "5s",
                "5.0",
                5.9,
                8.0,
                True,
                [5],
                " 5",
                "05",
                "\u0665",
                "5_0",
                "9" * 5000,
                10**400,
            )
        ),
        ("lv", {"image": URL, "prompt": "One"}),
        ("lv", {"image": URL, "prompt": []}),
        ("minimax", {"prompt": "A cat"}),
        ("minimax", {"content": "A cat", "duration": "5"}),
        ("minimax", {"content": "A cat", "tier": None}),
        ("minimax", {"content": "A cat", "imageUrl": URL, "referenceImageUrls": [URL]}),
        ("minimax", {"content": "A cat", "referenceImageUrls": URL}),
        # The default resolution is not documented, and the price depends on it.
        ("wan27", {"prompt": "A cat", "duration": "10"}),
        ("happyhorse", {"prompt": "A cat", "duration": 10}),
        ("seedance20", {"prompt": "A cat"}),
        ("happyhorse", {"prompt": "A cat", "duration": 10, "resolution": {"720P": 1}}),
    ],
)
def test_fields_that_do_not_fit_the_model_have_no_price(model: str, body: dict[str, Any]) -> None:
    """A guess would reserve too little in a budget."""
    with pytest.raises(UnknownPrice, match=f"model '{model}' with these fields"):
        OtherModel(model, body).credits()


def test_a_model_without_a_class_has_no_price() -> None:
    """Not even in a table of the user: the length of its video is not known."""
    spec = OtherModel("next", {"duration": 5})
    for prices, revision in ((None, "2026-09"), (table_of({"next": 5}), "mine")):
        with pytest.raises(UnknownPrice, match=f"the price table {revision} has no price for the model 'next'"):
            spec.credits(prices)
    with pytest.raises(UnknownPrice, match="ask the service for a quote"):
        OtherModel("seedance20", {"prompt": "A", "duration": 5, "resolution": 480, "ratio": "1:1"}).credits()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(BY_NAME), st.data())
def test_any_fields_have_a_price_or_none(
    known: tuple[str, dict[str, Any], int, int | None], data: st.DataObject
) -> None:
    model, body, *_ = known
    odd = data.draw(
        st.dictionaries(st.sampled_from(sorted(body)) | st.text(min_size=1, max_size=5), values, max_size=3)
    )
    try:
        assert OtherModel(model, {**body, **odd}).credits() > 0
    except UnknownPrice as error:
        assert error.model == model


def test_a_body_that_was_changed_after_validation_has_no_price() -> None:
    """Its mapping can be reached."""
    spec = OtherModel("t2v", {"prompt": "A cat", "aspectRatio": "16:9", "duration": "8"})
    body: Any = spec.body
    for late in (float("inf"), float("nan"), object(), b"8", {8}):
        body["duration"] = late
        with pytest.raises(UnknownPrice):
            spec.credits()


def test_a_price_in_dollars_is_rounded_to_cents() -> None:
    assert [Price(credits=credits_).usd for credits_ in (0, 1, 35, 57, 110)] == [0.0, 0.01, 0.35, 0.57, 1.1]
    assert Price(credits=15, table=PRICES_2026_09) == Price(credits=15, table=copy.deepcopy(PRICES_2026_09))
    assert Price(credits=15, quote=Quote(model="t2v", credits=15)).table is None
