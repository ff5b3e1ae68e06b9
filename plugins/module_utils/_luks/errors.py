# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The one error family of the collection.

An error message tells an operator which volume it is about, what was found there, why that stops the work, what to do
next, and what was changed (nothing, unless it says otherwise). No error ever contains a secret: messages are built
from labels, keyslot numbers and offsets only.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from .archive import compile_once

# Every module of the collection imports this file before most others.
compile_once(str(__package__))

NOTHING_CHANGED = "Nothing was changed."

# Characters; the longest sentence of this collection has a few hundred.
LONGEST_PART = 1500


def shown(text: str, most: int = LONGEST_PART) -> str:
    """``text`` fit for a message or a table: one line, no control characters, at most ``most`` characters.

    Headers are untrusted: a label or the name of a hash could clear the operator's screen or forge a line of a log.
    """
    if len(text) > most:
        text = f"{text[:most]}[...]"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def counted(number: int, noun: str) -> str:
    """The number with its noun, in the plural unless it is one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def numbered(numbers: t.Iterable[int], noun: str = "keyslot") -> str:
    """What has these numbers: "keyslot 3", "keyslots 1, 2"."""
    told = [str(number) for number in numbers]
    return f"{noun}{'s' if len(told) > 1 else ''} {', '.join(told)}"


def _sentence(text: str) -> str:
    text = text.strip()
    first = text.split(" ", 1)[0]
    if first.isalpha():  # names of options and formats (lock_timeout, keyslots[2], pbkdf2) keep their spelling
        text = text[:1].upper() + text[1:]
    return text + ("" if text[-1:] in ".!?" else ".")


class LuksmithError(Exception):
    """Base of every error that this collection raises on purpose.

    found:   what was found ("keyslot 3 is active and no given secret opens it").
    why:     why that stops the work ("overwriting it would destroy a key").
    remedy:  what the operator can do ("give its passphrase as old_secret, or set force: true").
    volume:  path of the volume; callers usually attach it with :meth:`on`.
    changed: what was written; nothing by default.
    after_change: whether everything was written before the error.
    """

    after_change = False

    def __init__(
        self, found: str, *, why: str = "", remedy: str = "", volume: str = "", changed: str = NOTHING_CHANGED
    ) -> None:
        super().__init__(found)
        self.found = found
        self.why = why
        self.remedy = remedy
        self.volume = volume
        self.changed = changed

    def clauses(self) -> str:
        """What was found, why and what to do, for the middle of a sentence. A program may have said a part of it."""
        return "; ".join(part.strip().rstrip(".") for part in (self.found, self.why, self.remedy) if part)

    def on(self, volume: str) -> LuksmithError:
        """Name the volume unless the error names one already; returns self for ``raise error.on(path)``."""
        if not self.volume:
            self.volume = volume
        return self

    def __str__(self) -> str:
        sentences = " ".join(
            _sentence(shown(part)) for part in (self.found, self.why, self.remedy, self.changed) if part
        )
        return f"{shown(self.volume)}: {sentences}" if self.volume else sentences


class NotLuks(LuksmithError):
    """The bytes are not a LUKS header; ``found`` says what they are instead (ext4, LVM, zeros ...)."""


class MalformedHeader(LuksmithError):
    """A LUKS header that breaks the format, so that reading on or writing would be a guess."""


class Unsupported(LuksmithError):
    """A valid feature that this host or this collection does not support; never a wrong secret.

    what: kind of feature ("cipher", "hash", "key derivation", "qcow2 feature"); name: its name in the header.
    """

    def __init__(self, what: str, name: str, *, why: str = "", remedy: str = "", volume: str = "") -> None:
        super().__init__(f"unsupported {what} {name!r}", why=why, remedy=remedy, volume=volume)
        self.what = what
        self.name = name


class BudgetExceeded(LuksmithError):
    """A key derivation would cost more than the task allows; ``found`` names the stored value and the limit."""


class BadTask(LuksmithError):
    """The task contradicts itself or is incomplete; raised before any volume is touched."""


class BadSecret(LuksmithError):
    """A secret cannot be read or used: unreadable keyfile, empty new secret, invalid base64."""


class Refused(LuksmithError):
    """The task is valid, but unsafe or impossible in the state that was found."""


class Busy(LuksmithError):
    """Another program holds a lock; ``found`` names the lock and, if the system tells, pid and program."""


class HeaderChanged(LuksmithError):
    """The header on disk is no longer the one that was read."""


class StorageFault(LuksmithError):
    """The operating system failed to open, read, write or sync; ``found``: its message, ``errno``: its number or 0."""

    errno = 0


class Unexpected(LuksmithError):
    """A bug: another kind of exception. Only its type and place are shown, because its text could contain a secret."""

    @classmethod
    def of(cls, error: Exception, *, changed: str = NOTHING_CHANGED) -> Unexpected:
        return cls(
            f"internal error in luksmith.luks: {type(error).__name__} at {_place(error)}",
            why="its text is not shown, because it could contain a secret",
            remedy="please report it with this message",
            changed=changed,
        )


def _place(error: BaseException) -> str:
    """The four innermost files, lines and functions; no source text, no values."""
    frames: t.List[str] = []
    step = error.__traceback__
    while step is not None:
        frames.append(
            f"{os.path.basename(step.tb_frame.f_code.co_filename)}:{step.tb_lineno} ({step.tb_frame.f_code.co_name})"
        )
        step = step.tb_next
    return ", called from ".join(reversed(frames[-4:]))


def end_of_run(error: t.Optional[BaseException]) -> t.Optional[BaseException]:
    """The exception that ends the whole run (a signal, an abort), if it is ``error`` or ``error`` came up after it."""
    while error is not None:
        if not isinstance(error, (Exception, GeneratorExit)):
            return error
        error = error.__context__
    return None


def expected(error: Exception, *, changed: str = NOTHING_CHANGED) -> LuksmithError:
    """``error`` if it is a LuksmithError, else an Unexpected about it. Raises what :func:`end_of_run` finds."""
    ending = end_of_run(error)
    if ending is not None:
        raise ending
    return error if isinstance(error, LuksmithError) else Unexpected.of(error, changed=changed)


@contextlib.contextmanager
def expected_only() -> t.Iterator[None]:
    """Raises every exception of its block as a LuksmithError; for work on one of several volumes before a write."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - it is reported, without its text
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
        """The interruption by ``error``, on ``volume`` unless the error names one; ``rest``: further arguments."""
        if isinstance(error, OSError):
            return cls(f"system error: {error.strerror}", volume=volume, **rest)
        return cls(error.found, volume=error.volume or volume, **{"why": error.why, **rest})
