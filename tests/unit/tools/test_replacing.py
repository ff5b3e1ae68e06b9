# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/mutants breaks the functions of a running process: each kind of them, or it says that it cannot."""

from __future__ import annotations

import importlib.util
import itertools
import pathlib
import types
import typing as t

import mutations
import pytest
import replacing

SOURCE = """
import functools

def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper

def plain(value):
    if (
        value < 0
        or value > 9
    ):
        raise ValueError(value)
    return "went on"

def second_line(value):
    return "went on"

@decorated
def wrapped(value):
    if value < 0:
        raise ValueError(value)
    return "went on"

@functools.lru_cache(maxsize=None)
def remembered(value):
    if value < 0:
        raise ValueError(value)
    return "went on"

def outer():
    def inner(value):
        if value < 0:
            raise ValueError(value)
        return "went on"
    return inner

def outer_with_variable(limit):
    def inner(value):
        if value < limit:
            raise ValueError(value)
        return "went on"
    return inner

made_before = outer_with_variable(0)

class Thing:
    def __init__(self, value):
        self.value = value

    @property
    def read(self):
        if self.value < 0:
            raise ValueError(self.value)
        return "went on"

    @staticmethod
    def still(value):
        if value < 0:
            raise ValueError(value)
        return "went on"

table = {"captured": plain}

if len(table) > 5:
    raise ValueError(table)
"""
_numbers = itertools.count()


@pytest.fixture(name="module")
def fixture_module(tmp_path: pathlib.Path) -> types.ModuleType:
    file = tmp_path / "example.py"
    file.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location(f"example_{next(_numbers)}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def broken(module: types.ModuleType, after: str) -> bool:
    assert module.__file__ is not None
    return replacing.replace(replacing.functions_by_file(), module.__file__, SOURCE, after)


def refusals(name: str) -> t.List[mutations.Mutation]:
    begin = SOURCE.index(name)
    return [found for found in mutations.mutations(SOURCE) if found.kind == mutations.REFUSAL and found.begin > begin]


CASES: t.Mapping[str, t.Callable[[t.Any], object]] = {
    "def plain": lambda module: module.table["captured"](-1),
    "def wrapped": lambda module: module.wrapped(-1),
    "def remembered": lambda module: module.remembered(-1),
    "def outer": lambda module: module.outer()(-1),
    "def read": lambda module: module.Thing(-1).read,
    "def still": lambda module: module.Thing(0).still(-1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_of_any_function_is_taken_out_in_place(name: str, module: types.ModuleType) -> None:
    with pytest.raises(ValueError, match="-1"):
        CASES[name](module)
    assert broken(module, refusals(name)[0].applied(SOURCE))
    assert CASES[name](module) == "went on"
    others = [other for other in CASES if other != name]
    for other in others:
        with pytest.raises(ValueError, match="-1"):
            CASES[other](module)


def test_lines_stay_where_they_are_so_that_later_functions_are_found(module: types.ModuleType) -> None:
    after = refusals("def plain")[0].applied(SOURCE)
    assert after.count("\n") == SOURCE.count("\n")
    assert broken(module, after)
    assert module.second_line.__code__.co_firstlineno == SOURCE[: SOURCE.index("def second_line")].count("\n") + 1


def test_an_inner_function_that_has_other_variables_of_the_outer_one_then_is_not_broken_in_place(
    module: types.ModuleType,
) -> None:
    """One was made before, and its code cannot be replaced by one that uses no ``limit``."""
    assert module.made_before.__closure__
    assert not broken(module, SOURCE.replace("value < limit", "False", 1))


def test_what_runs_at_import_is_not_broken_in_place(module: types.ModuleType) -> None:
    assert not broken(module, SOURCE.replace("len(table) > 5", "False"))


def test_a_function_that_nobody_holds_is_not_broken_in_place(module: types.ModuleType) -> None:
    functions = replacing.functions_by_file()
    assert module.__file__ is not None
    held = {module.__file__: [one for one in functions[module.__file__] if one is not module.plain]}
    assert not replacing.replace(held, module.__file__, SOURCE, refusals("def plain")[0].applied(SOURCE))


def test_a_file_that_is_not_imported_yet_needs_no_replacing(tmp_path: pathlib.Path) -> None:
    assert replacing.replace({}, str(tmp_path / "other.py"), SOURCE, SOURCE)
