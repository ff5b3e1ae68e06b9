# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no argument specification can say of the options of a role, and facts of a host that bear their names."""

from __future__ import annotations

import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail  # noqa: E402
from ansible.plugins.action import ActionBase  # noqa: E402
from ansible_collections.luksmith.luks.plugins.action import role_options  # noqa: E402


def options(monkeypatch: pytest.MonkeyPatch, names: t.Sequence[str], **variables: t.Any) -> t.Any:
    monkeypatch.setattr("resource.setrlimit", lambda *_limits: None)
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    action: t.Any = object.__new__(role_options.ActionModule)
    action._task = types.SimpleNamespace(args={"names": list(names)}, async_val=0, check_mode=False, diff=False)
    action._connection = types.SimpleNamespace()
    action._templar = types.SimpleNamespace(template=lambda value: value)
    return action.run(None, {"inventory_hostname": "web", **variables})["options"]


def test_what_is_given_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options(monkeypatch, ["a", "b"], a=1, c=3) == {"a": 1}


def test_a_fact_that_bears_the_name_of_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleActionFail, match=r"^web: .*rotate_store.*Nothing was changed\.$"):
        options(monkeypatch, ["a"], ansible_facts={"rotate_store": "mine"})


def test_a_store_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleActionFail, match=r"The store was not changed\."):
        options(monkeypatch, ["rotate_store"], rotate_store="vault-file")


def test_a_volume_that_is_never_due_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: t.List[str] = []
    display = types.SimpleNamespace(warning=warned.append)
    monkeypatch.setattr(role_options, "Display", lambda: display)
    names = ["rotate_store", "rotate_generation", "rotate_max_age", "rotate_passphrase"]
    for more in ({"rotate_generation": "1"}, {"rotate_max_age": 90}, {"rotate_passphrase": "x"}):
        options(monkeypatch, names, rotate_store="vault_file", **more)
    assert warned == []
    options(monkeypatch, names, rotate_store="vault_file", rotate_max_age=0)
    assert len(warned) == 1 and "never due" in warned[0]
