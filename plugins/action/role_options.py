# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a role, read once and before a host is asked for anything."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._arguments import arguments_of
from ..plugin_utils._rotation.options import ClaimedByHost, refuse_claimed
from ..plugin_utils._rotation.stores import StoreError
from ..plugin_utils._stores import check_name


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        arguments = arguments_of(self, {"names": {"type": "list", "elements": "str", "required": True}})
        variables: t.Mapping[str, t.Any] = task_vars or {}
        try:
            refuse_claimed(variables.get("ansible_facts"))
        except ClaimedByHost as error:
            raise AnsibleActionFail(f"{variables.get('inventory_hostname')}: {error}. Nothing was changed.") from None
        given = {name: self._templar.template(variables[name]) for name in arguments["names"] if name in variables}
        self._check(given)
        return {"changed": False, "options": given}

    @staticmethod
    def _check(given: t.Mapping[str, t.Any]) -> None:
        """What no argument specification can say of the options of the role ``rotate``, before anything begins."""
        if "rotate_store" not in given:
            return
        try:
            check_name(given["rotate_store"])
        except StoreError as error:
            raise AnsibleActionFail(str(error)) from None
        if not (
            given.get("rotate_generation") or int(given.get("rotate_max_age") or 0) or "rotate_passphrase" in given
        ):
            Display().warning(
                "rotate: neither rotate_generation nor rotate_max_age is set, so that a volume that has a secret in "
                "the store is never due for a new one."
            )
