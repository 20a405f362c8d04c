from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import TaskDetails, TaskStatus
from aivideomaker_async._http import AllTasks, MalformedAnswer
from aivideomaker_async._watch.task_list import FinishedRow, NewsOfTasks, reported_seconds
from tests.support.lists import all_of, body_of, cuts, read, row, sliced, values
from tests.support.pictures import PNG, data_uri

NONE: Mapping[str, str | None] = {}


class News(NewsOfTasks):
    """Keeps the news."""

    def __init__(self, wanted: Mapping[str, str | None], **options: Any) -> None:
        super().__init__(wanted, self.keep, **options)
        self.news: dict[str, TaskDetails] = {}

    def keep(self, task_id: str, details: TaskDetails) -> None:
        assert task_id == details.id
        assert task_id not in self.news
        self.news[task_id] = details


def news_of(wanted: Mapping[str, str | None], *rows: object, **options: Any) -> News:
    reader = News(wanted, **options)
    read(reader, body_of(*rows))
    return reader


# --- every task --------------------------------------------------------------------------------------


def test_the_list_is_read_in_its_order() -> None:
    """Newest first, as it comes."""
    rows = [row(str(number)) for number in range(3)]
    assert [task.id for task in all_of(body_of(*rows))] == ["0", "1", "2"]
    assert all_of(b'{"tasks": []}') == []


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([row(), 5], r"expected an object @ \$\.tasks\[1\]: 5"),
        ([row(), row(), row(), {"status": "X"}], r"required field missing @ \$\.tasks\[3\]\.id"),
        ([{"id": "a"}], r"required field missing @ \$\.tasks\[0\]\.status"),
        ([row(), row("b", status=7)], r"expected a status @ \$\.tasks\[1\]\.status: 7"),
        ([row(None)], r"expected an id @ \$\.tasks\[0\]\.id: None"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_path(rows: list[object], place: str) -> None:
    """A list with holes is not what was asked for."""
    reader = AllTasks()
    reader.feed(body_of(*rows, row("z")))
    assert reader.enough
    with pytest.raises(MalformedAnswer, match=place):
        reader.finish()


@pytest.mark.parametrize("rows", [[data_uri(PNG * 20)], [{"status": data_uri(PNG * 20)}], [row([data_uri(PNG * 20)])]])
def test_no_error_shows_an_image(rows: list[object]) -> None:
    """A data URI in a wrong place is named, not shown; nor is one that the answer breaks off in."""
    whole = body_of(*rows)
    for body in (whole, whole[:-3], whole[:100]):
        with pytest.raises(MalformedAnswer) as caught:
            all_of(body)
        assert "iVBOR" not in str(caught.value)
        assert len(str(caught.value)) < 200


odd_rows = values | st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", 7]) | values, "status": st.sampled_from(["PROGRESS", "COMPLETED"]) | values},
    optional={"model": values, "input": values, "output": values, "createdAt": values},
)


@given(st.lists(odd_rows, max_size=6), cuts)
@settings(max_examples=80, deadline=None)
def test_any_rows_are_tasks_or_malformed(rows: list[object], places: list[int]) -> None:
    """Never another error; and malformed rows disturb no reader that looks for other tasks."""
    body = body_of(*rows)
    with suppress(MalformedAnswer):
        reader = AllTasks()
        read(reader, *sliced(body, places))
        assert len(reader.tasks) == len(rows)
        assert "iVBOR" not in repr(reader.tasks)
    whole, pieces = (News({"a": None, "7": "PROGRESS", "gone": None}, training_rows=3) for _ in range(2))
    read(whole, body)
    read(pieces, *sliced(body, places))
    assert repr((whole.news, whole.seen, whole.finished)) == repr((pieces.news, pieces.seen, pieces.finished))


# --- what somebody waits for -------------------------------------------------------------------------


def test_only_what_is_wanted_is_read() -> None:
    """Rows that cannot be read are passed over, and of two with the same id the newest counts."""
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    found = news_of(
        {"a": None, "b": None, "7": None, "gone": None},
        row("a", "COMPLETED", model="new"),
        None,
        "row",
        [],
        {},
        row(None),
        {"id": "b"},
        row("b", status=5),
        row("b", status=deep),
        row("c"),
        row("a", model="old"),
        row(7, "FAILED"),
        row(True),
        row("b"),
    )
    assert set(found.news) == {"a", "b", "7"}
    assert found.news["a"].model == "new"
    assert found.news["b"].status == TaskStatus.PROGRESS
    assert found.seen == {"a": "COMPLETED", "7": "FAILED", "b": "PROGRESS"}


def test_a_row_with_a_known_status_is_seen_and_no_news() -> None:
    """Most rows are of this kind, and are not decoded."""
    found = news_of({"a": "PROGRESS", "b": "PROGRESS", "c": None}, row("a"), row("b", "COMPLETED"), row("c"))
    assert found.seen == {"a": "PROGRESS", "b": "COMPLETED", "c": "PROGRESS"}
    assert set(found.news) == {"b", "c"}
    assert found.news["b"].status == TaskStatus.COMPLETED


def test_a_task_that_the_list_does_not_show_is_not_seen() -> None:
    """The list is read to its end, and the reader shows that it is missing."""
    found = news_of({"a": None, "gone": None}, row("b"), row("a"), row("c"))
    assert (set(found.seen), found.rows_read, found.enough) == ({"a"}, 3, False)


def test_nothing_is_read_after_all_that_are_wanted() -> None:
    """The rest of the answer, many megabytes for an old account, need not come."""
    reader = News({"a": None, "b": "PROGRESS"})
    reader.feed(body_of(*(row(name) for name in "xayz"))[:-2])
    assert not reader.enough
    reader.feed(b", " + body_of(*(row(name) for name in "bcdef"))[11:])
    assert reader.enough
    assert (set(reader.seen), reader.rows_read) == ({"a", "b"}, 5)
    # What comes all the same is not looked at.
    reader.feed(b"<html>")
    reader.finish()
    assert reader.rows_read == 5


def test_without_wanted_tasks_nothing_is_read() -> None:
    reader = News(NONE)
    assert reader.enough
    read(reader, b"<html>")


def test_a_wanted_row_that_cannot_be_read_counts_once() -> None:
    """The list is not read on for it, nor given up for it."""
    unreadable = {"id": "a", "status": 5}
    found = news_of({"a": None, "b": None}, unreadable, unreadable, row("b"), row("c"))
    assert (set(found.seen), found.rows_read, found.enough) == ({"b"}, 3, True)


def test_optional_tasks_are_taken_when_they_are_met() -> None:
    """The list is not read on for them."""
    found = news_of({"a": None}, row("x"), row("y"), row("a"), row("z"), optional=frozenset("xz"))
    assert (set(found.news), found.rows_read) == ({"x", "a"}, 3)
    assert news_of(NONE, row("x"), optional=frozenset("x")).rows_read == 0


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["PROGRESS", "COMPLETED"])), max_size=12),
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([None, "PROGRESS", "COMPLETED"]), max_size=5),
    st.integers(0, 6),
    cuts,
)
@settings(max_examples=100, deadline=None)
def test_news_are_the_rows_whose_status_differs(
    listed: list[tuple[str, str]], wanted: dict[str, str | None], training: int, places: list[int]
) -> None:
    """And the list is read exactly as far as it has to be."""
    reader = News(wanted, training_rows=training)
    read(reader, *sliced(body_of(*(row(*item) for item in listed)), places))
    first = dict(reversed(listed))
    assert reader.seen == {name: first[name] for name in wanted if name in first}
    assert {name: str(task.status) for name, task in reader.news.items()} == {
        name: status for name, status in reader.seen.items() if status != wanted[name]
    }
    order = [name for name, _ in listed]
    needed = max([training, *(order.index(name) + 1 if name in order else len(order) for name in wanted)])
    assert reader.rows_read == min(needed, len(order))
    assert reader.enough is (wanted.keys() <= first.keys() and len(order) >= training)


def test_news_are_passed_on_as_soon_as_they_are_read() -> None:
    """Also those of a list that breaks off later."""
    reader = News({"a": None, "b": None, "c": None})
    reader.feed(body_of(row("a"), row("b"), row("c"))[:-10])
    assert set(reader.news) == {"a", "b"}
    with pytest.raises(MalformedAnswer, match="ends too early"):
        reader.finish()


def test_an_error_of_the_callback_is_no_error_of_the_list() -> None:
    """It is raised as it is, and not taken for a broken answer."""

    def stumble(task_id: str, details: TaskDetails) -> None:
        raise ValueError(f"{task_id} is {details.status}")

    with pytest.raises(ValueError, match="a is PROGRESS"):
        read(NewsOfTasks({"a": None}, stumble), body_of(row("a")))


# --- training rows -----------------------------------------------------------------------------------

T0, T90 = "2026-09-01T12:00:00Z", "2026-09-01T12:01:30Z"


def ended(task_id: str = "x", **more: object) -> dict[str, object]:
    usual = {"model": "t2v", "input": {"duration": "5"}, "createdAt": T0, "completedAt": T90}
    return {**row(task_id, "COMPLETED"), **usual, **more}


def test_the_first_rows_teach_how_long_tasks_take() -> None:
    """Also those of tasks that are not waited for; the rows behind them are not decoded."""
    found = news_of({"b": None}, ended("a"), ended("b", model="i2v", input={}), ended("c"), ended("d"), training_rows=3)
    assert found.finished == [FinishedRow("t2v", 5, 90), FinishedRow("i2v", None, 90), FinishedRow("t2v", 5, 90)]
    assert (set(found.news), found.rows_read) == ({"b"}, 3)


def test_there_are_no_more_training_rows_than_asked_for_or_listed() -> None:
    assert len(news_of(NONE, ended("a"), ended("b"), training_rows=200).finished) == 2
    assert news_of({"b": None}, ended("a"), ended("b")).finished == []


@pytest.mark.parametrize(
    "taught",
    [
        ended(status="FAILED"),
        ended(status="PROGRESS"),
        ended(completedAt=None),
        ended(createdAt="yesterday"),
        ended(model=None),
        ended(model=""),
        ended(id=None),
        {"status": "COMPLETED"},
        5,
    ],
)
def test_a_row_without_a_model_or_a_duration_teaches_nothing(taught: object) -> None:
    """It is passed over."""
    assert [item.model for item in news_of(NONE, taught, ended(model="lv"), training_rows=5).finished] == ["lv"]


def test_how_long_a_task_took_is_known_from_both_of_its_times() -> None:
    """By the service's clock, whatever it shows."""
    read_row: Callable[[dict[str, object]], TaskDetails] = lambda item: all_of(body_of(item))[0]  # noqa: E731
    assert reported_seconds(read_row(ended())) == 90
    assert reported_seconds(read_row(ended(createdAt=T90, completedAt=T0))) == -90
    assert reported_seconds(read_row(ended(createdAt=None))) is None
    assert reported_seconds(read_row(ended(completedAt=None))) is None
