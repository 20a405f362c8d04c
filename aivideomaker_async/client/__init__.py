"""The client and its handles: the objects that users hold.

**What it promises.** Arguments are checked before anything is sent, and a wrong one is named with its value and what is
allowed. A client belongs to one event loop of one process, and says so when it is used elsewhere. Closing it ends every
wait; a client that is dropped without being closed is closed by the garbage collector, with a warning. Handles of one
task share one poller, and can be cancelled, timed out and dropped at any moment: the paid task goes on, unless its
cancellation was asked for.

**How it works.** The client decides nothing about money, limits or polling. It checks arguments, computes the deadline,
and hands each call to the room that does it: queries to `_http`, submits to `_submits`, waits to `_watch`, downloads to
`_files`. These rooms do not know each other; where one needs something of another (a refund that a wait has observed),
the client connects them with a plain function.

**Where the rules are.**

- `client`: `AIVideoMaker`, with all public calls;
- `rooms`: which rooms a client has entered; a call imports no more than it needs;
- `task`: the handle of a task: `watch`, `result`, `cancel`, and what a cancelled wait leaves behind;
- `generate_many`: many specs, a bounded number at once;
- `client_thread`: a client in an event loop and a thread of its own.
"""

from typing import TYPE_CHECKING

from .._util.lazy import names_on_use
from .client import AIVideoMaker, ClientStatistics

if TYPE_CHECKING:
    from .client_thread import ClientThread
    from .generate_many import GenerateMany, Outcome
    from .task import StatusWatch, VideoTask

__all__ = ["AIVideoMaker", "ClientStatistics", "ClientThread", "GenerateMany", "Outcome", "StatusWatch", "VideoTask"]

if not TYPE_CHECKING:
    # Type checkers would take every wrong name for one of these.
    __getattr__ = names_on_use(
        __name__,
        {"client_thread": "ClientThread", "generate_many": "GenerateMany Outcome", "task": "StatusWatch VideoTask"},
    )
