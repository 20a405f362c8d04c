"""The client and its handles: what users hold in their hands."""

from .client import AIVideoMaker, ClientStatistics
from .generate_many import GenerateMany, Outcome
from .task import StatusWatch, VideoTask

__all__ = ["AIVideoMaker", "ClientStatistics", "GenerateMany", "Outcome", "StatusWatch", "VideoTask"]
