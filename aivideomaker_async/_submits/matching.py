"""Whether a task of the list is what a submit asked for.

A service that keeps no idempotency keys shows of a submit only its model and its input, and not always as they were
sent: an uploaded image becomes a URL of the service's own, defaults are filled in, a text may be trimmed. So there is a
third answer between "the same" and "another": what cannot be told apart must neither be adopted nor be ruled out.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Final
from urllib.parse import unquote

from attrs import field, frozen

from .._redaction import is_data_uri
from ..tasks import TaskDetails
from .body import Image, Text

__all__ = ["Likeness", "Order", "likeness", "loose", "order"]

TELLING: Final = 6
"""Letters and digits that are enough to see in them the beginning of a text that was cut off."""

_PROMPTS: Final = frozenset({"prompt", "content"})
_DEEPEST: Final = 20
_AMOUNT: Final = re.compile(r"([0-9]+)[a-z]{0,7}")
"""A number, perhaps with its unit: 5, 5s, 720p."""


class Likeness(Enum):
    """How a task compares with what was ordered."""

    SAME = auto()
    MAYBE = auto()
    """Nothing speaks against it, and something that was sent is not shown, or shown in another form."""
    OTHER = auto()


@frozen
class Order:
    """What a submit asks for, as far as the task list will show it. Two equal orders are interchangeable.

    An image that is sent as data is no part of `fields`: the service shows a URL in its place.
    """

    model: str
    fields: Mapping[str, object] = field(repr=False)
    """By wire name, in a form in which what means the same is equal."""
    uploads: Mapping[str, bytes] = field(factory=dict[str, bytes], repr=False)
    """Digests of the images that are sent as data, by the field they are in."""


def order(model: str, wire: Mapping[str, object]) -> Order:
    """What a request body asks for.

    Args:
        model: the model's name.
        wire: the fields of the body, by wire name, with objects in place of all that is long.
    """
    uploads = {name: digest for name, value in wire.items() if (digest := _digest(value))}
    fields = {name: _plain(value) for name, value in wire.items() if name not in uploads}
    return Order(model, fields, uploads)


def likeness(order: Order, task: TaskDetails) -> Likeness:
    """How a task of the list compares with `order`, their idempotency keys left aside."""
    if task.model is not None and loose(task.model) != loose(order.model):
        return Likeness.OTHER
    grades = {name: _field(name, value, task.input) for name, value in order.fields.items()}
    words = {grade for name, grade in grades.items() if name in _PROMPTS}
    if Likeness.OTHER in words and not order.fields.get("promptExtend"):
        return Likeness.OTHER
    if Likeness.OTHER in grades.values():
        # The words say that it is, and a setting is shown in a form that nobody has thought of; or it is another.
        return Likeness.MAYBE if words else Likeness.OTHER
    if Likeness.SAME in words:
        # A setting that is not shown leaves the words to tell.
        grades = {name: grade for name, grade in grades.items() if _is_content(name, order) or name in task.input}
    unasked = [_unasked(name, value) for name, value in task.input.items() if _is_unasked(name, order)]
    # A model that takes an image may do without one: then this is the order of somebody who gave none.
    shows_uploads = all(task.input.get(name) for name in order.uploads)
    if task.model is None or not task.input or not shows_uploads or Likeness.MAYBE in (*grades.values(), *unasked):
        return Likeness.MAYBE
    return Likeness.SAME


def _is_content(name: str, order: Order) -> bool:
    return name in _PROMPTS or _has_url(order.fields[name])


def _has_url(value: object) -> bool:
    if isinstance(value, str):
        return _is_url(value)
    return isinstance(value, dict | list) and any(map(_has_url, value.values() if isinstance(value, dict) else value))


def _field(name: str, sent: object, shown: Mapping[str, object]) -> Likeness:
    if shown.get(name) in (None, ""):
        return Likeness.SAME if sent in (None, "") else Likeness.MAYBE
    return _compare(sent, _plain(shown[name]))


def _compare(sent: object, shown: object) -> Likeness:
    """How a value that was sent compares with what is shown in its place, both in plain form."""
    if shown == sent:
        return Likeness.SAME
    if isinstance(sent, list) and isinstance(shown, list) and len(sent) == len(shown):
        return _together([_compare(one, other) for one, other in zip(sent, shown, strict=True)])
    if isinstance(sent, dict) and isinstance(shown, dict):
        return _together([_compare(sent.get(name), shown.get(name)) for name in {*sent, *shown}])
    if not isinstance(sent, str) or not isinstance(shown, str):
        # Another value of the same kind, or the same one in another form.
        return Likeness.OTHER if type(sent) is type(shown) else Likeness.MAYBE
    if _is_url(sent):
        # A copy of its own, perhaps, or a place in its storage.
        return Likeness.MAYBE
    one, other = loose(sent), loose(shown)
    cut_off = len(other) >= TELLING and one.startswith(other)
    added_to = len(one) >= 2 * TELLING and one in other
    return Likeness.MAYBE if one == other or cut_off or added_to or _is_same_amount(one, other) else Likeness.OTHER


def _is_same_amount(one: str, other: str) -> bool:
    first, second = _AMOUNT.fullmatch(one), _AMOUNT.fullmatch(other)
    return first is not None and second is not None and first[1] == second[1]


def _together(grades: Sequence[Likeness]) -> Likeness:
    # Of a whole that is not the same.
    return Likeness.OTHER if set(grades) == {Likeness.OTHER} else Likeness.MAYBE


def loose(text: str) -> str:
    """The letters and digits of a text: what is left of it however it was escaped, quoted, cleaned or cut off."""
    return "".join(filter(str.isalnum, unquote(html.unescape(text)).casefold()))


def _is_unasked(name: str, order: Order) -> bool:
    return name not in order.fields and name not in order.uploads


def _unasked(name: str, shown: object) -> Likeness:
    """What a field says that was not sent: a default that the service fills in, unless it is what a person writes."""
    if not shown:
        return Likeness.SAME
    is_content = name in _PROMPTS or (isinstance(shown, str) and _is_url(shown)) or isinstance(shown, list | dict)
    return Likeness.MAYBE if is_content else Likeness.SAME


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://", "data:"))


def _digest(value: object) -> bytes | None:
    """The digest of a value that has an image or something as long in it; None for any other."""
    if isinstance(value, Image | Text):
        return value.digest
    if isinstance(value, str):
        return _of(value.encode("utf-8", "replace")) if is_data_uri(value) else None
    if isinstance(value, Mapping):
        return _digest([value[name] for name in sorted(value, key=str)])
    if isinstance(value, list | tuple):
        parts = [_digest(item) for item in value]
        if any(parts):
            return _of(b"\0".join(part or repr(_plain(item)).encode() for part, item in zip(parts, value, strict=True)))
    return None


def _of(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _plain(value: object, levels: int = _DEEPEST) -> object:
    """`value` in a form in which what means the same is equal: "8" and 8, a text and the same with other spaces."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return " ".join(unicodedata.normalize("NFC", value).split())
    if isinstance(value, int | float):
        return str(int(value)) if value == value // 1 else str(value)
    if levels == 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _plain(item, levels - 1) for key, item in value.items()}
    return [_plain(item, levels - 1) for item in value] if isinstance(value, Iterable) else str(value)
