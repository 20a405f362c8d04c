"""API calls: from a request as a value to its decoded answer, or to the error that says what happened.

to be written
"""

from asyncio import AbstractEventLoop
from typing import TYPE_CHECKING

from .._util.lazy import names_on_use
from .api_client import ApiClient, Settings
from .decoding import MalformedAnswer, decode_status, decode_task, encode_task, parse_timestamp
from .gate import Deadline, deadline_exceeded
from .lifecycle import ClientLifecycle
from .requests import (
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
    from .list_reader import AllTasks, ListReader

__all__ = [
    "AllTasks",
    "ApiClient",
    "ClientLifecycle",
    "Deadline",
    "Failure",
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


__getattr__ = names_on_use(__name__, {"list_reader": "AllTasks ListReader"})


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
