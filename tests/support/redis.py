"""A real Redis for tests: a server of its own on loopback, that keeps nothing and can be stopped and started again."""

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
"""Seconds in which a server must answer."""


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
        """Start it, on the same port as before, with nothing in it."""
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
        """End it at once. All connections break, and no new one is made."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                # With a password it is refused, by a server that is up.
                return connection.recv(64)[:1] in {b"+", b"-"}
        except OSError:
            return False


def start_redis(password: str = "") -> Iterator[RedisServer]:
    """A server for as long as a fixture lasts."""
    # Slow, and reads files: done here, it is done in nobody's event loop.
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
    """A Redis that is there for the whole test run. Tests use names of their own in it."""
    for server in start_redis():
        yield server.url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this test's own, to be stopped and started."""
    yield from start_redis()
