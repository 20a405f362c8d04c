"""Submits over a real link that is cut and mended, between two network namespaces.

As a program it is `python -m tests.support.real_network near FOLDER PLAN` in a namespace of its own, where it makes a
second one for the service, links both, and prints what became of each submit as JSON. The service keeps no idempotency
keys: it creates a task for every whole order that arrives, however late.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Final

import aiohttp

from aivideomaker_async import (
    AIVideoMaker,
    ImageToVideo,
    RateLimiter,
    RetryPolicy,
    SubmitOutcomeUnknown,
    TextToVideo,
    TransportError,
)

NEAR, FAR = "10.77.0.1", "10.77.0.2"
PORTS: Final = {False: 8080, True: 8443}
IMAGES: Final = {"text": 0, "image": 1_500_000, "large": 32 << 20}

CUTS: Final = {
    # Nothing passes at all.
    "dead": "blackhole",
    # Connections are made, and nothing that is longer than a greeting passes.
    "mute": "tbf rate 1mbit burst 200 limit 3000",
}
OPEN: Final = "tbf rate 80mbit burst 64k limit 4m"


@dataclass(frozen=True)
class Plan:
    """One cut of the link.

    Args:
        away_s: how long the link is away.
        how: a name in `CUTS`.
        timeout_s: seconds for one attempt of the client.
        grace_s: seconds for which a lost submit is searched for.
        sizes: names in `IMAGES`.
        ways: how submits are given up: "time-out", "cancel" or "close".
        moments: when submits begin, in seconds from the cut.
        settle_s: how long after the last one it is waited for what may still arrive.
    """

    away_s: float
    how: str
    timeout_s: float = 30.0
    grace_s: float = 15.0
    sizes: Sequence[str] = tuple(IMAGES)
    ways: Sequence[str] = ("time-out", "cancel", "close")
    moments: Sequence[float] = (-0.3, -0.02, 0.05, 1.0)
    settle_s: float = 90.0


@dataclass(frozen=True)
class Case:
    """One submit.

    Args:
        size: a name in `IMAGES`.
        tls: whether it travels over TLS.
        session: "own" or "caller".
        way: how it is given up, if it has not come through.
        at_s: when it begins, in seconds from the cut.
    """

    size: str
    tls: bool
    session: str
    way: str
    at_s: float

    @property
    def name(self) -> str:
        return f"{self.size} {'TLS' if self.tls else 'plain'} {self.session} {self.way} {self.at_s:g}"


@dataclass(frozen=True)
class Result:
    """What became of one submit."""

    name: str
    outcome: str
    """ "task", "unknown" or "not created", as the client says."""
    story: str
    created: int = 0
    """Tasks that the service created for it."""


def cases(plan: Plan) -> list[Case]:
    """Return the submits around one cut."""
    found = []
    for size, tls, session, way, at_s in product(plan.sizes, (False, True), ("own", "caller"), plan.ways, plan.moments):
        # Large ones are slow to prepare: those that are under way when the link is cut.
        if size != "large" or (at_s == plan.moments[0] and way != "close"):
            found.append(Case(size, tls, session, way, at_s))
    return found


# --- the service -------------------------------------------------------------------------------------


class Service:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(found[1])) if found else b""
                method, path, _ = head.decode().split(" ", 2)
                answer = json.dumps(self.answer(method, path, body)).encode()
                date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
                writer.write(
                    f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(answer)}\r\n\r\n".encode()
                    + answer
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        if method == "GET":
            return {"tasks": self.rows}
        fields = json.loads(body)
        if "image" in fields:
            fields["image"] = f"https://files.example/{len(self.rows)}.png"
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        identity = f"ck{len(self.rows) + 1}"
        row = {"id": identity, "createdAt": stamp, "model": path.rpartition("/")[2], "input": fields}
        self.rows.insert(0, {**row, "output": None, "status": "SUBMITTED", "completedAt": None})
        return {"status": "SUBMITTED", "taskId": identity}


async def serve(folder: Path) -> None:
    """Serve in the far namespace until the program is ended."""
    service = Service()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem")
    await asyncio.start_server(service.serve, FAR, PORTS[False], limit=1 << 20, backlog=1000)
    await asyncio.start_server(service.serve, FAR, PORTS[True], limit=1 << 20, backlog=1000, ssl=tls)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


# --- the link ----------------------------------------------------------------------------------------


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def make_link() -> None:
    """Make the far namespace and a link to it. This needs a user namespace in which the program is root."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    Path("/run/netns").mkdir()
    run("ip", "netns", "add", "far")
    run("ip", "link", "add", "name", "near", "type", "veth", "peer", "name", "far", "netns", "far")
    for address, name, where in ((NEAR, "near", ()), (FAR, "far", ("-n", "far"))):
        run("ip", *where, "addr", "add", f"{address}/24", "dev", name)
        run("ip", *where, "link", "set", name, "up")
        # Whole segments, so that a queue can hold as many as a real one.
        run("ip", *where, "link", "set", name, "gso_max_size", "1500")
    shape(OPEN)


def start_service(folder: Path) -> subprocess.Popen[str]:
    """Start this program in the far namespace, and wait until it listens."""
    command = ["ip", "netns", "exec", "far", sys.executable, "-m", "tests.support.real_network", "far", str(folder)]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    assert service.stdout.readline() == "ready\n"
    return service


def shape(discipline: str) -> None:
    for name, where in (("near", ()), ("far", ("-n", "far"))):
        run("tc", *where, "qdisc", "replace", "dev", name, "root", *discipline.split())


# --- the client --------------------------------------------------------------------------------------


@asynccontextmanager
async def client_of(case: Case, plan: Plan) -> AsyncIterator[AIVideoMaker]:
    url = f"{'https' if case.tls else 'http'}://{FAR}:{PORTS[case.tls]}"
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession()) if case.session == "caller" else None
        client = AIVideoMaker(
            "ak_of_a_real_network",
            base_url=url,
            limiter=RateLimiter(60_000),
            timeout=plan.timeout_s,
            allow_http=True,
            retries=RetryPolicy(grace=plan.grace_s),
            http=http,
        )
        async with client:
            # A connection that is kept stands open when the link is cut.
            await client.list_tasks()
            yield client


async def submit(case: Case, plan: Plan, cut: asyncio.Event, mended: asyncio.Event, cut_at: float) -> Result:
    image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(IMAGES[case.size])
    spec = (
        TextToVideo(prompt=case.name, aspect_ratio="16:9", duration=5)
        if case.size == "text"
        else ImageToVideo(image=image, prompt=case.name, duration=5)
    )
    async with client_of(case, plan) as client:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(cut_at + case.at_s - loop.time())
        call = asyncio.ensure_future(client.submit(spec))
        if case.way != "time-out":
            await cut.wait()
            await asyncio.wait([call], timeout=max(1.0, plan.away_s / 2))
            if case.way == "cancel":
                call.cancel()
            else:
                await client.aclose()
        try:
            task = await call
        except (asyncio.CancelledError, TransportError, SubmitOutcomeUnknown) as error:
            outcome, story = "not created", repr(error)
            unknown = error if isinstance(error, SubmitOutcomeUnknown) else next(iter(client.unsettled()), None)
        except Exception as error:
            # A closed client raises its own.
            outcome, story = "not created", repr(error)
            unknown = next(iter(client.unsettled()), None)
        else:
            return Result(case.name, "task", task.id)
    if unknown is not None:
        await mended.wait()
        # In a client of its own, since the other one may be closed.
        async with client_of(case, plan) as client:
            try:
                found = await client.reconcile(unknown)
            except SubmitOutcomeUnknown as error:
                outcome, story = "unknown", repr(error)
            else:
                outcome, story = ("not created", story) if found is None else ("task", found.id)
    return Result(case.name, outcome, story)


async def near(folder: Path, plan: Plan) -> list[Result]:
    """Make the link, start the service, cut the link under all submits, mend it, and return what became of them."""
    make_link()
    service = start_service(folder)
    try:
        cut, mended = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        chosen = cases(plan)
        cut_at = loop.time() + 2.0 + len(chosen) / 20
        calls = [asyncio.ensure_future(submit(case, plan, cut, mended, cut_at)) for case in chosen]
        await asyncio.sleep(cut_at - loop.time())
        await asyncio.to_thread(shape, CUTS[plan.how])
        cut.set()
        await asyncio.sleep(plan.away_s)
        await asyncio.to_thread(shape, OPEN)
        mended.set()
        results = await asyncio.gather(*calls)
        # What is still on its way may come.
        await asyncio.sleep(plan.settle_s)
        async with client_of(chosen[0], plan) as client:
            made = [row.input.get("prompt") for row in await client.list_tasks()]
        return [replace(result, created=made.count(result.name)) for result in results]
    finally:
        # Nothing of it is needed any more, and it cannot refuse.
        service.kill()
        service.wait()


def main() -> None:
    where, folder, *rest = sys.argv[1:]
    if where == "far":
        asyncio.run(serve(Path(folder)))
        return
    results = asyncio.run(near(Path(folder), Plan(**json.loads(rest[0]))))
    json.dump([asdict(result) for result in results], sys.stdout)


if __name__ == "__main__":
    main()
