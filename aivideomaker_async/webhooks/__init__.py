"""A receiver of webhook deliveries, to be mounted in any ASGI framework or in aiohttp.web."""

from .deliveries import WebhookStatistics
from .receiver import WebhookReceiver

__all__ = ["WebhookReceiver", "WebhookStatistics"]
