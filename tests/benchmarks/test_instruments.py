"""What the scenes measure with: clocks, counters, the verdict of the soak, and reports that lose nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from aivideomaker_async.simulator import Simulator
from benchmarks import __main__ as command
from benchmarks import detection, soak
from benchmarks.contenders import CONTENDERS, Job, session, submit
from benchmarks.loops import CountingLoop, ScaledLoop
from benchmarks.report import DOCS, Report, Table, put_into_docs
from benchmarks.runs import TaskTimes, percentiles, task_times
from benchmarks.soak import Books
from benchmarks.stalls import StallMeter
from benchmarks.worker import Work, workers
from tests.support.link import RESET, Link
from tests.support.virtual_clock import VirtualClockLoop


def test_a_scaled_loop_sleeps_as_much_shorter_as_its_clock_is_faster() -> None:
    async def nap() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        began, real = loop.time(), time.monotonic()
        await asyncio.sleep(20)
        return loop.time() - began, time.monotonic() - real

    with asyncio.Runner(loop_factory=partial(ScaledLoop, 200.0)) as runner:
        scaled, real = runner.run(nap())
    assert scaled >= 20
    assert 0.1 <= real < scaled / 10


def test_a_counting_loop_counts_the_bytes_that_its_clients_read() -> None:
    async def read() -> int:
        async with Simulator(render=False, history=300) as simulator:
            job = Job(url=simulator.url, key=simulator.api_key, tasks=1, known=lambda _: None)
            async with session(job) as http:
                await submit(http)
                async with http.get("/api/v1/tasks") as response:
                    return len(await response.read())

    loop = CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        length = runner.run(read())
    assert length < loop.bytes_read < length + 2000


@pytest.mark.parametrize("pauses", [(0, 0.01), (0.01, 0), (0.01, 0.01)])
def test_a_stall_of_the_loop_is_noticed_at_any_time(pauses: tuple[float, float]) -> None:
    async def stall() -> float:
        async with StallMeter() as meter:
            await asyncio.sleep(pauses[0])
            time.sleep(0.05)  # noqa: ASYNC251
            await asyncio.sleep(pauses[1])
        return meter.longest

    assert asyncio.run(stall()) > 0.04


def test_all_contenders_wait_for_the_same_tasks() -> None:
    assert task_times(5, seed=1) == task_times(5, seed=1) != task_times(5, seed=2)
    times = TaskTimes(3, old=2)
    assert [times() for _ in range(4)][2:] == task_times(2, seed=3)
    assert percentiles([7.0]) == (7.0,) * 101
    assert percentiles([float(number) for number in range(201)])[::50] == (0, 100, 200)


def test_a_worker_that_fails_is_an_error() -> None:
    """A figure without all its tasks would be wrong."""
    work = Work(url="http://127.0.0.1:1", key="", tasks=1, limiting="of the process")
    with workers(work, 1) as started, pytest.raises(RuntimeError, match="a worker failed"):
        started[0].finish()


@pytest.fixture(scope="module")
def books() -> Books:
    """The books of a small soak, which agree."""
    found = soak.measure(soak.Extent(submits=30, at_once=15, outages=0, cuts=1))
    kinds = [(one.keys, one.session, one.faultless) for one in found]
    assert kinds == [(keys, session, True) for keys in ("ignored", "kept") for session in ("client", "caller")], found
    assert "| 2026-03, session of the client | 2026-03, session of the caller |" in str(soak.report(found))
    return found[0]


@pytest.mark.parametrize(
    "change",
    [
        *({"created": 61}, {"credits_charged": 0}, {"budget_spent": 1}, {"budget_reserved": 5}, {"duplicates": 1}),
        *({"unaccounted": 1}, {"wrong_ends": 1}, {"wrong_files": 1}, {"crashes": 1}, {"hangs": 1}, {"tasks_left": 1}),
        *({"connections_left": 1}, {"descriptors_left": 1}, {"objects_left": 1_000_000}),
    ],
    ids=lambda change: next(iter(change)),
)
def test_books_that_do_not_agree_are_not_faultless(books: Books, change: dict[str, Any]) -> None:
    assert not evolve(books, **change).faultless


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_link_delivers_what_was_closed_and_not_what_was_reset(reset: bool) -> None:
    """As the kernel of a client does: it waits twice as long before each time that it sends again."""

    async def cut() -> tuple[float, bytes, float]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[bytes] = loop.create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                arrived.set_result(await reader.read())
            except ConnectionError:
                arrived.set_result(b"reset")
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, Link(server.sockets[0].getsockname()[1]) as link:
            began = loop.time()
            link.cut(10.0)
            _, writer = await asyncio.open_connection("127.0.0.1", int(link.url.rpartition(":")[2]))
            writer.write(b"an order")
            await asyncio.sleep(5.0)
            if reset:
                writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.close()
            return loop.time() - began, await asyncio.wait_for(arrived, 60.0), loop.time() - began

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        closed, came, at = runner.run(cut())
    assert (closed, came) == (5.0, b"reset" if reset else b"an order")
    assert 10.0 < at < 20.0


def test_more_tasks_of_an_order_than_submits_are_duplicates() -> None:
    assert soak._beyond(Counter(fox=3, whale=1), Counter(fox=2, whale=4, owl=1)) == 1


def test_the_docs_keep_their_words_and_get_new_figures(tmp_path: Path) -> None:
    """Only the text between the markers is replaced. Without markers nothing is written."""
    report = Report(figures=[], tables=[Table(title="Speed", columns=("who", "ratio"), rows=[("us", "1.1")])])
    copy = tmp_path / "benchmarks.md"
    copy.write_text(DOCS.read_text())
    for _ in range(2):
        put_into_docs([report], copy)
    text = copy.read_text()
    assert text.count("### Speed\n\n| who | ratio |\n| --- | --- |\n| us | 1.1 |") == 1
    assert text.splitlines()[0] == DOCS.read_text().splitlines()[0]
    copy.write_text("# Benchmarks\n")
    with pytest.raises(ValueError, match="markers"):
        put_into_docs([report], copy)


def test_the_command_prints_tables_and_writes_json_and_the_same_plots_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(detection, "SHORT", detection.Extent(runs={1: 1}, most_polled=1))
    for folder in ("one", "two"):
        command.main(["detection", "--short", "--output", str(tmp_path / folder)])
    assert "| aivideomaker_async |" in capsys.readouterr().out
    written = json.loads((tmp_path / "one" / "detection.json").read_text())
    assert {"python", "cores", "aiohttp"} <= written["machine"].keys()
    assert [line["contender"] for line in written["figures"]] == list(CONTENDERS)
    drawn = [(tmp_path / folder / "figures" / "detection-delay.svg").read_text() for folder in ("one", "two")]
    assert drawn[0].startswith("<?xml")
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("arguments", [["warp"], ["cpu", "--write-docs"]])
def test_the_command_refuses_an_unknown_scene_and_to_write_some_of_the_docs(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert "error:" in capsys.readouterr().err
