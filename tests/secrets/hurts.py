# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a module's process before it runs, and what is looked for in it afterwards.

All of it runs in the child.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import gc
import os
import pathlib
import resource
import sys
import threading
import typing as t

from ansible.module_utils import basic
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors, files, paths
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import header_writer
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import monitor, node, storage
from ansible_collections.luksmith.luks.plugins.module_utils._module import runner, safe_module, wrong_task

ENGINE = str(pathlib.Path(__file__).resolve().parents[2] / "plugins" / "module_utils")
Place = t.Tuple[str, str]

# include/uapi/linux/prctl.h
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4

_entered: t.Dict[Place, None] = {}
_kept: t.List[t.Any] = []


# Which functions run, and what happens in one of them


def _profile(function: t.Any) -> None:
    """In this thread and in those to come."""
    threading.setprofile(function)
    sys.setprofile(function)


def note_functions() -> None:
    """Note what of ours is entered, for :func:`entered`."""

    def note(frame: t.Any, event: str, argument: t.Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ENGINE):
            _entered[(frame.f_code.co_filename, frame.f_code.co_name)] = None

    _profile(note)


def entered() -> t.Dict[str, t.Any]:
    return {"entered": list(_entered)}


def _at(place: Place, deed: t.Callable[[], object]) -> t.Callable[..., None]:
    """A profile function that does ``deed`` when ``place`` is entered for the first time."""

    def strike(frame: t.Any, event: str, argument: t.Any) -> None:
        if event == "call" and (frame.f_code.co_filename, frame.f_code.co_name) == place:
            sys.setprofile(None)
            deed()

    return strike


def raise_in(place: Place, text: str, kind: t.Type[BaseException]) -> None:
    def fail() -> t.NoReturn:
        raise kind(text)

    _profile(_at(place, fail))


def die_in(place: Place, number: int) -> None:
    """By a signal, while core dumps are allowed as far as the system lets us."""
    _allow_cores()
    sys.setprofile(_at(place, functools.partial(os.kill, os.getpid(), number)))


def die_without_the_guard(place: Place) -> None:
    _allow_cores()
    runner.forbid_core_dumps = lambda: None
    sys.setprofile(_at(place, os.abort))


def _allow_cores() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def tell_exceptions_and_raise_in(place: Place, text: str) -> None:
    """The sentence about an error of an unexpected kind shows the error's text where its place should be: backwards,
    because Ansible masks it as it is.
    """
    errors._place = lambda error: str(error)[::-1]
    raise_in(place, text, ZeroDivisionError)


# Ansible as it comes, where ours is more careful


def log_as_ansible() -> None:
    safe_module.SafeModule.log = basic.AnsibleModule.log


def fail_as_ansible() -> None:
    safe_module.SafeModule.fail_json = basic.AnsibleModule.fail_json
    wrong_task.CheckedModule._set_internal_properties = basic.AnsibleModule._set_internal_properties


# Errors that a test cannot bring about from outside


def change_the_header() -> None:
    def changed(self: t.Any) -> t.NoReturn:
        raise errors.HeaderChanged("the header on disk is no longer the one that was read", why="a test says so")

    header_writer.HeaderWriter._guard = changed


def give_no_memory() -> None:
    def none(*arguments: t.Any, **options: t.Any) -> t.NoReturn:
        raise errors.BudgetExceeded("argon2id gets no memory", why="a test says so")

    kdf.derive = none


def fail_writes() -> None:
    """The disk takes no write."""

    def fails(self: t.Any, offset: int, data: bytes) -> t.NoReturn:
        raise node.fault("the volume", f"cannot write at byte {offset}", OSError(errno.EIO, os.strerror(errno.EIO)))

    storage.Region.write = fails


def fail_reads_from(start: int) -> None:
    """The disk does not give back what lies at byte ``start`` of the header or behind it."""
    real = storage.Region.reread

    def fails(self: t.Any, offset: int, length: int) -> t.Any:
        if offset >= start:
            raise node.fault("the volume", f"cannot read at byte {offset}", OSError(errno.EIO, os.strerror(errno.EIO)))
        return real(self, offset, length)

    storage.Region.reread = fails


def fill_file_systems() -> None:
    """No file has room for more; those that are there can be read."""

    def fails(path: str, *arguments: t.Any, **options: t.Any) -> t.NoReturn:
        raise paths.fault(path, "cannot be written", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    files.replace = fails


def fail_jobs() -> None:
    """QEMU begins each job, and says at its end that it did nothing."""
    monitor.Monitor.run_job = lambda self, name, command, arguments: "a test says so"


def each_of(hooks: t.Sequence[t.Callable[[], None]]) -> None:
    for hook in hooks:
        hook()


# What is left of it


def limits() -> t.Dict[str, t.Any]:
    return {
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "dumpable": ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0),
    }


def wipe_nothing() -> None:
    for name, module in list(sys.modules.items()):
        if "luksmith.luks.plugins.module_utils._luks" in name and hasattr(module, "wipe"):
            module.wipe = lambda *buffers: _kept.extend(buffers)


def search_memory(needles: t.Mapping[str, bytes]) -> t.Dict[str, int]:
    """How often each needle is in the writable memory of this process.

    The needles themselves are given inverted, and count for nothing.
    """
    gc.collect()
    # The work is done. Of a process that may not be dumped only root may open this file, the process itself included.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    counts = dict.fromkeys(needles, 0)
    with open("/proc/self/maps", encoding="ascii") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        ranges = [line.split() for line in maps]
        for fields in ranges:
            if not fields[1].startswith("rw") or fields[-1] in ("[vvar]", "[vsyscall]"):
                continue
            begin, end = (int(word, 16) for word in fields[0].split("-"))
            with contextlib.suppress(OSError, OverflowError):
                memory.seek(begin)
                data = memory.read(end - begin)
                for name, inverted in needles.items():
                    plain = bytearray(byte ^ 0xFF for byte in inverted)
                    counts[name] += data.count(plain)
                    plain[:] = bytes(len(plain))
                del data
    return counts
