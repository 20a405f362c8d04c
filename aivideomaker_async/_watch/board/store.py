"""Where the members of a status board meet: its keys and channels in Redis, and the commands on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, final

from ..._util.redis import RedisCommand, RedisConnections, RedisSubscription
from ...tasks import TaskDetails
from . import messages as board
from .messages import AT_ONCE, News, Want

__all__ = ["Place"]

ENDED_KEPT: Final = 3600.0
"""Seconds for which the news that a task has ended stays in Redis."""

RUNNING_KEPT: Final = 30.0
"""Seconds for which any other news stays: older, it is no longer what the service says now."""

LIVES: Final = 3
"""Leases after which a member that gives no sign is dead, and its wants with it."""

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
class Place:
    """The keys and channels of one board in Redis, and all that is done with them.

    Each method is one round trip (`versions`: two), and raises `RedisUnavailable` when Redis cannot be used.
    """

    def __init__(self, connections: RedisConnections, name: str, lease: float) -> None:
        # In braces: on a cluster, all of one board is in one place.
        prefix = f"aivideomaker:board:{{{name}}}"
        self._connections = connections
        self._prefix = prefix
        self._leader = f"{prefix}:leader"
        self._members = f"{prefix}:members"
        self.events: str = f"{prefix}:events"
        self.wanted: bytes = f"{prefix}:wanted".encode()
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
        leader, left, kept = await self._connections.run_script(_BEAT, keys, *arguments)
        return str(leader, "utf-8", "replace"), left / 1000, bool(kept)

    async def leave(self, member: str) -> None:
        """Want nothing more, and resign."""
        keys = [self._leader, self._members, self._wants(member)]
        free, bye = board.write_message("free", member), board.write_message("bye", member)
        await self._connections.run_script(_LEAVE, keys, member, self.events, free, self.wanted, bye)

    async def write(self, member: str, version: int, changes: Mapping[str, Want | None]) -> bool:
        """Change what a member wants; whether there was nothing before."""
        key = self._wants(member)
        added = {task_id: want.write() for task_id, want in changes.items() if want is not None}
        removed = [task_id for task_id, want in changes.items() if want is None]
        written = {**added, **dict.fromkeys(removed)}
        message = board.write_message("want", member, version=version, wants=written)
        commands: list[RedisCommand] = [
            ("HSET", key, "", version),
            ("PEXPIRE", key, self._life),
            ("SADD", self._members, member),
            ("PUBLISH", self.wanted, message),
        ]
        if added:
            commands.append(("HSET", key, *chain.from_iterable(added.items())))
        if removed:
            commands.append(("HDEL", key, *removed))
        return bool((await self._connections.transaction(*commands))[0])

    async def say(self, messages: Iterable[str]) -> None:
        """Tell all members."""
        await self._connections.transaction(*(("PUBLISH", self.events, message) for message in messages))

    async def publish(self, member: str, news: Mapping[str, News]) -> None:
        """Tell all members what was observed, and keep it for those that come later."""
        rows = {task_id: board.write_news(task_id, item) for task_id, item in news.items()}
        kept: list[RedisCommand] = [
            ("SET", self._news(task_id), row, "PX", _milliseconds(_kept_for(news[task_id])))
            for task_id, row in rows.items()
        ]
        await self._connections.transaction(*kept, ("PUBLISH", self.events, board.news_message(member, rows.values())))

    async def read(self, ids: Iterable[str]) -> list[bytes]:
        """The last news of these tasks, as far as there are any."""
        (rows,) = await self._connections.transaction(("MGET", *map(self._news, ids)))
        return [row for row in rows if row is not None]

    async def versions(self) -> dict[str, int]:
        """The members that are alive, and how many changes each has told."""
        (names,) = await self._connections.transaction(("SMEMBERS", self._members))
        members = [str(name, "utf-8", "replace") for name in names]
        if not members:
            return {}
        counts = await self._connections.transaction(*(("HGET", self._wants(member), "") for member in members))
        found = dict(zip(members, counts, strict=True))
        if dead := [member for member, count in found.items() if count is None]:
            await self._connections.transaction(("SREM", self._members, *dead))
        return {member: _number(count) for member, count in found.items() if count is not None}

    async def read_wants(self, member: str, cursor: str) -> tuple[int, str, dict[str, Want]]:
        """How many changes a member has told, where to read on ("0": nowhere), and some of its wants."""
        count, (after, parts) = await self._connections.run_script(_READ_WANTS, [self._wants(member)], cursor, AT_ONCE)
        texts = [str(part, "utf-8", "replace") for part in parts]
        pairs = ((task_id, board.read_want(text)) for task_id, text in zip(texts[::2], texts[1::2], strict=True))
        return _number(count), str(after, "ascii"), {name: want for name, want in pairs if name and want is not None}

    async def ask_for_wants(self, ear: RedisSubscription, is_on: bool) -> None:
        """Hear of changes of what members want, or no more."""
        channel = self.wanted.decode()
        await self._connections.execute(lambda _: ear.subscribe(channel) if is_on else ear.unsubscribe(channel))

    async def hear(self, ear: RedisSubscription, seconds: float) -> dict[str, Any] | None:
        """What is said next, if anything is within so many seconds."""
        return await self._connections.next_message(ear, seconds)

    def ear(self) -> _Subscribed:
        """A subscription to what is said to all, for a `with` block."""
        return _Subscribed(self._connections, self.events)


@final
class _Subscribed:
    def __init__(self, connections: RedisConnections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._ear: RedisSubscription | None = None

    async def __aenter__(self) -> RedisSubscription:
        self._ear = await self._connections.subscribe(self._channel)
        return self._ear

    async def __aexit__(self, *_: object) -> None:
        if self._ear is not None:
            await self._connections.unsubscribe(self._ear)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _kept_for(news: News) -> float:
    status = news.status if isinstance(news, TaskDetails) else news
    return ENDED_KEPT if status.is_terminal else RUNNING_KEPT


def _number(text: bytes | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0
