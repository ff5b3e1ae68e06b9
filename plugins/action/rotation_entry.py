# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of a rotation between two calls of a store: decide, make a passphrase, change the entry,
compare what came back.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._arguments import arguments_of
from ..plugin_utils._rotation.decision import MAKE, REST, TAKE_UP, Wanted, decide, unproven, useless
from ..plugin_utils._rotation.entry import (
    BadEntry,
    Entry,
    check_given_back,
    check_not_older,
    check_uuid,
    discarded,
    forgotten,
    promoted,
    proven,
    read,
    staged,
)
from ..plugin_utils._rotation.options import ClaimedByHost, refuse_claimed
from ..plugin_utils._rotation.orders import orders
from ..plugin_utils._rotation.stores import StoreError
from ..plugin_utils._rotation.world import Chance
from ..plugin_utils._stores import make

Result = t.Dict[str, t.Any]

# By the field that is compared: what a refusal leaves behind.
_LEFT = {"next": "The volume was not changed.", "current": "The volume opens with the new secret by now."}


ARGUMENT_SPEC: t.Dict[str, t.Any] = {
    "operation": {"type": "str", "choices": ["check", "decide", "forget", "compare"], "required": True},
    "entry": {"type": "raw", "no_log": True},
    "store": {"type": "str", "default": ""},
    "store_arguments": {"type": "dict", "default": {}, "no_log": True},
    "key": {"type": "str", "default": "", "no_log": False},
    "write": {"type": "dict", "no_log": True},
    "version": {"type": "raw"},
    "host": {"type": "str", "required": True},
    "uuid": {"type": "str", "required": True},
    "device": {"type": "str", "required": True},
    "generation": {"type": "str", "default": ""},
    "max_age": {"type": "int", "default": 0},
    "passphrase": {"type": "str", "no_log": True},
    "passphrase_format": {"type": "str", "default": "base32", "no_log": False},
    "entropy": {"type": "int", "default": 128},
    "replaces": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "keeps": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "secret": {"type": "dict", "no_log": True},
    "field": {"type": "str", "choices": ["next", "current"], "default": "next"},
    "keep_older": {"type": "int", "default": 2},
    "pbkdf": {"type": "dict"},
    "iter_time": {"type": "int"},
    "record": {"type": "list", "elements": "dict", "default": []},
    "luks": {"type": "str", "default": "luks1"},
    "opened": {"type": "list", "elements": "int"},
    "begin": {"type": "bool", "default": False},
    "made": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> Result:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        arguments = arguments_of(self, ARGUMENT_SPEC, required_if=[("operation", "compare", ["secret"])])
        self._stored: Result = {"entry": arguments["entry"], "version": arguments["version"], "changed": False}
        try:
            # Before any store is asked: it would make a path of the uuid.
            refuse_claimed((task_vars or {}).get("ansible_facts"))
            check_uuid(arguments["uuid"])
            if arguments["operation"] == "check":
                return {"changed": False}
            if arguments["store"]:
                self._store = make(arguments["store"], arguments["store_arguments"], self._loader._vault)
                self._ask(arguments, arguments["write"], arguments["version"])
            entry = read(self._stored["entry"], arguments["host"], arguments["uuid"], arguments["device"])
            result = getattr(self, f"_{arguments['operation']}")(entry, arguments)
        except StoreError as error:
            raise AnsibleActionFail(f"{arguments['device']}: {error}") from None
        except (BadEntry, ClaimedByHost, ValueError) as error:
            raise AnsibleActionFail(f"{arguments['device']}: {error}. {_LEFT[arguments['field']]}") from None
        return {**result, "version": self._stored["version"], "changed": self._stored["changed"]}

    def _ask(self, arguments: Result, write: t.Optional[Entry], version: t.Any) -> None:
        """What the store holds now; ``write`` is written before, if it is given and this is no dry run."""
        key = arguments["key"]
        if write is None or self._task.check_mode:
            self._stored = {**self._store.read(key)._asdict(), "changed": False}
        else:
            self._stored = {**self._store.write(key, write, version)._asdict(), "changed": True}

    def _decide(self, entry: Entry, arguments: Result) -> Result:
        wanted = Wanted(arguments["generation"], arguments["max_age"], arguments["passphrase"])
        chance = Chance()
        check_not_older(entry, arguments["record"], arguments["begin"])
        decision = decide(entry, wanted, chance.now())
        opened = arguments["opened"]
        if decision.phase == TAKE_UP and opened is not None and not proven(entry["next"], opened, arguments["record"]):
            entry, decision = discarded(entry), unproven(entry["next"])
        # Nothing comes to a volume that this run has not made: what is in the store could have been put there.
        if decision.phase == REST and opened == []:
            decision = useless(entry["current"])
        if decision.phase == MAKE:
            if arguments["store"]:
                self._store.check()
            # In check mode nothing is stored, and the plan must read the same every time.
            identity = "new" if self._task.check_mode else chance.identity()
            new = chance.secret(identity, wanted, arguments["passphrase_format"], arguments["entropy"])
            entry_to_write: t.Optional[Entry] = staged(entry, new)
        else:
            new = entry["current"] if decision.phase == REST else entry["next"]
            entry_to_write = None
        return {**orders(entry, decision, new, arguments), "entry": entry, "staged": entry_to_write, "new": new}

    def _forget(self, entry: Entry, arguments: Result) -> Result:
        changed = forgotten(entry, arguments["keep_older"])
        differs = changed != entry
        if differs and arguments["store"]:
            self._ask(arguments, changed, self._stored["version"])
        return {"entry": changed, "differs": differs}

    def _compare(self, entry: Entry, arguments: Result) -> Result:
        check_given_back(entry, arguments["field"], arguments["secret"])
        return {"entry": entry, "promoted": promoted(entry, arguments["secret"]["id"])}
