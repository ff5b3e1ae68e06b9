# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong options of actions are told as those of modules are."""

from __future__ import annotations

import importlib
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail  # noqa: E402
from ansible.plugins.action import ActionBase  # noqa: E402

WRONG: t.Dict[str, t.Tuple[str, t.Dict[str, t.Any], str]] = {
    "hosts as a dictionary": (
        "fleet_report",
        {"hosts": {"web": {}}, "html": "/x"},
        "hosts is a dictionary, but must be a list. Write each item on a line of its own that begins with a dash.",
    ),
    "a form that there is not": (
        "fleet_report",
        {"hosts": [{"host": "web"}], "pdf": "/x"},
        "pdf is not an option. The options here are hosts, sources, kind, title, generated, previous, scope, html,",
    ),
    "a file of a vault": (
        "vault_entry",
        {"file": "/x", "key": "a"},
        "path is missing; did you mean path for file?",
    ),
    "no key": ("escrow_entry", {"folder": "/x"}, "key is missing."),
    "an operation": (
        "rotation_entry",
        {"operation": "decid", "host": "a", "uuid": "b", "device": "c"},
        "operation is text, but must be one of check, decide, forget, compare. Did you mean decide?",
    ),
    "an option of the role": ("audit_host", {"policy": "strict"}, "policy is not an option. There are none here."),
    "another option of the role": (
        "rotate_host",
        {"rotate_generation": "x"},
        "rotate_generation is not an option. The options here are journal, answer.",
    ),
    "a name": ("role_options", {"name": "x"}, "names is missing; did you mean names for name?"),
}


@pytest.mark.parametrize("case", WRONG)
def test_place_reason_and_fix(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, arguments, told = WRONG[case]
    module: t.Any = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.action.{name}")
    monkeypatch.setattr("resource.setrlimit", lambda *_limits: None)
    action = object.__new__(module.ActionModule)
    assert isinstance(action, ActionBase) and not action._VALID_ARGS
    action._task = types.SimpleNamespace(args=arguments, async_val=0, check_mode=False, diff=False)
    action._connection = types.SimpleNamespace()
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    with pytest.raises(AnsibleActionFail) as caught:
        action.run(task_vars={"inventory_hostname": "web"})
    assert str(caught.value).startswith(told) and str(caught.value).endswith("Nothing was changed.")
