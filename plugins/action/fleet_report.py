# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a fleet. Runs in the controller's process: no module is carried anywhere, and no host is asked."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import types
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ..module_utils._luks.errors import NOTHING_CHANGED, BadTask, LuksmithError, Unexpected
from ..module_utils._luks.files import PRIVATE, read_regular, replace
from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._arguments import arguments_of
from ..plugin_utils._report.comparison import baseline
from ..plugin_utils._report.writing import FORMS, PATIENCE, Mode, write
from ..plugin_utils._this_run import folder_of_run

Result = t.Dict[str, t.Any]

ARGUMENT_SPEC: t.Dict[str, t.Any] = {
    "hosts": {"type": "list", "elements": "dict", "default": []},
    "sources": {"type": "list", "elements": "path", "default": []},
    "kind": {"type": "str", "choices": ["audit", "rotation"], "default": "audit"},
    "title": {"type": "str", "default": ""},
    "generated": {"type": "str"},
    "previous": {"type": "path"},
    "scope": {"type": "bool", "default": False},
    **{form: {"type": "path"} for form in FORMS},
    "mode": {"type": "str", "default": "0600"},
}

LEAVES = "Of the report, each file is the old one or the new one"
_ALL = 0o7777
_LOCALHOST = ("localhost", "127.0.0.1", "::1")


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> Result:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        options = arguments_of(self, ARGUMENT_SPEC)
        check = self._task.check_mode
        try:
            self._refuse_other_hosts()
            _refuse_nothing(options)
            options["scope"] = self._scope(task_vars or {}) if options["scope"] else None
            return write(self._with_places(options), mode=parse_mode(options["mode"]), check=check)
        except LuksmithError as error:
            return {"failed": True, "changed": error.after_change, "msg": str(error)}
        except Exception as error:  # noqa: BLE001 - its text could hold what hosts said
            return {"failed": True, "msg": str(Unexpected.of(error, changed=NOTHING_CHANGED if check else LEAVES))}

    def _refuse_other_hosts(self) -> None:
        """A task that is delegated to another host would find its files on the controller, without a word."""
        host = self._task.delegate_to
        if host and host not in _LOCALHOST and self._connection.transport != "local":
            raise BadTask(
                f"the task is delegated to {host}, and a report is written on the controller",
                remedy="Delegate it to localhost or to no host, and copy the files with another task",
            )

    def _scope(self, variables: t.Mapping[str, t.Any]) -> Result:
        """Hosts of the inventory, and those of the play, without regard to --limit."""
        found = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        patterns = self._task.get_play().hosts
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        known = variables.get("groups", {}).get("all", ())
        return {"inventory": len(known), "targets": list(found.run(patterns, variables=variables))}

    def _with_places(self, options: Result) -> Result:
        """Paths are relative to the folder of the playbook, as they are for a module that is delegated to localhost."""
        folder = os.path.abspath(self._loader.get_basedir())

        def place(path: t.Optional[str]) -> t.Optional[str]:
            return None if path is None else os.path.join(folder, path)

        sources = [place(path) for path in options["sources"]]
        before = None if options["previous"] is None else _before(str(place(options["previous"])), options["kind"])
        files = {form: place(options[form]) for form in FORMS}
        return {**options, "sources": sources, "before": before, **files}


def _before(path: str, kind: str) -> Result:
    """What is compared of the report that was at ``path`` when this run came to it for the first time.

    A play of several batches writes its report after each of them, and would else be compared with itself.
    """
    name = hashlib.sha256(os.fsencode(path)).hexdigest()
    kept = os.path.join(folder_of_run(), f"before-{kind}-{name}")
    try:
        return dict(json.loads(read_regular(kept)))
    except (OSError, ValueError):
        before = baseline(path, kind)
    os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
    replace(kept, json.dumps(before).encode(), mode=PRIVATE, follow=False, patience=PATIENCE)
    return before


def _refuse_nothing(options: Result) -> None:
    if not options["hosts"] and not options["sources"]:
        raise BadTask(
            "neither hosts nor sources has anything",
            why="A report of no host would look like one of a fleet that is in order",
            remedy="Give at least one host, or the JSON file of an earlier report",
        )


def parse_mode(text: str) -> Mode:
    """What ``mode`` says, as the module ``file`` understands it: octal digits, or symbols. Raises BadTask."""
    try:
        number = int(text, 8)
    except ValueError:
        pass
    else:
        if not 0 <= number <= _ALL:
            raise _bad_mode(text)
        return lambda _old: number

    def changed(old: int) -> int:
        status = types.SimpleNamespace(st_mode=stat.S_IFREG | old)
        return t.cast(int, AnsibleModule._symbolic_mode_to_octal(status, text))

    try:
        changed(PRIVATE)
    except ValueError:
        raise _bad_mode(text) from None
    return changed


def _bad_mode(text: str) -> BadTask:
    return BadTask(
        f"mode is {text!r}, which are no permissions of a file",
        remedy="Use octal digits in quotes ('0640') or symbols (u=rw,g=r)",
    )
