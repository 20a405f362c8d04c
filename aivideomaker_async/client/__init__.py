"""The client and its handles: what users hold in their hands.

to be written
"""

from typing import TYPE_CHECKING

from .._util.lazy import names_on_use
from .client import AIVideoMaker, ClientStatistics

if TYPE_CHECKING:
    from .generate_many import GenerateMany, Outcome
    from .task import StatusWatch, VideoTask

__all__ = ["AIVideoMaker", "ClientStatistics", "GenerateMany", "Outcome", "StatusWatch", "VideoTask"]

__getattr__ = names_on_use(__name__, {"generate_many": "GenerateMany Outcome", "task": "StatusWatch VideoTask"})
