"""A real Redis for tests: a server on loopback that keeps nothing on disk, and can be stopped and started again."""

from __future__ import annotations

import importlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

STARTS = 10.0
"""Seconds within which a new server must answer."""


class RedisServer:
    """One `redis-server`, on a port that was free when it was made.

    All methods block: in an event loop, call them in a thread.
    """

    def __init__(self, folder: str, *, password: str = "") -> None:
        self.folder = folder
        self.password = password
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it empty, on the same port as before."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": self.folder,
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "logfile": str(Path(self.folder) / "redis.log"),
            **({"requirepass": self.password} if self.password else {}),
        }
        command = ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", value))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + STARTS
        while not self._answers():
            assert self.process.poll() is None, (Path(self.folder) / "redis.log").read_text()
            assert time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it. All connections break, and no new one can be made."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                # With a password the answer is a refusal, by a server that is up.
                return connection.recv(64)[:1] in {b"+", b"-"}
        except OSError:
            return False


def start_redis(password: str = "") -> Iterator[RedisServer]:
    """Yield a server, and stop it afterwards."""
    # This import is slow and reads files, which must not happen in an event loop.
    importlib.import_module("redis.asyncio")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(folder, password=password)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis for the whole test run. Each test uses names of its own in it."""
    for server in start_redis():
        yield server.url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis for one test, which may stop and start it."""
    yield from start_redis()
