# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What a rotation has to do on one volume, from what the store holds and what the task wants.

Pure; docs/rotation.md has it as a table.
"""

from __future__ import annotations

import datetime
import typing as t

from .entry import BadEntry, Entry, Secret, notes, same, told

REST = "rest"  # the current secret stays; the older ones must open nothing
TAKE_UP = "take up"  # an earlier run staged a secret: finish what it began
MAKE = "make"  # a new secret is due

TIMES = "%Y-%m-%dT%H:%M:%SZ"
_APART = 1  # days by which the clocks of two controllers may differ


class Wanted(t.NamedTuple):
    """generation: name of the rotation ("2026-11"), "" for none. max_age: days, 0 for no limit. passphrase: a given new
    secret, or None.
    """

    generation: str = ""
    max_age: int = 0
    passphrase: t.Optional[str] = None


class Decision(t.NamedTuple):
    """phase: REST, TAKE_UP or MAKE. reason: for people. then: why another rotation is due after a taken-up secret, else
    "".
    """

    phase: str
    reason: str
    then: str = ""


def decide(entry: Entry, wanted: Wanted, now: datetime.datetime) -> Decision:
    """``now`` is in UTC. Raises BadEntry where no age can be told, because the current secret is of the
    future, and where the given passphrase is one that was given out.
    """
    if entry["next"] is not None:
        reason = (
            f"secret {entry['next']['id']} was staged {entry['next'].get('created', 'earlier')} by a run that "
            "was interrupted"
        )
        if entry["next"].get("where"):
            reason = f"secret {entry['next']['id']} is {entry['next']['where']}"
        return Decision(TAKE_UP, reason, _due(entry["next"], wanted, now))
    reason = _due(entry["current"], wanted, now)
    _check_new(entry["current"], wanted)
    if wanted.max_age and wanted.passphrase is None and not reason:
        _check_clock(entry["current"], now)
    return Decision(MAKE, reason) if reason else Decision(REST, _rest(entry["current"], wanted))


def unproven(secret: Secret) -> Decision:
    """For a staged ``secret`` that the volume does not prove."""
    return Decision(
        MAKE, f"secret {secret['id']} was staged, and the volume does not prove it, so that a fresh one is made"
    )


def useless(secret: Secret) -> Decision:
    """For a current ``secret`` that opens no keyslot."""
    return Decision(
        MAKE,
        f"secret {secret['id']} opens nothing: the volume came back from a backup, or somebody changed the store or "
        "the volume",
    )


def _due(current: t.Optional[Secret], wanted: Wanted, now: datetime.datetime) -> str:
    """Why ``current`` must be replaced, or ""."""
    if current is None:
        return "the store has no secret of this volume yet"
    own = wanted.passphrase is not None and "passphrase" in current
    if own and not same(wanted.passphrase, current["passphrase"]):
        return "the given passphrase is not the current one"
    given = notes(current)
    if given:
        return f"the current secret was {told(given[-1])}"
    if own:
        return ""
    if wanted.generation and current.get("generation") != wanted.generation:
        return (
            f"generation {wanted.generation!r} is wanted, and the current secret is of "
            f"{current.get('generation') or 'none'!r}"
        )
    if wanted.max_age:
        age = _age(current, now)
        if age is None:
            return "nobody knows how old the current secret is"
        if age > wanted.max_age:
            return f"the current secret is {age} days old, and {wanted.max_age} are allowed"
    return ""


def _check_new(current: t.Optional[Secret], wanted: Wanted) -> None:
    """A passphrase of the operator's own that somebody was given is never new, so that no run would replace it."""
    given = notes(current)
    if current and given and wanted.passphrase is not None and same(wanted.passphrase, current.get("passphrase")):
        raise BadEntry(
            f"rotate_passphrase is secret {current['id']}, which was {told(given[-1])}. Give another one, or none to "
            "have one made"
        )


def _check_clock(current: t.Optional[Secret], now: datetime.datetime) -> None:
    age = None if current is None else _age(current, now)
    if current is not None and age is not None and age < -_APART:
        raise BadEntry(
            f"secret {current['id']} was made {current['created']}, which has not come yet by the clock of this "
            "controller, so that rotate_max_age would let it live too long. Set the clock that is wrong; if that was "
            "the clock of an earlier run, rotate once with a new rotate_generation"
        )


def _rest(current: t.Optional[Secret], wanted: Wanted) -> str:
    name = (
        f"secret {current['id']} of {current['created']}"
        if current and current.get("created")
        else "the current secret"
    )
    return f"{name} is what is wanted" + (f" (generation {wanted.generation!r})" if wanted.generation else "")


def _age(secret: Secret, now: datetime.datetime) -> t.Optional[int]:
    """Whole days since the secret was made; None if that is not known."""
    try:
        made = datetime.datetime.strptime(secret.get("created", ""), TIMES)
    except (TypeError, ValueError):
        return None
    return (now.replace(tzinfo=None) - made).days
