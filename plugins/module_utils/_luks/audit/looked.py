# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What there was to look at on a volume, besides its header: nothing found is good news only where somebody looked."""

from __future__ import annotations

import typing as t

from .evidence import Evidence


def looked(evidence: Evidence) -> t.Dict[str, t.Any]:
    """The member ``looked`` of a result; a count of 0 and false mean that the rules in question had nothing to ask."""
    stored = evidence.stored
    older = stored.older if stored is not None else ()
    sealed = stored.sealed if stored is not None else ()
    return {
        "fips": evidence.fips,
        "grub": evidence.grub,
        "volume_key": evidence.key_padding is not None,
        "empty_secret": evidence.empty_tried,
        "record": any(evidence.is_current(number) for number in evidence.header.keyslots),
        "forbidden": len(evidence.forbidden),
        "backups": len(evidence.backups),
        "store": stored is not None and not stored.problem,
        "older": 0 if any(label in sealed for label in older) else len(older),
        "kept": len(stored.kept) if stored is not None else 0,
    }
