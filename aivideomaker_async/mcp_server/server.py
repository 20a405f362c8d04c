"""The handlers of the server: the tools, the question before a purchase, progress, resources and prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from .._util.version import __version__
from ..agents import Parameter, Report, Tool, VideoTools

__all__ = ["make_server"]

NAME: Final = "aivideomaker"

INSTRUCTIONS: Final = (
    "Makes videos from texts and images, for credits. Ask for the price first, and let the person agree to it. Submit "
    "once, under an order of your own, and keep its task_id. A video takes minutes: call wait_for_video again and "
    "again, and never submit a second time for the same video. Download it when it is finished: it is deleted after 24 "
    "hours."
)

ASK_BY_RESULT_SINCE: Final = "2026-07-28"
"""From this revision of the protocol on, a question to the person is a result, and the call is made again with it."""

WAIT: Final = "wait_for_video"

LONGEST_WAIT_S: Final = 45

SLICE_S: Final = 5
"""Seconds between two reports of progress."""

PRICE: Final = "price"
"""The name of the question before a purchase."""

AGREE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"agree": {"type": "boolean", "title": "Buy it", "description": "Whether to buy it at this price."}},
    "required": ["agree"],
}

_JSON_TYPES: Final[Mapping[type, str]] = {str: "string", int: "integer", bool: "boolean"}

OUTPUT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "description": "The status of the task, or PRICE, LIST, SUBMITTING, ERROR..."},
        "next": {"type": "string", "description": "What to do now."},
        "task_id": {"type": "string"},
        "order": {"type": "string"},
        "url": {"type": "string", "description": "Where the video is, for 24 hours."},
        "path": {"type": "string", "description": "Where it was saved."},
        "credits": {"type": "integer", "description": "What it costs; 1 credit is 0.01 USD."},
        "eta": {"type": "integer", "description": "Seconds until it will probably be finished."},
        "error": {"type": "string"},
        "message": {"type": "string"},
    },
    "required": ["status", "next"],
}

_Context = ServerRequestContext[Any, Any]


def make_server(tools: VideoTools, *, ask: bool = True) -> Server[Any]:
    """Return a server for a tool set, which stays the caller's to close.

    Args:
        tools: what all sessions use.
        ask: whether the person is asked before a purchase, where the client can put a question.
    """
    return _Handlers(tools, ask=ask).server()


class _Handlers:
    def __init__(self, tools: VideoTools, *, ask: bool) -> None:
        self._tools = {tool.name: tool for tool in tools.tools}
        self._set = tools
        self._ask = ask

    def server(self) -> Server[Any]:
        return Server(
            NAME,
            version=__version__,
            title="AI Video Maker",
            instructions=INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resource_templates=self.list_resource_templates,
            on_list_resources=self.list_resources,
            on_read_resource=self.read_resource,
            on_list_prompts=self.list_prompts,
            on_get_prompt=self.get_prompt,
        )

    # --- tools ---------------------------------------------------------------------------------------

    async def list_tools(self, _ctx: _Context, _params: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_shown(tool) for tool in self._tools.values()])

    async def call_tool(
        self, ctx: _Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        tool = self._tools.get(params.name)
        if tool is None:
            known = ", ".join(self._tools)
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r}; there are {known}")
        names = {one.name for one in tool.parameters}
        given = {name: value for name, value in (params.arguments or {}).items() if name in names}
        if tool.spends and self._ask and _can_be_asked(ctx):
            return await self._buy_if_agreed(ctx, params, tool, given)
        if tool.name == WAIT:
            return _result(await self._wait(ctx, tool, given))
        return _result(await self._set.call(tool, given))

    async def _wait(self, ctx: _Context, tool: Tool, given: Mapping[str, object]) -> Report:
        """Wait in slices, and report progress after each, which nobody gets who has not asked for it."""
        seconds = _seconds(given.get("seconds"))
        waited = 0
        while True:
            piece = min(SLICE_S, seconds - waited)
            report = await self._set.call(tool, {**given, "seconds": piece})
            waited += piece
            if waited >= seconds or report["status"] not in {"SUBMITTED", "PROGRESS"}:
                return report
            eta = report.get("eta")
            left = "" if eta is None else f", about {eta} s to go"
            total = None if eta is None else float(waited + eta)
            await ctx.session.report_progress(float(waited), total, f"{report['status']}{left}")

    # --- the question before a purchase --------------------------------------------------------------

    async def _buy_if_agreed(
        self, ctx: _Context, params: types.CallToolRequestParams, tool: Tool, given: dict[str, object]
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Ask the person with the price, and buy for no more than that."""
        answer = (params.input_responses or {}).get(PRICE)
        shown = _price_in(params.request_state)
        if answer is None or shown is None:
            # For nothing: an order that was bought before is told, and so is what is wrong.
            known = await self._set.call(tool, {**given, "max_credits": 0})
            if known.get("error") != "BudgetExceeded":
                return _result(known)
            quote = self._tools[tool.name.replace("submit_", "quote_", 1)]
            price = await self._set.call(quote, {name: value for name, value in given.items() if name != "order"})
            if price["status"] != "PRICE" or price["credits"] > min(price["max_credits"], price["budget_left"]):
                # Nothing to agree to: it is too dear.
                return _result(await self._set.call(tool, given))
            shown = int(price["credits"])
            question = _question(given, price)
            if ctx.protocol_version >= ASK_BY_RESULT_SINCE:
                request = types.ElicitRequest(
                    params=types.ElicitRequestFormParams(message=question, requested_schema=AGREE)
                )
                return types.InputRequiredResult(
                    input_requests={PRICE: request}, request_state=json.dumps({"credits": shown})
                )
            answer = await ctx.session.elicit_form(question, AGREE, ctx.request_id)
        if not isinstance(answer, types.ElicitResult) or answer.action != "accept":
            return _result(_declined())
        if not (answer.content or {}).get("agree", False):
            return _result(_declined())
        return _result(await self._set.call(tool, {**given, "max_credits": shown}))

    # --- resources and prompts -----------------------------------------------------------------------

    async def list_resources(self, _ctx: _Context, _params: object) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[])

    async def list_resource_templates(self, _ctx: _Context, _params: object) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            uri_template="video://{task_id}",
            name="video",
            title="A video",
            description="The status of a task, and the address of its video when it is finished.",
            mime_type="application/json",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(self, _ctx: _Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = str(params.uri)
        if not uri.startswith("video://"):
            raise MCPError(types.INVALID_PARAMS, f"there is no resource {uri!r}; there are video://{{task_id}}")
        task_id = unquote(uri.removeprefix("video://").rstrip("/"))
        report = await self._set.call(self._tools[WAIT], {"task_id": task_id, "seconds": 1})
        contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=str(report))
        return types.ReadResourceResult(contents=[contents])

    async def list_prompts(self, _ctx: _Context, _params: object) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=list(_PROMPTS.values()))

    async def get_prompt(self, _ctx: _Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        prompt = _PROMPTS.get(params.name)
        if prompt is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no prompt {params.name!r}; there are {', '.join(_PROMPTS)}")
        wishes = "\n".join(f"{name}: {value}" for name, value in (params.arguments or {}).items())
        text = f"{prompt.description}\n\n{wishes}\n\n{_STEPS}"
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=prompt.description, messages=[message])


_STEPS: Final = (
    "Choose the cheapest model that can do it, and tell me the price before you buy. Then submit it once, wait until "
    "it is finished, save it, and tell me where it is."
)

_PROMPTS: Final[dict[str, types.Prompt]] = {
    "text-to-video": types.Prompt(
        name="text-to-video",
        title="A video from a text",
        description="Make a video from this description.",
        arguments=[types.PromptArgument(name="description", description="What it shows.", required=True)],
    ),
    "image-to-video": types.Prompt(
        name="image-to-video",
        title="A video from an image",
        description="Make a video that begins with this image.",
        arguments=[
            types.PromptArgument(name="image", description="An address or the name of a file.", required=True),
            types.PromptArgument(name="description", description="What happens in it.", required=False),
        ],
    ),
}


# --- what is shown -----------------------------------------------------------------------------------


def _shown(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.name.replace("_", " ").capitalize(),
        description=tool.text,
        input_schema={
            "type": "object",
            "properties": {one.name: _property(one) for one in tool.parameters},
            "required": [one.name for one in tool.parameters if one.is_required],
        },
        output_schema=OUTPUT_SCHEMA,
        annotations=types.ToolAnnotations(
            read_only_hint=tool.reads_only,
            destructive_hint=tool.spends,
            idempotent_hint=tool.is_idempotent,
            open_world_hint=True,
        ),
    )


def _property(parameter: Parameter) -> dict[str, Any]:
    default = {} if parameter.default is None else {"default": parameter.default}
    return {"type": _JSON_TYPES[parameter.kind], "description": parameter.text, **default, **parameter.schema}


def _result(report: Report) -> types.CallToolResult:
    content: list[types.ContentBlock] = [types.TextContent(text=str(report))]
    if "url" in report:
        name = f"{report.get('task_id', 'video')}.mp4"
        content.append(types.ResourceLink(name=name, uri=report["url"], mime_type="video/mp4", title="The video"))
    return types.CallToolResult(content=content, structured_content=dict(report), is_error="error" in report)


def _can_be_asked(ctx: _Context) -> bool:
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and capabilities.elicitation is not None


def _question(given: Mapping[str, object], price: Report) -> str:
    about = "about " if price["is_estimate"] else ""
    wish = " ".join(str(given.get("prompt") or given.get("prompts") or "a video without words").split())
    shown = wish if len(wish) <= 200 else f"{wish[:199]}…"
    return (
        f"Buy a video ({price['model']}) for {about}{price['credits']} credits (USD {price['usd']:.2f})? "
        f"Order {given.get('order')}: {shown}"
    )


def _declined() -> Report:
    return Report(
        status="DECLINED",
        error="Declined",
        message="the person has not agreed to the price; nothing was bought",
        next="Ask the person what they want instead. Do not submit it again without their word.",
    )


def _price_in(state: str | None) -> int | None:
    """Return the price that was shown, from what the client has sent back."""
    try:
        shown = json.loads(state or "null")
    except ValueError:
        return None
    price = shown.get("credits") if isinstance(shown, dict) else None
    return price if isinstance(price, int) and not isinstance(price, bool) and price >= 0 else None


def _seconds(value: object) -> int:
    """Return how long to wait, within the limits of the tool."""
    try:
        seconds = int(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = LONGEST_WAIT_S
    return min(max(seconds, 1), LONGEST_WAIT_S)
