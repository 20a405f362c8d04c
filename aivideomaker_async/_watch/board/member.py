"""One link of the status board while it takes part: it tells and hears, has a seat, and does what is due.

It stands between its link, which knows what this process wants, and the place in Redis where the members meet.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..._util.redis import RedisSubscription, RedisUnavailable
from . import messages as board
from .messages import AT_ONCE, RENEWALS, Message, News, Others, Seat, Step, Want
from .store import Place

if TYPE_CHECKING:
    from .link import BoardLink

__all__ = ["GOODBYE", "NEWS_AT_ONCE", "Member", "ended"]

T = TypeVar("T")

NEWS_AT_ONCE: Final = 100
"""News in one message."""

GOODBYE: Final = 1.0
"""Seconds that closing takes at most to resign in good order; the lease ends by itself."""


class Member:
    """One link, for as long as it is connected to the others.

    Two coroutines share its state, and change it between two awaits only: `_serve` does what is due, `_listen` hears.
    """

    def __init__(self, link: BoardLink, place: Place, lease: float) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.me: str = secrets.token_hex(8)
        self.seat: Seat = Seat(self.me, lease)
        self.unsaid: dict[str, Want | None] = dict(link.wants)
        """Changes of what this process wants that do not stand in Redis yet."""
        self.others: Others = Others()
        self.gone: list[str] = []
        self._link = link
        self._place = place
        self._lease = lease
        self._version = 0
        self._unread: dict[str, None] = {}
        self._news: dict[str, News] = {}
        self._told: dict[str, News] = {}
        self._leading = False
        self._asked_for_wants = False
        self._hears_wants = False
        self._silent_beats = 0
        self._compare_at = 0.0
        self._reading: tuple[str, int | None, str] | None = None
        self._slices: deque[Iterator[list[Step]]] = deque()

    def now(self) -> float:
        """The clock of the loop."""
        return self.loop.time()

    async def live(self, found: Callable[[], None]) -> None:
        """Take part until this process wants nothing more, or is to step down, then resign.

        Raises:
            RedisUnavailable: the others cannot be reached.
        """
        async with self._place.ear() as ear:
            listener = self.loop.create_task(self._listen(ear), name="aivideomaker_async.StatusBoard.listener")
            listener.add_done_callback(lambda _: self._link.wake())
            try:
                await self._serve(ear, listener, found)
            finally:
                # Cancelled here, the listener ends all the same, and the connection is closed by `Place.ear`.
                listener.cancel()
                await ended(listener)
                # What ended it has been told, or something else has that was worse.
                _ = listener.cancelled() or listener.exception()
            self.seat.lost()
            self._link.look()
            await self._place.leave(self.me)

    def tell(self, task_id: str, news: News) -> None:
        """The leader observed this; it is told if others want the task and do not know it."""
        if task_id in self.others and board.is_news(news, self._told.get(task_id)):
            self._told[task_id] = self._news[task_id] = news
            self._link.wake()

    def look(self) -> None:
        """See whether it leads."""
        leads = self.seat.leads(self.now())
        if leads != self._leading:
            # Each time it begins to lead, it learns anew what the others want.
            self._leading = leads
            self._forget_others()

    def _forget_others(self) -> None:
        self.others = Others()
        self._told.clear()
        self._slices.clear()
        self._reading = None
        self._compare_at = self.now()

    # --- what is due ---------------------------------------------------------------------------------

    async def _serve(self, ear: RedisSubscription, listener: asyncio.Task[None], found: Callable[[], None]) -> None:
        await self._beat()
        found()
        while not self._link.steps_down and (self._link.wants or self._link.hints or self._news or self.gone):
            if listener.done():
                listener.result()
            if self._leading != self._asked_for_wants:
                await self._ask_for_wants(ear)
            else:
                await self._next_due()()

    def _next_due(self) -> Callable[[], Awaitable[None]]:
        due: list[tuple[object, Callable[[], Awaitable[None]]]] = [
            (self.now() >= self.seat.beat_at, self._beat),
            (self.gone or self._link.hints, self._say),
            (self._news, self._publish),
            (self.unsaid, self._write),
            (self._unread, self._read),
            (self._slices, self._take_slice),
            (self._reading or self.others.stale, self._read_others),
            (self._hears_wants and self.now() >= self._compare_at, self._compare),
        ]
        return next((do for is_due, do in due if is_due), self._sleep)

    async def _sleep(self) -> None:
        at = self.seat.beat_at
        await self._link.sleep(min(at, self._compare_at) if self._hears_wants else at)

    async def _beat(self) -> None:
        sent_at = self.now()
        leader, left, is_kept = await self._place.beat(self.me)
        if self.seat.beaten(sent_at, leader, left, random.random()):
            # What the last leader said may not have arrived.
            self._unread.update(dict.fromkeys(self._link.wants))
        if self._version and not is_kept:
            self._say_all_again()
        self._link.look()
        # The leader says so with each of its beats.
        self._silent_beats += 1
        if self._silent_beats > 2 * RENEWALS + 1:
            raise RedisUnavailable("what the others say does not arrive")

    def _say_all_again(self) -> None:
        self.unsaid = {**self._link.wants, **self.unsaid}

    async def _say(self) -> None:
        messages = self._link.take_hints(self.me)
        if self.gone:
            messages.append(board.write_message("gone", self.me, ids=self.gone[:AT_ONCE]))
            del self.gone[:AT_ONCE]
        await self._place.say(messages)

    async def _publish(self) -> None:
        batch = _take(self._news, NEWS_AT_ONCE)
        await self._place.publish(self.me, batch)

    async def _write(self) -> None:
        batch = _take(self.unsaid, AT_ONCE)
        self._version += 1
        is_first = await self._place.write(self.me, self._version, batch)
        if is_first and self._version > 1:
            # Redis has lost what stood there before.
            self._say_all_again()
        self._unread.update((task_id, None) for task_id, want in batch.items() if want is not None)

    async def _read(self) -> None:
        ids = [task_id for task_id in _take(self._unread, NEWS_AT_ONCE) if task_id in self._link.wants]
        for row in await self._place.read(ids) if ids else ():
            self._hear_news(board.read_news(row))

    # --- what the leader does besides ----------------------------------------------------------------

    async def _ask_for_wants(self, ear: RedisSubscription) -> None:
        self._asked_for_wants = self._leading
        if not self._leading:
            self._hears_wants = False
        await self._place.ask_for_wants(ear, self._asked_for_wants)

    async def _compare(self) -> None:
        self._compare_at = self.now() + self._lease
        others = self.others
        others.count()
        versions = await self._place.versions()
        versions.pop(self.me, None)
        if others is self.others:
            self._slices.append(others.compare(versions))

    async def _read_others(self) -> None:
        others = self.others
        if self._reading is None:
            self._reading = min(others.stale), None, "0"
            others.begin(self._reading[0])
        member, version, cursor = self._reading
        is_version, cursor, wants = await self._place.read_wants(member, cursor)
        if others is not self.others:
            return
        version = is_version if version is None else version
        self._reading = member, version, cursor
        self._want_anew(wants)
        steps: list[Step] = others.page(member, wants)
        if cursor == "0":
            self._reading = None
            steps += others.finish(member, version or 0)
        self._take_steps(steps)

    def _want_anew(self, wants: Iterable[str]) -> None:
        # Who has just begun to want a task has not heard what was told before.
        for task_id in wants:
            self._told.pop(task_id, None)

    async def _take_slice(self) -> None:
        steps = next(self._slices[0], None)
        if steps is None:
            self._slices.popleft()
        else:
            self._take_steps(steps)
        # However many wants are void at once, the loop goes on.
        await asyncio.sleep(0)

    def _take_steps(self, steps: Iterable[Step]) -> None:
        for task_id, want in steps:
            if want is None:
                self._told.pop(task_id, None)
                self._link.port.others_unwant(task_id)
            else:
                self._link.port.others_want(task_id, want)

    # --- what the others say -------------------------------------------------------------------------

    async def _listen(self, ear: RedisSubscription) -> None:
        while True:
            heard = await self._place.hear(ear, self._lease)
            if heard is not None:
                self._hear(heard)
                # However much has arrived at once, the loop goes on.
                await asyncio.sleep(0)

    def _hear(self, heard: Mapping[str, Any]) -> None:
        is_want = heard["channel"] == self._place.wanted
        if heard["type"] == "subscribe" and is_want and self._asked_for_wants:
            self._hears_wants = True
            self._compare_at = self.now()
            self._link.wake()
        # What is said to the leader is long, and only read by the leader.
        elif heard["type"] == "message" and (self._leading or not is_want):
            self._silent_beats = 0
            message = board.read_message(heard["data"])
            if message is not None and message.sender != self.me:
                self._take_in(message)

    def _take_in(self, message: Message) -> None:
        match message.kind:
            case "lead":
                self.seat.heard(message.sender, self.now())
            case "free":
                self.seat.freed(message.sender, self.now())
                self._link.look()
            case "news":
                for row in message.rows:
                    if row.get("id") in self._link.wants:
                        self._hear_news(board.read_news(row))
            case "gone":
                for task_id in message.ids:
                    if task_id in self._link.wants:
                        self._link.port.told_gone(task_id)
            case "hint":
                for reference in message.ids:
                    self._link.port.told_hint(reference)
            case "want":
                self._want_anew(message.wants)
                self._take_steps(self.others.change(message.sender, message.version, message.wants))
            case "bye":
                self._slices.append(self.others.drop(message.sender))
        self._link.wake()

    def _hear_news(self, news: tuple[str, News] | None) -> None:
        if news is not None and news[0] in self._link.wants:
            self._link.port.told(*news)


async def ended(task: asyncio.Task[None]) -> None:
    """Wait until a task has ended that is cancelled; told again, should what it awaited have lost it."""
    while not task.done():
        await asyncio.wait([task], timeout=GOODBYE)
        task.cancel()


def _take(some: dict[str, T], count: int) -> dict[str, T]:
    """Take the first `count` items out of a dict."""
    taken = dict(islice(some.items(), count))
    for name in taken:
        del some[name]
    return taken
