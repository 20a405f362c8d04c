"""Tools for an agent framework, in which a tool call may take a minute and a video takes several.

`make_video` submits and waits for a while. If the video is not finished by then it returns the task's id, and
`continue_video` waits for the same task again, also after a restart. No video is bought twice: a submit goes on when
the framework gives up on the call, and `make_video` called again with the same arguments takes up the running task.

Register both methods with your framework. What they return is plain JSON, and says what to do next.
"""

from __future__ import annotations

import asyncio
import json
from typing import Literal, NotRequired, TypedDict

from aivideomaker_async import AIVideoMaker, AIVideoMakerError, AspectRatio, TextToVideo, VideoTask, WaitTimeout

LONGEST_CALL = 50.0
"""Seconds: frameworks give up on a tool call after a minute."""


class Report(TypedDict):
    """What the agent gets to read."""

    status: str
    message: str
    task_id: NotRequired[str]
    url: NotRequired[str]


class VideoTools:
    """The tools. One object for the process, around one open client."""

    def __init__(self, client: AIVideoMaker) -> None:
        self._client = client
        self._submits: dict[TextToVideo, asyncio.Task[VideoTask]] = {}

    async def make_video(self, prompt: str, aspect_ratio: AspectRatio = "16:9", duration: Literal[5, 8] = 5) -> Report:
        """Generate a video from a text. It takes minutes and costs credits.

        Args:
            prompt: what the video shows.
            aspect_ratio: "16:9", "9:16" or "1:1".
            duration: 5 or 8 seconds.
        """
        ends_at = asyncio.get_running_loop().time() + LONGEST_CALL
        try:
            # A value that is not allowed raises InvalidSpec, whose message says what is allowed.
            spec = TextToVideo(prompt=prompt, aspect_ratio=aspect_ratio, duration=duration)
        except AIVideoMakerError as error:
            return {"status": "NOT_SUBMITTED", "message": str(error)}
        if spec not in self._submits:
            self._submits[spec] = asyncio.create_task(self._client.submit(spec))
        try:
            async with asyncio.timeout_at(ends_at):
                task = await asyncio.shield(self._submits[spec])
        except TimeoutError:
            return {"status": "SUBMITTING", "message": "Call make_video again with the same arguments."}
        except AIVideoMakerError as error:
            # A SubmitOutcomeUnknown says that the task may exist, and that it must not be submitted again blindly.
            del self._submits[spec]
            return {"status": "NOT_SUBMITTED", "message": str(error)}
        report, running = await self._wait(task, ends_at)
        if not running:
            self._submits.pop(spec, None)
        return report

    async def continue_video(self, task_id: str) -> Report:
        """Go on waiting for a video that `make_video` has begun. Costs nothing.

        Args:
            task_id: what `make_video` returned.
        """
        ends_at = asyncio.get_running_loop().time() + LONGEST_CALL
        try:
            task = self._client.task(task_id)
        except AIVideoMakerError as error:
            return {"status": "UNKNOWN", "message": str(error)}
        report, _ = await self._wait(task, ends_at)
        return report

    async def _wait(self, task: VideoTask, ends_at: float) -> tuple[Report, bool]:
        """Return what to answer, and whether the task may still be running."""
        running = False
        try:
            video = await task.result(timeout=max(0.0, ends_at - asyncio.get_running_loop().time()))
        except WaitTimeout:
            running = True
            message = "Still running. Call continue_video with this task_id; do not submit it again."
        except AIVideoMakerError as error:
            message = str(error)
        else:
            message = f"The service deletes the file at {video.expires_at:%Y-%m-%d %H:%M} UTC."
            return {"status": "COMPLETED", "task_id": task.id, "url": video.url, "message": message}, running
        return {"status": str(task.last_status or "UNKNOWN"), "task_id": task.id, "message": message}, running


async def main() -> None:
    """What an agent would do."""
    async with AIVideoMaker() as client:
        tools = VideoTools(client)
        report = await tools.make_video("a lighthouse at dawn")
        while "task_id" in report and report["status"] in {"SUBMITTED", "PROGRESS"}:
            print(json.dumps(report))
            report = await tools.continue_video(report["task_id"])
        print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main())
