# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes in memory that remember each write, so that every state that a power cut can leave can be built from the
record.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
import shutil
import struct
import subprocess
import tempfile
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.executor import apply_plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.keyslot_writer import KeyslotWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec as luks1_codec
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Header, Pbkdf2
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.parsing import parse_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.planner import make_plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Plan, Situation
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Costs, Desired, Entry
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import key_material
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.derivations import Derivations
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.prover import Prover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.verdict import Verdict

VOLUME_KEY = bytes(range(16))
KEY_BYTES = len(VOLUME_KEY)
AREA = 64000
SIZE = 8 * 65536 + 8192
SECRETS = (b"alpha", b"bravo", b"charlie", b"delta")
LABELS = tuple(secret.decode() for secret in SECRETS)
ALPHA, BRAVO, CHARLIE, DELTA = range(4)
CHEAP = Costs(iterations=1000)


@dataclasses.dataclass
class Secret:
    value: bytearray


class Region:
    """Bytes that record each write and refuse one that begins before the one before it is durable."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.size = len(data)
        self.writes: t.List[t.Tuple[int, bytes]] = []
        self.unsynced = 0

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        return bytes(self.data[offset : offset + length])

    reread = read

    def confirm(self, offset: int, written: bytes, found: str, why: str = "") -> None:
        assert self.read(offset, len(written)) == written, (found, why)

    def write(self, offset: int, data: bytes) -> None:
        assert offset + len(data) <= self.size
        assert not self.unsynced, "a write began before the one before it was durable"
        self.data[offset : offset + len(data)] = data
        self.writes.append((offset, bytes(data)))
        self.unsynced += 1

    def barrier(self) -> None:
        self.unsynced = 0


class Volume:
    def __init__(self, region: Region) -> None:
        self.region = region

    def check_still_there(self) -> None:
        pass

    def begin_writing(self) -> None:
        pass


def luks1_volume(slots: t.Mapping[int, bytes]) -> bytes:
    """A LUKS1 aes-cbc-plain64 volume with a 128-bit key and the given passphrases, 1000 iterations everywhere."""
    salt = hashlib.sha256(b"digest").digest()
    digest = hashlib.pbkdf2_hmac("sha256", VOLUME_KEY, salt, 1000, 20)
    head = (
        b"LUKS\xba\xbe"
        + struct.pack(">H", 1)
        + b"aes".ljust(32, b"\0")
        + b"cbc-plain64".ljust(32, b"\0")
        + b"sha256".ljust(32, b"\0")
    )
    head += (
        struct.pack(">II", SIZE // 512, KEY_BYTES)
        + digest
        + salt
        + struct.pack(">I", 1000)
        + b"0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55".ljust(40, b"\0")
    )
    for number in range(8):
        head += struct.pack(">II", 0xDEAD, 0) + bytes(32) + struct.pack(">II", 8 + 128 * number, 4000)
    data = bytearray(head.ljust(SIZE, b"\0"))
    header = luks1_codec.parse(lambda offset, length: bytes(data[offset : offset + length]), SIZE)
    for number, passphrase in slots.items():
        parameters = Pbkdf2("sha256", 1000, hashlib.sha256(b"slot %d" % number).digest())
        area = header.layout.fixed[number]
        sealed = key_material.seal(
            header.new_keyslot(number, parameters, area),
            kdf.derive(parameters, passphrase, KEY_BYTES, budget=kdf.Budget()),
            VOLUME_KEY,
        )
        data[area.offset : area.offset + len(sealed)] = sealed
        after = header.with_keyslot(number, parameters, area)
        for write in after.commit_writes(header):
            data[write.offset : write.offset + len(write.data)] = write.data
        header = after.after_commit(header)
    return bytes(data)


LUKS2_AREAS = 8
LUKS2_HEADERS = 32768


@functools.lru_cache(maxsize=None)
def _luks2_made(slots: t.Tuple[t.Tuple[int, bytes], ...], areas: int) -> bytes:
    if shutil.which("cryptsetup") is None:
        raise LookupError("cryptsetup makes the LUKS2 volumes of this lane")
    with tempfile.TemporaryDirectory() as folder:
        image, first, other = (pathlib.Path(folder, name) for name in ("image", "first", "other"))
        image.write_bytes(bytes(2 * 1024 * 1024))
        cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
        geometry = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", f"{areas * 64}k", "--offset", "2048"]
        (slot, passphrase), *rest = slots
        first.write_bytes(passphrase)
        cipher = ["-c", "aes-cbc-plain64", "-s", "128", "--key-slot", str(slot)]
        subprocess.run(
            ["cryptsetup", "luksFormat", "-q", "--type", "luks2", *cipher, *cheap, *geometry, image, first],
            check=True,
            capture_output=True,
        )
        for slot, passphrase in rest:
            other.write_bytes(passphrase)
            add = [
                "cryptsetup",
                "luksAddKey",
                "-q",
                *cheap,
                "--new-key-slot",
                str(slot),
                "--key-file",
                first,
                image,
                other,
            ]
            subprocess.run(add, check=True, capture_output=True)
        return image.read_bytes()


def luks2_volume(slots: t.Mapping[int, bytes], *, areas: int = LUKS2_AREAS) -> bytes:
    """A LUKS2 volume that cryptsetup made: 32 numbers, and room for ``areas`` key areas of 64 KiB only."""
    return _luks2_made(tuple(slots.items()), areas)


@dataclasses.dataclass
class Outcome:
    data: bytes
    plan: Plan
    writes: t.List[t.Tuple[int, bytes]]


def desired(*entries: Entry, unlock: t.Sequence[int] = (ALPHA,), **flags: bool) -> Desired:
    return Desired(entries, tuple(unlock), LABELS, **flags)


def present(new: int, *, keyslot: t.Optional[int] = None, old: t.Optional[int] = None, position: int = 0) -> Entry:
    return Entry(position, "present", keyslot, new, old, costs=CHEAP)


def absent(*, keyslot: t.Optional[int] = None, old: t.Optional[int] = None, position: int = 0) -> Entry:
    return Entry(position, "absent", keyslot, None, old)


def amend_volume(data: bytes, task: Desired) -> Outcome:
    region = Region(data)
    volume = Volume(region)
    header = parse_header(region.read, region.size)
    derivations = Derivations([Secret(bytearray(secret)) for secret in SECRETS], kdf.Budget())
    prover = Prover(header, region.read, derivations, {})
    plan = make_plan(Situation.of(header), task, prover)
    apply_plan(plan, KeyslotWriter(HeaderWriter(volume, header, wipe_passes=1), prover, task, 65536), record=True)
    assert not region.unsynced, "the last write was never made durable"
    return Outcome(bytes(region.data), plan, region.writes)


_KNOWN: t.Dict[t.Tuple[t.Any, ...], t.List[str]] = {}


def openers(data: bytes) -> t.Dict[int, t.List[str]]:
    """Active slot -> labels of the secrets that open it.

    A slot whose salt and area were seen before is not derived again.
    """
    header = read(data)
    prover = None
    found = {}
    for keyslot, slot in header.keyslots.items():
        key = (slot.kdf, hashlib.sha256(data[slot.area.offset : slot.area.end]).digest())
        if key not in _KNOWN:
            if prover is None:
                derivations = Derivations([Secret(bytearray(secret)) for secret in SECRETS], kdf.Budget())
                prover = Prover(header, lambda offset, length: data[offset : offset + length], derivations, {})
            _KNOWN[key] = [
                LABELS[secret] for secret in range(len(SECRETS)) if prover.verdict(secret, keyslot) is Verdict.OPENS
            ]
        found[keyslot] = _KNOWN[key]
    return found


def read(data: bytes) -> Header:
    return parse_header(lambda offset, length: data[offset : offset + length], len(data))


def opened(data: bytes) -> t.Set[str]:
    return {label for labels in openers(data).values() for label in labels}


def tears(offset: int, data: bytes, header_size: int, most: int = 3) -> t.List[int]:
    """Bytes of the write that still arrive: a header write is torn at every sector, key material before, in the middle
    and at its last one.

    Key material means nothing to any reader as long as one of its sectors is wrong. ``most``: of these places.
    """
    if offset < header_size:
        return list(range(0, len(data), 512))
    return sorted({0, len(data) // 2 // 512 * 512, len(data) - 512})[:most]
