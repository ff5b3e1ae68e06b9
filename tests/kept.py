# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes long to make is made once, kept in .cache by everything it depends on, and found there by later processes.

ansible-test runs each test in a child of its own, where nothing that is only remembered survives.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import pathlib
import tempfile
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[1]
# One for each user: what root made there would be in an ordinary user's way.
CACHE = ROOT / ".cache" / "kept" / str(os.geteuid())


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
    folder = tempfile.TemporaryDirectory(prefix="luksmith-kept-")
    _kept.append(folder)
    return pathlib.Path(folder.name)


_kept: t.List[t.Any] = []


def folder(recipe: t.Sequence[t.Any], make: t.Callable[[pathlib.Path], object]) -> pathlib.Path:
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


@functools.lru_cache(maxsize=None)
def sources(*folders: str) -> str:
    """Identifies the text of all files below these folders of the checkout, without the bytecode that another process
    may be writing there at this moment.
    """
    found = []
    for folder in folders:
        for place, inner, names in os.walk(ROOT / folder):
            inner[:] = [name for name in inner if name != "__pycache__"]
            found += [pathlib.Path(place, name) for name in names]
    texts = [[str(path.relative_to(ROOT)), hashlib.sha256(path.read_bytes()).hexdigest()] for path in sorted(found)]
    return digest(texts)


def value(recipe: t.Sequence[t.Any], make: t.Callable[[], bytes]) -> bytes:
    """What ``make`` returns, now or in an earlier run."""
    return (folder(recipe, lambda place: (place / "value").write_bytes(make())) / "value").read_bytes()
