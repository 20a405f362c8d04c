from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._http import list_reader
from aivideomaker_async._http.decoding import MAX_COMMAS, MalformedAnswer, raw_decode
from aivideomaker_async._http.list_reader import LONG_VALUE_CHARACTERS, MAX_FIELDS, AllTasks, ListReader
from tests.support.lists import SLICE, all_of, body_of, cuts, read, row, sliced, values


class Rows(ListReader):
    """A reader that keeps each row as it came."""

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
def test_the_pieces_in_which_a_list_arrives_do_not_matter(
    before: list[tuple[str, object]],
    rows: list[object],
    after: list[tuple[str, object]],
    layout: dict[str, Any],
    ascii_only: bool,
    places: list[int],
) -> None:
    """It may be cut in a character, an escape or a number, and may have other fields before and behind the rows."""
    body = json.dumps(written(before, rows, after), ensure_ascii=ascii_only, **layout).encode()
    expected = json.loads(body)
    reader = Rows()
    read(reader, *sliced(body, places))
    assert repr(reader.rows) == repr(expected["tasks"])
    # NaN is not itself.
    assert repr(reader.fields) == repr({**expected, "tasks": []})
    assert (reader.rows_read, reader.bytes_read) == (len(rows), len(body))


@pytest.mark.parametrize("number", ["12", "-1.25", "1e5", "1.5E+3", "-0", "true", "null", "NaN", "-Infinity"])
def test_a_number_that_arrives_digit_by_digit_is_read_whole(number: str) -> None:
    """As a row, and as a field beside the rows."""
    body = f'{{"a":{number},"tasks":[{number},{number}],"b":{number}}}'.encode()
    reader = Rows()
    read(reader, *sliced(body, range(len(body))))
    expected = json.loads(body)
    assert repr((reader.fields["a"], *reader.rows, reader.fields["b"])) == repr(
        (expected["a"], *expected["tasks"], expected["b"])
    )


@given(st.text(alphabet='{}[]":,.eE+-0129 \\untaskslfr\n', max_size=60) | st.binary(max_size=40), cuts, st.booleans())
@settings(max_examples=80, deadline=None)
def test_the_pieces_in_which_a_malformed_list_arrives_do_not_matter(
    text: str | bytes, places: list[int], opened: bool
) -> None:
    """Feeding never raises; `finish` does, in few words."""
    body = text if isinstance(text, bytes) else text.encode()
    body = b'{"tasks":[' + body if opened else body
    outcomes: list[object] = []
    for pieces in ([body], sliced(body, places)):
        reader = Rows()
        for piece in pieces:
            reader.feed(piece)
        try:
            reader.finish()
        except MalformedAnswer as error:
            assert len(str(error)) < 200
            outcomes.append(None)
        else:
            outcomes.append(repr((reader.rows, reader.fields)))
    assert outcomes[0] == outcomes[1]


def test_a_list_that_ends_too_early_is_malformed_wherever_it_ends() -> None:
    rows = [row("ä", input={"prompt": "⚡ \\u26a1", "n": [1, -2.5e3, None]}), row("b", output=None)]
    body = body_of(*rows, total=2)
    assert [task.id for task in all_of(body)] == ["ä", "b"]
    for end in range(len(body)):
        for pieces in ([body[:end]], sliced(body[:end], range(0, end, 3))):
            with pytest.raises(MalformedAnswer):
                read(AllTasks(), *pieces)


def test_a_row_is_read_at_the_end_however_short_the_last_piece_is() -> None:
    for size in (10, 1000, LONG_VALUE_CHARACTERS - 1, LONG_VALUE_CHARACTERS, 3 * LONG_VALUE_CHARACTERS):
        body = body_of(row("a", input={"image": "x" * size}))
        for last in (1, 2, 20):
            reader = AllTasks()
            read(reader, body[:-last], body[-last:])
            assert [task.id for task in reader.tasks] == ["a"]


def test_the_fields_of_an_error_are_read_as_they_arrive() -> None:
    """Whether an answer is an error is seen from its fields."""
    reader = AllTasks()
    for piece in (b'{"status": "FAI', b'LED", "message": "insufficient cre', b'dits"}'):
        reader.feed(piece)
    assert reader.fields == {"status": "FAILED", "message": "insufficient credits"}
    with pytest.raises(MalformedAnswer, match=r"expected a list of tasks @ \$\.tasks"):
        reader.finish()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of characters that each attempt to decode went through."""
    attempts: list[int] = []
    original = raw_decode

    def counted(text: str, position: int) -> tuple[Any, int]:
        attempts.append(len(text) - position)
        value, end = original(text, position)
        attempts[-1] = end - position
        return value, end

    monkeypatch.setattr(list_reader, "raw_decode", counted)
    return attempts


@pytest.mark.parametrize("place", ["row", "field"])
def test_a_huge_value_is_decoded_in_linear_time(place: str, decoded: list[int]) -> None:
    """All attempts together cost a small multiple of its length, however many quotes it has."""
    huge = 'A \\ "cat" ' * (1 << 18)
    body = body_of(row("a", input={"image": huge})) if place == "row" else body_of(row("a"), message=huge)
    assert [task.id for task in all_of(body, size=SLICE)] == ["a"]
    assert sum(decoded) < 5 * len(body)


def test_rows_behind_a_huge_one_are_read_with_their_pieces() -> None:
    """To read all of them at once, at the end, would hold up the event loop."""
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


def test_many_rows_are_decoded_in_linear_time(decoded: list[int]) -> None:
    """Each is decoded once, but for the last of each piece."""
    rows = [row(str(number), input={"prompt": "A cat " * 20}) for number in range(3000)]
    assert [task.id for task in all_of(body_of(*rows), size=SLICE)] == [str(number) for number in range(3000)]
    assert sum(decoded) < 1.1 * len(body_of(*rows))


# --- malformed lists ---------------------------------------------------------------------------------


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
        (b"{tasks: []}", "the body is not JSON: 'ta"),
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
def test_an_answer_that_is_not_a_list_is_malformed_at_its_end(body: bytes, reason: str, size: int) -> None:
    """Feeding it never raises, and the error is short, also for the page of a proxy."""
    reader = AllTasks()
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    with pytest.raises(MalformedAnswer, match=reason) as caught:
        reader.finish()
    assert len(str(caught.value)) < 200


def test_a_byte_order_mark_is_skipped() -> None:
    """Some proxies add one."""
    assert [task.id for task in all_of(b"\xef\xbb\xbf" + body_of(row("a")), size=1)] == ["a"]


def test_nothing_more_is_read_after_an_error() -> None:
    """The rest of the answer need not come."""
    reader = AllTasks()
    assert not reader.enough
    reader.feed(b"<html>")
    assert reader.enough
    reader.feed(body_of(row("a")))
    assert (reader.tasks, reader.bytes_read) == ([], 6 + len(body_of(row("a"))))
    for _ in range(2):
        with pytest.raises(MalformedAnswer):
            reader.finish()


# --- limits ------------------------------------------------------------------------------------------


def refused(reader: ListReader, body: bytes, *, size: int = SLICE) -> str:
    """Feed `body` until the reader has enough; return the message of its error."""
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
def test_a_value_made_of_too_many_values_is_refused_and_not_decoded(place: str, unit: str, decoded: list[int]) -> None:
    """To decode it would hold up the event loop for seconds."""
    many = f"[{unit * (1 << 20)}0]"
    body = f'{{"tasks":[{{"id":"a","input":{many}}}]}}' if place == "row" else f'{{"x":{many},"tasks":[]}}'
    assert "one value in it is too large" in refused(Rows(), body.encode())
    assert max(decoded) <= MAX_COMMAS * len(unit) + 2 * SLICE


def test_a_value_longer_than_the_answer_about_one_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_an_endless_number_or_garbage_is_refused_early(body: bytes) -> None:
    """Neither can become valid, so nothing is collected or decoded again and again."""
    reader = Rows()
    assert "not JSON" in refused(reader, body)
    assert reader.bytes_read <= 3 * LONG_VALUE_CHARACTERS


@pytest.mark.parametrize("filling", [b" ", b"\n", b","])
def test_any_amount_of_space_and_commas_between_items_is_skipped(filling: bytes) -> None:
    reader = Rows()
    place = filling * (1 << 20)
    between = place.replace(b",", b" ")
    for part in (between, b'{"tasks":[', place, b"1", place, b",", b'{"id":2}', place, b"]", place, b"}", between):
        for start in range(0, len(part), SLICE):
            reader.feed(part[start : start + SLICE])
            assert reader._unread_characters <= len(place) + 2 * SLICE
    reader.finish()
    assert reader.rows == [1, {"id": 2}]


def test_a_list_of_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be empty: real rows fill the largest answer before."""
    monkeypatch.setattr(list_reader, "MAX_ROWS", 1000)
    assert len(all_of(body_of(*[row("a")] * 1000))) == 1000
    reader = Rows()
    assert "more than 1000 tasks" in refused(reader, b'{"tasks":[' + b"{}," * 100_000 + b"{}]}")
    assert reader.bytes_read <= SLICE


def test_a_list_with_too_many_fields_beside_the_rows_is_refused() -> None:
    fields = {f"k{number}": number for number in range(MAX_FIELDS)}
    for body in ({**fields, "tasks": []}, {"tasks": [], **fields}):
        read(Rows(), json.dumps(body).encode())
    assert f"more than {MAX_FIELDS} fields" in refused(Rows(), json.dumps({**fields, "one": 1, "tasks": []}).encode())


@pytest.mark.parametrize(
    "body",
    [b"{" + b"[" * 100_000, b"{" + b"9" * 5000 + b":1}", b"{[" + b"[]," * (1 << 20)],
    ids=["nested", "too many digits", "too many values"],
)
def test_the_name_of_a_field_that_is_not_a_text_is_refused(body: bytes) -> None:
    """Feeding never raises, and nothing large is decoded in its place."""
    reader = Rows()
    assert "not JSON" in refused(reader, body)
    assert reader.bytes_read <= SLICE


# --- subclasses --------------------------------------------------------------------------------------


class Interrupted(ListReader):
    """A reader that has enough with the second row."""

    @property
    def enough(self) -> bool:
        return super().enough or self.rows_read == 2

    def take(self, row: object) -> None:
        assert self.rows_read <= 2


def test_a_reader_that_has_enough_reads_no_further_row() -> None:
    """Nor does it matter what the rest of the answer is."""
    reader = Interrupted()
    read(reader, body_of(row("a"), row("b"), row("c"))[:-10], b"<html>")
    assert reader.rows_read == 2


def test_a_row_that_cannot_be_decoded_spoils_the_whole_list() -> None:
    """A list with holes is not what was asked for."""
    with pytest.raises(MalformedAnswer, match=r"required field missing @ \$\.tasks\[1\]\.status"):
        all_of(body_of(row("a"), {"id": "b"}, row("c")))
