# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Entries with a binding, resolved for one header: which keyslots of bindings have to go, for the planner."""

from __future__ import annotations

import typing as t

from ..errors import Refused
from ..header.foreign_tokens import Decoded
from ..header.model import Header
from ..task.desired import ABSENT, PRESENT, Desired, Entry
from ..unlock.bindings import fits, of_kind, of_other_pcrs
from ..unlock.prover import Prover
from ..unlock.tokens import decoded
from ..unlock.verdict import Verdict


class Resolved(t.NamedTuple):
    """``resealed``: numbers of tokens of another state of the machine, of which a warning tells: a new one comes."""

    desired: Desired
    warnings: t.Tuple[str, ...] = ()
    resealed: t.Tuple[int, ...] = ()


def resolved(desired: Desired, header: Header, prover: Prover) -> Resolved:
    """``desired`` with an entry for each keyslot of a binding that is absent, or that one of its kind replaces.

    What is wanted is asked for its secret. Raises Refused on LUKS1, and what :meth:`.Prover.verdict` raises.
    """
    wanted = [entry for entry in desired.entries if entry.binding is not None or entry.token]
    if header.format != "luks2":
        what = "binding" if wanted[0].binding is not None else "token"
        raise Refused(
            f"keyslots[{wanted[0].position}] has a {what}, and the volume is {header.format.upper()}",
            why="only LUKS2 has tokens",
            remedy="leave it out, or convert the volume with 'cryptsetup convert --type luks2'",
        )
    warnings: t.List[str] = []
    going: t.Dict[int, Entry] = {}
    resealed: t.List[int] = []
    for token in (decoded(header, token) for token in header.tokens if not token.ours):
        entry = _to_go(token, wanted, prover)
        if entry is None:
            continue
        if entry.state == PRESENT and _of_another_state(token, prover):
            resealed.append(token.number)
            warnings.append(
                f"token {token.number} ({token}) yields nothing, because the PCRs differ from those it was sealed to:"
                " the machine started something else since (firmware, Secure Boot, boot loader, another medium)."
                " A new key is sealed to the present ones, which unlock the volume from then on; make sure that the"
                " change is yours"
            )
        if not token.keyslots:
            warnings.append(
                f"token {token.number} ({token}) has no keyslot; remove it with "
                f"'cryptsetup token remove --token-id {token.number} DEVICE'"
            )
        for keyslot in token.keyslots:
            why = _why_it_stays(token, keyslot, desired, prover)
            if why:
                warnings.append(f"keyslot {keyslot} of token {token.number} ({token}) stays: {why}")
            else:
                wants = "wants this binding absent" if entry.state == ABSENT else "wants another binding in place of it"
                because = f"{wants}: token {token.number} ({token})"
                going[keyslot] = Entry(position=entry.position, state=ABSENT, keyslot=keyslot, because=because)
    return Resolved(desired._replace(entries=(*desired.entries, *going.values())), tuple(warnings), tuple(resealed))


def _of_another_state(token: Decoded, prover: Prover) -> bool:
    silent = [why for yielded in prover.yielded.values() for number, why in yielded.silent if number == token.number]
    return any(map(of_other_pcrs, silent))


def _to_go(token: Decoded, wanted: t.Sequence[Entry], prover: Prover) -> t.Optional[Entry]:
    """The entry that wants the token away or another one in its place; None if it stays."""
    own = [entry for entry in wanted if entry.binding is not None and of_kind(entry.binding, token)]
    for entry in own:
        if entry.state == PRESENT and entry.binding is not None and fits(entry.binding, token):
            return None if _holds(entry, token, prover) else entry
    return next(
        (
            entry
            for entry in own
            if entry.state == PRESENT or (entry.binding is not None and fits(entry.binding, token))
        ),
        None,
    )


def _holds(entry: Entry, token: Decoded, prover: Prover) -> bool:
    """Whether the token yields its secret, or another one that is as good does and this one was not asked."""
    secret = -1 if entry.new_secret is None else entry.new_secret
    opened = any(prover.verdict(secret, keyslot) is Verdict.OPENS for keyslot in token.keyslots)
    yielded = prover.yielded.get(secret)
    return opened or (yielded is not None and yielded.token is not None and token.number > yielded.token.number)


def _why_it_stays(token: Decoded, keyslot: int, desired: Desired, prover: Prover) -> str:
    """Why the keyslot of a token is not known to hold the key that the token keeps, or ""."""
    if any(token.number in yielded.stale for yielded in prover.yielded.values()):
        return "the token yields a secret, and another one opens the keyslot"
    for secret, label in enumerate(desired.labels):
        if secret not in desired.by_token and prover.verdict(secret, keyslot) is Verdict.OPENS:
            return f"{label} opens it"
    return ""
