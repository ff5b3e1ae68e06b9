# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that lose what was never flushed: an NBD server for QEMU with a write cache that a power cut empties.

Killing QEMU alone would lose only what the guest had not sent: what it did send is safe in this machine's page cache,
flushed or not, and a missing barrier would go unseen. Here a write is durable after the guest's next flush, and not
before. At a power cut each
512-byte sector of the writes since then survives or not, as a seed decides.

Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md (fixed newstyle, simple replies). The
server does not offer FUA, so that QEMU sends a flush instead.
"""

from __future__ import annotations

import contextlib
import pathlib
import random
import socket
import struct
import threading
import typing as t

SECTOR = 512

_OPTION_MAGIC = b"IHAVEOPT"
_OPTION_REPLY = 0x3E889045565A9
_REQUEST, _REPLY = 0x25609513, 0x67446698
_EXPORT_NAME, _ABORT, _INFO, _GO = 1, 2, 6, 7
_ACK, _INFO_REPLY, _UNSUPPORTED = 1, 3, 0x80000001
_READ, _WRITE, _DISCONNECT, _FLUSH = range(4)
_FIXED_NEWSTYLE_NO_ZEROES = 3
_HAS_FLAGS_AND_FLUSH = 1 | 4
_INVALID = 22


def _nothing(event: int) -> None:
    """What happens at an event unless a test wants something else."""


class PowerSupply:
    """What several disks hang on. ``off`` is set when the power is cut; from then on no disk answers."""

    def __init__(self) -> None:
        self.off = threading.Event()
        self.lock = threading.RLock()
        self._watched: t.Dict[Disk, int] = {}
        self._at = 0
        self._call: t.Callable[[int], object] = _nothing
        self.events = 0
        self.last: t.Optional[int] = None
        self.last_disk: t.Optional[Disk] = None

    def watch(
        self,
        disk: Disk,
        length: int,
        cut_at: int = 0,
        call: t.Callable[[int], object] = _nothing,
        also: t.Iterable[Disk] = (),
    ) -> None:
        """Count the events of the first ``length`` bytes of a disk and of all of the disks ``also``, and cut the power
        at number ``cut_at`` (0: never).

        ``call`` is told the number of each event while the guest still waits for the answer; no disk answers until it
        returns.

        An event is a write there, or a flush that would make such writes durable; ``last`` tells where the last one
        wrote, None for a flush, and ``last_disk`` on which disk. The cut comes when the write has reached the cache, or
        before the flush does anything.
        """
        with self.lock:
            self._watched = {disk: length, **{other: len(other.now) for other in also}}
            self._at, self._call, self.events = cut_at, call, 0

    def notice(self, disk: Disk, offset: t.Optional[int]) -> None:
        """A write at ``offset`` was cached, or (None) a flush was asked for."""
        length = self._watched.get(disk, 0)
        offsets = [start for start, _data in disk.cached] if offset is None else [offset]
        if any(start < length for start in offsets):
            self.events += 1
            self.last, self.last_disk = offset, disk
            self._call(self.events)
            if self.events == self._at:
                self.off.set()


class Disk:
    """``durable`` and ``now`` hold the whole disk in memory; ``cached`` are the writes since the last flush, in
    order.
    """

    def __init__(self, supply: PowerSupply, content: bytes, folder: pathlib.Path, name: str) -> None:
        self.name = name
        self.durable = bytearray(content)
        self.now = bytearray(content)
        self.cached: t.List[t.Tuple[int, bytes]] = []
        self.socket = folder / f"{name}.nbd"
        self._supply = supply
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def after_power_cut(self, seed: int) -> t.Tuple[bytes, int, int]:
        """The disk as the next boot finds it, and how many cached sectors there were and how many of them survived.

        seed: 0 none survives, 1 all do, else each as this seed of a generator decides. A sector that was written twice
        since the flush holds the old, the first or the second content.
        """
        chosen = random.Random(seed)
        left, sectors, kept = bytearray(self.durable), 0, 0
        for offset, data in self.cached:
            for at in range(0, len(data), SECTOR):
                survives = seed == 1 or (seed != 0 and chosen.random() < 0.5)
                sectors += 1
                kept += survives
                if survives:
                    left[offset + at : offset + at + SECTOR] = data[at : at + SECTOR]
        return bytes(left), sectors, kept

    def close(self) -> None:
        # A thread that waits in accept() is woken by shutdown and not by close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.socket.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, contextlib.suppress(OSError, EOFError):
            if self._negotiate(client, stream):
                while self._answer(client, stream):
                    pass

    def _negotiate(self, client: socket.socket, stream: t.BinaryIO) -> bool:
        client.sendall(b"NBDMAGIC" + _OPTION_MAGIC + struct.pack(">H", _FIXED_NEWSTYLE_NO_ZEROES))
        _exactly(stream, 4)
        while True:
            _magic, option, length = struct.unpack(">8sII", _exactly(stream, 16))
            _exactly(stream, length)
            about = struct.pack(">QH", len(self.now), _HAS_FLAGS_AND_FLUSH)
            if option == _EXPORT_NAME:
                client.sendall(about)
                return True
            if option in (_GO, _INFO):
                _reply_option(client, option, _INFO_REPLY, struct.pack(">H", 0) + about)
            _reply_option(client, option, _ACK if option in (_GO, _INFO, _ABORT) else _UNSUPPORTED)
            if option in (_GO, _ABORT):
                return option == _GO

    def _answer(self, client: socket.socket, stream: t.BinaryIO) -> bool:
        _magic, _flags, kind, cookie, offset, length = struct.unpack(">IHHQQI", _exactly(stream, 28))
        data = _exactly(stream, length) if kind == _WRITE else b""
        if kind == _DISCONNECT:
            return False
        with self._supply.lock:
            if self._supply.off.is_set():
                return False
            answer = self._carry_out(kind, offset, length, data)
            if self._supply.off.is_set():
                # Whoever sees an error instead of silence could write a note about it: the lights are simply out.
                return True
            client.sendall(struct.pack(">IIQ", _REPLY, _INVALID if answer is None else 0, cookie) + (answer or b""))
        return True

    def _carry_out(self, kind: int, offset: int, length: int, data: bytes) -> t.Optional[bytes]:
        if kind == _READ:
            return bytes(self.now[offset : offset + length])
        if kind == _WRITE:
            self.now[offset : offset + length] = data
            self.cached.append((offset, data))
            self._supply.notice(self, offset)
            return b""
        if kind == _FLUSH:
            self._supply.notice(self, None)
            if not self._supply.off.is_set():
                for start, written in self.cached:
                    self.durable[start : start + len(written)] = written
                self.cached.clear()
            return b""
        return None


def _exactly(stream: t.BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _reply_option(client: socket.socket, option: int, kind: int, data: bytes = b"") -> None:
    client.sendall(struct.pack(">QIII", _OPTION_REPLY, option, kind, len(data)) + data)
