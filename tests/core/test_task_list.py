from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import TaskDetails, TaskStatus
from aivideomaker_async._core import task_list
from aivideomaker_async._core.answers import MalformedAnswer
from aivideomaker_async._core.ledger import Wanted
from aivideomaker_async._core.task_list import (
    LARGE,
    AllTasks,
    FinishedRow,
    ListReader,
    NewsOfTasks,
    TasksOfSubmits,
    told_seconds,
)
from tests.core.pictures import PNG, data_uri

SLICE = 1 << 16

NONE: Mapping[str, str | None] = {}


class Rows(ListReader):
    """Keeps each row as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[object] = []

    def take(self, row: object) -> None:
        self.rows.append(row)


def row(task_id: object = "a", status: object = "PROGRESS", **more: object) -> dict[str, object]:
    return {"id": task_id, "status": status, **more}


def body_of(*rows: object, **beside: object) -> bytes:
    return json.dumps({"tasks": rows, **beside}, ensure_ascii=False).encode()


def sliced(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(body) + 1) for cut in cuts}), len(body)]
    return [body[start:end] for start, end in pairwise(places)]


def read(reader: ListReader, *pieces: bytes) -> None:
    for piece in pieces:
        reader.feed(piece)
    reader.finish()


def all_of(body: bytes, *, size: int = 1 << 20) -> list[TaskDetails]:
    reader = AllTasks()
    read(reader, *(body[start : start + size] for start in range(0, len(body), size)))
    return reader.tasks


class News(NewsOfTasks):
    """Keeps what it tells."""

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


cuts = st.lists(st.integers(0, 5000), max_size=12)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(['"\\', "\u2028", "⚡🎬", "]}", '","', "\\u00e9", data_uri(PNG), 10**300, -1e-300])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(["status", "message", "total", "next", "é"]) | st.text(max_size=5).filter(
    lambda name: name != "tasks"
)
fields = st.lists(st.tuples(names, values), max_size=4, unique_by=lambda item: item[0])
layouts = st.sampled_from(
    [{}, {"indent": 3}, {"separators": (",", ":")}, {"indent": "\t", "separators": (" ,", " : ")}]
)


def written(before: list[tuple[str, object]], rows: list[object], after: list[tuple[str, object]]) -> dict[str, object]:
    return {**dict(before), "tasks": rows, **{name: item for name, item in after if name not in dict(before)}}


# --- in pieces ---------------------------------------------------------------------------------------


@given(fields, st.lists(values, max_size=5), fields, layouts, st.booleans(), cuts)
@settings(max_examples=100, deadline=None)
def test_however_it_is_cut_the_list_is_what_it_is_in_one_piece(
    before: list[tuple[str, object]],
    rows: list[object],
    after: list[tuple[str, object]],
    layout: dict[str, Any],
    ascii_only: bool,
    places: list[int],
) -> None:
    """In the middle of a character, an escape or a number, and with other fields before and behind the rows."""
    body = json.dumps(written(before, rows, after), ensure_ascii=ascii_only, **layout).encode()
    expected = json.loads(body)
    reader = Rows()
    read(reader, *sliced(body, places))
    assert repr(reader.rows) == repr(expected["tasks"])
    # NaN is not itself.
    assert repr(reader.fields) == repr({**expected, "tasks": []})
    assert (reader.rows_read, reader.bytes_read) == (len(rows), len(body))


@pytest.mark.parametrize("number", ["12", "-1.25", "1e5", "1.5E+3", "-0", "true", "null", "NaN", "-Infinity"])
def test_a_number_is_over_where_something_else_begins(number: str) -> None:
    """It may arrive digit by digit, as a row or beside the rows."""
    body = f'{{"a":{number},"tasks":[{number},{number}],"b":{number}}}'.encode()
    reader = Rows()
    read(reader, *sliced(body, range(len(body))))
    expected = json.loads(body)
    assert repr((reader.fields["a"], *reader.rows, reader.fields["b"])) == repr(
        (expected["a"], *expected["tasks"], expected["b"])
    )


@given(st.text(alphabet='{}[]":,.eE+-0129 \\untaskslfr\n', max_size=60) | st.binary(max_size=40), cuts, st.booleans())
@settings(max_examples=250, deadline=None)
def test_however_it_is_cut_nonsense_is_the_same_nonsense(text: str | bytes, places: list[int], opened: bool) -> None:
    """Feeding never raises; what is wrong is told at the end, in few words."""
    body = text if isinstance(text, bytes) else text.encode()
    body = b'{"tasks":[' + body if opened else body
    told: list[object] = []
    for pieces in ([body], sliced(body, places)):
        reader = Rows()
        for piece in pieces:
            reader.feed(piece)
        try:
            reader.finish()
        except MalformedAnswer as error:
            assert len(str(error)) < 200
            told.append(None)
        else:
            told.append(repr((reader.rows, reader.fields)))
    assert told[0] == told[1]


def test_a_list_that_ends_in_the_middle_is_malformed_wherever_it_ends() -> None:
    """An answer that broke off tells nothing of the tasks that it would have shown."""
    rows = [row("ä", input={"prompt": "⚡ \\u26a1", "n": [1, -2.5e3, None]}), row("b", output=None)]
    body = body_of(*rows, total=2)
    assert [task.id for task in all_of(body)] == ["ä", "b"]
    for end in range(len(body)):
        for pieces in ([body[:end]], sliced(body[:end], range(0, end, 3))):
            with pytest.raises(MalformedAnswer):
                read(AllTasks(), *pieces)


def test_the_last_piece_may_be_a_small_one() -> None:
    """Rows large and small are read at the end of the answer, however little of it came last."""
    for size in (10, 1000, LARGE - 1, LARGE, 3 * LARGE):
        body = body_of(row("a", input={"image": "x" * size}))
        for last in (1, 2, 20):
            reader = AllTasks()
            read(reader, body[:-last], body[-last:])
            assert [task.id for task in reader.tasks] == ["a"]


def test_a_short_answer_is_read_before_its_end_is_known() -> None:
    """Whether it is an error is seen from its fields."""
    reader = AllTasks()
    for piece in (b'{"status": "FAI', b'LED", "message": "insufficient cre', b'dits"}'):
        reader.feed(piece)
    assert reader.fields == {"status": "FAILED", "message": "insufficient credits"}
    with pytest.raises(MalformedAnswer, match=r"expected a list of tasks @ \$\.tasks"):
        reader.finish()


@pytest.mark.parametrize("place", ["row", "field"])
def test_a_huge_value_costs_no_more_than_a_few_times_its_reading(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried again before twice as much of it is there."""
    decoded: list[int] = []
    original = task_list._decode

    def counted(text: str, position: int) -> tuple[Any, int]:
        decoded.append(len(text) - position)
        value, end = original(text, position)
        decoded[-1] = end - position
        return value, end

    monkeypatch.setattr(task_list, "_decode", counted)
    huge = "x" * (4 << 20)
    body = body_of(row("a", input={"image": huge})) if place == "row" else body_of(row("a"), message=huge)
    assert [task.id for task in all_of(body, size=SLICE)] == ["a"]
    assert sum(size > LARGE for size in decoded) <= 10
    assert sum(decoded) < 4 * len(body)


def test_many_rows_cost_their_reading() -> None:
    """Each is decoded once, but for the one at the edge of a piece."""
    rows = [row(str(number), input={"prompt": "A cat " * 20}) for number in range(3000)]
    assert [task.id for task in all_of(body_of(*rows), size=SLICE)] == [str(number) for number in range(3000)]


# --- what is no list ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON, or ends too early: ''"),
        (b"  \n", "not JSON, or ends too early"),
        (b"<html>502 Bad Gateway</html>", "the body is not JSON: '<"),
        (b"[]", "the body is not JSON: '\\[\\]'"),
        (b'[{"id": "a"}]', "the body is not JSON"),
        (b"null", "the body is not JSON"),
        (b"\xef\xbb\xbf", "ends too early"),
        (b"\xff\xfe{\x00}\x00", "the body is not JSON"),
        (b'{"tasks": []}'[:-1] + b"\xc3", "the body is not JSON"),
        (b'{"tasks": []}\xc3', "the body is not JSON"),
        (b'{"tasks": []} trailing', "the body is not JSON: ' t"),
        (b'{"tasks": []}{"tasks": []}', "the body is not JSON"),
        (b'{"tasks" []}', "the body is not JSON"),
        (b"{tasks: []}", "not JSON, or ends too early: '{?tasks"),
        (b"{5: []}", "the body is not JSON"),
        (b'{"tasks": [}', "not JSON, or ends too early: '}'"),
        (b'{"tasks": [' + b"9" * 5000 + b"]}", "the body is not JSON"),
        (b'{"tasks": null}', r"expected a list of tasks @ \$\.tasks: None"),
        (b'{"tasks": {}}', r"expected a list of tasks @ \$\.tasks: {}"),
        (b'{"tasks": "none"}', r"expected a list of tasks @ \$\.tasks: 'none'"),
        (b"{}", r"expected a list of tasks @ \$\.tasks: None"),
        (b'{"status": "FAILED", "message": "no"}', r"expected a list of tasks @ \$\.tasks"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"a":' * 100_000, 'the body is not JSON: \'"a":'),
        (b'{"tasks": [' + b"[" * 100_000, "the body is not JSON: '\\[\\["),
        (b'{"tasks": [{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "the body is not JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
@pytest.mark.parametrize("size", [1 << 20, 1000, 3])
def test_what_is_no_list_is_named_at_the_end(body: bytes, reason: str, size: int) -> None:
    """Feeding it is no mistake, and what is told of it is short, also where a proxy answers."""
    for reader in (AllTasks(), News({"a": None})):
        for start in range(0, len(body), size):
            reader.feed(body[start : start + size])
        with pytest.raises(MalformedAnswer, match=reason) as caught:
            reader.finish()
        assert len(str(caught.value)) < 200


def test_a_mark_of_the_byte_order_is_passed_over() -> None:
    """Some proxies put one before what they pass on; as in any other answer, it means nothing."""
    assert [task.id for task in all_of(b"\xef\xbb\xbf" + body_of(row("a")), size=1)] == ["a"]


def test_nothing_more_is_read_after_a_mistake() -> None:
    """What is wrong in the middle is wrong at the end, and the rest need not come."""
    reader = AllTasks()
    assert not reader.enough
    reader.feed(b"<html>")
    assert reader.enough
    reader.feed(body_of(row("a")))
    assert (reader.tasks, reader.bytes_read) == ([], 6 + len(body_of(row("a"))))
    for _ in range(2):
        with pytest.raises(MalformedAnswer):
            reader.finish()


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
    """Never another error; and whoever looks for single tasks is not disturbed by the others."""
    body = body_of(*rows)
    with suppress(MalformedAnswer):
        reader = AllTasks()
        read(reader, *sliced(body, places))
        assert len(reader.tasks) == len(rows)
        assert "iVBOR" not in repr(reader.tasks)
    whole, pieces = (News({"a": None, "7": "PROGRESS", "gone": None}, lesson=3) for _ in range(2))
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


def test_a_row_that_tells_what_is_known_is_seen_and_no_news() -> None:
    """Most rows are of this kind, and are looked at no further."""
    found = news_of({"a": "PROGRESS", "b": "PROGRESS", "c": None}, row("a"), row("b", "COMPLETED"), row("c"))
    assert found.seen == {"a": "PROGRESS", "b": "COMPLETED", "c": "PROGRESS"}
    assert set(found.news) == {"b", "c"}
    assert found.news["b"].status == TaskStatus.COMPLETED


def test_a_task_that_the_list_does_not_show_is_not_seen() -> None:
    """The list is read to its end, and whoever asked knows that it is missing."""
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


def test_who_waits_for_nothing_has_read_enough_at_once() -> None:
    """There is nothing in the list that could be wrong."""
    reader = News(NONE)
    assert reader.enough
    read(reader, b"<html>")


def test_a_wanted_row_that_cannot_be_read_counts_once() -> None:
    """It keeps nobody reading, and ends the reading for nobody else."""
    unreadable = {"id": "a", "status": 5}
    found = news_of({"a": None, "b": None}, unreadable, unreadable, row("b"), row("c"))
    assert (set(found.seen), found.rows_read, found.enough) == ({"b"}, 3, True)


def test_optional_tasks_are_taken_when_they_are_met() -> None:
    """They are not waited for."""
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
    listed: list[tuple[str, str]], wanted: dict[str, str | None], lesson: int, places: list[int]
) -> None:
    """And the list is read exactly as far as it has to be."""
    reader = News(wanted, lesson=lesson)
    read(reader, *sliced(body_of(*(row(*item) for item in listed)), places))
    first = dict(reversed(listed))
    assert reader.seen == {name: first[name] for name in wanted if name in first}
    assert {name: str(task.status) for name, task in reader.news.items()} == {
        name: status for name, status in reader.seen.items() if status != wanted[name]
    }
    order = [name for name, _ in listed]
    needed = max([lesson, *(order.index(name) + 1 if name in order else len(order) for name in wanted)])
    assert reader.rows_read == min(needed, len(order))
    assert reader.enough is (wanted.keys() <= first.keys() and len(order) >= lesson)


def test_news_are_told_as_soon_as_they_are_read() -> None:
    """Also of a list that breaks off later: what it has told is true."""
    reader = News({"a": None, "b": None, "c": None})
    reader.feed(body_of(row("a"), row("b"), row("c"))[:-10])
    assert set(reader.news) == {"a", "b"}
    with pytest.raises(MalformedAnswer, match="ends too early"):
        reader.finish()


def test_a_mistake_of_whoever_hears_the_news_is_no_mistake_of_the_list() -> None:
    """It is raised as it is, and not taken for a broken answer."""

    def stumble(task_id: str, details: TaskDetails) -> None:
        raise ValueError(f"{task_id} is {details.status}")

    with pytest.raises(ValueError, match="a is PROGRESS"):
        NewsOfTasks({"a": None}, stumble).feed(body_of(row("a")))


# --- the lesson --------------------------------------------------------------------------------------

T0, T90 = "2026-09-01T12:00:00Z", "2026-09-01T12:01:30Z"


def ended(task_id: str = "x", **more: object) -> dict[str, object]:
    usual = {"model": "t2v", "input": {"duration": "5"}, "createdAt": T0, "completedAt": T90}
    return {**row(task_id, "COMPLETED"), **usual, **more}


def test_the_first_rows_teach_how_long_tasks_take() -> None:
    """Also those that nobody waits for; the others are not looked at."""
    found = news_of({"b": None}, ended("a"), ended("b", model="i2v", input={}), ended("c"), ended("d"), lesson=3)
    assert found.finished == [FinishedRow("t2v", 5, 90), FinishedRow("i2v", None, 90), FinishedRow("t2v", 5, 90)]
    assert (set(found.news), found.rows_read) == ({"b"}, 3)


def test_a_lesson_is_no_longer_than_the_list() -> None:
    """And where nobody learns, nothing is taught."""
    assert len(news_of(NONE, ended("a"), ended("b"), lesson=200).finished) == 2
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
def test_a_row_that_does_not_tell_how_long_it_took_teaches_nothing(taught: object) -> None:
    """It is passed over."""
    assert [item.model for item in news_of(NONE, taught, ended(model="lv"), lesson=5).finished] == ["lv"]


def test_how_long_a_task_took_is_known_from_both_of_its_times() -> None:
    """By the service's clock, whatever it tells."""
    read_row: Callable[[dict[str, object]], TaskDetails] = lambda item: all_of(body_of(item))[0]  # noqa: E731
    assert told_seconds(read_row(ended())) == 90
    assert told_seconds(read_row(ended(createdAt=T90, completedAt=T0))) == -90
    assert told_seconds(read_row(ended(createdAt=None))) is None
    assert told_seconds(read_row(ended(completedAt=None))) is None


def test_only_rows_that_can_tell_of_a_submit_are_deciphered() -> None:
    wanted = Wanted(models=frozenset({"t2v"}), keys=frozenset(), task_ids=frozenset())
    reader = TasksOfSubmits(wanted)
    rows = [{"id": "ck1", "model": "t2v", "status": "SUBMITTED"}, {"id": "ck2", "model": "i2v", "status": "x"}]
    strange = [{"model": "t2v"}, None, {"model": "i2v"}]
    reader.feed(json.dumps({"tasks": [*rows, *strange]}).encode())
    reader.finish()
    assert [task.id for task in reader.tasks] == ["ck1"]
    assert reader.unreadable == 2
