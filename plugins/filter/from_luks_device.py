# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of community.crypto.luks_device as tasks of this collection. Templates stay as they are; no volume is read."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: from_luks_device
short_description: Turn tasks of community.crypto.luks_device into tasks of luksmith.luks.keyslots
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Takes tasks or plays, in blocks too, and returns them with the keyslots that C(community.crypto.luks_device)
    adds and removes as tasks of P(luksmith.luks.keyslots#module).
  - What luks_device does besides (open, close, wipe) stays in a task of luks_device, before the new one.
  - Whatever could not be turned, or means something else afterwards, is a sentence in RV(_value.notes).
  - Comments of the file are lost. Read the result before you use it.
  - It is an error if there is no task of C(community.crypto.luks_device).
options:
  _input:
    description: A task, or a list of tasks or plays, as YAML reads them from a file.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show what becomes of the tasks of a role
  ansible.builtin.debug:
    var: turned
  vars:
    turned: "{{ lookup('ansible.builtin.file', 'tasks/main.yml') | from_yaml | luksmith.luks.from_luks_device }}"
"""

RETURN = r"""
_value:
  description: The tasks, and what to look at.
  type: dict
  contains:
    tasks:
      description: The tasks or plays, in their order.
      type: list
      elements: dict
    notes:
      description: Sentences about options that could not be turned or that mean something else.
      type: list
      elements: str
"""

Task = t.Dict[str, t.Any]

NAMES = ("community.crypto.luks_device", "luks_device")
OURS = "luksmith.luks.keyslots"
_LISTS = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")

_CHANGES = (
    "new_keyfile",
    "new_passphrase",
    "remove_keyfile",
    "remove_passphrase",
    "remove_keyslot",
    "keyslot_priority",
)
_OF_KEYS = ("keyfile", "passphrase", "passphrase_encoding", "new_keyslot", "force_remove_last_key")
_OF_OPENING = (
    "allow_discards",
    "name",
    "perf_no_read_workqueue",
    "perf_no_write_workqueue",
    "perf_same_cpu_crypt",
    "perf_submit_from_crypt_cpus",
    "persistent",
)
TPM2 = "systemd-tpm2"
_OF_TPM2 = ("new_tpm2", "new_tpm2_pcrs", "remove_tpm2", "tpm2_device")
_OF_A_NEW_VOLUME = ("cipher", "hash", "keysize", "sector_size", "type")
KNOWN = {
    *_CHANGES,
    *_OF_KEYS,
    *_OF_OPENING,
    *_OF_TPM2,
    *_OF_A_NEW_VOLUME,
    "device",
    "keyslot",
    "label",
    "pbkdf",
    "state",
    "uuid",
}


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"from_luks_device": from_luks_device}


def from_luks_device(given: t.Any) -> t.Dict[str, t.Any]:
    """The filter.

    Raises AnsibleFilterError if ``given`` is neither a task nor a list of tasks or plays, or has no task of
    luks_device.
    """
    tasks = [given] if isinstance(given, t.Mapping) else given
    if not isinstance(tasks, list) or not all(isinstance(task, t.Mapping) for task in tasks):
        raise AnsibleFilterError("from_luks_device: give a task, or a list of tasks or plays")
    notes: t.List[str] = []
    turned = _turned(tasks, notes)
    if not notes and turned == tasks:
        raise AnsibleFilterError("from_luks_device: there is no task of community.crypto.luks_device")
    return {"tasks": turned, "notes": notes}


def _turned(tasks: t.Sequence[t.Mapping[str, t.Any]], notes: t.List[str]) -> t.List[Task]:
    turned: t.List[Task] = []
    for task in tasks:
        module = next((name for name in NAMES if name in task), "")
        if module:
            turned += _Turn(task, module, notes).tasks()
        elif any(_module_of_action(task.get(name)) in NAMES for name in ("action", "local_action")):
            notes.append(f"{_name(task)}: the task stays as it is: it names luks_device under action.")
            turned.append(dict(task))
        else:
            turned.append(
                {
                    key: _turned(value, notes)
                    if key in _LISTS and isinstance(value, list) and all(isinstance(one, t.Mapping) for one in value)
                    else value
                    for key, value in task.items()
                }
            )
    return turned


def _module_of_action(action: t.Any) -> str:
    name = action.get("module") if isinstance(action, t.Mapping) else action
    return str(name).partition(" ")[0]


def _name(task: t.Mapping[str, t.Any]) -> str:
    return str(task.get("name", "a task without a name"))


class _Turn:
    """One task of luks_device."""

    def __init__(self, task: t.Mapping[str, t.Any], module: str, notes: t.List[str]) -> None:
        self.task = task
        self.module = module
        self.notes = notes
        arguments = task[module]
        self.readable = arguments is None or isinstance(arguments, t.Mapping)
        self.given: Task = {**(arguments or {}), **task.get("args", {})} if self.readable else {}
        self.state = str(self.given.get("state", "present"))

    def tasks(self) -> t.List[Task]:
        if not self.readable:
            return self._left("its options are not a dictionary")
        for option in sorted(set(self.given) - KNOWN):
            self._note(f"{option} is not an option of luks_device that is known here, and is left out")
        changes = [option for option in _CHANGES if self.given.get(option) is not None]
        if "new_tpm2" not in self._tpm2_left():
            changes += [option for option in ("new_tpm2", "remove_tpm2") if self.given.get(option)]
        if self.state not in ("present", "opened", "closed"):
            why = "wipes the header" if self.state == "absent" else "is not known before the play runs"
            return self._left(f"state {self.state} {why}")
        device = self._device()
        if not changes:
            what = "may make a volume" if self.state == "present" else "is not what this collection does"
            return self._left(f"it adds and removes no key, and state {self.state} {what}")
        if device is None:
            return self._left("it names the volume by name only; give the device")
        ours = {**self._others(), OURS: self._keyslots(device)}
        return [*self._besides(), ours]

    def _left(self, why: str) -> t.List[Task]:
        self._note(f"the task stays as it is: {why}")
        return [dict(self.task)]

    def _note(self, text: str) -> None:
        self.notes.append(f"{_name(self.task)}: {text}.")

    def _others(self) -> Task:
        """What stands beside the module: name, when, become, loop and so on."""
        return {key: value for key, value in self.task.items() if key not in (self.module, "args")}

    def _device(self) -> t.Optional[str]:
        if self.given.get("device") is not None:
            for option in ("label", "uuid"):
                if self.given.get(option) is not None:
                    self._note(f"{option} is for a new volume, and is left out")
            return t.cast(str, self.given["device"])
        for option in ("uuid", "label"):
            if self.given.get(option) is not None:
                self._note(f"{option} is a tag in device now; luksmith.luks.volumes_info finds others")
                return f"{option.upper()}={self.given[option]}"
        return None

    def _besides(self) -> t.List[Task]:
        """The task of luks_device for what this collection does not do."""
        stays = [option for option in (*_OF_OPENING, *self._tpm2_left()) if self.given.get(option) is not None]
        if self.state == "present":
            self._note(
                "it no longer makes a volume where there is none; keep a task of luks_device without new_* and "
                "remove_* for that"
            )
        if self.state == "present" and not any(option in _OF_TPM2 for option in stays):
            for option in stays:
                self._note(f"{option} belongs to opening, and is left out")
            return []
        self._note(f"state {self.state}{''.join(f', {option}' for option in stays)} stay in a task of luks_device")
        kept = ("device", "label", "uuid", "state", "keyfile", "passphrase", "passphrase_encoding", *stays)
        rest = {option: value for option, value in self.given.items() if option in kept}
        return [{**{key: value for key, value in self._others().items() if key != "register"}, self.module: rest}]

    def _tpm2_left(self) -> t.Sequence[str]:
        """The options of TPM2 that stay with luks_device: of opening, and what is not known before the play runs."""
        known = all(isinstance(self.given.get(option), (bool, type(None))) for option in ("new_tpm2", "remove_tpm2"))
        if not known or not isinstance(self.given.get("new_tpm2_pcrs"), (list, type(None))):
            return _OF_TPM2
        return ("tpm2_device",) if self.state == "opened" else ()

    def _bindings(self) -> t.List[Task]:
        if "new_tpm2" in self._tpm2_left():
            return []
        if not self.given.get("new_tpm2"):
            gone: Task = {"state": "absent", "binding": {"type": TPM2}}
            return [gone] if self.given.get("remove_tpm2") else []
        binding: Task = {"type": TPM2, "pcrs": self.given.get("new_tpm2_pcrs")}
        if binding["pcrs"] is None:
            binding["pcrs"] = [7]
            self._note("new_tpm2 without new_tpm2_pcrs is PCR 7, as systemd-cryptenroll has it")
        if self.given.get("tpm2_device") not in (None, "auto"):
            binding["device"] = self.given["tpm2_device"]
        self._note("the binding to the TPM replaces others to it, and is proven to open its keyslot")
        return [{"binding": binding}]

    def _keyslots(self, device: str) -> Task:
        for option in _OF_A_NEW_VOLUME:
            if self.given.get(option) is not None:
                self._note(f"{option} is for a new volume, and is left out; the module audit compares volumes with it")
        unlock = self._secret("passphrase", "keyfile")
        if unlock is None and self.given.get("tpm2_device") is not None:
            named = self.given["tpm2_device"]
            unlock = {"token": TPM2, **({} if named == "auto" else {"device": named})}
        new = self._secret("new_passphrase", "new_keyfile")
        old = self._secret("remove_passphrase", "remove_keyfile")
        entries: t.List[Task] = []
        if new is not None:
            entry: Task = {"new_secret": new, **self._costs()}
            if self.given.get("new_keyslot") is not None:
                entry["keyslot"] = self.given["new_keyslot"]
            elif old is not None and old == unlock:
                entry, old = {"old_secret": old, **entry}, None
            entries.append(entry)
        else:
            for option in ("pbkdf", "new_keyslot"):
                if self.given.get(option) is not None:
                    self._note(f"{option} is for a new key, and is left out")
        if old is not None:
            entries.append({"state": "absent", "old_secret": old})
            self._note("every keyslot that the removed secret opens is erased, not only the first")
        if self.given.get("remove_keyslot") is not None:
            entries.append({"state": "absent", "keyslot": self.given["remove_keyslot"]})
        entries += [*self._bindings(), *self._priority()]
        given = {"device": device, **({"unlock": [unlock]} if unlock else {}), "keyslots": entries}
        if self.given.get("force_remove_last_key") is not None:
            given["allow_lockout"] = self.given["force_remove_last_key"]
        return given

    def _secret(self, passphrase: str, keyfile: str) -> t.Optional[Task]:
        if self.given.get(passphrase) is not None:
            encoding = self.given.get("passphrase_encoding", "text")
            if encoding not in ("text", "base64"):
                self._note("passphrase_encoding is not known before the play runs; base64 is passphrase_base64 here")
            return {"passphrase_base64" if encoding == "base64" else "passphrase": self.given[passphrase]}
        return None if self.given.get(keyfile) is None else {"keyfile": self.given[keyfile]}

    def _priority(self) -> t.List[Task]:
        if self.given.get("keyslot_priority") is None:
            if self.given.get("keyslot") is not None:
                self._note("keyslot is for a new volume, and is left out")
            return []
        if self.given.get("keyslot") is None:
            self._note("keyslot_priority is left out: here it needs keyslot")
            return []
        return [{"keyslot": self.given["keyslot"], "priority": self.given["keyslot_priority"]}]

    def _costs(self) -> Task:
        pbkdf = self.given.get("pbkdf") or {}
        if not isinstance(pbkdf, t.Mapping):
            self._note("pbkdf is not a dictionary, and is left out")
            return {}
        argon2 = pbkdf.get("algorithm", "pbkdf2" if self.given.get("type") == "luks1" else "argon2id") != "pbkdf2"
        names = {
            "algorithm": "type",
            "iteration_count": "time" if argon2 else "iterations",
            "memory": "memory",
            "parallel": "parallel",
        }
        if "iteration_count" in pbkdf and "algorithm" not in pbkdf and self.given.get("type") != "luks1":
            self._note("pbkdf.iteration_count without algorithm is taken for passes of Argon2, as LUKS2 does")
        found: Task = {}
        costs = {ours: pbkdf[theirs] for theirs, ours in names.items() if pbkdf.get(theirs) is not None}
        if costs:
            found["pbkdf"] = costs
        if pbkdf.get("iteration_time") is not None:
            found["iter_time"] = _milliseconds(pbkdf["iteration_time"])
        if isinstance(costs.get("time"), int) and costs["time"] < 4:
            self._note("pbkdf.time must be at least 4 here")
        return found


def _milliseconds(seconds: t.Any) -> t.Any:
    text = str(seconds).strip()
    if text.startswith("{{") and text.endswith("}}"):
        return f"{{{{ (({text[2:-2].strip()}) | float * 1000) | int }}}}"
    try:
        return int(float(text) * 1000)
    except ValueError:
        raise AnsibleFilterError("from_luks_device: pbkdf.iteration_time is no number of seconds") from None
