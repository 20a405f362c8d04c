"""What must be made anew in a forked process.

A fork copies locks that another thread may hold and connections that the parent goes on using. Objects that own such
things register how to let go of them; one hook of the operating system runs all of that first in the child.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["after_fork_in_child"]

T = TypeVar("T")

_actions: Final[WeakKeyDictionary[Any, list[Callable[[Any], object]]]] = WeakKeyDictionary()


def after_fork_in_child(owner: T, action: Callable[[T], object]) -> None:
    """Run `action(owner)` in every forked child, as long as `owner` is alive.

    Args:
        owner: any object that is hashable and weakly referenceable; it is not kept alive.
        action: a function that holds no reference to `owner`, such as an unbound method. It must not raise.
    """
    _actions.setdefault(owner, []).append(action)


def _run_actions() -> None:
    for owner, actions in list(_actions.items()):
        for action in actions:
            action(owner)


# Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_run_actions)
