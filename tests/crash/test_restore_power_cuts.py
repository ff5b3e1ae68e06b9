# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails before and inside every write of a restore from a header backup; then the same task runs again.

A backup is an earlier state of the volume, and the volume is what tasks made of that state since. What must be true of
each state is said in docs/transactions.md under "Restoring a backup".
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.image import Image, image_size, parse_image
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore_steps import Restore, make_restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Desired
from ansible_collections.luksmith.luks.tests.crash.economy import the_same_noise
from ansible_collections.luksmith.luks.tests.crash.judge import SHORT, Form
from ansible_collections.luksmith.luks.tests.crash.memory_volumes import (
    ALPHA,
    BRAVO,
    CHARLIE,
    DELTA,
    LUKS2_AREAS,
    LUKS2_HEADERS,
    SECRETS,
    Region,
    Volume,
    absent,
    amend_volume,
    desired,
    luks1_volume,
    luks2_volume,
    opened,
    openers,
    present,
    read,
    tears,
)

A, B, C, D = SECRETS
HEADERS = {"luks1": 1024, "luks2": LUKS2_HEADERS}
FORMATS = [
    "luks1",
    pytest.param("luks2", marks=pytest.mark.needs("cryptsetup")),
]  # which makes the LUKS2 volumes of this lane


@dataclasses.dataclass(frozen=True)
class Case:
    """start: what the backup holds; since: the tasks that ran since; unlock: labels that the restore knows."""

    start: t.Mapping[int, bytes]
    since: t.Sequence[Desired]
    unlock: t.Sequence[str] = ("alpha",)


CASES = {
    "a keyslot was erased": Case({0: A, 1: B}, [desired(absent(old=BRAVO))]),
    "keyslots were added": Case({0: A}, [desired(present(BRAVO), present(CHARLIE, position=1))]),
    "the only keyslot was rekeyed, both secrets known": Case(
        {0: A}, [desired(present(BRAVO, old=ALPHA))], ("alpha", "bravo")
    ),
    "the only keyslot was rekeyed, only the old secret known": Case({0: A}, [desired(present(BRAVO, old=ALPHA))]),
    "slot 6 was rekeyed": Case({6: A}, [desired(present(BRAVO, old=ALPHA))]),
    "slot 7 was rekeyed, slot 6 added": Case(
        {7: A}, [desired(present(BRAVO, old=ALPHA), present(CHARLIE, keyslot=6, position=1))], ("alpha", "bravo")
    ),
    "all were rotated": Case(
        {0: A, 1: B},
        [desired(present(CHARLIE, old=ALPHA), present(DELTA, old=BRAVO, position=1), unlock=(ALPHA, BRAVO))],
        ("alpha", "delta"),
    ),
    "two were swapped": Case(
        {0: A, 3: B},
        [
            desired(
                present(CHARLIE, keyslot=0, old=ALPHA),
                present(DELTA, keyslot=3, old=BRAVO, position=1),
                unlock=(ALPHA, BRAVO),
            )
        ],
        ("bravo",),
    ),
    "nothing is in common": Case(
        {0: A}, [desired(present(BRAVO, keyslot=5)), desired(absent(old=ALPHA), unlock=(BRAVO,))], ("alpha", "bravo")
    ),
}
ONLY_FULL = "full, and only the backup can be opened"  # differs from the case before it in the secrets alone
LUKS1_CASES = {
    "full, and every keyslot was rekeyed": Case(
        dict.fromkeys(range(8), A), [desired(present(BRAVO, old=ALPHA))], ("alpha", "bravo")
    ),
    ONLY_FULL: Case(dict.fromkeys(range(8), A), [desired(present(BRAVO, old=ALPHA))]),
    "full since": Case(
        {0: A},
        [
            desired(present(BRAVO, old=ALPHA)),
            *(desired(present(CHARLIE, keyslot=number), unlock=(BRAVO,)) for number in range(1, 8)),
        ],
        ("alpha", "bravo"),
    ),
}


def secrets_of(labels: t.Sequence[str], data: bytes) -> t.List[int]:
    return [slot for slot, found in openers(data).items() if set(found) & set(labels)]


def begin(data: bytes, backup: Image, unlock: t.Sequence[str]) -> Restore:
    try:
        now: t.Optional[Image] = parse_image(data[: image_size(read(data))])
    except LuksmithError:
        now = None
    return make_restore(
        now, backup, secrets_of(unlock, backup.data), [] if now is None else secrets_of(unlock, data), "it is gone"
    )


def restore(
    data: bytes, backup: Image, unlock: t.Sequence[str], noise: str = "of the first run"
) -> t.Tuple[bytes, t.List[t.Tuple[int, bytes]]]:
    """``noise``: what an area is overwritten with.

    All reruns have the same, so that their areas need to be tried only once.
    """
    region = Region(data)
    work = begin(data, backup, unlock)
    if work.steps:
        with the_same_noise(noise):
            work.run(Volume(region), 1)
    assert not region.unsynced, "the last write was never made durable"
    return bytes(region.data), region.writes


def cut_everywhere(now: bytes, backup: Image, unlock: t.Sequence[str], header_size: int, form: Form) -> int:
    final, writes = restore(now, backup, unlock)
    before, after = opened(now), {label for found in openers(backup.data).values() for label in found}
    assert writes, "the case must change something"
    assert openers(final) == openers(backup.data)
    assert not begin(final, backup, unlock).steps, "a second run must change nothing"
    assert read(final).intent is None
    known = set(unlock)
    seen: t.Set[bytes] = set()
    disk = bytearray(now)
    for number, (offset, data) in enumerate(writes):
        for torn in tears(offset, data, header_size, 2 if form == SHORT else 3):
            state = bytearray(disk)
            state[offset : offset + torn] = data[:torn]
            name = hashlib.sha256(state).digest()
            if name in seen:
                continue
            seen.add(name)
            where = f"cut at write {number} (byte {offset}), torn at {torn}"
            slots = openers(bytes(state))
            still = {label for found in slots.values() for label in found}
            assert still, f"{where}: nothing opens"
            assert all(slots.values()) or read(bytes(state)).intent is not None, (
                f"{where}: {slots}: a keyslot opens with nothing, and nobody is told"
            )
            assert not before & known or still & known, f"{where}: no secret of the task opens"
            assert before & after <= still, f"{where}: {before & after - still} stopped working"
            again, _writes = restore(bytes(state), backup, unlock, "of the rerun")
            assert openers(again) == openers(backup.data), f"{where}: the rerun ends otherwise"
            assert read(again).intent is None and not read(again).needs_heal, where
            assert not begin(again, backup, unlock).steps, f"{where}: a third run would change something"
            revived = opened(now[:header_size] + again[header_size:])
            assert not (before - after) & revived, f"{where}: the old header brings {(before - after) & revived} back"
        disk[offset : offset + len(data)] = data
    return len(seen)


def volumes(case: Case, format: str) -> t.Tuple[bytes, Image]:
    start = luks1_volume(case.start) if format == "luks1" else luks2_volume(case.start)
    now = start
    for task in case.since:
        now = amend_volume(now, task).data
    return now, parse_image(start[: image_size(read(start))])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_every_cut_leaves_an_opener_and_the_rerun_finishes(name: str, format: str, form: Form) -> None:
    now, backup = volumes(CASES[name], format)
    print(name, format, cut_everywhere(now, backup, CASES[name].unlock, HEADERS[format], form), "states")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name == ONLY_FULL else []) for name in LUKS1_CASES]
)
def test_full_luks1_headers(name: str, form: Form) -> None:
    """Takes seconds: on each state all eight keyslots are tried with all secrets."""
    now, backup = volumes(LUKS1_CASES[name], "luks1")
    print(name, cut_everywhere(now, backup, LUKS1_CASES[name].unlock, HEADERS["luks1"], form), "states")


@pytest.mark.parametrize("format", FORMATS)
def test_a_header_that_cannot_be_read_is_there_again_or_not_at_all(format: str) -> None:
    now, backup = volumes(CASES["a keyslot was erased"], format)
    ruin = bytes(HEADERS[format]) + now[HEADERS[format] :]
    final, writes = restore(ruin, backup, ["alpha"])
    assert openers(final) == openers(backup.data) == {0: ["alpha"], 1: ["bravo"]}
    disk = bytearray(ruin)
    for offset, data in writes:
        for torn in range(0, len(data), 512):
            state = bytearray(disk)
            state[offset : offset + torn] = data[:torn]
            try:
                there = openers(bytes(state))
            except LuksmithError:
                there = openers(backup.data)
            assert there == openers(backup.data)
            if torn in (0, 512, len(data) // 2 // 512 * 512):
                again, _writes = restore(bytes(state), backup, ["alpha"], "of the rerun")
                assert openers(again) == openers(backup.data)
                assert not read(again).needs_heal
        disk[offset : offset + len(data)] = data


@pytest.mark.needs("cryptsetup")
def test_luks2_without_room_beside_is_refused_before_a_write() -> None:
    start = luks2_volume(dict.fromkeys(range(LUKS2_AREAS), A))
    now = amend_volume(start, desired(present(BRAVO, keyslot=2, old=ALPHA))).data
    with pytest.raises(LuksmithError, match="no room beside"):
        begin(now, parse_image(start[: image_size(read(start))]), ["alpha"])


@pytest.mark.parametrize("format", FORMATS)
def test_an_interrupted_run_of_the_keyslots_module_is_ended_too(format: str) -> None:
    """Whatever state a cut rekey left: the restore ends it and leaves the backup's keyslots."""
    start = luks1_volume({0: A, 1: B}) if format == "luks1" else luks2_volume({0: A, 1: B})
    backup = parse_image(start[: image_size(read(start))])
    cut = amend_volume(start, desired(present(CHARLIE, old=BRAVO)))
    disk = bytearray(start)
    for offset, data in cut.writes:
        disk[offset : offset + len(data)] = data
        again, _writes = restore(bytes(disk), backup, ["alpha"], "of the rerun")
        assert openers(again) == openers(backup.data)
        assert read(again).intent is None
        assert "charlie" not in opened(bytes(disk)[: HEADERS[format]] + again[HEADERS[format] :])
