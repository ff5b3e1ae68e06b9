# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""AnsibleModule for options that hold secrets deep inside: what Ansible itself would log or show of them is left out."""

from __future__ import annotations

import copy
import typing as t

from ansible.module_utils.basic import AnsibleModule


class QuietModule(AnsibleModule):
    """Two ways out that Ansible leaves open for secrets in nested options are closed here.

    It logs to syslog and the journal how a module was called, nested options as Python spells them. A passphrase with a quote,
    a backslash or a newline is spelled in another way there than its masking looks for.

    When it refuses an option that it does not know, it shows all arguments, and masks only the options that it does know. A
    misspelled option ("passphrse") would show its value, and so would a list where a dictionary belongs.
    """

    _given: t.Mapping[str, t.Any] = {}

    def _load_params(self) -> None:
        # Validation replaces what it refuses by defaults, and its message still shows what there was.
        super()._load_params()
        self._given = copy.deepcopy(self.params)

    def log(self, msg: t.Any, log_args: t.Any = None) -> None:
        super().log("Invoked" if log_args else msg)

    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn:
        found = {*_unknown_texts(self._given or self.params, self.argument_spec), *(value for value in self.no_log_values if isinstance(value, str))}
        # Messages about an option of the wrong kind show it as Python spells it.
        self.no_log_values.update(found, (repr(text)[1:-1] for text in found))
        super().fail_json(msg, **kwargs)


def _unknown_texts(params: t.Any, spec: t.Mapping[str, t.Any]) -> t.Set[str]:
    """All texts in options that ``spec`` does not have, at any depth."""
    found: t.Set[str] = set()
    for name, value in params.items() if isinstance(params, t.Mapping) else ():
        if str(name).startswith("_ansible_"):
            continue
        if name not in spec:
            found |= set(_texts(value))
        elif spec[name].get("options"):
            for item in value if isinstance(value, list) else [value]:
                found |= _unknown_texts(item, spec[name]["options"]) if isinstance(item, t.Mapping) else set(_texts([item]))
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
