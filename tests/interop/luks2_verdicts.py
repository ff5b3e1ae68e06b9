# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do we read these LUKS2 headers, and does cryptsetup? Its answers are kept, as one build always says the same."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import subprocess
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec as luks2_codec
from ansible_collections.luksmith.luks.tests import kept
from ansible_collections.luksmith.luks.tests.interop import originals
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

# Locks off, so that it never repairs.
COMMAND = ("cryptsetup", "luksDump", "--disable-locks")


def theirs(place: pathlib.Path, raw: bytes) -> bool:
    """Does cryptsetup load it? ``place``: for the file that it is shown."""
    known, file = _known()
    what = hashlib.sha256(raw).hexdigest()
    if what not in known:
        place.write_bytes(raw)
        os.truncate(place, image.SIZE)
        known[what] = subprocess.run([*COMMAND, place], capture_output=True, check=False).returncode == 0
        with file.open("a", encoding="ascii") as lines:
            lines.write(f"{what} {int(known[what])}\n")
    return known[what]


@functools.lru_cache(maxsize=1)
def _known() -> t.Tuple[t.Dict[str, bool], pathlib.Path]:
    recipe = ["verdicts on LUKS2 headers", originals.build_of("cryptsetup"), COMMAND, image.SIZE]
    file = kept.folder(recipe, lambda folder: (folder / "verdicts").touch()) / "verdicts"
    rows = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
    return {row[0]: row[1] == "1" for row in rows if len(row) == 2 and len(row[0]) == 64}, file


def ours(raw: bytes) -> t.Optional[errors.LuksmithError]:
    """Why we do not read it, if we do not."""
    try:
        luks2_codec.parse(image.reader(raw), image.SIZE)
    except errors.LuksmithError as error:
        return error
    return None
