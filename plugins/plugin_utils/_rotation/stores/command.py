# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The store that is somebody's own program: PROGRAM read KEY, PROGRAM write KEY, both in JSON on its standard input and
output.
"""

from __future__ import annotations

import json
import typing as t

from ..entry import passphrases
from ..program import MOST, Late, TooMuch, run
from . import UNCHANGED, Stored, StoreError

# Seconds; what asks a person on a terminal finds none, and would wait for ever otherwise.
TIMEOUT = 300.0
_MOST = 500  # characters of what the program complains of
_UNKNOWN = "It is not known whether the store was changed."


class Command:
    """words: the program and its first arguments."""

    def __init__(self, words: t.Sequence[str], timeout: float = TIMEOUT) -> None:
        self._words = list(words)
        self._timeout = timeout

    def check(self) -> None:
        if not self._words:
            raise StoreError(f"The store command has no program. Name it in rotate_command. {UNCHANGED}")

    def read(self, key: str) -> Stored:
        self.check()
        output = self._run("read", key, None, UNCHANGED, ())
        if not output.strip():
            return Stored(None, None)
        try:
            document = json.loads(output)
        except ValueError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("entry"), (dict, type(None))):
            raise StoreError(
                f'What {self._words[0]} read {key} printed is no JSON of the form {{"entry": ..., "version": ...}}. '
                f"{UNCHANGED}"
            )
        return Stored(document.get("entry"), document.get("version"))

    def write(self, key: str, entry: t.Dict[str, t.Any], version: t.Any) -> Stored:
        self.check()
        self._run("write", key, json.dumps({"entry": entry, "version": version}), _UNKNOWN, passphrases(entry))
        return self.read(key)

    def _run(self, operation: str, key: str, content: t.Optional[str], state: str, secrets: t.Sequence[str]) -> str:
        words = [*self._words, operation, key]
        given = (content or "").encode()
        try:
            done = run(words, given, self._timeout)
        except Late:
            raise StoreError(
                f"{words[0]} {operation} did not end within {self._timeout:g} seconds, and was ended. {state}"
            ) from None
        except TooMuch:
            raise StoreError(
                f"{words[0]} {operation} {key} printed more than {MOST // 2**20} MiB, and was ended. {state}"
            ) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its name or the key holds a NUL character"
            raise StoreError(f"The program {words[0]} of the store cannot be run: {reason}. {UNCHANGED}") from None
        if done.returncode:
            ended = (
                f"failed with exit code {done.returncode}"
                if done.returncode > 0
                else f"was ended by signal {-done.returncode}"
            )
            raise StoreError(f"{words[0]} {operation} {key} {ended}{complaint(done.stderr, secrets)}. {state}")
        return done.stdout.decode("utf-8", "replace")


def complaint(stderr: bytes, secrets: t.Sequence[str]) -> str:
    """The end of what the program said, on one line and without what it was given."""
    text = stderr.decode("utf-8", "replace")
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, json.dumps(secret)[1:-1]):
            text = text.replace(form, "********")
    text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return f": {text[-_MOST:].rstrip('.')}" if text else ", and said nothing"
