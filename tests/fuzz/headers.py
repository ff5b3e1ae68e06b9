# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for every header, however hostile: read it, describe it, edit it, write it back.

Returns what came out of it.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model, parsing, qcow2, summary
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result import describe, diff, slot_table
from ansible_collections.luksmith.luks.tests.fuzz import judge
from ansible_collections.luksmith.luks.tests.fuzz.medium import Finding, Medium

Header = t.Any
Edit = t.Tuple[str, t.Callable[[], Header]]
SALT = bytes(range(32))
# cryptsetup refuses a LUKS1 header whose hash it does not have; we read it, and no keyslot can be tried. Nothing can be
# proven, so nothing is written.
_REFUSED_BY_ALL = "cryptsetup refuses such a header too"
_HASHES_OF_ALL = ("sha1", "sha256", "sha512", "ripemd160")


def read(medium: Medium, rng: random.Random, *, ask_cryptsetup: bool) -> str:
    try:
        header = parsing.parse_header(medium.read, medium.size)
    except errors.LuksmithError as error:
        check_error(error)
        _compare_summary(medium, str(error))
        if ask_cryptsetup and error.why == _REFUSED_BY_ALL and judge.loads(medium)[0]:
            raise Finding(f"the message says that cryptsetup refuses it too, but it does not: {error}") from None
        return type(error).__name__
    _compare_summary(medium, _summary_of(header))
    check_description(header)
    check_layout(header, medium.size)
    if header.write_obstacle is not None:
        check_error(header.write_obstacle)
    outcome = _edit(medium, header, rng, ask_cryptsetup)
    if ask_cryptsetup:
        _compare_acceptance(medium, header)
    return outcome


def _summary_of(header: Header) -> summary.Summary:
    return summary.Summary(header.format, header.uuid, header.label, header.needs_heal, b"".join(header.image()))


def _compare_summary(medium: Medium, due: t.Union[summary.Summary, str]) -> None:
    """A search without the codecs comes to the same header, or to the same refusal."""
    again = copy.copy(medium)
    try:
        found: t.Union[summary.Summary, str] = summary.summarize(again.read, again.size)
    except errors.LuksmithError as error:
        found = str(error)
    if found != due:
        raise Finding(f"the summary says {found!r:.500}, and the whole header {due!r:.500}")


def locate(medium: Medium, rng: random.Random, *, ask_cryptsetup: bool) -> str:
    """A qcow2 image, and the LUKS header in it if there is one."""
    try:
        found = qcow2.locate(medium.read, medium.size)
    except errors.LuksmithError as error:
        check_error(error)
        return type(error).__name__
    if not 0 < found.offset < found.extent.end <= medium.size or found.length <= 0:
        raise Finding(f"the region {found.extent} is not inside of {medium.size} bytes")
    if found.clear is not None and found.clear.offset + len(found.clear.data) > 104:
        raise Finding("the autoclear write goes beyond the header")
    inner = Medium(medium.raw[found.offset : found.extent.end], found.length)
    return f"located, {read(inner, rng, ask_cryptsetup=False)}"


def check_error(error: errors.LuksmithError) -> None:
    text = str(error)
    check_sentence(text)
    if not text.endswith(errors.NOTHING_CHANGED):
        raise Finding(f"the message does not end with the truth about writes: {text!r}")


def check_sentence(text: str) -> None:
    """A hostile header must not draw on an operator's terminal or forge lines of a log."""
    if not text.isprintable():
        raise Finding(f"a message holds characters that are not printable: {text!r}")
    if len(text) > 3000:
        raise Finding(f"a message of {len(text)} characters")


def check_description(header: Header) -> None:
    json.dumps(describe.describe_header(header)).encode()
    for warning in header.warnings:
        check_sentence(warning)
    table = slot_table.rows(header, {})
    drawn = diff.render(table, uuid=header.uuid, format=header.format)
    if len(drawn.splitlines()) != len(table) + 2 or not drawn.replace("\n", "").isprintable():
        raise Finding(f"the table of keyslots is not one line for each: {drawn!r}")


def check_layout(header: Header, size: int) -> None:
    areas = [slot.area for slot in header.keyslots.values()]
    if header.extent > size or any(area.offset < 1024 or area.end > header.extent for area in areas):
        raise Finding(f"areas {areas} are not inside of {header.extent} of {size} bytes")
    if any(one.overlaps(other) for one, other in itertools.combinations(areas, 2)):
        raise Finding(f"areas {areas} overlap")
    for number in range(header.slot_count):
        place = header.layout.place(number)
        if place is not None and (
            place.offset < 1024 or place.end > header.extent or any(place.overlaps(area) for area in areas)
        ):
            raise Finding(f"a new area for keyslot {number} would lie at {place}")
    for extent in header.intent.extents if header.intent else ():
        if extent.end > header.extent or any(
            extent.overlaps(slot.area) for number, slot in header.keyslots.items() if number != header.intent.keyslot
        ):
            raise Finding(f"the intent would wipe {extent}")


def _edits(header: Header, rng: random.Random) -> t.List[Edit]:
    number = rng.choice([*header.keyslots, rng.randrange(header.slot_count)])
    kdf = model.Pbkdf2(
        header.keyslots[number].kdf.hash if number in header.keyslots and header.format == "luks1" else "sha256",
        1000,
        SALT,
    )
    extent = header.layout.place(number) or model.Extent(header.extent - 258048, 258048)
    kind = rng.choice((model.IntentKind.ERASE, model.IntentKind.MOVE_FILL, model.IntentKind.WIPE))
    intent = model.Intent(
        kind,
        rng.randrange(8),
        temporary_slot=rng.choice((None, 7)),
        extents=(extent,) if kind == model.IntentKind.WIPE else (),
    )
    return [
        ("nothing", lambda: header.with_intent(header.intent)),
        ("remove", lambda: header.without_keyslot(number)),
        ("put", lambda: header.with_keyslot(number, kdf, extent)),
        ("put for its own key", lambda: header.with_keyslot(number, kdf, extent, own_key=True)),
        ("intent", lambda: header.with_intent(intent)),
        ("record", lambda: header.with_record({1: model.RecordEntry(1, "a", "00", "x")})),
        ("priority", lambda: header.with_priority(number, rng.choice(("ignore", "normal", "prefer")))),
    ]


def _edit(medium: Medium, header: Header, rng: random.Random, ask_cryptsetup: bool) -> str:
    """Each edit is refused in words, or its writes give a header that reads back as it was meant."""
    accepted = 0
    for name, edit in rng.sample(_edits(header, rng), 2):
        try:
            new = edit()
            writes = new.commit_writes(header)
        except errors.LuksmithError as error:
            check_error(error)
            continue
        accepted += 1
        after = medium.written(writes)
        again = parsing.parse_header(after.read, after.size)
        if (
            again.keyslots != new.keyslots
            or again.intent != new.intent
            or (header.format == "luks2" and again.needs_heal)
        ):
            raise Finding(f"{name}: the header does not read back as it was meant")
        if header.format == "luks2":
            _compare_trees(name, medium, after, header)
        if ask_cryptsetup and header.write_obstacle is None:
            _compare_after_write(name, medium, after)
    return "written" if accepted else "read"


def _plain(medium: Medium, header: Header) -> t.Any:
    """The metadata of the copy that counts, read with nothing of ours but its place."""
    good = header._copies.good
    return json.loads(medium.raw[good.offset + 4096 : good.offset + good.hdr_size].rstrip(b"\0"), parse_float=str)


def _compare_trees(name: str, medium: Medium, after: Medium, header: Header) -> None:
    """What an edit is not about is kept, members that nobody knows included."""
    again = parsing.parse_header(after.read, after.size)
    before, now = _plain(medium, header), _plain(after, again)
    for tree in (before, now):
        # Our own two tokens are what these edits are about; the readers of both are tested by themselves.
        tree["tokens"] = {
            number: token for number, token in tree["tokens"].items() if not token["type"].startswith("luksmith.")
        }
        for slot in tree["keyslots"].values():
            if slot["type"] == "luks2":
                slot["kdf"].clear()  # leftovers of an older derivation may go
    if name == "nothing" and before != now:
        raise Finding("writing back without a change changed the metadata")
    gone = set(before["keyslots"]) - set(now["keyslots"])
    if len(gone) > (name == "remove"):
        raise Finding(f"{name}: the keyslots {gone} are gone")
    if name.startswith("put"):  # for its own key it also stays with its digests
        gone = set(now["keyslots"]) & set(before["keyslots"])  # the new one is compared by cryptsetup; the others stay
        before["keyslots"] = {
            number: slot for number, slot in before["keyslots"].items() if now["keyslots"].get(number) == slot
        }
        now["keyslots"] = {
            number: slot for number, slot in now["keyslots"].items() if before["keyslots"].get(number) == slot
        }
        if len(gone) - len(now["keyslots"]) > 1:
            raise Finding("a new keyslot changed others")
    for tree in (before, now):
        _forget(tree, set() if name != "remove" else set(gone), forget_all=name == "put")
        if name == "priority":
            for slot in tree["keyslots"].values():
                slot.pop("priority", None)
    if before != now:
        raise Finding(f"{name}: something was changed that this edit is not about")


def _forget(tree: t.Any, numbers: t.Set[str], *, forget_all: bool) -> None:
    """Remove the keyslots ``numbers`` as cryptsetup would: digests without anything go, and tokens that are worthless
    now.
    """
    for number in numbers:
        tree["keyslots"].pop(number, None)
    for name, digest in list(tree["digests"].items()):
        digest["keyslots"] = [] if forget_all else [number for number in digest["keyslots"] if number not in numbers]
        if not digest["keyslots"] and not digest["segments"]:
            del tree["digests"][name]
    for name, token in list(tree["tokens"].items()):
        token["keyslots"] = [slot for slot in token["keyslots"] if slot not in numbers]
        if numbers and not token["keyslots"] and (token["type"].startswith("systemd-") or token["type"] == "clevis"):
            del tree["tokens"][name]


def _compare_acceptance(medium: Medium, header: Header) -> None:
    ok, text = judge.loads(copy.copy(medium))
    if ok or (header.format == "luks1" and _hash(header).lower() not in _HASHES_OF_ALL):
        return
    if "Repair" in text or "repair" in text or any(token.number > 31 for token in header.tokens):
        return  # it wants to be asked before it mends a copy
    raise Finding(f"we read a header that cryptsetup does not load: {text.strip()}")


def _hash(header: Header) -> str:
    return str(header.digests[0].hash)


def _compare_after_write(name: str, medium: Medium, after: Medium) -> None:
    if not judge.loads(medium)[0]:
        return
    ok, text = judge.loads(after)
    if not ok:
        raise Finding(f"{name}: cryptsetup loaded it before our write and does not after it: {text.strip()}")
    if text.startswith("{"):
        again = parsing.parse_header(after.read, after.size)
        if judge.metadata(text) != json.loads(json.dumps(_plain(after, again))):
            raise Finding(f"{name}: cryptsetup sees other metadata than what was written")
