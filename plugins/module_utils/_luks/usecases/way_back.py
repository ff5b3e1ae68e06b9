# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The copy of a header that an interrupted run left in ``backup_dir``: whether it is of this volume, and its key.

Nothing in that folder is trusted: the copy must have the name that the header of the volume has for it, in its file
name and in its own header, the digest of the volume, and a keyslot that a secret of the task opens and whose key
matches that digest.
"""

from __future__ import annotations

import typing as t

from ..errors import LuksmithError, shown
from ..header.model import Header, Intent
from ..header.parsing import parse_header
from ..header.reading import Read
from ..task.desired import Desired
from ..unlock import key_material
from ..unlock.derivations import Measurement
from ..unlock.session import UnlockSession
from ..unlock.verdict import Verdict
from ..volume.copy_file import CopyFile, named_for


class Found(t.NamedTuple):
    """``key``: the volume key, empty if the copy is no way back: ``fault`` is why, in words. elsewhere: the copy is not
    there, and its name was made for another folder."""

    key: bytearray = bytearray()
    measured: t.Optional[Measurement] = None
    fault: str = ""
    elsewhere: bool = False


def look(folder: str, header: Header, intent: Intent, desired: Desired, session: UnlockSession) -> Found:
    """The copy that ``header`` names, tried with the secrets of the task in ``session``."""
    file = CopyFile(folder, header.uuid, intent.copy)
    if not file.exists():
        return Found(fault=f"the copy {shown(file.path)} is not there", elsewhere=not named_for(folder, intent.copy))
    try:
        with file.opened() as (read, size):
            copy = parse_header(read, size, embedded=True)
            stranger = _why_of_another(copy, header, intent)
            if stranger:
                return Found(fault=f"{shown(file.path)} is not that copy: {stranger}")
            found = _opened(copy, header, read, desired, session)
    except LuksmithError as error:
        return Found(fault=f"the copy {shown(file.path)} is damaged: {shown(error.found)}")
    return found or Found(fault=f"no secret of this task opens the copy {shown(file.path)}")


def _why_of_another(copy: Header, header: Header, intent: Intent) -> str:
    if (copy.uuid, copy.format) != (header.uuid, header.format):
        return f"it is of the volume {shown(copy.uuid)} ({copy.format})"
    if copy.intent is None or copy.intent.copy != intent.copy:
        return "its own header does not name it"
    if _digests(copy) != _digests(header):
        return "its volume key is another one"
    return ""


def _digests(header: Header) -> t.List[t.Tuple[t.Any, ...]]:
    return [
        (digest.type, digest.hash, digest.iterations, digest.salt, digest.value)
        for digest in header.digests
        if 0 in digest.segments
    ]


def _opened(copy: Header, header: Header, read: Read, desired: Desired, session: UnlockSession) -> t.Optional[Found]:
    prover = session.prover(copy, read)
    olds = [entry.old_secret for entry in desired.entries if entry.old_secret is not None]
    news = [entry.new_secret for entry in desired.entries if entry.new_secret is not None]
    for secret in dict.fromkeys([*olds, *desired.unlock, *news]):
        for keyslot in copy.keyslots:
            if prover.verdict(secret, keyslot) is Verdict.OPENS:
                key = bytearray(prover.need_volume_key())
                if any(key_material.matches(digest, key) for digest in header.digests if 0 in digest.segments):
                    return Found(key, prover.measured)
    return None
