# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows 293.01 to 293.28 of QEMU's iotest, through the module; QEMU says what opens, cryptsetup says in which slot.

Every row starts from the state that the rows before it leave, made by one task. Where a desired state differs from QEMU's
commands on purpose, the name of the test says "ours".
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from harness.judges import holds, qemu_opens, slots_by_secret
from harness.module import absent, brought, keyslots, label_of, present, refused
from harness.programs import need
from harness.volumes import KINDS, fresh

ALL = ("s0", "s1", "s2", "s3", "s4")
Slots = t.Dict[int, str]
AFTER_09 = {1: "s1", 3: "s3"}


@pytest.fixture(params=KINDS)
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    need("qemu-img", "qemu-io", "cryptsetup")
    return fresh(tmp_path, request.param)


_made: t.Dict[t.Tuple[str, t.Tuple[t.Tuple[int, str], ...]], bytes] = {}


def state(image: pathlib.Path, slots: Slots) -> None:
    """Bring the fresh image {0: s0} to ``slots`` with tasks of ours; the result is judged and kept for the next row."""
    key = (image.suffix, tuple(sorted(slots.items())))
    if key not in _made:
        others = [present(secret, slot) for slot, secret in slots.items() if slot]
        tasks = [others] if others else []
        if slots.get(0) != "s0":
            tasks.append([absent(keyslot=0)])
            tasks.append([present(slots[0], 0)] if 0 in slots else [])
        for entries in filter(None, tasks):
            done = keyslots(image, entries, "s0", "s3")
            assert done.ok, done.msg
        assert slots_by_secret(image, ALL) == slots
        _made[key] = image.read_bytes()
    image.write_bytes(_made[key])


FULL = {0: "s2", 1: "s1", 2: "s2", 3: "s3", 4: "s2", 5: "s2", 6: "s0", 7: "s3"}


def test_01_opens_with_s0(image: pathlib.Path) -> None:
    holds(image, {0: "s0"}, "s1")


def test_02_add_in_keyslot_4(image: pathlib.Path) -> None:
    assert brought(image, [present("s4", 4)], "s0").steps == [("add", 4)]
    holds(image, {0: "s0", 4: "s4"})


def test_03_add_takes_the_first_free_keyslot(image: pathlib.Path) -> None:
    state(image, {0: "s0", 4: "s4"})
    assert brought(image, [present("s1")], "s0").steps == [("add", 1)]
    holds(image, {0: "s0", 1: "s1", 4: "s4"})


def test_04_any_proven_secret_unlocks(image: pathlib.Path) -> None:
    state(image, {0: "s0", 1: "s1", 4: "s4"})
    assert brought(image, [present("s3", 3)], "s1").steps == [("add", 3)]
    holds(image, {0: "s0", 1: "s1", 3: "s3", 4: "s4"})


def test_05_add_fills_the_gap(image: pathlib.Path) -> None:
    state(image, {0: "s0", 1: "s1", 3: "s3", 4: "s4"})
    assert brought(image, [present("s2")], "s3").steps == [("add", 2)]
    holds(image, {0: "s0", 1: "s1", 2: "s2", 3: "s3", 4: "s4"})


def test_02_to_05_ours_is_one_task(image: pathlib.Path) -> None:
    done = brought(image, [present("s4", 4), present("s1", 1), present("s3", 3), present("s2", 2)], "s0")
    assert sorted(done.steps) == [("add", 1), ("add", 2), ("add", 3), ("add", 4)]
    holds(image, {0: "s0", 1: "s1", 2: "s2", 3: "s3", 4: "s4"})


def test_06_07_erase_keyslot_4(image: pathlib.Path) -> None:
    state(image, {0: "s0", 1: "s1", 2: "s2", 3: "s3", 4: "s4"})
    assert brought(image, [absent(keyslot=4)], "s1").steps == [("erase", 4)]
    holds(image, {0: "s0", 1: "s1", 2: "s2", 3: "s3"}, "s4")


def test_08_erase_by_secret(image: pathlib.Path) -> None:
    state(image, {0: "s0", 1: "s1", 2: "s2", 3: "s3"})
    assert brought(image, [absent("s0")], "s1").steps == [("erase", 0)]
    holds(image, {1: "s1", 2: "s2", 3: "s3"}, "s0")


def test_09_erase_keyslot_2(image: pathlib.Path) -> None:
    state(image, {1: "s1", 2: "s2", 3: "s3"})
    assert brought(image, [absent(keyslot=2)], "s1").steps == [("erase", 2)]
    holds(image, AFTER_09, "s0", "s2")


def test_10_ours_makes_no_duplicates(image: pathlib.Path) -> None:
    """QEMU's four adds of s2 fill keyslots 0, 2, 4 and 5; a desired state holds after the first."""
    state(image, AFTER_09)
    steps = [keyslots(image, [present("s2")], "s3").steps for _time in range(4)]
    assert steps == [[("add", 0)], [], [], []]
    holds(image, {0: "s2", **AFTER_09})


def test_10_ours_makes_copies_when_slots_are_named(image: pathlib.Path) -> None:
    state(image, AFTER_09)
    done = brought(image, [present("s2", slot) for slot in (0, 2, 4, 5)], "s3")
    assert sorted(done.steps) == [("add", slot) for slot in (0, 2, 4, 5)]
    holds(image, {0: "s2", 1: "s1", 2: "s2", 3: "s3", 4: "s2", 5: "s2"})


def test_11_add_takes_the_last_gaps(image: pathlib.Path) -> None:
    slots = {0: "s2", 1: "s1", 2: "s2", 3: "s3", 4: "s2", 5: "s2"}
    state(image, slots)
    assert brought(image, [present("s0")], "s3").steps == [("add", 6)]
    holds(image, {**slots, 6: "s0"})


def test_12_ours_sees_that_s3_opens_already(image: pathlib.Path) -> None:
    """QEMU puts a second s3 into keyslot 7; so does ours, but only where the keyslot is named."""
    slots = {0: "s2", 1: "s1", 2: "s2", 3: "s3", 4: "s2", 5: "s2", 6: "s0"}
    state(image, slots)
    assert brought(image, [present("s3")], "s3").steps == []
    holds(image, slots)
    assert brought(image, [present("s3", 7)], "s3").steps == [("add", 7)]
    holds(image, {**slots, 7: "s3"})


def test_13_full_header_refuses_a_new_secret(image: pathlib.Path) -> None:
    """With a secret that is new: ours has nothing to do for s3, which opens keyslots 3 and 7."""
    state(image, FULL)
    assert brought(image, [present("s3")], "s2").steps == []
    outcome = refused(image, [present("s4")], "s2")
    assert "in use" in outcome.msg


def test_14_full_header_opens_with_all(image: pathlib.Path) -> None:
    state(image, FULL)
    holds(image, FULL, "s4")


def test_15_erase_by_secret_finds_all_four(image: pathlib.Path) -> None:
    state(image, FULL)
    done = brought(image, [absent("s2")], "s1")
    assert sorted(done.steps) == [("erase", slot) for slot in (0, 2, 4, 5)]
    holds(image, {slot: secret for slot, secret in FULL.items() if secret != "s2"}, "s2")


def test_16_ours_erases_what_unlocked_when_another_is_proven(image: pathlib.Path) -> None:
    """QEMU lets s1 erase itself, knowing nothing of the other slots; ours wants one of them proven."""
    state(image, {1: "s1", 3: "s3", 6: "s0", 7: "s3"})
    assert "nobody proved" in refused(image, [absent("s1")], "s1").msg
    assert brought(image, [absent("s1")], "s1", "s3").steps == [("erase", 1)]
    holds(image, {3: "s3", 6: "s0", 7: "s3"}, "s1")


def test_17_ours_erases_s0_when_s3_is_proven(image: pathlib.Path) -> None:
    state(image, {3: "s3", 6: "s0", 7: "s3"})
    assert brought(image, [absent("s0")], "s0", "s3").steps == [("erase", 6)]
    holds(image, {3: "s3", 7: "s3"}, "s0", "s1", "s2")


def test_18_19_all_keyslots_hold_what_is_to_go(image: pathlib.Path) -> None:
    state(image, {3: "s3", 7: "s3"})
    assert "allow_lockout" in refused(image, [absent("s3")], "s3").msg
    holds(image, {3: "s3", 7: "s3"}, "s0", "s1", "s2")


def test_20_add_then_erase_in_two_tasks(image: pathlib.Path) -> None:
    state(image, {3: "s3", 7: "s3"})
    assert brought(image, [present("s0")], "s3").steps == [("add", 0)]
    assert brought(image, [absent("s3")], "s0").steps == [("erase", 3), ("erase", 7)]
    holds(image, {0: "s0"}, "s1", "s2", "s3")


def test_20_ours_in_one_task(image: pathlib.Path) -> None:
    state(image, {3: "s3", 7: "s3"})
    done = brought(image, [absent("s3"), present("s0")], "s3")
    assert done.steps == [("add", 0), ("erase", 3), ("erase", 7)]
    holds(image, {0: "s0"}, "s1", "s2", "s3")


def test_21_occupied_keyslot_that_nobody_proved(image: pathlib.Path) -> None:
    state(image, {0: "s0", 3: "s3"})
    assert "eyslot 0 is in use" in refused(image, [present("s1", 0)], "s3").msg
    holds(image, {0: "s0", 3: "s3"}, "s1")


def test_21_ours_rekeys_by_the_unlock_proof(image: pathlib.Path) -> None:
    """QEMU refuses to overwrite keyslot 0 although it was opened with s0; a proof by unlock is a consent of ours."""
    assert brought(image, [present("s1", 0)], "s0").steps == [("rekey", 0)]
    holds(image, {0: "s1"}, "s0")


def test_21_ours_refuses_when_the_proof_is_wanted_elsewhere(image: pathlib.Path) -> None:
    state(image, {0: "s0", 3: "s3"})
    assert label_of("s0") in refused(image, [present("s1", 0), present("s0")], "s0").msg


def test_22_force_overwrites(image: pathlib.Path) -> None:
    state(image, {0: "s0", 3: "s3"})
    assert brought(image, [present("s1", 0)], "s3", force=True).steps == [("rekey", 0)]
    holds(image, {0: "s1", 3: "s3"}, "s0")


def test_22_force_is_no_substitute_for_an_opener(image: pathlib.Path) -> None:
    """QEMU opened the image with s0 before it overwrote s0; without any proof there is no volume key to write."""
    assert "unlock" in refused(image, [present("s1", 0)], "wrong", force=True).msg


def test_23_the_only_active_keyslot(image: pathlib.Path) -> None:
    assert "allow_lockout" in refused(image, [absent(keyslot=0)], "s0").msg


def test_24_the_only_secret(image: pathlib.Path) -> None:
    assert "allow_lockout" in refused(image, [absent("s0")], "s0").msg


def test_25_ours_undefined_secret_is_an_unreadable_keyfile(image: pathlib.Path) -> None:
    entry = {"state": "absent", "old_secret": {"keyfile": str(image.with_name("no-such-secret"))}}
    assert "no-such-secret" in refused(image, [entry], "s0", force=True).msg


def test_26_ours_secret_that_opens_nothing_is_already_absent(image: pathlib.Path) -> None:
    """QEMU calls it an error that no keyslot matches; for a desired state it is the goal."""
    before = image.read_bytes()
    assert brought(image, [absent("s1")], "s0", force=True).steps == []
    assert image.read_bytes() == before


def test_27_ours_inactive_keyslot_is_a_no_op_without_force(image: pathlib.Path) -> None:
    before = image.read_bytes()
    for force in (False, True):
        done = brought(image, [absent(keyslot=1)], "s0", force=force)
        assert (done["changed"], done.steps) == (False, [])
    assert image.read_bytes() == before


def test_28_ours_needs_a_consent_of_its_own(image: pathlib.Path) -> None:
    assert "allow_lockout" in refused(image, [absent(keyslot=0)], "s0", force=True).msg
    assert brought(image, [absent(keyslot=0)], "s0", allow_lockout=True).steps == [("erase", 0)]
    assert slots_by_secret(image, ALL) == {}
    assert not any(qemu_opens(image, secret) for secret in ALL)
