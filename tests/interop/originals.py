# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that take a peer long to make: the build of the peer that they depend on, and a copy for each test.

qemu-img, for one, measures the processor for seconds whenever it makes a volume.
"""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import subprocess

from ansible_collections.luksmith.luks.tests import needs
from ansible_collections.luksmith.luks.tests.kept import digest


@functools.lru_cache(maxsize=None)
def build_of(program: str) -> str:
    """Identifies the build of a program: a hash over the program and the libraries that it loads."""
    path = shutil.which(program, path=needs.SEARCH_PATH)
    assert path, f"{program} is not installed"
    lines = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout.split()
    files = [path, *sorted({word for word in lines if word.startswith("/")})]
    return digest([[os.path.realpath(file), os.stat(file).st_size, os.stat(file).st_mtime_ns] for file in files])


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
