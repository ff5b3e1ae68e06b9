# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of one image per format: qemu-img measures the processor for seconds each time that it makes one."""

from __future__ import annotations

import atexit
import copy
import functools
import pathlib
import shutil
import tempfile

from ansible_collections.luksmith.luks.tests.interop.qemu_image import QemuImage

OPENER = "amber unlocks"


@functools.lru_cache(maxsize=None)
def _original(format: str) -> QemuImage:
    folder = tempfile.TemporaryDirectory(prefix="luksmith-originals-")
    atexit.register(folder.cleanup)
    return QemuImage(pathlib.Path(folder.name), format, OPENER)


def copied(original: QemuImage, folder: pathlib.Path) -> QemuImage:
    mine = copy.copy(original)
    mine.path = pathlib.Path(shutil.copy(mine.path, folder))
    return mine


def fresh(format: str, folder: pathlib.Path) -> QemuImage:
    """An image of this format ("luks", "qcow2") whose keyslot 0 opens with OPENER."""
    return copied(_original(format), folder)
