# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tp-qemu's qemu_img_luks_key_management through the module."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots
from ansible_collections.luksmith.luks.tests.interop.qemu_image import OPENER, QemuImage, needs_qemu, new, secret

pytestmark = needs_qemu

FIRST, SECOND = OPENER, "the second passphrase"


@pytest.fixture
def image(tmp_path: pathlib.Path) -> QemuImage:
    return QemuImage(tmp_path, "luks")


@pytest.mark.parametrize(("keyslot", "lands_in"), [(1, 1), (None, 1), (7, 7)])
def test_add_with_and_without_an_index(image: QemuImage, keyslot: int, lands_in: int) -> None:
    entry = new(SECOND) if keyslot is None else new(SECOND, keyslot=keyslot)
    keyslots(image.path, [entry], unlock=[FIRST])
    assert image.active() == {0, lands_in} and image.opened_by(FIRST, SECOND) == {FIRST, SECOND}


def test_an_active_slot_that_another_secret_keeps_is_not_overwritten(image: QemuImage) -> None:
    with pytest.raises(ModuleFailed, match=r"(?i)keyslot 0 opens with"):
        keyslots(image.path, [new(SECOND, keyslot=0), new(FIRST)], unlock=[FIRST])
    assert image.opened_by(FIRST, SECOND) == {FIRST}


def test_index_8_is_no_luks1_keyslot(image: QemuImage) -> None:
    with pytest.raises(ModuleFailed, match=r"keyslots 0 to 7"):
        keyslots(image.path, [new(SECOND, keyslot=8)], unlock=[FIRST])


@pytest.mark.parametrize(
    "entry", [{"state": "absent", "keyslot": 7}, {"state": "absent", "old_secret": secret(SECOND)}]
)
def test_erase_by_index_and_by_passphrase(image: QemuImage, entry: t.Dict[str, t.Any]) -> None:
    keyslots(image.path, [new(SECOND, keyslot=7)], unlock=[FIRST])
    keyslots(image.path, [entry], unlock=[FIRST])
    assert image.active() == {0} and image.opened_by(FIRST, SECOND) == {FIRST}


def test_the_only_slot_is_not_erased(image: QemuImage) -> None:
    with pytest.raises(ModuleFailed, match="it is the last one"):
        keyslots(image.path, [{"state": "absent", "keyslot": 0}], unlock=[FIRST])
    assert image.opens(FIRST)
