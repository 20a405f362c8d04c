"""Which file to fetch, and within which limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from .._redaction import shorten
from .._util import validation
from ..errors import DownloadError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["MAX_VIDEO_BYTES", "DownloadOptions", "Progress", "Source"]

Progress: TypeAlias = Callable[[int, int | None], object]
"""Called with the bytes that have arrived, and the bytes expected (None when that is not known)."""

MAX_VIDEO_BYTES: Final = 8 * 1024**3
"""A response that is larger is taken to be endless."""


class DownloadOptions:
    """The arguments that `Video.download`, `Video.stream` and `download_all` share; see `Video.download`.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self,
        *,
        timeout: float,
        attempts: int = 5,
        max_bytes: int = MAX_VIDEO_BYTES,
        allow_private: bool | None,
        http: aiohttp.ClientSession | None,
    ) -> None:
        self.timeout: float = validation.seconds("timeout", timeout)
        self.attempts: int = validation.count("attempts", attempts)
        self.max_bytes: int = validation.count("max_bytes", max_bytes)
        self.allow_private = allow_private
        self.http = http


class Source:
    """The file of one video on its server.

    Args:
        task_id: the task that made the video.
        url: its address. No repr and no message shows the signature in it.
        options: how to fetch it.
        allow_private: whether it may be at an address that is not of the public internet.
        refused: makes the error for a status that no further request cures.
    """

    def __init__(
        self,
        *,
        task_id: str,
        url: str,
        options: DownloadOptions,
        allow_private: bool,
        refused: Callable[[int], DownloadError],
    ) -> None:
        self.task_id = task_id
        self.url = url
        self.options = options
        self.allow_private = allow_private
        self.refused = refused
        self.name: str = f"the video of task {task_id}"
        """What messages call it."""

    def failed(self, reason: str) -> DownloadError:
        """Return the error for a reason that no further attempt cures."""
        return DownloadError(f"{self.name} cannot be downloaded: {reason}")

    def not_public(self, host: str) -> DownloadError:
        """Return the error for a host that is not of the public internet."""
        return self.failed(
            f"{shorten(host)} is not of the public internet; allow_private=True is for a service in your own network"
        )
