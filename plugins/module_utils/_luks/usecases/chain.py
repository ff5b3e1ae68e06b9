# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What else holds the data of a volume, or opens it: the backing files beneath a qcow2 image, external data files, and
the header that a device has of its own although another one was given for it.

A backing file has keyslots of its own: what is removed from the image still opens the base, and what the base holds is
not protected by the image at all. The same is true of a header that was copied to a file and left on the device.
"""

from __future__ import annotations

import os
import re
import typing as t

from ..errors import LuksmithError, shown
from ..header.magic import LUKS, QCOW2
from ..header.qcow2_chain import References, references
from ..result.actions import Result
from ..unlock.prover import labels_by_keyslot
from ..unlock.session import UnlockSession
from ..volume.node import open_node
from ..volume.read_header import read_header
from ..volume.storage import Region, Volume, open_volume

LONGEST = 64  # files; no chain of a person is longer, and one that leads back to itself ends
_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")  # as QEMU tells a protocol from a path


class Chain(t.NamedTuple):
    """``rows``: for the result. ``warnings``: a sentence for each file. ``evaluations``: derivations, file by file."""

    rows: t.List[Result]
    warnings: t.List[str]
    evaluations: t.List[int]


def chain_of(volume: Volume, labels: t.Sequence[str], session: t.Callable[[], UnlockSession]) -> Chain:
    """For an open volume of which :attr:`.Volume.has_others` is true; ``session``: with the secrets of the task.

    Every secret is tried on every keyslot of an encrypted one. Raises nothing for what another file is or holds.
    """
    chain = Chain([], [], [])
    if volume.payload is not None:
        _header_on_the_device(volume, chain, labels, session)
    path: t.Optional[str] = volume.header_path
    seen = set()
    while path is not None and len(chain.rows) < LONGEST and os.path.realpath(path) not in seen:
        seen.add(os.path.realpath(path))
        path = _next(path, chain, labels, session)
    return chain


def _header_on_the_device(
    volume: Volume, chain: Chain, labels: t.Sequence[str], session: t.Callable[[], UnlockSession]
) -> None:
    row: Result = {"path": shown(volume.path), "role": "device", "format": "raw", "encrypted": True, "opened_by": []}
    begin = min((segment.offset for segment in read_header(volume).segments), default=0)
    what_next = f"Change it too, in a task without 'header', unless it lies in the data, which begins at byte {begin}"
    try:
        chain.evaluations.append(_try(volume.path, row, labels, session))
    except LuksmithError as error:
        row["why_untried"] = shown(error.found)
    chain.rows.append(row)
    chain.warnings.append(
        f"{row['path']} has a LUKS header of its own, and this task is only about the one in "
        f"{shown(volume.header_path)}; {_opened(row)}. {what_next}"
    )


def _next(path: str, chain: Chain, labels: t.Sequence[str], session: t.Callable[[], UnlockSession]) -> t.Optional[str]:
    """Add the files that ``path`` names, and return its backing file if that is to be followed."""
    named = _references(path)
    if named is None:
        return None
    if named.data_file:
        place = _shown(named.data_file, path)
        row: Result = {"path": place, "role": "data", "format": "raw", "encrypted": named.encrypted, "opened_by": []}
        chain.rows.append(row)
        chain.warnings.append(
            f"the data of {shown(path)} is in the external data file {row['path']}, and the keyslots stay in the image"
        )
    if not named.backing:
        return None
    where, row = _backing(path, named, chain, labels, session)
    chain.rows.append(row)
    chain.warnings.append(f"the backing file {row['path']} ({row['format']}) {_says(row)}")
    return where if row["format"] == "qcow2" else None


def _references(path: str) -> t.Optional[References]:
    try:
        node = open_node(path, writable=False)
    except LuksmithError:
        return None
    try:
        return references(Region(node, 0, node.size).read, node.size)
    except LuksmithError:
        return None
    finally:
        node.close()


def _backing(
    path: str, named: References, chain: Chain, labels: t.Sequence[str], session: t.Callable[[], UnlockSession]
) -> t.Tuple[t.Optional[str], Result]:
    row: Result = {
        "path": _shown(named.backing, path),
        "role": "backing",
        "format": shown(named.backing_format, 20) or "unknown format",
        "encrypted": None,
        "opened_by": [],
    }
    name = _plain(named.backing)
    if _PROTOCOL.match(name):
        row["why_untried"] = "it is not given as a path"
        return None, row
    where = os.path.join(os.path.dirname(path), name)
    try:
        node = open_node(where, writable=False)
        try:
            start = Region(node, 0, node.size).read(0, min(node.size, 8))
        finally:
            node.close()
        below = _references(where) if named.backing_format in ("", "qcow2") else None
        row["format"] = "qcow2" if below is not None else row["format"] if named.backing_format else "raw"
        row["encrypted"] = below.encrypted if below is not None else start.startswith(LUKS)
        if start.startswith(QCOW2) and below is None and named.backing_format in ("", "qcow2"):
            row["encrypted"], row["why_untried"] = None, "its header cannot be read"
        if row["encrypted"]:
            chain.evaluations.append(_try(where, row, labels, session))
    except LuksmithError as error:
        row["why_untried"] = shown(error.found)
    return where, row


def _try(where: str, row: Result, labels: t.Sequence[str], session: t.Callable[[], UnlockSession]) -> int:
    """The number of derivations."""
    with open_volume(where, writable=False) as volume, session() as unlocking:
        header = read_header(volume)
        prover = unlocking.prover(header, volume.region.reread)
        secrets = range(len(labels))
        prover.expect(((secret, keyslot) for keyslot in header.keyslots for secret in secrets), unbound=True)
        for keyslot in header.keyslots:
            for secret in secrets:
                prover.try_slot(secret, keyslot)
        opened = labels_by_keyslot(prover, labels)
        untried = {keyslot: prover.why_untried(keyslot) for keyslot in header.keyslots}
        evaluations = unlocking.evaluations
    row["opened_by"] = list(dict.fromkeys(label for found in opened.values() for label in found))
    row["unknown"] = [keyslot for keyslot in header.keyslots if not opened.get(keyslot)]
    reasons = [f"keyslot {keyslot}: {why}" for keyslot, why in untried.items() if why]
    if reasons:
        row["why_untried"] = "; ".join(reasons)
    return evaluations


def _says(row: Result) -> str:
    if row["encrypted"] is False:
        return "is not encrypted: what it holds is read without any secret"
    if row["encrypted"] is None:
        return f"was not looked at: {row.get('why_untried', '')}"
    return f"has keyslots of its own, which a change of the image leaves alone; {_opened(row)}"


def _opened(row: Result) -> str:
    opened = f"it opens with {', '.join(row['opened_by'])}" if row["opened_by"] else "no secret of this task opens it"
    return f"{opened}{_doubt(row)}"


def _doubt(row: Result) -> str:
    return f" (not tried: {row['why_untried']})" if "why_untried" in row else ""


def _plain(name: str) -> str:
    """A path without the protocol that QEMU may put before it."""
    return name[5:] if name.startswith("file:") else name


def _shown(name: str, beside: str) -> str:
    """A path; of what is none only the protocol, because a description or an address can hold a password."""
    name = _plain(name)
    protocol = _PROTOCOL.match(name)
    return f"{protocol.group(1)}: (not shown)" if protocol else shown(os.path.join(os.path.dirname(beside), name))
