# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Whether the costs of a keyslot are weaker than the costs that an entry gives."""

from __future__ import annotations

from ..header.model import Argon2, Kdf, Pbkdf2
from ..task.desired import Costs


def costs_drift(kdf: Kdf, costs: Costs) -> str:
    """What is weaker or different, in words, or "" if the keyslot satisfies ``costs``.

    Another type or hash is drift; a number is drift only if the given one exceeds the stored one.
    """
    if not costs.given:
        return ""
    if costs.type is not None and costs.type != kdf.type:
        return f"{kdf.type} is stored and {costs.type} is wanted"
    if isinstance(kdf, Pbkdf2):
        if costs.hash is not None and costs.hash.lower() != kdf.hash.lower():
            return f"hash {kdf.hash} is stored and {costs.hash} is wanted"
        if costs.iterations is not None and costs.iterations > kdf.iterations:
            return _too_few(kdf.iterations, "iteration", costs.iterations)
    if isinstance(kdf, Argon2):
        for name, stored, wanted in (
            ("pass", kdf.time, costs.time),
            ("KiB of memory", kdf.memory, costs.memory),
            ("lane", kdf.parallel, costs.parallel),
        ):
            if wanted is not None and wanted > stored:
                return _too_few(stored, name, wanted)
    return ""


def _too_few(stored: int, name: str, wanted: int) -> str:
    several = {"pass": "passes", "KiB of memory": "KiB of memory"}.get(name, f"{name}s")
    return f"{stored} {f'{name} is' if stored == 1 else f'{several} are'} stored and {wanted} are wanted"
