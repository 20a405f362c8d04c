"""Many processes, one poller: they meet in Redis, one of them polls, and publishes what it observes.

**What it promises.** The processes of any number of hosts that use one API key poll as one: a task costs the same
queries whether one process waits for it or ten. When the process that polls dies or cannot reach the service, another
takes over within seconds. Without Redis each process polls for itself, as if there were no board.

**How it works.** Each client that waits for tasks is a *member*. A lease in Redis names the leader; members send a
heartbeat three times a lease. Each member writes its *interests* (which tasks it waits for, and for what of them) into
a hash of its own, and publishes the changes. The leader keeps a copy of all interests, and subscribes to those tasks at
its own poller as if consumers of its own waited. What its poller observes is published, and the last news of each task
is kept for members that come later, since pub/sub may lose messages. Followers poll only for what the leader does not
bring, and once in 90 seconds to be safe.

**Where the rules are.**

- `status_board`: `StatusBoard`, which users make and give to clients;
- `adapter`: what ties the poller of one client to the board;
- `client`: the background task of one client, and its membership while it is connected;
- `messages`: who leads, what others wait for, what is news, and the text of all messages; no clock and no connection;
- `store`: keys, channels and scripts in Redis.

Whoever can write to that Redis can make a client poll, and report wrong statuses to its waiters; the API key is not in
it, only a hash. Nothing here is imported by a client without a board.
"""

from .status_board import StatusBoard

__all__ = ["StatusBoard"]
