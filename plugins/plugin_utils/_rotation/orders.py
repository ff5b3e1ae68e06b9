# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What the host is told to do with a volume, from what is due and from the secrets that are known. Pure.

An order is a dictionary with ``unlock``, ``present`` and ``absent`` as the module ``keyslots`` takes them, with
secrets; ``label`` of the secret that is to open the volume, and ``try``: whether that must be tried first.
"""

from __future__ import annotations

import typing as t

from ...module_utils._luks.header.foreign_tokens import RECOVERY, is_recovery_key
from .decision import MAKE, REST, TAKE_UP, Decision
from .entry import LABEL, BadEntry, Entry, Secret, held, named, same

Result = t.Dict[str, t.Any]


def orders(entry: Entry, decision: Decision, new: Secret, arguments: t.Mapping[str, t.Any]) -> Result:
    """The order. ``arguments``: keeps, replaces, pbkdf, iter_time, record, luks, opened and made, as the module
    ``rotation_entry`` documents them.

    Raises BadEntry.
    """
    _refuse_sealed(entry, decision)
    if "passphrase" not in new:
        return _orders_without(entry, decision, arguments)
    present = _option(new)
    # Where the record names the keyslot of the current secret, the module refuses any other secret there.
    places = [keyslot for keyslot, label in named(arguments["record"]).items() if label == present["label"]]
    pinned = {"keyslot": min(places)} if decision.phase == REST and places and arguments["opened"] is None else {}
    gone = _gone(entry, new, arguments)
    for option in gone:
        if decision.phase != REST and same(option.get("passphrase"), present["passphrase"]):
            raise BadEntry(
                f"the new passphrase is the same as {option.get('label', 'one')!r}, which this rotation removes; "
                "choose another one"
            )
    gone = [option for option in gone if not same(option.get("passphrase"), present["passphrase"])]
    return {
        "phase": decision.phase,
        "reason": decision.reason,
        "then": decision.then,
        "label": present["label"],
        "unlock": [*arguments["keeps"], *gone],
        "present": [
            {
                "new_secret": {**present, **_token(new, arguments["luks"])},
                **pinned,
                **{name: arguments[name] for name in ("pbkdf", "iter_time") if arguments[name]},
            }
        ],
        "try": arguments["opened"] is None
        and (
            decision.phase == TAKE_UP or (decision.phase == REST and not pinned and new["id"] not in arguments["made"])
        ),
        "absent": [{"state": "absent", "old_secret": option} for option in gone],
    }


def _gone(entry: Entry, new: Secret, arguments: t.Mapping[str, t.Any]) -> t.List[Result]:
    """All secrets that must open nothing: the others of the entry, then ``replaces``."""
    kept = [option.get("passphrase") for option in arguments["keeps"]]
    known = {
        secret["id"]: _option(secret)
        for secret in held(entry)
        # What was put into the store must not name a secret for the erase that is to stay.
        if "passphrase" in secret and not any(same(secret["passphrase"], one) for one in kept)
    }
    return [option for identity, option in known.items() if identity != new["id"]] + list(arguments["replaces"])


def _refuse_sealed(entry: Entry, decision: Decision) -> None:
    """A new secret needs the old one to get in and to be erased by; a staged one can only be taken up by who can read
    it.
    """
    needed = (entry["next"],) if decision.phase == TAKE_UP else (entry["current"],) if decision.phase == MAKE else ()
    for secret in needed:
        if secret is not None and "passphrase" not in secret:
            raise BadEntry(
                f"{decision.reason}, but the store cannot open secret {secret['id']}, which is sealed; give it the "
                "private key for this run"
            )


def _orders_without(entry: Entry, decision: Decision, arguments: t.Mapping[str, t.Any]) -> Result:
    """At rest, and the current secret is sealed: nothing can be proven about it, and what the task itself knows can
    still be erased.
    """
    current = entry["current"]["id"]
    if arguments["luks"] == "luks2" and LABEL + current not in named(arguments["record"]).values():
        raise BadEntry(
            f"secret {current} is sealed, and the record in the header does not name it, so that it may not be on "
            "the volume; give the store the private key for this run"
        )
    return {
        "phase": decision.phase,
        "reason": f"{decision.reason}; it is sealed, so that it was not tried",
        "then": decision.then,
        "label": "",
        "try": False,
        "unlock": list(arguments["keeps"]),
        "present": [],
        "absent": [{"state": "absent", "old_secret": option} for option in arguments["replaces"]],
    }


def _token(secret: Secret, format: str) -> t.Dict[str, str]:
    """A recovery key of systemd is marked as one. format: of the volume, "" where it was not seen yet."""
    drawn = format != "luks1" and is_recovery_key(bytearray(secret["passphrase"], "utf-8", "surrogateescape"))
    return {"token": RECOVERY} if drawn else {}


def _option(secret: Secret) -> t.Dict[str, str]:
    return {"label": LABEL + secret["id"], "passphrase": secret["passphrase"]}
