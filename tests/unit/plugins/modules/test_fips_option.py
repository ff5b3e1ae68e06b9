# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module that derives keys has the option fips, and holds to it before it does anything else."""

from __future__ import annotations

import importlib
import pathlib
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import fips, host
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused

NAMES = (
    "audit",
    "audit_step",
    "header_backup",
    "keyslots",
    "keyslots_info",
    "rotation_step",
    "test_volumes",
    "verify_volume",
)


def module(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_host_in_another_mode_is_refused_where_fips_is_required(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PROC", str(tmp_path))
    option = module(name).argument_spec()["fips"]
    assert option == {"type": "str", "choices": list(fips.CHOICES), "default": fips.AUTO}
    asked = types.SimpleNamespace(params={"fips": "require", "step": "look"}, check_mode=False)
    with pytest.raises(Refused, match="not in FIPS mode"):
        module(name).work(asked)


def test_no_other_module_derives_keys() -> None:
    folder = pathlib.Path(module("keyslots").__file__).parent
    others = [path for path in folder.glob("*.py") if path.stem not in (*NAMES, "__init__")]
    working = [path.stem for path in others if "def work(" in path.read_text(encoding="utf-8")]
    assert sorted(working) == ["keyfile", "volumes_info"]
