"""The tools: what each of them does, and the set of them that a program gives to its agents."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

from .._redaction import shorten, single_line
from .._submits import Intent
from .._util import validation
from .._util.fork import after_fork_in_child
from .._util.paths import expanded, user_state_folder
from .._util.threads import DISK
from ..client import AIVideoMaker, ClientThread, VideoTask
from ..errors import (
    AIVideoMakerError,
    BudgetExceeded,
    ConfigurationError,
    EndpointNotFound,
    FieldProblem,
    IdempotencyConflict,
    InvalidSpec,
    SubmitOutcomeUnknown,
)
from ..specs import SPECS, VideoSpec
from ..tasks import TaskDetails, TaskStatus
from .functions import Tool, async_function, blocking_function
from .orders import OpenOrder, OrderBook, OrderBusy, check_name
from .parameters import ORDER, Parameter, common_parameters, model_parameters, spec_from
from .reports import SUBMITTING, Report, next_step, report_of_error, report_of_failure

__all__ = ["VideoTools"]

logger: Final = logging.getLogger("aivideomaker_async.agents")

Layout: TypeAlias = Literal["one", "per-model"]

LONGEST_CALL_S: Final = 45.0
"""How long a call lasts at most: many clients give up after a minute."""

QUICK_CALL_S: Final = 30.0
"""How long a call lasts that waits for no video."""

BUSY_PAUSE_S: Final = 0.1

MOST_LISTED: Final = 50

VIDEO_SUFFIXES: Final = frozenset({".mp4", ".mov", ".webm", ".mkv"})

LONGEST_ORDER: Final = 100
SHORTEST_ORDER: Final = 4

_TASK_ID: Final = Parameter(name="task_id", kind=str, text="The task_id that the submit has told.")


class VideoTools:
    """Tools that let an agent make videos, for every framework.

        tools = VideoTools(max_credits=50, budget=500, folder="videos")
        agent = Agent(model, tools=tools.functions())

    `functions()` are for frameworks that await their tools, `blocking()` for those that do not; docs/agents.md has the
    line for each. They can be called from any event loop and any thread, and many at once. Each answers with a report
    (a dict that reads as JSON: `status`, `next`: what to do now, and what there is of `task_id`, `url`, `path`,
    `credits`, `eta`, `error`, `message`), and never raises.

    A submit has an `order`, a name that the model gives. The same order buys once, whatever happens: the call is cut
    off, the process is killed, another conversation gives it again, on any of the API's revisions.

    Args:
        max_credits: credits that one video may cost at most; 1 credit is 0.01 USD.
        budget: credits that all orders under this `name` may cost together, over all processes and restarts. Credits
            that came back count as unspent once a tool has seen it.
        name: the name of the tool set. Sets with the same name share their orders and their budget.
        folder: where downloads are saved.
        images: a folder whose image files may be used; by default only addresses and data URIs may.
        models: the models that may be used; by default all.
        layout: "one" for one tool that submits to all models, "per-model" for a tool for each, with no more arguments
            than the model has: small models do better with those.
        state: the folder in which orders are written down; by default one of the user's.
        client: makes the client, whose settings and key all tools use.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self,
        *,
        max_credits: int,
        budget: int,
        name: str = "agent",
        folder: str | os.PathLike[str] = ".",
        images: str | os.PathLike[str] | None = None,
        models: Iterable[str] = tuple(SPECS),
        layout: Layout = "one",
        state: str | os.PathLike[str] | None = None,
        client: Callable[[], AIVideoMaker] = AIVideoMaker,
    ) -> None:
        self.max_credits: int = validation.amount("max_credits", max_credits)
        self.budget: int = validation.amount("budget", budget)
        self.models: tuple[str, ...] = _models(models)
        if layout not in ("one", "per-model"):
            raise ConfigurationError(f'layout={layout!r}: must be "one" or "per-model"')
        self._layout = layout
        self._folder = expanded(folder)
        self._images = None if images is None else expanded(images)
        self._state = _state_folder() if state is None else expanded(state)
        self.name: str = check_name(name)
        self._opened_book: OrderBook | None = None
        self._thread = ClientThread(client)
        self._submits: dict[str, tuple[VideoSpec, asyncio.Task[Report]]] = {}
        """Submits under way by their order, in the client's loop."""
        after_fork_in_child(self, VideoTools._leave_to_parent)
        self.tools: tuple[Tool, ...] = tuple(self._make_tools())
        """What the functions are made of, for adapters such as the MCP server."""

    def functions(self) -> list[Callable[..., Awaitable[dict[str, Any]]]]:
        """Return the tools as async functions."""
        return [async_function(tool, self.call) for tool in self.tools]

    def blocking(self) -> list[Callable[..., dict[str, Any]]]:
        """Return the tools as plain functions, which block until they have an answer."""
        return [blocking_function(tool, self.call_blocking) for tool in self.tools]

    async def call(self, tool: Tool, given: Mapping[str, object]) -> Report:
        """Use a tool, from any event loop. When this is cancelled, a submit goes on, and anything else ends.

        Args:
            tool: one of `tools`.
            given: its arguments by their names; for a submit also `max_credits`, where less is allowed this time.
        """
        try:
            return await self._thread.call(tool.work, given)
        except AIVideoMakerError as error:
            # The client cannot be made, or was closed.
            return report_of_error(error)

    def call_blocking(self, tool: Tool, given: Mapping[str, object]) -> Report:
        """Use a tool, from a thread that may wait.

        Args:
            tool: one of `tools`.
            given: its arguments by their names.
        """
        try:
            return self._thread.call_blocking(tool.work, given)
        except AIVideoMakerError as error:
            return report_of_error(error)

    def close(self) -> None:
        """Close the client and its thread. Without this they end with the interpreter. Paid tasks go on."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- the tools -----------------------------------------------------------------------------------

    def _make_tools(self) -> Iterable[Tool]:
        if self._layout == "one":
            fields = common_parameters(self.models)
            yield self._quote_tool("quote_video", "a video", fields, None)
            yield self._submit_tool("submit_video", "a video", fields, None)
        else:
            for model in self.models:
                fields, what = model_parameters(model), f"a video by the model {model}"
                yield self._quote_tool(f"quote_{model}", what, fields, model)
                yield self._submit_tool(f"submit_{model}", what, fields, model)
        yield Tool(
            name="wait_for_video",
            text="Wait until a video is finished, for a while. Costs nothing. Call it again while the status is "
            "SUBMITTED or PROGRESS: a video takes minutes.",
            parameters=[
                _TASK_ID,
                Parameter(
                    name="seconds",
                    kind=int,
                    text=f"How long to wait at most, 1 to {LONGEST_CALL_S:.0f}.",
                    default=40,
                    schema={"minimum": 1, "maximum": int(LONGEST_CALL_S)},
                ),
            ],
            work=self._reported(self._wait),
            reads_only=True,
            is_idempotent=True,
        )
        yield Tool(
            name="list_videos",
            text="List the newest videos of this account, with their orders. Costs nothing.",
            parameters=[
                Parameter(
                    name="limit",
                    kind=int,
                    text=f"How many at most, 1 to {MOST_LISTED}.",
                    default=10,
                    schema={"minimum": 1, "maximum": MOST_LISTED},
                )
            ],
            work=self._reported(self._list),
            reads_only=True,
            is_idempotent=True,
        )
        yield Tool(
            name="cancel_video",
            text="Cancel a video whose status is SUBMITTED; its credits come back. Later ones cannot be cancelled.",
            parameters=[_TASK_ID],
            work=self._reported(self._cancel),
            is_idempotent=True,
        )
        yield Tool(
            name="download_video",
            text="Save a finished video to a file on the machine of this program. Costs nothing. The service deletes "
            "videos 24 hours after they were completed.",
            parameters=[
                _TASK_ID,
                Parameter(
                    name="name",
                    kind=str,
                    text="A file name, without a folder, that is not taken; left out, the task's id.",
                    default="",
                ),
            ],
            work=self._reported(self._download),
            is_idempotent=True,
        )
        yield Tool(
            name="account_balance",
            text="Tell how many credits there are, and how many may be spent. Costs nothing.",
            parameters=[],
            work=self._reported(self._account),
            reads_only=True,
            is_idempotent=True,
        )

    def _quote_tool(self, name: str, what: str, fields: list[Parameter], model: str | None) -> Tool:
        return Tool(
            name=name,
            text=f"Tell what {what} would cost, in credits (1 credit is 0.01 USD). Costs nothing.",
            parameters=fields,
            work=self._reported(partial(self._quote, model)),
            reads_only=True,
            is_idempotent=True,
        )

    def _submit_tool(self, name: str, what: str, fields: list[Parameter], model: str | None) -> Tool:
        return Tool(
            name=name,
            text=f"Order {what}. It costs credits at once, at most {self.max_credits}, and takes minutes: go on with "
            "wait_for_video.",
            parameters=[ORDER, *fields],
            work=self._reported(partial(self._submit, model)),
            is_idempotent=True,
            spends=True,
        )

    # --- what they do, in the client's loop ----------------------------------------------------------

    async def _quote(self, model: str | None, client: AIVideoMaker, given: Mapping[str, object]) -> Report:
        spec = self._spec(model, given)
        price = await client.price(spec, timeout=QUICK_CALL_S)
        left = await self._budget_left(client)
        may = price.credits <= min(self.max_credits, left)
        return Report(
            status="PRICE",
            model=spec.model,
            credits=price.credits,
            usd=round(price.usd, 2),
            is_estimate=price.quote is None,
            max_credits=self.max_credits,
            budget_left=left,
            next="Call the submit tool, if the person agrees to the price."
            if may
            else "This costs more than is allowed here: choose something cheaper, or tell the person.",
        )

    async def _submit(self, model: str | None, client: AIVideoMaker, given: Mapping[str, object]) -> Report:
        fields = dict(given)
        name = _order_name(fields.pop("order", None))
        # Not the model's: an adapter that has shown a price allows no more than that.
        most = min(self.max_credits, int(fields.pop("max_credits", self.max_credits)))  # type: ignore[call-overload]
        spec = self._spec(model, fields)
        ordered, running = self._submits.get(name, (spec, None))
        if ordered != spec:
            raise _other_order(name, spec)
        if running is None:
            # A task of its own: whoever gives up on the call does not cut off the payment.
            running = asyncio.create_task(self._buy(client, name, spec, most), name=f"order {name}")
            self._submits[name] = spec, running
            running.add_done_callback(lambda _: self._submits.pop(name, None))
        try:
            async with asyncio.timeout(LONGEST_CALL_S):
                report = await asyncio.shield(running)
        except TimeoutError:
            return Report(status=SUBMITTING, order=name, next=next_step(SUBMITTING))
        return Report(report)

    async def _buy(self, client: AIVideoMaker, name: str, spec: VideoSpec, most: int) -> Report:
        try:
            order = await DISK.run(self._book(client).open, name)
        except OrderBusy:
            # Another process is at work on it.
            return Report(status=SUBMITTING, order=name, next=next_step(SUBMITTING))
        try:
            return await self._buy_once(client, name, spec, order, most)
        finally:
            order.close()

    async def _buy_once(self, client: AIVideoMaker, name: str, spec: VideoSpec, order: OpenOrder, most: int) -> Report:
        """Buy what was not bought before.

        Raises:
            AIVideoMakerError: nothing was bought; or it is unknown (`SubmitOutcomeUnknown`).
        """
        fresh = await client.intend(spec, key=self._book(client).key_of(name))
        known = order.order
        if known is not None and known.intent.fingerprint != fresh.fingerprint:
            raise _other_order(name, spec, known.task_id)
        if known is not None and known.task_id is not None:
            return await self._bought(client, name, client.task(known.task_id), known.spent, replay=True)
        if known is None:
            await self._reserve(client, order, fresh, spec, most)
        # What an earlier process may have bought is searched for first. It has ended: it would hold the order.
        intent = fresh if known is None else known.intent
        others = await DISK.run(order.others)
        try:
            task = await client.submit(spec, intent=intent, known=others, max_credits=most)
        except AIVideoMakerError as error:
            if known is None and not isinstance(error, SubmitOutcomeUnknown):
                # Surely nothing was bought. Of an earlier submit that is not known.
                await DISK.run(order.forget)
            raise
        assert order.order is not None  # noqa: S101
        charged = None if task.submitted is None else task.submitted.credits_charged
        spent = order.order.credits if charged is None else charged
        await DISK.run(partial(order.note, task_id=task.id, credits=spent))
        return await self._bought(client, name, task, spent, replay=False)

    async def _reserve(
        self, client: AIVideoMaker, order: OpenOrder, intent: Intent, spec: VideoSpec, most: int
    ) -> None:
        """Write the order down with its price, if that is within the limits.

        Raises:
            AIVideoMakerError: it costs too much, or the price is not known.
        """
        price = await client.price(spec, timeout=QUICK_CALL_S)
        book = self._book(client)

        def begin() -> int | None:
            with book.sums() as spent:
                left = max(0, self.budget - spent)
                if price.credits > min(most, left):
                    return left
                order.begin(intent, price.credits)
                return None

        while True:
            try:
                left = await DISK.run(begin)
                break
            except OrderBusy:
                await asyncio.sleep(BUSY_PAUSE_S)
        if left is not None:
            allowed = f"{most} for one video, and {left} are left of the budget of {self.budget}"
            raise BudgetExceeded(
                f"it costs {price.credits} credits; allowed are {allowed}; nothing was sent",
                status=422,
                method="POST",
                path=f"/api/v1/generate/{spec.model}",
                code="BUDGET_EXCEEDED",
                credits=price.credits,
                allowed=min(most, left),
            )

    async def _bought(self, client: AIVideoMaker, name: str, task: VideoTask, spent: int, *, replay: bool) -> Report:
        status = task.last_status
        if replay and status is None:
            status = await client.get_status(task.id, timeout=QUICK_CALL_S)
        shown = str(status or TaskStatus.SUBMITTED)
        return Report(
            status=shown,
            order=name,
            task_id=task.id,
            credits=spent,
            bought_before=replay,
            **_eta(task),
            next=next_step(shown),
        )

    async def _wait(self, client: AIVideoMaker, given: Mapping[str, object]) -> Report:
        task = client.task(_task_id(given))
        seconds = _within(given.get("seconds"), 1, int(LONGEST_CALL_S))
        try:
            video = await task.result(timeout=seconds)
        except AIVideoMakerError as error:
            report = report_of_error(error)
            if report.get("task_id") == task.id:
                report.update(_eta(task))
                await self._note_refund(client, report)
            return report
        report = Report(
            status=str(TaskStatus.COMPLETED),
            task_id=task.id,
            url=video.url,
            expires_at=f"{video.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            next=next_step(TaskStatus.COMPLETED),
        )
        if video.details.credits_charged is not None:
            report["credits"] = video.details.credits_charged
        return report

    async def _list(self, client: AIVideoMaker, given: Mapping[str, object]) -> Report:
        limit = _within(given.get("limit"), 1, MOST_LISTED)
        tasks = (await client.list_tasks(timeout=QUICK_CALL_S))[:limit]
        orders = {order.task_id: order.name for order in await DISK.run(self._book(client).orders)}
        return Report(
            status="LIST",
            videos=[_shown(task, orders.get(task.id)) for task in tasks],
            next="Call wait_for_video for one that is SUBMITTED or PROGRESS, download_video for one that is COMPLETED.",
        )

    async def _cancel(self, client: AIVideoMaker, given: Mapping[str, object]) -> Report:
        task_id = _task_id(given)
        result = await client.cancel(task_id, timeout=QUICK_CALL_S)
        status = str(result.status or TaskStatus.CANCEL)
        report = Report(status=status, task_id=task_id, outcome=result.outcome, next=next_step(status))
        await self._note_refund(client, report)
        return report

    async def _download(self, client: AIVideoMaker, given: Mapping[str, object]) -> Report:
        task_id = _task_id(given)
        path = self._target(given.get("name"), task_id)
        await DISK.run(partial(self._folder.mkdir, parents=True, exist_ok=True))
        try:
            async with asyncio.timeout(LONGEST_CALL_S):
                video = await client.task(task_id).result(timeout=QUICK_CALL_S)
                if await DISK.run(path.exists) and path.name == f"{task_id}.mp4":
                    # It was saved before: no other video has its name.
                    saved = path
                else:
                    saved = await video.download(path, resume=True)
        except TimeoutError as error:
            if isinstance(error, AIVideoMakerError):
                raise
            return Report(
                status=str(TaskStatus.COMPLETED),
                task_id=task_id,
                next="It is being saved, and is not whole yet. Call download_video again: it goes on where it ended.",
            )
        size = (await DISK.run(saved.stat)).st_size
        return Report(
            status=str(TaskStatus.COMPLETED),
            task_id=task_id,
            path=str(saved.absolute()),
            bytes=size,
            url=video.url,
            next="It is saved. Tell the person the path.",
        )

    async def _account(self, client: AIVideoMaker, given: Mapping[str, object]) -> Report:
        del given
        report = Report(
            status="ACCOUNT",
            max_credits=self.max_credits,
            budget=self.budget,
            budget_left=await self._budget_left(client),
            next="Call a quote tool for the price of a video.",
        )
        try:
            account = await client.account(timeout=QUICK_CALL_S)
        except EndpointNotFound:
            # The older revision of the service does not tell.
            return report
        report.update(balance=account.current_balance, models=list(account.supported_models))
        return report

    # --- help ----------------------------------------------------------------------------------------

    def _book(self, client: AIVideoMaker) -> OrderBook:
        """Return the orders of this tool set at the client's service and account: another one has bought nothing."""
        if self._opened_book is None:
            account = hashlib.sha256(f"{client.base_url}\0{client._api_key.reveal()}".encode()).hexdigest()[:16]
            self._opened_book = OrderBook(self._state / account, self.name)
        return self._opened_book

    def _spec(self, model: str | None, given: Mapping[str, object]) -> VideoSpec:
        fields = dict(given)
        named = fields.pop("model", None) if model is None else model
        return spec_from(named, fields, self._images, self.models)

    async def _budget_left(self, client: AIVideoMaker) -> int:
        orders = await DISK.run(self._book(client).orders)
        return max(0, self.budget - sum(order.spent for order in orders))

    async def _note_refund(self, client: AIVideoMaker, report: Report) -> None:
        """Write down that the credits of an order came back."""
        if report["status"] not in {TaskStatus.FAILED, TaskStatus.CANCEL}:
            return

        book = self._book(client)

        def note() -> None:
            for known in book.orders():
                if known.task_id == report["task_id"] and known.spent:
                    order = book.open(known.name)
                    try:
                        if order.order is not None:
                            order.note(refunded=order.order.credits)
                    finally:
                        order.close()

        try:
            await DISK.run(note)
        except (OrderBusy, AIVideoMakerError, OSError):
            # It counts as spent until somebody asks again.
            return

    def _target(self, name: object, task_id: str) -> Path:
        """Return where to save a video: a file of the folder, whatever the name."""
        text = name.strip() if isinstance(name, str) and name.strip() else f"{task_id}.mp4"
        if Path(text).name != text or text in {".", ".."} or "\\" in text or text.startswith("."):
            raise InvalidSpec("download_video", [FieldProblem("name", repr(text), "a file name without a folder")])
        return self._folder / (text if Path(text).suffix.lower() in VIDEO_SUFFIXES else f"{text}.mp4")

    def _reported(
        self, work: Callable[[AIVideoMaker, Mapping[str, object]], Coroutine[Any, Any, Report]]
    ) -> Callable[[AIVideoMaker, Mapping[str, object]], Awaitable[Report]]:
        """Return work that runs in the client's thread, and reports its errors."""

        async def told(client: AIVideoMaker, given: Mapping[str, object]) -> Report:
            try:
                return await work(client, given)
            except AIVideoMakerError as error:
                return report_of_error(error)
            except Exception as error:
                logger.exception("a tool has failed")
                return report_of_failure(error)

        return told

    def _leave_to_parent(self) -> None:
        self._submits = {}


def _models(models: Iterable[str]) -> tuple[str, ...]:
    found = () if isinstance(models, str) else tuple(models)
    if not found or any(model not in SPECS for model in found):
        raise ConfigurationError(f"models={models!r}: must be a list of models out of {', '.join(SPECS)}")
    return found


def _state_folder() -> Path:
    try:
        folder = user_state_folder()
    except (RuntimeError, KeyError, OSError) as error:
        reason = f"this user has no folder for the state of programs ({error}); name one with state=..."
        raise ConfigurationError(reason) from error
    return folder / "orders"


def _other_order(name: str, spec: VideoSpec, task_id: str | None = None) -> IdempotencyConflict:
    task = f" (task {task_id})" if task_id else ""
    return IdempotencyConflict(
        f"the order {single_line(name)} is that of another video{task}; nothing was sent",
        status=409,
        method="POST",
        path=f"/api/v1/generate/{spec.model}",
    )


def _order_name(order: object) -> str:
    name = order.strip() if isinstance(order, str) else ""
    if not SHORTEST_ORDER <= len(name) <= LONGEST_ORDER or not name.isprintable():
        allowed = f"a name of {SHORTEST_ORDER} to {LONGEST_ORDER} characters on one line"
        raise InvalidSpec("VideoTools", [FieldProblem("order", shorten(repr(order), 200), allowed)])
    return name


def _task_id(given: Mapping[str, object]) -> str:
    task_id = given.get("task_id")
    if not isinstance(task_id, str) or not task_id.strip():
        raise InvalidSpec("VideoTools", [FieldProblem("task_id", shorten(repr(task_id), 200), "the id of a task")])
    return task_id.strip()


def _within(value: object, least: int, most: int) -> int:
    """Return a whole number in a range: what is beyond its ends is moved there."""
    try:
        number = int(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = most
    return min(max(number, least), most)


def _eta(task: VideoTask) -> dict[str, int]:
    """Return the seconds until a task will probably have ended, if that is known."""
    eta = task.eta()
    return {} if eta is None else {"eta": max(0, round((eta.at - datetime.now(UTC)).total_seconds()))}


def _shown(task: TaskDetails, order: str | None) -> dict[str, Any]:
    found = {
        "task_id": task.id,
        "status": str(task.status),
        "model": task.model,
        "order": order,
        "url": task.url,
        "created_at": None if task.created_at is None else f"{task.created_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    return {name: value for name, value in found.items() if value is not None}
