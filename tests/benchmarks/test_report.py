"""The figures land where they belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import detection
from benchmarks.contenders import CONTENDERS
from benchmarks.report import DOCS, Plot, Report, Table, put_into_docs

TABLE = Table(title="Speed", columns=("who", "ratio"), rows=[("us", "1.1")])
PLOT = Plot(name="speed", title="Speed of all", x="", y="", series=[])
REPORT = Report(figures=[], tables=[TABLE], plots=[PLOT])


def test_a_table_is_markdown() -> None:
    """A title, a head, a rule and the rows."""
    assert str(TABLE) == "### Speed\n\n| who | ratio |\n| --- | --- |\n| us | 1.1 |"


def test_a_report_is_markdown_with_its_plots() -> None:
    """They lie beside the documentation."""
    assert str(REPORT) == str(TABLE)
    assert REPORT.markdown() == f"{TABLE}\n\n![Speed of all](figures/speed.svg)"


def test_a_note_stands_above_its_table() -> None:
    """What must be known to read it."""
    assert str(Table(title="T", columns=("a",), rows=[], note="N.")) == "### T\n\nN.\n\n| a |\n| --- |"


def test_the_docs_keep_their_words_and_get_new_figures(tmp_path: Path) -> None:
    """Only what stands between the markers is replaced, and a second time replaces the first."""
    copy = tmp_path / "benchmarks.md"
    copy.write_text(DOCS.read_text())
    put_into_docs([REPORT], copy)
    once = copy.read_text()
    put_into_docs([REPORT], copy)
    assert copy.read_text() == once
    assert once.count("### Speed") == 1
    assert once.splitlines()[0] == DOCS.read_text().splitlines()[0]


def test_docs_without_markers_are_refused(tmp_path: Path) -> None:
    """Figures are never lost in silence."""
    empty = tmp_path / "benchmarks.md"
    empty.write_text("# Benchmarks\n")
    with pytest.raises(ValueError, match="markers"):
        put_into_docs([REPORT], empty)


def test_the_command_prints_a_table_and_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON file for each benchmark, with what the figures depend on."""
    monkeypatch.setattr(detection, "SHORT", detection.Extent(runs={1: 1}, most_polled=1))
    command.main(["detection", "--short", "--output", str(tmp_path)])
    assert "| aivideomaker_async |" in capsys.readouterr().out
    written = json.loads((tmp_path / "detection.json").read_text())
    assert {"python", "cores", "aiohttp"} <= written["machine"].keys()
    assert [line["contender"] for line in written["figures"]] == list(CONTENDERS)
    assert (tmp_path / "figures" / "detection-delay.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("arguments", [["warp"], ["cpu", "--write-docs"]])
def test_the_command_refuses_what_makes_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown benchmark, and documentation of which parts would be old."""
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert "error:" in capsys.readouterr().err
