# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cryptsetup's opinion of a header: does it load it, and which metadata does it see?"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.luksmith.luks.tests.fuzz.medium import Medium

# Bytes; no file system takes a file of 2^63.
MOST = 1 << 42
CRYPTSETUP = shutil.which("cryptsetup", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@contextlib.contextmanager
def file_of(medium: Medium) -> t.Iterator[pathlib.Path]:
    """The medium as a sparse file; on a file system in memory where there is one."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    descriptor, name = tempfile.mkstemp(prefix="luksmith-fuzz-", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(medium.raw)
            file.truncate(min(medium.size, MOST))
        yield pathlib.Path(name)
    finally:
        os.unlink(name)


def loads(medium: Medium) -> t.Tuple[bool, str]:
    """Whether cryptsetup loads it, and its JSON metadata (LUKS2), its dump (LUKS1) or its complaint."""
    words = ["--dump-json-metadata"] if medium.raw[6:8] != b"\0\1" else []
    with file_of(medium) as path:
        done = run("luksDump", *words, str(path))
    return done.returncode == 0, (done.stdout if done.returncode == 0 else done.stderr).decode(errors="replace")


def metadata(text: str) -> t.Any:
    return json.loads(text)


def opens(medium: Medium, secret: bytes) -> bool:
    """On a copy: cryptsetup mends a damaged header as soon as it looks at one."""
    with file_of(medium) as path:
        done = run("open", "--test-passphrase", "--key-file=-", str(path), stdin=secret)
    return done.returncode == 0


def run(*words: str, stdin: bytes = b"") -> t.Any:
    assert CRYPTSETUP is not None
    return subprocess.run([CRYPTSETUP, *words], input=stdin, capture_output=True, check=False, timeout=300)
