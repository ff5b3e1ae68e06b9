# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's iotest 295 (there by QMP) through the module: A changes a key, B erases the one it opened with, C forces."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots
from ansible_collections.luksmith.luks.tests.interop.qemu_image import (
    ONE_FORMAT,
    OPENER,
    QemuImage,
    needs_qemu,
    new,
    secret,
)

pytestmark = needs_qemu

EVERY = (OPENER, *(f"passphrase {number}" for number in range(1, 6)))


def absent(passphrase: str) -> t.Dict[str, t.Any]:
    return {"state": "absent", "old_secret": secret(passphrase)}


@pytest.fixture(params=ONE_FORMAT)
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[QemuImage]:
    made = QemuImage(tmp_path, request.param)
    yield made
    made.check(*EVERY)


def test_a_change_of_key_in_one_call(image: QemuImage) -> None:
    result = keyslots(image.path, [new(EVERY[1]), new(EVERY[2], keyslot=5), absent(EVERY[0])], unlock=[EVERY[0]])
    assert [(action["action"], action["keyslot"]) for action in result["plan"]] == [
        ("add", 5),
        ("add", 1),
        ("erase", 0),
    ]
    assert image.opened_by(*EVERY) == {EVERY[1], EVERY[2]}


def test_b_the_secret_that_unlocked_may_go_and_then_unlocks_no_more(image: QemuImage) -> None:
    keyslots(image.path, [new(EVERY[1]), absent(EVERY[0])], unlock=[EVERY[0]])
    with pytest.raises(ModuleFailed, match=r"(?i)no secret of this task opens"):
        keyslots(image.path, [new(EVERY[2])], unlock=[EVERY[0]])
    keyslots(image.path, [new(EVERY[2])], unlock=[EVERY[1]])
    assert image.opened_by(*EVERY) == {EVERY[1], EVERY[2]}


def test_c_force_overwrites_a_stranger_and_does_not_lock_out(image: QemuImage) -> None:
    keyslots(image.path, [new(EVERY[1], keyslot=4), new(EVERY[4], keyslot=2)], unlock=[EVERY[0]])
    with pytest.raises(ModuleFailed, match="force: true"):
        keyslots(image.path, [new(EVERY[5], keyslot=2)], unlock=[EVERY[0]])
    keyslots(image.path, [new(EVERY[5], keyslot=2)], unlock=[EVERY[0]], force=True)
    assert image.opened_by(*EVERY) == {EVERY[0], EVERY[1], EVERY[5]}
    keyslots(image.path, [absent(EVERY[5]), {"state": "absent", "keyslot": 4}], unlock=[EVERY[0]])
    assert image.active() == {0}
    with pytest.raises(ModuleFailed, match="allow_lockout"):
        keyslots(image.path, [absent(EVERY[0])], unlock=[EVERY[0]], force=True)
    assert image.opens(EVERY[0])
    keyslots(image.path, [absent(EVERY[0])], unlock=[EVERY[0]], allow_lockout=True)
    assert image.opened_by(*EVERY) == set()
