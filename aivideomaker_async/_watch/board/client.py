"""One client of the status board: its interests, its news, and its membership while it waits for anything.

A `BoardClient` lives as long as its client. While it has interests, a background asyncio task takes part in the board
as a member: a `_Membership`, which lasts until there is nothing to wait for, or until Redis cannot be used.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeVar, final

from ..._util.redis import RedisSubscription, RedisUnavailable
from .messages import (
    HEARTBEATS_PER_LEASE,
    INTERESTS_PER_STEP,
    BoardPort,
    Interest,
    LeaderLease,
    Message,
    News,
    RemoteInterests,
    Step,
    is_news,
    read_message,
    read_news,
    write_message,
)
from .store import BoardStore

__all__ = ["BoardClient"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

T = TypeVar("T")

MAX_RECONNECT_PAUSE_S: Final = 5.0
"""The longest time between two attempts to reach a Redis that cannot be used."""

NEWS_PER_MESSAGE: Final = 100

CLOSE_TIMEOUT_S: Final = 1.0
"""How long closing waits for an orderly resignation; without one the lease ends by itself."""


@final
class BoardClient:
    """One client of the board. Made by `StatusBoard.client`; it belongs to the event loop that uses it first.

    Args:
        store: the place in Redis where members meet.
        lease: seconds after which a leader without a heartbeat is replaced.
        port: what the client reports to.
        on_connected: called when Redis could be used.
        on_disconnected: called with the error when it could not; returns whether that is new.
        on_left: awaited after the client was closed.
    """

    def __init__(
        self,
        store: BoardStore,
        lease: float,
        port: BoardPort,
        *,
        on_connected: Callable[[], object],
        on_disconnected: Callable[[RedisUnavailable], bool],
        on_left: Callable[[BoardClient, asyncio.AbstractEventLoop], Awaitable[object]],
    ) -> None:
        self.store = store
        self.lease = lease
        self.port = port
        self.on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._on_left = on_left
        self.loop: asyncio.AbstractEventLoop | None = None
        self.interests: dict[str, Interest] = {}
        self.steps_down: bool = False
        """Whether it is to leave for a while."""
        self._delivery: bool | None = None
        self._task: asyncio.Task[None] | None = None
        self._membership: _Membership | None = None
        self._waker: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reported = (False, False)
        self._closed = False

    @property
    def is_leader(self) -> bool:
        """Whether this process polls for all."""
        return self._membership is not None and self._membership.lease.is_leader(self._membership.now())

    @property
    def is_follower(self) -> bool:
        """Whether another process is known to be alive and to poll for all."""
        return self._membership is not None and self._membership.lease.is_follower(self._membership.now())

    def add_interest(self, task_id: str, interest: Interest) -> None:
        """Wait for a task, or want something else of it. Starts the background task, if it does not run."""
        if self._closed or self.interests.get(task_id) == interest:
            return
        self.interests[task_id] = interest
        if self._membership is not None:
            self._membership.unwritten[task_id] = interest
        self._start()

    def remove_interest(self, task_id: str) -> None:
        """Wait for a task no more. After the last one the background task resigns, and ends."""
        if self.interests.pop(task_id, None) is not None:
            if self._membership is not None:
                self._membership.unwritten[task_id] = None
            self.wake()

    def publish(self, task_id: str, news: News) -> None:
        """Publish an observation, if this process leads; to be called for each. What is known is not sent again."""
        if self._membership is not None and self.is_leader:
            self._membership.publish(task_id, news)

    def publish_missing(self, task_id: str) -> None:
        """Publish that there is no such task, if this process leads."""
        if self._membership is not None and self.is_leader and task_id in self._membership.remote:
            self._membership.missing.append(task_id)
            self.wake()

    def publish_delivery(self, *, may_be_end: bool) -> None:
        """Tell all other processes that a webhook delivery came here; also if this one waits for nothing."""
        if not self._closed:
            self._delivery = self._delivery or may_be_end
            self._start()

    def step_down(self) -> None:
        """Resign, if this process leads, and do not lead again at once: it cannot reach the service."""
        if self.is_leader:
            self.steps_down = True
            self.wake()

    async def aclose(self) -> None:
        """Drop all interests, resign, and end the background task. A second time does nothing."""
        self._closed = True
        self.interests.clear()
        task, loop = self._task, self.loop
        if task is not None:
            self.wake()
            try:
                if self._membership is not None or self.has_delivery:
                    await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
            finally:
                task.cancel()
            await _ended(task)
        if loop is not None:
            self.loop = None
            await self._on_left(self, loop)

    # --- for the membership --------------------------------------------------------------------------

    def wake(self) -> None:
        """Wake the background task: there is something to do."""
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def sleep(self, until: float) -> None:
        """Wait for `wake`, until a time of the loop's clock at most."""
        loop = asyncio.get_running_loop()
        self._waker = loop.create_future()
        timer = loop.call_at(until, self.wake)
        try:
            await self._waker
        finally:
            timer.cancel()
            self._waker = None

    def report(self) -> None:
        """Report to the port if the lead has changed, now and when time alone changes it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        membership = self._membership
        if membership is not None:
            membership.check_lead()
            changes_at = membership.lease.changes_at(membership.now())
            if changes_at is not None:
                self._timer = membership.loop.call_at(changes_at, self.report)
        lead = self.is_leader, self.is_follower
        if lead != self._reported:
            self._reported = lead
            self.port.lead_changed()

    @property
    def has_delivery(self) -> bool:
        """Whether a webhook delivery is to be published."""
        return self._delivery is not None

    def take_delivery(self, sender: str) -> str:
        """Return the message of the delivery, which is then published."""
        may_be_end, self._delivery = self._delivery, None
        return write_message("hint", sender, ids=["urgent" if may_be_end else "later"])

    # --- the background task -------------------------------------------------------------------------

    def _start(self) -> None:
        if self._task is not None and not self._task.done():
            self.wake()
            return
        self.loop = asyncio.get_running_loop()
        self._task = self.loop.create_task(
            self._run(), name="aivideomaker_async.StatusBoard", context=contextvars.Context()
        )

    async def _run(self) -> None:
        failures = 0
        try:
            while self.interests or self.has_delivery:
                try:
                    if self.interests:
                        await self._take_part()
                    else:
                        await self.store.broadcast([self.take_delivery("-")])
                        self.on_connected()
                    failures = 0
                except RedisUnavailable as error:
                    # After a connection in between, the pauses begin anew.
                    failures = 1 if self._on_disconnected(error) else failures + 1
                    await self._pause_after(failures)
                except Exception:
                    # Nobody hangs for it: each process polls for itself.
                    logger.exception("the status board failed; this is a mistake in aivideomaker_async")
                    failures += 1
                    await self._pause_after(failures)
                if self.steps_down:
                    # Long enough for another to take the lead.
                    self.steps_down = False
                    await self._pause(2 * self.lease)
        finally:
            # Cancelled anywhere above, by `aclose` or from outside, nothing is left but this.
            self._leave()

    async def _take_part(self) -> None:
        self._membership = membership = _Membership(self)
        try:
            await membership.live()
        finally:
            self._leave()

    def _leave(self) -> None:
        self._membership = None
        self.report()

    async def _pause_after(self, failures: int) -> None:
        # A delivery is not worth a wait: the leader polls anyway.
        self._delivery = None
        await self._pause(min(MAX_RECONNECT_PAUSE_S, 0.2 * 2**failures) * random.uniform(0.5, 1))

    async def _pause(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while self.interests and asyncio.get_running_loop().time() < until:
            await self.sleep(until)


class _Membership:
    """A board client, for as long as it is connected to the others.

    Two coroutines share its state, and change it between two awaits only: `_serve` does what is due, `_listen` receives
    messages.
    """

    def __init__(self, client: BoardClient) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.me: str = secrets.token_hex(8)
        self.lease: LeaderLease = LeaderLease(self.me, client.lease)
        self.unwritten: dict[str, Interest | None] = dict(client.interests)
        """Changes of this process's interests that are not in Redis yet."""
        self.remote: RemoteInterests = RemoteInterests()
        self.missing: list[str] = []
        """Tasks of which is to be published that they do not exist."""
        self._client = client
        self._store = client.store
        self._version = 0
        self._unread: dict[str, None] = {}
        self._news: dict[str, News] = {}
        self._published: dict[str, News] = {}
        self._is_leader = False
        self._wants_interests = False
        self._receives_interests = False
        self._silent_heartbeats = 0
        self._compare_at = 0.0
        self._reading: tuple[str, int | None, str] | None = None
        self._slices: deque[Iterator[list[Step]]] = deque()

    def now(self) -> float:
        """Return the time of the loop."""
        return self.loop.time()

    async def live(self) -> None:
        """Take part until this process has no interests, or is to step down, then resign.

        Raises:
            RedisUnavailable: the others cannot be reached.
        """
        async with self._store.subscribe_to_events() as subscription:
            listener = self.loop.create_task(self._listen(subscription), name="aivideomaker_async.StatusBoard.listener")
            listener.add_done_callback(lambda _: self._client.wake())
            try:
                await self._serve(subscription, listener)
            finally:
                # Cancelled here, the listener ends all the same, and its connection is closed by the subscription.
                listener.cancel()
                await _ended(listener)
                # What ended it was raised already, or something else was that is worse.
                _ = listener.cancelled() or listener.exception()
            self.lease.disconnected()
            self._client.report()
            await self._store.leave(self.me)

    def publish(self, task_id: str, news: News) -> None:
        """Publish an observation, if another process waits for the task and does not know it."""
        if task_id in self.remote and is_news(news, self._published.get(task_id)):
            self._published[task_id] = self._news[task_id] = news
            self._client.wake()

    def check_lead(self) -> None:
        """Forget the interests of the others when the lead has changed: a leader learns them anew."""
        is_leader = self.lease.is_leader(self.now())
        if is_leader != self._is_leader:
            self._is_leader = is_leader
            self.forget_remote()

    def forget_remote(self) -> None:
        """Forget the interests of the others, which are read again while this process leads."""
        self.remote = RemoteInterests()
        self._published.clear()
        self._slices.clear()
        self._reading = None
        self._compare_at = self.now()

    # --- what is due ---------------------------------------------------------------------------------

    async def _serve(self, subscription: RedisSubscription, listener: asyncio.Task[None]) -> None:
        client = self._client
        await self._heartbeat()
        client.on_connected()
        while not client.steps_down and (client.interests or client.has_delivery or self._news or self.missing):
            if listener.done():
                listener.result()
            if self._is_leader != self._wants_interests:
                self._wants_interests = self._is_leader
                if not self._is_leader:
                    self._receives_interests = False
                await self._store.subscribe_to_interests(subscription, self._wants_interests)
            else:
                await self._next_due()()

    def _next_due(self) -> Callable[[], Awaitable[None]]:
        due: list[tuple[object, Callable[[], Awaitable[None]]]] = [
            (self.now() >= self.lease.heartbeat_at, self._heartbeat),
            (self.missing or self._client.has_delivery, self._broadcast),
            (self._news, self._publish_news),
            (self.unwritten, self._write),
            (self._unread, self._read),
            (self._slices, self._take_slice),
            (self._reading or self.remote.stale, self._read_interests),
            (self._receives_interests and self.now() >= self._compare_at, self._compare),
        ]
        return next((do for is_due, do in due if is_due), self._sleep)

    async def _sleep(self) -> None:
        at = self.lease.heartbeat_at
        await self._client.sleep(min(at, self._compare_at) if self._receives_interests else at)

    async def _heartbeat(self) -> None:
        sent_at = self.now()
        leader, left, is_kept = await self._store.heartbeat(self.me)
        if self.lease.renewed(sent_at, leader, left, random.random()):
            # Messages of the last leader may not have arrived.
            self._unread.update(dict.fromkeys(self._client.interests))
        if self._version and not is_kept:
            self._write_all_again()
        self._client.report()
        # The leader sends a message with each of its heartbeats.
        self._silent_heartbeats += 1
        if self._silent_heartbeats > 2 * HEARTBEATS_PER_LEASE + 1:
            raise RedisUnavailable("messages of the other processes do not arrive")

    def _write_all_again(self) -> None:
        self.unwritten = {**self._client.interests, **self.unwritten}

    async def _broadcast(self) -> None:
        messages = [self._client.take_delivery(self.me)] if self._client.has_delivery else []
        if self.missing:
            messages.append(write_message("gone", self.me, ids=self.missing[:INTERESTS_PER_STEP]))
            del self.missing[:INTERESTS_PER_STEP]
        await self._store.broadcast(messages)

    async def _publish_news(self) -> None:
        await self._store.publish(self.me, _take(self._news, NEWS_PER_MESSAGE))

    async def _write(self) -> None:
        changes = _take(self.unwritten, INTERESTS_PER_STEP)
        self._version += 1
        is_first = await self._store.write(self.me, self._version, changes)
        if is_first and self._version > 1:
            # Redis has lost what was written before.
            self._write_all_again()
        self._unread.update((task_id, None) for task_id, interest in changes.items() if interest is not None)

    async def _read(self) -> None:
        ids = [task_id for task_id in _take(self._unread, NEWS_PER_MESSAGE) if task_id in self._client.interests]
        for row in await self._store.read(ids) if ids else ():
            self._take_news(read_news(row))

    # --- what the leader does besides ----------------------------------------------------------------

    async def _compare(self) -> None:
        self._compare_at = self.now() + self._client.lease
        remote = self.remote
        remote.count()
        versions = await self._store.versions()
        versions.pop(self.me, None)
        if remote is self.remote:
            self._slices.append(remote.compare(versions))

    async def _read_interests(self) -> None:
        remote = self.remote
        if self._reading is None:
            self._reading = min(remote.stale), None, "0"
            remote.begin(self._reading[0])
        member, version, cursor = self._reading
        current, cursor, interests = await self._store.read_interests(member, cursor)
        if remote is not self.remote:
            return
        version = current if version is None else version
        self._reading = member, version, cursor
        self._publish_again(interests)
        steps: list[Step] = remote.page(member, interests)
        if cursor == "0":
            self._reading = None
            steps += remote.finish(member, version or 0)
        self._take_steps(steps)

    def _publish_again(self, tasks: Iterable[str]) -> None:
        # A process that has just begun to wait has not received what was published before.
        for task_id in tasks:
            self._published.pop(task_id, None)

    async def _take_slice(self) -> None:
        steps = next(self._slices[0], None)
        if steps is None:
            self._slices.popleft()
        else:
            self._take_steps(steps)
        # However many interests are void at once, the event loop goes on.
        await asyncio.sleep(0)

    def _take_steps(self, steps: Iterable[Step]) -> None:
        for task_id, interest in steps:
            if interest is None:
                self._published.pop(task_id, None)
                self._client.port.interest_removed(task_id)
            else:
                self._client.port.interest_added(task_id, interest)

    # --- messages of the others ----------------------------------------------------------------------

    async def _listen(self, subscription: RedisSubscription) -> None:
        while True:
            received = await self._store.receive(subscription, self._client.lease)
            if received is not None:
                self._take_event(received)
                # However many messages have arrived at once, the event loop goes on.
                await asyncio.sleep(0)

    def _take_event(self, event: Mapping[str, Any]) -> None:
        is_for_leader = event["channel"] == self._store.interests
        if event["type"] == "subscribe" and is_for_leader and self._wants_interests:
            self._receives_interests = True
            self._compare_at = self.now()
            self._client.wake()
        elif event["type"] == "message" and (self._is_leader or not is_for_leader):
            self._silent_heartbeats = 0
            message = read_message(event["data"])
            if message is not None and message.sender != self.me:
                self._take_message(message)

    def _take_message(self, message: Message) -> None:
        port = self._client.port
        match message.kind:
            case "lead":
                self.lease.announced(message.sender, self.now())
            case "free":
                self.lease.resigned(message.sender, self.now())
                self._client.report()
            case "news":
                for row in message.rows:
                    if row.get("id") in self._client.interests:
                        self._take_news(read_news(row))
            case "gone":
                for task_id in message.ids:
                    if task_id in self._client.interests:
                        port.missing_elsewhere(task_id)
            case "hint":
                if message.ids:
                    port.delivered_elsewhere(may_be_end=not all(word.endswith("later") for word in message.ids))
            case "want":
                self._publish_again(message.interests)
                self._take_steps(self.remote.change(message.sender, message.version, message.interests))
            case "bye":
                self._slices.append(self.remote.drop(message.sender))
        self._client.wake()

    def _take_news(self, news: tuple[str, News] | None) -> None:
        if news is not None and news[0] in self._client.interests:
            self._client.port.observed_elsewhere(*news)


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for the end of a cancelled task; cancel it again, should what it awaited have lost the cancellation."""
    while not task.done():
        await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
        task.cancel()


def _take(some: dict[str, T], count: int) -> dict[str, T]:
    """Remove and return the first `count` items of a dict."""
    taken = dict(islice(some.items(), count))
    for name in taken:
        del some[name]
    return taken
