"""Names of a package that are imported on first use (PEP 562), so that a program loads only what it uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["names_on_use"]


def names_on_use(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package.

    Args:
        package: the `__name__` of the package.
        modules: for each module of the package, the names that it exports, separated by spaces.
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}

    def getattr_(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{module_of[name]}"), name)
        # The next use finds it without this function.
        setattr(sys.modules[package], name, value)
        return value

    return getattr_
