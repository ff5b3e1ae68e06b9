# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written beside the header; the faults of real media are in tests/crash."""

from __future__ import annotations

import gzip
import pathlib

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Write
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume

FIXTURE = pathlib.Path(__file__).parents[5] / "fixtures" / "luks1.img.gz"
PLACE = Write(1024, b"a note of another program")


@pytest.mark.parametrize("lost", [False, True])
def test_what_is_beside_the_header_is_read_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    path = tmp_path / "volume"
    path.write_bytes(gzip.decompress(FIXTURE.read_bytes()))
    with open_volume(str(path), writable=True) as volume:
        writer = HeaderWriter(volume, read_header(volume), wipe_passes=1)
        if not lost:
            writer.write_beside([PLACE], "the note")
            assert path.read_bytes()[PLACE.offset :].startswith(PLACE.data)
            return
        monkeypatch.setattr(volume.region, "write", lambda _offset, _data: None)
        with pytest.raises(StorageFault, match="The note, read back from the medium at byte 1024, is not what was"):
            writer.write_beside([PLACE], "the note")
