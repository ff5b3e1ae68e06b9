# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What these tests have run in children of the module server: hooks, and functions that take the place of a module.

Without pytest, so that the server need not import it.
"""

from __future__ import annotations

import os
import signal
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Region, open_volume
from ansible_collections.luksmith.luks.tests.tools.module_server import around, pause

# Places to stop at.
LOCKING = "_luks.volume.locks:exclusive"  # the plan is made, the volume is open for writing, and nothing is locked
FIRST_WRITE = "_luks.apply.header_writer:HeaderWriter._guarded_write"  # all locks are held, and nothing is written


def pause_at_a_conflict() -> None:
    """A hook: the module stops when it has tried for the first time to take its locks and somebody was in the way."""
    conflicts = []

    def tried(real: t.Any, *arguments: t.Any) -> t.Any:
        conflict = real(*arguments)
        if conflict is not None and not conflicts:
            conflicts.append(conflict)
            pause("a conflict")
        return conflict

    around("_luks.volume.locks:_take_all", tried)


def derive_for_ever() -> None:
    """A hook: the first derivation pauses at "deriving", and its thread gets no signals, as if it were in a library."""

    def deriving(real: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
        pause("deriving")
        return real(*arguments, **options)

    around("_luks.crypto.kdf:derive", deriving)


def bad_block(start: int, end: int) -> None:
    """A hook: reads of these bytes fail until they are written, as with a sector that the drive remaps."""
    bad = [True]

    def read(real: t.Any, region: Region, offset: int, length: int) -> bytes:
        if bad[0] and offset < end and start < offset + length:
            raise StorageFault(f"cannot read {length} bytes at byte {offset} of the LUKS header: Input/output error")
        return bytes(real(region, offset, length))

    def write(real: t.Any, region: Region, offset: int, data: bytes) -> None:
        real(region, offset, data)
        bad[0] = bad[0] and not (offset <= start and end <= offset + len(data))

    around("_luks.volume.storage:Region.read", read)
    around("_luks.volume.storage:Region.reread", read)
    around("_luks.volume.storage:Region.write", write)


def hold(path: str) -> None:
    """Pauses at "held" with all locks of a writer."""
    with open_volume(path, writable=True) as volume, locks.exclusive(volume, timeout=0):
        pause("held")


def become_nobody(*groups: int) -> None:
    """A hook for tests that run as root."""
    os.setgroups(groups)
    os.setgid(groups[0] if groups else 65534)
    os.setuid(65534)


def as_nobody(group: int, path: str) -> str:
    """The result for an ordinary user who may open ``path``, in a fork: the interpreter may be for root only."""
    become_nobody(group)
    try:
        with open_volume(path, writable=True) as volume, locks.exclusive(volume, timeout=0):
            return "held"
    except StorageFault as error:
        return str(error)


def a_qemu_has_it_open() -> None:
    """A hook: for check mode, which asks it for nothing but whether it could."""
    around("_luks.volume.live_image:held_by_qemu", lambda real, volume: True)
    around("_luks.usecases.live:check_monitor", lambda real, *arguments: None)


def answer_for_clevis(passphrase: str) -> None:
    """Every binding yields this."""
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import clevis

    clevis.passphrase = lambda jwe, patience=0.0: bytearray(passphrase.encode())
