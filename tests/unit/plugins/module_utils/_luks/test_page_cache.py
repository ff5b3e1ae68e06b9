# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read past the page cache stays nowhere; the tests of ``files`` and ``volume.storage`` show where it comes
from.
"""

from __future__ import annotations

import mmap
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.page_cache import direct_read

CONTENT = b"new content, " * 1000


def test_what_was_read_is_overwritten_in_memory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: t.List[bytes] = []

    class Kept(mmap.mmap):
        def __exit__(self, *exception: object) -> None:
            seen.append(self[:])
            super().__exit__(*exception)

    monkeypatch.setattr(mmap, "mmap", Kept)
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        with direct_read(file.fileno(), 1000, 5000) as found:
            if found is None:
                pytest.skip("this file system has no direct I/O")
            assert found == CONTENT[1000:6000]
        with pytest.raises(KeyboardInterrupt), direct_read(file.fileno(), 1000, 5000):
            raise KeyboardInterrupt
    assert seen == [bytes(8192)] * 2
