# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that take a peer long to make: made once, kept in .cache by everything they depend on, copied for each test.

qemu-img, for one, measures the processor for seconds whenever it makes a volume.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.luksmith.luks.tests import needs

# One for each user: what root made there would be in an ordinary user's way.
CACHE = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "interop" / str(os.geteuid())


@functools.lru_cache(maxsize=None)
def build_of(program: str) -> str:
    """Identifies the build of a program: a hash over the program and the libraries that it loads."""
    path = shutil.which(program, path=needs.SEARCH_PATH)
    assert path, f"{program} is not installed"
    lines = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout.split()
    files = [path, *sorted({word for word in lines if word.startswith("/")})]
    return digest([[os.path.realpath(file), os.stat(file).st_size, os.stat(file).st_mtime_ns] for file in files])


def digest(what: t.Any) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=1)
def _place() -> pathlib.Path:
    """The cache, or where this user cannot write to it, a folder for this session."""
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=CACHE):
            return CACHE
    except OSError:
        return _temporary()


def _temporary() -> pathlib.Path:
    folder = tempfile.TemporaryDirectory(prefix="luksmith-interop-")
    _kept.append(folder)
    return pathlib.Path(folder.name)


_kept: t.List[t.Any] = []


def kept(recipe: t.Sequence[t.Any], make: t.Callable[[pathlib.Path], object]) -> pathlib.Path:
    """The folder that ``make`` fills, now or in an earlier run. ``recipe``: everything that its content depends on."""
    place = _place() / digest(list(recipe))
    if not place.exists():
        with place.with_suffix(".lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not place.exists():
                with tempfile.TemporaryDirectory(dir=place.parent, prefix="being-made-") as scratch:
                    content = pathlib.Path(scratch, "content")
                    content.mkdir()
                    make(content)
                    content.rename(place)
    return place


def copied(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """A copy with the holes of its source. A volume is a little key material and much that was never written."""
    with source.open("rb") as file, target.open("wb") as copy:
        size = file.seek(0, os.SEEK_END)
        end = 0
        while end < size:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # nothing but a hole up to the end
                break
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            file.seek(begin)
            copy.seek(begin)
            copy.write(file.read(end - begin))
        copy.truncate(size)
    return target
