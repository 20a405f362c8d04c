"""To be written."""

from .download_all import Downloaded, VideoProgress, download_all
from .public_address import is_private_host
from .video import Video, VideoStream

__all__ = ["Downloaded", "Video", "VideoProgress", "VideoStream", "download_all", "is_private_host"]
