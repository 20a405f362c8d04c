"""Generate many videos, a few at a time, and download each as soon as it is finished.

    export AIVIDEO_API_KEY=ak_...
    python gather_many.py videos "a lighthouse at dawn" "a paper boat in the rain"

All tasks that wait share one poller, so fifty of them cost no more queries than two. When nothing has to be said about
one of them before all are done, a plain gather does as well:

    videos = await asyncio.gather(*(client.generate(spec) for spec in specs), return_exceptions=True)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from aivideomaker_async import AIVideoMaker, AIVideoMakerError, Budget, Outcome, TextToVideo, WaitTimeout

AT_ONCE = 10
"""Tasks that are submitted and not finished; each costs its credits when it is submitted."""

CREDITS = 1000
"""What all of them may cost together; a spec that does not fit is reported, and not submitted."""


async def generate_all(prompts: Sequence[str], folder: Path) -> list[Path]:
    """Generate a video for each prompt. One failure does not stop the others. Returns the files that were written."""
    # All specs are checked before the first one is paid for.
    specs = [TextToVideo(prompt=prompt, aspect_ratio="16:9", duration=5) for prompt in prompts]
    written = []
    # The key and the address come from AIVIDEO_API_KEY and AIVIDEO_BASE_URL.
    async with AIVideoMaker() as client:
        async for outcome in client.generate_many(specs, max_active=AT_ONCE, budget=Budget(CREDITS)):
            path = await save(outcome, folder)
            if path is not None:
                written.append(path)
    return written


async def save(outcome: Outcome, folder: Path) -> Path | None:
    """Download a finished video, or say what went wrong."""
    number = outcome.index + 1
    try:
        video = outcome.unwrap()
        path = await video.download(folder / f"{number:03d}-{video.id}.mp4")
    except WaitTimeout as error:
        # Still running and paid: take it up again with client.task(id), do not submit it again.
        print(f"{number}: not finished yet, its id is {error.task.id}")
    except AIVideoMakerError as error:
        print(f"{number}: {error}")
    else:
        print(f"{number}: {path}")
        return path
    return None


def main() -> None:
    """Read the command line."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    prompts = sys.argv[2:]
    written = asyncio.run(generate_all(prompts, folder))
    print(f"{len(written)} of {len(prompts)} videos are in {folder}")


if __name__ == "__main__":
    main()
