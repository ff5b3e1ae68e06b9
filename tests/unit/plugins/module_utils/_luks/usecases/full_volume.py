# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the volumes that cryptsetup made (tests/fixtures), with as many keyslots as a test wants, and every
derivation noted.
"""

from __future__ import annotations

import collections
import functools
import gzip
import pathlib
import tempfile
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import key_material
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.tests import kept

Result = t.Dict[str, t.Any]

FIXTURES = pathlib.Path(__file__).resolve().parents[5] / "fixtures"
MADE = ("winter-2025", "in-case-of-fire")  # what the fixtures' keyslots 0 and 1 open with
CHEAP: t.Dict[str, t.Dict[str, int]] = {
    "luks1": {"iterations": 1000},
    "luks2": {"time": 4, "memory": 32, "parallel": 1},
}


def secret(text: str) -> t.Dict[str, str]:
    return {"passphrase": text, "label": f"label of {text}"}


def present(
    format: str, new: str, *, keyslot: t.Optional[int] = None, old: t.Optional[str] = None
) -> t.Dict[str, t.Any]:
    entry: t.Dict[str, t.Any] = {"new_secret": secret(new), "keyslot": keyslot, "pbkdf": CHEAP[format]}
    return {**entry, "old_secret": secret(old)} if old is not None else entry


def absent(old: str) -> t.Dict[str, t.Any]:
    return {"state": "absent", "old_secret": secret(old)}


def amend_volume(
    path: t.Union[pathlib.Path, t.Sequence[pathlib.Path]],
    *entries: t.Dict[str, t.Any],
    unlock: t.Sequence[str] = (),
    check: bool = False,
    **options: t.Any,
) -> Result:
    where = {"device": str(path)} if isinstance(path, pathlib.Path) else {"devices": [str(one) for one in path]}
    task = parse_task({**where, "keyslots": list(entries), "unlock": [secret(text) for text in unlock], **options})
    try:
        return amend.amend(task, check=check)
    finally:
        task.wipe_secrets()


def make(path: pathlib.Path, format: str, slots: int) -> t.List[str]:
    """A volume at ``path`` with keyslots 0 to ``slots`` - 1, which nothing in the header tells apart; returns their
    secrets.
    """
    path.write_bytes(_kept(format, slots))
    return [*MADE[:slots], *_more(slots)]


def _more(slots: int) -> t.List[str]:
    return [f"secret of keyslot {number}" for number in range(2, slots)]


@functools.lru_cache(maxsize=None)
def _kept(format: str, slots: int) -> bytes:
    depends_on = (kept.sources("plugins/module_utils", "tests/fixtures"), pathlib.Path(__file__).read_text())
    recipe = ["full volume", format, slots, *depends_on]
    return kept.value(recipe, lambda: _made(format, slots))


def _made(format: str, slots: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "volume")
        path.write_bytes(gzip.decompress((FIXTURES / f"{format}.img.gz").read_bytes()))
        if slots < 2:
            amend_volume(path, {"state": "absent", "keyslot": 1}, unlock=MADE[:1], record=False)
        for number, text in enumerate(_more(slots), 2):
            amend_volume(path, present(format, text, keyslot=number), unlock=MADE[:1], record=False)
        return path.read_bytes()


def scribble(path: pathlib.Path, offset: int, data: bytes) -> None:
    """Bytes that somebody else writes, past every lock."""
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


class Notes:
    """``derived``: (salt, secret) of each slot key; ``digests``: comparisons with the digest of a volume key; ``peak``:
    KiB at once.
    """

    def __init__(self) -> None:
        self.derived: t.List[t.Tuple[bytes, bytes]] = []
        self.digests = 0
        self.held = self.peak = 0
        self._lock = threading.Lock()

    def twice(self) -> t.List[t.Tuple[bytes, bytes]]:
        return [question for question, times in collections.Counter(self.derived).items() if times > 1]

    def add(self, parameters: t.Any, value: bytearray) -> None:
        with self._lock:
            self.derived.append((parameters.salt, bytes(value)))
            self.held += kdf.memory(parameters)
            self.peak = max(self.peak, self.held)

    def remove(self, parameters: t.Any) -> None:
        with self._lock:
            self.held -= kdf.memory(parameters)


def noted(monkeypatch: pytest.MonkeyPatch) -> Notes:
    notes = Notes()
    derive, matches = kdf.derive, key_material.matches

    def derive_noted(parameters: t.Any, value: bytearray, length: int, *, budget: kdf.Budget) -> bytearray:
        notes.add(parameters, value)
        try:
            return derive(parameters, value, length, budget=budget)
        finally:
            notes.remove(parameters)

    def matches_noted(digest: t.Any, volume_key: t.Any) -> bool:
        notes.digests += 1
        return matches(digest, volume_key)

    monkeypatch.setattr(kdf, "derive", derive_noted)
    monkeypatch.setattr(key_material, "matches", matches_noted)
    return notes
