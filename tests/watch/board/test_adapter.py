"""One process polls for all: the logic beside a board in memory, on a virtual clock; and once over a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from aivideomaker_async import (
    AIVideoMaker,
    RateLimiter,
    StatusBoard,
    TaskDetails,
    TaskNotFound,
    TaskStatus,
    TextToVideo,
)
from aivideomaker_async._watch.board.messages import BoardPort, Interest
from aivideomaker_async.simulator import Simulator
from tests.support.leaks import assert_nothing_held, settle
from tests.support.scripted import Action, Drop, Hang, Reply, ScriptedService, scripted
from tests.support.service import Service

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


class Member:
    """One process, as a board in memory sees it."""

    def __init__(self, board: Board, port: BoardPort) -> None:
        self.board, self.port = board, port
        self.interests: dict[str, Interest] = {}
        self.stepped_down = False
        self.deliveries = 0

    @property
    def is_leader(self) -> bool:
        return self.board.leader is self

    @property
    def is_follower(self) -> bool:
        return self.board.leader is not None and not self.is_leader and bool(self.interests)

    def add_interest(self, task_id: str, interest: Interest) -> None:
        if self.interests.get(task_id) != interest:
            self.interests[task_id] = interest
            self.board.changed(self, task_id)

    def remove_interest(self, task_id: str) -> None:
        if self.interests.pop(task_id, None) is not None:
            self.board.changed(self, task_id)

    def publish(self, task_id: str, news: TaskDetails | TaskStatus) -> None:
        if self.is_leader:
            self.board.send(self, "observed_elsewhere", task_id, news)

    def publish_missing(self, task_id: str) -> None:
        if self.is_leader:
            self.board.send(self, "missing_elsewhere", task_id)

    def publish_delivery(self, *, may_be_end: bool) -> None:
        self.deliveries += 1
        for member in self.board.members:
            if member is not self:
                report = partial(member.port.delivered_elsewhere, may_be_end=may_be_end)
                asyncio.get_running_loop().call_soon(report)

    def step_down(self) -> None:
        if self.is_leader:
            self.stepped_down = True
            self.board.appoint(next(member for member in self.board.members if member is not self))

    async def aclose(self) -> None:
        for task_id in tuple(self.interests):
            self.remove_interest(task_id)


class Board:
    """A board without a Redis: the first member with an interest leads, until it has none."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.leader: Member | None = None

    def client(self, *, origin: str, key: object, port: BoardPort) -> Any:
        del origin, key
        self.members.append(Member(self, port))
        return self.members[-1]

    def changed(self, member: Member, task_id: str) -> None:
        if self.leader is None or not self.leader.interests:
            self.appoint(next((other for other in self.members if other.interests), None))
        elif not member.is_leader:
            self.pass_on(task_id)

    def appoint(self, leader: Member | None) -> None:
        self.leader = leader
        for member in self.members:
            member.port.lead_changed()
        for task_id in {task_id for member in self.members if member is not leader for task_id in member.interests}:
            self.pass_on(task_id)

    def pass_on(self, task_id: str) -> None:
        if self.leader is None:
            return
        others = [member for member in self.members if member is not self.leader]
        interests = [member.interests[task_id] for member in others if task_id in member.interests]
        if interests:
            self.leader.port.interest_added(task_id, interests[0])
        else:
            self.leader.port.interest_removed(task_id)

    def send(self, sender: Member, what: str, *arguments: Any) -> None:
        for member in self.members:
            if member is not sender and arguments[0] in member.interests:
                asyncio.get_running_loop().call_soon(getattr(member.port, what), *arguments)


@asynccontextmanager
async def processes(service: Service, count: int) -> AsyncIterator[tuple[ScriptedService, list[AIVideoMaker], Board]]:
    """Clients that share a board and nothing else, as processes would, each with a limiter of its own."""
    board = Board()
    async with scripted(service) as server, AsyncExitStack() as stack:
        clients = [
            AIVideoMaker("ak_test", base_url=server.url, limiter=RateLimiter(), status_board=board)  # type: ignore[arg-type]
            for _ in range(count)
        ]
        for client in clients:
            await stack.enter_async_context(client)
        yield server, clients, board
        for client in clients:
            await assert_nothing_held(client)
        assert not any(member.interests for member in board.members)


def polls(clients: list[AIVideoMaker]) -> list[int]:
    return [client.statistics().polls for client in clients]


async def test_one_process_polls_for_all() -> None:
    """Six processes with five tasks each cost what one with all of them would."""
    service = Service()
    async with processes(service, 6) as (_, clients, _):
        tasks = [await client.submit(SPEC) for client in clients for _ in range(5)]
        began = asyncio.get_running_loop().time()
        videos = await asyncio.gather(*(task.result() for task in tasks))
        assert len({video.url for video in videos}) == 30
        assert asyncio.get_running_loop().time() - began < 121.5
        leader, *others = polls(clients)
    assert leader <= 125 and max(others) <= 2


async def test_changes_are_published_to_consumers_elsewhere() -> None:
    """Every change, in order, as if they had polled for themselves."""
    service = Service()
    async with processes(service, 2) as (_, (first, second), _):
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        await settle()
        task = await second.submit(SPEC)
        assert [str(change.status) async for change in task] == ["SUBMITTED", "PROGRESS", "COMPLETED"]
        assert second.statistics().polls <= 1
        await leading


async def test_a_leader_without_waiters_hands_over() -> None:
    """Its own tasks end first: the others go on, with another leader, and nobody is late."""
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (60.0 * number, "COMPLETED"))
    async with processes(service, 3) as (_, clients, board):
        loop = asyncio.get_running_loop()
        began = loop.time()
        waits = [asyncio.ensure_future((await client.submit(SPEC)).result()) for client in clients]
        for number, wait in enumerate(waits, 1):
            assert board.leader is None or board.leader is board.members[0] or number > 1
            await wait
            assert loop.time() - began < 60 * number + 5
        assert polls(clients)[2] > 10, "the last one had to poll for itself"


async def test_a_task_that_does_not_exist_ends_the_wait_elsewhere() -> None:
    """The leader gets a 404, and the process that waits asks for itself."""
    service = Service()
    async with processes(service, 2) as (_, (first, second), _):
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        await asyncio.sleep(5)
        with pytest.raises(TaskNotFound):
            await asyncio.wait_for(second.task("ck404").result(), 10)
        leading.cancel()
        await settle()


async def test_what_the_leader_knows_is_published_at_once() -> None:
    """A task that ended before another process asks for it costs no query."""
    service = Service()
    async with processes(service, 2) as (server, (first, second), _):
        done = await first.submit(SPEC)
        await done.result()
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        await asyncio.sleep(1)
        before = len(server.arrivals)
        video = await asyncio.wait_for(second.task(done.id).result(), 0.5)
        assert video.id == done.id and len(server.arrivals) == before
        leading.cancel()
        await settle()


async def test_a_leader_that_publishes_nothing_is_not_relied_on_for_ever() -> None:
    """It is alive and gets no answers: after a minute and a half the process that waits asks for itself."""
    service = Service()
    async with processes(service, 2) as (_, (first, second), board):
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        await settle()
        board.send = lambda *_: None  # type: ignore[method-assign]
        began = asyncio.get_running_loop().time()
        await (await second.submit(SPEC)).result()
        assert asyncio.get_running_loop().time() - began < 121 + 91
        await leading


async def test_an_end_without_its_output_is_asked_for_after_a_while() -> None:
    """The leader publishes that a task has ended, and dies before it publishes the output."""
    service = Service()
    async with processes(service, 2) as (_, (first, second), board):
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        task = await second.submit(SPEC)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(119)
        board.send = lambda *_: None  # type: ignore[method-assign]
        await asyncio.sleep(2)
        board.members[1].port.observed_elsewhere(task.id, TaskStatus.COMPLETED)
        await asyncio.wait_for(waiting, 8)
        await leading


async def test_a_delivery_travels_to_the_process_that_polls() -> None:
    """The receiver of the webhook is in another process than the one that waits. A flood is passed on once a second."""
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (20, "PROGRESS"), (120 if number == 1 else 500, "COMPLETED"))
    async with processes(service, 2) as (_, (first, second), board):
        first._add_receiver(lambda _: True)
        tasks = [await first.submit(SPEC, webhook_url="https://example.com/1234") for _ in range(2)]
        waits = [asyncio.ensure_future(task.result()) for task in tasks]
        await asyncio.sleep(120)
        for _ in range(100):
            second._wake(may_be_end=True)
        await asyncio.wait_for(waits[0], 0.3)
        assert board.members[1].deliveries == 1
        await asyncio.sleep(5)
        for _ in range(50):
            second._wake(may_be_end=False)
            await asyncio.sleep(0.1)
        assert 5 <= board.members[1].deliveries <= 8
        first._wake(may_be_end=True)
        await asyncio.sleep(2)
        assert board.members[0].deliveries == 0, "the leader acts on it alone"
        waits[1].cancel()
        await settle()


async def test_a_follower_leaves_its_own_deliveries_to_the_process_that_polls() -> None:
    """It passes them on, and knows of the end as soon as the other one."""
    service = Service()
    async with processes(service, 2) as (_, (first, second), _):
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        await settle()
        second._add_receiver(lambda _: True)
        task = await second.submit(SPEC, webhook_url="https://example.com/1234")
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(120)
        before = second.statistics().polls
        second._wake(may_be_end=True)
        await asyncio.wait_for(waiting, 0.3)
        assert second.statistics().polls == before
        await leading


async def test_a_refused_key_ends_the_waits_of_all_processes() -> None:
    """The leader's waits end and it resigns; the next one gets the same answer."""
    service = Service()
    async with processes(service, 2) as (_, clients, _):
        waits = [asyncio.ensure_future((await client.submit(SPEC)).result()) for client in clients]
        await asyncio.sleep(5)
        service.override = lambda _: Reply(401, {"status": "FAILED", "message": "Invalid API key"})
        results = await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 30)
        assert [type(result).__name__ for result in results] == ["AuthenticationFailed"] * 2


async def test_a_fresh_task_of_another_process_is_forgiven_a_404() -> None:
    """The service may not know it yet when the leader asks."""
    service = Service()
    async with processes(service, 2) as (_, (first, second), _):
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        task = await second.submit(SPEC)
        timeline = service.timelines.pop(task.id)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(10)
        service.timelines[task.id] = timeline
        await asyncio.gather(leading, waiting)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=False)
async def test_three_clients_over_a_real_redis_cost_what_one_does(redis_url: str) -> None:
    """The whole way: submits, one poller, news by pub/sub."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            Simulator(limit=None, durations=lambda *_: (0.5, 2.0), render=False, seed=5)
        )
        clients = []
        for _ in range(3):
            board = StatusBoard(redis_url, lease=0.5)
            client = AIVideoMaker(service.api_key, base_url=service.url, limiter=RateLimiter(600), status_board=board)
            clients.append(await stack.enter_async_context(client))
        tasks = [await client.submit(SPEC) for client in clients for _ in range(4)]
        videos = await asyncio.wait_for(asyncio.gather(*(task.result() for task in tasks)), 30)
        assert len({video.id for video in videos}) == 12
        counts = sorted(polls(clients))
        assert counts[0] + counts[1] < counts[2]


@pytest.mark.parametrize("how", [Drop(), Hang(), Reply(503)], ids=repr)
async def test_a_leader_that_the_service_does_not_answer_steps_down(how: Action) -> None:
    """Another process, on another host, may reach it: nobody waits for one host's network."""
    service = Service()
    async with processes(service, 2) as (_, (first, second), board):
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        await settle()
        task = await second.submit(SPEC)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(60)
        service.override = lambda item: how if board.leader is board.members[0] and item.method == "GET" else None
        await asyncio.wait_for(waiting, 60 + 35)
        assert board.members[0].stepped_down
        await leading


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("lists_work", [True, False])
async def test_a_follower_asks_rarely_and_never_stops(listed: bool, lists_work: bool) -> None:
    """Whether the list shows its tasks or not, and also where there is none."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (10, "PROGRESS"), (400, "COMPLETED"))
    service.unlisted = set() if listed else {"ck2", "ck3"}
    if not lists_work:
        service.override = lambda item: Reply(404) if item.path == "/api/v1/tasks" else None
    async with processes(service, 2) as (_, (first, second), board):
        leading = asyncio.ensure_future((await first.submit(SPEC)).result())
        await settle()
        board.send = lambda *_: None  # type: ignore[method-assign]
        tasks = [await second.submit(SPEC) for _ in range(2)]
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(task.result() for task in tasks))
        assert asyncio.get_running_loop().time() - began < 500
        assert second.statistics().polls <= 16
        await leading
