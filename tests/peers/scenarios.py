# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same scenarios for luks_device and for keyslots, step by step.

The first scenarios are those of the integration tests of luks_device, by the names of its files. In the others it is
known to do something unwanted. The tests measure what it does then, so that the table in docs/peers.md stays true when
it changes.
"""

from __future__ import annotations

import base64
import dataclasses
import typing as t

from ansible_collections.luksmith.luks.tests.peers.pair import SECRETS, Pair

Arguments = t.Dict[str, t.Any]

CHANGED, UNCHANGED, REFUSED = "changed", "unchanged", "refused"
SAME = ""

THEIR_COST = {"iteration_count": 1000, "algorithm": "pbkdf2"}
OUR_COST = {"type": "pbkdf2", "iterations": 1000}


@dataclasses.dataclass(frozen=True)
class Step:
    """``theirs`` and ``ours`` are arguments; strings that begin with @ stand for the keyfile, with = for the base64 of
    a secret.
    """

    theirs: Arguments
    ours: Arguments
    outcome: str
    our_outcome: str = SAME
    check: bool = False


@dataclasses.dataclass(frozen=True)
class Scenario:
    """``differs`` says why the final states are not the same, in a sentence for docs/peers.md; empty: they are."""

    source: str
    task: str
    holds: t.Mapping[int, str]
    steps: t.Sequence[Step]
    differs: str = ""
    formats: t.Sequence[str] = ("luks1", "luks2")
    prepare: t.Callable[[Pair], None] = lambda pair: None


def told(arguments: t.Any, pair: Pair) -> t.Any:
    """The arguments with the secrets filled in."""
    if isinstance(arguments, dict):
        return {name: told(value, pair) for name, value in arguments.items()}
    if isinstance(arguments, list):
        return [told(value, pair) for value in arguments]
    if isinstance(arguments, str) and arguments[:1] == "@":
        return pair.keyfile(arguments[1:])
    if isinstance(arguments, str) and arguments[:1] == "=":
        return base64.b64encode(SECRETS[arguments[1:]]).decode()
    return arguments


def file(name: str) -> Arguments:
    return {"label": name, "keyfile": "@" + name}


def text(name: str) -> Arguments:
    return {"label": name, "passphrase": SECRETS[name].decode()}


def words(name: str) -> str:
    return SECRETS[name].decode()


def ours(*entries: Arguments, unlock: t.Sequence[Arguments] = (), **options: t.Any) -> Arguments:
    return {
        "keyslots": [{"pbkdf": OUR_COST, **entry} if "new_secret" in entry else entry for entry in entries],
        "unlock": list(unlock),
        **options,
    }


def absent(name: str) -> Arguments:
    return {"state": "absent", "old_secret": file(name)}


def add_file(slot: t.Optional[int], name: str, by: str) -> t.Tuple[Arguments, Arguments]:
    place = {} if slot is None else {"new_keyslot": slot}
    our_place = {} if slot is None else {"keyslot": slot}
    theirs = {"keyfile": "@" + by, "new_keyfile": "@" + name, "pbkdf": THEIR_COST, **place}
    return theirs, ours({"new_secret": file(name), **our_place}, unlock=[file(by)])


def _unbound_slot(pair: Pair) -> None:
    pair.make(
        "luksAddKey",
        "--unbound",
        "--key-size",
        "256",
        "--pbkdf",
        "pbkdf2",
        "--pbkdf-force-iterations",
        "1000",
        "--key-slot",
        "5",
        str(pair.ours),
        pair.keyfile("three"),
    )


def _ignored_slot(pair: Pair) -> None:
    pair.make("config", "--priority", "ignore", "--key-slot", "1", str(pair.ours))


def _full_header(pair: Pair) -> None:
    """Every keyslot of LUKS1 in use; the strangers in 1 to 7 open with the third secret."""
    for slot in range(1, 8):
        pair.make(
            "luksAddKey",
            "--pbkdf-force-iterations",
            "1000",
            "--key-slot",
            str(slot),
            "--key-file",
            pair.keyfile("one"),
            str(pair.ours),
            pair.keyfile("three"),
        )


def _damaged_magic(pair: Pair) -> None:
    with open(pair.ours, "r+b") as volume:
        volume.write(b"\0")
        volume.seek(0x4000)
        volume.write(b"\0")


SCENARIOS: t.Sequence[Scenario] = (
    Scenario(
        "key-management",
        "add a second keyfile, remove the first one, then the last one",
        {0: "one"},
        (
            Step(*add_file(None, "two", "one"), CHANGED),
            Step(*add_file(None, "two", "one"), UNCHANGED),
            Step({"keyfile": "@one", "remove_keyfile": "@one"}, ours(absent("one"), unlock=[file("two")]), CHANGED),
            Step({"keyfile": "@one", "remove_keyfile": "@one"}, ours(absent("one")), UNCHANGED),
            Step({"keyfile": "@two", "remove_keyfile": "@two"}, ours(absent("two")), REFUSED),
            Step(
                {"keyfile": "@two", "remove_keyfile": "@two", "force_remove_last_key": True},
                ours(absent("two"), allow_lockout=True),
                CHANGED,
            ),
        ),
    ),
    Scenario(
        "passphrase",
        "add and remove passphrases and keyfiles, unlocked by each other",
        {0: "one"},
        (
            Step(
                {
                    "passphrase": words("one"),
                    "new_passphrase": words("two"),
                    "new_keyfile": "@three",
                    "pbkdf": THEIR_COST,
                },
                ours({"new_secret": {**text("two"), "keyfile": "@three"}}, unlock=[text("one")]),
                REFUSED,
            ),
            Step(
                {"passphrase": words("one"), "new_passphrase": words("two"), "pbkdf": THEIR_COST},
                ours({"new_secret": text("two")}, unlock=[text("one")]),
                CHANGED,
            ),
            Step(
                {"passphrase": words("one"), "new_passphrase": words("two")},
                ours({"new_secret": text("two")}, unlock=[text("one")]),
                UNCHANGED,
            ),
            Step(
                {"passphrase": words("one"), "new_keyfile": "@binary", "pbkdf": THEIR_COST},
                ours({"new_secret": file("binary")}, unlock=[text("one")]),
                CHANGED,
            ),
            Step(
                {"remove_keyfile": "@binary", "remove_passphrase": words("one")},
                ours({"state": "absent", "old_secret": {**text("one"), "keyfile": "@binary"}}),
                REFUSED,
            ),
            Step({"remove_passphrase": words("one")}, ours(absent("one"), unlock=[file("binary")]), CHANGED),
            Step({"remove_passphrase": words("one")}, ours(absent("one"), unlock=[file("binary")]), UNCHANGED),
            Step(
                {"keyfile": "@binary", "new_passphrase": words("three"), "pbkdf": THEIR_COST},
                ours({"new_secret": text("three")}, unlock=[file("binary")]),
                CHANGED,
            ),
        ),
    ),
    Scenario(
        "keyfile binary",
        "add and remove a binary secret, as base64",
        {0: "binary"},
        (
            Step(
                {
                    "passphrase": "=binary",
                    "passphrase_encoding": "base64",
                    "new_passphrase": "=one",
                    "pbkdf": THEIR_COST,
                },
                ours({"new_secret": text("one")}, unlock=[{"label": "binary", "passphrase_base64": "=binary"}]),
                CHANGED,
            ),
            Step(
                {"remove_passphrase": "=binary", "passphrase_encoding": "base64"},
                ours(
                    {"state": "absent", "old_secret": {"label": "binary", "passphrase_base64": "=binary"}},
                    unlock=[text("one")],
                ),
                CHANGED,
            ),
        ),
    ),
    Scenario(
        "keyslot-create-destroy",
        "add and remove keys in named keyslots",
        {4: "one"},
        (
            Step(*add_file(2, "two", "one"), CHANGED, check=True),
            Step(*add_file(2, "two", "one"), CHANGED),
            Step(*add_file(2, "two", "one"), UNCHANGED),
            Step(*add_file(2, "two", "one"), UNCHANGED, check=True),
            Step({"remove_keyslot": 4}, ours({"state": "absent", "keyslot": 4}), REFUSED),
            Step(
                {"remove_keyslot": 4, "keyfile": "@one"},
                ours({"state": "absent", "keyslot": 4}, unlock=[file("one")]),
                REFUSED,
            ),
            Step(
                {"remove_keyslot": 4, "keyfile": "@two"},
                ours({"state": "absent", "keyslot": 4}, unlock=[file("two")]),
                CHANGED,
                check=True,
            ),
            Step(
                {"remove_keyslot": 4, "keyfile": "@two"},
                ours({"state": "absent", "keyslot": 4}, unlock=[file("two")]),
                CHANGED,
            ),
            Step(
                {"remove_keyslot": 4, "keyfile": "@two"},
                ours({"state": "absent", "keyslot": 4}, unlock=[file("two")]),
                UNCHANGED,
            ),
            Step(
                {"remove_keyslot": 4, "keyfile": "@two"},
                ours({"state": "absent", "keyslot": 4}, unlock=[file("two")]),
                UNCHANGED,
                check=True,
            ),
            Step(*add_file(0, "one", "two"), CHANGED),
            Step(
                {"remove_keyslot": 0, "keyfile": "@two"},
                ours({"state": "absent", "keyslot": 0}, unlock=[file("two")]),
                CHANGED,
            ),
        ),
    ),
    Scenario(
        "keyslot-options",
        "a keyslot that the format does not have",
        {0: "one"},
        (Step(*add_file(8, "two", "one"), REFUSED),),
        formats=("luks1",),
    ),
    Scenario(
        "keyslot-options",
        "keyslot 32 of LUKS2, then keyslot 10",
        {0: "one"},
        (Step(*add_file(32, "two", "one"), REFUSED), Step(*add_file(10, "two", "one"), CHANGED)),
        formats=("luks2",),
    ),
    Scenario(
        "keyslot-duplicate",
        "add a secret that opens keyslot 0 to keyslot 1",
        {0: "one"},
        (
            Step(*add_file(1, "one", "one"), REFUSED, our_outcome=CHANGED),
            Step(*add_file(1, "one", "one"), REFUSED, our_outcome=UNCHANGED),
        ),
        differs=(
            "`luks_device` refuses. With `keyslot`, ours adds the secret to that keyslot, so that a secret can be "
            "moved; without, it changes nothing."
        ),
    ),
    Scenario(
        "device-check",
        "a path that does not exist",
        {0: "one"},
        (
            Step(
                {"device": "/dev/no-such-device", **add_file(None, "two", "one")[0]},
                {"device": "/dev/no-such-device", **add_file(None, "two", "one")[1]},
                REFUSED,
            ),
            Step(
                {"device": "/dev/no-such-device", **add_file(None, "two", "one")[0]},
                {"device": "/dev/no-such-device", **add_file(None, "two", "one")[1]},
                REFUSED,
                check=True,
            ),
        ),
    ),
    Scenario(
        "device-check",
        "a path that is a folder",
        {0: "one"},
        (
            Step(
                {"device": "/tmp/", **add_file(None, "two", "one")[0]},
                {"device": "/tmp/", **add_file(None, "two", "one")[1]},
                REFUSED,
            ),
            Step(
                {"device": "/tmp/", **add_file(None, "two", "one")[0]},
                {"device": "/tmp/", **add_file(None, "two", "one")[1]},
                REFUSED,
                check=True,
            ),
        ),
    ),
    Scenario(
        "measured: wrong passphrase",
        "add a secret with a wrong unlocking secret; first in check mode",
        {0: "one"},
        (
            Step(*add_file(None, "two", "three"), CHANGED, our_outcome=REFUSED, check=True),
            Step(*add_file(None, "two", "three"), REFUSED),
        ),
    ),
    Scenario(
        "measured: no unlocking secret",
        "add a secret without an unlocking secret",
        {0: "one"},
        (Step({"new_keyfile": "@two"}, ours({"new_secret": file("two")}), UNCHANGED, our_outcome=REFUSED),),
    ),
    Scenario(
        "measured: removed by number with a wrong secret",
        "remove keyslot 1 with a wrong secret",
        {0: "one", 1: "two"},
        (
            Step(
                {"keyfile": "@three", "remove_keyslot": 1},
                ours({"state": "absent", "keyslot": 1}, unlock=[file("three")]),
                UNCHANGED,
                our_outcome=REFUSED,
            ),
        ),
    ),
    Scenario(
        "measured: two keyslots of one secret",
        "remove a secret that opens two keyslots",
        {0: "one", 1: "one", 2: "two"},
        (Step({"keyfile": "@two", "remove_keyfile": "@one"}, ours(absent("one"), unlock=[file("two")]), CHANGED),),
        differs=(
            "`luks_device` removes one of the two and reports success; the secret still opens the volume. Ours erases "
            "both."
        ),
    ),
    Scenario(
        "measured: last keyslot that opens the data",
        "remove a secret; the only other keyslot is unbound",
        {0: "one"},
        (Step({"keyfile": "@one", "remove_keyfile": "@one"}, ours(absent("one")), CHANGED, our_outcome=REFUSED),),
        differs=(
            "`luks_device` counts keyslots, and the volume is lost. Ours needs proof that another keyslot opens the "
            "data."
        ),
        formats=("luks2",),
        prepare=_unbound_slot,
    ),
    Scenario(
        "measured: keyslot with priority ignore",
        "remove a secret whose keyslot has the priority ignore",
        {0: "one", 1: "two"},
        (
            Step(
                {"keyfile": "@one", "remove_keyfile": "@two"},
                ours(absent("two"), unlock=[file("one")]),
                UNCHANGED,
                our_outcome=CHANGED,
            ),
        ),
        differs=(
            "`luks_device` does not see the keyslot and reports `ok`; the secret still opens it by number. Ours "
            "erases it."
        ),
        formats=("luks2",),
        prepare=_ignored_slot,
    ),
    Scenario(
        "measured: rotation on a full header",
        "replace a secret when every keyslot is in use",
        {0: "one"},
        (
            Step(
                {"keyfile": "@one", "new_keyfile": "@two", "remove_keyfile": "@one", "pbkdf": THEIR_COST},
                ours({"old_secret": file("one"), "new_secret": file("two")}, unlock=[file("three")]),
                CHANGED,
                check=True,
            ),
            Step(
                {"keyfile": "@one", "new_keyfile": "@two", "remove_keyfile": "@one", "pbkdf": THEIR_COST},
                ours({"old_secret": file("one"), "new_secret": file("two")}, unlock=[file("three")]),
                REFUSED,
                our_outcome=CHANGED,
            ),
        ),
        differs=(
            "`luks_device` reports `changed` in check mode, and fails. Ours makes room if another proven secret "
            "stays, and replaces it."
        ),
        formats=("luks1",),
        prepare=_full_header,
    ),
    Scenario(
        "measured: damaged magic",
        "replace a secret; the first byte of each header copy is damaged",
        {0: "one"},
        (
            Step(
                {"keyfile": "@one", "new_keyfile": "@two", "remove_keyfile": "@one", "pbkdf": THEIR_COST},
                ours({"old_secret": file("one"), "new_secret": file("two")}),
                CHANGED,
                our_outcome=REFUSED,
            ),
        ),
        differs=(
            "`luks_device` formats the volume, and the data is lost. Ours refuses, and the header can still be "
            "repaired."
        ),
        prepare=_damaged_magic,
    ),
)
