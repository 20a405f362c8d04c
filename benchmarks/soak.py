"""Thousands of submits and waits while the service misbehaves: `python -m benchmarks.soak`.

Simulator and client run in one process, on a clock that jumps over waits, so hours pass in minutes. Faults of all kinds
hit 5 % of all exchanges, at random, and now and then the server is away for two minutes. The jobs are what users do:
wait for a video, give up and come back, cancel at a random moment. In the end the books are compared with the
simulator's, which counts for itself, and a budget with what it has charged and given back. One service is of the API's
revision 2026-03 and ignores idempotency keys, the other is of 2026-09 and keeps them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from math import log
from pathlib import Path
from typing import Any, Final, Literal

from attrs import asdict, define, field, frozen
from PIL import Image

from aivideomaker_async import (
    AIVideoMaker,
    AIVideoMakerError,
    Budget,
    ConnectFailed,
    ImageToVideo,
    RateLimiter,
    SubmitOutcomeUnknown,
    TaskFailed,
    TextToVideo,
    VideoTask,
)
from aivideomaker_async.simulator import Simulator
from tests.support.virtual_clock import VirtualClockLoop

from .report import Report, Table, put_into_docs, write_json

__all__ = ["FULL", "SHORT", "Books", "Extent", "measure", "report"]

DOCS: Final = Path(__file__).parents[1] / "docs" / "reliability.md"

SHARE: Final = 0.05
"""Exchanges that are hit by a fault."""

Keys = Literal["ignored", "kept"]

REVISIONS: Final[dict[Keys, str]] = {"ignored": "2026-03", "kept": "2026-09"}

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


@frozen(kw_only=True)
class Extent:
    """How much is done."""

    submits: int
    at_once: int
    outages: int
    seed: int = 2026


FULL: Final = Extent(submits=10_000, at_once=400, outages=6)
SHORT: Final = Extent(submits=400, at_once=100, outages=1)


@frozen(kw_only=True)
class Books:
    """What the users' side and the simulator's side say in the end. Counts, credits and bytes."""

    keys: Keys
    submits: int
    waits: int
    exchanges: int
    faults: int
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
        wrong = (self.duplicates, self.unaccounted, self.wrong_ends, self.hangs)
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
    errors: Counter[str] = field(factory=Counter[str])


class _Users:
    """The jobs of one run."""

    def __init__(self, client: AIVideoMaker, simulator: Simulator, rng: random.Random) -> None:
        self.notes = _Notes()
        self._client = client
        self._simulator = simulator
        self._rng = rng
        self._pictures = [_picture(color) for color in ("red", "green", "blue")]
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
            (80, self._wait),
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

    def _spec(self) -> TextToVideo | ImageToVideo:
        self._number += 1
        # Some orders are the same as others; and of images the list shows only URLs.
        number = self._number // 3 if self._rng.random() < 0.2 else self._number
        if self._rng.random() < 0.1:
            picture = self._rng.choice(self._pictures)
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

    async def _result(self, task: VideoTask) -> None:
        self.notes.waits += 1
        try:
            await task.result()
            end = "COMPLETED"
        except TaskFailed:
            end = "FAILED"
        except AIVideoMakerError as error:
            end = type(error).__name__
        actual = self._simulator.tasks.get(task.id)
        if actual is None or actual.status != end:
            self.notes.wrong_ends += 1
            self.notes.errors[f"{end} of {actual and actual.status}"] += 1

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


async def _run(extent: Extent, keys: Keys) -> Books:
    rng = random.Random(extent.seed)
    loop = asyncio.get_running_loop()
    descriptors = _descriptors()
    simulator = Simulator(
        revision=REVISIONS[keys],
        credits=10**9,
        seed=extent.seed,
        render=False,
        durations=_durations(rng),
        late_cancel=400,
    )
    budget = Budget(10**9)
    async with simulator:
        unsettled: list[SubmitOutcomeUnknown] = []
        client = AIVideoMaker(
            simulator.api_key,
            base_url=simulator.url,
            limiter=RateLimiter(),
            wait_timeout=4 * 3600.0,
            call_timeout=3600.0,
            on_unsettled=unsettled.append,
            budget=budget,
        )
        users = _Users(client, simulator, rng)
        began = loop.time()
        _misbehave(simulator, rng)
        away = asyncio.create_task(_outages(simulator, extent, rng))
        hangs = await users.work(extent.submits // 2, extent.at_once)
        await asyncio.sleep(1800.0)
        halfway = _ours()
        hangs += await users.work(extent.submits - extent.submits // 2, extent.at_once)
        away.cancel()
        simulator.clear_faults()
        await asyncio.sleep(1800.0)
        hours = (loop.time() - began) / 3600
        for error in unsettled:
            users.notes.unknown[error.idempotency_key] = error
            users.notes.not_created -= 1
        return await _close(simulator, client, budget, users.notes, keys, hangs, hours, halfway, descriptors)


async def _close(
    simulator: Simulator,
    client: AIVideoMaker,
    budget: Budget,
    notes: _Notes,
    keys: Keys,
    hangs: int,
    hours: float,
    halfway: int,
    descriptors: int,
) -> Books:
    statistics = simulator.statistics()
    tasks = dict(simulator.tasks)
    by_key = Counter(task.idempotency_key for task in tasks.values())
    ordered = Counter(str(task.input["prompt"]) for task in tasks.values())
    handles = Counter(notes.handles)
    unknown_created = sum(key in by_key for key in notes.unknown)
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
    budgeted = budget.spent, budget.reserved
    price = sum(tasks[task_id].credits_charged for task_id in {*handles, *of_unknown})
    if notes.errors:
        print("   ", dict(notes.errors))
    waits, ids = notes.waits, set(handles)
    # What was settled long ago is forgotten with the next submit, and ended tasks after a day.
    await asyncio.sleep(25 * 3600.0)
    await client.submit(TextToVideo(prompt="the last one", aspect_ratio="16:9", duration=5))
    left = _ours()
    await client.aclose()
    await asyncio.sleep(60.0)
    tasks_left = [task for task in asyncio.all_tasks() if task.get_name().startswith("aivideomaker_async")]
    connections = len(simulator._runner.server.connections) if simulator._runner and simulator._runner.server else 0
    return Books(
        keys=keys,
        submits=sum(handles.values()) + len(notes.unknown) + notes.not_created,
        waits=waits,
        exchanges=statistics.requests,
        faults=statistics.faults,
        hours=round(hours, 1),
        handles=sum(handles.values()),
        unknown=len(notes.unknown),
        unknown_created=unknown_created,
        settled=settled,
        not_created=notes.not_created,
        created=len(tasks),
        credits_charged=statistics.credits_charged,
        credits_expected=price,
        credits_kept=statistics.credits_charged - statistics.credits_refunded,
        budget_spent=budgeted[0],
        budget_reserved=budgeted[1],
        duplicates=_beyond(ordered, notes.asked) + sum(number - 1 for number in handles.values()),
        unaccounted=len(tasks.keys() - ids - of_unknown),
        wrong_ends=notes.wrong_ends,
        hangs=hangs,
        tasks_left=len(tasks_left),
        connections_left=connections,
        # The simulator still listens.
        descriptors_left=max(0, _descriptors() - descriptors - 1) if _descriptors() else 0,
        objects_halfway=halfway,
        objects_left=left,
    )


def _beyond(created: Counter[str], asked: Counter[str]) -> int:
    """Tasks of an order beyond the submits of it. Submits of equal orders may have taken each other's."""
    return sum(max(0, number - asked[prompt]) for prompt, number in created.items())


def _misbehave(simulator: Simulator, rng: random.Random) -> None:
    # Each request is hit by one fault at most, the first that takes it.
    one = 1 - (1 - SHARE) ** (1 / len(FAULTS))
    for kind, details in FAULTS:
        simulator.fault(kind, on="any", probability=one, **details)  # type: ignore[arg-type]


async def _outages(simulator: Simulator, extent: Extent, rng: random.Random) -> None:
    for _ in range(extent.outages):
        await asyncio.sleep(rng.uniform(100.0, 1200.0))
        simulator.outage(120.0)


def measure(extent: Extent) -> list[Books]:
    """Soak a service of each revision."""
    books = []
    for keys in ("ignored", "kept"):
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            books.append(runner.run(_run(extent, keys)))
    return books


def report(books: list[Books]) -> Report:
    """The books as a table, one column a service."""
    lines = [asdict(one) for one in books]
    names = {
        "submits": "submits asked for",
        "waits": "waits",
        "exchanges": "exchanges",
        "faults": "of these with a fault",
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
        "hangs": "hangs",
        "tasks_left": "asyncio tasks left",
        "connections_left": "connections left",
        "descriptors_left": "descriptors left",
        "objects_halfway": "objects of the package alive halfway",
        "objects_left": "the same in the end",
    }
    rows = [(title, *(f"{line[name]:,}" for line in lines)) for name, title in names.items()]
    columns = ("", *(f"{REVISIONS[one.keys]}, keys {one.keys}" for one in books))
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
    books = measure(Extent(submits=extent.submits, at_once=extent.at_once, outages=extent.outages, seed=options.seed))
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
