# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Modules on the host of an action, whose answers are data: a fact that bears the name of an option is refused."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ..module_utils._luks.errors import shown
from ._rotation.options import ClaimedByHost, refuse_claimed
from ._rotation.world import HostError

Result = t.Dict[str, t.Any]

_INTERPRETER = "discovered_interpreter_python"


class OneHost:
    def __init__(self, action: ActionBase, variables: Result) -> None:
        self._action = action
        self._variables = variables
        self.name = str(variables["inventory_hostname"])
        self.warnings: t.List[str] = []
        self._interpreter = ""

    def options(self, spec: t.Mapping[str, t.Any]) -> Result:
        """The variables of a role, before the host is asked for anything. Raises AnsibleActionFail."""
        try:
            refuse_claimed(self._variables.get("ansible_facts"))
        except ClaimedByHost as error:
            raise AnsibleActionFail(f"{self.name}: {error}. Nothing was changed.") from None
        template = self._action._templar.template
        found = {name: template(self._variables[name]) for name in spec if name in self._variables}
        checked = ArgumentSpecValidator(spec).validate(found)
        if checked.error_messages:
            raise AnsibleActionFail(f"{'; '.join(checked.error_messages)}. Nothing was changed.")
        return t.cast(Result, checked.validated_parameters)

    def run(self, module: str, arguments: Result) -> Result:
        """Raises HostError."""
        result: Result = self._action._execute_module(
            module_name=module, module_args=arguments, task_vars=self._variables
        )
        facts = result.pop("ansible_facts", None)
        try:
            refuse_claimed(facts)
        except ClaimedByHost as error:
            raise HostError(str(error)) from None
        if isinstance(facts, t.Mapping) and isinstance(facts.get(_INTERPRETER), str):
            self._interpreter = facts[_INTERPRETER]
        for warning in result.get("warnings") or ():
            if isinstance(warning, str) and shown(warning) not in self.warnings:
                self.warnings.append(shown(warning))
        if result.get("failed") or result.get("rc"):
            said = [str(result[name]).strip() for name in ("msg", "stderr", "module_stderr") if result.get(name)]
            raise HostError(shown(" ".join(said)) or "the host said no reason")
        return result

    def facts(self) -> Result:
        """What Ansible is to know of the host from now on."""
        return {"ansible_facts": {_INTERPRETER: self._interpreter}} if self._interpreter else {}
