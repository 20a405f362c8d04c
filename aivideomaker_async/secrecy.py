"""What must not be seen: API keys, data URIs, the signed part of a URL.

Reprs, log lines and exception texts are read by people who may not see the secrets behind them, and are stored by
crash reporters. Whatever could carry a secret passes through here first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final, Self, final

__all__ = ["HiddenText", "Secret", "hide_data_uris", "is_data_uri", "redact", "redact_url", "shorten"]

# Long enough for any prompt that a person wrote, short enough for a log line.
_LONGEST_TEXT: Final = 200
# Deep enough for any answer that means something; what an interpreter can parse, it cannot always print.
_DEEPEST: Final = 20

_DATA_URI: Final = re.compile(r"data:[\w.+-]+/[^,\s]{0,100},[\w+/=%-]*", re.IGNORECASE)
_STARTS_AS_DATA_URI: Final = re.compile(r"\s*data:", re.IGNORECASE)
_STARTS_AS_URL: Final = re.compile(r"\s*https?://", re.IGNORECASE)

_HIDDEN: Final = "<secret>"

_PIECE: Final = 8
"""Characters in a row that tell too much of a secret; what services show of a key to name it is shorter."""


@final
class Secret:
    """Holds a string that no repr, log or traceback with local variables shows."""

    __slots__ = ("_reveal",)

    def __init__(self, value: str) -> None:
        # A closure, not an attribute: object dumpers that walk __dict__ or __slots__ find a function.
        self._reveal: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """The string itself. Call it in the expression that uses it and keep it in no variable."""
        return self._reveal()

    def hide_in(self, text: str) -> str:
        """`text` without the string, and without long pieces of it, for texts of others who may know it and tell it."""
        return _without_pieces(text, self._reveal())

    def __repr__(self) -> str:
        return _HIDDEN

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


@final
class HiddenText(str):
    """A secret as the value of a header: a `str` that reads as `<secret>`, and is told by `str(value)` alone.

    Who sends it takes it for a text like any other, keeps it in local variables and shows it in reprs, slices and
    formatted texts. What the header is written from is `str(value)`, or `text + value`.
    """

    __slots__ = ("_secret",)

    _secret: Secret

    def __new__(cls, secret: Secret) -> Self:
        """Hide `secret`."""
        self = super().__new__(cls, _HIDDEN)
        self._secret = secret
        return self

    def __str__(self) -> str:
        return self._secret.reveal()

    def __add__(self, other: str, /) -> str:
        return self._secret.reveal() + other

    def __radd__(self, other: str) -> str:
        return other + self._secret.reveal()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The secret itself, as bytes."""
        return self._secret.reveal().encode(encoding, errors)

    def __eq__(self, other: object) -> bool:
        return self._secret.reveal() == (str(other) if isinstance(other, HiddenText) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._secret.reveal())

    def __repr__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str, /) -> str:
        return format(_HIDDEN, spec)

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


def _without_pieces(text: str, secret: str) -> str:
    # Nothing has no pieces.
    size = min(_PIECE, len(secret) or 1)
    pieces = {secret[start : start + size] for start in range(len(secret) - size + 1)}
    shown: list[str] = []
    start = 0
    while start < len(text):
        end = start + size
        if text[start:end] not in pieces:
            shown.append(text[start])
            start += 1
            continue
        while text[end - size + 1 : end + 1] in pieces:
            end += 1
        shown.append(_HIDDEN)
        start = end
    return "".join(shown)


def shorten(text: str, limit: int = _LONGEST_TEXT) -> str:
    """`text`, cut to `limit` characters with a note of how many are left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def redact_url(url: str) -> str:
    """`url` without user info, query and fragment, which may carry signatures and tokens."""
    bare, _, query = url.partition("?")
    bare, _, fragment = bare.partition("#")
    scheme, separator, rest = bare.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        bare = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return shorten(bare + ("?…" if query or fragment else ""))


def is_data_uri(text: str) -> bool:
    """Whether `text` is meant as a data URI."""
    return _STARTS_AS_DATA_URI.match(text) is not None


def hide_data_uris(text: str) -> str:
    """`text`, with the data URIs that stand in it named, not shown."""
    return _DATA_URI.sub("<data URI>", text)


def redact(value: object) -> object:
    """A copy of a wire value in which data URIs are named, not shown, and what is very long or deep is cut."""
    return _redact(value, _DEEPEST)


def _redact(value: object, levels: int) -> object:
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping | Sequence | Set) and levels == 0:
        return "…"
    if isinstance(value, Mapping):
        return {_redact(key, 0): _redact(item, levels - 1) for key, item in value.items()}
    if isinstance(value, Sequence | Set):
        return [_redact(item, levels - 1) for item in value]
    return value


def _redact_text(text: str) -> str:
    if is_data_uri(text):
        return f"<data URI, {len(text)} characters>"
    if _STARTS_AS_URL.match(text):
        return redact_url(text.strip())
    return hide_data_uris(shorten(text))
