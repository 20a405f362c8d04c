"""One poller for many processes, also of several hosts: they meet in Redis, one of them polls, and tells the others.

    board = StatusBoard("redis://redis.internal")
    async with AIVideoMaker(status_board=board) as client: ...

Each client has a link. While its watcher waits for tasks, the link is a member: what it wants stands in Redis for as
long as it lives, and one member leads. News travels by pub/sub, which may lose it, so the last news of each task also
stays for a while. Without Redis everybody polls for itself, as if there were no board. What is decided is in
`_core.board`; here it is carried out.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final, Protocol, TypeVar, final
from weakref import WeakSet

from . import _checks
from ._core import board
from ._core.board import AT_ONCE, RENEWALS, Message, News, Others, Seat, Step, Want
from ._redis import Command, Connections, Ear, Gone, hashed
from .secrecy import Secret
from .tasks import TaskDetails, TaskStatus

__all__ = ["BoardLink", "BoardPort", "StatusBoard", "Want"]

logger: Final = logging.getLogger(__name__)

T = TypeVar("T")

NEWS_AT_ONCE: Final = 100
"""News in one message."""

ENDED_KEPT: Final = 3600.0
"""Seconds for which the news that a task has ended stays in Redis."""

RUNNING_KEPT: Final = 30.0
"""Seconds for which any other news stays: older, it is no longer what the service says now."""

LIVES: Final = 3
"""Leases after which a member that gives no sign is dead, and its wants with it."""

LONGEST_REST: Final = 5.0
"""Seconds between two attempts to reach a Redis that is gone, at most."""

GOODBYE: Final = 1.0
"""Seconds that closing takes at most to resign in good order; the lease ends by itself."""

HINTS_KEPT: Final = 1000
"""Hints that are kept until they can be told; they are no more than hints."""


class BoardPort(Protocol):
    """Whom a link tells. All calls come in the event loop of the client, and never raise."""

    def told(self, task_id: str, news: TaskDetails | TaskStatus) -> None:
        """Another process observed this. It may be older than what is known."""
        ...

    def told_gone(self, task_id: str) -> None:
        """The leader was told that there is no such task (404): ask yourself."""
        ...

    def told_hint(self, reference: str) -> None:
        """A webhook delivery arrived at another process."""
        ...

    def lead_changed(self) -> None:
        """`leads` or `follows` has changed. When `leads` has ended, all that others want is void, untold."""
        ...

    def others_want(self, task_id: str, want: Want) -> None:
        """Only while leading: processes elsewhere wait for this task; called again when they want something else.

        What is known of it already should be told at once, also if it has ended; the link drops what was told before.
        """
        ...

    def others_unwant(self, task_id: str) -> None:
        """Only while leading: no process elsewhere waits for this task any more."""
        ...


class StatusBoard:
    """Lets all processes with the same API key poll as one, over Redis.

    Give it to clients as `AIVideoMaker(status_board=board)`; one board can serve many clients, also in event loops of
    several threads. Of all processes that wait for tasks, one is the leader and polls for all; when it dies, another
    takes over within seconds. While Redis cannot be reached, every process polls for itself.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://...` with TLS, or `unix://path`.
        name: boards with different names do not meet; None for those that have none.
        lease: seconds after which a leader that gives no sign is replaced.

    Raises:
        ConfigurationError: an argument makes no sense, or the package `redis` is not installed.
    """

    def __init__(self, url: str, *, name: str | None = None, lease: float = 3.0) -> None:
        self._lease = _checks.seconds("lease", lease)
        self._connections = Connections(url)
        self._name = name
        self._links: WeakSet[BoardLink] = WeakSet()
        self._is_gone = False

    def __repr__(self) -> str:
        named = "" if self._name is None else f" name={self._name!r}"
        return f"<StatusBoard at {self._connections.place}{named}>"

    def link(self, *, origin: str, key: Secret | str, port: BoardPort) -> BoardLink:
        """The link of one client. It does nothing before it is used.

        Args:
            origin: the service, such as `aivideomaker.ai`.
            key: the API key. Redis never sees it.
            port: whom to tell what the others say.
        """
        text = key.reveal() if isinstance(key, Secret) else key
        place = _Place(self._connections, hashed("board", origin, text, self._name or ""), self._lease)
        link = BoardLink(self, place, self._lease, port)
        self._links.add(link)
        return link

    async def aclose(self) -> None:
        """Close the connections of the running event loop. Clients close their links; this is for what is left over."""
        await self._connections.aclose()

    async def _left(self, link: BoardLink, loop: asyncio.AbstractEventLoop) -> None:
        self._links.discard(link)
        if not any(other.loop is loop for other in self._links):
            await self._connections.aclose()

    def _lost(self, error: Gone) -> None:
        level = logging.DEBUG if self._is_gone else logging.WARNING
        self._is_gone = True
        place = self._connections.place
        logger.log(level, "the status board at %s cannot be used (%s): each process polls for itself", place, error)

    def _found(self) -> None:
        if self._is_gone:
            self._is_gone = False
            logger.info("the status board at %s can be used again", self._connections.place)


@final
class BoardLink:
    """What ties one client to the board. Made by `StatusBoard.link`; it belongs to the loop that uses it first."""

    def __init__(self, owner: StatusBoard, place: _Place, lease: float, port: BoardPort) -> None:
        self._owner = owner
        self._place = place
        self._lease = lease
        self.port: BoardPort = port
        self.loop: asyncio.AbstractEventLoop | None = None
        self.wants: dict[str, Want] = {}
        self.hints: deque[str] = deque(maxlen=HINTS_KEPT)
        self._task: asyncio.Task[None] | None = None
        self._member: _Member | None = None
        self._waker: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._shown = (False, False)
        self._closed = False

    @property
    def leads(self) -> bool:
        """Whether this process polls for all."""
        return self._member is not None and self._member.seat.leads(self._member.now())

    @property
    def follows(self) -> bool:
        """Whether another process is known to be alive and to poll for all."""
        return self._member is not None and self._member.seat.follows(self._member.now())

    def want(self, task_id: str, want: Want) -> None:
        """Wait for a task, or want something else of it. Starts the background task, if it does not run."""
        if self._closed or self.wants.get(task_id) == want:
            return
        self.wants[task_id] = want
        if self._member is not None:
            self._member.unsaid[task_id] = want
        self._start()

    def unwant(self, task_id: str) -> None:
        """Wait for a task no more. After the last one the background task resigns, and ends."""
        if self.wants.pop(task_id, None) is not None:
            if self._member is not None:
                self._member.unsaid[task_id] = None
            self.wake()

    def tell(self, task_id: str, news: TaskDetails | TaskStatus) -> None:
        """The leader observed this. To be called for each observation: what the others know is not told again."""
        if self._member is not None and self.leads:
            self._member.tell(task_id, news)

    def tell_gone(self, task_id: str) -> None:
        """The leader was told that there is no such task."""
        if self._member is not None and self.leads and task_id in self._member.others:
            self._member.gone.append(task_id)
            self.wake()

    def hint(self, reference: str) -> None:
        """Tell all other processes that a webhook delivery arrived here; also if this one waits for nothing."""
        if not self._closed and board.is_id(reference):
            self.hints.append(reference)
            self._start()

    async def aclose(self) -> None:
        """Wait for nothing any more, resign, and end the background task. A second time does nothing."""
        self._closed = True
        self.wants.clear()
        task, loop = self._task, self.loop
        if task is not None:
            self.wake()
            try:
                if self._member is not None or self.hints:
                    await asyncio.wait([task], timeout=GOODBYE)
            finally:
                task.cancel()
            await _ended(task)
        if loop is not None:
            self.loop = None
            await self._owner._left(self, loop)

    # --- for the member ------------------------------------------------------------------------------

    def wake(self) -> None:
        """There is something to do."""
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

    def look(self) -> None:
        """Tell the port if `leads` or `follows` has changed, now and when time alone changes it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        member = self._member
        if member is not None:
            member.look()
            turns_at = member.seat.turns_at(member.now())
            if turns_at is not None:
                self._timer = member.loop.call_at(turns_at, self.look)
        shown = self.leads, self.follows
        if shown != self._shown:
            self._shown = shown
            self.port.lead_changed()

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
            while self.wants or self.hints:
                try:
                    if self.wants:
                        await self._take_part()
                    else:
                        await self._place.say([self._hints_message("-")])
                        self._owner._found()
                    failures = 0
                except Gone as error:
                    # Who has met the others since then begins anew.
                    failures = 1 if not self._owner._is_gone else failures + 1
                    self._owner._lost(error)
                    await self._rest(failures)
        except Exception:
            # Nobody hangs for it: whoever waits polls for itself, and the next want tries again.
            logger.exception("the status board failed; this is a mistake in aivideomaker_async")
        finally:
            # Cancelled anywhere above, by `aclose` or from outside, nothing is left but this.
            self._leave()

    async def _take_part(self) -> None:
        self._member = member = _Member(self, self._place, self._lease)
        try:
            await member.live(self._owner._found)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._member = None
        self.look()

    async def _rest(self, failures: int) -> None:
        # A hint is worth no waiting: the leader polls anyway.
        self.hints.clear()
        until = asyncio.get_running_loop().time() + min(LONGEST_REST, 0.2 * 2**failures) * random.uniform(0.5, 1)
        while self.wants and asyncio.get_running_loop().time() < until:
            await self.sleep(until)

    def _hints_message(self, sender: str) -> str:
        hints = [self.hints.popleft() for _ in range(min(len(self.hints), NEWS_AT_ONCE))]
        return board.write_message("hint", sender, ids=hints)

    def take_hints(self, sender: str) -> list[str]:
        """The message that tells the hints, if there are any."""
        return [self._hints_message(sender)] if self.hints else []


class _Member:
    """One link, for as long as it is connected to the others.

    Two coroutines share its state, and change it between two awaits only: `_serve` does what is due, `_listen` hears.
    """

    def __init__(self, link: BoardLink, place: _Place, lease: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.me = secrets.token_hex(8)
        self.seat = Seat(self.me, lease)
        self.unsaid: dict[str, Want | None] = dict(link.wants)
        """Changes of what this process wants that do not stand in Redis yet."""
        self.others = Others()
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
        return self.loop.time()

    async def live(self, found: Callable[[], None]) -> None:
        """Take part until this process wants nothing more, then resign.

        Raises:
            Gone: the others cannot be reached.
        """
        async with _Ear(self._place) as ear:
            listener = self.loop.create_task(self._listen(ear), name="aivideomaker_async.StatusBoard.listener")
            listener.add_done_callback(lambda _: self._link.wake())
            try:
                await self._serve(ear, listener, found)
            finally:
                # Cancelled here, the listener ends all the same, and the connection is closed by `_Ear`.
                listener.cancel()
                await _ended(listener)
                # What ended it has been told, or something else has that was worse.
                _ = listener.cancelled() or listener.exception()
            self.seat.lost()
            self._link.look()
            await self._place.leave(self.me)

    def tell(self, task_id: str, news: News) -> None:
        if task_id in self.others and board.is_news(news, self._told.get(task_id)):
            self._told[task_id] = self._news[task_id] = news
            self._link.wake()

    def look(self) -> None:
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

    async def _serve(self, ear: Ear, listener: asyncio.Task[None], found: Callable[[], None]) -> None:
        await self._beat()
        found()
        while self._link.wants or self._link.hints or self._news or self.gone:
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
            raise Gone("what the others say does not arrive")

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

    async def _ask_for_wants(self, ear: Ear) -> None:
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

    async def _listen(self, ear: Ear) -> None:
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


async def _ended(task: asyncio.Task[None]) -> None:
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


# --- where they meet ---------------------------------------------------------------------------------

_BEAT: Final = """
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local kept = redis.call('PEXPIRE', KEYS[3], ARGV[3])
local leader = redis.call('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if not leader or leader == ARGV[1] or left < 0 then
    leader, left = leader or ARGV[1], tonumber(ARGV[2])
    redis.call('SET', KEYS[1], leader, 'PX', left)
end
if leader == ARGV[1] then
    redis.call('PUBLISH', ARGV[5], ARGV[6])
end
return {leader, left, kept}
"""

_LEAVE: Final = """
redis.call('DEL', KEYS[3])
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[4], ARGV[5])
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
    redis.call('PUBLISH', ARGV[2], ARGV[3])
end
"""

_READ_WANTS: Final = """
return {redis.call('HGET', KEYS[1], ''), redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])}
"""


@final
class _Place:
    """The keys and channels of one board in Redis, and all that is done with them.

    Each method is one round trip (`versions`: two), and raises `Gone` when Redis cannot be used.
    """

    def __init__(self, connections: Connections, name: str, lease: float) -> None:
        # In braces: on a cluster, all of one board is in one place.
        prefix = f"aivideomaker:board:{{{name}}}"
        self._connections = connections
        self._prefix = prefix
        self._leader = f"{prefix}:leader"
        self._members = f"{prefix}:members"
        self.events = f"{prefix}:events"
        self.wanted = f"{prefix}:wanted".encode()
        self._lease = _milliseconds(lease)
        self._life = _milliseconds(lease * LIVES)

    def _wants(self, member: str) -> str:
        """The hash of what a member wants. The field without a name counts the changes."""
        return f"{self._prefix}:wants:{member}"

    def _news(self, task_id: str) -> str:
        return f"{self._prefix}:news:{task_id}"

    async def beat(self, member: str) -> tuple[str, float, bool]:
        """Who leads, for how many seconds more, and whether this member's wants are still there."""
        keys = [self._leader, self._members, self._wants(member)]
        lead = board.write_message("lead", member)
        arguments = member, self._lease, self._life, _milliseconds(ENDED_KEPT), self.events, lead
        leader, left, kept = await self._connections.run(_BEAT, keys, *arguments)
        return str(leader, "utf-8", "replace"), left / 1000, bool(kept)

    async def leave(self, member: str) -> None:
        """Want nothing more, and resign."""
        keys = [self._leader, self._members, self._wants(member)]
        free, bye = board.write_message("free", member), board.write_message("bye", member)
        await self._connections.run(_LEAVE, keys, member, self.events, free, self.wanted, bye)

    async def write(self, member: str, version: int, changes: Mapping[str, Want | None]) -> bool:
        """Change what a member wants; whether there was nothing before."""
        key = self._wants(member)
        added = {task_id: want.write() for task_id, want in changes.items() if want is not None}
        removed = [task_id for task_id, want in changes.items() if want is None]
        written = {**added, **dict.fromkeys(removed)}
        message = board.write_message("want", member, version=version, wants=written)
        commands: list[Command] = [
            ("HSET", key, "", version),
            ("PEXPIRE", key, self._life),
            ("SADD", self._members, member),
            ("PUBLISH", self.wanted, message),
        ]
        if added:
            commands.append(("HSET", key, *chain.from_iterable(added.items())))
        if removed:
            commands.append(("HDEL", key, *removed))
        return bool((await self._connections.together(*commands))[0])

    async def say(self, messages: Iterable[str]) -> None:
        """Tell all members."""
        await self._connections.together(*(("PUBLISH", self.events, message) for message in messages))

    async def publish(self, member: str, news: Mapping[str, News]) -> None:
        """Tell all members what was observed, and keep it for those that come later."""
        rows = {task_id: board.write_news(task_id, item) for task_id, item in news.items()}
        kept: list[Command] = [
            ("SET", self._news(task_id), row, "PX", _milliseconds(_kept_for(news[task_id])))
            for task_id, row in rows.items()
        ]
        await self._connections.together(*kept, ("PUBLISH", self.events, board.news_message(member, rows.values())))

    async def read(self, ids: Iterable[str]) -> list[bytes]:
        """The last news of these tasks, as far as there are any."""
        (rows,) = await self._connections.together(("MGET", *map(self._news, ids)))
        return [row for row in rows if row is not None]

    async def versions(self) -> dict[str, int]:
        """The members that are alive, and how many changes each has told."""
        (names,) = await self._connections.together(("SMEMBERS", self._members))
        members = [str(name, "utf-8", "replace") for name in names]
        if not members:
            return {}
        counts = await self._connections.together(*(("HGET", self._wants(member), "") for member in members))
        found = dict(zip(members, counts, strict=True))
        if dead := [member for member, count in found.items() if count is None]:
            await self._connections.together(("SREM", self._members, *dead))
        return {member: _number(count) for member, count in found.items() if count is not None}

    async def read_wants(self, member: str, cursor: str) -> tuple[int, str, dict[str, Want]]:
        """How many changes a member has told, where to read on ("0": nowhere), and some of its wants."""
        count, (after, parts) = await self._connections.run(_READ_WANTS, [self._wants(member)], cursor, AT_ONCE)
        texts = [str(part, "utf-8", "replace") for part in parts]
        pairs = ((task_id, board.read_want(text)) for task_id, text in zip(texts[::2], texts[1::2], strict=True))
        return _number(count), str(after, "ascii"), {name: want for name, want in pairs if name and want is not None}

    async def ask_for_wants(self, ear: Ear, is_on: bool) -> None:
        """Hear of changes of what members want, or no more."""
        channel = self.wanted.decode()
        await self._connections.ask(lambda _: ear.subscribe(channel) if is_on else ear.unsubscribe(channel))

    async def hear(self, ear: Ear, seconds: float) -> dict[str, Any] | None:
        """What is said next, if anything is within so many seconds."""
        return await self._connections.hear(ear, seconds)

    async def subscribe(self) -> Ear:
        return await self._connections.subscribe(self.events)

    async def unsubscribe(self, ear: Ear) -> None:
        await self._connections.unsubscribe(ear)


@final
class _Ear:
    """A subscription to what is said to all, for a `with` block."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._ear: Ear | None = None

    async def __aenter__(self) -> Ear:
        self._ear = await self._place.subscribe()
        return self._ear

    async def __aexit__(self, *_: object) -> None:
        if self._ear is not None:
            await self._place.unsubscribe(self._ear)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _kept_for(news: News) -> float:
    status = news.status if isinstance(news, TaskDetails) else news
    return ENDED_KEPT if status.is_terminal else RUNNING_KEPT


def _number(text: bytes | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0
