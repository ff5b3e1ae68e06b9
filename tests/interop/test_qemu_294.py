# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iotest 294 of QEMU through the module: what was erased does not come back with the old header."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.luksmith.luks.tests.interop.module_process import keyslots
from ansible_collections.luksmith.luks.tests.interop.qemu_image import (
    FORMATS,
    OPENER,
    QemuImage,
    needs_qemu,
    new,
    secret,
)

pytestmark = needs_qemu

FIRST, SECOND, THIRD = OPENER, "the second passphrase", "the third passphrase"
HEADER = 4096


def header_at(image: QemuImage) -> int:
    """Byte of the file where the LUKS header begins."""
    return image.path.read_bytes().index(b"LUKS\xba\xbe")


def restore(image: QemuImage, offset: int, header: bytes) -> None:
    with image.path.open("r+b") as volume:
        volume.seek(offset)
        volume.write(header)


@pytest.mark.parametrize("format", FORMATS)
def test_the_old_header_brings_an_erased_secret_not_back(format: str, tmp_path: pathlib.Path) -> None:
    image = QemuImage(tmp_path, format)
    keyslots(image.path, [new(SECOND, keyslot=1)], unlock=[FIRST])
    offset = header_at(image)
    saved = image.path.read_bytes()[offset : offset + HEADER]
    keyslots(image.path, [{"state": "absent", "keyslot": 0}], unlock=[SECOND])
    assert image.opened_by(FIRST, SECOND) == {SECOND}
    restore(image, offset, saved)
    assert image.opened_by(FIRST, SECOND) == {SECOND}


@pytest.mark.parametrize("format", FORMATS)
def test_the_old_header_brings_a_replaced_secret_not_back(format: str, tmp_path: pathlib.Path) -> None:
    image = QemuImage(tmp_path, format)
    offset = header_at(image)
    saved = image.path.read_bytes()[offset : offset + HEADER]
    keyslots(image.path, [new(THIRD, old_secret=secret(FIRST))])
    assert image.opened_by(FIRST, THIRD) == {THIRD}
    restore(image, offset, saved)
    assert image.opened_by(FIRST) == set()
