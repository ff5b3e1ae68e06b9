# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations whose crashes are built: every kind of action, and the ways in which several of them follow each
other.
"""

from __future__ import annotations

import typing as t

from ansible_collections.luksmith.luks.tests.crash.judge import Operation
from ansible_collections.luksmith.luks.tests.crash.volumes import SECRETS, added, luks1, luks2, qcow2, with_unbound

A, B, C, D, E = SECRETS
Entry = t.Dict[str, t.Any]


def secret(name: str) -> t.Dict[str, str]:
    return {"label": name, "passphrase": SECRETS[name].decode()}


def present(
    new: str, *, old: t.Optional[str] = None, keyslot: t.Optional[int] = None, iterations: int = 1000, **more: t.Any
) -> Entry:
    entry = {"new_secret": secret(new), "keyslot": keyslot, "pbkdf": {"iterations": iterations}, **more}
    return entry if old is None else {**entry, "old_secret": secret(old)}


def absent(*, old: t.Optional[str] = None, keyslot: t.Optional[int] = None) -> Entry:
    entry = {"state": "absent", "keyslot": keyslot}
    return entry if old is None else {**entry, "old_secret": secret(old)}


def task(*entries: Entry, unlock: t.Sequence[str] = (A,), **options: t.Any) -> t.Dict[str, t.Any]:
    return {"keyslots": list(entries), "unlock": [secret(name) for name in unlock], **options}


Slots = t.Dict[int, str]
FULL: Slots = dict.fromkeys(range(8), A)
SEVERAL = "several slots of one secret"

# name -> the slots before, the task; what both formats can do.
BOTH: t.Dict[str, t.Tuple[Slots, t.Dict[str, t.Any]]] = {
    "add": ({0: A}, task(present(B))),
    "erase": ({0: A, 1: B}, task(absent(old=B))),
    "rekey the only slot": ({0: A}, task(present(B, old=A))),
    "rekey a named slot": ({0: A, 3: C}, task(present(B, keyslot=3, old=C))),
    f"rekey {SEVERAL}": ({1: A, 6: A}, task(present(B, old=A))),
    "rekey without room": ({**FULL, 2: C}, task(present(B, old=C))),
    "erase first without room": ({**FULL, 5: C}, task(present(B), absent(old=C))),
    "higher costs": ({0: A, 1: C}, task(present(A, iterations=1100))),
    "overwrite a stranger": ({0: A, 1: D}, task(present(B, keyslot=1), force=True)),
    "purge": ({0: A, 1: C, 6: D, 7: B}, task(present(A), purge=True)),
    "rotate and purge": ({0: A, 1: C, 2: D}, task(present(B, old=A), purge=True)),
    "swap out two": ({0: A, 1: C}, task(present(B, keyslot=0, old=A), present(D, keyslot=1, old=C))),
    "add, rekey and erase": ({0: A, 1: C, 2: D}, task(present(B), present(E, old=C), absent(old=D))),
    "erase the last one": ({0: A}, task(absent(old=A), allow_lockout=True)),
    "forty passes": ({0: A, 1: B}, task(absent(old=B), wipe="multiple")),
}
LUKS1 = {
    "add to slot 6": ({0: A}, task(present(B, keyslot=6))),
    "add to slot 7": ({0: A}, task(present(B, keyslot=7))),
    "erase slot 6": ({0: A, 6: B}, task(absent(keyslot=6))),
    "erase slot 7": ({0: A, 7: B}, task(absent(keyslot=7))),
    "rekey slot 6": ({6: A}, task(present(B, old=A))),
    "rekey slot 7 through slot 6": (
        {**dict.fromkeys(range(6), D), 7: A},
        task(present(B, keyslot=7, old=A), unlock=()),
    ),
    f"rekey {SEVERAL}, all that there are": (FULL, task(present(B, old=A))),
}
LUKS2 = {
    "add to slot 31": ({0: A}, task(present(B, keyslot=31))),
    "set priority": ({0: A, 1: B}, task(present(B, priority="prefer"))),
    "no record": ({0: A, 1: C}, task(present(B, old=C), record=False)),
}
# Every number taken: a new secret can only go where an old one was, through a free area if there is one.
ALL_NUMBERS: Slots = {**dict.fromkeys(range(32), A), 5: C}
ALL_NUMBERS_TASK = task(present(B, keyslot=5, old=C))
QCOW2 = {
    "add": ({0: A}, task(present(B))),
    "erase": ({0: A, 1: B}, task(absent(old=B))),
    "rekey the only slot": ({0: A}, task(present(B, old=A))),
    "rekey without room": ({number: C if number == 7 else A for number in range(8)}, task(present(B, old=C))),
    "rotate and purge": ({0: A, 1: C, 2: D}, task(present(B, old=A), purge=True)),
}
DETACHED = ("add", "rekey the only slot", "erase first without room", "rotate and purge")


def operation(name: str) -> Operation:
    return OPERATIONS[name]()


def peers_of(name: str) -> t.Tuple[str, ...]:
    """The programs that make its volume and judge it, the rarest first."""
    return ("qemu-img", "qemu-io", "cryptsetup") if name.startswith("qcow2") else ("cryptsetup",)


def _operation(
    make: t.Callable[[Slots], bytes], name: str, case: t.Tuple[Slots, t.Dict[str, t.Any]], *, detached: bool = False
) -> t.Callable[[], Operation]:
    slots, wanted = case
    return lambda: Operation(
        make(slots), wanted, detached=detached, fewer_slots=SEVERAL in name, lockout=bool(wanted.get("allow_lockout"))
    )


def _damaged(offset: int, slots: Slots, wanted: t.Dict[str, t.Any]) -> t.Callable[[], Operation]:
    """One copy of a LUKS2 header overwritten: its first sector is zeros."""

    def make() -> Operation:
        image = luks2(slots)
        return Operation(image[:offset] + bytes(512) + image[offset + 512 :], wanted)

    return make


def _stale(slots: Slots, wanted: t.Dict[str, t.Any]) -> t.Callable[[], Operation]:
    """The secondary copy is that from before cryptsetup added B: what a cut between the copies leaves."""

    def make() -> Operation:
        old = luks2(slots)
        image = added(old, max(slots) + 1, B, slots[0])
        return Operation(image[:16384] + old[16384:32768] + image[32768:], wanted)

    return make


def _unbound(slots: Slots, wanted: t.Dict[str, t.Any], *, areas: int = 8) -> t.Callable[[], Operation]:
    """Keyslot 7 has C, for another key than that of the volume."""
    return lambda: Operation(with_unbound(luks2(slots, areas=areas), 7, C), wanted, unbound=(7,))


OPERATIONS: t.Dict[str, t.Callable[[], Operation]] = {
    **{f"luks1: {name}": _operation(luks1, name, case) for name, case in {**BOTH, **LUKS1}.items()},
    **{f"luks2: {name}": _operation(luks2, name, case) for name, case in {**BOTH, **LUKS2}.items()},
    "luks2: rekey with all 32 numbers taken and an area free": lambda: Operation(
        luks2(ALL_NUMBERS, areas=33), ALL_NUMBERS_TASK
    ),
    "luks2: rekey with all 32 numbers and all areas taken": lambda: Operation(
        luks2(ALL_NUMBERS, areas=32), ALL_NUMBERS_TASK
    ),
    "luks2: rekey a slot that is not bound": _unbound({0: A}, task(present(B, keyslot=7, old=C), unlock=())),
    "luks2: erase first for a slot that is not bound": _unbound(
        {0: A, 1: D}, task(present(B, keyslot=7, old=C), absent(old=D)), areas=3
    ),
    "luks2: heal the primary": _damaged(0, {0: A, 1: C}, task(present(A))),
    "luks2: heal the secondary and erase": _damaged(16384, {0: A, 1: C}, task(absent(old=C))),
    "luks2: heal a stale secondary and rekey": _stale({0: A}, task(present(C, old=A), unlock=(B,))),
    **{f"qcow2: {name}": _operation(qcow2, name, case) for name, case in QCOW2.items()},
    **{f"luks1, detached: {name}": _operation(luks1, name, BOTH[name], detached=True) for name in DETACHED},
    **{f"luks2, detached: {name}": _operation(luks2, name, BOTH[name], detached=True) for name in DETACHED},
}

# What only the long form does: variants of what the short form has in the other format, or without a detached header.
LONG = {
    f"luks1: rekey {SEVERAL}, all that there are",
    "luks2: swap out two",
    "luks2: add, rekey and erase",
    "luks2: overwrite a stranger",
    "luks2: erase first for a slot that is not bound",
}
LONG |= {name for name in OPERATIONS if "all 32 numbers" in name}  # two minutes of processor time
LONG |= {f"{kind}: forty passes" for kind in ("luks1", "luks2")}
LONG |= {f"{kind}, detached: {name}" for kind in ("luks1", "luks2") for name in DETACHED[2:]}
