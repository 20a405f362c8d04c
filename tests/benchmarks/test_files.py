"""Images on their way in are measured with a small one; what it measures is not judged here."""

from __future__ import annotations

from benchmarks import files
from benchmarks.files import BARE, WAYS, Extent


def test_stalls_and_memory_are_told_for_each_way_in() -> None:
    """Who thinks of nothing has the image in memory several times."""
    found = files.measure(Extent(size=400_000, rounds=1, idle=0.01))
    assert [line.way for line in found] == list(WAYS)
    for line in found:
        assert min(line.stall, line.idle_stall, line.seconds, line.memory) >= 0
    memory = {line.way: line.memory for line in found}
    assert memory[BARE] > 4
    assert "An image of 0.4 MB" in str(files.report(found))
