"""The tools of `agents` as a server of the Model Context Protocol (extra `mcp`).

**What it promises.** What `agents` promises: one order buys one video, within the ceilings that whoever starts the
server has set. A client that can put a question to the person asks before anything is spent, with the price; no more
than the price that was shown is then paid. A call that is cancelled ends a wait, and never a submit. Standard output
carries the protocol and nothing else.

**How it works.** One `VideoTools` serves all sessions of the process. Input schemas are made from the tools' own
parameters: their rules are shown and not enforced, since the answer of a tool says more than a validator does.

**Where the rules are.**

- `server`: the handlers: tools, the question before a purchase, progress, resources, prompts;
- `transports`: standard input and output, and HTTP with its token;
- `configs`: what the usual clients want to have in their configuration. Pure.
"""

from .configs import CLIENTS, ClientConfig, config
from .server import make_server
from .transports import TOKEN_VARIABLE, serve_http, serve_stdio

__all__ = ["CLIENTS", "TOKEN_VARIABLE", "ClientConfig", "config", "make_server", "serve_http", "serve_stdio"]
