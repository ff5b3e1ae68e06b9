# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of all volumes of a host, as one action. What becomes of the host is its result, and never fails the task,
so that the report has it.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..module_utils._luks.errors import shown
from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._arguments import arguments_of
from ..plugin_utils._audit import ON_THE_HOST, REPORT, SPEC, answer_of, asked, problem_of, summary_of, traced
from ..plugin_utils._audit_store import STORE_SPEC, Entries, variables_of
from ..plugin_utils._one_host import OneHost
from ..plugin_utils._prints import key_for_hosts, rekeyed
from ..plugin_utils._rotation.stores import StoreError
from ..plugin_utils._rotation.world import HostError
from ..plugin_utils._searched import searched
from ..plugin_utils._stores import check_name, is_class, store_of


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        arguments_of(self, {})
        host = OneHost(self, task_vars or {})
        given = host.options(SPEC, ON_THE_HOST)
        store = self._store(host, given["audit_store"])
        result: t.Mapping[str, t.Any] = {}
        try:
            stored = _stored(store, host, given) if store else []
            result = host.run(
                "luksmith.luks.audit_step", {**asked(given), "stored": stored, "prints_key": key_for_hosts()}
            )
            answer = answer_of(host.name, result, given["audit_exclude"])
            answer["volumes"] = [rekeyed(volume) for volume in answer["volumes"]]
        except (HostError, AnsibleConnectionFailure) as error:
            answer = {"host": host.name, "error": shown(str(error)), "volumes": [], "excluded": []}
        found = searched(
            host.name,
            len(answer["volumes"]),
            () if given["audit_volumes"] else given["audit_paths"],
            result.get("unmatched"),
            given["audit_allow_empty"],
        )
        if "volumes" in result:
            answer["searched"] = traced(given, found)
        return {
            "changed": False,
            "answer": answer,
            "problem": problem_of(answer, given["audit_fail_on"]),
            "summary": summary_of(answer),
            "searched": found,
            "report": {name: given[name] for name in REPORT},
            "warnings": host.warnings,
            **host.facts(),
        }

    def _store(self, host: OneHost, name: t.Any) -> t.Optional[Entries]:
        """What ``audit_store`` names. Raises AnsibleActionFail."""
        if not name:
            return None
        given = host.options(STORE_SPEC)
        try:
            check_name(name, "audit_store")
            if not is_class(name):
                raise StoreError(
                    f"The store {name} is made of task files, which an audit does not run. Name in audit_store a store "
                    "that is a program (command) or a Python file."
                )
            return Entries(store_of(name, variables_of(given), self._loader._vault), host.name, given)
        except (StoreError, ValueError) as error:
            raise AnsibleActionFail(f"{host.name}: {error} The host was not asked.") from None


def _stored(store: Entries, host: OneHost, given: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    """What the store holds for the volumes of the host. Raises HostError."""
    listed = store.listed()
    if listed is not None:
        return listed
    # The store must be asked for each volume, so that the host must name them first.
    named = given["audit_volumes"]
    paths = [path for volume in named for path in (volume["device"], volume["header"]) if path]
    search = {
        "paths": [*given["audit_paths"], *paths],
        "block_devices": given["audit_block_devices"] and not named,
        "crypttab": given["audit_crypttab"],
    }
    found = host.run("luksmith.luks.volumes_info", search).get("volumes")
    rows = found if isinstance(found, list) else []
    return store.of(
        (str(row.get("device")), row["uuid"])
        for row in rows
        if isinstance(row, t.Mapping) and isinstance(row.get("uuid"), str)
    )
