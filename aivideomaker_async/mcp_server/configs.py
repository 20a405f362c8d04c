"""What the usual clients want to have in their configuration, as text to paste. Pure.

No text has the API key: it is named as a variable where the client can read one, else as a place to fill in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

__all__ = ["CLIENTS", "ClientConfig", "config"]

COMMAND: Final = "uvx"
PACKAGE: Final = "aivideomaker-async[mcp]"
KEY: Final = "AIVIDEO_API_KEY"

SERVER: Final = "aivideomaker"
"""The name of the server in the clients' lists."""


@frozen(kw_only=True)
class ClientConfig:
    """What to write into the configuration of one client."""

    client: str
    where: str
    """The file, or what to run, in words."""
    text: str


def _arguments(max_credits: int, budget: int) -> list[str]:
    return ["--from", PACKAGE, SERVER, "mcp", "--max-credits", str(max_credits), "--budget", str(budget)]


def _entry(max_credits: int, budget: int, key: str) -> dict[str, Any]:
    return {"command": COMMAND, "args": _arguments(max_credits, budget), "env": {KEY: key}}


def _json(section: str, key: str, **more: str) -> Callable[[int, int], str]:
    def text(max_credits: int, budget: int) -> str:
        return json.dumps({section: {SERVER: {**more, **_entry(max_credits, budget, key)}}}, indent=2)

    return text


def _claude_code(max_credits: int, budget: int) -> str:
    words = " ".join(f"'{word}'" if "[" in word else word for word in _arguments(max_credits, budget))
    return f"claude mcp add {SERVER} --env {KEY}=${KEY} -- {COMMAND} {words}"


def _codex(max_credits: int, budget: int) -> str:
    arguments = json.dumps(_arguments(max_credits, budget))
    lines = (f"[mcp_servers.{SERVER}]", f'command = "{COMMAND}"', f"args = {arguments}", f'env_vars = ["{KEY}"]')
    return "\n".join([*lines, "tool_timeout_sec = 60"])


def _zed(max_credits: int, budget: int) -> str:
    return json.dumps({"context_servers": {SERVER: _entry(max_credits, budget, f"<your {KEY}>")}}, indent=2)


_PLACE: Final = f"<your {KEY}>"

_CLIENTS: Final[Mapping[str, tuple[str, Callable[[int, int], str]]]] = {
    "claude-code": ("run this in a terminal", _claude_code),
    "claude-desktop": ("claude_desktop_config.json (Settings, Developer, Edit Config)", _json("mcpServers", _PLACE)),
    "codex": ("~/.codex/config.toml", _codex),
    "cursor": ("~/.cursor/mcp.json, or .cursor/mcp.json of a project", _json("mcpServers", f"${{env:{KEY}}}")),
    "gemini-cli": ("~/.gemini/settings.json", _json("mcpServers", f"${KEY}")),
    "vscode": (".vscode/mcp.json of a project", _json("servers", f"${{env:{KEY}}}", type="stdio")),
    "windsurf": ("~/.codeium/windsurf/mcp_config.json", _json("mcpServers", f"${{env:{KEY}}}")),
    "zed": ("~/.config/zed/settings.json", _zed),
}

CLIENTS: Final = tuple(_CLIENTS)
"""The names of the clients."""


def config(client: str, *, max_credits: int, budget: int) -> ClientConfig:
    """Return the configuration for a client.

    Args:
        client: one of `CLIENTS`.
        max_credits: credits that one video may cost.
        budget: credits that all may cost together.

    Raises:
        KeyError: there is no such client here.
    """
    where, text = _CLIENTS[client]
    return ClientConfig(client=client, where=where, text=text(max_credits, budget))
