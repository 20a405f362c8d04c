"""How each framework gets the tools, and how it calls one: by its own executor, without a model.

Each function registers the tools by the line of docs/agents.md, and returns what calls a tool by its name. What comes
back is what the framework would give to the model. No framework is imported before its function runs.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aivideomaker_async.agents import VideoTools

__all__ = ["AWAITED", "BLOCKING", "REQUIREMENTS"]

Call = Callable[[str, dict[str, Any]], Awaitable[Any]]
BlockingCall = Callable[[str, dict[str, Any]], Any]

REQUIREMENTS: Final[dict[str, tuple[str, ...]]] = {
    "mcp": ("mcp",),
    "fastmcp": ("fastmcp",),
    "pydantic-ai": ("pydantic-ai-slim",),
    "langchain": ("langchain-core",),
    "openai-agents": ("openai-agents",),
    "google-adk": ("google-adk",),
    "llama-index": ("llama-index-core",),
    "crewai": ("crewai",),
    "smolagents": ("smolagents",),
    "agno": ("agno",),
    "strands": ("strands-agents",),
    "autogen": ("autogen-core",),
    "haystack": ("haystack-ai",),
    "semantic-kernel": ("semantic-kernel",),
    "agent-framework": ("agent-framework-core",),
}


def mcp(tools: VideoTools) -> Call:
    from mcp import Client
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("videos")
    for function in tools.functions():
        server.add_tool(function)

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        async with Client(server) as client:
            return (await client.call_tool(name, arguments)).structured_content

    return call


def fastmcp(tools: VideoTools) -> Call:
    from fastmcp import Client, FastMCP

    server = FastMCP("videos")
    for function in tools.functions():
        server.tool(function)

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        async with Client(server) as client:
            return (await client.call_tool(name, arguments)).structured_content

    return call


def pydantic_ai(tools: VideoTools) -> Call:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        def model(messages: Any, _info: Any) -> ModelResponse:
            returned = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
            if returned:
                return ModelResponse(parts=[TextPart(returned[-1].model_response_str())])
            return ModelResponse(parts=[ToolCallPart(name, arguments)])

        agent = Agent(FunctionModel(model), tools=tools.functions())
        return (await agent.run("make it")).output

    return call


def _langchain(tools: VideoTools) -> dict[str, Any]:
    from langchain_core.tools import StructuredTool

    pairs = zip(tools.functions(), tools.blocking(), strict=True)
    made = [StructuredTool.from_function(func=b, coroutine=f, parse_docstring=True) for f, b in pairs]
    return {one.name: one for one in made}


def langchain(tools: VideoTools) -> Call:
    made = _langchain(tools)
    return lambda name, arguments: made[name].ainvoke(arguments)


def langchain_blocking(tools: VideoTools) -> BlockingCall:
    made = _langchain(tools)
    return lambda name, arguments: made[name].invoke(arguments)


def openai_agents(tools: VideoTools) -> Call:
    from agents import function_tool
    from agents.tool_context import ToolContext

    made = {one.name: one for one in [function_tool(function) for function in tools.functions()]}

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        text = json.dumps(arguments)
        context = ToolContext(context=None, tool_name=name, tool_call_id="1", tool_arguments=text)
        return await made[name].on_invoke_tool(context, text)

    return call


def google_adk(tools: VideoTools) -> Call:
    from google.adk.tools import FunctionTool

    made = {one.name: one for one in [FunctionTool(function) for function in tools.functions()]}

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return await made[name].run_async(args=arguments, tool_context=None)  # type: ignore[arg-type]

    return call


def _llama_index(tools: VideoTools) -> dict[str, Any]:
    from llama_index.core.tools import FunctionTool

    pairs = zip(tools.functions(), tools.blocking(), strict=True)
    made = [FunctionTool.from_defaults(fn=b, async_fn=f) for f, b in pairs]
    return {one.metadata.name: one for one in made}


def llama_index(tools: VideoTools) -> Call:
    made = _llama_index(tools)

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return (await made[name].acall(**arguments)).raw_output

    return call


def llama_index_blocking(tools: VideoTools) -> BlockingCall:
    made = _llama_index(tools)
    return lambda name, arguments: made[name].call(**arguments).raw_output


def crewai_blocking(tools: VideoTools) -> BlockingCall:
    from crewai.tools import tool

    made = {one.name: one for one in [tool(function) for function in tools.functions()]}
    return lambda name, arguments: made[name].run(**arguments)


def smolagents_blocking(tools: VideoTools) -> BlockingCall:
    from smolagents import tool

    made = {one.name: one for one in [tool(function) for function in tools.blocking()]}
    return lambda name, arguments: made[name](**arguments)


def agno(tools: VideoTools) -> Call:
    from agno.tools.function import Function, FunctionCall

    made = {one.name: one for one in [Function.from_callable(function) for function in tools.functions()]}

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        made[name].process_entrypoint()
        return (await FunctionCall(function=made[name], arguments=arguments).aexecute()).result

    return call


def strands(tools: VideoTools) -> Call:
    from strands import tool

    made = {one.tool_name: one for one in [tool(function) for function in tools.functions()]}

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        use = {"toolUseId": "1", "name": name, "input": arguments}
        results = [event async for event in made[name].stream(use, {})]
        return results[-1]

    return call


def autogen(tools: VideoTools) -> Call:
    from autogen_core import CancellationToken
    from autogen_core.tools import FunctionTool

    made = {one.name: one for one in [FunctionTool(f, description=f.__doc__ or "") for f in tools.functions()]}
    return lambda name, arguments: made[name].run_json(arguments, CancellationToken())


def haystack_blocking(tools: VideoTools) -> BlockingCall:
    from haystack.tools import create_tool_from_function

    made = {one.name: one for one in [create_tool_from_function(function) for function in tools.blocking()]}
    return lambda name, arguments: made[name].invoke(**arguments)


def semantic_kernel(tools: VideoTools) -> Call:
    from semantic_kernel import Kernel
    from semantic_kernel.functions import KernelArguments, kernel_function

    kernel = Kernel()
    kernel.add_functions("videos", [kernel_function(function) for function in tools.functions()])

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        result = await kernel.invoke(plugin_name="videos", function_name=name, arguments=KernelArguments(**arguments))
        return None if result is None else result.value

    return call


def agent_framework(tools: VideoTools) -> Call:
    from agent_framework import FunctionTool, tool

    made: dict[str, FunctionTool] = {one.name: one for one in [tool(function) for function in tools.functions()]}

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return [content.text for content in await made[name].invoke(arguments=arguments)]

    return call


AWAITED: Final[dict[str, Callable[[VideoTools], Call]]] = {
    "mcp": mcp,
    "fastmcp": fastmcp,
    "pydantic-ai": pydantic_ai,
    "langchain": langchain,
    "openai-agents": openai_agents,
    "google-adk": google_adk,
    "llama-index": llama_index,
    "agno": agno,
    "strands": strands,
    "autogen": autogen,
    "semantic-kernel": semantic_kernel,
    "agent-framework": agent_framework,
}
"""Frameworks that await their tools."""

BLOCKING: Final[dict[str, Callable[[VideoTools], BlockingCall]]] = {
    "langchain": langchain_blocking,
    "llama-index": llama_index_blocking,
    "crewai": crewai_blocking,
    "smolagents": smolagents_blocking,
    "haystack": haystack_blocking,
}
"""Frameworks that call them in a thread, or without an event loop."""
