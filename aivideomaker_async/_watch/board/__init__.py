"""To be written."""

from .status_board import StatusBoard

__all__ = ["StatusBoard"]
