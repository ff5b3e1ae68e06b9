# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of all volumes of a host, as one action. What becomes of the host is its result, and never fails the task,
so that the report has it.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..module_utils._luks.errors import shown
from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._audit import REPORT, SPEC, answer_of, asked, excluded, problem_of, summary_of
from ..plugin_utils._one_host import OneHost
from ..plugin_utils._rotation.world import HostError


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(())

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        host = OneHost(self, task_vars or {})
        given = host.options(SPEC)
        try:
            answer = answer_of(host.name, host.run("luksmith.luks.audit_step", asked(given)), given["audit_exclude"])
        except (HostError, AnsibleConnectionFailure) as error:
            left_out = excluded(given["audit_exclude"])
            answer = {"host": host.name, "error": shown(str(error)), "volumes": [], "excluded": left_out}
        return {
            "changed": False,
            "answer": answer,
            "problem": problem_of(answer, given["audit_fail_on"]),
            "summary": summary_of(answer),
            "report": {name: given[name] for name in REPORT},
            "warnings": host.warnings,
            **host.facts(),
        }
