"""The command `mcp`, as far as it goes without a client: what cannot work is told before anything is served."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from tests.cli.conftest import Command

CEILINGS = ("--max-credits", "50", "--budget", "100")


@pytest.mark.parametrize(
    ("more", "environment", "code", "words"),
    [
        ((), {"AIVIDEO_API_KEY": ""}, 3, "AIVIDEO_API_KEY"),
        (("--http", "--host", "192.0.2.1"), {}, 3, "others could spend your credits there; set AIVIDEO_MCP_TOKEN"),
        (("--http",), {"AIVIDEO_MCP_TOKEN": "short"}, 3, "16 characters or more"),
        (("--model", "sora"), {}, 3, "must be a list of models out of t2v"),
        (("--print-config", "emacs"), {}, 2, "must be one of claude-code"),
        (("--max-credits", "x"), {}, 2, "max-credits"),
    ],
)
def test_what_cannot_work_is_told_at_once(
    cli: Command,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
    environment: dict[str, str],
    code: int,
    words: str,
) -> None:
    """In one line; standard output stays empty."""
    for name, value in ({"AIVIDEO_API_KEY": "ak_test"} | environment).items():
        monkeypatch.setenv(name, value)
    ran = cli("mcp", *CEILINGS, *more)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1


def test_without_the_extra_it_says_what_to_install(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aivideomaker_async.mcp_server", None)
    ran = cli("mcp", *CEILINGS)
    assert (ran.code, "pip install 'aivideomaker-async[mcp]'" in ran.err) == (3, True)


def test_a_configuration_is_a_result_for_a_file(cli: Command) -> None:
    """Where it goes is said beside it."""
    ran = cli("mcp", *CEILINGS, "--print-config", "cursor")
    assert json.loads(ran.out)["mcpServers"]["aivideomaker"]["command"] == "uvx"
    assert "~/.cursor/mcp.json" in ran.err
