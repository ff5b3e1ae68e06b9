# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyslots that an entry ranks by their number, without a secret."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots

pytestmark = pytest.mark.needs("cryptsetup")
RANK = {"keyslot": 1, "priority": "prefer"}


def secret(text: str) -> t.Dict[str, str]:
    return {"label": text, "passphrase": text}


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> Luks2Volume:
    """pw0 in keyslot 0, one in keyslot 1, two in keyslot 2."""
    return Luks2Volume(tmp_path / "volume").like(slots={1: "one", 2: "two"})


def priorities(volume: Luks2Volume) -> t.Dict[int, str]:
    """As luksDump shows them."""
    shown = run("cryptsetup", "luksDump", volume.path).stdout.partition("Keyslots:")[2].partition("Tokens:")[0]
    found = re.findall(r"^  (\d+): luks2$.*?^\tPriority: +(\w+)$", shown, re.MULTILINE | re.DOTALL)
    return {int(number): priority for number, priority in found}


def test_it_needs_no_secret_and_runs_once(volume: Luks2Volume) -> None:
    done = keyslots(volume.path, [RANK])
    assert [(one["action"], one["keyslot"]) for one in done["plan"]] == [("set-priority", 1)]
    assert priorities(volume) == {0: "normal", 1: "preferred", 2: "normal"} and done["kdf_evaluations"] == 0
    assert not keyslots(volume.path, [RANK])["changed"]
    keyslots(volume.path, [{"keyslot": 1, "priority": "ignore"}])
    assert priorities(volume)[1] == "ignored" and not volume.opens("one") and volume.opens("one", "--key-slot", 1)


@pytest.mark.parametrize(
    ("entry", "unlock"),
    [
        pytest.param({"state": "absent", "old_secret": secret("pw0")}, ["one"], id="erased"),
        pytest.param({"new_secret": secret("pw0"), "priority": "ignore"}, ["one"], id="ignored"),
        pytest.param({"keyslot": 0, "priority": "ignore"}, [], id="ignored, without a secret"),
        pytest.param(
            {"old_secret": secret("pw0"), "new_secret": secret("x"), "priority": "ignore", "pbkdf": CHEAP},
            ["one"],
            id="replaced",
        ),
    ],
)
def test_the_last_keyslot_that_is_tried_at_boot_stays(
    volume: Luks2Volume, entry: t.Dict[str, t.Any], unlock: t.List[str]
) -> None:
    keyslots(volume.path, [{"state": "absent", "keyslot": 2}, {"keyslot": 1, "priority": "ignore"}], unlock=["pw0"])
    before = volume.sha256()
    given: t.Dict[str, t.Any] = {"unlock": [secret(text) for text in unlock]}
    for check in (True, False):
        with pytest.raises(ModuleFailed) as failure:
            keyslots(volume.path, [entry], check=check, **given)
        said = str(failure.value.result["msg"])
        assert "would be tried by default (keyslot" in said and "Nothing was changed." in said
    assert volume.sha256() == before
    assert volume.opens("pw0")
    # As the message says.
    if "in the same task" in said and unlock and "old_secret" in entry and "new_secret" not in entry:
        keyslots(volume.path, [entry, {"keyslot": 1, "priority": "normal"}], **given)
        assert volume.opens("one") and not volume.opens("pw0")
    else:
        keyslots(volume.path, [entry], allow_lockout=True, **given)
        assert not volume.opens("pw0") and not volume.opens("one")


def test_what_no_secret_opened_at_boot_before_is_no_loss(volume: Luks2Volume) -> None:
    """Keyslot 2 is somebody's who opens the volume at boot; what this task removes was ignored already."""
    keyslots(volume.path, [{"keyslot": number, "priority": "ignore"} for number in (0, 1)])
    keyslots(volume.path, [{"state": "absent", "old_secret": secret("pw0")}], unlock=[secret("one")])
    assert volume.opens("two") and volume.opened((1, 2), ("one", "two")) == {(1, "one"), (2, "two")}


def test_purge_keeps_it(volume: Luks2Volume) -> None:
    done = keyslots(volume.path, [RANK, {"new_secret": secret("pw0")}], purge=True)
    assert sorted((one["action"], one["keyslot"]) for one in done["plan"]) == [("erase", 2), ("set-priority", 1)]
    assert volume.opened((0, 1), ("pw0", "one")) == {(0, "pw0"), (1, "one")}


def test_a_new_key_has_the_priority_at_once(volume: Luks2Volume) -> None:
    """One action, whichever entry says it; with purge the ranked keyslot is the one that stays."""
    volume.add(3, "one")
    rotate = {"old_secret": secret("one"), "new_secret": secret("next"), "pbkdf": CHEAP}
    rank = {"keyslot": 3, "priority": "prefer"}
    done = keyslots(volume.path, [rotate, rank], purge=True)
    assert ("rekey", 3) in [(one["action"], one["keyslot"]) for one in done["plan"]]
    assert "set-priority" not in [one["action"] for one in done["plan"]]
    assert volume.opens("next") and not volume.opens("one") and priorities(volume)[3] == "preferred"
    assert not keyslots(volume.path, [rotate, rank], purge=True)["changed"]


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([{"keyslot": 9, "priority": "prefer"}], "keyslot 9 a priority, but it is not active"),
        ([RANK, {"state": "absent", "keyslot": 1}], "keyslot 1 is to be present and absent"),
        ([RANK, {"state": "absent", "old_secret": secret("one")}], "keyslot 1 a priority, and it is to be erased"),
        ([RANK, {"keyslot": 1, "new_secret": secret("one")}], "give it in the entry with new_secret"),
        ([RANK, {"keyslot": 1, "priority": "ignore"}], "different priorities for keyslot 1"),
        ([RANK, {"new_secret": secret("one"), "priority": "normal"}], "wants normal"),
        ([{**RANK, "priority": "ignore"}, {"new_secret": secret("one")}], "tried by default"),
        (
            [
                {**RANK, "priority": "ignore"},
                {"new_secret": secret("next"), "old_secret": secret("one"), "pbkdf": CHEAP},
            ],
            "tried by default",
        ),
        ([{"keyslot": 1, "priority": "prefer", "old_secret": secret("one")}], "has no new_secret"),
    ],
)
def test_what_cannot_be(volume: Luks2Volume, entries: t.List[t.Any], found: str) -> None:
    before = volume.sha256()
    with pytest.raises(ModuleFailed, match=found):
        keyslots(volume.path, entries, unlock=["pw0"])
    assert volume.sha256() == before


def test_luks1_has_none(tmp_path: pathlib.Path) -> None:
    volume = Luks2Volume(tmp_path / "volume").like(type="luks1")
    with pytest.raises(ModuleFailed, match="LUKS1 keyslots have no priority"):
        keyslots(volume.path, [{"keyslot": 0, "priority": "prefer"}])
    assert not keyslots(volume.path, [{"keyslot": 0, "priority": "normal"}])["changed"]
