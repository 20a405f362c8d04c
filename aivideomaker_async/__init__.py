"""An async client for the AI Video Maker API.

    async with AIVideoMaker() as client:
        video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8))
        await video.download("sunset.mp4")

`AIVideoMaker` is the client, the classes named after models are what it submits, `VideoTask` is a task that runs and
`Video` one that is finished. All errors are in `aivideomaker_async.errors`.

Each name is imported when it is first used, so that a program loads only the rooms that it enters.
"""

import typing as _typing

from ._util.lazy import names_on_use as _names_on_use
from ._util.version import __version__

if _typing.TYPE_CHECKING:
    from ._files import Downloaded, Video, VideoStream, download_all
    from ._http import RetryPolicy
    from ._limits import (
        HostRateLimiter,
        Limiter,
        LimiterStatistics,
        Permit,
        Priority,
        RateLimiter,
        RedisRateLimiter,
    )
    from ._submits import Budget, Intent
    from ._watch import StatusBoard
    from .client import AIVideoMaker, ClientStatistics, GenerateMany, Outcome, StatusWatch, VideoTask
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
        UnknownTaskEnd,
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
    from .tasks import (
        Account,
        CancelResult,
        Eta,
        Quote,
        StatusChange,
        SubmittedTask,
        TaskDetails,
        TaskOutput,
        TaskStatus,
    )

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
    "Intent",
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
    "UnknownTaskEnd",
    "Video",
    "VideoSpec",
    "VideoStream",
    "VideoTask",
    "WaitTimeout",
    "Wan27",
    "__version__",
    "download_all",
]

_ROOMS = {
    "_files": "Downloaded Video VideoStream download_all",
    "_http": "RetryPolicy",
    "_limits": "HostRateLimiter Limiter LimiterStatistics Permit Priority RateLimiter RedisRateLimiter",
    "_submits": "Budget Intent",
    "_watch": "StatusBoard",
    "client": "AIVideoMaker ClientStatistics GenerateMany Outcome StatusWatch VideoTask",
    "errors": "AIVideoMakerError APIError AuthenticationFailed BadResponse BudgetExceeded ConfigurationError "
    "ConnectFailed ContentRejected Disconnected DownloadError EndpointNotFound FieldProblem "
    "IdempotencyConflict IncompleteDownload InsufficientCredits InvalidRequest InvalidSpec OutputExpired "
    "RateLimited RequestTimeout ServerError SubmitOutcomeUnknown TaskCancelled TaskFailed TaskNotFound "
    "TransportError UnknownPrice UnknownTaskEnd WaitTimeout",
    "pricing": "PRICES_2026_03 PRICES_2026_09 Price PriceTable",
    "specs": "AspectRatio HappyHorse ImageInput ImageToVideo ImageToVideoV3 LongVideo MiniMaxH3 OtherModel Seedance20 "
    "SpecLike TextToVideo TextToVideoV3 VideoSpec Wan27",
    "tasks": "Account CancelResult Eta Quote StatusChange SubmittedTask TaskDetails TaskOutput TaskStatus",
}
if not _typing.TYPE_CHECKING:
    # Type checkers would take every wrong name for one of these.
    __getattr__ = _names_on_use(__name__, _ROOMS)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
