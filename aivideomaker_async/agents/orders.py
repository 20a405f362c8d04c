"""What each order of a tool set has bought, in files that outlive the process.

An order is written down before its submit, with the intent by which another process finds out what became of it. So a
time-out, a crash or a new conversation buys nothing twice, also where the service keeps no idempotency keys. Each order
has a file of JSON lines, of which the later complete the earlier, and a lock that ends with its process.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from attrs import evolve, frozen

from .._redaction import single_line
from .._submits import Intent
from .._util.file_lock import lock_file, unlock_file
from .._util.fork import after_fork_in_child
from ..errors import ConfigurationError

__all__ = ["OpenOrder", "Order", "OrderBook", "OrderBusy", "check_name"]

ONLY_USER_FOLDER: Final = 0o700
ONLY_USER_FILE: Final = 0o600

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> str:
    """Return the name of a tool set, which is also that of a folder.

    Raises:
        ConfigurationError: it is no such name.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:  # type: ignore[redundant-expr]
        allowed = "1 to 64 letters, digits, dots, hyphens and underscores, the first a letter or a digit"
        raise ConfigurationError(f"name={name!r}: must be {allowed}")
    return name


class OrderBusy(Exception):
    """Another process, or another call, is at work on the order."""


@frozen(kw_only=True)
class Order:
    """What is known of one order."""

    name: str
    credits: int
    """Its price, or what it was charged once that is known."""
    intent: Intent
    task_id: str | None = None
    """None while it is unknown whether there is a task."""
    refunded: int = 0

    @property
    def spent(self) -> int:
        """Credits that it has cost, or may have."""
        return max(0, self.credits - self.refunded)

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "order": self.name,
            "credits": self.credits,
            "intent": self.intent.to_dict(),
            "task_id": self.task_id,
            "refunded": self.refunded,
        }

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> Self | None:
        """Return the order of a file; None if its first line was never written in whole.

        Raises:
            ValueError: a line is not one of an order.
        """
        known: dict[str, Any] = {}
        for line in lines:
            if not line.endswith("\n"):
                # The process died while it wrote.
                break
            known |= json.loads(line)
        if not known:
            return None
        return cls(
            name=known["order"],
            credits=known["credits"],
            intent=Intent.from_dict(known["intent"]),
            task_id=known["task_id"],
            refunded=known["refunded"],
        )


class OrderBook:
    """The orders of one tool set, shared by all processes that use its name. Methods block: call them in a thread.

    Args:
        folder: where the orders of all tool sets are kept.
        name: the name of the tool set.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name: str = name
        self._folder = folder / name

    def key_of(self, order: str) -> str:
        """Return the idempotency key of an order, which is the same in all processes."""
        return f"avm-agent-{self._digest(order)}"

    def orders(self) -> list[Order]:
        """Return all orders, the newest first. What cannot be read is left out."""
        found: list[Order] = []
        with suppress(FileNotFoundError):
            for file in self._folder.glob("*.jsonl"):
                with suppress(OSError, ValueError, KeyError, TypeError):
                    if (order := _read(file)) is not None:
                        found.append(order)
        return sorted(found, key=lambda order: order.intent.made_at, reverse=True)

    def open(self, order: str) -> OpenOrder:
        """Hold an order until it is closed, so that nobody else works on it meanwhile.

        Raises:
            OrderBusy: somebody else holds it.
            ConfigurationError: the folder cannot be used, or what was written there is damaged.
        """
        lock = self._lock(self._digest(order))
        file = self._folder / f"{self._digest(order)}.jsonl"
        try:
            return OpenOrder(self, order, file, lock)
        except (OSError, ValueError, KeyError, TypeError) as error:
            lock.release()
            raise ConfigurationError(
                f"what is known of the order {single_line(order)} cannot be read from {file} ({type(error).__name__}): "
                "whether it was bought must be looked up, in the list of the videos"
            ) from error

    @contextmanager
    def sums(self) -> Iterator[int]:
        """Hold the sums of all orders, and yield the credits that they have cost, or may have.

        Raises:
            OrderBusy: somebody else holds them, for a moment.
            ConfigurationError: the folder cannot be used.
        """
        lock = self._lock("sums")
        try:
            yield sum(order.spent for order in self.orders())
        finally:
            lock.release()

    def _digest(self, order: str) -> str:
        return hashlib.sha256(f"{self.name}\0{order}".encode()).hexdigest()[:40]

    def _lock(self, name: str) -> _Lock:
        try:
            self._folder.mkdir(mode=ONLY_USER_FOLDER, parents=True, exist_ok=True)
            return _Lock(self._folder / f"{name}.lock")
        except BlockingIOError:
            raise OrderBusy from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigurationError(
                f"orders cannot be written down in {self._folder}: {reason}. Without that a crash could buy twice, so "
                "nothing was sent; name another folder with VideoTools(state=...)"
            ) from error


class OpenOrder:
    """An order that is held: nobody else writes to its file. Made by `OrderBook.open`; it must be closed."""

    def __init__(self, book: OrderBook, name: str, file: Path, lock: _Lock) -> None:
        self._book = book
        self._lock = lock
        self._name = name
        self._file = file
        _mend(file)
        self.order: Order | None = _read(file)
        """What is known of it."""

    def close(self) -> None:
        """Let go of it."""
        self._lock.release()

    def others(self) -> frozenset[str]:
        """Return the ids of the tasks of all other orders."""
        return frozenset(one.task_id for one in self._book.orders() if one.task_id and one.name != self._name)

    def begin(self, intent: Intent, credits: int) -> Order:  # noqa: A002  (the API's word)
        """Write down what is about to be submitted, before it is."""
        self.order = Order(name=self._name, credits=credits, intent=intent)
        self._append(self.order.to_json(), anew=True)
        return self.order

    def note(self, **known: Any) -> None:  # noqa: ANN401  (a field of `Order`)
        """Write down what has become known: `task_id`, `credits` or `refunded`."""
        assert self.order is not None  # noqa: S101
        self.order = evolve(self.order, **known)
        self._append(known)

    def forget(self) -> None:
        """There is surely no task, and the order can be given again."""
        self.order = None
        self._file.unlink(missing_ok=True)

    def _append(self, fields: Mapping[str, object], *, anew: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if anew else os.O_APPEND) | getattr(os, "O_CLOEXEC", 0)
        fd = os.open(self._file, flags, ONLY_USER_FILE)
        try:
            text = json.dumps(fields, ensure_ascii=False) + "\n"
            data = text.encode()
            while data:
                data = data[os.write(fd, data) :]
            with suppress(OSError):
                # Some file systems have no such promise to give.
                os.fsync(fd)
        finally:
            os.close(fd)


class _Lock:
    """A file that is locked until `release`, or until the process ends."""

    def __init__(self, file: Path) -> None:
        self._fd: int | None = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), ONLY_USER_FILE)
        try:
            lock_file(self._fd)
        except BaseException:
            os.close(self._fd)
            raise
        after_fork_in_child(self, _Lock._leave_to_parent)

    def release(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            unlock_file(fd)
            os.close(fd)

    def _leave_to_parent(self) -> None:
        # Not unlocked: the lock is that of the parent, as long as one of the two has the file open.
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _mend(file: Path) -> None:
    """Take away a last line that was not written in whole: another one would be joined to it."""
    with suppress(FileNotFoundError), file.open("r+b") as content:
        data = content.read()
        if not data.endswith(b"\n"):
            content.truncate(data.rfind(b"\n") + 1)


def _read(file: Path) -> Order | None:
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            return Order.from_lines(lines)
    except FileNotFoundError:
        return None
