# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What a rotation leaves as it was although it holds data of its volumes, or opens them: backing files, external data
files, and the header of its own that a device has beside a detached one. In sentences. Pure.

A file that is a volume of this run itself, and was brought to the end, needs none: its own row says what opens it.
"""

from __future__ import annotations

import typing as t

from ...module_utils._luks.result.chain_row import is_untried, place_of
from .volume import Option, Volume

_MOST_WARNINGS = 100
_HELP = (
    "Rotate it, too (rotate_paths, rotate_volumes), or write the image anew into one file with 'qemu-img convert'; a "
    "header that was left on a device is changed by luksmith.luks.keyslots without 'header'"
)


def warnings(volumes: t.Sequence[Volume]) -> t.List[str]:
    said = [f"{volume.before.device}: {_says(row)}" for volume, row in _rows(volumes)]
    more = [f"{len(said) - _MOST_WARNINGS} more files are in the report (rotate_report)."]
    return said[:_MOST_WARNINGS] + (more if len(said) > _MOST_WARNINGS else [])


def sentence(volumes: t.Sequence[Volume]) -> str:
    """For the end of a run: what a replaced secret still opens, and what was not tried; or ""."""
    rows = _rows(volumes)
    opened = [
        f"{volume.before.device} ({place_of(row)} opens with {', '.join(row['replaced'])})"
        for volume, row in rows
        if row["replaced"]
    ]
    untried = [
        f"{volume.before.device} ({place_of(row)}, because {row['why_untried'] or 'no reason was given'})"
        for volume, row in rows
        if is_untried(row)
    ]
    told = []
    if opened:
        told.append(f"A replaced secret still opens what lies beneath: {'; '.join(opened)}. {_HELP}.")
    if untried:
        told.append(f"Nobody knows whether a replaced secret still opens what was not tried: {'; '.join(untried)}.")
    return " ".join(told)


def _rows(volumes: t.Sequence[Volume]) -> t.List[t.Tuple[Volume, Option]]:
    own = {volume.before.device: volume for volume in volumes if not volume.before.header and not volume.failed}
    found = []
    for volume in volumes:
        for row in volume.chain:
            itself = own.get(row["path"])
            if itself is None:
                found.append((volume, row))
                continue
            left = [label for label in row["replaced"] if label not in itself.goes]
            if left:
                found.append((volume, {**row, "replaced": left}))
    return found


def _says(row: Option) -> str:
    if row["role"] == "data":
        return f"its data is in the external data file {row['path']}, and its keyslots stay in the image"
    if row["encrypted"] is False:
        return f"{place_of(row)} is not encrypted: what it holds is read without any secret"
    untried = f"not tried: {row['why_untried'] or 'no reason was given'}" if is_untried(row) else ""
    if row["encrypted"] is None:
        return f"{place_of(row)} was {untried}"
    opened = f"opens with {', '.join(row['opened_by'])}" if row["opened_by"] else "opens with no secret that was tried"
    return f"{place_of(row)} is left as it is by this rotation, and {opened}{f' ({untried})' if untried else ''}"
