# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LUKS2 header whose JSON area is nearly full: what does not fit is known before the first write, in check mode
too.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume, needs_cryptsetup
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots

pytestmark = needs_cryptsetup
RECORD = "luksmith.luks-record"


def present(secret: str, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": {"label": secret, "passphrase": secret}, "pbkdf": CHEAP, **more}


@pytest.fixture(name="volume")
def fixture_volume(tmp_path: pathlib.Path) -> Luks2Volume:
    """The smallest JSON area there is: 12 KiB."""
    return Luks2Volume(tmp_path / "volume").like()


def leave(volume: Luks2Volume, room: int) -> None:
    """Fill the JSON area with somebody else's token until ``room`` bytes are left."""
    volume.import_token(20, {"type": "user", "keyslots": [], "padding": "x"})
    used = len(volume.text()) + 1
    size = volume.hdr_size - 4096
    volume.edit(lambda tree: tree["tokens"]["20"].update(padding="x" * (size - used - room + 1)))
    assert len(volume.text()) + 1 + room == size


@pytest.mark.parametrize("room", [0, 200, 520])
def test_a_second_add_that_does_not_fit_is_refused_before_the_first(volume: Luks2Volume, room: int) -> None:
    leave(volume, room)
    before = volume.sha256()
    for check in (True, False):
        with pytest.raises(
            ModuleFailed,
            match=r"plan cannot be completed: at add of keyslot [12], the LUKS2 metadata would need",
        ) as caught:
            keyslots(volume.path, [present("one"), present("two")], unlock=["pw0"], check=check)
        assert "Nothing was changed." in str(caught.value)
    assert volume.sha256() == before


def test_an_erase_whose_note_has_no_room_is_refused(volume: Luks2Volume) -> None:
    """The slot's members go in the same write as its note comes, so that only a longer note could fail: a header at its
    limit works.
    """
    volume.add(1, "leaked")
    leave(volume, 0)
    result = keyslots(volume.path, [{"state": "absent", "keyslot": 1}], unlock=["pw0"], record=False)
    assert result["changed"] and not volume.opens("leaked") and volume.opens("pw0")
    volume.approved()


def test_the_record_gives_way_and_the_result_says_so(volume: Luks2Volume) -> None:
    keyslots(volume.path, [present("one"), present("two")], unlock=["pw0"])
    leave(volume, 20)
    entry = present("new", keyslot=1, old_secret={"passphrase": "one"})
    promised = keyslots(volume.path, [entry], check=True)
    result = keyslots(volume.path, [entry])
    for told in (promised, result):
        assert any("record was removed" in str(warning) for warning in told["warnings"]), told["warnings"]
    assert volume.opens("new") and not volume.opens("one")
    assert "luksmith.luks-intent" not in volume.tokens().values()
    assert not keyslots(volume.path, [entry])["changed"]
    volume.approved()
