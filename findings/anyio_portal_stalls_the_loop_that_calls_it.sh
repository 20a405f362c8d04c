#!/usr/bin/env bash
# anyio 4.16.0 (CPython 3.11): `BlockingPortal.start_task_soon` returns a future, and still waits until the portal's event
# loop has taken the call. Called in another event loop, as a tool or a web handler would, it stalls that loop for as long
# as the portal's loop is busy. `asyncio.run_coroutine_threadsafe` with the same loop returns at once, and so does the
# portal's `call_async`, which is new in this version. Each case keeps the portal's loop busy for half a second.
#
# Seen:
#   start_task_soon: the caller's loop stood still
#   run_coroutine_threadsafe: the caller's loop went on
#   call_async: the caller's loop went on
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "anyio==4.16.0"
cat >seen.py <<'PY'
import asyncio
import threading
import time

from anyio.from_thread import start_blocking_portal

BUSY_S = 0.5


async def nothing():
    return None


async def longest_pause(call):
    """Return for how long this loop stood still while it made the call."""
    longest, over = 0.0, False

    async def tick():
        nonlocal longest
        while not over:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began - 0.01)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    await call()
    over = True
    await ticking
    return longest


def see(name, portal, loop, call):
    began = threading.Event()

    def busy():
        began.set()
        time.sleep(BUSY_S)

    loop.call_soon_threadsafe(busy)
    began.wait()
    pause = asyncio.run(longest_pause(lambda: call(portal, loop)))
    print(f"{name}: the caller's loop {'stood still' if pause > BUSY_S / 2 else 'went on'}")


async def by_portal(portal, loop):
    await asyncio.wrap_future(portal.start_task_soon(nothing))


async def by_asyncio(portal, loop):
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(nothing(), loop))


async def by_call_async(portal, loop):
    await portal.call_async(nothing)


with start_blocking_portal() as portal:
    loop = portal.call(asyncio.get_running_loop)
    see("start_task_soon", portal, loop, by_portal)
    see("run_coroutine_threadsafe", portal, loop, by_asyncio)
    see("call_async", portal, loop, by_call_async)
PY
venv/bin/python seen.py | tee seen.txt
diff - seen.txt <<'END'
start_task_soon: the caller's loop stood still
run_coroutine_threadsafe: the caller's loop went on
call_async: the caller's loop went on
END
