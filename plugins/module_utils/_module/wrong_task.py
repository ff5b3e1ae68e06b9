# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What is wrong with the options of a task: sentences with the place, the reason and what to write instead.

Ansible names an option without its place, and makes a path of a list or of ``true``. No value is shown: in a wrong task
a secret can stand anywhere.
"""

from __future__ import annotations

import re
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import DEFAULT_TYPE_VALIDATORS

from .._luks.value_kinds import kind_of

Options = t.Mapping[str, t.Any]
Hints = t.Mapping[str, str]

_WANTED = {
    "bool": "true or false",
    "dict": "a dictionary",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "text",
}
_SYNONYMS = {
    "argon2": "argon2id",
    "dest": "path",
    "file": "path",
    "password": "passphrase",
    "path": "device",
    "secret": "new_secret",
    "src": "device",
}
_UNITS = {
    "iter_time": "milliseconds: 2000",
    "keyfile_offset": "bytes: 512",
    "keyfile_size": "bytes: 64",
    "lock_timeout": "seconds: 30",
    "memory": "KiB: 65536",
    "total_memory": "KiB: 1048576",
}


class CheckedModule(AnsibleModule):
    """AnsibleModule that ends with :func:`complaints` if there are any, and does not show the arguments then.

    hints: see :func:`complaints`.
    """

    def __init__(self, *, hints: t.Optional[Hints] = None, **kwargs: t.Any) -> None:
        self._hints = hints or {}
        super().__init__(**kwargs)

    def _set_internal_properties(self, *args: t.Any, **kwargs: t.Any) -> None:
        # Ansible's last step before its own check, which breaks down at some wrong tasks. No subclass masks these
        # words: they hold no value, and a value such as "absent" could be one of them.
        super()._set_internal_properties(*args, **kwargs)
        found = complaints(self.params, self.argument_spec, self._hints)
        if found:
            super().fail_json(" ".join([*found, "Nothing was changed."]), invocation={})


def complaints(task: Options, spec: Options, hints: t.Optional[Hints] = None) -> t.List[str]:
    """A sentence for each option of ``task`` that ``spec`` does not allow.

    hints: what to write in place of options that another module has.
    """
    found = _Complaints(spec, hints or {})
    found.level({name: value for name, value in task.items() if not str(name).startswith("_ansible_")}, spec)
    return found.said


class _Complaints:
    """``entry``: the beginning of a sentence about an item of a list; ``place``: what stands before an option."""

    def __init__(self, spec: Options, hints: Hints) -> None:
        self.spec = spec
        self.hints = hints
        self.said: t.List[str] = []

    def level(self, given: Options, options: Options, place: str = "", entry: str = "") -> None:
        unknown = [str(name) for name in given if name not in options]
        for name, option in options.items():
            if given.get(name) is not None:
                self.option(name, given[name], option, options, place, entry)
            elif option.get("required"):
                meant = _close(name, [other for other in unknown if _fits(given.get(other), option)])
                if meant:
                    unknown.remove(meant)
                self.said.append(
                    f"{entry}{place}{name} is missing" + (f"; did you mean {name} for {meant}?" if meant else ".")
                )
        for name in unknown:
            self.said.append(f"{entry}{place}{name} {self._instead(name, given, options, place)}")

    def option(
        self, name: str, value: t.Any, option: Options, siblings: Options, place: str, entry: str, index: str = ""
    ) -> None:
        kind = option["type"]
        where = f"{entry}{place}{name}{index}"
        inner = option.get("options")
        if kind == "list" and isinstance(value, (list, tuple)):
            for number, item in enumerate(value):
                self.option(
                    name,
                    item,
                    {**option, "type": option["elements"]},
                    {},
                    place,
                    entry or f"Entry {number + 1} of {name}: ",
                    f"[{number}]",
                )
        elif kind == "dict" and _fits(value, option):
            if inner:  # Ansible also reads a dictionary from text, as in "label=admin"
                self.level(DEFAULT_TYPE_VALIDATORS[kind](value), inner, f"{place}{name}{index}.", entry)
        elif not _fits(value, option):
            choices = option.get("choices") or ()
            wanted = f"one of {', '.join(choices)}" if choices else _WANTED[kind]
            told = f"{where} is {kind_of(value)}, but must be {wanted}."
            meant = _close(value.lower(), choices) if isinstance(value, str) else ""
            if meant:
                told += f" Did you mean {meant}?"
            elif kind == "list":
                told += " Write each item on a line of its own that begins with a dash."
            elif inner:
                told += f" Its options are {', '.join(inner)}."
            elif isinstance(value, (list, tuple)) and f"{name}s" in siblings:
                told += f" {name} takes one path, {name}s a list."
            elif kind in ("int", "float") and name in _UNITS:
                told += f" {name} is in {_UNITS[name]}."
            elif kind == "path":
                told += " Write the path." if index else f" Write the path, or leave {name} out."
            self.said.append(told)

    def _instead(self, name: str, given: Options, options: Options, place: str) -> str:
        homes = list(_homes(name, self.spec))
        meant = _close(name, [option for option in options if option not in given])
        if name in self.hints and not (place and homes):
            return f"{self.hints[name]}."
        if homes and not meant:
            return f"is not an option here; it belongs to {' or '.join(homes)}."
        if meant:
            return f"is not an option; did you mean {meant}?"
        return f"is not an option. {_instead_of_all(options)}"


def _instead_of_all(options: Options) -> str:
    return f"The options here are {', '.join(options)}." if options else "There are none here."


def _homes(name: str, spec: Options, place: str = "") -> t.Iterator[str]:
    """Where ``name`` is an option."""
    if name in spec:
        yield place or "the task itself"
    for option, described in spec.items():
        within = f"{place and place + '.'}{option}{'[]' if described['type'] == 'list' else ''}"
        yield from _homes(name, described.get("options") or {}, within)


def _close(name: str, others: t.Sequence[str]) -> str:
    """The one of ``others`` that was likely meant: a synonym, a similar one, one with the same word, or ""."""
    import difflib  # a good task does not need it

    same = [other for other in others if _SYNONYMS.get(name) == other or _SYNONYMS.get(other) == name]
    words = set(re.split("[-_]", name))
    with_word = [other for other in others if words.intersection(re.split("[-_]", other))]
    whole = [other for other in with_word if name in other or other in name]
    return next(iter(same or difflib.get_close_matches(name, others, 1, 0.7) or whole), "")


def _fits(value: t.Any, option: Options) -> bool:
    """Whether Ansible takes ``value`` for ``option``, without making text of what is none."""
    kind = option["type"]
    if kind == "raw":
        return True
    listed = isinstance(value, (list, tuple, t.Mapping))
    if value is None or (listed and kind in ("path", "str")) or (isinstance(value, bool) and kind in ("path", "int")):
        return False
    if kind == "list" and option["elements"] == "dict":
        return isinstance(value, (list, tuple))
    try:
        converted = DEFAULT_TYPE_VALIDATORS[kind](value)
    except (TypeError, ValueError):
        return False
    if kind == "list":
        return all(_fits(item, {**option, "type": option["elements"]}) for item in converted)
    return not option.get("choices") or value in option["choices"]
