# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the key material of a LUKS2 backup goes, so that at every instant the volume or the backup opens."""

from __future__ import annotations

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.image import Image, parse_image
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore_steps import make_restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image

FIRST = 2 * luks2_image.HDR_SIZE


def volume(*slots: int, areas: int) -> Image:
    """Keyslots of these numbers, packed from the first area on, where there is room for ``areas`` of them."""
    tree = luks2_image.tree(slots=0)
    tree["keyslots"] = {
        str(number): luks2_image.keyslot(FIRST + place * luks2_image.AREA, number) for place, number in enumerate(slots)
    }
    tree["digests"] = {"0": luks2_image.digest([str(number) for number in slots])}
    tree["config"]["keyslots_size"] = str(areas * luks2_image.AREA)
    return parse_image(luks2_image.build(tree).ljust(16 << 20, b"\0"))


def test_material_is_never_written_over_what_is_in_use() -> None:
    with pytest.raises(Refused, match="The key material of keyslot 0 of the backup has no room"):
        make_restore(volume(2, 3, areas=2), volume(0, 1, areas=2), [0, 1], [2, 3])
    with pytest.raises(Refused, match="The key material of keyslot 1 of the backup has no room"):
        make_restore(volume(2, 3, areas=3), volume(0, 1, areas=3), [0, 1], [2, 3])


def test_it_goes_where_there_is_room() -> None:
    work = make_restore(volume(2, 3, areas=4), volume(0, 1, areas=4), [0, 1], [2, 3])
    assert {number: slot.area.offset for number, slot in work.after.keyslots.items()} == {
        0: FIRST + 2 * luks2_image.AREA,
        1: FIRST + 3 * luks2_image.AREA,
    }
