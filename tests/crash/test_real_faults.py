# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that the kernel itself answers: a full file system beneath a loop device, a read-only device, and calls that
strace lets fail.

A loop device over a sparse file on a full file system is a disk that loses writes: they are accepted into the page
cache, the fsync fails, and from then on the cache says one thing and the medium another.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.module_process import outcome, outcome_under_strace
from ansible_collections.luksmith.luks.tests.crash.operations import A, B, C, absent, present, task
from ansible_collections.luksmith.luks.tests.crash.peers import opened_by_peer
from ansible_collections.luksmith.luks.tests.crash.volumes import SECRETS, luks1, luks2

ROTATE = task(present(B, old=A), absent(old=C))


def call(device: t.Union[str, pathlib.Path], wanted: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return outcome({"device": str(device), "lock_timeout": 0, **wanted})


def info(device: t.Union[str, pathlib.Path]) -> t.Dict[str, t.Any]:
    return outcome({"device": str(device), "lock_timeout": 0}, "keyslots_info")


@contextlib.contextmanager
def loop(image: pathlib.Path, *options: str) -> t.Iterator[str]:
    command = ["losetup", *options, "--find", "--show", str(image)]
    attached = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield attached
    finally:
        subprocess.run(["losetup", "--detach", attached], check=True)


@pytest.fixture
def small(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def sparse(path: pathlib.Path, data: bytes) -> None:
    """``data`` with holes where no header and no active keyslot is."""
    header = checker.read(data)
    used = [range(header.size), *(range(slot.offset, slot.offset + 64000) for slot in header.slots.values())]
    with open(path, "wb") as file:
        for offset in range(0, len(data), 4096):
            block = data[offset : offset + 4096]
            if any(offset <= place.start < offset + 4096 or offset in place for place in used):
                file.seek(offset)
                file.write(block)
        file.truncate(len(data))


def fill(folder: pathlib.Path) -> pathlib.Path:
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


@pytest.mark.needs("loop", "cryptsetup")
@pytest.mark.parametrize("make", [luks1, luks2], ids=["luks1", "luks2"])
@pytest.mark.parametrize("place", ["file", "loop device"])
def test_a_full_file_system(make: t.Callable[[t.Dict[int, str]], bytes], place: str, small: pathlib.Path) -> None:
    image = small / "volume"
    start = make({0: A, 1: C})
    sparse(image, start)
    filler = fill(small)
    with contextlib.ExitStack() as devices:
        device = str(image) if place == "file" else devices.enter_context(loop(image))
        for time in range(2):  # the second one meets what the first one left in the page cache
            result = call(device, ROTATE)
            assert result.get("failed") and ("ENOSPC" if place == "file" else "EIO") in result["msg"], (time, result)
            assert result["changed"] and result["actions_left"], result
            assert opened_by_peer(device, start, SECRETS) >= {A, C} - {C} and opened_by_peer(device, start, SECRETS)
        unfinished = info(device)["header"]["unfinished"]
        note = checker.read(image.read_bytes()).note  # of the medium: the file beneath
        assert (unfinished and (unfinished["kind"], unfinished["keyslot"])) == note
        filler.unlink()
        result = call(device, ROTATE)
        assert not result.get("failed"), result
        assert opened_by_peer(device, start, SECRETS) == {B}
        assert checker.openers(image.read_bytes(), SECRETS) == {0: frozenset({B})}
        assert not call(device, ROTATE)["changed"]


@pytest.mark.needs("loop", "cryptsetup")
@pytest.mark.parametrize("make", [luks1, luks2], ids=["luks1", "luks2"])
def test_a_read_only_device(make: t.Callable[[t.Dict[int, str]], bytes], tmp_path: pathlib.Path) -> None:
    image = tmp_path / "volume"
    image.write_bytes(make({0: A, 1: C}))
    before = image.read_bytes()
    with loop(image, "--read-only") as device:
        result = call(device, ROTATE)
        assert (
            result["failed"]
            and not result["changed"]
            and "read-only" in result["msg"]
            and "Nothing was changed" in result["msg"]
        ), result
    assert image.read_bytes() == before


@pytest.mark.needs("strace", "cryptsetup")
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("fsync:error=EIO:when=2", "EIO"),
        ("fsync:error=EIO:when=5", "EIO"),
        ("pwrite64:error=ENOSPC:when=1", "ENOSPC"),
        ("pwrite64:error=EIO:when=3+", "EIO"),
        ("preadv,preadv2:error=EIO:when=9+", "EIO"),
        ("pread64,preadv,preadv2:error=EIO:when=1+", "EIO"),
    ],
)
def test_calls_that_fail_in_a_process_of_its_own(fault: str, word: str, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "volume"
    start = luks1({0: A, 1: C})
    image.write_bytes(start)
    arguments = {"device": str(image), "lock_timeout": 0, **ROTATE}
    result = outcome_under_strace(arguments, "-o", str(tmp_path / "log"), "-P", str(image), "-e", f"inject={fault}")
    assert result.get("failed") and word in result["msg"] and os.strerror(getattr(errno, word)) in result["msg"], result
    assert (
        result["changed"]
        == ("actions_left" in result)
        == (image.read_bytes() != start or "pwrite64:error=ENOSPC" in fault)
    )
    assert opened_by_peer(str(image), start, SECRETS)
    assert not call(image, ROTATE).get("failed")
    assert checker.openers(image.read_bytes(), SECRETS) == {0: frozenset({B})}
