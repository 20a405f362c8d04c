"""The keys and channels in Redis where the members of a status board meet, and the commands on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, final

from ..._util.redis import RedisCommand, RedisConnections, RedisSubscription
from ...tasks import TaskDetails
from .messages import INTERESTS_PER_STEP, Interest, News, news_message, read_interest, write_message, write_news

__all__ = ["BoardStore"]

ENDED_KEPT_S: Final = 3600.0
"""How long the news that a task has ended stays in Redis."""

RUNNING_KEPT_S: Final = 30.0
"""How long any other news stays: older, it may differ from what the service answers now."""

LEASES_TO_LIVE: Final = 3
"""Leases after which a member without a heartbeat is dead, and its interests with it."""

_HEARTBEAT: Final = """
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

_READ_INTERESTS: Final = """
return {redis.call('HGET', KEYS[1], ''), redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])}
"""


@final
class BoardStore:
    """The keys and channels of one board in Redis.

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
        """The channel for all members."""
        self.interests: bytes = f"{prefix}:wanted".encode()
        """The channel for the leader: messages here are long."""
        self._lease = _milliseconds(lease)
        self._life = _milliseconds(lease * LEASES_TO_LIVE)

    def _interests_of(self, member: str) -> str:
        """Return the key of the hash with the interests of a member. The field without a name counts the changes."""
        return f"{self._prefix}:wants:{member}"

    def _news_of(self, task_id: str) -> str:
        return f"{self._prefix}:news:{task_id}"

    async def heartbeat(self, member: str) -> tuple[str, float, bool]:
        """Return the leader, the seconds for which it leads, and whether this member's interests are still there."""
        keys = [self._leader, self._members, self._interests_of(member)]
        lead = write_message("lead", member)
        arguments = member, self._lease, self._life, _milliseconds(ENDED_KEPT_S), self.events, lead
        leader, left, kept = await self._connections.run_script(_HEARTBEAT, keys, *arguments)
        return str(leader, "utf-8", "replace"), left / 1000, bool(kept)

    async def leave(self, member: str) -> None:
        """Remove a member with its interests, and resign if it leads."""
        keys = [self._leader, self._members, self._interests_of(member)]
        resign, leave = write_message("free", member), write_message("bye", member)
        await self._connections.run_script(_LEAVE, keys, member, self.events, resign, self.interests, leave)

    async def write(self, member: str, version: int, changes: Mapping[str, Interest | None]) -> bool:
        """Write and publish changes of a member's interests; return whether there were none before."""
        key = self._interests_of(member)
        added = {task_id: interest.write() for task_id, interest in changes.items() if interest is not None}
        removed = [task_id for task_id, interest in changes.items() if interest is None]
        written = {**added, **dict.fromkeys(removed)}
        message = write_message("want", member, version=version, wants=written)
        commands: list[RedisCommand] = [
            ("HSET", key, "", version),
            ("PEXPIRE", key, self._life),
            ("SADD", self._members, member),
            ("PUBLISH", self.interests, message),
        ]
        if added:
            commands.append(("HSET", key, *chain.from_iterable(added.items())))
        if removed:
            commands.append(("HDEL", key, *removed))
        return bool((await self._connections.transaction(*commands))[0])

    async def broadcast(self, messages: Iterable[str]) -> None:
        """Send messages to all members."""
        await self._connections.transaction(*(("PUBLISH", self.events, message) for message in messages))

    async def publish(self, member: str, news: Mapping[str, News]) -> None:
        """Send news to all members, and keep it for those that come later."""
        rows = {task_id: write_news(task_id, item) for task_id, item in news.items()}
        kept: list[RedisCommand] = [
            ("SET", self._news_of(task_id), row, "PX", _milliseconds(_kept_for(news[task_id])))
            for task_id, row in rows.items()
        ]
        await self._connections.transaction(*kept, ("PUBLISH", self.events, news_message(member, rows.values())))

    async def read(self, ids: Iterable[str]) -> list[bytes]:
        """Return the last news of these tasks, as far as there is any."""
        (rows,) = await self._connections.transaction(("MGET", *map(self._news_of, ids)))
        return [row for row in rows if row is not None]

    async def versions(self) -> dict[str, int]:
        """Return the members that are alive, each with the number of its last change."""
        (names,) = await self._connections.transaction(("SMEMBERS", self._members))
        members = [str(name, "utf-8", "replace") for name in names]
        if not members:
            return {}
        counts = await self._connections.transaction(*(("HGET", self._interests_of(member), "") for member in members))
        found = dict(zip(members, counts, strict=True))
        if dead := [member for member, count in found.items() if count is None]:
            await self._connections.transaction(("SREM", self._members, *dead))
        return {member: _number(count) for member, count in found.items() if count is not None}

    async def read_interests(self, member: str, cursor: str) -> tuple[int, str, dict[str, Interest]]:
        """Return the number of a member's last change, where to read on ("0": nowhere), and some of its interests."""
        keys = [self._interests_of(member)]
        count, (after, parts) = await self._connections.run_script(_READ_INTERESTS, keys, cursor, INTERESTS_PER_STEP)
        texts = [str(part, "utf-8", "replace") for part in parts]
        pairs = ((task_id, read_interest(text)) for task_id, text in zip(texts[::2], texts[1::2], strict=True))
        found = {task_id: interest for task_id, interest in pairs if task_id and interest is not None}
        return _number(count), str(after, "ascii"), found

    async def subscribe_to_interests(self, subscription: RedisSubscription, is_on: bool) -> None:
        """Subscribe to changes of the members' interests, or unsubscribe."""
        change = subscription.subscribe if is_on else subscription.unsubscribe
        await self._connections.execute(lambda _: change(self.interests.decode()))

    async def receive(self, subscription: RedisSubscription, seconds: float) -> dict[str, Any] | None:
        """Return the next message, or None when there is none within `seconds`."""
        return await self._connections.next_message(subscription, seconds)

    def subscribe_to_events(self) -> _EventSubscription:
        """Return a subscription to what is sent to all members, for a `with` block."""
        return _EventSubscription(self._connections, self.events)


@final
class _EventSubscription:
    def __init__(self, connections: RedisConnections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._subscription: RedisSubscription | None = None

    async def __aenter__(self) -> RedisSubscription:
        self._subscription = await self._connections.subscribe(self._channel)
        return self._subscription

    async def __aexit__(self, *_: object) -> None:
        if self._subscription is not None:
            await self._connections.unsubscribe(self._subscription)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _kept_for(news: News) -> float:
    status = news.status if isinstance(news, TaskDetails) else news
    return ENDED_KEPT_S if status.is_terminal else RUNNING_KEPT_S


def _number(text: bytes | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0
