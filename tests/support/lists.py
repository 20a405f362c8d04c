"""Task lists as bytes and in pieces, and values of JSON to make them of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise

from hypothesis import strategies as st

from aivideomaker_async import TaskDetails
from aivideomaker_async._http import AllTasks, ListReader
from tests.support.pictures import PNG, data_uri

SLICE = 1 << 16


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
