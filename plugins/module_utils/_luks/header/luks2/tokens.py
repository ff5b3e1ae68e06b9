# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The two LUKS2 tokens of this collection: the record and the intent. docs/luks2.md specifies them.

Both have an empty ``keyslots`` array on purpose: if a token refers to a keyslot, systemd-cryptenroll takes the keyslot
for something other than a password and deletes the token with it. Neither contains anything derived from a secret.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import MalformedHeader, Refused
from .. import model
from . import members
from .metadata import Tree
from .obstacles import INTENT_TYPE, SLOT_COUNT, TOKEN_COUNT

RECORD_TYPE = "luksmith.luks-record"
VERSION = 1

# The other kinds of the model are for LUKS1: in LUKS2 a keyslot leaves the header before its area is wiped, and a rekey
# gives it another area.
INTENT_KINDS = (
    model.IntentKind.REPLACE_ERASE,
    model.IntentKind.REPLACE_FILL,
    model.IntentKind.WIPE,
    model.IntentKind.COPIED,
)

# Each of 32 keyslots can leave one area behind, and 32 newer ones can split these.
_MOST_EXTENTS = 64
_HEX = re.compile(r"[0-9a-f]*")
_COPY = re.compile(r"[0-9a-f]{32}")
# Useless without their keyslot: systemd-cryptenroll --wipe-slot and 'clevis luks unbind' remove these tokens.
_BOUND_TO_SLOT = re.compile(r"systemd-.*|clevis")


@dataclasses.dataclass(frozen=True)
class JournalEntry:
    """``intent``: what to finish; ``problem``: why it cannot be used (then intent is None); ``notes``: warnings."""

    intent: t.Optional[model.Intent] = None
    problem: str = ""
    notes: t.Tuple[str, ...] = ()


def tokens(tree: Tree) -> t.Tuple[model.Token, ...]:
    """All tokens of validated metadata, by number."""
    found = []
    for number in sorted(int(name) for name in tree["tokens"]):
        token = tree["tokens"][str(number)]
        slots = tuple(int(name) for name in token["keyslots"])
        found.append(
            model.Token(
                number=number, type=token["type"], keyslots=slots, ours=token["type"] in (RECORD_TYPE, INTENT_TYPE)
            )
        )
    return tuple(found)


def read_intent(tree: Tree, window: model.Extent, areas: t.Mapping[int, model.Extent]) -> JournalEntry:
    """The journal entry. It is not used if an extent lies outside of ``window``, the keyslots area.

    Parts of an extent where a keyslot of ``areas`` lies now are left out: another program has reused the space since.
    Only a keyslot that is itself being replaced may lie in its own extent.
    """
    names = [name for name, token in tree["tokens"].items() if token["type"] == INTENT_TYPE]
    if not names:
        return JournalEntry()
    if len(names) > 1:
        return JournalEntry(problem=f"there are several of them (tokens {', '.join(names)})")
    try:
        intent = _decode_intent(tree["tokens"][names[0]], f"token {names[0]}")
    except MalformedHeader as error:
        return JournalEntry(problem=error.found)
    ordered = sorted(intent.extents, key=lambda extent: extent.offset)
    if len(intent.extents) > _MOST_EXTENTS:
        return JournalEntry(
            problem=f"token {names[0]} names {len(intent.extents)} areas, more than any run has to wipe"
        )
    if any(one.end > other.offset for one, other in zip(ordered, ordered[1:])):
        return JournalEntry(problem=f"token {names[0]} names the same bytes twice")
    if any(extent.offset < window.offset or extent.end > window.end or not extent.size for extent in intent.extents):
        return JournalEntry(problem=f"token {names[0]} names bytes outside of the keyslots area")
    own = intent.keyslot if intent.kind != model.IntentKind.WIPE else None
    live = [area for number, area in areas.items() if number != own]
    left = tuple(part for extent in intent.extents for part in _without(extent, live))
    notes = (
        ()
        if left == intent.extents
        else ("A part of the area that an interrupted run had to wipe belongs to a keyslot now; it is left as it is.",)
    )
    return JournalEntry(intent=intent._replace(extents=left), notes=notes)


def read_record(tree: Tree) -> t.Tuple[t.Dict[int, model.RecordEntry], t.List[str]]:
    """The record and warnings. A record that cannot be read counts as none: it is a hint, never a proof."""
    names = [name for name, token in tree["tokens"].items() if token["type"] == RECORD_TYPE]
    if not names:
        return {}, []
    notes = (
        [f"There are several records of this collection (tokens {', '.join(names)}); the first one is used."]
        if len(names) > 1
        else []
    )
    try:
        return _decode_record(tree["tokens"][names[0]], f"token {names[0]}"), notes
    except MalformedHeader as error:
        return {}, [*notes, f"The record of this collection is ignored: {error.found}."]


def store_intent(tree: Tree, intent: t.Optional[model.Intent]) -> None:
    """Store the intent in ``tree`` in place of the present one; None removes it.

    Raises Refused if no token number is free, or if the intent is only for LUKS1.
    """
    if intent is None:
        _remove(tree, INTENT_TYPE)
        return
    if intent.kind not in INTENT_KINDS:
        raise Refused(
            f"LUKS2 cannot store an intent of kind {str(intent.kind)!r}",
            why="it is for the fixed areas of LUKS1",
        )
    body: Tree = {
        "type": INTENT_TYPE,
        "keyslots": [],
        "version": VERSION,
        "kind": str(intent.kind),
        "keyslot": intent.keyslot,
    }
    if intent.temporary_slot is not None:
        body["via"] = intent.temporary_slot
    if intent.copy:
        body["copy"] = intent.copy
    body["extents"] = [{"offset": str(extent.offset), "size": str(extent.size)} for extent in intent.extents]
    if not _store(tree, INTENT_TYPE, body):
        raise Refused(
            f"all {TOKEN_COUNT} tokens of the LUKS2 header are in use",
            why="without a token for its journal entry, an interrupted run could not be finished later",
            remedy="Remove a token that is not needed with 'cryptsetup token remove'",
        )


def store_record(tree: Tree, entries: t.Mapping[int, model.RecordEntry]) -> bool:
    """Store the record in ``tree``; an empty one is removed. False if no token number is free."""
    if not entries:
        _remove(tree, RECORD_TYPE)
        return True
    slots = {}
    for number, entry in sorted(entries.items()):
        slots[str(number)] = {
            "label": _storable(entry.label),
            "fingerprint": entry.fingerprint,
            "changed": _storable(entry.changed),
        }
    return _store(tree, RECORD_TYPE, {"type": RECORD_TYPE, "keyslots": [], "version": VERSION, "slots": slots})


def store_binding(tree: Tree, keyslot: int, body: t.Mapping[str, t.Any]) -> None:
    """Store the token of another program for ``keyslot``. Raises Refused if no token number is free."""
    free = next((str(number) for number in range(TOKEN_COUNT) if str(number) not in tree["tokens"]), None)
    if free is None:
        raise Refused(
            f"all {TOKEN_COUNT} tokens of the LUKS2 header are in use",
            remedy="Remove a token that is not needed with 'cryptsetup token remove'",
        )
    tree["tokens"][free] = {
        "type": body["type"],
        "keyslots": [str(keyslot)],
        **{name: value for name, value in body.items() if name not in ("type", "keyslots")},
    }


def drop_keyslot(tree: Tree, number: int, kind: str = "") -> None:
    """Remove keyslot ``number`` from all tokens, or from those of type ``kind``.

    A token without a keyslot stays unless it is useless then.
    """
    name = str(number)
    for token_name, token in list(tree["tokens"].items()):
        if kind and token["type"] != kind:
            continue
        if name in token["keyslots"]:
            token["keyslots"] = [slot for slot in token["keyslots"] if slot != name]
            if not token["keyslots"] and _BOUND_TO_SLOT.fullmatch(token["type"]):
                del tree["tokens"][token_name]
        elif token["type"] == RECORD_TYPE and isinstance(token.get("slots"), dict) and name in token["slots"]:
            del token["slots"][name]
            if not token["slots"]:
                del tree["tokens"][token_name]


def _store(tree: Tree, kind: str, body: Tree) -> bool:
    present = [name for name, token in tree["tokens"].items() if token["type"] == kind]
    free = [str(number) for number in range(TOKEN_COUNT) if str(number) not in tree["tokens"]]
    if not present and not free:
        return False
    tree["tokens"][(present or free)[0]] = body
    return True


def _remove(tree: Tree, kind: str) -> None:
    for name in [name for name, token in tree["tokens"].items() if token["type"] == kind]:
        del tree["tokens"][name]


def _decode_intent(token: Tree, where: str) -> model.Intent:
    _version(token, where)
    kind = members.text(token, "kind", where)
    if kind not in INTENT_KINDS:
        raise members.malformed(f"{where} has the unknown kind {kind[:40]!r}")
    extents = []
    for item in members.member(token, "extents", list, where):
        extents.append(model.Extent(members.uint64(item, "offset", where), members.uint64(item, "size", where)))
    temporary_slot = _slot_number(token, "via", where) if "via" in token else None
    copy = members.text(token, "copy", where) if "copy" in token else ""
    if not _COPY.fullmatch(copy) and (copy or kind == model.IntentKind.COPIED):
        raise members.malformed(f"{where} does not name the copy of the header")
    return model.Intent(
        kind=model.IntentKind(kind),
        keyslot=_slot_number(token, "keyslot", where),
        temporary_slot=temporary_slot,
        extents=tuple(extents),
        copy=copy,
    )


def _decode_record(token: Tree, where: str) -> t.Dict[int, model.RecordEntry]:
    _version(token, where)
    entries = {}
    for name, entry in members.member(token, "slots", dict, where).items():
        members.number_of(name, f"keyslot {name[:40]!r} in {where}")
        label, fingerprint, changed = (
            members.member(entry, member, str, where) for member in ("label", "fingerprint", "changed")
        )
        if int(name) >= SLOT_COUNT or not _HEX.fullmatch(fingerprint):
            raise members.malformed(f"{where} has an invalid entry")
        entries[int(name)] = model.RecordEntry(keyslot=int(name), label=label, fingerprint=fingerprint, changed=changed)
    return dict(sorted(entries.items()))


def _version(token: Tree, where: str) -> None:
    if members.member(token, "version", int, where) != VERSION:
        raise members.malformed(f"{where} is of version {token['version']}, but only version {VERSION} is supported")


def _slot_number(token: Tree, name: str, where: str) -> int:
    number = members.uint32(token, name, where)
    if number >= SLOT_COUNT:
        raise members.malformed(f"{where} names keyslot {number}")
    return number


def _without(extent: model.Extent, areas: t.Sequence[model.Extent]) -> t.List[model.Extent]:
    parts, cursor = [], extent.offset
    for area in sorted((area for area in areas if area.overlaps(extent)), key=lambda area: area.offset):
        if area.offset > cursor:
            parts.append(model.Extent(cursor, area.offset - cursor))
        cursor = max(cursor, area.end)
    if extent.end > cursor:
        parts.append(model.Extent(cursor, extent.end - cursor))
    return parts


def _storable(text: str) -> str:
    # Our own reader refuses NUL characters and halves of surrogate pairs.
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
