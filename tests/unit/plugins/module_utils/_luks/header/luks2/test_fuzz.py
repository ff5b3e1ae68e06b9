# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile headers: mutations that keep the structure, so that they reach deep.

Only our errors come out, and what is read can be edited.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec, metadata
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image
from hypothesis import given, settings
from hypothesis import strategies as st

BASE = image.rich_tree()
BASE["tokens"]["6"] = {
    "type": "luksmith.luks-intent",
    "keyslots": [],
    "version": 1,
    "kind": "wipe",
    "keyslot": 3,
    "extents": [{"offset": "8388608", "size": "4096"}],
}
BASE["tokens"]["7"] = {
    "type": "luksmith.luks-record",
    "keyslots": [],
    "version": 1,
    "slots": {"0": {"label": "a", "fingerprint": "00", "changed": "x"}},
}
RAW = image.build(BASE)
# What replaces a member: values that sit at the borders of some rule.
NUMBERS = (0, 1, -1, 2, 32, 512, 4096, 1 << 32, (1 << 63) - 1, metadata.Number("1.50"), metadata.Number("1e400"))
DIGITS = (
    "",
    "0",
    "1",
    "01",
    "32",
    "512",
    "32768",
    "290816",
    "16777216",
    "18446744073709551615",
    "18446744073709551616",
)
WORDS = (
    "dynamic",
    "crypt",
    "luks2",
    "reencrypt",
    "pbkdf2",
    "argon2id",
    "wipe",
    "backup-final",
    "online-reencrypt-v2",
    "cipher_null-ecb",
    "\u00e9",
    "A" * 44,
)
SPICE = st.sampled_from([None, True, *NUMBERS, *DIGITS, *WORDS, [], {}, ["0"], ["9"], [0], {"0": {}}, {"0": 1}])


def places(value: t.Any, path: t.Tuple[t.Any, ...] = ()) -> t.Iterator[t.Tuple[t.Any, ...]]:
    if path:
        yield path
    for key, member in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(member, (*path, key))


PLACES = st.sampled_from(sorted(places(BASE), key=str))
# Half of them in the fields of the binary header.
POSITIONS = st.integers(0, 519) | st.integers(0, 2 * image.HDR_SIZE - 8)
CHANGES = st.lists(
    st.tuples(PLACES, st.sampled_from(["replace", "delete", "rename", "copy"]), SPICE, PLACES), min_size=1, max_size=4
)


def apply(tree: t.Any, path: t.Tuple[t.Any, ...], how: str, value: t.Any, other: t.Tuple[t.Any, ...]) -> None:
    try:
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        if how == "copy":
            value = tree
            for key in other:
                value = value[key]
        if how in ("replace", "copy"):
            parent[path[-1]]  # only what is there
            parent[path[-1]] = copy.deepcopy(value)
        elif how == "rename" and isinstance(parent, dict) and isinstance(value, str):
            parent[value] = parent.pop(path[-1])
        else:
            del parent[path[-1]]
    except (KeyError, IndexError, TypeError):
        return


def mutated(changes: t.Iterable[t.Tuple[t.Any, str, t.Any, t.Any]]) -> t.Dict[str, t.Any]:
    tree = copy.deepcopy(BASE)
    for change in changes:
        apply(tree, *change)
    return tree


def survives(raw: bytes) -> None:
    """Reading either fails as ours, or gives a header whose views, edits and commit work or are refused."""
    try:
        header = codec.parse(image.reader(raw), image.SIZE)
    except errors.LuksmithError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert header.layout.place(31) is None or header.layout.unit > 0
    kdf = model.Pbkdf2("sha256", 1000, image.salt(8))
    edits: t.List[t.Callable[[], codec.Luks2Header]] = [
        lambda: header,
        lambda: header.with_record({}),
        lambda: header.with_intent(None),
    ]
    place = model.Extent(12582912, 258048)
    for number in list(header.keyslots)[:2]:
        edits.append(lambda number=number: header.without_keyslot(number))  # type: ignore[misc]
        for own in (False, True):
            edits.append(lambda number=number, own=own: header.with_keyslot(number, kdf, place, own_key=own))  # type: ignore[misc]
    for edit in edits:
        try:
            new = edit()
            writes = new.commit_writes(header)
        except errors.LuksmithError:
            continue
        disk = bytearray(raw.ljust(max(write.offset + len(write.data) for write in writes), b"\0"))
        for write in writes:
            disk[write.offset : write.offset + len(write.data)] = write.data
        again = codec.parse(image.reader(bytes(disk)), image.SIZE)
        assert metadata.emit(again.metadata) == metadata.emit(new.metadata)
        assert (again.keyslots, again.health) == (new.keyslots, {"primary": "ok", "secondary": "ok"})


@settings(max_examples=200, deadline=None)
@given(CHANGES)
def test_mutated_metadata(changes: t.List[t.Tuple[t.Any, str, t.Any, t.Any]]) -> None:
    survives(image.build(metadata.emit(mutated(changes))))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2500), st.binary(min_size=1, max_size=6), st.booleans())
def test_mutated_text_with_right_checksums(where: int, data: bytes, insert: bool) -> None:
    text = metadata.emit(BASE)
    survives(image.build(text[:where] + data + text[where + (0 if insert else len(data)) :]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(POSITIONS, st.booleans(), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_mutated_bytes(changes: t.List[t.Tuple[int, bool, bytes]]) -> None:
    raw = bytearray(RAW)
    for where, secondary, data in changes:
        start = (where + image.HDR_SIZE * secondary) % (2 * image.HDR_SIZE - 8)
        raw[start : start + len(data)] = data
    survives(bytes(raw))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 64), st.integers(0, 1 << 16), st.binary(max_size=48), st.integers(0, (1 << 64) - 1))
def test_mutated_binary_fields_with_right_checksums(seqid: int, version: int, label: bytes, offset: int) -> None:
    primary = image.pack(BASE, seqid=seqid % (1 << 64), label=label)
    survives(primary + image.pack(BASE, secondary=True, version=version % (1 << 16)))
    survives(primary + image.pack(BASE, secondary=True, offset=offset))
    survives(image.pack(BASE, offset=offset, version=2) + image.pack(BASE, secondary=True, seqid=seqid % (1 << 64)))
