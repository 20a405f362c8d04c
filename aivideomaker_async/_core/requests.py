"""Requests, built as values. Nothing is sent here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeGuard
from urllib.parse import quote, urlsplit

from attrs import AttrsInstance, field, fields, frozen
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from .. import _checks
from .._rules import replace_long_texts
from .._spec import is_left_out
from ..errors import ConfigurationError
from ..images import ImageInput
from ..secrecy import Secret
from ..specs import OtherModel, VideoSpec, wire_fields
from .data_uri import Body, Image, Part, Text
from .sizes import LIST, SMALL, TASK, Size

__all__ = [
    "Kind",
    "Ready",
    "Request",
    "Sending",
    "account",
    "cancel",
    "check_task_id",
    "generate",
    "generate_path",
    "images_of",
    "is_task_id",
    "list_tasks",
    "outline",
    "quote_price",
    "task",
    "task_status",
    "to_wire",
    "write_body",
    "write_outline",
]

_API: Final = "/api/v1"

SHORTEST_TOKEN: Final = 8


class Kind(Enum):
    """What a request is, as far as limits and retries are concerned."""

    QUERY = auto()
    """Counts against the shared query limit; may be sent again."""
    COMMAND = auto()
    """Counts against nothing; may be sent again."""
    SUBMIT = auto()
    """Costs money: is never sent again while its outcome is unknown."""


@frozen(kw_only=True)
class Request:
    """One call of the API."""

    method: str
    path: str
    """Quoted, and to be sent as it is."""
    kind: Kind
    headers: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    secrets: Mapping[str, Secret] = field(factory=dict[str, Secret], repr=False)
    """Further headers, whose values nobody may see."""
    body: Body | None = field(default=None, repr=False)
    about: str = "task"
    """What a 404 says does not exist: `task` or `endpoint`."""
    size: Size = SMALL
    """The most that a good answer may hold."""

    def hide_in(self, text: str) -> str:
        """`text` without what nobody may see of this request, for texts of others who may tell it."""
        for secret in self.secrets.values():
            text = hide_address(secret, text)
        return text


class Sending:
    """How far a request has got on its way; who sends it keeps this up to date.

    Args:
        changed: called with whether any of it may have left, just before it does, and when nothing came of it.
    """

    __slots__ = ("_changed", "_sent")

    def __init__(self, changed: Callable[[bool], None] | None = None) -> None:
        self._changed = changed
        self._sent = False

    @property
    def sent(self) -> bool:
        """Whether any of it may have left, and what became of that is not known."""
        return self._sent

    @sent.setter
    def sent(self, value: bool) -> None:
        if value is not self._sent and self._changed is not None:
            self._changed(value)
        self._sent = value


def list_tasks() -> Request:
    """All tasks of this key, newest first."""
    return Request(method="GET", path=f"{_API}/tasks", kind=Kind.QUERY, about="endpoint", size=LIST)


def task(task_id: str) -> Request:
    """Full details of one task."""
    return Request(method="GET", path=_task_path(task_id), kind=Kind.QUERY, size=TASK)


def task_status(task_id: str) -> Request:
    """The status of one task, and nothing else."""
    return _task_status(check_task_id(task_id))


@lru_cache(maxsize=1024)
def _task_status(task_id: str) -> Request:
    return Request(method="GET", path=f"{_task_path(task_id)}/status", kind=Kind.QUERY)


def cancel(task_id: str) -> Request:
    """Cancel one task; works only while it is SUBMITTED."""
    return Request(method="PUT", path=f"{_task_path(task_id)}/cancel", kind=Kind.COMMAND)


def account() -> Request:
    """Balance and guardrails (2026-09)."""
    return Request(method="GET", path=f"{_API}/account", kind=Kind.QUERY, about="endpoint")


def quote_price(model: str, body: Body) -> Request:
    """What a generate would cost (2026-09)."""
    path = f"{_API}/quote/{_segment(model)}"
    return Request(method="POST", path=path, kind=Kind.COMMAND, body=body, about="endpoint")


def generate(
    model: str, body: Body, *, idempotency_key: str, webhook_url: Secret | None, max_credits: int | None
) -> Request:
    """Submit a task.

    Raises:
        ConfigurationError: an argument cannot travel in a header.
    """
    headers = {"Idempotency-Key": _check_key(idempotency_key)}
    secrets = {} if webhook_url is None else {"webhookUrl": _check_webhook(webhook_url)}
    if max_credits is not None:
        headers["X-Max-Credits"] = str(_checks.amount("max_credits", max_credits))
    return Request(
        method="POST",
        path=generate_path(model),
        kind=Kind.SUBMIT,
        headers=headers,
        secrets=secrets,
        body=body,
        about="endpoint",
    )


def generate_path(model: str) -> str:
    """Where tasks of a model are submitted."""
    return f"{_API}/generate/{_segment(model)}"


def check_task_id(task_id: object) -> str:
    """`task_id`, if it can stand in a path; ids are opaque, and almost everything can when it is quoted.

    Raises:
        ConfigurationError: it cannot.
    """
    if not is_task_id(task_id):
        raise ConfigurationError(
            f"task_id={task_id!r}: must be a text that is not empty, not '.' or '..', and without lone surrogates"
        )
    return task_id


def is_task_id(value: object) -> TypeGuard[str]:
    """Whether `value` can be an id."""
    # Quoting cannot save "." and "..": proxies take them for steps in the path, quoted or not.
    if not isinstance(value, str) or not value or value in {".", ".."}:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _task_path(task_id: str) -> str:
    return f"{_API}/tasks/{_segment(check_task_id(task_id))}"


def _segment(text: str) -> str:
    # The ids of the service need no quoting.
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def _check_key(key: object) -> str:
    if not isinstance(key, str) or not re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", key) or not 8 <= len(key) <= 128:
        raise ConfigurationError(f"idempotency_key={key!r}: must be 8 to 128 printable ASCII characters")
    return key


def _check_webhook(url: Secret) -> Secret:
    # The URL may hold a token, so neither the message shows it nor a local variable of this frame.
    if not _is_webhook(url.reveal()):
        raise ConfigurationError("webhook_url: must be an http(s) URL in ASCII, without spaces")
    return url


def _is_webhook(url: object) -> bool:
    return isinstance(url, str) and re.fullmatch(r"https?://[!-~]+", url) is not None and _has_host(url)


def hide_address(url: Secret, text: str) -> str:
    """`text` without the private parts of `url`."""
    for part in _private_parts(url.reveal()):
        text = Secret(part).hide_in(text)
    return text


def _private_parts(url: str) -> list[str]:
    # Scheme and host are known to everybody, and what is shorter is no token.
    authority, *rest = re.split(r"(?=[/?#])", url.partition("://")[2], maxsplit=1)
    return [part for part in (authority.rpartition("@")[0], *rest) if len(part) >= SHORTEST_TOKEN]


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


# --- specs to bodies -----------------------------------------------------------------------------


def _wire_type(kind: Callable[[Any], object] | None) -> Callable[[Any], object] | None:
    return None if kind is None else lambda value: None if value is None else kind(value)


def _unstructure_spec(spec_type: type[AttrsInstance], converter: Converter) -> Callable[[Any], dict[str, object]]:
    """Wire names and wire types come from the fields' own metadata; what was left out does not travel."""
    overrides = {
        item.name: override(
            rename=item.metadata.get("wire_name"),
            unstruct_hook=_wire_type(item.metadata.get("wire_type")) or (lambda value: value),
        )
        for item in fields(spec_type)
    }
    plain = make_dict_unstructure_fn(spec_type, converter, **overrides)  # type: ignore[arg-type]

    def unstructure(spec: Any) -> dict[str, object]:  # noqa: ANN401  (cattrs hands over any spec)
        wire = plain(spec)
        extra: dict[str, object] = wire.pop("extra")
        return {name: value for name, value in wire.items() if not is_left_out(value)} | extra

    return unstructure


_converter: Final = Converter()
_converter.register_unstructure_hook_factory(
    lambda kind: isinstance(kind, type) and issubclass(kind, VideoSpec), _unstructure_spec
)


def to_wire(spec: VideoSpec | OtherModel) -> dict[str, object]:
    """The fields of the request body, by wire name. An image is still what the user gave."""
    if isinstance(spec, OtherModel):
        return dict(spec.body)
    wire: dict[str, object] = _converter.unstructure(spec)
    return wire


def images_of(spec: VideoSpec | OtherModel) -> dict[str, ImageInput | tuple[ImageInput, ...]]:
    """The images that must be read before `spec` can be written, by the names of their fields."""
    if isinstance(spec, OtherModel):
        return {}
    found = {item.name: getattr(spec, item.name) for item in fields(type(spec)) if item.metadata.get("images")}
    return {name: value for name, value in found.items() if not is_left_out(value)}


Ready: TypeAlias = Image | str
"""An image as it travels: itself, or the URL that the service fetches it from."""


def write_body(spec: VideoSpec | OtherModel, images: Mapping[str, Ready | list[Ready]] | None = None) -> Body:
    """The request body of `spec`.

    Args:
        spec: what to write.
        images: its images as they travel, by the names of their fields; None when it has none.
    """
    return write_outline(outline(spec, images or {}))


def outline(spec: VideoSpec | OtherModel, images: Mapping[str, Ready | list[Ready]]) -> dict[str, object]:
    """The fields of the request body, by wire name, with objects in place of all that is long."""
    wire = to_wire(spec)
    if not isinstance(spec, OtherModel):
        names = wire_fields(type(spec))
        wire |= {names[name]: image for name, image in images.items()}
    return {name: replace_long_texts(value, Text.of) for name, value in wire.items()}


def write_outline(fields: Mapping[str, object]) -> Body:
    """The request body with these fields, as `outline` gives them."""
    found: list[Image | Text] = []

    def place(value: object) -> str:
        if not isinstance(value, Image | Text):
            raise TypeError(f"no JSON has a {type(value).__name__}")
        found.append(value)
        return _PLACE

    written = json.dumps(fields, default=place, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    first, *others = (part.encode() for part in written.split(_PLACE))
    parts: list[Part] = [first]
    for held, after in zip(found, others, strict=True):
        parts += [held, after]
    return Body(tuple(parts))


_PLACE: Final = "\ud800"
"""Stands for an image or a long text until the rest is written. A lone surrogate: no text that is checked has one."""
