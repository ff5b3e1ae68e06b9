# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``verify: record``: what the record does not answer is proven, and what it answers costs nothing.

Each case is compared with ``verify: proof`` on a copy of the same volume: what a proof would change, the record must
not call done.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import absent, present

Entry = t.Dict[str, t.Any]


def recorded(path: pathlib.Path, format: str = "luks2") -> None:
    """One keyslot, which this collection has rotated from ``winter-2025`` to ``spring``."""
    volume.make(path, format, 1)
    assert volume.amend_volume(path, present(format, "spring", old=volume.MADE[0]))["changed"]


def by_hand(path: pathlib.Path, text: str, format: str = "luks2") -> None:
    """As 'cryptsetup luksAddKey' does: a keyslot that is in no record."""
    assert volume.amend_volume(path, present(format, text), unlock=["spring"], record=False)["changed"]


def as_proven(path: pathlib.Path, *entries: Entry, **options: t.Any) -> t.Tuple[volume.Result, volume.Result]:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    proven = volume.amend_volume(copy, *entries, **options)
    believed = volume.amend_volume(path, *entries, verify="record", **options)
    assert [(row["action"], row["keyslot"]) for row in believed["plan"]] == [
        (row["action"], row["keyslot"]) for row in proven["plan"]
    ]
    return believed, proven


@pytest.mark.parametrize("format", ["luks1", "luks2"])
@pytest.mark.parametrize(
    ("entries", "options"),
    [
        pytest.param(lambda f: [present(f, "spring", old=volume.MADE[0])], {}, id="replaced"),
        pytest.param(lambda f: [absent(volume.MADE[0])], {"unlock": ["spring"]}, id="absent"),
        pytest.param(lambda f: [{**absent(volume.MADE[0]), "keyslot": 1}], {"unlock": ["spring"]}, id="absent there"),
        pytest.param(lambda f: [present(f, "spring")], {"purge": True}, id="purge"),
    ],
)
def test_a_keyslot_without_a_record_is_proven(
    entries: t.Callable[[str], t.List[Entry]], options: t.Dict[str, t.Any], format: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "volume"
    recorded(path, format)
    by_hand(path, volume.MADE[0], format)
    believed, _proven = as_proven(path, *entries(format), **options)
    assert (believed["changed"], believed["verified"]) == (True, True)
    assert [row["keyslot"] for row in believed["plan"]] == [1]


def test_a_record_of_another_key_is_none(tmp_path: pathlib.Path) -> None:
    """A keyslot that is in the record and was written since by another program."""
    path = tmp_path / "volume"
    recorded(path)
    assert volume.amend_volume(path, present("luks2", "second"), unlock=["spring"])["changed"]
    assert volume.amend_volume(path, {"state": "absent", "keyslot": 1}, unlock=["spring"], record=False)["changed"]
    by_hand(path, volume.MADE[0])
    believed, _proven = as_proven(path, present("luks2", "spring", old=volume.MADE[0]))
    assert believed["changed"]


@pytest.mark.parametrize(
    ("entries", "options"),
    [
        pytest.param([present("luks2", "spring", old=volume.MADE[0])], {}, id="replaced"),
        pytest.param([absent(volume.MADE[0]), present("luks2", "spring")], {}, id="absent"),
        pytest.param([present("luks2", "spring"), present("luks2", "second")], {"purge": True}, id="purge"),
    ],
)
def test_a_volume_that_is_all_in_the_record_costs_nothing(
    entries: t.List[Entry], options: t.Dict[str, t.Any], tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "volume"
    recorded(path)
    volume.amend_volume(path, present("luks2", "second"), unlock=["spring"])
    believed, _proven = as_proven(path, *entries, **options)
    assert (believed["changed"], believed["verified"], believed["kdf_evaluations"]) == (False, False, 0)


@pytest.mark.parametrize(
    "entry",
    [present("luks2", "spring"), present("luks2", "spring", keyslot=0, old=volume.MADE[0])],
    ids=["only present", "replaced in a keyslot by number"],
)
def test_what_a_task_does_not_ask_for_costs_nothing(entry: Entry, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    recorded(path)
    by_hand(path, "by hand")
    believed, _proven = as_proven(path, entry)
    assert (believed["changed"], believed["verified"], believed["kdf_evaluations"]) == (False, False, 0)


def test_a_place_in_the_task_is_no_label(tmp_path: pathlib.Path) -> None:
    """Two rotations with secrets that have no label: the record says 'keyslots[0].new_secret' of both."""
    path = tmp_path / "volume"
    volume.make(path, "luks2", 1)
    passwords = [volume.MADE[0], "spring", "summer"]
    for old, new in zip(passwords, passwords[1:]):
        entry = {"old_secret": {"passphrase": old}, "new_secret": {"passphrase": new}, "pbkdf": volume.CHEAP["luks2"]}
        believed, _proven = as_proven(path, entry)
        assert (believed["changed"], believed["verified"]) == (True, True)


def test_a_plan_made_again_by_the_record_proves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run makes the same change between the plan, for which secrets were tried, and the locks."""
    path = tmp_path / "volume"
    (old,) = volume.make(path, "luks2", 1)
    prepare = amend._Amendment._prepare
    wish: t.Dict[str, t.Any] = {"unlock": [old], "verify": "record", "record": True}

    def then_another_run(change: t.Any, planned: t.Any) -> t.Any:
        ready = prepare(change, planned)
        monkeypatch.setattr(amend._Amendment, "_prepare", prepare)
        assert volume.amend_volume(path, present("luks2", "new"), **wish)["changed"]
        return ready

    monkeypatch.setattr(amend._Amendment, "_prepare", then_another_run)
    result = volume.amend_volume(path, present("luks2", "new"), **wish)
    assert (result["changed"], result["verified"]) == (False, False)
    assert any("no secret was tried" in warning for warning in result["warnings"])
