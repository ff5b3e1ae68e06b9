# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of costs that are lower than those that are wanted."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Kdf, Pbkdf2
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.drift import costs_drift
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Costs


@pytest.mark.parametrize(
    ("kdf", "wanted", "said"),
    [
        (Argon2("argon2id", 4, 65536, 1, b""), {"parallel": 2}, "1 lane is stored and 2 are wanted"),
        (Argon2("argon2id", 4, 65536, 2, b""), {"parallel": 4}, "2 lanes are stored and 4 are wanted"),
        (Argon2("argon2id", 1, 65536, 2, b""), {"time": 4}, "1 pass is stored and 4 are wanted"),
        (Argon2("argon2id", 2, 65536, 2, b""), {"time": 4}, "2 passes are stored and 4 are wanted"),
        (Argon2("argon2id", 4, 32, 1, b""), {"memory": 64}, "32 KiB of memory are stored and 64 are wanted"),
        (Pbkdf2("sha256", 1, b""), {"iterations": 1000}, "1 iteration is stored and 1000 are wanted"),
        (Pbkdf2("sha256", 999, b""), {"iterations": 1000}, "999 iterations are stored and 1000 are wanted"),
        (Pbkdf2("sha256", 1000, b""), {"iterations": 1000}, ""),
    ],
)
def test_one_is_no_plural(kdf: Kdf, wanted: t.Dict[str, int], said: str) -> None:
    assert costs_drift(kdf, Costs(**wanted)) == said
