# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""AnsibleModule for secrets in nested options: keeps them out of logs and messages."""

from __future__ import annotations

import copy
import typing as t

from ansible.module_utils.common.parameters import remove_values

from .wrong_task import CheckedModule

_NO_WORD = 20  # characters
_MASKED = "In this message asterisks stand for text that is also a secret of this task."


class SafeModule(CheckedModule):
    """Closes two leaks of Ansible for secrets in nested options.

    Ansible logs the arguments of a module to syslog and the journal, nested options as Python's repr. That escapes a
    quote, a backslash or a newline in a passphrase, so that masking does not find it.

    If Ansible refuses an option, it shows all arguments and masks only known options. A misspelled option
    ("passphrse"), or a list in place of a dictionary, would show its value. CheckedModule refuses these first.
    """

    _given: t.Mapping[str, t.Any] = {}

    def _load_params(self) -> None:
        # Validation replaces refused values by defaults, but its message shows the original ones.
        super()._load_params()
        self._given = copy.deepcopy(self.params)
        self.no_log_values.update(_pins(self.params.get("keyslots")))

    def log(self, msg: t.Any, log_args: t.Any = None) -> None:
        super().log("Invoked" if log_args else msg)

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        """Mask each secret in the arguments, but in the result only what is longer than a word.

        Ansible puts asterisks in the place of each secret of the task, also where it is a part of a path, a label or a
        word. A volume /srv/data/1.img whose leaked passphrase is "data" could not be found again, and a secret with the
        label "guess data" that opens the volume was said to open nothing. Our results have no secret; the mask for long
        ones stays in case that a mistake of ours puts one there.
        """
        result.setdefault("invocation", {"module_args": remove_values(self.params, self.no_log_values)})
        self.no_log_values = {value for value in self.no_log_values if len(str(value)) >= _NO_WORD}
        super().exit_json(**result)

    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn:
        found = {
            *_unknown_texts(self._given or self.params, self.argument_spec),
            *(value for value in self.no_log_values if isinstance(value, str)),
        }
        # Messages about an option of the wrong type show its repr.
        self.no_log_values.update(found, (repr(text)[1:-1] for text in found))
        told = str(remove_values(msg, self.no_log_values))
        super().fail_json(msg if told == msg else f"{msg} {_MASKED}", **kwargs)


def _pins(entries: t.Any) -> t.Iterator[str]:
    """The PINs of bindings; ``pin`` is the name of one where the type is clevis, which is no secret."""
    for entry in entries if isinstance(entries, list) else ():
        binding = entry.get("binding") if isinstance(entry, t.Mapping) else None
        if isinstance(binding, t.Mapping) and binding.get("type") != "clevis" and binding.get("pin") not in (None, ""):
            yield str(binding["pin"])


def _unknown_texts(params: t.Any, spec: t.Mapping[str, t.Any]) -> t.Set[str]:
    """All texts in options that are not in ``spec``, at any depth."""
    found: t.Set[str] = set()
    for name, value in params.items() if isinstance(params, t.Mapping) else ():
        if str(name).startswith("_ansible_"):
            continue
        if name not in spec:
            found |= set(_texts(value))
        elif spec[name].get("options"):
            for item in value if isinstance(value, list) else [value]:
                found |= (
                    _unknown_texts(item, spec[name]["options"]) if isinstance(item, t.Mapping) else set(_texts([item]))
                )
    return found


def _texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, t.Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, (list, tuple)):
        for member in value:
            yield from _texts(member)
    elif isinstance(value, str) and value:
        yield value
