"""Submits that are made exactly once, their prices and budgets, and their images.

A submit costs money when it arrives, and its answer may be lost: the connection breaks, the service restarts, the
caller gives up. To send it again could pay twice, to forget it would lose what was paid. This room promises:

- one submit buys one task at most, or raises `SubmitOutcomeUnknown` with all that is known of it;
- no two handles share a task, and no handle has the task of another order;
- a submit with the same idempotency key is the same submit within a process, whatever the service does with keys;
- a budget is not exceeded, and gets back what was refunded;
- what is sent is what was checked: an image is read once, however often it is sent, and a file of the caller's stays
  open and is put back to its position if it is seekable.

Every decision about money is a pure function of values (`state`, `matching`, `reconcile`); the rest of the room carries
it out. In case of doubt a decision is "unknown", never "not created".

How a submit goes (`service`): its images are loaded (`images`, `image_file`) and its request body is written (`body`);
its price is found (`prices`) and reserved (`budget`); it is registered (`registry`), sent, and settled by its answer.

    IDLE ── sent ──> IN_FLIGHT ── answered ──────────────────────────> DONE, with its task
     ^                   │
     │                   └── lost ──> LOST ── its task is listed ────> DONE, with its task
     │                                 │  └── it cannot be known ────> GIVEN_UP ── reconcile ──> LOST
     └──── refused, or not created ────┘

How a lost submit is settled (`lookup`, `reconcile`): the task list is requested until the end of the grace time. A task
with the key of the submit is its own. Else a task may be its own when it is what was ordered and was created since
(`matching`), and belongs to no other submit of this process. Whether the list shows everything is proven by the tasks
that this process was assigned in that time. All clients of one API key in a process share one registry, since the tasks
of one are no candidates for another.

A process that dies remembers nothing. What must survive it is an `Intent`, which is stored before the submit; another
process settles it first, as a submit that was lost just now.

Where a rule stands: when a lost submit is adopted, sent again or left to people: `reconcile`; whether a listed task is
what was ordered, and since when it exists: `matching`; the life of a submit and its snapshot in a pickled error:
`state`; what is stored before a submit: `intent`; what a purchase holds of its budgets, and when it comes back:
`budget`; what a quote means: `prices`.
"""

from .body import Body
from .budget import Budget
from .intent import Intent
from .prices import MODEL_CHECK_TIMEOUT_S, PERHAPS_RETIRED
from .registry import SubmitRegistry, registry_of
from .service import IdempotencyKey, SubmitResult, SubmitService

__all__ = [
    "MODEL_CHECK_TIMEOUT_S",
    "PERHAPS_RETIRED",
    "Body",
    "Budget",
    "IdempotencyKey",
    "Intent",
    "SubmitRegistry",
    "SubmitResult",
    "SubmitService",
    "registry_of",
]
