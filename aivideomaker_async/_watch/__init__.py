"""To be written."""

from .observer import Observer
from .record import Record, Subscription
from .registry import HintTarget, Records
from .waiting import CURRENT as FRESH_ANSWER_S
from .watcher import TaskWatcher

__all__ = ["FRESH_ANSWER_S", "HintTarget", "Observer", "Record", "Records", "Subscription", "TaskWatcher"]
