# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyslot that is in the volume and in the backup with one salt and different key material: which of both stays.

tests/interop/test_header_backup.py has what cryptsetup says of it.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.image import Image, parse_image
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Intent, IntentKind
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.backup.test_refusals import bring
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import MADE, scribble


def image(path: pathlib.Path) -> Image:
    return parse_image(path.read_bytes())


def spoil(path: pathlib.Path, keyslots: t.Iterable[int]) -> None:
    for number in keyslots:
        area = image(path).header.keyslots[number].area
        scribble(path, area.offset, b"not what was there".ljust(area.size, b"!"))


def opened(path: pathlib.Path, *texts: str) -> t.List[t.List[str]]:
    """By keyslot, the secrets that open it."""
    result = full.amend_volume(path, *(full.absent(text) for text in texts), check=True, allow_lockout=True)
    erased = {row["keyslot"]: [row["label"][len("label of ") :]] for row in result["plan"]}
    return [erased.get(number, []) for number in sorted(image(path).header.keyslots)]


@pytest.mark.parametrize(
    ("format", "kind"),
    [("luks1", IntentKind.ERASE), ("luks1", IntentKind.MOVE_ERASE), ("luks2", IntentKind.REPLACE_ERASE)],
)
def test_what_an_interrupted_run_was_wiping_comes_back(format: str, kind: IntentKind, tmp_path: pathlib.Path) -> None:
    path, backup = tmp_path / "volume", tmp_path / "backup"
    full.make(path, format, 2)
    bring(path, backup, state="present")
    spoil(path, [1])
    header = image(path).header
    noted = header.with_intent(Intent(kind, 1, 2 if kind == IntentKind.MOVE_ERASE else None))
    for write in noted.commit_writes(header):
        scribble(path, write.offset, write.data)
    assert bring(path, backup, MADE[0])["changed"]
    assert opened(path, *MADE) == [[MADE[0]], [MADE[1]]]


def test_a_note_of_something_else_makes_no_copy_the_damaged_one(tmp_path: pathlib.Path) -> None:
    path, backup = tmp_path / "volume", tmp_path / "backup"
    full.make(path, "luks2", 2)
    bring(path, backup, state="present")
    spoil(backup, [0])
    header = image(path).header
    for write in header.with_intent(Intent(IntentKind.COPIED, 0, copy="0" * 32)).commit_writes(header):
        scribble(path, write.offset, write.data)
    bring(path, backup, MADE[1])
    assert image(path).header.intent is None
    assert opened(path, *MADE) == [[MADE[0]], [MADE[1]]]


@pytest.mark.parametrize("spare", [0, 1])
def test_a_full_volume_gives_none_of_them_for_the_way(spare: int, tmp_path: pathlib.Path) -> None:
    """LUKS1: the first keyslot of the backup that opens is written through another one, which is lost for a moment."""
    path, backup = tmp_path / "volume", tmp_path / "backup"
    secrets = full.make(path, "luks1", 8)
    bring(path, backup, state="present")
    rotated = full.present("luks1", "new", keyslot=0, old=secrets[0])
    full.amend_volume(path, rotated, unlock=secrets[1:2])
    kept = range(1, 8 - spare)
    spoil(backup, kept)
    if not spare:
        before = path.read_bytes()
        with pytest.raises(Refused, match="and no keyslot is left for the way there"):
            bring(path, backup, secrets[0])
        assert path.read_bytes() == before
        return
    bring(path, backup, secrets[0])
    assert opened(path, *secrets) == [[text] for text in secrets]
