# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a role, read once and before a host is asked for anything."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._rotation.options import ClaimedByHost, refuse_claimed


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("names", "host"))

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        _checked, arguments = self.validate_argument_spec(
            argument_spec={
                "names": {"type": "list", "elements": "str", "required": True},
                "host": {"type": "str"},
            },
        )
        variables: t.Mapping[str, t.Any] = task_vars or {}
        if arguments["host"] is not None:
            variables = variables["hostvars"][arguments["host"]]
        try:
            refuse_claimed(variables.get("ansible_facts"))
        except ClaimedByHost as error:
            raise AnsibleActionFail(f"{arguments['host'] or variables.get('inventory_hostname')}: {error}. Nothing was changed.") from None
        given = {name: self._templar.template(variables[name]) for name in arguments["names"] if name in variables}
        return {"changed": False, "options": given}
