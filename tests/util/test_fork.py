from __future__ import annotations

import gc
import os

import pytest

from aivideomaker_async._util.fork import after_fork_in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")


class Owner:
    def __init__(self) -> None:
        self.value = "parent"

    def renew(self) -> None:
        self.value = "child"


def value_in_child(owner: Owner) -> str:
    """Return the `value` of `owner` in a fork of this process."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, owner.value.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        value = pipe.read()
    os.waitpid(child, 0)
    return value


def test_actions_run_in_the_child_and_not_in_the_parent() -> None:
    owner = Owner()
    after_fork_in_child(owner, Owner.renew)
    assert value_in_child(owner) == "child"
    assert owner.value == "parent"


def test_all_actions_of_an_owner_run_in_order() -> None:
    owner = Owner()
    after_fork_in_child(owner, Owner.renew)
    after_fork_in_child(owner, lambda one: setattr(one, "value", one.value + " and more"))
    assert value_in_child(owner) == "child and more"


def test_a_registered_owner_is_not_kept_alive() -> None:
    ran = Owner()
    owner = Owner()
    after_fork_in_child(owner, lambda _: setattr(ran, "value", "of a dead owner"))
    del owner
    gc.collect()
    assert value_in_child(ran) == "parent"
