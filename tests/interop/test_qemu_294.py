# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 294.1 to 294.3: an old copy of the header does not bring an erased secret back, because its material is gone."""

from __future__ import annotations

import pathlib

import pytest
from harness.judges import cryptsetup_opens, holds, qemu_opens
from harness.module import absent, brought, present
from harness.programs import need
from harness.volumes import cryptsetup_volume, fresh, loop_device

HEADER = 4096


@pytest.fixture()
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    need("qemu-img", "qemu-io", "cryptsetup")
    return fresh(tmp_path, "luks")


@pytest.mark.parametrize("wipe", ["single", "multiple"])
def test_294_erase_destroys_the_key_material(image: pathlib.Path, wipe: str) -> None:
    brought(image, [present("s1", 1)], "s0")
    with image.open("r+b") as file:
        saved = file.read(HEADER)
    brought(image, [absent(keyslot=0)], "s1", wipe=wipe)
    holds(image, {1: "s1"}, "s0")
    with image.open("r+b") as file:
        file.write(saved)
    assert not qemu_opens(image, "s0")
    assert qemu_opens(image, "s1")


def test_294_rekey_destroys_the_old_material(image: pathlib.Path) -> None:
    with image.open("r+b") as file:
        saved = file.read(HEADER)
    brought(image, [present("s1", old="s0")])
    holds(image, {0: "s1"}, "s0")
    with image.open("r+b") as file:
        file.write(saved)
    assert not qemu_opens(image, "s0")


def test_294_rekey_leaves_nothing_in_the_keyslot_it_went_through(image: pathlib.Path) -> None:
    """A rekey passes through a free keyslot; no other place may hold the new key material under any header."""
    before = image.read_bytes()
    brought(image, [present("s1", 0)], "s0")
    after = image.read_bytes()
    area = 256000
    kept = after[HEADER : HEADER + area]
    elsewhere = [slot for slot in range(1, 8) if kept in after[HEADER + slot * 258048 : HEADER + slot * 258048 + area]]
    assert elsewhere == []
    assert before[HEADER : HEADER + area] != kept


def test_294_on_a_loop_device(tmp_path: pathlib.Path) -> None:
    backing = cryptsetup_volume(tmp_path / "volume", "s0")
    with loop_device(backing) as device:
        brought(device, [present("s1", 1)], "s0")
        with device.open("rb") as file:
            saved = file.read(HEADER)
        brought(device, [absent("s0")], "s1")
        with device.open("r+b") as file:
            file.write(saved)
        assert not cryptsetup_opens(device, "s0")
        assert cryptsetup_opens(device, "s1")
