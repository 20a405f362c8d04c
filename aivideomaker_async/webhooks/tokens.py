"""The last segment of a webhook URL: a token that any process with the same secret makes and checks without memory.

A token is a nonce and a MAC over it, written as hex digits, which survive every proxy and router.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from .._redaction import Secret

__all__ = ["NONCE_BYTES", "derive_secret", "is_token", "last_segment", "mint", "nonce_for"]

NONCE_BYTES: Final = 16
_MAC_BYTES: Final = 16
_TOKEN_CHARACTERS: Final = 2 * (NONCE_BYTES + _MAC_BYTES)

# No label is the beginning of another, so that nothing made for one purpose is good for another.
_FOR_SECRETS: Final = b"aivideomaker_async.webhooks secret"
_FOR_NONCES: Final = b"nonce of "
_FOR_TOKENS: Final = b"token of "


def derive_secret(key: Secret) -> Secret:
    """Return the secret of a receiver whose user has chosen none: the same wherever the API key is the same."""
    return Secret(_mac(key, _FOR_SECRETS).hex())


def nonce_for(secret: Secret, reference: str) -> bytes:
    """Return the nonce of a user's `reference`: always the same, and the reference cannot be read from it."""
    return _mac(secret, _FOR_NONCES + _bytes(reference))[:NONCE_BYTES]


def mint(secret: Secret, nonce: bytes) -> str:
    """Return the token of a nonce of `NONCE_BYTES` bytes."""
    return (nonce + _mac(secret, _FOR_TOKENS + nonce)[:_MAC_BYTES]).hex()


def is_token(secret: Secret, text: str) -> bool:
    """Return whether `text` is a token that was minted with `secret`."""
    if len(text) != _TOKEN_CHARACTERS or not text.isascii():
        return False
    try:
        nonce = bytes.fromhex(text[: 2 * NONCE_BYTES])
    except ValueError:
        return False
    # The whole text is compared, not only the MAC: each token has one spelling.
    return hmac.compare_digest(mint(secret, nonce), text)


def last_segment(path: str) -> str:
    """Return what stands where a path or a URL has its token. Some frameworks end paths with a slash."""
    path = path.partition("?")[0].partition("#")[0]
    return path.rstrip("/").rpartition("/")[2]


def _mac(secret: Secret, message: bytes) -> bytes:
    return hmac.digest(_bytes(secret.reveal()), message, hashlib.sha256)


def _bytes(text: str) -> bytes:
    # What comes from the environment or a file name can have lone surrogates in it.
    return text.encode("utf-8", "surrogatepass")
