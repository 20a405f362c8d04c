"""API calls: from a request as a value to its decoded answer, or to the error that says what happened.

**What it promises.** A call ends at its deadline, whatever the network does. A query or a cancel is repeated while that
may help; a submit is never repeated once a byte of it may have left, and its error says whether that is so (`sent`). A
query goes out only under the shared limit, and a 429 delays all that it concerns. An answer is read up to a size limit
and decoded with care: one strange field costs nobody anything, and no answer is taken for that of another request. No
error, log line or frame shows the API key or a webhook URL; the error keeps its cause.

**How it works.** A request is an immutable value that carries how its answer is decoded. `ApiClient.call` takes it with
a deadline, which was computed once, and goes around this loop:

    permit ──> send ──> decode ──> result
      ^          │ no usable answer  │ refused
      │          v                   v
      └─ pause ─ what is known about the attempt? ──> raise

The pollers use single attempts (`attempt`, `attempt_list`) instead, since they have a backoff of their own. The task
list is not decoded whole: a reader takes it row by row while it arrives, and stops it when it has seen enough.

Queries and cancels share kept connections; each submit has a connection of its own, so that it cannot be lost to a
connection that the service was about to close. That of a submit that is given up is reset: what is on its way does not
arrive later.

**Where the rules are.**

- `requests`: each call of the API: its path, headers, size limit and decoder (pure);
- `retry`: what follows a 502, a 429, a broken connection, and after which pause (pure);
- `error_responses`: which error an answer stands for (pure);
- `decoding`: how values are read from JSON (pure);
- `gate`: when a request may go: permits, slots of commands, deadlines;
- `api_client`: carries out one call with its attempts;
- `transport`: one exchange over aiohttp, and what its failures mean;
- `upload`: the body of a request on its way: what counts as sent, how long it may take, how it is cut off;
- `connections`: how aiohttp sessions are opened and closed, when a query counts as sent, unsolicited bytes;
- `list_reader`: the task list, row by row;
- `lifecycle`: one event loop, one process, closed once.

Importing this package imports no aiohttp: programs that only make specs do without.
"""

from asyncio import AbstractEventLoop
from typing import TYPE_CHECKING

from .._util.lazy import names_on_use
from .api_client import ApiClient, Settings
from .decoding import MalformedAnswer, decode_status, decode_task, encode_task, parse_timestamp
from .gate import Deadline, deadline_exceeded
from .lifecycle import ClientLifecycle
from .requests import (
    MAX_HEADER_BYTES,
    Kind,
    Request,
    RequestBody,
    Sending,
    cancel_task,
    generate,
    generate_path,
    get_account,
    get_status,
    get_task,
    hide_webhook_url,
    list_tasks,
    quote_price,
)
from .retry import Failure, RetryPolicy, classify_error, parse_retry_after

if TYPE_CHECKING:
    from .list_reader import AllTasks, FirstTask, ListReader

__all__ = [
    "MAX_HEADER_BYTES",
    "AllTasks",
    "ApiClient",
    "ClientLifecycle",
    "Deadline",
    "Failure",
    "FirstTask",
    "Kind",
    "ListReader",
    "MalformedAnswer",
    "Request",
    "RequestBody",
    "RetryPolicy",
    "Sending",
    "Settings",
    "cancel_task",
    "check_session",
    "classify_error",
    "deadline_exceeded",
    "decode_status",
    "decode_task",
    "encode_task",
    "generate",
    "generate_path",
    "get_account",
    "get_status",
    "get_task",
    "hide_webhook_url",
    "list_tasks",
    "parse_retry_after",
    "parse_timestamp",
    "quote_price",
    "user_agent",
]


if not TYPE_CHECKING:
    # Type checkers would take every wrong name for one of these.
    __getattr__ = names_on_use(__name__, {"list_reader": "AllTasks FirstTask ListReader"})


# aiohttp is slow to import, and values alone do without: what needs it is reached through functions.


def check_session(session: object, loop: AbstractEventLoop | None = None) -> None:
    """Check that a caller's own session can be used.

    Args:
        session: the session.
        loop: the event loop that it is to be used in; None while that is not known.

    Raises:
        ConfigurationError: it is no aiohttp session, a closed one, or one of another event loop.
    """
    from .connections import check_session

    check_session(session, loop)


def user_agent() -> str:
    """Return the `User-Agent` of all requests of this package."""
    from .connections import USER_AGENT

    return USER_AGENT
