"""The tool sets of the agents' tests."""

from tests.agents.conftest import price, revision, service, tool_sets, tools

__all__ = ["price", "revision", "service", "tool_sets", "tools"]
