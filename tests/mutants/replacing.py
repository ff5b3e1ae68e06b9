# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions of this process get the code that another text of their file gives them.

They stay the same objects, so that whoever holds one (a class, a decorator, an importer) calls the new code.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import sys
import types
import typing as t

_Key = t.Tuple[str, int]  # qualified name and first line
_Functions = t.Mapping[str, t.Sequence[types.FunctionType]]


def functions_by_file() -> t.Dict[str, t.List[types.FunctionType]]:
    """All that there are, by the true path of the file that they come from."""
    found: t.Dict[str, t.List[types.FunctionType]] = {}
    true_path = functools.lru_cache(maxsize=None)(os.path.realpath)
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType):
            found.setdefault(true_path(thing.__code__.co_filename), []).append(thing)
    return found


def replace(functions: _Functions, path: str, before: str, after: str) -> bool:
    """Whether this process does now what it would do if it had imported ``after``, a text of as many lines as
    ``before``.

    Not so where a module or a class runs the changed code while it is imported, and where nobody holds the function
    that has it (it was made by a decorator that compiles, say).
    """
    if path not in functions:
        return not any(os.path.realpath(getattr(module, "__file__", None) or "") == path for module in _modules())
    old, new = _codes(before, path), _codes(after, path)
    changed = {key for key, codes in old.items() if codes != new.get(key)}
    if any(len(codes) > 1 for key in changed for codes in (old[key], new.get(key, []))):
        return False  # two lambdas in one line
    inner = [key for key in changed if not changed & _within(old[key][0])]
    if not all(old[key][0].co_flags & inspect.CO_OPTIMIZED for key in inner):
        return False
    replaced = set()
    for function in functions[path]:
        key = _key(function.__code__)
        if key in changed and new.get(key):
            try:
                function.__code__ = new[key][0]
            except ValueError:  # the new code has other variables of the function around it
                return False
            replaced.add(key)
    # A function that nobody holds is made anew by a function around it.
    return all(key in replaced or any(key in _within(old[outer][0]) for outer in replaced) for key in inner)


def _modules() -> t.List[types.ModuleType]:
    return [module for module in [*sys.modules.values()] if isinstance(module, types.ModuleType)]


def _key(code: types.CodeType) -> _Key:
    return (code.co_qualname, code.co_firstlineno)


def _codes(source: str, path: str) -> t.Dict[_Key, t.List[types.CodeType]]:
    found: t.Dict[_Key, t.List[types.CodeType]] = {}
    for code in _all_in(compile(source, path, "exec", dont_inherit=True)):
        found.setdefault(_key(code), []).append(code)
    return found


def _all_in(code: types.CodeType) -> t.Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _all_in(constant)


def _within(code: types.CodeType) -> t.Set[_Key]:
    return {_key(inner) for inner in _all_in(code)} - {_key(code)}
