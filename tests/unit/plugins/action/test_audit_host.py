# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of a host asks a store that is a program, and runs no tasks of somebody else's."""

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail  # noqa: E402
from ansible_collections.luksmith.luks.plugins.action import audit_host  # noqa: E402


def store(name: str) -> t.Any:
    action: t.Any = object.__new__(audit_host.ActionModule)
    action._loader = types.SimpleNamespace(_vault=None)
    host = types.SimpleNamespace(name="web", options=lambda _spec: {})
    return action._store(host, name)


def test_no_store() -> None:
    assert store("") is None


def test_a_store_of_task_files(tmp_path: pathlib.Path) -> None:
    for name in ("read", "write"):
        (tmp_path / f"{name}.yml").write_text("[]")
    with pytest.raises(AnsibleActionFail, match=r"web: The store .* is made of task files.* The host was not asked"):
        store(str(tmp_path))


def test_a_name_that_is_no_store() -> None:
    with pytest.raises(AnsibleActionFail, match=r"web: There is no store 'vault-file'.*The host was not asked\."):
        store("vault-file")
