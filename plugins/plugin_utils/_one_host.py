# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Modules on the host of an action, whose answers are data: a fact that bears the name of an option is refused."""

from __future__ import annotations

import difflib
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ..module_utils._luks.errors import shown
from ..module_utils._module.argument_spec import entry_options, secret_options, unlocking, volume_options
from ..module_utils._module.wrong_task import complaints
from ._rotation.options import ClaimedByHost, refuse_claimed
from ._rotation.world import HostError

Result = t.Dict[str, t.Any]

_INTERPRETER = "discovered_interpreter_python"
# Variables of the roles and playbooks that are no options of their actions.
_OTHERS = {
    "rotate_": "entry goes_on hosts limits max_fail_percentage nothing serial store_folder store_is_tasks store_key "
    "stored turn",
    "audit_": "answered fleet hosts looked nothing report silent",
}
_CLOSE = 0.85
_MOST_WARNINGS = 100
_UNLOCKING = ("rotate_keeps", "audit_secrets")
_INNER = {
    "audit_kdf_limits": volume_options()["kdf_limits"]["options"],
    "rotate_pbkdf": entry_options()["pbkdf"]["options"],
}


def misspelt(variables: t.Iterable[str], spec: t.Iterable[str]) -> t.List[str]:
    """A sentence for each variable that was likely meant to be an option of a role. It would have no effect."""
    options = list(spec)
    prefix = next((one for one in _OTHERS if options and options[0].startswith(one)), "")
    known = {*options, *(prefix + name for name in _OTHERS.get(prefix, "").split())}
    said = []
    for name in sorted(name for name in variables if prefix and name.startswith(prefix) and name not in known):
        meant = difflib.get_close_matches(name, options, 1, _CLOSE)
        if meant:
            said.append(
                f"{shown(name)} is no variable of the role; did you mean {meant[0]}? If it is one of your own, give it "
                "a name that is less like that one."
            )
    return said


def _with_inner(name: str, option: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """The host would tell a wrong option within this one with a place that is in no variable."""
    if option.get("no_log") and option.get("elements") == "dict":
        return {**option, "options": unlocking()["options"] if name in _UNLOCKING else secret_options()}
    return {**option, "options": _INNER[name]} if name in _INNER else option


def _as_written(option: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """The option with text in the place of paths, in which Ansible would replace variables and the home folder."""
    text = {kind: "str" for kind in ("type", "elements") if option.get(kind) == "path"}
    inner = {name: _as_written(one) for name, one in option.get("options", {}).items()}
    return {**option, **text, **({"options": inner} if inner else {})}


class OneHost:
    def __init__(self, action: ActionBase, variables: Result) -> None:
        self._action = action
        self._variables = variables
        self.name = str(variables["inventory_hostname"])
        self.warnings: t.List[str] = []
        self._interpreter = ""

    def options(self, spec: t.Mapping[str, t.Any], on_the_host: t.Collection[str] = ()) -> Result:
        """The variables of a role, before the host is asked for anything. Raises AnsibleActionFail.

        on_the_host: those whose paths stay as they are written, because what ``~`` and ``$HOME`` are there only the
        host knows.
        """
        try:
            refuse_claimed(self._variables.get("ansible_facts"))
        except ClaimedByHost as error:
            raise AnsibleActionFail(f"{self.name}: {error}. Nothing was changed.") from None
        template = self._action._templar.template
        found = {name: template(self._variables[name]) for name in spec if name in self._variables}
        complaint = misspelt(self._variables, spec) or complaints(
            found, {name: _with_inner(name, option) for name, option in spec.items()}
        )
        if complaint:
            raise AnsibleActionFail(" ".join([*complaint, "Nothing was changed."]))
        as_written = {name: _as_written(option) if name in on_the_host else option for name, option in spec.items()}
        checked = ArgumentSpecValidator(as_written).validate(found)
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
        self._hear(result.get("warnings"))
        if result.get("failed") or result.get("rc"):
            said = [str(result[name]).strip() for name in ("msg", "stderr", "module_stderr") if result.get(name)]
            raise HostError(shown(" ".join(said)) or "the host said no reason")
        return result

    def _hear(self, warnings: t.Any) -> None:
        for warning in warnings if isinstance(warnings, list) else ():
            if len(self.warnings) > _MOST_WARNINGS:
                return
            said = shown(warning) if isinstance(warning, str) else ""
            if said and said not in self.warnings:
                full = len(self.warnings) == _MOST_WARNINGS
                self.warnings.append("The host has more warnings, which are not shown." if full else said)

    def facts(self) -> Result:
        """What Ansible is to know of the host from now on."""
        return {"ansible_facts": {_INTERPRETER: self._interpreter}} if self._interpreter else {}
