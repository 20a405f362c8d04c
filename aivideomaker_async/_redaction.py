"""Redaction: API keys, data URIs, webhook URLs and signed queries stay out of everything that is shown.

Reprs, log lines and exception texts are read by people who may not see the secrets behind them, and are stored by crash
reporters. So every text that could carry a secret passes through here first:

- a `Secret` holds the key or a webhook's URL: no repr, log or traceback with local variables shows it;
- `HiddenText` carries it into aiohttp's headers, whose reprs show `<secret>`;
- `Secret.hide_in` removes a known secret from a text of somebody else, who may echo it;
- where the secret is not at hand, its form (`redact_text`) or its field name (`redact`) gives it away;
- `sanitize`, `single_line` and `shorten` make a foreign text safe for a log or a terminal.

This is the lowest floor of the package: it imports nothing of ours.
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
    "hide_urls",
    "is_data_uri",
    "printable",
    "redact",
    "redact_text",
    "redact_url",
    "repr_redacted",
    "sanitize",
    "shorten",
    "single_line",
]

MAX_TEXT_CHARACTERS: Final = 200
"""Long enough for most prompts, short enough for a log line."""

MAX_REPR_DEPTH: Final = 20
MAX_REPR_ITEMS: Final = 200
"""Items of one repr in all, however they are nested: the repr of a large answer would take seconds."""

LARGEST_NUMBER: Final = 10**40

REVEALING_CHARACTERS: Final = 8
"""Runs of this length give away too much of a secret; the pieces that services show to name a key are shorter."""

MIN_BASE64_CHARACTERS: Final = 32
"""Shorter runs of letters and digits are parts of paths and names."""

# Patterns are compiled on first use: most programs show no secrets, and compiling all of these takes milliseconds.
_DATA_URI: Final = r"(?i)data:[^,\s]{0,100},[\w+/=%-]*(?:\s+[\w+/=%-]{40,})*"
_STARTS_AS_DATA_URI: Final = r"(?i)\s*data:"
_BASE64: Final = r"[A-Za-z0-9/+]{40,}={0,2}"
_IS_URL: Final = r"(?i)\s*[a-z][a-z0-9+.-]*://\S+\s*"
_URL: Final = r"(?i)(\b[a-z][a-z0-9+.-]{0,20}://)([^\s'\"<>/?#]*)([^\s'\"<>]*)"
_QUERY: Final = r"\?[^\s'\"<>?=]*=[^\s'\"<>]*"
"""The query of an address that was cut or has no scheme."""
_KEY: Final = r"(?i)(?<![a-z])ak_[\w-]{8,}"
_PRIVATE_NAME: Final = (
    r"hook|callback|secret|token|passw|credential|signature|authorization|^(x?api|access|private)?key$"
)
"""Names of secret fields, in lower case letters only. An idempotency key is no secret: it finds a task again."""
_NO_LETTERS: Final = "[^a-z]"
_ASCII_LOWER: Final = {ord(letter): letter.lower() for letter in string.ascii_uppercase}

_HIDDEN: Final = "<secret>"


@final
class Secret:
    """Holds a string that no repr, log or traceback with local variables shows."""

    __slots__ = ("_reveal",)

    def __init__(self, value: str) -> None:
        # A closure, not an attribute: object dumpers that walk __dict__ or __slots__ find a function.
        self._reveal: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """Return the string. Call it in the expression that uses it, and keep the result in no variable."""
        return self._reveal()

    def hide_in(self, text: str) -> str:
        """Return `text` without the string and without long pieces of it, in whatever letter case.

        Services and HTTP parsers cut the texts that they echo, and hosts come back in lower case.
        """
        secret, lower = self._reveal().lower(), text.translate(_ASCII_LOWER)
        size = min(REVEALING_CHARACTERS, len(secret)) or 1
        pieces = {secret[start : start + size] for start in range(len(secret) - size + 1)}
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

    def __repr__(self) -> str:
        return _HIDDEN

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


@final
class HiddenText(str):
    """A secret as the value of a header: a `str` whose repr, slices and formatted forms read `<secret>`.

    aiohttp keeps headers in local variables and shows them in reprs. It writes them by `str(value)` or `text + value`,
    and only these give the secret.
    """

    __slots__ = ("_secret",)

    _secret: Secret

    def __new__(cls, secret: Secret) -> Self:
        """Wrap `secret`."""
        self = super().__new__(cls, _HIDDEN)
        self._secret = secret
        return self

    def __str__(self) -> str:
        return self._secret._reveal()

    def __add__(self, other: str, /) -> str:
        return self._secret.reveal() + other

    def __radd__(self, other: str) -> str:
        return other + self._secret.reveal()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the secret as bytes."""
        return self._secret.reveal().encode(encoding, errors)

    def __eq__(self, other: object) -> bool:
        return self._secret.reveal() == (str(other) if isinstance(other, HiddenText) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._secret.reveal())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        # Recorders of HTTP traffic copy the headers of each request.
        return self

    def __repr__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str, /) -> str:
        return format(_HIDDEN, spec)

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


# --- foreign texts for logs and errors ---------------------------------------------------------------


def shorten(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Return `text` cut to `limit` characters, with a note of how many were left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def printable(text: str) -> str:
    """Return `text` with escapes for unprintable characters, which forge log lines or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def single_line(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Return an id or another foreign text in printable form, cut to `limit` characters."""
    return printable(shorten(text, limit))


def sanitize(text: str, limit: int = 500) -> str:
    """Return a message of the service for display: redacted, on a single line, at most `limit` characters."""
    return single_line(redact_text(" ".join(text[: 8 * limit].split())), limit)


# --- secrets by their form ---------------------------------------------------------------------------


def redact_text(text: str) -> str:
    """Return `text` without the content of data URIs, what stands behind the host of URLs, and API keys."""
    return re.sub(_KEY, _HIDDEN, hide_urls(hide_data_uris(text)))


def redact_url(url: str) -> str:
    """Return `url` without user info, query and fragment, which may carry signatures and tokens."""
    bare, _, query = url.partition("?")
    bare, _, fragment = bare.partition("#")
    scheme, separator, rest = bare.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        bare = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return shorten(bare + ("?…" if query or fragment else ""))


def is_data_uri(text: str) -> bool:
    """Return whether `text` is meant as a data URI."""
    return re.match(_STARTS_AS_DATA_URI, text) is not None


def hide_data_uris(text: str) -> str:
    """Return `text` with a placeholder for each data URI in it."""
    return re.sub(_DATA_URI, "<data URI>", text)


def hide_urls(text: str) -> str:
    """Return `text` with URLs cut down to scheme and host: a path may be a token, a query a signature."""

    def without_path(url: re.Match[str]) -> str:
        scheme, authority, rest = url.groups()
        return f"{scheme}{authority.rpartition('@')[2]}{'/…' if rest.strip('/') else rest}"

    return re.sub(_QUERY, "?…", re.sub(_URL, without_path, text))


def hide_base64(text: str) -> str:
    """Return `text` with a placeholder for each run that looks like encoded file content."""

    def placeholder(run: re.Match[str]) -> str:
        # The parts of a path are shorter, or have letters of one kind only.
        is_encoded = any(
            len(part) >= MIN_BASE64_CHARACTERS and all(re.search(kind, part) for kind in ("[0-9]", "[A-Z]", "[a-z]"))
            for part in run[0].split("/")
        )
        return f"<{len(run[0])} characters>" if is_encoded else run[0]

    return re.sub(_BASE64, placeholder, text)


# --- secrets by their name ---------------------------------------------------------------------------


def repr_redacted(value: object) -> str:
    """Return the repr of a redacted copy of a wire value, for reprs of attrs fields."""
    return repr(redact(value))


def redact(value: object) -> object:
    """Return a copy of a wire value for reprs: redacted, and cut where it is very long or deep.

    Data URIs have placeholders, URLs have no query, and fields with the name of a key, a token or a webhook are hidden.
    """
    return _Copy().of(value, MAX_REPR_DEPTH)


class _Copy:
    """One redacted copy in the making, which stops after `MAX_REPR_ITEMS`."""

    __slots__ = ("_items_left",)

    def __init__(self) -> None:
        self._items_left = MAX_REPR_ITEMS

    def of(self, value: object, levels: int) -> object:
        if isinstance(value, str):
            return _redacted_str(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if isinstance(value, int) and not -LARGEST_NUMBER < value < LARGEST_NUMBER:
            return f"<a number of {value.bit_length()} bits>"
        if not isinstance(value, Mapping | Sequence | Set):
            return value
        if levels == 0:
            return "…"
        copied: dict[object, object] = {}
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for done, (name, item) in enumerate(items):
            if not self._items_left:
                copied["…"] = f"({len(value) - done} more)"
                break
            self._items_left -= 1
            copied[self.of(name, 0)] = _HIDDEN if _is_secret(name, item) else self.of(item, levels - 1)
        if isinstance(value, Mapping):
            return copied
        return [f"… {item}" if name == "…" else item for name, item in copied.items()]


def _is_secret(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, str | bytes | Mapping | Sequence) or not value:
        return False
    return re.search(_PRIVATE_NAME, re.sub(_NO_LETTERS, "", name[:MAX_TEXT_CHARACTERS].lower())) is not None


def _redacted_str(text: str) -> str:
    if is_data_uri(text):
        return f"<data URI, {len(text)} characters>"
    if re.fullmatch(_IS_URL, text):
        return re.sub(_KEY, _HIDDEN, redact_url(text.strip()))
    return redact_text(shorten(text))
