# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What the search for volumes came to on one host. A role looks at that of all hosts, and fails for nothing at all."""

from __future__ import annotations

import typing as t


def searched(
    host: str, volumes: int, patterns: t.Sequence[str], unmatched: t.Any, allow_empty: bool
) -> t.Dict[str, t.Any]:
    """volumes: how many there are; patterns: those of the role; unmatched: what led to nothing, as the host says."""
    empty = [pattern for pattern in patterns if isinstance(unmatched, list) and pattern in unmatched]
    return {
        "host": host,
        "volumes": volumes,
        "matched": [pattern for pattern in patterns if pattern not in empty],
        "unmatched": empty,
        "allow_empty": allow_empty,
    }
