from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._redaction import Secret
from aivideomaker_async.webhooks import tokens
from aivideomaker_async.webhooks.tokens import NONCE_BYTES, derive_secret, is_token, last_segment, mint, nonce_for

SECRET = Secret("a secret of some length")
OTHER = Secret("another secret of some length")

nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
secret_texts = st.text(min_size=1, max_size=40)


@given(secret_texts, nonces)
def test_a_token_is_recognised_by_its_secret_alone(text: str, nonce: bytes) -> None:
    """In any process, without memory."""
    token = mint(Secret(text), nonce)
    assert is_token(Secret(text), token)
    assert set(token) <= set(string.hexdigits.lower())
    assert len(token) == 64


@given(secret_texts, secret_texts, nonces)
def test_a_token_of_another_secret_is_none(mine: str, others: str, nonce: bytes) -> None:
    assert is_token(Secret(others), mint(Secret(mine), nonce)) == (mine == others)


@given(nonces, st.integers(0, 63), st.characters(codec="utf-8"))
def test_a_token_that_is_changed_anywhere_is_wrong(nonce: bytes, place: int, letter: str) -> None:
    """Each token has one spelling, also where capitals would mean the same bytes."""
    token = mint(SECRET, nonce)
    changed = token[:place] + letter + token[place + 1 :]
    assert is_token(SECRET, changed) == (changed == token)


@given(nonces, st.integers(0, 63))
def test_a_part_of_a_token_is_wrong(nonce: bytes, length: int) -> None:
    """Its beginning, its end, and it with more behind it."""
    token = mint(SECRET, nonce)
    for wrong in (token[:length], token[-length:] if length else "", token + token[: length + 1]):
        assert not is_token(SECRET, wrong)


@given(st.one_of(st.text(max_size=80), st.text(alphabet=string.hexdigits + " ", min_size=64, max_size=64)))
def test_no_other_text_is_a_token(text: str) -> None:
    """Whatever comes in a path."""
    assert not is_token(SECRET, text)


@pytest.mark.parametrize("wrong", ["", "0" * 64, " " * 64, "٣" * 64, "é" * 64, "\ud800" * 64, "0" * 10_000, "zz" * 32])
def test_these_are_no_tokens(wrong: str) -> None:
    """None of them is an error, either."""
    assert not is_token(SECRET, wrong)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_reference_has_one_nonce(one: str, two: str) -> None:
    """Always the same, and another one for another reference or another secret."""
    assert len(nonce_for(SECRET, one)) == NONCE_BYTES
    assert nonce_for(Secret(SECRET.reveal()), one) == nonce_for(SECRET, one)
    assert (nonce_for(SECRET, one) == nonce_for(SECRET, two)) == (one == two)
    assert nonce_for(OTHER, one) != nonce_for(SECRET, one)


def test_a_reference_may_be_any_text() -> None:
    """Also one that cannot be encoded."""
    assert nonce_for(SECRET, "\udcff") != nonce_for(SECRET, "\udcfe")


def test_the_token_of_a_reference_stays_the_same_in_all_versions() -> None:
    """URLs that were handed out before an upgrade are right after it."""
    assert nonce_for(SECRET, "order 17").hex() == "ed6e9585be81dfe4a65eb6d9be6b322a"
    assert mint(SECRET, bytes(16)) == "0" * 32 + "8814cdf1e3a23e414cbb67d34bd4287f"
    assert derive_secret(Secret("ak_x")).reveal() == "fa5efd3cb910868e6303bf056924f2950998246d6bb6404d111e727de84562dd"


def test_the_secret_of_a_key_is_the_same_everywhere_and_does_not_show_it() -> None:
    """Workers with one key agree; what is made for tokens is not what is made for secrets."""
    one, two = derive_secret(Secret("ak_one")), derive_secret(Secret("ak_two"))
    assert one.reveal() == derive_secret(Secret("ak_one")).reveal() != two.reveal()
    assert "ak_one" not in one.reveal()
    assert repr(one) == "<secret>"


def test_what_is_made_for_one_purpose_is_good_for_no_other() -> None:
    """The labels are no beginnings of each other."""
    labels = [tokens._FOR_NONCES, tokens._FOR_SECRETS, tokens._FOR_TOKENS]
    for label in labels:
        assert [other for other in labels if other.startswith(label)] == [label]


@pytest.mark.parametrize(
    ("path", "segment"),
    [
        ("/hooks/abc", "abc"),
        ("/hooks/abc/", "abc"),
        ("/hooks/abc//", "abc"),
        ("/abc", "abc"),
        ("abc", "abc"),
        ("https://example.com/hooks/abc", "abc"),
        ("https://example.com/hooks/abc?x=/y", "abc"),
        ("https://example.com/hooks/abc#/y", "abc"),
        ("/abc/more", "more"),
        ("/", ""),
        ("", ""),
        ("?abc", ""),
    ],
)
def test_the_token_is_the_last_segment(path: str, segment: str) -> None:
    """Of a path or of a URL, with whatever stands around it."""
    assert last_segment(path) == segment
