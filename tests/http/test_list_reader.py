from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._http import list_reader
from aivideomaker_async._http.decoding import MAX_COMMAS, MalformedAnswer, raw_decode
from aivideomaker_async._http.list_reader import LONG_VALUE_CHARACTERS, MAX_FIELDS, AllTasks, ListReader
from aivideomaker_async._watch.task_list import NewsOfTasks
from tests.support.lists import SLICE, all_of, body_of, cuts, read, row, sliced, values


class Rows(ListReader):
    """Keeps each row as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[object] = []

    def take(self, row: object) -> None:
        self.rows.append(row)


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
@settings(max_examples=80, deadline=None)
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
    for size in (10, 1000, LONG_VALUE_CHARACTERS - 1, LONG_VALUE_CHARACTERS, 3 * LONG_VALUE_CHARACTERS):
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


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many characters each look of the decoder was about."""
    looks: list[int] = []
    original = raw_decode

    def counted(text: str, position: int) -> tuple[Any, int]:
        looks.append(len(text) - position)
        value, end = original(text, position)
        looks[-1] = end - position
        return value, end

    monkeypatch.setattr(list_reader, "raw_decode", counted)
    return looks


@pytest.mark.parametrize("place", ["row", "field"])
def test_a_huge_value_costs_its_length(place: str, decoded: list[int]) -> None:
    """In linear time: all attempts together cost a small multiple of its length, however many quotes it has."""
    huge = 'A \\ "cat" ' * (1 << 18)
    body = body_of(row("a", input={"image": huge})) if place == "row" else body_of(row("a"), message=huge)
    assert [task.id for task in all_of(body, size=SLICE)] == ["a"]
    assert sum(decoded) < 5 * len(body)


def test_what_comes_behind_a_huge_row_is_not_kept_for_later(decoded: list[int]) -> None:
    """It is dealt with slice by slice as any other part of the list."""
    body = body_of(row("a", input={"image": "x" * (1 << 20)}), *(row(str(number)) for number in range(2000)))
    reader = Rows()
    most = 0
    for start in range(0, len(body), SLICE):
        before = reader.rows_read
        reader.feed(body[start : start + SLICE])
        most = max(most, reader.rows_read - before)
    reader.finish()
    assert reader.rows_read == 2001
    assert most < 2 * SLICE / len(json.dumps(row("1000")))


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
        (b'{"tasks": []} trailing', "the body is not JSON: 't"),
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
        (b'{"a":' * 100_000, 'the body is not JSON: \'{"a":'),
        (b'{"tasks": [' + b"[" * 100_000, "the body is not JSON: '\\[\\["),
        (b'{"tasks": [{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "the body is not JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
@pytest.mark.parametrize("size", [1 << 20, 1000, 3])
def test_what_is_no_list_is_named_at_the_end(body: bytes, reason: str, size: int) -> None:
    """Feeding it is no mistake, and what is told of it is short, also where a proxy answers."""
    for reader in (AllTasks(), NewsOfTasks({"a": None}, lambda *_: None)):
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


# --- what is too much --------------------------------------------------------------------------------


def refused(reader: ListReader, body: bytes, *, size: int = SLICE) -> str:
    """What is told of a body of which no more than needed is read."""
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
        if reader.enough:
            break
    with pytest.raises(MalformedAnswer) as caught:
        reader.finish()
    assert len(str(caught.value)) < 200
    return str(caught.value)


@pytest.mark.parametrize("unit", ["[],", "{},", '"",', "0,", '{"":[]},', "[[]],"])
@pytest.mark.parametrize("place", ["row", "field"])
def test_a_value_of_too_many_values_is_refused_and_not_decoded(place: str, unit: str, decoded: list[int]) -> None:
    """It would hold up everything else for seconds."""
    many = f"[{unit * (1 << 20)}0]"
    body = f'{{"tasks":[{{"id":"a","input":{many}}}]}}' if place == "row" else f'{{"x":{many},"tasks":[]}}'
    assert "one value in it is too large" in refused(Rows(), body.encode())
    assert max(decoded) <= MAX_COMMAS * len(unit) + 2 * SLICE


def test_a_value_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task is larger than one answer about it may be."""
    monkeypatch.setattr(list_reader, "TASK_ANSWER_BYTES", 1 << 20)
    assert all_of(body_of(row("a", input={"image": "x" * (1 << 19)})), size=SLICE)
    body = body_of(row("a"), row("b", input={"image": "x" * (1 << 21)}))
    reader = Rows()
    assert 'one value in it is too large: \'{"id": "b"' in refused(reader, body)
    assert reader.bytes_read < 1.2 * (1 << 20)
    assert [item["id"] for item in reader.rows if isinstance(item, dict)] == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"tasks":[' + b"1" * (1 << 22),
        b'{"a":-' + b"x" * (1 << 22) + b"}",
        b"x" * (1 << 22),
    ],
    ids=lambda body: body[:16].decode(),
)
def test_what_is_endless_and_no_text_is_refused_early(body: bytes) -> None:
    """Nothing is collected, nor looked at again and again."""
    reader = Rows()
    assert "not JSON" in refused(reader, body)
    assert reader.bytes_read <= 3 * LONG_VALUE_CHARACTERS


@pytest.mark.parametrize("filling", [b" ", b"\n", b","])
def test_what_means_nothing_is_dropped(filling: bytes) -> None:
    """However much of it there is."""
    reader = Rows()
    place = filling * (1 << 20)
    between = place.replace(b",", b" ")
    for part in (between, b'{"tasks":[', place, b"1", place, b",", b'{"id":2}', place, b"]", place, b"}", between):
        for start in range(0, len(part), SLICE):
            reader.feed(part[start : start + SLICE])
            assert reader._unread_characters <= len(place) + 2 * SLICE
    reader.finish()
    assert reader.rows == [1, {"id": 2}]


def test_a_list_of_more_rows_than_there_can_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made of nothing."""
    monkeypatch.setattr(list_reader, "MAX_ROWS", 1000)
    assert len(all_of(body_of(*[row("a")] * 1000))) == 1000
    reader = Rows()
    assert "more than 1000 tasks" in refused(reader, b'{"tasks":[' + b"{}," * 100_000 + b"{}]}")
    assert reader.bytes_read <= SLICE


def test_a_list_with_many_fields_beside_the_rows_is_refused() -> None:
    """There is one field in a list, and there may be a few more one day."""
    body = json.dumps({f"k{number}": number for number in range(MAX_FIELDS + 1)} | {"tasks": []}).encode()
    assert f"more than {MAX_FIELDS} fields" in refused(Rows(), body)
    body = json.dumps({f"k{number}": number for number in range(MAX_FIELDS)} | {"tasks": []}).encode()
    read(Rows(), body)
