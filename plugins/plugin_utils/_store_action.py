# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What the actions that read and write one store have in common; each of them names its store and its own options."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._module.cores import forbid_core_dumps
from ._arguments import arguments_of
from ._rotation.stores import StoreError
from ._stores import make

Options = t.Dict[str, t.Dict[str, t.Any]]


def store_options(**own: t.Dict[str, t.Any]) -> Options:
    """The argument specification of a store whose own options are ``own``."""
    return {
        **own,
        "key": {"type": "str", "required": True, "no_log": False},
        "operation": {"type": "str", "choices": ["read", "write"], "default": "read"},
        "entry": {"type": "dict", "no_log": True},
        "version": {"type": "int", "default": 0},
        "lock_timeout": {"type": "float", "default": 60.0},
        "create": {"type": "bool", "default": False},
        "previous": {"type": "int", "default": 5},
    }


class StoreAction(ActionBase):
    """``STORE``: its name for :func:`._stores.make`; ``OPTIONS``: of :func:`store_options`."""

    STORE: t.ClassVar[str]
    OPTIONS: t.ClassVar[Options]

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        arguments = arguments_of(self, self.OPTIONS, required_if=[("operation", "write", ["entry"])])
        writes = arguments["operation"] == "write" and not self._task.check_mode
        try:
            store = make(self.STORE, arguments, self._loader._vault)
            held = (
                store.write(arguments["key"], arguments["entry"], arguments["version"])
                if writes
                else store.read(arguments["key"])
            )
        except StoreError as error:
            raise AnsibleActionFail(str(error)) from None
        return {"changed": writes, **held._asdict()}
