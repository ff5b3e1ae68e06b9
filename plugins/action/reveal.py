# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secret of one volume for an operator: noted in the store first, then written to the terminal and nowhere else."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._luks.errors import shown
from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._arguments import arguments_of
from ..plugin_utils._one_host import OneHost
from ..plugin_utils._rotation.decision import TIMES
from ..plugin_utils._rotation.entry import BadEntry, Secret, is_uuid, same, told
from ..plugin_utils._rotation.given_out import FIELDS, Found, given_out, wanted_entry
from ..plugin_utils._rotation.groups import groups
from ..plugin_utils._rotation.passphrase import how_to_type
from ..plugin_utils._rotation.role_variables import SPEC
from ..plugin_utils._rotation.stores import UNCHANGED, Store, StoreError, known
from ..plugin_utils._rotation.world import Chance
from ..plugin_utils._stores import check_name, is_class, store_of
from ..plugin_utils._terminal import NoTerminal, open_terminal, write_all
from ..plugin_utils._this_run import who

Result = t.Dict[str, t.Any]

_STAGED = ", staged by a rotation that did not end: try it if the one before does not open"

ARGUMENT_SPEC: t.Dict[str, t.Any] = {
    "volume": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[Result] = None) -> Result:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        arguments = arguments_of(self, ARGUMENT_SPEC)
        variables: Result = task_vars or {}
        one = OneHost(self, variables)
        given = one.options(SPEC)
        if len(variables.get("ansible_play_hosts_all") or ()) > 1:
            raise AnsibleActionFail(
                "This play has more than one host. A secret is given out for one volume of one host; name that host. "
                f"{UNCHANGED}"
            )
        try:
            result = self._reveal(one, given, arguments, variables)
            return {**result, "warnings": one.warnings}
        except StoreError as error:
            raise AnsibleActionFail(f"{one.name}: {error} Nothing was shown.") from None
        except (BadEntry, NoTerminal, ValueError) as error:
            raise AnsibleActionFail(f"{one.name}: {error}. {UNCHANGED} Nothing was shown.") from None

    def _reveal(self, one: OneHost, given: Result, arguments: Result, variables: Result) -> Result:
        host = one.name
        check_name(given["rotate_store"])
        if not is_class(given["rotate_store"]):
            raise ValueError(f"the store {given['rotate_store']} is made of tasks, which this cannot run")
        # Of several stores one is enough; the others may be what is broken.
        store = store_of(given["rotate_store"], given, self._loader._vault, lenient=True)
        found = self._found(store, host, given, arguments["volume"])
        one.warnings += [
            f"{shown(said)} It has no note of this before the next rotation brings the stores together."
            for said in getattr(store, "silent", {}).values()
        ]
        to = who()
        entry, secrets = given_out(found.entry, to, Chance().now().strftime(TIMES), shown(arguments["reason"]))
        result = {
            "uuid": entry["uuid"],
            "device": shown(entry["device"]),
            "ids": [secret["id"] for secret in secrets],
            "to": to,
            "changed": True,
        }
        if self._task.check_mode:
            store.check()
            Display().display(
                shown(
                    f"{host}, volume {result['uuid']} {result['device']}: would show secret "
                    f"{' and '.join(result['ids'])} to {to}, and note that in the store. Nothing was shown or noted."
                )
            )
            return result
        terminal = open_terminal(variables)
        try:
            self._note(store, found, entry)
            try:
                write_all(terminal, _text(host, entry, secrets))
            except OSError as error:
                raise AnsibleActionFail(
                    f"{host}: the terminal could not be written: {error.strerror}. The store has the note that the "
                    "secret was given out, so that the next rotation replaces it."
                ) from None
        finally:
            os.close(terminal)
        return result

    @staticmethod
    def _found(store: Store, host: str, given: Result, volume: str) -> Found:
        start, shared = f"{given['rotate_store_prefix']}{host}/", groups(given["rotate_groups"])
        names = {name: one.uuid for one in shared for name in (one.name, *one.members)}
        uuid = names.get(volume, volume)
        try:
            listed = known(store, start)
        except StoreError:
            if not is_uuid(uuid):
                raise
            listed = None  # the entry of another volume may be what is damaged
        if listed is None:
            if not is_uuid(uuid):
                raise ValueError("this store cannot list what it holds, so that it needs the UUID of the volume")
            listed = {start + uuid: store.read(start + uuid)}
        return wanted_entry(listed, start, host, volume, shared)

    @staticmethod
    def _note(store: Store, found: Found, entry: Result) -> None:
        """Raises StoreError unless the store gives the note back: what nobody knows of is never replaced."""
        kept = store.write(found.key, entry, found.stored.version).entry or {}
        for field in FIELDS:
            wanted, there = entry[field], kept.get(field)
            if wanted and not (
                there and there.get("given") == wanted["given"] and same(there.get("passphrase"), wanted["passphrase"])
            ):
                raise StoreError(
                    f"The store did not give back the note that secret {wanted['id']} is given out. Look at the store "
                    "before this is run again."
                )


def _text(host: str, entry: Result, secrets: t.Sequence[Secret]) -> str:
    lines = ["", f"{host}, volume {entry['uuid']} {shown(entry['device'])}".rstrip()]
    for secret in secrets:
        passphrase = str(secret["passphrase"])
        staged = secret is entry["next"]
        lines.append(f"  {passphrase if passphrase.isprintable() else ascii(passphrase)}")
        lines.append(
            f"    secret {shown(str(secret['id']))}"
            + (f", {shown(str(secret['where']))}" if secret.get("where") else _STAGED if staged else "")
            + ("" if passphrase.isprintable() else "; control characters are written as in Python")
        )
        typed = how_to_type(passphrase)
        lines += [f"    {typed}"] if typed else []
    lines += [f"  {shown(told(secrets[0]['given'][-1]))}. The next rotation replaces it.", ""]
    return "\r\n".join([*lines, ""])
