"""Waiting with webhooks: deliveries wake the poller, and when they stop, polling goes on as if there were none.

The receiver is mounted in an aiohttp.web server in the same event loop, and the simulator delivers to it over HTTP. In
virtual time a delivery comes at the very moment at which the task ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Final, Literal

from aiohttp import web
from attrs import frozen

from aivideomaker_async import AIVideoMaker, RateLimiter
from aivideomaker_async.webhooks import WebhookReceiver

from .contenders import CONTENDERS, POLL_2, SDK, SPEC, Contender, Job
from .detection import distribution
from .report import Report, Table
from .runs import Run, Summary, p95, run_once, summarise

__all__ = ["FULL", "SHORT", "Extent", "Webhooks", "measure", "report", "run"]

Failure = Literal["answers 500", "is gone"]


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    tasks: int
    runs: int


FULL: Final = Extent(tasks=50, runs=6)
SHORT: Final = Extent(tasks=50, runs=1)

DELIVERED: Final = f"{SDK}, webhooks"


@frozen(kw_only=True)
class Webhooks:
    """One line of the table."""

    contender: str
    part: str
    """Which of the tasks."""
    mean_delay: float
    """Seconds between the end of a task, which is when it is delivered, and its waiter knowing."""
    p95_delay: float
    max_delay: float
    queries: float
    """In one run, on average, for all its tasks."""
    refused: float
    worst_window: int
    runs: int


async def wait_with_webhooks(job: Job, *, failure: Failure | None = None) -> None:
    """The package with a receiver, which fails as soon as half of the tasks are known, if it is to."""
    limiter = RateLimiter()
    async with AIVideoMaker(job.key, base_url=job.url, limiter=limiter) as client, _Site(client, job.tasks) as site:

        async def one() -> None:
            task = await client.submit(SPEC, webhook_url=site.receiver.url_for())
            await task.result()
            job.known(task.id)
            await site.count(failure)

        await asyncio.gather(*(one() for _ in range(job.tasks)))


class _Site:
    """A web application that the receiver is a part of."""

    def __init__(self, client: AIVideoMaker, tasks: int) -> None:
        self._client = client
        self._left = tasks // 2
        self._fails = False
        app = web.Application()
        app.router.add_route("*", "/hooks/{token}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self.receiver: WebhookReceiver

    async def __aenter__(self) -> _Site:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.receiver = WebhookReceiver(self._client, f"http://{host}:{port}/hooks")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if self._fails:
            return web.Response(status=500)
        return await self.receiver.handle_aiohttp(request)

    async def count(self, failure: Failure | None) -> None:
        """Note that a task is known, and fail when it is time."""
        self._left -= 1
        if self._left == 0 and failure == "answers 500":
            self._fails = True
        elif self._left == 0 and failure == "is gone":
            await self._runner.cleanup()


def run(short: bool) -> Report:
    """Measure and report."""
    return report(*measure(SHORT if short else FULL))


def measure(extent: Extent) -> tuple[list[Webhooks], list[Summary]]:
    """Measure with deliveries, without any, and with such that stop half-way."""
    whole: dict[str, Contender] = {
        DELIVERED: wait_with_webhooks,
        SDK: CONTENDERS[SDK],
        POLL_2: CONTENDERS[POLL_2],
    }
    found, summaries = [], []
    for name, contender in whole.items():
        runs = _runs(contender, extent)
        found.append(_line(name, "all", runs, slice(None)))
        summaries.append(summarise(name, runs))
    half = extent.tasks // 2
    failures: tuple[Failure, ...] = ("answers 500", "is gone")
    for failure in failures:
        name = f"{SDK}, the receiver {failure} half-way"
        runs = _runs(partial(wait_with_webhooks, failure=failure), extent)
        found.append(_line(name, "before", runs, slice(0, half)))
        found.append(_line(name, "after", runs, slice(half, None)))
    return found, summaries


def _runs(contender: Contender, extent: Extent) -> list[Run]:
    return [run_once(contender, extent.tasks, seed=seed) for seed in range(extent.runs)]


def _line(contender: str, part: str, runs: Sequence[Run], which: slice) -> Webhooks:
    delays = [delay for run in runs for delay in run.delays[which]]
    return Webhooks(
        contender=contender,
        part=part,
        mean_delay=fmean(delays),
        p95_delay=p95(delays),
        max_delay=max(delays),
        queries=fmean(run.queries for run in runs),
        refused=fmean(run.refused for run in runs),
        worst_window=max(run.worst_window for run in runs),
        runs=len(runs),
    )


def report(found: Sequence[Webhooks], summaries: Sequence[Summary]) -> Report:
    """The figures for people."""
    table = Table(
        title=f"With webhooks: {summaries[0].tasks} tasks, in virtual time",
        columns=("contender", "tasks", "mean", "p95", "max", "queries of all", "429", "worst minute", "runs"),
        rows=[
            (
                line.contender,
                line.part,
                f"{line.mean_delay:.2f}",
                f"{line.p95_delay:.2f}",
                f"{line.max_delay:.2f}",
                f"{line.queries:.0f}",
                f"{line.refused:.1f}".removesuffix(".0"),
                str(line.worst_window),
                str(line.runs),
            )
            for line in found
        ],
    )
    plot = distribution("webhooks-distribution", "Delays with and without webhooks", summaries)
    return Report(figures=found, tables=[table], plots=[plot])
