# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Several stores as one: what is written is in all of them, and given back by each, before a volume comes to depend on
it.

A run that is killed between two of its writes, a copy that came back, and a store that was added leave stores that
differ. No store is believed more than another. What all of them have as the current secret is that; what only some of
them have as current or staged counts as staged, so that the volume has to prove it; what one of them has replaced is
replaced. So nothing is lost, and nothing is decided, but by the volume.
"""

from __future__ import annotations

import copy
import functools
import typing as t

from ....module_utils._luks.errors import shown
from ..entry import FORMAT, BadEntry, Entry, Merged, Secret, held, notes, read, same
from . import CHANGED, UNCHANGED, Store, Stored, StoreError, known

Named = t.Tuple[str, Store]
Found = t.Tuple[str, t.Optional[Entry]]

# In the place of the version of a store that gave no answer.
SILENT = "no answer"
# What is the same of a secret wherever it is.
_PLAIN = ("generation", "created")


class Together:
    """stores: each with its name, in the order in which they are read and written.

    lenient: a store that cannot be read is left out, as long as another one answers; :attr:`silent` says why.
    """

    def __init__(self, stores: t.Sequence[Named], *, lenient: bool = False) -> None:
        self._stores = stores
        self._lenient = lenient
        self.silent: t.Dict[str, str] = {}

    def check(self) -> None:
        for name, store in self._stores:
            if name not in self.silent:
                _ask(name, store.check)

    def known(self, prefix: str) -> t.Optional[t.Dict[str, Stored]]:
        """None if one of them cannot list what it holds."""
        listed: t.List[t.Optional[t.Mapping[str, Stored]]] = []
        for name, store in self._stores:
            found = self._answer(name, functools.partial(known, store, prefix), {})
            if found is None:
                return None
            listed.append(found)
        self._one_answers()
        keys = dict.fromkeys(key for found in listed for key in found or ())
        return {key: self._merged([(found or {}).get(key, Stored()) for found in listed]) for key in keys}

    def read(self, key: str) -> Stored:
        found = [self._answer(name, functools.partial(store.read, key), Stored()) for name, store in self._stores]
        self._one_answers()
        return self._merged(found)

    def write(self, key: str, entry: Entry, version: t.Any) -> Stored:
        versions = version if isinstance(version, tuple) else (0,) * len(self._stores)
        asked = [one for one, seen in zip(self._stores, versions) if seen != SILENT]
        versions = tuple(seen for seen in versions if seen != SILENT)
        works = []
        for (name, store), seen in zip(asked, versions):
            before = _ask(name, functools.partial(store.read, key))
            if (before.version or 0) != (seen or 0):
                raise StoreError(
                    f"{name}: The entry {key} was changed by another run meanwhile. Run the rotation again; it goes on "
                    f"where the other one is. {UNCHANGED}"
                )
            works.append((name, store, _view(name, entry, before.entry), before.version))
        written: t.Dict[str, Stored] = {}
        for name, store, view, seen in works:
            try:
                stored = _ask(name, functools.partial(store.write, key, view, seen))
                if not _alike(view, stored.entry):
                    raise StoreError(
                        f"{name} did not give back what was written. Look at it before the rotation is run again. "
                        f"{CHANGED}"
                    )
            except StoreError as error:
                raise StoreError(f"{error}{_half(name, written)}") from None
            written[name] = stored
        return self._merged([written.get(name, Stored()) for name, _store in self._stores])

    def _answer(self, name: str, call: t.Callable[[], t.Any], nothing: t.Any) -> t.Any:
        if name in self.silent:
            return nothing
        try:
            return _ask(name, call)
        except StoreError as error:
            if not self._lenient:
                raise
            self.silent[name] = str(error)
            return nothing

    def _one_answers(self) -> None:
        if len(self.silent) == len(self._stores):
            raise StoreError(" ".join(self.silent.values()))

    def _merged(self, found: t.Sequence[Stored]) -> Stored:
        pairs = list(zip((name for name, _store in self._stores), found))
        entry = merged([(name, stored.entry) for name, stored in pairs if name not in self.silent])
        return Stored(entry, tuple(SILENT if name in self.silent else stored.version for name, stored in pairs))


def merged(found: t.Sequence[Found]) -> t.Optional[Merged]:
    """One entry of those that the stores returned, None if none of them has one.

    Its ``behind`` names the stores that have another one. A secret in ``next`` that is the current one somewhere says
    ``where``.

    Raises StoreError where they contradict each other in what no volume can decide.
    """
    entries = _checked(found)
    if not entries:
        return None
    secrets = _all_secrets(entries)
    retired = {secret["id"] for entry in entries.values() for secret in entry["older"]}
    retired.update(str(identity) for entry in entries.values() for identity in entry["past"])
    currents = {name: (entry["current"] or {}).get("id") for name, entry in entries.items()}
    agreed = set(currents.values()) if len(entries) == len(found) else {None}
    current = agreed.pop() if len(agreed) == 1 else None
    ahead = [entry[field]["id"] for field in ("next", "current") for entry in entries.values() if entry[field]]
    ahead = [identity for identity in dict.fromkeys(ahead) if identity not in retired and identity != current]
    leading = ahead[0] if ahead else None
    replaced = [secret["id"] for entry in entries.values() for secret in entry["older"]]
    older = [
        identity for identity in dict.fromkeys([*ahead[1:], *replaced, *secrets]) if identity not in (current, leading)
    ]
    past = dict.fromkeys(str(identity) for entry in entries.values() for identity in entry["past"])
    first = next(iter(entries.values()))
    result = Merged(
        format=FORMAT,
        host=first["host"],
        uuid=first["uuid"],
        device=first["device"],
        current=secrets[current] if current else None,
        next=secrets[leading] if leading else None,
        older=[secrets[identity] for identity in older],
        past=[identity for identity in past if identity not in secrets],
    )
    has = [name for name, identity in currents.items() if identity == leading]
    if leading and has:
        others = [name for name, _entry in found if name not in has]
        result["next"]["where"] = f"the current one in {' and '.join(has)}, and not in {' and '.join(others)}"
    behind = [name for name, _entry in found if not _alike(result, entries.get(name))]
    if behind:
        result["behind"] = behind
    return result


def _checked(found: t.Sequence[Found]) -> t.Dict[str, Entry]:
    """Those that hold something, if all of it is of one volume. Raises StoreError."""
    entries: t.Dict[str, Entry] = {}
    place: t.Optional[t.Tuple[str, t.Any, t.Any]] = None
    for name, entry in found:
        if not entry:
            continue
        of = (name, entry.get("host"), entry.get("uuid")) if isinstance(entry, dict) else (name, None, None)
        place = place or of
        if of[1:] != place[1:]:
            raise StoreError(
                f"{place[0]} returned the entry of volume {_shown(place[2])} of host {_shown(place[1])}, and {name} "
                f"that of volume {_shown(of[2])} of host {_shown(of[1])}: entries were exchanged in one of them. Find "
                f"out who writes to it, and bring back the right one. {UNCHANGED}"
            )
        try:
            entries[name] = read(entry, of[1], of[2], str(entry.get("device") or ""))  # type: ignore[arg-type]
        except BadEntry as error:
            raise StoreError(f"{name}: {error}. {UNCHANGED}") from None
    return entries


def _all_secrets(entries: t.Mapping[str, Entry]) -> t.Dict[str, Secret]:
    """By id. Raises StoreError if two stores have something else under one id."""
    secrets: t.Dict[str, Secret] = {}
    owner: t.Dict[str, str] = {}
    for name, entry in entries.items():
        for secret in held(entry):
            identity = secret["id"]
            if identity not in secrets:
                secrets[identity], owner[identity] = copy.deepcopy(secret), name
                continue
            one = secrets[identity]
            shows = "passphrase" in one and "passphrase" in secret
            other = [field for field in _PLAIN if one.get(field) != secret.get(field)]
            if other or (shows and not same(one["passphrase"], secret["passphrase"])):
                raise StoreError(
                    f"secret {shown(identity)} has another {(other or ['passphrase'])[0]} in {owner[identity]} than in "
                    f"{name}: one of them was changed. Find out which one opens the volume, and move the entry of the "
                    f"other store away; the next run brings that store up to date. {UNCHANGED}"
                )
            one.update({**secret, **one})
            given = notes(one) + [note for note in notes(secret) if note not in notes(one)]
            if given:
                one["given"] = given
    for one in secrets.values():
        if one.get("passphrase"):
            one.pop("sealed", None)
    return secrets


def _view(name: str, entry: Entry, before: t.Optional[Entry]) -> Entry:
    """The entry for one store: with the envelopes that it has itself, and none of another one. Raises StoreError."""
    view = {field: copy.deepcopy(value) for field, value in entry.items() if field != "behind"}
    own = {secret["id"]: secret.get("sealed") for secret in held(before)} if before else {}
    for secret in held(view):
        secret.pop("where", None)
        secret.pop("sealed", None)
        if own.get(secret["id"]):
            secret["sealed"] = own[secret["id"]]
        elif not secret.get("passphrase"):
            raise StoreError(
                f"{name}: secret {shown(secret['id'])} is sealed in another store, so that it cannot be brought here. "
                f"Give rotate_escrow_private_key to this run. {UNCHANGED}"
            )
    return view


def _alike(one: Entry, other: t.Optional[Entry]) -> bool:
    """Whether both say the same of the volume; a passphrase is compared where both can be read."""
    if not isinstance(other, dict):
        return False
    try:
        theirs = {secret["id"]: secret for secret in held(other)}
        if _outline(one) != _outline(other) or set(theirs) != {secret["id"] for secret in held(one)}:
            return False
    except (LookupError, TypeError):
        return False
    for secret in held(one):
        found = theirs[secret["id"]]
        if "passphrase" in secret and "passphrase" in found and not same(secret["passphrase"], found["passphrase"]):
            return False
        if notes(secret) != notes(found) or not (found.get("passphrase") or found.get("sealed")):
            return False
    return True


def _outline(entry: Entry) -> t.Any:
    ids = [(entry[field] or {}).get("id") for field in ("current", "next")]
    return ids, {secret["id"] for secret in entry["older"]}, set(map(str, entry.get("past", ())))


def _ask(name: str, call: t.Callable[[], t.Any]) -> t.Any:
    """Raises StoreError with the name of the store."""
    try:
        return call()
    except StoreError as error:
        raise StoreError(f"{name}: {error}") from None


def _half(name: str, written: t.Mapping[str, Stored]) -> str:
    if not written:
        return ""
    return (
        f" {' and '.join(written)} has been written already, and {name} has not. The next run of this playbook brings "
        "them together."
    )


def _shown(text: t.Any) -> str:
    return shown(repr(text))
