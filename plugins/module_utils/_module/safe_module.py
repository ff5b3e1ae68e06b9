# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""AnsibleModule for options that hold secrets deep inside: what Ansible itself would log or show of them is left out, and what it leaves unsaid is said."""

from __future__ import annotations

import copy
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.validation import check_type_dict


class SafeModule(AnsibleModule):
    """Two ways out that Ansible leaves open for secrets in nested options are closed here.

    It logs to syslog and the journal how a module was called, nested options as Python spells them. A passphrase with a quote,
    a backslash or a newline is spelled in another way there than its masking looks for.

    When it refuses an option that it does not know, it shows all arguments, and masks only the options that it does know. A
    misspelled option ("passphrse") would show its value, and so would a list where a dictionary belongs.

    For a text where a dictionary belongs (new_secret: "{{ vault_passphrase }}") it names no option; that is added here.
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
        places = _texts_for_dictionaries(self._given, self.argument_spec)
        super().fail_json(" ".join([f"{msg.rstrip('.')}.", *places, "Nothing was changed."]) if places else msg, **kwargs)


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


def _texts_for_dictionaries(params: t.Mapping[str, t.Any], spec: t.Mapping[str, t.Any], where: str = "") -> t.List[str]:
    """A sentence for each text where ``spec`` asks for a dictionary and Ansible cannot read the text as one."""
    found: t.List[str] = []
    for name, option in spec.items():
        if "dict" not in (option.get("type"), option.get("elements")):
            continue
        value = params.get(name)
        items = [(f"{where}{name}[{index}]", item) for index, item in enumerate(value)] if isinstance(value, list) else [(f"{where}{name}", value)]
        for place, item in items:
            inner = option.get("options") or {}
            if isinstance(item, t.Mapping):
                found += _texts_for_dictionaries(item, inner, f"{place}.")
            elif isinstance(item, str) and not _is_dictionary(item):
                found.append(f"{place} is text where a dictionary belongs. Its options are {', '.join(inner)}.")
    return found


def _is_dictionary(text: str) -> bool:
    try:
        check_type_dict(text)
    except TypeError:
        return False
    return True


def _texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, t.Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, (list, tuple)):
        for member in value:
            yield from _texts(member)
    elif isinstance(value, str) and value:
        yield value
