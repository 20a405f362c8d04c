"""What must not be seen: API keys, data URIs, webhook URLs, the signed part of a URL.

Reprs, log lines and exception texts are read by people who may not see the secrets behind them, and are stored by
crash reporters. Whatever could carry a secret passes through here first.

Who knows a secret takes it out of a text of others by `Secret.hide_in`. What is shown where nobody knows it is told
from its form (`hide_private`) and from the name that it goes by (`redact`).
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final, Self, final

__all__ = [
    "HiddenText",
    "Secret",
    "hide_base64",
    "hide_data_uris",
    "hide_private",
    "hide_urls",
    "is_data_uri",
    "one_line",
    "printable",
    "redact",
    "redact_url",
    "shorten",
    "told",
]

# Long enough for any prompt that a person wrote, short enough for a log line.
_LONGEST_TEXT: Final = 200
# Deep enough for any answer that means something; what an interpreter can parse, it cannot always print.
_DEEPEST: Final = 20
# More than any answer has that means something; a repr of all that fits into one would take seconds.
_MOST_ITEMS: Final = 200
_LARGEST_NUMBER: Final = 10**40

# Base64 may be broken into lines.
_DATA_URI: Final = re.compile(r"data:[^,\s]{0,100},[\w+/=%-]*(?:\s+[\w+/=%-]{40,})*", re.IGNORECASE)
_STARTS_AS_DATA_URI: Final = re.compile(r"\s*data:", re.IGNORECASE)
_BASE64: Final = re.compile(r"[A-Za-z0-9/+]{40,}={0,2}")
_LONG_PART: Final = 32
_IS_URL: Final = re.compile(r"\s*[a-z][a-z0-9+.-]*://\S+\s*", re.IGNORECASE)
_URL: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)([^\s'\"<>/?#]*)([^\s'\"<>]*)", re.IGNORECASE)
# Of an address that was cut or has no scheme.
_QUERY: Final = re.compile(r"\?[^\s'\"<>?=]*=[^\s'\"<>]*")
_KEY: Final = re.compile(r"(?<![a-z])ak_[\w-]{8,}", re.IGNORECASE)
# What a wire value is called that is a secret. An idempotency key is none: it finds a task again.
_PRIVATE_NAME: Final = re.compile(
    r"hook|callback|secret|token|passw|credential|signature|authorization|^(x?api|access|private)?key$"
)
_NO_LETTERS: Final = re.compile("[^a-z]")
_LOWER: Final = {ord(letter): letter.lower() for letter in string.ascii_uppercase}

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
        """`text` without the string, and without long pieces of it, for texts of others who may know it and tell it.

        In capitals or not: hosts come back in lower case.
        """
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
    pieces = {secret[start : start + size].translate(_LOWER) for start in range(len(secret) - size + 1)}
    lower = text.translate(_LOWER)
    shown: list[str] = []
    start = 0
    while start < len(text):
        end = start + size
        if lower[start:end] not in pieces:
            shown.append(text[start])
            start += 1
            continue
        while lower[end - size + 1 : end + 1] in pieces:
            end += 1
        shown.append(_HIDDEN)
        start = end
    return "".join(shown)


def shorten(text: str, limit: int = _LONGEST_TEXT) -> str:
    """`text`, cut to `limit` characters with a note of how many are left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def printable(text: str) -> str:
    """`text`, with escapes for what cannot be printed: a line break makes up a log line, others steer a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def one_line(text: str, limit: int = _LONGEST_TEXT) -> str:
    """An id or another text of somebody else for a log or an error: printable, and cut to `limit` characters."""
    return printable(shorten(text, limit))


def told(text: str, limit: int = 500) -> str:
    """What a service says about an error, for people: without what is private, on one line of `limit` characters."""
    return one_line(hide_private(" ".join(text[: 8 * limit].split())), limit)


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


def hide_base64(text: str) -> str:
    """`text`, with what looks like the content of a file in it named, not shown."""
    return _BASE64.sub(_named, text)


def _named(run: re.Match[str]) -> str:
    # The parts of a path are shorter, or of letters of one kind.
    is_encoded = any(_is_encoded(part) for part in run[0].split("/"))
    return f"<{len(run[0])} characters>" if is_encoded else run[0]


def _is_encoded(part: str) -> bool:
    return len(part) >= _LONG_PART and all(re.search(kind, part) for kind in ("[0-9]", "[A-Z]", "[a-z]"))


def hide_urls(text: str) -> str:
    """`text`, with scheme and host of the URLs that stand in it: a path may be a token, and a query a signature."""
    return _QUERY.sub("?…", _URL.sub(_place, text))


def _place(url: re.Match[str]) -> str:
    scheme, authority, rest = url.groups()
    return f"{scheme}{authority.rpartition('@')[2]}{'/…' if rest.strip('/') else rest}"


def hide_private(text: str) -> str:
    """`text` without what looks private in it: the content of data URIs, what URLs have behind the host, API keys."""
    return _KEY.sub(_HIDDEN, hide_urls(hide_data_uris(text)))


def redact(value: object) -> object:
    """A copy of a wire value for reprs, without what is private, and cut where it is very long or deep.

    Data URIs are named, not shown; URLs have no query; what goes by the name of a key, a token or a webhook is hidden.
    """
    return _Redaction().of(value, _DEEPEST)


class _Redaction:
    """One copy in the making. It stops after so many items, however they are nested."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _MOST_ITEMS

    def of(self, value: object, levels: int) -> object:
        if isinstance(value, str):
            return _redact_text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if isinstance(value, int) and not -_LARGEST_NUMBER < value < _LARGEST_NUMBER:
            return f"<a number of {value.bit_length()} bits>"
        if isinstance(value, Mapping | Sequence | Set) and levels == 0:
            return "…"
        if isinstance(value, Mapping):
            return self._of_mapping(value, levels - 1)
        if isinstance(value, Sequence | Set):
            return self._of_items(value, levels - 1)
        return value

    def _of_mapping(self, value: Mapping[object, object], levels: int) -> object:
        copy: dict[object, object] = {}
        for done, (key, item) in enumerate(value.items()):
            if not self._left:
                copy["…"] = f"({len(value) - done} more)"
                break
            self._left -= 1
            copy[self.of(key, 0)] = _HIDDEN if _is_private(key, item) else self.of(item, levels)
        return copy

    def _of_items(self, value: Sequence[object] | Set[object], levels: int) -> object:
        copy: list[object] = []
        for done, item in enumerate(value):
            if not self._left:
                copy.append(f"… ({len(value) - done} more)")
                break
            self._left -= 1
            copy.append(self.of(item, levels))
        return copy


def _is_private(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, str | bytes | Mapping | Sequence) or not value:
        return False
    return _PRIVATE_NAME.search(_NO_LETTERS.sub("", name[:_LONGEST_TEXT].lower())) is not None


def _redact_text(text: str) -> str:
    if is_data_uri(text):
        return f"<data URI, {len(text)} characters>"
    if _IS_URL.fullmatch(text):
        return _KEY.sub(_HIDDEN, redact_url(text.strip()))
    return hide_private(shorten(text))
