# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Plain files, on hosts and on the controller: read whole, and replaced whole or not at all.

:func:`replace` is the one way in which this collection writes a file that somebody else reads: a backup of a header, a keyfile,
the store of a rotation, a report. A cut leaves the old file, and perhaps an unfinished one beside it, which the next run takes over.
Knows no volumes, and imports nothing but the errors.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hmac
import mmap
import os
import stat
import sys
import time
import typing as t

from .errors import NOTHING_CHANGED, BadTask, Busy, LuksmithError, Refused, StorageFault

Bytes = t.Union[bytes, bytearray]

PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700

# To whom the new file belongs: to whoever writes it; to the owner of the old one where we may give files away; or to him or nobody.
OURS, LIKE_THE_OLD, EXACTLY_LIKE_THE_OLD = "ours", "like the old", "exactly like the old"

# O_NONBLOCK: opening a pipe would wait for somebody at its other end before anybody could see what it is.
_HARMLESS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_POLL = 0.05  # seconds; flock cannot wait for a limited time
_TRIES = 10
_SELINUX = "security.selinux"
# Direct I/O wants multiples of the logical block size; nothing in use has larger ones.
_DIRECT = 4096
_EFFECTIVE_IDS = os.access in os.supports_effective_ids

_KEPT = "The file that was there before is untouched."
_REPLACED = "The new file is in its place; after a power cut it could be the old one again."
_UTF8 = "Run the task with PYTHONUTF8=1 or a UTF-8 locale (LC_ALL=C.UTF-8) in its environment"

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)

_REMEDIES = {
    errno.ENOENT: "Check the path; a device that was just attached may still be waiting for udev",
    errno.EACCES: "Run as a user who may do this, for block devices usually root (become: true)",
    errno.EPERM: "Run as a user who may do this; an immutable file (lsattr) refuses even root",
    errno.EROFS: "The file system is mounted read-only; remount it writable",
    errno.ELOOP: "The symbolic links lead in a circle; give the path of the file itself",
    errno.ENOTDIR: "A part of the path is no directory; check the path",
    errno.ENOSPC: "Make room for it there",
    errno.EDQUOT: "Make room for it there",
    errno.ETXTBSY: "Something runs or swaps on this file; stop that first",
    errno.ENXIO: "No device answers behind this node; check that it is attached",
    errno.ENODEV: "No device answers behind this node; check that it is attached",
}


def fault(path: str, doing: str, error: OSError, *, why: str = "", remedy: str = "", changed: str = NOTHING_CHANGED) -> StorageFault:
    """A StorageFault in the system's own words: "cannot open it: Permission denied (EACCES)"."""
    number = error.errno or 0
    name = errno.errorcode.get(number, str(number))
    found = StorageFault(f"{doing}: {os.strerror(number)} ({name})", why=why, remedy=remedy or _REMEDIES.get(number, ""), volume=path, changed=changed)
    found.errno = number
    return found


def unusable(path: str) -> str:
    """Why no file can be asked for by this path, or ""."""
    if "\0" in path:
        return "contains a NUL character, and no file can have such a name"
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return f"has characters that Python on this host cannot spell, because its locale says {sys.getfilesystemencoding()} and not UTF-8"
    return ""


def remedy_for(path: str) -> str:
    """What to do about a path that is :func:`unusable`."""
    return "Check the path" if "\0" in path else _UTF8


def check_path(path: str, name: str) -> None:
    """Raises BadTask if the path that the task gives as ``name`` is :func:`unusable`."""
    reason = unusable(path)
    if reason:
        raise BadTask(f"{name} is {path!r}, which {reason}", remedy=remedy_for(path))


def kind_of(mode: int) -> str:
    """What is no regular file, in words."""
    return next((words for test, words in _KINDS if test(mode)), "something unknown")


def _no_regular_file(mode: int) -> str:
    return f"it is no regular file but {kind_of(mode)}"


def read_regular(path: str) -> bytes:
    """All of a regular file. Raises OSError, also for anything else, which might never come to an end."""
    descriptor = os.open(path, os.O_RDONLY | _HARMLESS)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, _no_regular_file(mode))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def direct_read(descriptor: int, offset: int, length: int) -> t.Iterator[t.Optional[memoryview]]:
    """``length`` bytes past the page cache, None where that is not to be had; overwritten afterwards. Raises OSError with EIO.

    Through a second descriptor: the one that is given keeps its locks.
    """
    begin = offset // _DIRECT * _DIRECT
    skip = offset - begin
    wanted = -(-(skip + length) // _DIRECT) * _DIRECT
    try:
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC) if length else -1
    except (OSError, AttributeError):  # a file system, or a system, without
        direct = -1
    if direct < 0:
        yield None
        return
    try:
        with mmap.mmap(-1, wanted) as buffer, memoryview(buffer) as view:
            try:
                got = _fill_directly(direct, view, begin, skip + length)
                with view[skip : skip + length] as found:
                    yield found if got >= skip + length else None
            finally:
                view[:] = bytes(wanted)
    finally:
        os.close(direct)


def _fill_directly(descriptor: int, view: memoryview, begin: int, wanted: int) -> int:
    got = 0
    try:
        while got < wanted:
            with view[got:] as rest:
                count = os.preadv(descriptor, [rest], begin + got)
            got += count
            # At the end of the file a direct read is short and leaves an offset that is no multiple any more.
            if not count or got % _DIRECT:
                break
    except OSError as error:
        if error.errno == errno.EIO:
            raise
        return 0
    return got


def forget_pages(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to drop its pages of the range; it drops whole pages only, so the range is widened to them."""
    first = offset // mmap.PAGESIZE * mmap.PAGESIZE
    end = -(-(offset + length) // mmap.PAGESIZE) * mmap.PAGESIZE
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(descriptor, first, end - first, os.POSIX_FADV_DONTNEED)


def make_folder(folder: str) -> None:
    """The folder and those above it; what is not there yet is made durably, and for its owner only. Raises StorageFault."""
    missing: t.List[str] = []
    above = os.path.abspath(folder)
    while not os.path.isdir(above):
        missing.append(above)
        above = os.path.dirname(above)
    for one in reversed(missing):
        try:
            os.mkdir(one, _PRIVATE_FOLDER)
            _sync_folder(os.path.dirname(one))
        except OSError as error:
            # Another process may have made it at the same time; a file of that name is something else.
            if not os.path.isdir(one) or error.errno != errno.EEXIST:
                raise fault(folder, f"cannot make the folder {one}", error) from None


def check_replaceable(path: str, *, owner: str = OURS, follow: bool = True, new_folders: bool = False) -> None:
    """Raise what :func:`replace` would raise before it writes a byte, as far as that can be known. Raises Refused and StorageFault."""
    target = _target(path, follow)
    folder = os.path.dirname(target)
    status = _status(path, target)
    while new_folders and not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise StorageFault(f"{folder} is no folder", remedy="Check the path", volume=path)
        raise StorageFault(f"its folder {folder} does not exist", remedy="Make the folder first, for root only (mode 0700)", volume=path)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=_EFFECTIVE_IDS):
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise fault(path, f"cannot write into its folder {folder}", OSError(number, ""))
    if status is not None:
        _check_may_give_way(path, target, os.stat(folder), status)
        if owner == EXACTLY_LIKE_THE_OLD and os.geteuid() != 0 and not _is_ours(status):
            raise fault(path, "cannot give the new file the owner and group of the old one", OSError(errno.EPERM, ""))


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and status.st_gid in (os.getegid(), *os.getgroups())


def _check_may_give_way(path: str, target: str, folder: os.stat_result, status: os.stat_result) -> None:
    """The right to rename is that of the folder. But a sticky one keeps the files of others, and an immutable file stays where it is."""
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
    """Of the file that is there, None for a link that is to be replaced. Raises Refused if it is, or leads to, something else."""
    try:
        status = os.stat(target)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise fault(path, "cannot look at it", error) from None
    if not stat.S_ISREG(status.st_mode):
        raise Refused(_no_regular_file(status.st_mode), why="only a regular file can be replaced whole", remedy="Give another path", volume=path)
    return None if os.path.islink(target) else status


def replace(
    path: str,
    content: Bytes,
    *,
    mode: t.Optional[int] = None,
    owner: str = OURS,
    follow: bool = True,
    secret: bool = False,
    patience: float = 0.0,
    leftovers: t.Sequence[str] = (),
) -> None:
    """``path`` holds ``content``, and keeps it after a power cut, when this returns.

    mode: of the new file; without it, that of the old one, or PRIVATE where there is none.
    owner: OURS, LIKE_THE_OLD or EXACTLY_LIKE_THE_OLD; the latter two keep the SELinux label as well.
    follow: a link stays and the file that it leads to is replaced; without it, the file takes the place of the link, which in a
        folder for everybody may be somebody's trap.
    secret: what an unfinished file holds is overwritten before it goes.
    patience: seconds to wait for another process that replaces the same file.
    leftovers: beginnings of names beside the file that earlier releases gave to their unfinished files, which go.

    Raises Refused if there is something else than a regular file, Busy, and StorageFault. The old file then stays, but for the
    one fault that is ``after_change``: the new file is there, and it is not known whether it would survive a power cut.
    """
    target = _target(path, follow)
    folder, name = os.path.split(target)
    old = _status(path, target)
    beside = os.path.join(folder, f".{name}.luksmith-new")
    descriptor = _open_alone(path, beside, patience)
    try:
        try:
            _forget(folder, leftovers, beside, secret)
            _fill(descriptor, content, secret)
            _dress(descriptor, target, old, owner, mode)
            os.fsync(descriptor)
            _confirm(path, descriptor, content)
            os.rename(beside, target)
        except BaseException as error:
            _remove(beside, descriptor, secret)
            kept = NOTHING_CHANGED if old is None else _KEPT
            if isinstance(error, OSError):
                raise fault(path, "cannot write it", error, changed=kept) from None
            if isinstance(error, LuksmithError):
                error.changed = kept
            raise
        try:
            _sync_folder(folder)
        except OSError as error:
            unsure = fault(path, f"cannot make the change of its folder {folder} durable", error, remedy="Check the medium (dmesg)", changed=_REPLACED)
            unsure.after_change = True
            raise unsure from None
    finally:
        os.close(descriptor)


def _open_alone(path: str, beside: str, patience: float) -> int:
    """The unfinished file, with its lock, which tells a process that is at work from one that died."""
    deadline = time.monotonic() + patience
    tries = 0
    while True:
        descriptor = _open_own(path, beside)
        held = False
        try:
            held = _lock(descriptor)
            # Its owner may have renamed it away between our open and our lock: then it is the finished file, and not ours.
            if held and _is_same(descriptor, beside):
                taken, descriptor = descriptor, -1
                return taken
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        tries += 1
        if time.monotonic() >= deadline and (not held or tries >= _TRIES):
            raise Busy(f"another run is writing {beside}", remedy="Run again when it is done", volume=path)
        if not held:
            time.sleep(_POLL)


def _open_own(path: str, beside: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | _HARMLESS
    try:
        try:
            descriptor = os.open(beside, flags, PRIVATE)
        except PermissionError as denied:
            # What a run left behind may have its final mode, in which even its owner may not write.
            if not _make_writable(beside):
                raise denied from None
            descriptor = os.open(beside, flags, PRIVATE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _in_the_way(path, beside) from None
        raise fault(path, f"cannot create {beside}", error) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise _in_the_way(path, beside)
    return descriptor


def _make_writable(beside: str) -> bool:
    try:
        descriptor = os.open(beside, os.O_RDONLY | os.O_NOFOLLOW | _HARMLESS)
    except OSError:
        return False
    try:
        os.fchmod(descriptor, PRIVATE)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _in_the_way(path: str, beside: str) -> StorageFault:
    return StorageFault(f"{beside} is in the way, and no file of this user", remedy="Find out whose it is and remove it", volume=path)


def _lock(descriptor: int) -> bool:
    """False when another process has it. On a file system without locks there is nobody to be told apart."""
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
    done = 0
    with memoryview(content) as view:
        while done < len(content):
            with view[done:] as rest:
                count = os.pwrite(descriptor, rest, done)
            if not count:
                raise OSError(errno.EIO, "")
            done += count


def _dress(descriptor: int, target: str, old: t.Optional[os.stat_result], owner: str, mode: t.Optional[int]) -> None:
    if old is not None and owner != OURS:
        mine = os.fstat(descriptor)
        if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
            try:
                os.fchown(descriptor, old.st_uid, old.st_gid)
            except PermissionError:
                if owner == EXACTLY_LIKE_THE_OLD:
                    raise
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(descriptor, _SELINUX, os.getxattr(target, _SELINUX))
    if mode is None:
        mode = PRIVATE if old is None else old.st_mode & 0o777
    os.fchmod(descriptor, mode)  # after fchown, which takes bits away


def _confirm(path: str, descriptor: int, content: Bytes) -> None:
    """Worn flash that has become read-only acknowledges writes and keeps what it had."""
    forget_pages(descriptor, 0, len(content))
    with direct_read(descriptor, 0, len(content)) as found:
        same = None if found is None else hmac.compare_digest(found, content)
    if same is None:
        back = bytearray(len(content))
        done = 0
        while done < len(back):
            part = os.pread(descriptor, len(back) - done, done)
            if not part:
                break
            back[done : done + len(part)] = part
            done += len(part)
        same = hmac.compare_digest(back, content)
        back[:] = bytes(len(back))
    if not same:
        raise StorageFault("what was read back is not what was written", why="the medium or its driver loses writes", volume=path)


def overwrite(descriptor: int) -> None:
    """Best effort: the blocks that hold the content of a file which is going away."""
    with contextlib.suppress(OSError):
        size = os.fstat(descriptor).st_size
        if size:
            os.pwrite(descriptor, os.urandom(size), 0)
            os.fsync(descriptor)


def _remove(beside: str, descriptor: int, secret: bool) -> None:
    if secret and _is_same(descriptor, beside):  # not after the rename
        overwrite(descriptor)
    with contextlib.suppress(OSError):
        os.unlink(beside)


def _forget(folder: str, starts: t.Sequence[str], beside: str, secret: bool) -> None:
    """What processes of earlier releases left that were killed while they wrote."""
    for name in os.listdir(folder) if starts else ():
        left = os.path.join(folder, name)
        if left == beside or not name.startswith(tuple(starts)):
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


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
