# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be a path, and how it is told."""

from __future__ import annotations

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.paths import unusable
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.node import open_node


def test_what_a_path_cannot_be() -> None:
    assert unusable("/dev/sda") == unusable("sch\u00f6n") == unusable("\udcff") == ""
    assert "NUL" in unusable("a\0b") and "NUL" not in unusable("\ud800") and "cannot encode" in unusable("\ud800")


@pytest.mark.parametrize(("path", "says"), [("a\0b", "contains a NUL character"), ("\ud800", "cannot encode")])
def test_opening_tells_the_two_apart(path: str, says: str) -> None:
    with pytest.raises(StorageFault, match=says):
        open_node(path, writable=False)
