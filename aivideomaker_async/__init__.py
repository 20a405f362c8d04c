"""An async client for the AI Video Maker API.

    async with AIVideoMaker() as client:
        video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8))
        await video.download("sunset.mp4")

`AIVideoMaker` is the client, the classes named after models are what it submits, `VideoTask` is a task that runs and
`Video` one that is finished. All errors are in `aivideomaker_async.errors`.
"""

import typing as _typing

from ._files.download_all import Downloaded, download_all
from ._files.video import Video, VideoStream
from ._http import RetryPolicy
from ._limits.host import HostRateLimiter
from ._limits.local import Limiter, LimiterStatistics, Permit, Priority, RateLimiter
from ._submits import Budget
from ._util.version import __version__
from .client.client import AIVideoMaker, ClientStatistics
from .client.generate_many import GenerateMany, Outcome
from .client.task import StatusWatch, VideoTask
from .errors import (
    AIVideoMakerError,
    APIError,
    AuthenticationFailed,
    BadResponse,
    BudgetExceeded,
    ConfigurationError,
    ConnectFailed,
    ContentRejected,
    Disconnected,
    DownloadError,
    EndpointNotFound,
    FieldProblem,
    IdempotencyConflict,
    IncompleteDownload,
    InsufficientCredits,
    InvalidRequest,
    InvalidSpec,
    OutputExpired,
    RateLimited,
    RequestTimeout,
    ServerError,
    SubmitOutcomeUnknown,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TransportError,
    UnknownPrice,
    WaitTimeout,
)
from .pricing import PRICES_2026_03, PRICES_2026_09, Price, PriceTable
from .specs import (
    AspectRatio,
    HappyHorse,
    ImageInput,
    ImageToVideo,
    ImageToVideoV3,
    LongVideo,
    MiniMaxH3,
    OtherModel,
    Seedance20,
    SpecLike,
    TextToVideo,
    TextToVideoV3,
    VideoSpec,
    Wan27,
)
from .tasks import Account, CancelResult, Eta, Quote, StatusChange, SubmittedTask, TaskDetails, TaskOutput, TaskStatus

if _typing.TYPE_CHECKING:
    from ._limits.redis import RedisRateLimiter
    from ._watch.board.status_board import StatusBoard

__all__ = [
    "PRICES_2026_03",
    "PRICES_2026_09",
    "AIVideoMaker",
    "AIVideoMakerError",
    "APIError",
    "Account",
    "AspectRatio",
    "AuthenticationFailed",
    "BadResponse",
    "Budget",
    "BudgetExceeded",
    "CancelResult",
    "ClientStatistics",
    "ConfigurationError",
    "ConnectFailed",
    "ContentRejected",
    "Disconnected",
    "DownloadError",
    "Downloaded",
    "EndpointNotFound",
    "Eta",
    "FieldProblem",
    "GenerateMany",
    "HappyHorse",
    "HostRateLimiter",
    "IdempotencyConflict",
    "ImageInput",
    "ImageToVideo",
    "ImageToVideoV3",
    "IncompleteDownload",
    "InsufficientCredits",
    "InvalidRequest",
    "InvalidSpec",
    "Limiter",
    "LimiterStatistics",
    "LongVideo",
    "MiniMaxH3",
    "OtherModel",
    "Outcome",
    "OutputExpired",
    "Permit",
    "Price",
    "PriceTable",
    "Priority",
    "Quote",
    "RateLimited",
    "RateLimiter",
    "RedisRateLimiter",
    "RequestTimeout",
    "RetryPolicy",
    "Seedance20",
    "ServerError",
    "SpecLike",
    "StatusBoard",
    "StatusChange",
    "StatusWatch",
    "SubmitOutcomeUnknown",
    "SubmittedTask",
    "TaskCancelled",
    "TaskDetails",
    "TaskFailed",
    "TaskNotFound",
    "TaskOutput",
    "TaskStatus",
    "TextToVideo",
    "TextToVideoV3",
    "TransportError",
    "UnknownPrice",
    "Video",
    "VideoSpec",
    "VideoStream",
    "VideoTask",
    "WaitTimeout",
    "Wan27",
    "__version__",
    "download_all",
]

_ON_USE = {"RedisRateLimiter": "_limits.redis", "StatusBoard": "_watch.board.status_board"}
"""What belongs to an extra is imported when it is used: who does without pays nothing for it."""


def __getattr__(name: str) -> object:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_ON_USE[name]}"), name)
