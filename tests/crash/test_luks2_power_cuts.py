# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS2: the power fails before and inside every write of every kind of action; then the same task runs again."""

from __future__ import annotations

import shutil
import typing as t

import pytest
from cuts import cut_everywhere
from lab import ALPHA, BRAVO, CHARLIE, DELTA, LUKS2_AREAS, LUKS2_HEADERS, SECRETS, absent, desired, luks2_volume, present

A, B, C, D = SECRETS
FULL = dict.fromkeys(range(LUKS2_AREAS), A)

CASES = {
    "add": ({0: A}, desired(present(BRAVO))),
    "add to slot 31": ({0: A}, desired(present(BRAVO, keyslot=31))),
    "erase": ({0: A, 1: B}, desired(absent(old=BRAVO))),
    "rekey the only slot": ({0: A}, desired(present(BRAVO, old=ALPHA))),
    "rekey a named slot": ({0: A, 3: C}, desired(present(BRAVO, keyslot=3, old=CHARLIE))),
    "rekey two slots": ({1: A, 6: A}, desired(present(BRAVO, old=ALPHA))),
    "rekey without room": ({**FULL, 2: C}, desired(present(BRAVO, old=CHARLIE))),
    "erase first without room": ({**FULL, 5: C}, desired(present(BRAVO), absent(old=CHARLIE, position=1))),
    "rotate and purge": ({0: A, 1: C, 2: D}, desired(present(BRAVO, old=ALPHA), purge=True)),
    "swap out two": ({0: A, 1: C}, desired(present(BRAVO, keyslot=0, old=ALPHA), present(DELTA, keyslot=1, old=CHARLIE, position=1))),
}
SEVERAL_SLOTS_OF_ONE_SECRET = ("rekey two slots",)


@pytest.mark.skipif(shutil.which("cryptsetup") is None, reason="cryptsetup makes the LUKS2 volumes of this lane")
@pytest.mark.parametrize("name", CASES)
def test_every_cut_keeps_an_opener_and_the_rerun_ends_where_the_whole_run_does(name: str, record_property: t.Callable[[str, object], None]) -> None:
    slots, task = CASES[name]
    states = cut_everywhere(luks2_volume(slots), task, header_size=LUKS2_HEADERS, same_slots=name not in SEVERAL_SLOTS_OF_ONE_SECRET)
    record_property("states", states)
    print(f"{name}: {states} states")
