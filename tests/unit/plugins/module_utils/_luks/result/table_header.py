# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers for table tests: the members that tables read, and nothing that could be written."""

from __future__ import annotations

import types
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Costs, Desired, Entry

PBKDF2 = model.Pbkdf2(hash="sha256", iterations=4000, salt=bytes(32))
ARGON2 = model.Argon2(type="argon2id", time=4, memory=65536, parallel=2, salt=bytes(range(32)))


def slot(number: int, kdf: model.Kdf = ARGON2, **members: t.Any) -> model.Keyslot:
    return model.Keyslot(
        number=number,
        kind="luks2",
        key_size=64,
        kdf=kdf,
        af_hash="sha256",
        af_stripes=4000,
        area=model.Extent(32768 + number * 258048, 258048),
        encryption="aes-xts-plain64",
        area_key_size=64,
        **members,
    )


def header(*slots: model.Keyslot, luks1: bool = False, **members: t.Any) -> t.Any:
    values: t.Dict[str, t.Any] = {
        "format": "luks1" if luks1 else "luks2",
        "uuid": "0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55",
        "label": "",
        "subsystem": "",
        "cipher": "aes-xts-plain64",
        "key_size": 64,
        "slot_count": 8 if luks1 else 32,
        "keyslots": {one.number: one for one in slots},
        "digests": (
            model.Digest(0, "pbkdf2", "sha256", 1000, b"salt", b"value", tuple(one.number for one in slots), (0,)),
        ),
        "segments": (model.Segment(0, "crypt", 16 << 20, None, "aes-xts-plain64", 512),),
        "tokens": (),
        "requirements": (),
        "intent": None,
        "record": {},
        "extent": 16 << 20,
        "health": {"primary": "ok"},
        "write_obstacle": None,
    }
    return types.SimpleNamespace(**{**values, **members})


def desired(labels: t.Sequence[str], *costs: Costs) -> Desired:
    """One present entry per costs, each for the secret of the same number."""
    entries = tuple(
        Entry(position=number, state="present", new_secret=number, costs=one) for number, one in enumerate(costs)
    )
    return Desired(entries=entries, unlock=(), labels=tuple(labels))
