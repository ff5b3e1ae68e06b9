# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory or a processor that gets a bit wrong: no keyslot that would never open takes the place of one that does."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Interrupted, Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import key_material
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import MADE, present

BOTH = pytest.mark.parametrize("format", ["luks1", "luks2"])


def flipped(value: bytearray) -> bytearray:
    value[7] ^= 0x10
    return value


@BOTH
def test_a_key_that_comes_out_differently_the_second_time(
    format: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 2)
    before = path.read_bytes()
    right, seen = kdf.derive, set()

    def derive(parameters: t.Any, value: bytearray, length: int, *, budget: kdf.Budget) -> bytearray:
        key = right(parameters, value, length, budget=budget)
        if (parameters, bytes(value)) in seen:
            return flipped(key)
        seen.add((parameters, bytes(value)))
        return key

    monkeypatch.setattr(kdf, "derive", derive)
    with pytest.raises(Refused, match=r"(?s)[Tt]wo derivations of the same key.*Nothing was changed\."):
        volume.amend_volume(path, present(format, "new", old=MADE[0]), rederive=True)
    assert path.read_bytes() == before


@BOTH
def test_key_material_that_was_encrypted_wrong(
    format: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened from what the medium gives back, before the header knows of it."""
    path = tmp_path / "volume"
    secrets = volume.make(path, format, 2)
    right = key_material.seal
    with monkeypatch.context() as faulty:
        faulty.setattr(key_material, "seal", lambda *arguments: flipped(right(*arguments)))
        with pytest.raises(Interrupted, match="does not open"):
            volume.amend_volume(path, present(format, "new", old=secrets[0]))
    kept = volume.amend_volume(path, *[present(format, text, keyslot=number) for number, text in enumerate(secrets)])
    assert {action["action"] for action in kept["plan"]} <= {"finish-erase"}
    assert volume.amend_volume(path, present(format, "new", old=secrets[0]))["changed"]
