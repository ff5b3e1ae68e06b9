# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails before and inside every write of every kind of action; then the same task runs again.

The memory region refuses a write that begins before the one before it is durable, so that between two barriers there
is one write only and its torn forms are all the states there are. Inside an area a tear is tried at its first, middle
and last sector: the areas' bytes mean nothing to any reader as long as one sector is wrong.
"""

from __future__ import annotations

import typing as t

import pytest

from luks1_lab import ALPHA, BRAVO, CHARLIE, DELTA, LABELS, SECRETS, absent, bring, desired, intent, openers, present, volume_bytes

A, B, C, D = SECRETS
FULL = {number: A for number in range(8)}

CASES = {
    "add": ({0: A}, desired(present(BRAVO))),
    "add to slot 6": ({0: A}, desired(present(BRAVO, keyslot=6))),
    "add to slot 7": ({0: A}, desired(present(BRAVO, keyslot=7))),
    "erase": ({0: A, 1: B}, desired(absent(old=BRAVO))),
    "erase slot 6": ({0: A, 6: B}, desired(absent(keyslot=6))),
    "erase slot 7": ({0: A, 7: B}, desired(absent(keyslot=7))),
    "rekey the only slot": ({0: A}, desired(present(BRAVO, old=ALPHA))),
    "rekey slot 6": ({6: A}, desired(present(BRAVO, old=ALPHA))),
    "rekey slot 7 through slot 6": ({0: D, 1: D, 2: D, 3: D, 4: D, 5: D, 7: A}, desired(present(BRAVO, keyslot=7, old=ALPHA), unlock=())),
    "rekey a named slot": ({0: A, 3: C}, desired(present(BRAVO, keyslot=3, old=CHARLIE))),
    "rekey two slots": ({1: A, 6: A}, desired(present(BRAVO, old=ALPHA))),
    "rekey in a full header": ({**FULL, 2: C}, desired(present(BRAVO, old=CHARLIE))),
    "rekey all of a full header": (FULL, desired(present(BRAVO, old=ALPHA))),
    "erase first in a full header": ({**FULL, 5: C}, desired(present(BRAVO), absent(old=CHARLIE, position=1))),
    "rotate and purge": ({0: A, 1: C, 2: D}, desired(present(BRAVO, old=ALPHA), purge=True)),
    "purge": ({0: A, 1: C, 6: D, 7: B}, desired(present(ALPHA), purge=True)),
    "swap out two": ({0: A, 1: C}, desired(present(BRAVO, keyslot=0, old=ALPHA), present(DELTA, keyslot=1, old=CHARLIE, position=1))),
}

# The design decides these: once the new secret opens one slot, the rerun of a cut rekey erases the other slots of the
# old one instead of rekeying them, so that the secrets are the same and only the number of slots may be smaller.
SEVERAL_SLOTS_OF_ONE_SECRET = ("rekey two slots", "rekey all of a full header")


def opened(data: bytes) -> t.Set[str]:
    return {label for labels in openers(data).values() for label in labels}


@pytest.mark.parametrize("name", CASES)
def test_every_cut_keeps_an_opener_and_the_rerun_ends_where_the_whole_run_does(name: str) -> None:
    slots, task = CASES[name]
    start = volume_bytes(slots)
    final, whole = bring(start, task)
    assert whole
    assert final.plan.actions, "the case must change something"
    goal = openers(final.data)
    assert intent(final.data) is None
    assert bring(final.data, task)[0].plan.empty, "a second run must change nothing"
    before, after = opened(start), opened(final.data)
    stays = before & after
    assert after, "the task must leave an opener"
    for cut in range(len(final.writes)):
        _offset, data = final.writes[cut]
        tears = {0, len(data) // 2 // 512 * 512, len(data) - 512} if len(data) > 512 else {0}
        for torn in sorted(tears):
            partial, completed = bring(start, task, writes_left=cut, torn=torn)
            assert not completed
            now = opened(partial.data)
            assert stays <= now, f"cut at write {cut}, torn at {torn}: {stays - now} stopped working"
            assert now, f"cut at write {cut}, torn at {torn}: nothing opens"
            again, completed = bring(partial.data, task)
            assert completed
            ended = openers(again.data)
            if name in SEVERAL_SLOTS_OF_ONE_SECRET:
                assert all(ended.values()), f"cut at write {cut}, torn at {torn}: a zombie stays"
                assert opened(again.data) == after
            else:
                assert ended == goal, f"cut at write {cut}, torn at {torn}: the rerun ends elsewhere"
            assert intent(again.data) is None
            assert bring(again.data, task)[0].plan.empty
            revived = start[:1024] + again.data[1024:]
            gone = {label for label in before - after if label in LABELS}
            assert not gone & opened(revived), f"cut at write {cut}, torn at {torn}: the oldest header brings {gone} back"
