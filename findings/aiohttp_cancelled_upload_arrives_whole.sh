#!/usr/bin/env bash
# aiohttp 3.14.5 on asyncio (CPython 3.11): a request that is cancelled while its body is on its way arrives whole all the
# same. Closing a connection flushes what asyncio has buffered, and the kernel goes on sending what is in its queue, so a
# server that reads slowly has the whole body seconds after the client has given up. With SO_LINGER (no time) and
# `transport.abort()` together the server sees a reset. Each case sends 8 MB of bytes, and is cancelled after 0.3 s.
#
# Seen:
#   cancelled: the server got 8000000 of 8000000 bytes
#   cancelled, with SO_LINGER and abort(): the server got less, and a reset
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "aiohttp==3.14.5"
cat >seen.py <<'PY'
import asyncio
import socket
import struct

import aiohttp

SIZE = 8_000_000


class Body(aiohttp.BytesPayload):
    """Notes the connection that it is written to."""

    transport = None

    async def write_with_length(self, writer, content_length):
        Body.transport = writer.transport
        await super().write_with_length(writer, content_length)


async def run(name, *, resets=False):
    ended = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        got = 0
        try:
            while got < SIZE and (piece := await reader.read(65536)):
                got += len(piece)
                await asyncio.sleep(0.02)
            end = "an end"
        except ConnectionResetError:
            end = "a reset"
        ended.set_result((got, end))
        writer.close()

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(serve, sock=listening, limit=32768)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with aiohttp.ClientSession() as session:
        call = asyncio.ensure_future(session.post(url, data=Body(bytes(SIZE))))
        await asyncio.sleep(0.3)
        if resets:
            Body.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        if resets:
            Body.transport.abort()
        got, end = await ended
    server.close()
    print(f"{name}: the server got", f"{got} of {SIZE} bytes" if got == SIZE else f"less, and {end}")


async def main():
    await run("cancelled")
    await run("cancelled, with SO_LINGER and abort()", resets=True)


asyncio.run(main())
PY
venv/bin/python seen.py 2>/dev/null >seen
cat seen
diff seen - <<'SEEN'
cancelled: the server got 8000000 of 8000000 bytes
cancelled, with SO_LINGER and abort(): the server got less, and a reset
SEEN
