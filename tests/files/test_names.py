"""Names of files: every file system accepts them, and none leads out of the folder."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._files.names import beside, is_plain_name, name_key, video_name

DEVICES = {"CON", "PRN", "AUX", "NUL"} | {f"{port}{number}" for port in ("COM", "LPT") for number in range(10)}

task_ids = st.text() | st.text(alphabet="./\\:CONconaux1 \0-_~%$", max_size=10)


@pytest.mark.parametrize("task_id", ["ck1", "tv_01H-Z.9", "a" * 100, "CONSOLE", "a.b"])
def test_an_ordinary_id_is_the_name(task_id: str) -> None:
    assert video_name(task_id) == f"{task_id}.mp4"


@given(task_ids)
def test_any_id_makes_a_plain_name(task_id: str) -> None:
    """ASCII, no separator, no device of Windows, not hidden, not too long."""
    name = video_name(task_id)
    assert is_plain_name(name)
    assert name.isascii() and name.isprintable()
    assert not set(name) & set('<>:"/\\|?* ')
    assert name[0] not in ".-" and name.endswith(".mp4")
    assert len(name) <= 120
    assert PureWindowsPath(name).name == PurePosixPath(name).name == name
    assert name.partition(".")[0].upper() not in DEVICES


@given(task_ids, task_ids)
def test_two_ids_have_two_names(one: str, other: str) -> None:
    """Also when they differ in characters that no name may have."""
    assert (video_name(one) == video_name(other)) is (one == other)


@pytest.mark.parametrize(
    "task_id", ["", "..", "../../etc/passwd", "C:\\x", "con", "AUX.x", "nul", "-rf", "a" * 101, "x."]
)
def test_an_unsafe_id_is_changed(task_id: str) -> None:
    assert video_name(task_id) != f"{task_id}.mp4"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "/a", "C:a", "a\0b", "../a"])
def test_a_name_that_leads_elsewhere_is_not_plain(name: str) -> None:
    """On any system."""
    assert not is_plain_name(name)
    assert is_plain_name("a b.mp4")


@given(st.text(min_size=1, max_size=300), st.sampled_from([".part", ".part.json", ".01234567.part"]))
def test_a_file_beside_another_has_a_name_that_fits(name: str, ending: str) -> None:
    """The other name with the ending, unless that is too long. No letter is cut in two."""
    found = beside(name, ending)
    assert found.endswith(ending)
    assert len(found.encode(errors="surrogatepass")) <= 255
    assert (found == name + ending) is (len(name.encode(errors="surrogatepass")) <= 239)


def test_long_names_that_differ_at_their_end_stay_different() -> None:
    one, other = (beside(letter * 240, ".part") for letter in "\u30d3x")
    assert one.startswith("\u30d3" * 75 + "-") and other.startswith("x" * 226 + "-")
    assert beside("x" * 250 + "1", ".part") != beside("x" * 250 + "2", ".part")


def test_names_that_are_equal_on_some_file_system_have_one_key() -> None:
    """Case, and ways to write an accent."""
    assert name_key("Caf\u00e9.MP4") == name_key("cafe\u0301.mp4")
    assert name_key("a") != name_key("b")
