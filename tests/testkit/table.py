# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/testkit.md: where a program does not say what a vector expects."""

from __future__ import annotations

import typing as t

from .kit import Vector


def table(vectors: t.Mapping[str, Vector]) -> str:
    """One row for each difference; vectors that share it stand in one row by the first name and their number."""
    rows: t.Dict[t.Tuple[str, str, str, str], t.List[str]] = {}
    for vector in vectors.values():
        for program, (verdict, why) in vector.peers.items():
            rows.setdefault((program, vector.expect, verdict, why), []).append(vector.name)
    lines = ["| vectors | program | expected | it says | why |", "|---|---|---|---|---|"]
    for (program, expect, verdict, why), names in rows.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"| `{names[0]}`{more} | {program} | {expect} | {verdict} | {why} |")
    return "\n".join(lines) + "\n"
