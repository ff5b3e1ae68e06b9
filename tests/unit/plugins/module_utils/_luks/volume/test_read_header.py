# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A header that another program is writing is not read half old and half new."""

from __future__ import annotations

import gzip
import pathlib

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import (
    read_header,
    read_header_locked,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import FIXTURES


@pytest.mark.parametrize("name", ["luks1.img", "luks1.qcow2", "luks2.img"])
def test_a_reader_waits_for_a_writer(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.decompress((FIXTURES / f"{name}.gz").read_bytes()))
    with open_volume(str(path), writable=True) as theirs, open_volume(str(path), writable=False) as ours:
        with locks.exclusive(theirs, timeout=0):
            with pytest.raises(Busy):
                read_header_locked(ours, 0)
            assert read_header(ours).uuid, "which takes no lock"
        with locks.shared(theirs, timeout=0):
            assert read_header_locked(ours, 0).uuid == read_header(ours).uuid
