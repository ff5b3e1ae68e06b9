# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The store that the monitors of a Ceph cluster keep: ``ceph config-key``.

An OSD reads its passphrase from ``dm-crypt/osd/FSID/luks`` when it is activated, and knows no entries. So for a group
whose name is the FSID of an OSD, that key follows the entry: it gets the new secret before the entry says that this is
the current one, while the volumes open with either.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ..entry import Entry, held, passphrases, same
from ..program import MOST, Ended, Late, TooMuch, run
from . import CHANGED, UNCHANGED, Stored, StoreError
from .command import TIMEOUT, complaint

ENTRIES = "luksmith.luks/"
# Of the secret that the cluster made, in the first entry of an OSD.
MADE_BY_CEPH = "ceph"
_ENOENT = 2


class Ceph:
    """words: the program ceph, and how it logs in."""

    def __init__(self, words: t.Sequence[str] = ("ceph",), timeout: float = TIMEOUT) -> None:
        self._words = list(words)
        self._timeout = timeout

    def check(self) -> None:
        """What a keyring may set is known only when it sets something, which it does before a volume is changed."""
        if not self._words:
            raise StoreError(f"The store ceph has no program. Name it in rotate_ceph. {UNCHANGED}")

    def read(self, key: str) -> Stored:
        self.check()
        return self._read(key, UNCHANGED)[0]

    def write(self, key: str, entry: t.Dict[str, t.Any], version: t.Any) -> Stored:
        self.check()
        before, used = self._read(key, UNCHANGED)
        if before.version != (version or 0):
            raise StoreError(
                f"The entry {key} was changed by another run meanwhile. Run the rotation again; it goes on where the "
                f"other one is. {UNCHANGED}"
            )
        state = UNCHANGED
        # While a secret is staged, an OSD goes on with what it has.
        current = (entry["current"] or {}).get("passphrase") if entry["next"] is None else None
        if used is not None and current is not None and not same(used, current):
            self._set(_of_osd(key), current, "It is not known which of the two secrets the OSD is given.", (current,))
            state = CHANGED
        self._set(ENTRIES + key, json.dumps(entry), state, passphrases(entry))
        return self._read(key, CHANGED)[0]

    def _read(self, key: str, state: str) -> t.Tuple[Stored, t.Optional[str]]:
        """What the store holds, and the passphrase that the OSD is given, None for a volume of no OSD."""
        text, used = self._get(ENTRIES + key, state), self._get(_of_osd(key), state)
        used = None if used is None else used.strip()
        if text is None:
            return Stored(None if not used else _first(key, used), 0 if not used else _digest("", used)), used
        try:
            entry = json.loads(text)
            secrets = [secret["passphrase"] for secret in held(entry)]
            current, staged = entry["current"], entry["next"]
        except (ValueError, TypeError, LookupError):
            raise StoreError(f"config-key {ENTRIES}{key} of the cluster holds no entry. {state}") from None
        # Staged: this run or an earlier one may have been killed between the two keys.
        expected = secrets if staged else [current["passphrase"]] if current else []
        if used is not None and not any(same(used, one) for one in expected):
            raise StoreError(
                f"config-key {_of_osd(key)} is another secret than the entry {key} names, so that the OSD would not "
                "find its way in. Somebody has changed one of them; find out which one opens the volumes (ceph "
                f"config-key get). {state}"
            )
        return Stored(entry, _digest(text, used or "")), used

    def _get(self, key: str, state: str) -> t.Optional[str]:
        done = self._run(["get", key], b"", state)
        if done.returncode == _ENOENT and b"ENOENT" in done.stderr:
            return None
        self._judge(done, f"get {key}", state, ())
        return done.stdout.decode("utf-8", "replace")

    def _set(self, key: str, text: str, state: str, secrets: t.Sequence[str]) -> None:
        done = self._run(["set", key, "-i", "-"], text.encode(), f"It is not known whether {key} was changed.")
        self._judge(done, f"set {key}", state, secrets)

    def _judge(self, done: Ended, what: str, state: str, secrets: t.Sequence[str]) -> None:
        if done.returncode:
            raise StoreError(
                f"{self._words[0]} config-key {what} failed with exit code {done.returncode}"
                f"{complaint(done.stderr, secrets)}. {state}"
            )

    def _run(self, words: t.Sequence[str], given: bytes, state: str) -> Ended:
        try:
            return run([*self._words, "config-key", *words], given, self._timeout)
        except TooMuch:
            raise StoreError(
                f"{self._words[0]} printed more than {MOST // 2**20} MiB, and was ended. {state}"
            ) from None
        except Late:
            raise StoreError(
                f"{self._words[0]} did not end within {self._timeout:g} seconds, and was ended. Are the monitors "
                f"reachable? {state}"
            ) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "a word of it holds a NUL character"
            raise StoreError(f"The program {self._words[0]} cannot be run: {reason}. {UNCHANGED}") from None


def _of_osd(key: str) -> str:
    return f"dm-crypt/osd/{key.rpartition('/')[2]}/luks"


def _first(key: str, passphrase: str) -> Entry:
    """The entry of an OSD that was never rotated."""
    host, _slash, fsid = key.rpartition("/")
    secret = {"id": MADE_BY_CEPH, "passphrase": passphrase, "generation": "", "created": ""}
    place = {"host": host.rpartition("/")[2], "uuid": fsid.lower(), "device": ""}
    return {"format": 1, **place, "current": secret, "next": None, "older": [], "past": []}


def _digest(entry: str, used: str) -> str:
    return hashlib.sha256(f"{len(entry)} {entry}{used}".encode()).hexdigest()
