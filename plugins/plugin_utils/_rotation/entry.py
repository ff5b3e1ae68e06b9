# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What a store holds for one volume, and the three changes that a rotation makes to it.

An entry is a JSON-able dict::

    {"format": 1, "host": "web-01", "uuid": "4b54…", "device": "/dev/vda3",
     "current": SECRET or None,    # opens the volume, and is the only one of these that shall
     "next":    SECRET or None,    # staged: in the store, on the volume perhaps
     "older":   [SECRET, …],       # replaced, newest first; must open nothing, and would open an old copy of the header
     "past":    [ID, …]}           # of secrets that are not kept any more; absent in entries of release 1.0.0

and a SECRET is ``{"id": 8 hexadecimal digits, "passphrase": text, "generation": text, "created":
"2026-11-24T01:04:41Z"}``. One that was given out has notes besides, oldest first, and the next rotation replaces it:
``"given": [{"to": "alice", "at": "2026-11-29T01:04:41Z", "why": "no boot"}, …]``. A store that seals what it is given
keeps the passphrase as something else ("sealed") and may be unable to give it back.

No function changes its argument. What they raise is BadEntry: a sentence without a secret.
"""

from __future__ import annotations

import copy
import hmac
import re
import typing as t
import unicodedata

from ...module_utils._luks.errors import shown

Secret = t.Dict[str, t.Any]
Entry = t.Dict[str, t.Any]

FORMAT = 1
# How many ids of forgotten secrets an entry remembers.
_MOST_PAST = 500
_LONGEST = 200  # characters of a part of a note
# What the label of a rotation's secret begins with, on the volume.
LABEL = "rotation "

# A header is not to be trusted, and the uuid names a file or a path in a store.
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


_APART = "its key or path must tell the volumes apart"
_FOLDED = (
    "where it is kept, both are one name. Give one of the hosts another name in the inventory, which differs in more "
    "than capital letters, or keep the store where these count"
)


class Merged(t.Dict[str, t.Any]):
    """An entry made of those of several stores, which differ in what it has besides: stores/together.py."""


class BadEntry(Exception):
    """The store holds something else than an entry of this volume, or the entry does not allow the change."""


def is_uuid(text: t.Any) -> bool:
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def _folded(name: t.Any) -> str:
    """As file systems fold names that do not tell capital letters apart."""
    return unicodedata.normalize("NFC", str(name)).casefold()


def check_uuid(uuid: t.Any) -> str:
    if not is_uuid(uuid):
        raise BadEntry(
            "the uuid in the header is none, so that the store could not tell this volume from others; give the "
            "volume one (cryptsetup luksUUID) and try again"
        )
    return str(uuid).lower()


def same(one: t.Any, other: t.Any) -> bool:
    """Whether two passphrases are the same text."""
    return (
        isinstance(one, str)
        and isinstance(other, str)
        and hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))
    )


def blank(host: str, uuid: str, device: str) -> Entry:
    return {
        "format": FORMAT,
        "host": host,
        "uuid": check_uuid(uuid),
        "device": device,
        "current": None,
        "next": None,
        "older": [],
        "past": [],
    }


def read(found: t.Any, host: str, uuid: str, device: str) -> Entry:
    """The entry that a store returned for this volume, or a blank one if it has none."""
    if not found:
        return blank(host, uuid, device)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BadEntry(
            f"the store holds something for this volume that is no entry of format {FORMAT}; look at it, and move it "
            "away if it is not needed"
        )
    for name, expected in (("host", host), ("uuid", check_uuid(uuid))):
        if found.get(name) != expected:
            raise BadEntry(
                f"the store returned an entry for {name} {found.get(name)!r}, but {expected!r} was asked for; "
                + (_FOLDED if name == "host" and _folded(found.get(name)) == _folded(expected) else _APART)
            )
    entry = {**blank(host, uuid, device), **copy.deepcopy(found), "device": device}
    for name in ("older", "past"):
        if not isinstance(entry[name], list):
            raise BadEntry(f"the entry in the store has a field {name!r} that is no list")
    for secret in held(entry):
        if (
            not isinstance(secret, dict)
            or not isinstance(secret.get("id"), str)
            or not (secret.get("passphrase") or secret.get("sealed"))
        ):
            raise BadEntry(
                "the entry in the store holds a secret without an id or without a passphrase; look at it before "
                "anything is rotated"
            )
    if not isinstance(found, Merged):
        entry.pop("behind", None)
        for secret in held(entry):
            secret.pop("where", None)
    return entry


def held(entry: Entry) -> t.List[Secret]:
    """All secrets of the entry, the staged one first, then from new to old."""
    return [secret for secret in (entry["next"], entry["current"], *entry["older"]) if secret]


def notes(secret: t.Optional[Secret]) -> t.List[t.Dict[str, t.Any]]:
    """To whom a secret was given, oldest first. A store may hold anything there."""
    given = (secret or {}).get("given")
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def told(note: t.Mapping[str, t.Any]) -> str:
    """For people: what the note says, which whoever can write to the store may have written."""
    to, at, why = (shown(str(note.get(name) or "?"))[:_LONGEST] for name in ("to", "at", "why"))
    return f"given to {to} at {at}" + (f" ({why})" if note.get("why") else "")


def passphrases(entry: Entry) -> t.List[str]:
    """All that must not be shown."""
    return [str(secret["passphrase"]) for secret in held(entry) if secret.get("passphrase")]


def staged(entry: Entry, secret: Secret) -> Entry:
    """The entry with ``secret`` staged. A staged secret is never replaced: it may be on the volume already."""
    if entry["next"] is not None:
        raise BadEntry(
            f"secret {entry['next']['id']} is staged already; it must be taken up before another one is made"
        )
    if not secret["passphrase"]:
        raise BadEntry(
            "the given passphrase is empty, which would protect nothing; give one, or none at all to have one made"
        )
    return {**copy.deepcopy(entry), "next": dict(secret)}


def promoted(entry: Entry, identity: str) -> Entry:
    """The entry with the staged secret ``identity`` as the current one; unchanged if it is that already."""
    changed = copy.deepcopy(entry)
    if changed["current"] is not None and changed["current"]["id"] == identity:
        return changed
    if changed["next"] is None or changed["next"]["id"] != identity:
        raise BadEntry(
            f"secret {identity} is not staged any more; somebody else works on this volume. Run the rotation again"
        )
    if changed["current"] is not None:
        changed["older"].insert(0, changed["current"])
    changed["current"], changed["next"] = changed["next"], None
    return changed


def forgotten(entry: Entry, keep: int) -> Entry:
    """The entry with at most ``keep`` older secrets.

    Only for a volume on which all of them were proven to open nothing.
    """
    changed = copy.deepcopy(entry)
    gone = changed["older"][max(keep, 0) :]
    changed["past"] = [*(secret["id"] for secret in gone), *changed.get("past", [])][:_MOST_PAST]
    del changed["older"][max(keep, 0) :]
    return changed


def discarded(entry: Entry) -> Entry:
    """The entry without its staged secret, which the volume does not prove.

    It stays among those that must open nothing: another run that staged it may be about to bring it to the volume.
    """
    changed = copy.deepcopy(entry)
    changed["older"].insert(0, {**changed["next"], "discarded": True})
    changed["next"] = None
    return changed


def named(record: t.Sequence[t.Mapping[str, t.Any]]) -> t.Dict[int, str]:
    """Keyslot -> label, by what the volume's own record says of keyslots that are as they were recorded."""
    return {line["keyslot"]: str(line["label"]) for line in record if line.get("current")}


def strangers(entry: Entry, record: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    """The ids of secrets that the volume's record names and that the entry has never held."""
    known = {secret["id"] for secret in held(entry)} | {str(identity) for identity in entry["past"]}
    return sorted(_recorded(record) - known)


def _recorded(record: t.Sequence[t.Mapping[str, t.Any]]) -> t.Set[str]:
    """The ids of all secrets of rotations that the volume's record names."""
    return {label[len(LABEL) :] for label in named(record).values() if label.startswith(LABEL)}


def check_not_older(entry: Entry, record: t.Sequence[t.Mapping[str, t.Any]], begin: bool) -> None:
    """Refuse an entry that is older than the volume: the record names a secret that the entry has never heard of.

    Raises BadEntry.
    """
    strange = strangers(entry, record)
    if not strange:
        return
    names = ", ".join(map(ascii, strange))
    if held(entry):
        raise BadEntry(
            f"the store is older than the volume: the record in the header names secret {names}, and the entry in "
            "the store has never held it. A copy from before came back (a restore, a checkout, an editor that was "
            "open), entries were exchanged, or another host has this volume, too. Bring the newest copy back (a file "
            "keeps earlier ones beside it, .previous-1 the newest), or leave the volume to one host"
        )
    if not begin:
        raise BadEntry(
            f"the record in the header names secret {names} of an earlier rotation, and the store holds nothing for "
            "this volume. Is this the store that was used then, is it mounted, and does no other host have this "
            "volume? To begin anew with secrets of rotate_replaces or rotate_keeps, set rotate_store_create: true"
        )


def told_of_forgotten(entry: Entry, record: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """A sentence on the secrets that the volume's record names and that the entry has forgotten, or ""."""
    recorded = _recorded(record)
    gone = [identity for identity in map(str, entry["past"]) if identity in recorded]
    if not gone:
        return ""
    return (
        f"The record in the header names secret {', '.join(map(ascii, gone))}, which the store has forgotten since "
        "(rotate_keep_older): the volume was restored from an older backup. An earlier copy of the store may have the "
        "secret (a file keeps some beside it, .previous-1 the newest): give it in rotate_replaces"
    )


def proven(secret: Secret, opened: t.Sequence[int], record: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Whether the volume proves that a rotation brought ``secret`` there: it opens a keyslot that no other label
    claims.
    """
    labels = named(record)
    return any(labels.get(keyslot, LABEL + secret["id"]) == LABEL + secret["id"] for keyslot in opened)


def check_given_back(entry: Entry, field: str, secret: Secret) -> None:
    """Raises BadEntry unless ``entry``, as the store returned it, has ``secret`` in ``field``: before the volume comes
    to depend on it, the store must give back what it was given.
    """
    if not holds(entry, field, secret):
        raise BadEntry(
            f"the store did not give back secret {secret['id']} as it was written. Look at the store before the "
            "rotation is run again"
        )


def holds(entry: Entry, field: str, secret: Secret) -> bool:
    """Whether the store gave back what was written: the same secret in ``field`` (current or next), to the byte."""
    found = entry.get(field)
    if not found or found["id"] != secret["id"]:
        return False
    # What a store has sealed only the holder of the private key can compare; the store itself compares the envelope.
    return same(found["passphrase"], secret.get("passphrase")) if "passphrase" in found else bool(found.get("sealed"))
