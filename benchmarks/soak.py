"""Thousands of submits and waits while the service misbehaves: `python -m benchmarks.soak`.

Simulator and client run in one process, on a clock that jumps over waits, so hours pass in minutes. Faults of all kinds
hit 5 % of all exchanges, at random. The link between them is cut for up to 90 s now and then, or away for two minutes,
and some of its connections are slow. Files come some seconds after their tasks have ended, and their links run out. The
jobs are what users do: wait for a video, download it, give up and come back, cancel at a random moment. In the end the
books are compared with the simulator's, which counts for itself, and a budget with what it has charged and given back.
One service is of the API's revision 2026-03 and ignores idempotency keys, the other is of 2026-09 and keeps them; each
is used through a session of the client, and through one of the caller, whose middleware raises errors of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from copy import copy
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from itertools import product
from math import log
from pathlib import Path
from typing import Any, Final, Literal, get_args
from unittest.mock import patch
from urllib.parse import urlsplit

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession
from attrs import asdict, define, evolve, field, frozen
from PIL import Image

from aivideomaker_async import (
    AIVideoMaker,
    AIVideoMakerError,
    Budget,
    ConnectFailed,
    DownloadError,
    ImageToVideo,
    RateLimiter,
    SubmitOutcomeUnknown,
    TaskFailed,
    TextToVideo,
    Video,
    VideoTask,
)
from aivideomaker_async import simulator as simulator_package
from aivideomaker_async.simulator import Simulator
from aivideomaker_async.simulator.body_corruption import changed_file
from tests.support.link import Link
from tests.support.virtual_clock import VirtualClockLoop

from .report import Report, Table, put_into_docs, write_json

__all__ = ["FULL", "SHORT", "Books", "Extent", "measure", "report"]

DOCS: Final = Path(__file__).parents[1] / "docs" / "reliability.md"

SHARE: Final = 0.05
"""Exchanges that are hit by a fault."""

Keys = Literal["ignored", "kept"]

REVISIONS: Final[dict[Keys, str]] = {"ignored": "2026-03", "kept": "2026-09"}

Owner = Literal["client", "caller"]
"""Whose aiohttp session carries the requests."""

FOREIGN_ERRORS: Final = (
    RuntimeError("closed"),
    ValueError("no such host"),
    KeyError("proxy"),
    OSError(113, "No route to host"),
    asyncio.IncompleteReadError(b"", 2),
)
"""Raised by the middleware of a caller's session."""

FAULTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *((kind, {"acted": acted}) for kind in ("drop", "reset", "hang") for acted in (False, True)),
    *(("status", {"status": status, "acted": acted}) for status in (500, 502, 503) for acted in (False, True)),
    *(("html", {"status": status, "acted": acted}) for status in (200, 502) for acted in (False, True)),
    *(("html", {"status": status, "acted": False}) for status in (401, 403, 404)),
    ("slow", {"seconds": 12.0}),
    ("trickle", {"seconds": 0.3, "size": 40}),
    ("truncate", {}),
    ("truncated_json", {}),
    ("wrong_types", {}),
    ("garbage", {}),
    ("empty", {}),
    ("huge", {"size": 2_000_000}),
    ("gzip_bomb", {"size": 2_000_000}),
    ("deep_json", {}),
    ("rate_limit", {"retry_after": 3}),
    ("rate_limit", {"retry_after": "soon"}),
    ("rate_limit", {"retry_after": None}),
)

FILE_FAULTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("drop", {}),
    ("reset", {"acted": True}),
    ("hang", {}),
    ("status", {"status": 503}),
    ("html", {"status": 403}),
    ("html", {"status": 502}),
    ("truncate", {}),
    ("trickle", {"seconds": 0.5, "size": 2000}),
    ("empty", {}),
    ("changed", {}),
    ("no_ranges", {}),
)

_CLIP: Final = (Path(simulator_package.__file__).parent / "clip.mp4").read_bytes()
VERSIONS: Final = (_CLIP, changed_file(_CLIP))
"""What a server has of each file, before and after it is changed."""

LATE_FILES_S: Final = 4.0
LINK_LIFETIME_S: Final = 600.0

LISTED: Final = 1000
"""Tasks that the list shows, the newest."""


@frozen(kw_only=True)
class Extent:
    """How much is done."""

    submits: int
    """For each revision and each owner of a session."""
    at_once: int
    outages: int
    cuts: int
    seed: int = 2026


FULL: Final = Extent(submits=5_000, at_once=400, outages=3, cuts=12)
SHORT: Final = Extent(submits=250, at_once=100, outages=1, cuts=2)


@frozen(kw_only=True)
class Books:
    """What the users' side and the simulator's side say in the end. Counts, credits and bytes."""

    keys: Keys
    session: Owner
    submits: int
    waits: int
    downloads: int
    downloads_failed: int
    """Those that ended with an error."""
    exchanges: int
    faults: int
    foreign_errors: int
    """Raised by the caller's session."""
    cuts: int
    """Of the link, for 1 to 90 s."""
    hours: float
    """That have passed for the client."""
    handles: int
    """Submits that returned a handle."""
    unknown: int
    """Submits that ended in `SubmitOutcomeUnknown`, or were cancelled after any of them was sent."""
    unknown_created: int
    """Those of them whose task exists."""
    settled: int
    """Those that `reconcile` settled in the end."""
    not_created: int
    """Submits that raised another error, or were cancelled before they were sent."""
    created: int
    credits_charged: int
    credits_expected: int
    """The price of all tasks that a handle or an unknown submit stands for."""
    credits_kept: int
    """What was charged, less what was given back."""
    budget_spent: int
    """The same, as the client's budget has it."""
    budget_reserved: int
    duplicates: int
    """Tasks beyond one for a submit, and handles beyond one for a task."""
    unaccounted: int
    """Tasks that no handle and no unknown submit stands for."""
    wrong_ends: int
    """Waits that returned another end than the task has."""
    wrong_files: int
    """Downloads that returned anything else than a version of the file."""
    crashes: int
    """Jobs that ended with an error of any other kind than the package promises."""
    hangs: int
    tasks_left: int
    connections_left: int
    descriptors_left: int
    objects_halfway: int
    """Objects of this package, without the simulator, that were alive halfway, with nothing to do."""
    objects_left: int
    """The same in the end."""

    @property
    def faultless(self) -> bool:
        """Whether the books agree and nothing is left."""
        wrong = (self.duplicates, self.unaccounted, self.wrong_ends, self.wrong_files, self.crashes, self.hangs)
        left = (self.tasks_left, self.connections_left, self.descriptors_left)
        agree = self.created == self.handles + self.unknown_created and self.credits_charged == self.credits_expected
        agree &= (self.budget_spent, self.budget_reserved) == (self.credits_kept, 0)
        # What an open client remembers is bounded in time, so twice the work leaves about the same.
        return agree and not any(wrong) and not any(left) and self.objects_left <= 1.5 * self.objects_halfway + 500


@define
class _Notes:
    """What the users' side writes down."""

    asked: Counter[str] = field(factory=Counter[str])
    """Submits by what was ordered."""
    handles: list[str] = field(factory=list[str])
    """The ids of the tasks that submits have returned."""
    unknown: dict[str, SubmitOutcomeUnknown] = field(factory=dict[str, SubmitOutcomeUnknown])
    not_created: int = 0
    waits: int = 0
    wrong_ends: int = 0
    downloads: int = 0
    downloads_failed: int = 0
    wrong_files: int = 0
    crashes: int = 0
    errors: Counter[str] = field(factory=Counter[str])


class _Users:
    """The jobs of one run."""

    def __init__(self, client: AIVideoMaker, simulator: Simulator, rng: random.Random, folder: Path) -> None:
        self.notes = _Notes()
        self._folder = folder
        self._client = client
        self._simulator = simulator
        self._rng = rng
        self._pictures = [_picture(color) for color in ("red", "green", "blue")]
        # On a slow connection this one takes longer than an answer may.
        self._large_picture = _noise(rng)
        self._number = 0

    async def work(self, jobs: int, at_once: int) -> int:
        """Do this many jobs; return how many never ended."""
        places = asyncio.Semaphore(at_once)
        running: set[asyncio.Task[None]] = set()
        for _ in range(jobs):
            await places.acquire()
            task = asyncio.create_task(self._one(), name="job")
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(lambda _: places.release())
        if running:
            await asyncio.wait(running, timeout=6 * 3600.0)
        hanging = len(running)
        for task in tuple(running):
            task.cancel()
        return hanging

    async def _one(self) -> None:
        kinds: tuple[tuple[int, Callable[[], Coroutine[Any, Any, None]]], ...] = (
            (72, self._wait),
            (8, self._download),
            (10, self._give_up_and_come_back),
            (6, self._cancel_the_submit),
            (4, self._watch),
        )
        (job,) = self._rng.choices([job for _, job in kinds], [weight for weight, _ in kinds])
        try:
            await job()
        except SubmitOutcomeUnknown as error:
            self.notes.unknown[error.idempotency_key] = error
        except AIVideoMakerError as error:
            self.notes.errors[type(error).__name__] += 1
            self.notes.not_created += 1
        except Exception as error:  # noqa: BLE001  (what is promised is tested)
            self.notes.errors[repr(error)] += 1
            self.notes.crashes += 1

    def _spec(self) -> TextToVideo | ImageToVideo:
        self._number += 1
        # Some orders are the same as others; and of images the list shows only URLs.
        number = self._number // 3 if self._rng.random() < 0.2 else self._number
        if self._rng.random() < 0.1:
            picture = self._rng.choice([*self._pictures, self._large_picture])
            return ImageToVideo(image=picture, prompt=f"picture {number} moves", duration=5)
        return TextToVideo(prompt=f"video number {number}", aspect_ratio="16:9", duration=5)

    async def _submit(self) -> VideoTask:
        spec = self._spec()
        self.notes.asked[str(spec.prompt)] += 1
        while True:
            try:
                task = await self._client.submit(spec)
            except ConnectFailed:
                # The server is away, and has got nothing.
                await asyncio.sleep(30.0)
            else:
                self.notes.handles.append(task.id)
                return task

    async def _wait(self) -> None:
        await self._result(await self._submit())

    async def _download(self) -> None:
        video = await self._result(await self._submit())
        if video is None:
            return
        if self._rng.random() < 0.3:
            # The link has run out by then.
            await asyncio.sleep(2 * LINK_LIFETIME_S)
        self.notes.downloads += 1
        path = self._folder / f"{video.id}.mp4"
        try:
            if self._rng.random() < 0.5:
                content = (await video.download(path)).read_bytes()
                path.unlink()
            else:
                async with video.stream() as pieces:
                    content = b"".join([piece async for piece in pieces])
        except DownloadError as error:
            self.notes.downloads_failed += 1
            self.notes.errors[f"download: {type(error).__name__} {error.status or ''}"] += 1
        else:
            self.notes.wrong_files += content not in VERSIONS

    async def _result(self, task: VideoTask) -> Video | None:
        self.notes.waits += 1
        video = None
        try:
            video = await task.result()
            end = "COMPLETED"
        except TaskFailed:
            end = "FAILED"
        except AIVideoMakerError as error:
            end = type(error).__name__
        actual = self._simulator.tasks.get(task.id)
        if actual is None or actual.status != end:
            self.notes.wrong_ends += 1
            self.notes.errors[f"{end} of {actual and actual.status}"] += 1
        return video

    async def _watch(self) -> None:
        task = await self._submit()
        seen = [change.status async for change in task]
        self.notes.waits += 1
        order = ["SUBMITTED", "PROGRESS", "COMPLETED"]
        is_right = [status for status in order if status in seen] == seen and seen[-1:] == ["COMPLETED"]
        self.notes.wrong_ends += not (is_right or self._simulator.tasks[task.id].status == seen[-1])

    async def _give_up_and_come_back(self) -> None:
        task = await self._submit()
        try:
            async with asyncio.timeout(self._rng.uniform(0.0, 120.0)):
                await task.result()
        except (TimeoutError, TaskFailed):
            await asyncio.sleep(self._rng.uniform(0.0, 60.0))
        await self._result(self._client.task(task.id))

    async def _cancel_the_submit(self) -> None:
        submit = asyncio.create_task(self._submit(), name="job's submit")
        for _ in range(self._rng.randrange(60)):
            # Most are over within a few dozen steps of the loop; those that are looked up take longer.
            await asyncio.sleep(0)
        if self._rng.random() < 0.5:
            await asyncio.sleep(self._rng.uniform(0.0, 20.0))
        submit.cancel()
        await asyncio.wait([submit])
        if submit.cancelled():
            # `on_unsettled` receives what may have arrived; nothing came of the rest.
            self.notes.not_created += 1
        else:
            submit.result()


def _picture(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 18), color).save(file, "PNG")
    return file.getvalue()


def _noise(rng: random.Random) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (256, 192), rng.randbytes(256 * 192 * 3)).save(file, "PNG")
    return file.getvalue()


class _Raising:
    """A middleware that raises before it sends a request, and after it was answered."""

    def __init__(self, rng: random.Random) -> None:
        self.raised = 0
        self._rng = rng

    async def __call__(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        self._raise()
        response = await send(request)
        try:
            self._raise()
        except BaseException:
            response.close()
            raise
        return response

    def _raise(self) -> None:
        if self._rng.random() < SHARE / 5:
            self.raised += 1
            raise copy(self._rng.choice(FOREIGN_ERRORS))


def _rate(rng: random.Random) -> float | None:
    """Bytes a second of a new connection."""
    return rng.uniform(2_000.0, 20_000.0) if rng.random() < SHARE else None


def _clock() -> type[datetime]:
    """Return a clock of the day that goes on with the event loop's."""
    loop = asyncio.get_running_loop()
    began, began_at = datetime.now(UTC), loop.time()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return (began + timedelta(seconds=loop.time() - began_at)).astimezone(tz)

    return Clock


def _durations(rng: random.Random) -> Callable[[str, int], tuple[float, float]]:
    return lambda _model, _seconds: (rng.uniform(1.0, 20.0), rng.lognormvariate(log(90.0), 0.5))


def _ours() -> int:
    """Objects of this package that are alive, those of the simulator not counted."""
    gc.collect()
    modules = (str(type(item).__module__) for item in gc.get_objects())
    return sum(name.startswith("aivideomaker_async") and ".simulator" not in name for name in modules)


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.exists() else 0


async def _run(extent: Extent, keys: Keys, owner: Owner) -> Books:
    rng = random.Random(extent.seed)
    descriptors = _descriptors()
    simulator = Simulator(
        revision=REVISIONS[keys],
        credits=10**9,
        seed=extent.seed,
        render=False,
        durations=_durations(rng),
        late_cancel=400,
        late_files=LATE_FILES_S,
        link_lifetime=LINK_LIFETIME_S,
        # The addresses of all that are shown are made anew for each answer.
        list_limit=LISTED,
    )
    raising, budget = _Raising(rng), Budget(10**9)
    async with AsyncExitStack() as stack:
        # The time of day, by which a late file is told from one that is gone, must jump as well.
        stack.enter_context(patch("aivideomaker_async._files.video.datetime", _clock()))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await stack.enter_async_context(simulator)
        link = await stack.enter_async_context(Link(urlsplit(simulator.url).port or 0, partial(_rate, rng)))
        http = await stack.enter_async_context(ClientSession(middlewares=[raising])) if owner == "caller" else None
        unsettled: list[SubmitOutcomeUnknown] = []
        client = AIVideoMaker(
            simulator.api_key,
            base_url=link.url,
            limiter=RateLimiter(),
            wait_timeout=4 * 3600.0,
            call_timeout=3600.0,
            on_unsettled=unsettled.append,
            budget=budget,
            http=http,
        )
        users = _Users(client, simulator, rng, folder)
        hangs, hours, halfway = await _work(users, extent, simulator, link, rng)
        simulator.clear_faults()
        for error in unsettled:
            users.notes.unknown[error.idempotency_key] = error
            users.notes.not_created -= 1
        books = await _compare(simulator, client, budget, users.notes)
        # What was settled long ago is forgotten with the next submit, and ended tasks after a day.
        await asyncio.sleep(25 * 3600.0)
        await client.submit(TextToVideo(prompt="the last one", aspect_ratio="16:9", duration=5))
        left = _ours()
        await client.aclose()
        if http is not None:
            await http.close()
        await asyncio.sleep(60.0)
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("aivideomaker_async")]
        return Books(
            keys=keys,
            session=owner,
            foreign_errors=raising.raised,
            cuts=extent.cuts,
            hours=hours,
            hangs=hangs,
            tasks_left=len(tasks),
            connections_left=link.connections,
            # Simulator and link still listen.
            descriptors_left=max(0, _descriptors() - descriptors - 2),
            objects_halfway=halfway,
            objects_left=left,
            **books,
        )


async def _work(
    users: _Users, extent: Extent, simulator: Simulator, link: Link, rng: random.Random
) -> tuple[int, float, int]:
    """Let the users work in two halves; return how many hung, the hours, and the objects between the halves."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    _misbehave(simulator, rng)
    breaking = [asyncio.create_task(job) for job in (_outages(link, extent, rng), _cuts(link, extent, rng))]
    hangs = await users.work(extent.submits // 2, extent.at_once)
    await asyncio.sleep(1800.0)
    halfway = _ours()
    hangs += await users.work(extent.submits - extent.submits // 2, extent.at_once)
    await asyncio.gather(*breaking)
    await asyncio.sleep(1800.0)
    return hangs, round((loop.time() - began) / 3600, 1), halfway


async def _compare(simulator: Simulator, client: AIVideoMaker, budget: Budget, notes: _Notes) -> dict[str, Any]:
    """Settle what is unknown, and return the part of the books that both sides write."""
    statistics = simulator.statistics()
    tasks = dict(simulator.tasks)
    by_key = Counter(task.idempotency_key for task in tasks.values())
    ordered = Counter(str(task.input["prompt"]) for task in tasks.values())
    handles = Counter(notes.handles)
    of_unknown = {task.id for task in tasks.values() if task.idempotency_key in notes.unknown}
    settled = 0
    for error in client.unsettled():
        try:
            await client.reconcile(error)
            settled += 1
        except SubmitOutcomeUnknown:
            pass
    for error in client.unsettled():
        # As a person does with access to the records of the service.
        client.settle(
            error, next((task.id for task in tasks.values() if task.idempotency_key == error.idempotency_key), None)
        )
    assert handles.keys() <= tasks.keys(), "a handle of no task"
    # Some failures were never observed.
    await client.list_tasks()
    if notes.errors:
        print("   ", dict(notes.errors))
    return {
        "submits": sum(handles.values()) + len(notes.unknown) + notes.not_created,
        "waits": notes.waits,
        "downloads": notes.downloads,
        "downloads_failed": notes.downloads_failed,
        "wrong_files": notes.wrong_files,
        "exchanges": statistics.requests,
        "faults": statistics.faults,
        "handles": sum(handles.values()),
        "unknown": len(notes.unknown),
        "unknown_created": sum(key in by_key for key in notes.unknown),
        "settled": settled,
        "not_created": notes.not_created,
        "created": len(tasks),
        "credits_charged": statistics.credits_charged,
        "credits_expected": sum(tasks[task_id].credits_charged for task_id in {*handles, *of_unknown}),
        "credits_kept": statistics.credits_charged - statistics.credits_refunded,
        "budget_spent": budget.spent,
        "budget_reserved": budget.reserved,
        "duplicates": _beyond(ordered, notes.asked) + sum(number - 1 for number in handles.values()),
        "unaccounted": len(tasks.keys() - set(handles) - of_unknown),
        "wrong_ends": notes.wrong_ends,
        "crashes": notes.crashes,
    }


def _beyond(created: Counter[str], asked: Counter[str]) -> int:
    """Tasks of an order beyond the submits of it. Submits of equal orders may have taken each other's."""
    return sum(max(0, number - asked[prompt]) for prompt, number in created.items())


def _misbehave(simulator: Simulator, rng: random.Random) -> None:
    # Each request is hit by one fault at most, the first that takes it.
    one = 1 - (1 - SHARE) ** (1 / len(FAULTS))
    for kind, details in FAULTS:
        simulator.fault(kind, on="any", probability=one, **details)  # type: ignore[arg-type]
    one = 1 - (1 - SHARE) ** (1 / len(FILE_FAULTS))
    for kind, details in FILE_FAULTS:
        simulator.fault(kind, on="video", probability=one, **details)  # type: ignore[arg-type]


async def _outages(link: Link, extent: Extent, rng: random.Random) -> None:
    for _ in range(extent.outages):
        await asyncio.sleep(rng.uniform(100.0, 1200.0))
        await link.away(120.0)


async def _cuts(link: Link, extent: Extent, rng: random.Random) -> None:
    for _ in range(extent.cuts):
        await asyncio.sleep(rng.uniform(30.0, 300.0))
        link.cut(rng.uniform(1.0, 90.0))


def measure(extent: Extent) -> list[Books]:
    """Soak a service of each revision, through both kinds of sessions."""
    books = []
    for keys, owner in product(get_args(Keys), get_args(Owner)):
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            books.append(runner.run(_run(extent, keys, owner)))
    return books


def report(books: list[Books]) -> Report:
    """The books as a table, one column a service."""
    lines = [asdict(one) for one in books]
    names = {
        "submits": "submits asked for",
        "waits": "waits",
        "downloads": "downloads",
        "downloads_failed": "of these ended with an error",
        "exchanges": "exchanges",
        "faults": "of these with a fault",
        "foreign_errors": "errors of the caller's session",
        "cuts": "cuts of the link, for 1 to 90 s",
        "hours": "hours (of the clock that jumps)",
        "handles": "submits that returned a handle",
        "unknown": "reported unknown, or cancelled in flight",
        "unknown_created": "of these created",
        "settled": "of these settled by `reconcile` in the end",
        "not_created": "refused, failed or cancelled without a task",
        "created": "**tasks created** (= handles + unknown and created)",
        "credits_charged": "credits charged",
        "credits_expected": "credits expected",
        "credits_kept": "credits charged and not refunded",
        "budget_spent": "credits spent, by the budget",
        "budget_reserved": "credits still reserved, by the budget",
        "duplicates": "**duplicates**",
        "unaccounted": "tasks without a handle or an error",
        "wrong_ends": "waits with a wrong end",
        "wrong_files": "downloads with a wrong file",
        "crashes": "errors of any other kind than promised",
        "hangs": "hangs",
        "tasks_left": "asyncio tasks left",
        "connections_left": "connections left",
        "descriptors_left": "descriptors left",
        "objects_halfway": "objects of the package alive halfway",
        "objects_left": "the same in the end",
    }
    rows = [(title, *(f"{line[name]:,}" for line in lines)) for name, title in names.items()]
    columns = ("", *(f"{REVISIONS[one.keys]}, session of the {one.session}" for one in books))
    return Report(figures=books, tables=[Table(title="The soak", columns=columns, rows=rows)])


def main() -> None:
    """Soak, print the books, and fail when they do not agree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--short", action="store_true", help="some hundred submits: for CI")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--output", type=Path, default=Path("bench-output"), help="the folder of the JSON file")
    parser.add_argument("--write-docs", action="store_true", help="refresh the table of docs/reliability.md")
    options = parser.parse_args()
    extent = SHORT if options.short else FULL
    began = time.perf_counter()
    books = measure(evolve(extent, seed=options.seed))
    found = report(books)
    print(f"{found}\n\n({time.perf_counter() - began:.0f} s)")
    write_json(options.output / "soak.json", found.figures)
    if not all(one.faultless for one in books):
        raise SystemExit("the books do not agree")
    if options.write_docs:
        put_into_docs([found], DOCS)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
