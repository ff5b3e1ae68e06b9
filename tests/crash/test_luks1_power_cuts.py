# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails before and inside every write of every kind of action; then the same task runs again."""

from __future__ import annotations

import typing as t

import pytest
from cuts import cut_everywhere
from lab import ALPHA, BRAVO, CHARLIE, DELTA, SECRETS, absent, desired, luks1_volume, present

A, B, C, D = SECRETS
FULL = dict.fromkeys(range(8), A)

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


@pytest.mark.parametrize("name", CASES)
def test_every_cut_keeps_an_opener_and_the_rerun_ends_where_the_whole_run_does(name: str, record_property: t.Callable[[str, object], None]) -> None:
    slots, task = CASES[name]
    states = cut_everywhere(luks1_volume(slots), task, header_size=1024, same_slots=name not in SEVERAL_SLOTS_OF_ONE_SECRET)
    record_property("states", states)
    print(f"{name}: {states} states")
