"""Finished videos: their values, streams and downloads.

The room promises that

- a file appears under its name when it is complete, and never before;
- it is one version of the file, never a mix of two, however many responses it took;
- a download that breaks off continues where it ended, in another process as well, if the server can show that it still
  has the same file, and begins anew if not;
- no key and nothing of a caller's session but its connections and proxy goes to the host of the file, and no request
  goes to a private address unless it is allowed;
- nothing is left of a download that fails or is cancelled, except a part that the caller wants to be kept.

How a download works. `Video.download` takes one of eight slots and passes a `Source` to `save`. `save` opens a
`PartFile` beside the target, which returns what an earlier download has left, and a `Fetch` that reads what is missing.
`Fetch` is the only retry loop: it sends the request that a `Transfer` asks for, lets the `Transfer` decide about the
response, and pauses and repeats when a connection breaks or a server is busy. All bytes are written in threads, and the
part gets the target's name when it is whole. `Video.stream` is the same `Fetch` without a file; its bytes cannot be
taken back. `download_all` starts a task for each video; a free slot goes to the video that the service deletes first.

Which rule is where:

- `resume`: by what a version is recognized, whether a response continues, repeats or begins the file, what is recorded
  of a part, and when to try again (pure)
- `part_file`: the part, its metadata and its lock on disk; the name at the end
- `fetch`: the retry loop, and its way to a file
- `http`: one GET, its redirects, and which hosts it may go to
- `public_address`, `names`: which addresses are public, which file names are safe (pure)
- `video`, `download_many`: the public values and calls

Importing the room imports neither aiohttp nor the modules that move bytes: `video` does so when bytes are wanted.
"""

from .download_many import Downloaded, VideoProgress, download_all
from .public_address import is_private_host
from .video import Video, VideoStream

__all__ = ["Downloaded", "Video", "VideoProgress", "VideoStream", "download_all", "is_private_host"]
