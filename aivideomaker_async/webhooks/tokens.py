"""The last segment of a webhook URL: a token that any process with the same secret makes and checks without memory.

A token is a nonce and a MAC over it, written as hex digits, which survive every proxy and router. The nonce names the
task; the MAC says that one of us has made it. What processes tell each other of a delivery is the nonce alone: nobody
can make a delivery of it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from .._redaction import Secret

__all__ = [
    "NONCE_BYTES",
    "check",
    "derive_secret",
    "last_segment",
    "mint",
    "nonce_for",
    "read_hint",
    "write_hint",
]

NONCE_BYTES: Final = 16
_MAC_BYTES: Final = 16
_TOKEN_LENGTH: Final = 2 * (NONCE_BYTES + _MAC_BYTES)

# No label is the beginning of another, so that nothing made for one purpose is good for another.
_FOR_SECRETS: Final = b"aivideomaker_async.webhooks secret"
_FOR_NONCES: Final = b"nonce of "
_FOR_TOKENS: Final = b"token of "

_URGENCIES: Final = {"urgent": True, "later": False}


def derive_secret(key: Secret) -> Secret:
    """The secret of a receiver whose user has named none: the same wherever the API key is the same."""
    return Secret(_mac(key, _FOR_SECRETS).hex())


def nonce_for(secret: Secret, reference: str) -> bytes:
    """The nonce of what the user calls `reference`: always the same, and telling nothing of it."""
    return _mac(secret, _FOR_NONCES + _bytes(reference))[:NONCE_BYTES]


def mint(secret: Secret, nonce: bytes) -> str:
    """The token of a nonce of `NONCE_BYTES` bytes."""
    return (nonce + _mac(secret, _FOR_TOKENS + nonce)[:_MAC_BYTES]).hex()


def check(secret: Secret, token: str) -> bytes | None:
    """The nonce of a token that was minted with `secret`; None for any other text."""
    if len(token) != _TOKEN_LENGTH or not token.isascii():
        return None
    try:
        nonce = bytes.fromhex(token[: 2 * NONCE_BYTES])
    except ValueError:
        return None
    # The whole text is compared, not only the MAC: each token has one spelling.
    return nonce if hmac.compare_digest(mint(secret, nonce), token) else None


def last_segment(path: str) -> str:
    """Where the token stands in a path or a URL. Some frameworks end the paths of what they mount with a slash."""
    path = path.partition("?")[0].partition("#")[0]
    return path.rstrip("/").rpartition("/")[2]


def write_hint(nonce: bytes, *, urgent: bool) -> str:
    """What is told to other processes of a delivery whose task is not known here."""
    return f"{nonce.hex()}:{'urgent' if urgent else 'later'}"


def read_hint(reference: str) -> tuple[bytes, bool] | None:
    """The nonce and the urgency in what another process told; None when it is nothing that `write_hint` writes."""
    digits, _, word = reference.partition(":")
    if len(digits) != 2 * NONCE_BYTES or word not in _URGENCIES:
        return None
    try:
        nonce = bytes.fromhex(digits)
    except ValueError:
        return None
    return (nonce, _URGENCIES[word]) if len(nonce) == NONCE_BYTES else None


def _mac(secret: Secret, message: bytes) -> bytes:
    return hmac.digest(_bytes(secret.reveal()), message, hashlib.sha256)


def _bytes(text: str) -> bytes:
    # What comes from the environment or a file name can have lone surrogates in it.
    return text.encode("utf-8", "surrogatepass")
