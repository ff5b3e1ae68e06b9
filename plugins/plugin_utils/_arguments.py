# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The options of an action plugin. A wrong one is told as by modules: with its place, the reason and what to write."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._module.wrong_task import complaints

Options = t.Mapping[str, t.Mapping[str, t.Any]]


def arguments_of(action: ActionBase, spec: Options, **rules: t.Any) -> t.Dict[str, t.Any]:
    """``spec``, ``rules``: as Ansible's modules have them. Raises AnsibleActionFail."""
    found = complaints(action._task.args, spec)
    if found:
        raise AnsibleActionFail(" ".join([*found, "Nothing was changed."]))
    return t.cast(t.Dict[str, t.Any], action.validate_argument_spec(argument_spec=spec, **rules)[1])
