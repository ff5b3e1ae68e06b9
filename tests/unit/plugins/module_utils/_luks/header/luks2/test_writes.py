# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every prefix of a commit, torn at any 512-byte border, is the old header or the new one, and never anything else."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import binary, codec, metadata
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

SIZE = image.HDR_SIZE
TREE = image.rich_tree()
STARTS = {
    "healthy": image.build(TREE),
    "primary zeroed": bytes(SIZE) + image.build(TREE)[SIZE:],
    "secondary zeroed": image.build(TREE)[:SIZE],
    "primary torn": image.build(TREE)[:4096] + b"x" * 512 + image.build(TREE)[4608:],
    "primary stale": image.pack(image.tree(), seqid=2) + image.pack(TREE, secondary=True),
    "secondary stale": image.pack(TREE) + image.pack(image.tree(), seqid=2, secondary=True),
    "secondary differs": image.pack(TREE) + image.pack(image.tree(), secondary=True),
    "primary invalid": image.pack(b"[]") + image.pack(TREE, secondary=True),
    "secondary invalid": image.pack(TREE) + image.pack(b"[]", secondary=True),
}
EDITS: t.Dict[str, t.Callable[[codec.Luks2Header], codec.Luks2Header]] = {
    "nothing": lambda header: header,
    "erase": lambda header: header.without_keyslot(1).with_intent(
        model.Intent("wipe", 1, extents=(header.keyslots[1].area,))
    ),
    "add": lambda header: header.with_keyslot(
        2, model.Pbkdf2("sha256", 1000, image.salt(9)), t.cast(model.Extent, header.layout.place(2))
    ),
}
# Sector borders that matter: every one of the binary headers and of the area that text reaches; some of the zeros
# behind.
CUTS = [512, 1024, 1536, 2048, 3072, 3584, 4096, 8192, 11776]


def parse(raw: bytes) -> codec.Luks2Header:
    return codec.parse(image.reader(raw), image.SIZE)


def written(raw: bytes, writes: t.Iterable[model.Write]) -> bytes:
    result = bytearray(raw.ljust(2 * SIZE, b"\0"))
    for write in writes:
        result[write.offset : write.offset + len(write.data)] = write.data
    return bytes(result)


def text(header: codec.Luks2Header) -> bytes:
    return metadata.emit(header.metadata)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("start", STARTS)
def test_every_prefix_is_the_old_or_the_new_header(start: str, edit: str) -> None:
    raw = STARTS[start]
    old = parse(raw)
    new = EDITS[edit](old)
    writes = new.commit_writes(old)
    states: t.List[bool] = []
    for done in range(len(writes)):
        write = writes[done]
        for cut in (0, *(cut for cut in CUTS if cut < len(write.data))):
            torn = model.Write(write.offset, write.data[:cut])
            header = parse(written(raw, (*writes[:done], torn)))
            assert text(header) in (text(old), text(new))
            assert (header.uuid, header.label) == (old.uuid, old.label)
            if edit != "nothing":
                states.append(text(header) == text(new))
    # Once new, always new: the commit point is passed once.
    assert states == sorted(states)
    final = parse(written(raw, writes))
    assert (text(final), final.seqid, final.needs_heal) == (text(new), old.seqid + 1, False)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("start", STARTS)
def test_after_commit_is_what_reads_back(start: str, edit: str) -> None:
    old = parse(STARTS[start])
    new = EDITS[edit](old)
    raw = written(STARTS[start], new.commit_writes(old))
    after, read = new.after_commit(old), parse(raw)
    assert after.image() == read.image() == (raw,)
    for name in (
        "uuid",
        "label",
        "subsystem",
        "keyslots",
        "digests",
        "segments",
        "tokens",
        "requirements",
        "intent",
        "record",
        "extent",
        "health",
        "warnings",
    ):
        assert getattr(after, name) == getattr(read, name), name
    assert (after.layout, after.seqid, after.fingerprint_ranges()) == (
        read.layout,
        read.seqid,
        read.fingerprint_ranges(),
    )
    again = after.with_priority(0, "ignore")
    assert parse(written(raw, again.commit_writes(after))).seqid == old.seqid + 2


@pytest.mark.parametrize("start", STARTS)
def test_the_copy_that_needs_it_is_written_first_and_gets_a_new_salt(start: str) -> None:
    old = parse(STARTS[start])
    writes = EDITS["erase"](old).commit_writes(old)
    second_first = "secondary" in start
    offsets = [(4096, 12288), (0, 4096), (SIZE + 4096, 12288), (SIZE, 4096)]
    assert [(write.offset, len(write.data)) for write in writes] == (
        offsets[2:] + offsets[:2] if second_first else offsets
    )
    after = written(STARTS[start], writes)
    for name, begin, seed in (("primary", 0, 200), ("secondary", SIZE, 201)):
        assert (after[begin + 104 : begin + 168] == image.salt(seed, 64)) is (name not in start)
    assert after[104:168] != after[SIZE + 104 : SIZE + 168]
    assert EDITS["erase"](old).commit_writes(old) == writes


def test_two_reads_of_a_damaged_header_heal_with_different_salts() -> None:
    salts = {
        parse(STARTS["primary zeroed"]).commit_writes(parse(STARTS["primary zeroed"]))[1].data[104:168]
        for _turn in range(2)
    }
    assert len(salts) == 2


def test_an_older_longer_text_leaves_nothing_behind() -> None:
    old = parse(image.build({**TREE, "vendor": "secret-looking" * 300}))
    raw = written(
        image.build({**TREE, "vendor": "secret-looking" * 300}), parse(image.build(image.tree())).commit_writes(old)
    )
    assert b"secret-looking" not in raw


def test_a_healthy_commit_changes_only_what_it_must() -> None:
    raw = STARTS["healthy"]
    old = parse(raw)
    after = written(raw, EDITS["erase"](old).commit_writes(old))
    changed = {index % SIZE for index in range(2 * SIZE) if raw[index] != after[index]}
    assert {index for index in changed if index < 4096} <= {*range(16, 24), *range(448, 480)}


def test_a_checksum_that_nobody_can_compute_is_not_left_out() -> None:
    copy = binary.read_copy(image.reader(image.build(TREE)), image.SIZE, 0)
    assert isinstance(copy, binary.Copy)
    with pytest.raises(errors.Unsupported, match="md7"):
        binary.build_copy(dataclasses.replace(copy, checksum_alg="md7"), 0, copy.seqid + 1, copy.salt, b"{}")
