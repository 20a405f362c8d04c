"""A program that uses a client and never closes it. It prints the line that makes the client."""

from __future__ import annotations

import asyncio
import sys

from aivideomaker_async import AIVideoMaker, RateLimiter

client, line = AIVideoMaker("ak_test", base_url=sys.argv[1], limiter=RateLimiter()), sys._getframe().f_lineno
asyncio.run(client.get_status("ck1"))
sys.stdout.write(str(line))
