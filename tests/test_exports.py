"""The library's surface is what ``pskernel.__all__`` lists, and modules say what is theirs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import pskernel


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(pskernel.__path__, "pskernel."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def test_the_surface_is_sorted_complete_and_documented() -> None:
    assert len(set(pskernel.__all__)) == len(pskernel.__all__)
    # As ruff sorts: constants, classes, functions.
    order = {True: 1, False: 2}
    ranked = [(order[name[0].isupper()], name) for name in pskernel.__all__]
    assert sorted(ranked) == ranked
    for name in pskernel.__all__:
        assert inspect.getdoc(getattr(pskernel, name)), name


@pytest.mark.parametrize("module", list(modules()), ids=lambda module: module.__name__)
def test_what_a_module_exports_exists_and_is_its_own(module: ModuleType) -> None:
    assert module.__doc__ or not hasattr(module, "__all__")
    for name in getattr(module, "__all__", []):
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__.startswith("pskernel."), name
            assert inspect.getdoc(value), name
