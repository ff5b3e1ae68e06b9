# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of docs/rotation.md is complete: Ansible reads it, and the role takes its variables."""

from __future__ import annotations

import pathlib
import re
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.inventory.manager import InventoryManager  # noqa: E402
from ansible.parsing.dataloader import DataLoader  # noqa: E402
from ansible.template import Templar  # noqa: E402
from ansible.vars.manager import VariableManager  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._one_host import OneHost  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.role_variables import SPEC  # noqa: E402

PAGE = pathlib.Path(__file__).resolve().parents[5] / "docs" / "rotation.md"
# What is too long for a page, and which nobody could decrypt.
SEALED = re.compile(r"!vault \|.*\n( {6}.*\n)+")


def test_the_inventory_at_the_top_of_the_page(tmp_path: pathlib.Path) -> None:
    example = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    plain, sealed = SEALED.subn("once known\n", example)
    assert sealed == 2
    (tmp_path / "inventory.yml").write_text(plain)
    loader = DataLoader()
    inventory = InventoryManager(loader, [str(tmp_path / "inventory.yml")])
    assert [host.name for host in inventory.get_hosts("all")] == ["web-1", "web-2"]
    variables = VariableManager(loader, inventory).get_vars(host=inventory.get_host("web-1"))
    assert "rotate_generation" not in variables, "the page gives it on the command line"
    action: t.Any = types.SimpleNamespace(_templar=Templar(loader, variables=variables))
    given = OneHost(action, {**variables, "rotate_generation": "2026-11"}).options(SPEC)
    assert given["rotate_vault_file"] == "/srv/luks-secrets/web-1.yml"
    assert [one["passphrase"] for one in given["rotate_replaces"] + given["rotate_keeps"]] == ["once known"] * 2
