# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every disk that a crash can leave behind a recorded run.

The model: between two barriers the device may have taken any sector of 512 bytes, in any order, or not; a sector
written several times may hold any of its versions; a sector is never torn inside. That contains every prefix, every
subset, every order of the writes since the last barrier, and every tear at 512 bytes; a device with sectors of 4096
bytes can leave only a part of it.

The whole of it is built for the header: sectors that do not change are no choice, so that the numbers are small (one or
two sectors for LUKS1 and for the binary header of LUKS2, up to about ten for its JSON). A key area has 125 sectors and
2^125 states. They are reduced by what an area means: it opens only if every sector of the material is right, because
the anti-forensic split spreads each bit of each stripe over the whole key, and a program that finds it closed learns
nothing else from it. So the states of an area write are three: old, new, and mixed. Mixed ones are built at every
sector: the first n arrived, the last n arrived, all but one, one alone, each block of 4096 bytes alone or missing, and
random halves; usually three of these are taken.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
import typing as t

from ansible_collections.luksmith.luks.tests.crash.blocklog import Call

SECTOR = 512
BLOCK = 4096 // SECTOR
# Up to so many header states of one epoch are all built; only a run without barriers has more, and then a part is
# drawn.
_ALL = 4096
_DRAWN = 512
# Mixed states of an area write that are usually built.
SPARSE = 3

Sectors = t.Dict[int, bytes]


@functools.lru_cache(maxsize=1 << 15)
def _mark(number: int, content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=16, salt=number.to_bytes(16, "big")).digest(), "big")


def _marks(disk: t.Union[bytes, bytearray]) -> int:
    """A name of the content: the sum of a digest of each sector, so that it is cheap to tell what a few other sectors
    make of it.
    """
    return sum(_mark(number, _sector(disk, number)) for number in range(-(-len(disk) // SECTOR)))


def _sector(disk: t.Union[bytes, bytearray], number: int) -> bytes:
    return bytes(disk[number * SECTOR : (number + 1) * SECTOR])


class State(t.NamedTuple):
    """The disk ``base`` with ``changed`` sectors (number -> 512 bytes). ``where`` is for messages."""

    base: bytearray
    base_marks: int
    changed: Sectors
    where: str

    @property
    def name(self) -> int:
        """Equal for equal disks."""
        return self.base_marks + sum(
            _mark(number, content) - _mark(number, _sector(self.base, number))
            for number, content in self.changed.items()
        )

    def image(self) -> bytes:
        data = bytearray(self.base)
        for number, content in self.changed.items():
            data[number * SECTOR : (number + 1) * SECTOR] = content
        return bytes(data)


def epochs(calls: t.Sequence[Call]) -> t.List[t.List[Call]]:
    """The writes between barriers; what was never made durable is the last one."""
    found: t.List[t.List[Call]] = [[]]
    for call in calls:
        if call.data is None:
            found.append([])
        else:
            found[-1].append(call)
    return [epoch for epoch in found if epoch]


def crashes(start: bytes, calls: t.Sequence[Call], header: range, *, shapes: t.Optional[int]) -> t.Iterator[State]:
    """``header``: the bytes of the file that are header and not key area; ``shapes``: how many mixed states of each
    area write, None: all.

    States may repeat.
    """
    disk, marks = bytearray(start), _marks(start)
    for number, epoch in enumerate(epochs(calls)):
        versions = _versions(disk, epoch)
        for name, changed in _subsets(versions, header, shapes):
            yield State(disk, marks, changed, f"epoch {number} ({_listed(epoch)}): {name}")
        after = bytearray(disk)
        for offset, data in epoch:
            assert data is not None
            after[offset : offset + len(data)] = data
        marks = State(disk, marks, {place: _sector(after, place) for place in versions}, "").name
        disk = after
    yield State(disk, marks, {}, "after the last write")


def _listed(epoch: t.Sequence[Call]) -> str:
    return ", ".join(f"{len(call.data or b'')} bytes at {call.offset}" for call in epoch)


def _versions(disk: bytearray, epoch: t.Sequence[Call]) -> t.Dict[int, t.List[bytes]]:
    """Sector -> what it may hold: the old content, then that after each write, without repetitions."""
    found: t.Dict[int, t.List[bytes]] = {}
    for offset, data in epoch:
        assert data is not None
        for number in range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)):
            versions = found.setdefault(number, [_sector(disk, number)])
            content, begin = bytearray(versions[-1]), number * SECTOR
            low, high = max(offset, begin), min(offset + len(data), begin + SECTOR)
            content[low - begin : high - begin] = data[low - offset : high - offset]
            if bytes(content) not in versions:
                versions.append(bytes(content))
    return {number: versions for number, versions in found.items() if len(versions) > 1}


def _subsets(
    versions: t.Mapping[int, t.List[bytes]], header: range, most: t.Optional[int]
) -> t.Iterator[t.Tuple[str, Sectors]]:
    head = {number: found for number, found in versions.items() if number * SECTOR in header}
    area = {number: found for number, found in versions.items() if number not in head}
    shapes = list(_shapes(area, most)) or [("", {})]
    for one, some in _combinations(head):
        for two, others in shapes:
            yield f"{one} {two}".strip() or "nothing arrived", {**some, **others}


def _combinations(versions: t.Mapping[int, t.Sequence[bytes]]) -> t.Iterator[t.Tuple[str, Sectors]]:
    numbers = sorted(versions)
    total = 1
    for number in numbers:
        total *= len(versions[number])
    every: t.Iterable[t.Tuple[int, ...]] = itertools.product(*(range(len(versions[number])) for number in numbers))
    if total > _ALL:
        draw = random.Random(total)
        prefixes = [
            tuple((len(versions[number]) - 1) * (place < length) for place, number in enumerate(numbers))
            for length in range(len(numbers) + 1)
        ]
        every = [
            *prefixes,
            *(tuple(draw.randrange(len(versions[number])) for number in numbers) for _count in range(_DRAWN)),
        ]
    for choice in every:
        changed = {number: versions[number][index] for number, index in zip(numbers, choice) if index}
        yield (f"header sectors {sorted(changed)}" if changed else ""), changed


def _shapes(versions: t.Mapping[int, t.Sequence[bytes]], most: t.Optional[int]) -> t.Iterator[t.Tuple[str, Sectors]]:
    """Which sectors of key areas arrived. Only a run without barriers has more than one area write in an epoch."""
    numbers = sorted(versions)
    if not numbers:
        return
    latest = {number: versions[number][-1] for number in numbers}
    yield "", {}
    yield "whole area", latest
    length = len(numbers)
    if most is not None:
        few = [
            ("half of the area", {number: latest[number] for number in numbers[: length // 2]}),
            ("the first area sector alone", {numbers[0]: latest[numbers[0]]}),
            ("all but the last area sector", {number: latest[number] for number in numbers[:-1]}),
        ]
        yield from few[:most]
        return
    for cut in range(1, length):
        yield f"first {cut} of {length} area sectors", {number: latest[number] for number in numbers[:cut]}
        yield f"last {cut} of {length} area sectors", {number: latest[number] for number in numbers[-cut:]}
    for place in range(length):
        alone = numbers[place]
        yield f"area sector {alone} alone", {alone: latest[alone]}
        yield f"all but area sector {alone}", {number: latest[number] for number in numbers if number != alone}
    for block in sorted({number // BLOCK for number in numbers}):
        inside = {number: latest[number] for number in numbers if number // BLOCK == block}
        yield f"area block {block} alone", inside
        yield (
            f"all but area block {block}",
            {number: content for number, content in latest.items() if number not in inside},
        )
    draw = random.Random(length)
    for count in range(16):
        yield f"random half {count} of the area", {number: latest[number] for number in numbers if draw.random() < 0.5}
