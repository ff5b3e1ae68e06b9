# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Whether a volume is as a task says: what opens it, which keyslots and tokens it has. Never writes."""

from __future__ import annotations

import typing as t

from ..errors import LuksmithError, numbered
from ..header.model import PRIORITY_IGNORE, Extent, Header
from ..result.actions import Result
from ..result.chain_row import is_untried, what_opens
from ..task.parse_verify import VerifyTask
from ..volume.read_header import read_header_locked
from ..volume.storage import Region, open_volume
from .inspect import inspect

_CHUNK = 1 << 20


def verify(task: VerifyTask) -> Result:
    """What was asserted, and a sentence for each assertion that does not hold; with one, the result is a failure.

    Raises what :func:`inspect` raises.
    """
    found = inspect(task.info)
    failures = [*_wrong_secrets(task, found), *_wrong_slots(task, found)]
    if task.same_volume_as is not None:
        failures += _another_volume(task, task.same_volume_as)
    if task.unchanged_since is not None:
        failures += _changes(task, task.unchanged_since)
    result: Result = {
        "changed": False,
        "assertions": task.assertions,
        "failures": failures,
        "uuid": found["uuid"],
        "warnings": found["warnings"],
    }
    if failures:
        result.update(failed=True, msg=f"{task.info.device}: {' '.join(failures)}")
    return result


def _wrong_secrets(task: VerifyTask, found: Result) -> t.Iterator[str]:
    bound = {row["keyslot"] for row in found["keyslots"] if row["bound"]}
    ignored = _ignored(found) if task.ignored is None else ()
    untried = [row["keyslot"] for row in found["keyslots"] if row["state"] == "active" and not row["tried"]]
    doubt = f" {numbered(untried)} could not be tried." if untried else ""
    for number in task.opens:
        label = task.info.labels[number]
        opened = found["opened_by"][label]
        if not opened:
            yield f"{label!r} must open the volume, but opens no keyslot.{doubt}"
        elif not bound.intersection(opened):
            yield f"{label!r} must open the volume, but opens only {numbered(opened)}, which is not bound to it."
        elif not bound.intersection(opened).difference(ignored):
            yield (
                f"{label!r} must open the volume, but opens only {numbered(opened)} with priority ignore, which "
                "programs do not try unless it is named."
            )
    for number in task.does_not_open:
        label = task.info.labels[number]
        opened = [keyslot for keyslot in found["opened_by"][label] if keyslot in bound]
        if opened:
            yield f"{label!r} must not open the volume, but opens {numbered(opened)}."
        elif untried:
            yield f"{label!r} must not open the volume, and whether it does is unknown.{doubt}"
        for row in found.get("chain", ()):
            # What is not encrypted opens with no secret, and is told as a warning.
            if label in row["opened_by"]:
                yield f"{label!r} must not open the volume, but opens {what_opens(row)}."
            elif is_untried(row):
                yield (
                    f"{label!r} must not open the volume, and whether it opens {what_opens(row)} is unknown: "
                    f"{row['why_untried']}."
                )


def _wrong_slots(task: VerifyTask, found: Result) -> t.Iterator[str]:
    active = tuple(row["keyslot"] for row in found["keyslots"] if row["state"] == "active")
    if task.keyslots is not None and active != task.keyslots:
        yield f"The active keyslots must be {list(task.keyslots)}, but are {list(active)}."
    ignored = _ignored(found)
    if task.ignored is not None and ignored != task.ignored:
        yield f"The keyslots with priority ignore must be {list(task.ignored)}, but are {list(ignored)}."
    types = tuple(sorted(token["type"] for token in found["header"]["tokens"] if not token["ours"]))
    if task.tokens is not None and types != task.tokens:
        yield f"The tokens of other programs must be {list(task.tokens)}, but are {list(types)}."


def _ignored(found: Result) -> t.Tuple[int, ...]:
    return tuple(row["keyslot"] for row in found["keyslots"] if row["priority"] == PRIORITY_IGNORE)


def _another_volume(task: VerifyTask, since: str) -> t.Iterator[str]:
    now, before = (
        _marks_of(task, path, header) for path, header in ((task.info.device, task.info.header), (since, None))
    )
    other = [name for name, value in now.items() if value != before[name]]
    if other:
        yield f"It must be the same volume as {since}, but it has another {', another '.join(other)}."


def _marks_of(task: VerifyTask, path: str, header: t.Optional[str]) -> t.Dict[str, t.Any]:
    """What makes a volume this one, whatever its keyslots are."""
    try:
        with open_volume(path, header, writable=False) as volume:
            found = read_header_locked(volume, task.info.lock_timeout)
    except LuksmithError as error:
        raise error.on(path) from None
    keys = [(digest.salt, digest.value) for digest in found.digests if digest.segments]
    return {
        "format": found.format,
        "UUID": found.uuid,
        "volume key": sorted(keys),
        "cipher or place of its data": found.segments,
    }


def _changes(task: VerifyTask, since: str) -> t.Iterator[str]:
    with open_volume(task.info.device, task.info.header, writable=False) as volume:
        now = read_header_locked(volume, task.info.lock_timeout)
        try:
            with open_volume(since, writable=False) as copy:
                before = read_header_locked(copy, task.info.lock_timeout)
                place = _difference(volume.region, copy.region, max(now.extent, before.extent))
        except LuksmithError as error:
            raise error.on(since) from None
    if place is not None:
        yield f"It must be as in {since}, but {_what_is_at(now, place)} has changed."


def _difference(one: Region, other: Region, size: int) -> t.Optional[int]:
    """The first byte in which both differ, None if they do not; the end of the shorter one counts as a difference."""
    common = min(size, one.size, other.size)
    for offset in range(0, common, _CHUNK):
        length = min(_CHUNK, common - offset)
        left, right = one.reread(offset, length), other.reread(offset, length)
        if left != right:
            return offset + next(index for index in range(length) if left[index] != right[index])
    return None if common == size else common


def _what_is_at(header: Header, offset: int) -> str:
    place = Extent(offset, 1)
    for number, slot in header.keyslots.items():
        if slot.area.overlaps(place):
            return f"the key material of keyslot {number}"
    areas = header.layout.fixed or {0: header.layout.window}
    return "an unused key area" if any(area.overlaps(place) for area in areas.values()) else "the header"
