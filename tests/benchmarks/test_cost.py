"""What a call and a start cost is measured with the smallest of parameters; the figures are not judged here."""

from __future__ import annotations

from benchmarks import cpu, ready


def test_cpu_compares_a_call_of_ours_with_a_bare_one() -> None:
    """One line for each number of calls at once, with ratios in order."""
    found = cpu.measure(cpu.Extent(rounds=2, calls=10, widths=(1, 5)))
    assert [line.at_once for line in found] == [1, 5]
    for line in found:
        assert 0 < line.lower_quartile <= line.ratio <= line.upper_quartile
        assert line.bare_microseconds > 0
    assert "| 5 |" in str(cpu.report(found))


def test_ready_compares_fresh_processes() -> None:
    """One line for each program but the bare one; a failing program would raise."""
    found = ready.measure(1)
    assert [line.program for line in found] == [name for name in ready.PROGRAMS if name != ready.BARE]
    assert all(line.ratio > 0 for line in found)
    assert "specs alone" in str(ready.report(found))
