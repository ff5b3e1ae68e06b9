# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume key that ends with zeros, as cryptsetup takes it from a file: its digest is the one of a shorter key."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit as auditing
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume

pytestmark = pytest.mark.needs("cryptsetup")


def found(volume: Luks2Volume, passphrase: str = "pw0") -> t.List[str]:
    secrets = [{"label": "admin", "passphrase": passphrase}]
    task = parse_audit({"device": str(volume.path), "policy": "legacy", "secrets": secrets})
    return [one["message"] for one in auditing.audit(task)["findings"] if one["rule"] == "volume-key-padded"]


@pytest.mark.parametrize("kind", ["luks1", "luks2"])
@pytest.mark.parametrize(("zeros", "expected"), [(16, True), (8, True), (7, False), (0, False)])
def test_zeros_at_the_end_of_a_volume_key(tmp_path: pathlib.Path, kind: str, zeros: int, expected: bool) -> None:
    key = tmp_path / "key"
    key.write_bytes(bytes(range(1, 33 - zeros)) + bytes(zeros))
    volume = Luks2Volume(tmp_path / "volume").format("--volume-key-file", key, type=kind)
    told = found(volume)
    assert bool(told) is expected
    assert not told or f"of 32 bytes ends with {zeros} zero bytes" in told[0]
    assert not found(volume, "another secret"), "no secret gave the key"
