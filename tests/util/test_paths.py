"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aivideomaker_async._util.paths import expanded


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("~/videos", "/home/somebody/videos"),
        (Path("~"), "/home/somebody"),
        ("a/~b", "a/~b"),
        ("~no-such-user-here/a", "~no-such-user-here/a"),
    ],
)
def test_a_tilde_stands_for_the_home_folder(given: str | Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("USERPROFILE", "/home/somebody")
    assert expanded(given) == Path(path)
