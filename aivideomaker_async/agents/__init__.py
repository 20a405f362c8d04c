"""Tools for agents: one set for every framework, none of which is imported.

**What it promises.** An agent gives up after a minute and asks again, in the same conversation or in another one; its
process may be killed at any moment. An order buys one video all the same. What it may spend is set by the program, not
by the model. Every call ends within 45 seconds with a report that says what to do next, and no exception leaves a tool.

**How it works.** A submit has an `order`, a name that the model gives. Before anything is sent, the order is written
down with its price and with the intent by which any process finds out what became of it (`AIVideoMaker.intend`). The
submit then runs on its own, whoever waits for it. One client in a thread and an event loop of its own (`ClientThread`)
serves all callers, so a tool works in any loop, in any thread, and in those that a framework makes for each call.

**Where the rules are.**

- `tools`: `VideoTools`, and what each tool does;
- `orders`: what each order has bought, on disk, and the sum of what they cost;
- `parameters`: the fields of the specs as arguments for models, and back; which files may be images;
- `functions`: how a tool is presented to frameworks;
- `reports`: what a tool answers, and the advice for every error.
"""

from .functions import Tool
from .parameters import Parameter
from .reports import Report
from .tools import VideoTools

__all__ = ["Parameter", "Report", "Tool", "VideoTools"]
