"""The comparison with another revision. Its figures are not judged here."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from benchmarks import against


def test_both_trees_run_the_same_programs() -> None:
    git = shutil.which("git")
    if git is None or subprocess.run([git, "cat-file", "-e", "HEAD"], cwd=against.ROOT, check=False).returncode:
        pytest.skip("this tree is no git repository: there is no other revision")
    ratios = against.compare("HEAD", rounds=1, calls=50)
    assert list(ratios) == ["ready", "call, 1 at once", "call, 50 at once"]
    assert all(ratio > 0 for ratio in ratios.values())


def test_what_costs_more_is_warned_of() -> None:
    same, slower = against.lines({"ready": 1.04, "call, 1 at once": against.RATIO_TO_WARN_FROM})
    assert same.endswith("1.04 x")
    assert slower.endswith("1.05 x   WARNING: slower than before")
