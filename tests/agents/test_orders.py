"""What is written down of orders: in whole or not at all, by one process at a time, readable after a crash."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aivideomaker_async import ConfigurationError, Intent
from aivideomaker_async.agents.orders import Order, OrderBook, OrderBusy
from aivideomaker_async.tasks import SubmitTrace

INTENT = Intent(
    model="t2v",
    idempotency_key="avm-agent-1",
    made_at=datetime(2026, 9, 1, tzinfo=UTC),
    made_by="somebody",
    trace=SubmitTrace(
        model="t2v",
        fields={"prompt": "A füchs"},
        uploads={"image": b"\1\2"},
        sent_at=5.0,
        lost_at=5.0,
        is_time_known=True,
        may_still_arrive=False,
    ),
)


@pytest.fixture
def book(tmp_path: Path) -> OrderBook:
    return OrderBook(tmp_path / "orders", "agent")


def file_of(book: OrderBook) -> Path:
    (file,) = book._folder.glob("*.jsonl")
    return file


def bought(book: OrderBook, name: str = "fox-1", task_id: str | None = "ck1", price: int = 5) -> None:
    order = book.open(name)
    order.begin(INTENT, price)
    if task_id is not None:
        order.note(task_id=task_id)
    order.close()


def test_what_was_noted_is_read_again(book: OrderBook) -> None:
    """In another process, too. An order that is forgotten can be given again."""
    bought(book)
    order = OrderBook(book._folder.parent, "agent").open("fox-1")
    assert order.order == Order(name="fox-1", credits=5, intent=INTENT, task_id="ck1")
    order.note(refunded=5)
    assert [one.spent for one in book.orders()] == [0]
    order.forget()
    order.close()
    assert book.orders() == []
    assert book.open("fox-1").order is None


def test_names_and_tool_sets_do_not_meet(book: OrderBook, tmp_path: Path) -> None:
    """Whatever is in a name: it is no part of a path."""
    names = ["fox-1", "fox-2", "../../fox", "fox/1", "füchs", "CON", "x" * 100]
    for number, name in enumerate(names):
        bought(book, name, f"ck{number}")
    assert {(one.name, one.task_id) for one in book.orders()} == {(name, f"ck{i}") for i, name in enumerate(names)}
    other = OrderBook(tmp_path / "orders", "other")
    assert other.orders() == []
    assert other.key_of("fox-1") != book.key_of("fox-1") == OrderBook(tmp_path, "agent").key_of("fox-1")
    order = book.open("fox-2")
    assert order.others() == {f"ck{number}" for number in range(len(names)) if number != 1}
    order.close()


@pytest.mark.parametrize("cut", [1, 5, 18])
def test_a_line_that_was_not_written_in_whole_was_not_written(book: OrderBook, cut: int) -> None:
    bought(book)
    file = file_of(book)
    file.write_bytes(file.read_bytes()[:-cut])
    assert [one.task_id for one in book.orders()] == [None]
    order = book.open("fox-1")
    order.note(task_id="ck2")
    order.close()
    assert [one.task_id for one in book.orders()] == ["ck2"]
    first, _, _ = file.read_bytes().partition(b"\n")
    file.write_bytes(first[:-cut])
    assert book.orders() == []
    order = book.open("fox-1")
    assert order.order is None
    order.begin(INTENT, 5)
    order.close()
    assert len(book.orders()) == 1


def test_a_damaged_order_is_nobody_s_guess(book: OrderBook) -> None:
    bought(book)
    bought(book, "fox-2", "ck2")
    file = next(one for one in book._folder.glob("*.jsonl") if "fox-1" in one.read_text())
    file.write_text('{"order": 5}\n')
    assert [one.name for one in book.orders()] == ["fox-2"]
    with pytest.raises(ConfigurationError, match="whether it was bought must be looked up"):
        book.open("fox-1")


def test_an_order_is_held_by_one_at_a_time(book: OrderBook) -> None:
    """The sums of all as well. Others are free."""
    order = book.open("fox-1")
    with pytest.raises(OrderBusy):
        book.open("fox-1")
    book.open("fox-2").close()
    with book.sums() as spent:
        assert spent == 0
        with pytest.raises(OrderBusy), book.sums():
            pass
    order.close()
    book.open("fox-1").close()


HOLD = """
import sys, time
from pathlib import Path
from aivideomaker_async.agents.orders import OrderBook
order = OrderBook(Path(sys.argv[1]), "agent").open("fox-1")
print("held", flush=True)
time.sleep(60)
"""


def test_a_killed_process_holds_nothing(book: OrderBook) -> None:
    command = [sys.executable, "-c", HOLD, str(book._folder.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OrderBusy):
            book.open("fox-1")
        process.kill()
    book.open("fox-1").close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_fork_neither_holds_an_order_nor_lets_go_of_it(book: OrderBook) -> None:
    order = book.open("fox-1")
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        order.close()
        os.read(read, 1)
        os._exit(0)
    with pytest.raises(OrderBusy):
        book.open("fox-1")
    order.close()
    # The child lives, and has the file of the parent no more.
    book.open("fox-1").close()
    os.write(write, b"x")
    os.waitpid(child, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
def test_nobody_else_can_read_orders(book: OrderBook) -> None:
    bought(book)
    assert stat.S_IMODE(book._folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in book._folder.iterdir()} == {0o600}


def test_orders_are_lines_of_json(book: OrderBook) -> None:
    """For `jq`, and for people."""
    bought(book)
    lines = [json.loads(line) for line in file_of(book).read_text(encoding="utf-8").splitlines()]
    assert lines[0]["intent"]["trace"]["fields"] == {"prompt": "A füchs"}
    assert lines[1] == {"task_id": "ck1"}
    assert "ü" in file_of(book).read_text(encoding="utf-8")
