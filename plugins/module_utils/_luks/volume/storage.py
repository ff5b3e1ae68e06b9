# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The bytes of a LUKS header on their medium: open, read, write, sync, read back from the medium, identify.

Header and key material go only through os.pread, os.pwrite and os.fsync, so that a test can record below this layer
what a crash would leave behind.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import typing as t

from ..errors import LuksmithError, Refused, StorageFault
from ..header import magic
from ..header.model import Write
from ..page_cache import direct_read, forget_pages
from . import blockdev
from .node import Node, fault, open_node

if t.TYPE_CHECKING:
    from ..header import qcow2


class Region:
    """``size`` bytes of an open file from the first byte of the LUKS header on; offsets count from that byte.

    Every method raises StorageFault if the range is not inside the region or the system reports an error.
    """

    def __init__(self, node: Node, start: int, size: int) -> None:
        self._node = node
        self._start = start
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes, maybe from the page cache; decisions need :meth:`reread`. Raises StorageFault."""
        self._check(offset, length)
        data = bytearray()
        while len(data) < length:
            try:
                chunk = os.pread(self._node.fd, length - len(data), self._start + offset + len(data))
            except OSError as error:
                raise self._read_fault(offset + len(data), length - len(data), error) from None
            if not chunk:
                raise self._too_short(offset, length, offset + len(data))
            data += chunk
        return bytes(data)

    def reread(self, offset: int, length: int) -> bytes:
        """As :meth:`read`, but from the medium if the system allows it; :meth:`barrier` must have run before.

        It uses O_DIRECT if the file system supports that; if not, it asks the kernel to drop its pages first. Raises
        StorageFault.
        """
        self._check(offset, length)
        self._forget_pages(offset, length)
        direct = self._read_direct(offset, length)
        return self.read(offset, length) if direct is None else direct

    def confirm(
        self, offset: int, written: bytes, found: str, why: str = "the medium or its driver loses writes"
    ) -> None:
        """Raises StorageFault with ``found`` if :meth:`reread` does not return what was ``written``.

        Worn flash that has become read-only acknowledges writes and keeps the old data.
        """
        if not hmac.compare_digest(self.reread(offset, len(written)), written):
            raise StorageFault(found, why=why, volume=self._node.path)

    def _forget_pages(self, offset: int, length: int) -> None:
        """Each block device has its own page cache, which lacks what was written through another node for the same
        bytes (the backing file of a loop device, the whole disk of a partition). Writing a sector through a stale page
        would rewrite adjacent sectors with old data.
        """
        forget_pages(self._node.fd, self._start + offset, length)

    def _read_direct(self, offset: int, length: int) -> t.Optional[bytes]:
        """None if direct I/O is not available."""
        try:
            with direct_read(self._node.fd, self._start + offset, length) as found:
                return None if found is None else bytes(found)
        except OSError as error:
            raise self._read_fault(offset, length, error) from None

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``; durable only after :meth:`barrier`.

        Raises StorageFault, with the number of bytes written.
        """
        self._check(offset, len(data))
        self._forget_pages(offset, len(data))
        done = 0
        with memoryview(data) as view:
            while done < len(data):
                try:
                    count = os.pwrite(self._node.fd, view[done:], self._start + offset + done)
                    if not count:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    done += count
                except OSError as error:
                    raise fault(
                        self._node.path,
                        f"cannot write {len(data)} bytes at byte {offset} of the LUKS header",
                        error,
                        changed=f"{done} of {len(data)} bytes were accepted before the error; they may or may not be "
                        "on the medium",
                    ) from None

    def barrier(self) -> None:
        """Everything written so far is on the medium when this returns. Raises StorageFault.

        fdatasync would do for a file that does not grow. But this is called only a few times per action, and fsync also
        stores the block mapping of a sparse or preallocated image on file systems whose fdatasync is lax about it. It
        is never repeated after an error: the kernel reports a lost write only once.
        """
        try:
            os.fsync(self._node.fd)
        except OSError as error:
            raise fault(
                self._node.path,
                "cannot sync the last writes to the medium",
                error,
                why="it is unknown what reached the medium",
                remedy="Check the device or file system (dmesg), then run the task again: it reads the state anew",
                changed="The last writes may or may not be on the medium",
            ) from None

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self._too_short(offset, length, self.size)

    def _too_short(self, offset: int, length: int, end: int) -> StorageFault:
        return StorageFault(
            f"bytes {offset} to {offset + length} of the LUKS header are needed, but it ends at byte {end}",
            why="the file or device is shorter than its header says",
            remedy="Check whether it was truncated or only partly copied",
            volume=self._node.path,
        )

    def _read_fault(self, offset: int, length: int, error: OSError) -> StorageFault:
        return fault(self._node.path, f"cannot read {length} bytes at byte {offset} of the LUKS header", error)


@t.final
class Volume:
    """An open volume; a context manager that closes it.

    path:        as in the task; header_path: the file with the header (the same unless the header is detached).
    container:   "raw" or "qcow2".
    node:        the open file with the header, on which the locks are taken; payload: the other one, if detached.
    start:       byte offset of the header in that file.
    related_nodes: further files and devices that show the same bytes, opened by lock_targets.py to lock them.
    notes:       sentences about the container for the operator.
    places:      the volume and what lies beneath it (:func:`.blockdev.stack`).
    """

    def __init__(
        self, path: str, node: Node, *, payload: t.Optional[Node] = None, crypto: t.Optional[qcow2.Qcow2Crypto] = None
    ) -> None:
        self.path = path
        self.header_path = node.path
        self.node = node
        self.payload = payload
        self.container = "raw" if crypto is None else "qcow2"
        self.start = 0 if crypto is None else crypto.offset
        self.region = Region(node, self.start, node.size if crypto is None else crypto.length)
        self.notes = () if crypto is None else crypto.notes
        self.related_nodes: t.Dict[t.Tuple[str, int, int], Node] = {}
        self._clear: t.Optional[Write] = None if crypto is None else crypto.clear
        self.places = blockdev.stack(node.stat, node.path, self.start)

    @property
    def identity(self) -> t.Tuple[str, int, int, int]:
        """Equal for all paths to one header: the lowest file or device that the system reports, and an offset in it."""
        deepest = self.places[-1]
        return (*deepest.numbers, deepest.offset)

    @property
    def payload_identity(self) -> t.Optional[t.Tuple[str, int, int, int]]:
        """The same for the device beside a detached header."""
        if self.payload is None:
            return None
        deepest = blockdev.stack(self.payload.stat, self.payload.path)[-1]
        return (*deepest.numbers, deepest.offset)

    @property
    def has_others(self) -> bool:
        """Whether other files or headers hold a part of its data, or open it (:mod:`..usecases.chain`)."""
        return bool(self.notes) or (self.payload is not None and _begins_as_luks(self.payload))

    @property
    def rotational(self) -> bool:
        """Whether the medium is a rotating disk, so that several overwriting passes make sense.

        Never for a loop device: what the kernel reports for it is a default, and beneath it is a file, for which
        cryptsetup also uses a single pass.
        """
        rdev = self.node.stat.st_rdev
        return self.node.is_block and not blockdev.is_loop(rdev) and blockdev.is_rotational(rdev)

    def begin_writing(self) -> None:
        """Before the first write: clear the qcow2 feature bits that this writer does not maintain. Once, durably.

        Raises StorageFault if that cannot be written.
        """
        if self._clear is not None:
            whole = Region(self.node, 0, self.node.size)
            whole.write(self._clear.offset, self._clear.data)
            whole.barrier()
            whole.confirm(
                self._clear.offset,
                self._clear.data,
                "the qcow2 header still declares features that this writer does not maintain",
            )
            self._clear = None

    def check_still_there(self) -> None:
        """Raises Refused if a path no longer leads to what is open: it may be replaced during a wait for locks."""
        for node in (self.node, self.payload):
            if node is not None and not node.still_there():
                raise Refused(
                    "the path no longer leads to the file or device that was opened",
                    why="the opened one may be an abandoned copy, and a change to it would be lost",
                    remedy="Run the task again when the program that replaced it is done",
                    volume=node.path,
                )

    def check_writable(self) -> None:
        """Raises the StorageFault that :func:`open_volume` would raise for a writer, although this is open for reading.

        It does not open a block device: when a writer closes one, udev probes the device again and notifies listeners.
        """
        if not self.node.is_block:
            open_node(self.header_path, writable=True).close()
            return
        _check_not_read_only(self.node)
        if not os.access(self.header_path, os.W_OK, effective_ids=True):
            raise fault(
                self.header_path, "cannot open it for writing", OSError(errno.EACCES, os.strerror(errno.EACCES))
            )

    def close(self) -> None:
        """Close every descriptor, which also releases every lock. It may be called twice."""
        for node in (*self.related_nodes.values(), self.payload, self.node):
            if node is not None:
                node.close()
        self.related_nodes.clear()

    def __enter__(self) -> Volume:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_volume(path: str, header: t.Optional[str] = None, *, writable: bool) -> Volume:
    """Open the file with the LUKS header, once; with ``header`` also the payload, read-only.

    Both can be tags as in crypttab (``UUID=...``).

    Raises StorageFault if it cannot be opened, is a read-only device, or is neither a regular file nor a block device;
    Refused if several devices have the tag; for a qcow2 image what :func:`.qcow2.locate` raises.
    """
    path, header = _found(path), None if header is None else _found(header)
    header_path = path if header is None else header
    with contextlib.ExitStack() as on_failure:
        node = open_node(header_path, writable=writable)
        on_failure.callback(node.close)
        if writable:
            _check_not_read_only(node)
        payload = None
        if header is not None:
            payload = open_node(path, writable=False)
            on_failure.callback(payload.close)
        volume = Volume(path, node, payload=payload, crypto=_crypto_of(node))
        on_failure.pop_all()
        return volume


def _begins_as_luks(payload: Node) -> bool:
    """Whether a LUKS header lies at its start, or only the secondary one of LUKS2; not where it cannot be read."""
    read = Region(payload, 0, payload.size).reread
    places = [(0, magic.LUKS), *((offset, magic.SECONDARY) for offset in magic.SECONDARY_OFFSETS)]
    with contextlib.suppress(StorageFault):
        return any(read(offset, len(mark)) == mark for offset, mark in places if offset + len(mark) <= payload.size)
    return False


def _found(name: str) -> str:
    if "=" not in name:
        return name
    from . import tags

    return tags.path_of(name)


def _check_not_read_only(node: Node) -> None:
    if node.is_block and blockdev.is_read_only(node.stat.st_rdev):
        raise StorageFault(
            "the block device is read-only",
            remedy="Make it writable (blockdev --setrw), or attach it without the read-only flag",
            volume=node.path,
        )


def _crypto_of(node: Node) -> t.Optional[qcow2.Qcow2Crypto]:
    whole = Region(node, 0, node.size)
    try:
        if node.size < len(magic.QCOW2) or whole.reread(0, len(magic.QCOW2)) != magic.QCOW2:
            return None
    except StorageFault:
        # A LUKS2 volume can do without its beginning. If this one cannot, parsing the header says what is wrong.
        return None
    from ..header import qcow2  # only for such an image

    try:
        return qcow2.locate(whole.reread, whole.size)
    except LuksmithError as error:
        raise error.on(node.path) from None
