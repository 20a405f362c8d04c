"""The command `mcp`: the agents' tools as a server of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from ..client import AIVideoMaker
from ..errors import ConfigurationError
from ..specs import SPECS
from .context import InjectedContext
from .exit_codes import Exit, UsageError
from .options import whole_number

__all__ = ["mcp"]

_Credits = Annotated[int, Parameter(metavar="CREDITS", converter=whole_number, validator=Number(gte=0))]


async def mcp(  # noqa: D417  (the context is no argument of the command)
    *,
    max_credits: _Credits,
    budget: _Credits,
    name: str = "mcp",
    folder: Annotated[Path, Parameter(metavar="FOLDER")] = Path(),
    images: Annotated[Path | None, Parameter(metavar="FOLDER")] = None,
    model: Annotated[list[str] | None, Parameter(negative=(), metavar="MODEL")] = None,
    layout: Literal["one", "per-model"] = "one",
    ask: bool = True,
    http: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8765,
    simulate: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    print_config: Annotated[str | None, Parameter(metavar="CLIENT")] = None,
    context: InjectedContext,
) -> int:
    """Serve tools that make videos to an agent, over standard input and output (Model Context Protocol).

    Args:
        max_credits: credits that one video may cost at most.
        budget: credits that all videos of this name may cost together, also after a restart.
        name: whose orders and budget these are; another name has its own.
        folder: where videos are saved.
        images: a folder whose image files may be used; without it, only addresses and data URIs.
        model: a model that may be used; may be passed several times. By default all.
        layout: one tool for all models, or one for each, which suits small models better.
        ask: ask the person before a purchase, where the client can put a question.
        http: serve over HTTP instead. Elsewhere than on this machine it needs a token in AIVIDEO_MCP_TOKEN.
        host: where to listen with --http.
        port: where to listen with --http; 0 takes a free one.
        simulate: use a simulated service, which needs no key and costs nothing.
        print_config: print what a client wants in its configuration, and end: claude-code, claude-desktop, codex,
            cursor, gemini-cli, vscode, windsurf or zed.
    """
    try:
        from ..mcp_server import CLIENTS, TOKEN_VARIABLE, config, make_server, serve_http, serve_stdio
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this needs the extra mcp: pip install 'aivideomaker-async[mcp]' ({error.name} is missing)"
        ) from None

    if print_config is not None:
        if print_config not in CLIENTS:
            raise UsageError(f"--print-config {print_config}: must be one of {', '.join(CLIENTS)}")
        found = config(print_config, max_credits=max_credits, budget=budget)
        context.output.message(f"{found.client}: {found.where}")
        context.output.result(found.text)
        return Exit.OK
    async with AsyncExitStack() as stack:
        make = context.make_client
        if simulate:
            from ..simulator import Simulator

            simulator = await stack.enter_async_context(Simulator(revision="2026-09"))
            key, url = simulator.api_key, simulator.url

            def make() -> AIVideoMaker:
                return AIVideoMaker(key, base_url=url)

        else:
            # A key that is missing is told now, and not by every tool.
            await make().aclose()
        from ..agents import VideoTools

        tools = VideoTools(
            max_credits=max_credits,
            budget=budget,
            name=name,
            folder=folder,
            images=images,
            models=model or tuple(SPECS),
            layout=layout,
            client=make,
        )
        stack.push_async_callback(asyncio.to_thread, tools.close)
        server = make_server(tools, ask=ask)
        if not http:
            await serve_stdio(server)
            return Exit.OK
        token = os.environ.get(TOKEN_VARIABLE, "").strip() or None
        await serve_http(
            server,
            host=host,
            port=port,
            token=token,
            on_ready=lambda url: context.output.message(f"serving at {url} until Ctrl-C"),
        )
    return Exit.OK
