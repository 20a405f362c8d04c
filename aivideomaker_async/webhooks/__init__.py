"""A receiver of webhook deliveries, to be mounted in any ASGI framework or in aiohttp.web.

    receiver = WebhookReceiver(client, "https://example.com/hooks")
    app.mount("/hooks", receiver)
    task = await client.submit(spec, webhook_url=receiver.url_for())

**What it promises.** A delivery makes the client ask the service at once, so that results come sooner for fewer
queries. Nothing in a delivery is trusted: what waiters get always comes from the service's own answers. A forged
delivery is refused before its body is read. A repeated one costs a few queries a minute at most. One that never comes
costs the time until the next poll.

**How it works.** The last segment of each URL is a token: a nonce and a MAC over it. Any process with the same secret
makes and checks tokens without memory, so workers take each other's deliveries, also after a restart. A delivery with a
right token only says that something has changed; one task list answers for all tasks. The body is not parsed. It is
searched for the words of the statuses: a body that can only mean that a task goes on causes no poll for waiters for the
end.

**Where the rules are.**

- `tokens`: what a token is, and which texts are none;
- `receiver`: the ASGI application, the aiohttp handler, and what becomes of one delivery;
- `_watch.webhook_signals`: when a delivery makes a poll due, and how rarely polls are made while webhooks announce
  every end.
"""

from .receiver import WebhookReceiver, WebhookStatistics

__all__ = ["WebhookReceiver", "WebhookStatistics"]
