# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The one error family of the collection.

An error is a sentence for an operator at 3 a.m.: which volume, what was found there, why that stops the work, what to
do next, and what was changed (nothing, unless the error says otherwise). No error ever carries a secret: build
messages from labels, slot numbers and offsets only.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

NOTHING_CHANGED = "Nothing was changed."

# Characters; the longest sentence of this collection has some hundred.
LONGEST_PART = 1500


def shown(text: str, most: int = LONGEST_PART) -> str:
    """``text`` as it may stand in a message or a table: on one line, nothing that a terminal obeys, not longer than ``most``.

    What a header says is untrusted: its label or the name of a hash could clear the operator's screen or forge a line of a log.
    """
    if len(text) > most:
        text = f"{text[:most]}[...]"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode("ascii") for character in text)


def _sentence(text: str) -> str:
    text = text.strip()
    first = text.split(" ", 1)[0]
    if first.isalpha():  # names of options and formats (lock_timeout, keyslots[2], pbkdf2) stay as they are written
        text = text[:1].upper() + text[1:]
    return text + ("" if text[-1:] in ".!?" else ".")


class LuksmithError(Exception):
    """Base of every error that this collection raises on purpose.

    found:   what was seen ("keyslot 3 is active and no given secret opens it").
    why:     why that is a reason to stop ("overwriting it would destroy somebody's key").
    remedy:  what the operator can do ("give its passphrase as old_secret, or set force: true").
    volume:  path of the volume; usually attached on the way up by :meth:`on`.
    changed: the truth about writes; the default says that there were none.
    after_change: whether the error came after all that was wanted was written.
    """

    after_change = False

    def __init__(self, found: str, *, why: str = "", remedy: str = "", volume: str = "", changed: str = NOTHING_CHANGED) -> None:
        super().__init__(found)
        self.found = found
        self.why = why
        self.remedy = remedy
        self.volume = volume
        self.changed = changed

    def on(self, volume: str) -> LuksmithError:
        """Name the volume unless a deeper layer did already; returns self for ``raise error.on(path)``."""
        if not self.volume:
            self.volume = volume
        return self

    def __str__(self) -> str:
        sentences = " ".join(_sentence(shown(part)) for part in (self.found, self.why, self.remedy, self.changed) if part)
        return f"{shown(self.volume)}: {sentences}" if self.volume else sentences


class NotLuks(LuksmithError):
    """The bytes are no LUKS header at all; ``found`` says what they are instead (ext4, LVM, zeros ...)."""


class MalformedHeader(LuksmithError):
    """A LUKS header that breaks the format: reading further or writing would be guessing."""


class Unsupported(LuksmithError):
    """A valid thing that nobody on this host (or nothing in this collection) can handle; never "wrong secret".

    what: kind of the thing ("cipher", "hash", "key derivation", "qcow2 feature"); name: its name in the header.
    """

    def __init__(self, what: str, name: str, *, why: str = "", remedy: str = "", volume: str = "") -> None:
        super().__init__(f"unsupported {what} {name!r}", why=why, remedy=remedy, volume=volume)
        self.what = what
        self.name = name


class BudgetExceeded(LuksmithError):
    """Deriving a key would cost more than the task allows; ``found`` names the stored value and the bound."""


class BadTask(LuksmithError):
    """The task contradicts itself or is incomplete; found before any volume was touched."""


class BadSecret(LuksmithError):
    """A secret cannot be had or used: unreadable keyfile, empty new secret, invalid base64."""


class Refused(LuksmithError):
    """The task is understood, but doing it would be unsafe or impossible in the state that was found."""


class Busy(LuksmithError):
    """Somebody else holds the volume; ``found`` names the lock and, where the system tells, pid and program."""


class HeaderChanged(LuksmithError):
    """The header on disk is no longer the one that was read; the caller plans again."""


class StorageFault(LuksmithError):
    """The operating system failed to open, read, write or sync; ``found`` carries its words, ``errno`` its number, if there is one."""

    errno = 0


class Unexpected(LuksmithError):
    """A fault of this collection: an exception of another kind. Only its kind and place are told, because its text could contain a secret."""

    @classmethod
    def of(cls, error: Exception, *, changed: str = NOTHING_CHANGED) -> Unexpected:
        return cls(
            f"an error that luksmith.luks did not expect: {type(error).__name__} at {_place(error)}",
            why="its text is not shown, because it could contain a secret",
            remedy="please report it with this message",
            changed=changed,
        )


def _place(error: BaseException) -> str:
    """The four innermost files, lines and functions; no source text, no values."""
    frames: t.List[str] = []
    step = error.__traceback__
    while step is not None:
        frames.append(f"{os.path.basename(step.tb_frame.f_code.co_filename)}:{step.tb_lineno} ({step.tb_frame.f_code.co_name})")
        step = step.tb_next
    return ", called from ".join(reversed(frames[-4:]))


def end_of_run(error: t.Optional[BaseException]) -> t.Optional[BaseException]:
    """What asked the whole run to end (a signal, a run that is given up), if ``error`` is that or merely came up on its way out."""
    while error is not None:
        if not isinstance(error, (Exception, GeneratorExit)):
            return error
        error = error.__context__
    return None


def expected(error: Exception, *, changed: str = NOTHING_CHANGED) -> LuksmithError:
    """``error`` if it is one of this family, else the sentence about it. Raises what :func:`end_of_run` finds."""
    ending = end_of_run(error)
    if ending is not None:
        raise ending
    return error if isinstance(error, LuksmithError) else Unexpected.of(error, changed=changed)


@contextlib.contextmanager
def expected_only() -> t.Iterator[None]:
    """For what is done before a write to one of several volumes: every fault comes out as a LuksmithError, so that the others keep their results."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - it is told, without its text
        raise expected(error) from None


class Interrupted(LuksmithError):
    """A plan stopped after its first write. ``actions_done`` and ``actions_left`` are plan actions, in order."""

    def __init__(
        self,
        found: str,
        *,
        why: str = "",
        remedy: str = "",
        volume: str = "",
        changed: str = "",
        actions_done: t.Sequence[t.Any] = (),
        actions_left: t.Sequence[t.Any] = (),
    ) -> None:
        super().__init__(found, why=why, remedy=remedy, volume=volume, changed=changed)
        self.actions_done = tuple(actions_done)
        self.actions_left = tuple(actions_left)

    @classmethod
    def by(cls, error: t.Union[LuksmithError, OSError], volume: str, **rest: t.Any) -> Interrupted:
        """What ``error`` stopped; ``volume`` is named unless the error names another file or device. ``rest``: as for the class, but what was found."""
        if isinstance(error, OSError):
            return cls(f"the system said {error.strerror}", volume=volume, **rest)
        return cls(error.found, volume=error.volume or volume, **{"why": error.why, **rest})
