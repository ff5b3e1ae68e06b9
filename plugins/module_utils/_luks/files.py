# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Plain files, on hosts and on the controller: read whole, and replaced whole or not at all.

:func:`replace` writes every file that others read: a header backup, a keyfile, the store of a rotation, a report. An
interruption leaves the old file, and perhaps an unfinished one beside it, which the next run takes over.
Knows no volumes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import hmac
import os
import stat
import time
import typing as t

from .errors import NOTHING_CHANGED, Busy, LuksmithError, Refused, StorageFault
from .file_system import view_of_the_kernel
from .page_cache import direct_read, forget_pages
from .paths import fault, kind_of

Bytes = t.Union[bytes, bytearray]

PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700

# Owner of the new file: the user who writes it; the owner of the old one if permitted; that owner or an error.
OURS, LIKE_THE_OLD, EXACTLY_LIKE_THE_OLD = "ours", "like the old", "exactly like the old"

# O_NONBLOCK: opening a pipe would wait for a process at its other end before its type is known.
_HARMLESS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_POLL = 0.05  # seconds; flock cannot wait for a limited time
_TRIES = 10
_SELINUX = "security.selinux"
_EFFECTIVE_IDS = os.access in os.supports_effective_ids

KEPT = "The file that was there before is untouched."
_REPLACED = "The new file is in place, but a power failure could bring the old one back."


def _no_regular_file(mode: int) -> str:
    return f"it is not a regular file but {kind_of(mode)}"


def read_regular(path: str) -> bytes:
    """The whole content of a regular file. Raises OSError if it cannot be read or is not a regular file."""
    with open_regular(path) as file:
        return file.read()


@contextlib.contextmanager
def open_regular(path: str) -> t.Iterator[t.BinaryIO]:
    """A regular file to read. Raises OSError as :func:`read_regular` does."""
    descriptor = os.open(path, os.O_RDONLY | _HARMLESS)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, _no_regular_file(mode))
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def make_folder(folder: str) -> None:
    """Make the folder and missing parents, durably and for the owner only. Raises StorageFault if that fails."""
    missing: t.List[str] = []
    above = os.path.abspath(folder)
    while not os.path.isdir(above):
        missing.append(above)
        above = os.path.dirname(above)
    for one in reversed(missing):
        try:
            os.mkdir(one, _PRIVATE_FOLDER)
            sync(os.path.dirname(one))
        except OSError as error:
            # Another process may have made the folder meanwhile; a file of that name is an error.
            if not os.path.isdir(one) or error.errno != errno.EEXIST:
                raise fault(folder, f"cannot make the folder {one}", error) from None


def check_replaceable(
    path: str, *, owner: str = OURS, follow: bool = True, new_folders: bool = False, size: int = 0
) -> None:
    """Raises Refused or StorageFault if :func:`replace` would fail, as far as can be known before its first write.

    size: bytes of the new file, which needs room beside the old one.
    """
    target = _target(path, follow)
    folder = os.path.dirname(target)
    status = _status(path, target)
    while new_folders and not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise StorageFault(f"{folder} is not a directory", remedy="Check the path", volume=path)
        raise StorageFault(
            f"its directory {folder} does not exist",
            remedy="Create the directory first, for root only (mode 0700)",
            volume=path,
        )
    view = view_of_the_kernel(folder)
    if view:
        raise StorageFault(
            f"cannot write to its directory {folder}, which is on the file system {view}",
            why="that shows what the kernel knows, and keeps no files",
            remedy="Give a directory on a disk",
            volume=path,
        )
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=_EFFECTIVE_IDS):
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise fault(path, f"cannot write to its directory {folder}", OSError(number, ""))
    _check_room(path, folder, size)
    if status is not None:
        _check_may_give_way(path, target, os.stat(folder), status)
        if owner == EXACTLY_LIKE_THE_OLD and os.geteuid() != 0 and not _is_ours(status):
            raise fault(path, "cannot give the new file the owner and group of the old one", OSError(errno.EPERM, ""))


def _check_room(path: str, folder: str, size: int) -> None:
    """Raises StorageFault if ``folder`` lacks the room, as far as its file system says: not of quotas or thin pools."""
    there = os.statvfs(folder)
    free = there.f_frsize * (there.f_bavail if os.geteuid() else there.f_bfree)
    if there.f_blocks and free < size:
        doing = f"cannot write {-(-size // 1024)} KiB where {free // 1024} KiB are free"
        raise fault(path, doing, OSError(errno.ENOSPC, ""))


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and status.st_gid in (os.getegid(), *os.getgroups())


def _check_may_give_way(path: str, target: str, folder: os.stat_result, status: os.stat_result) -> None:
    """The folder decides on renames, but in a sticky one only the owner may rename, and immutable files stay."""
    sticky = folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, status.st_uid, folder.st_uid)
    # Root may write every file but an immutable one; so may its owner, if the mode says so.
    may_write = os.geteuid() == 0 or (status.st_uid == os.geteuid() and status.st_mode & stat.S_IWUSR)
    if sticky or (may_write and not os.access(target, os.W_OK, effective_ids=_EFFECTIVE_IDS)):
        raise fault(path, "cannot replace it", OSError(errno.EPERM, ""))


def _target(path: str, follow: bool) -> str:
    if follow:
        return os.path.realpath(path)
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def _status(path: str, target: str) -> t.Optional[os.stat_result]:
    """The status of the present file, None without one or for a link to replace. Raises Refused for other types."""
    try:
        status = os.stat(target)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise fault(path, "cannot look at it", error) from None
    if not stat.S_ISREG(status.st_mode):
        raise Refused(
            _no_regular_file(status.st_mode),
            why="only a regular file can be replaced whole",
            remedy="Give another path",
            volume=path,
        )
    return None if os.path.islink(target) else status


def replace(
    path: str,
    content: t.Union[Bytes, t.Iterator[bytes]],
    *,
    mode: t.Optional[int] = None,
    owner: str = OURS,
    follow: bool = True,
    secret: bool = False,
    patience: float = 0.0,
    leftovers: t.Sequence[str] = (),
) -> None:
    """Replace ``path`` by ``content`` durably: when this returns, a power failure does not undo it.

    content: whole, or what is too large for that in parts, of which none is empty.
    mode: of the new file; by default that of the old one, or PRIVATE if there is none.
    owner: OURS, LIKE_THE_OLD or EXACTLY_LIKE_THE_OLD; the latter two also keep the SELinux label.
    follow: replace the file that a link leads to. Otherwise the file replaces the link, which in a folder that others
        can write to may be a trap.
    secret: overwrite the content of an unfinished file before removing it.
    patience: seconds to wait for another process that replaces the same file.
    leftovers: prefixes of names that earlier releases gave to unfinished files beside this one, which are removed.

    Raises Refused if ``path`` is not a regular file, Busy if another process replaces it, and StorageFault if the
    system fails. The old file then stays, except with ``after_change``: the new file is in place, but a power failure
    may undo that.
    """
    target = _target(path, follow)
    folder = os.path.dirname(target)
    old = _status(path, target)
    unfinished = unfinished_of(target)
    descriptor = _open_locked(path, unfinished, patience)
    try:
        try:
            _remove_leftovers(folder, leftovers, unfinished, secret)
            written = _Written()
            if isinstance(content, (bytes, bytearray)):
                _fill(descriptor, content, secret)
            else:
                _fill(descriptor, b"", secret)
                for part in content:
                    written.put(descriptor, part)
            _set_owner_and_mode(descriptor, target, old, owner, mode)
            os.fsync(descriptor)
            if isinstance(content, (bytes, bytearray)):
                _confirm(path, descriptor, content)
            else:
                written.confirm(path, descriptor)
            os.rename(unfinished, target)
        except BaseException as error:
            _remove(unfinished, descriptor, secret)
            kept = NOTHING_CHANGED if old is None else KEPT
            if isinstance(error, OSError):
                raise fault(path, "cannot write it", error, changed=kept) from None
            if isinstance(error, LuksmithError):
                error.changed = kept
            raise
        try:
            sync(folder)
        except OSError as error:
            unsure = fault(
                path,
                f"cannot make the change of its folder {folder} durable",
                error,
                remedy="Check the medium (dmesg)",
                changed=_REPLACED,
            )
            unsure.after_change = True
            raise unsure from None
    finally:
        os.close(descriptor)


def _open_locked(path: str, unfinished: str, patience: float) -> int:
    """The unfinished file, locked: the lock tells a running process from one that died."""
    deadline = time.monotonic() + patience
    tries = 0
    while True:
        descriptor = _open_own(path, unfinished)
        held = False
        try:
            held = _lock(descriptor)
            # Its owner may have renamed it between our open and our lock: then it is the finished file, not ours.
            if held and _is_same(descriptor, unfinished):
                taken, descriptor = descriptor, -1
                return taken
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        tries += 1
        if time.monotonic() >= deadline and (not held or tries >= _TRIES):
            raise Busy(f"another run is writing {unfinished}", remedy="Run again when it is done", volume=path)
        if not held:
            time.sleep(_POLL)


def _open_own(path: str, unfinished: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | _HARMLESS
    try:
        try:
            descriptor = os.open(unfinished, flags, PRIVATE)
        except PermissionError:
            # A file left by an interrupted run may have its final mode, in which even its owner cannot write.
            _make_writable(unfinished)
            descriptor = os.open(unfinished, flags, PRIVATE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _in_the_way(path, unfinished) from None
        raise fault(path, f"cannot create {unfinished}", error) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise _in_the_way(path, unfinished)
    return descriptor


def _make_writable(unfinished: str) -> None:
    """As far as this process may; raises OSError."""
    descriptor = os.open(unfinished, os.O_RDONLY | os.O_NOFOLLOW | _HARMLESS)
    try:
        os.fchmod(descriptor, PRIVATE)
    finally:
        os.close(descriptor)


def _in_the_way(path: str, unfinished: str) -> StorageFault:
    return StorageFault(
        f"{unfinished} is in the way and is not a regular file of this user",
        remedy="Find out where it comes from and remove it",
        volume=path,
    )


def _lock(descriptor: int) -> bool:
    """False if another process has it. On a file system without locks always True."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _is_same(descriptor: int, path: str) -> bool:
    mine = os.fstat(descriptor)
    try:
        now = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino)


def _fill(descriptor: int, content: Bytes, secret: bool) -> None:
    if secret:
        overwrite(descriptor)
    os.ftruncate(descriptor, 0)
    os.fchmod(descriptor, PRIVATE)
    _write(descriptor, content, 0)


def _write(descriptor: int, content: Bytes, offset: int) -> None:
    done = 0
    with memoryview(content) as view:
        while done < len(content):
            with view[done:] as rest:
                count = os.pwrite(descriptor, rest, offset + done)
            if not count:
                raise OSError(errno.EIO, "")
            done += count


class _Written:
    """A content in parts, of which only the sizes and digests are kept."""

    def __init__(self) -> None:
        self._size = 0
        self._parts: t.List[t.Tuple[int, bytes]] = []

    def put(self, descriptor: int, part: bytes) -> None:
        _write(descriptor, part, self._size)
        self._size += len(part)
        self._parts.append((len(part), hashlib.sha256(part).digest()))

    def confirm(self, path: str, descriptor: int) -> None:
        """As :func:`_confirm`."""
        forget_pages(descriptor, 0, self._size)
        done = 0
        for size, digest in self._parts:
            with direct_read(descriptor, done, size) as direct:
                found = None if direct is None else hashlib.sha256(direct).digest()
            if (found or hashlib.sha256(_read(descriptor, done, size)).digest()) != digest:
                raise _lost(path)
            done += size


def _set_owner_and_mode(
    descriptor: int, target: str, old: t.Optional[os.stat_result], owner: str, mode: t.Optional[int]
) -> None:
    if old is not None and owner != OURS:
        mine = os.fstat(descriptor)
        if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
            try:
                os.fchown(descriptor, old.st_uid, old.st_gid)
            except PermissionError:
                if owner == EXACTLY_LIKE_THE_OLD:
                    raise
                # Not ours to give away; but the group that shared the old file shares the new one.
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, -1, old.st_gid)
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(descriptor, _SELINUX, os.getxattr(target, _SELINUX))
    if mode is None:
        mode = PRIVATE if old is None else old.st_mode & 0o777
    os.fchmod(descriptor, mode)  # after fchown, which clears bits


def _confirm(path: str, descriptor: int, content: Bytes) -> None:
    """Read back: worn flash that has become read-only acknowledges writes and keeps its old data."""
    forget_pages(descriptor, 0, len(content))
    with direct_read(descriptor, 0, len(content)) as found:
        same = None if found is None else hmac.compare_digest(found, content)
    if same is None:
        back = _read(descriptor, 0, len(content))
        same = hmac.compare_digest(back, content)
        back[:] = bytes(len(back))
    if not same:
        raise _lost(path)


def _read(descriptor: int, offset: int, size: int) -> bytearray:
    """With zeros for what is not there."""
    back = bytearray(size)
    done = 0
    while done < size:
        part = os.pread(descriptor, size - done, offset + done)
        if not part:
            break
        back[done : done + len(part)] = part
        done += len(part)
    return back


def _lost(path: str) -> StorageFault:
    return StorageFault(
        "the data read back is not the data written", why="the medium or its driver loses writes", volume=path
    )


def unfinished_of(target: str) -> str:
    """Where :func:`replace` writes what is to become ``target``; a killed process leaves it there."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}.luksmith-new")


def overwrite(descriptor: int) -> None:
    """Overwrite the content of a file before its removal (best effort)."""
    with contextlib.suppress(OSError):
        size = os.fstat(descriptor).st_size
        if size:
            os.pwrite(descriptor, os.urandom(size), 0)
            os.fsync(descriptor)


def _remove(unfinished: str, descriptor: int, secret: bool) -> None:
    if secret and _is_same(descriptor, unfinished):  # not after the rename
        overwrite(descriptor)
    with contextlib.suppress(OSError):
        os.unlink(unfinished)


def _remove_leftovers(folder: str, starts: t.Sequence[str], unfinished: str, secret: bool) -> None:
    """Remove unfinished files of earlier releases whose processes were killed."""
    for name in os.listdir(folder) if starts else ():
        left = os.path.join(folder, name)
        if left == unfinished or not name.startswith(tuple(starts)):
            continue
        if secret:
            with contextlib.suppress(OSError):
                descriptor = os.open(left, os.O_RDWR | os.O_NOFOLLOW | _HARMLESS)
                try:
                    if stat.S_ISREG(os.fstat(descriptor).st_mode) and os.fstat(descriptor).st_nlink == 1:
                        overwrite(descriptor)
                finally:
                    os.close(descriptor)
        os.unlink(left)


def sync_folder(path: str) -> None:
    """Make the removal of ``path`` durable. Raises StorageFault."""
    try:
        sync(os.path.dirname(path))
    except OSError as error:
        raise fault(path, "cannot make its removal durable", error, remedy="Check the medium (dmesg)") from None


def sync(folder: str) -> None:
    """Make changes of the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
