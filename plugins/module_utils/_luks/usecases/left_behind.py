# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a plan leaves, in warnings: where an old secret may still be, and a volume that nobody's secret opens any more.

For old secrets, what the plan needs is not enough for an answer, and an answer for every keyslot would cost derivations
in each run. So a keyslot counts as somebody's if the record says so, and secrets are tried only where more keyslots are
left than secrets of the task that could open them.
"""

from __future__ import annotations

import typing as t

from ..errors import numbered
from ..header.foreign_tokens import CLEVIS, TPM2
from ..header.model import Header
from ..plan.actions import ActionKind
from ..plan.types import Plan
from ..task.desired import Desired, Entry
from ..task.secrets import Secret
from ..unlock.hints import recorded
from ..unlock.prover import Prover
from ..unlock.verdict import Verdict

_OF_MACHINES = (TPM2, CLEVIS)


def warnings(
    header: Header, prover: Prover, plan: Plan, desired: Desired, secrets: t.Sequence[Secret]
) -> t.Tuple[str, ...]:
    """Raises what :meth:`.Prover.verdict` raises."""
    found = [_bindings_alone(header, prover, plan, desired)]
    named = [entry for entry in desired.entries if entry.old_secret is not None and entry.keyslot is not None]
    anywhere = [entry.old_secret for entry in desired.entries if entry.old_secret is not None and entry.keyslot is None]
    changed = {action.keyslot for action in plan.actions if action.kind in (ActionKind.ERASE, ActionKind.REKEY)}
    staying = _staying(header, changed) if named or anywhere else []
    if named:
        found.append(_not_tried(header, prover, desired, named, changed, staying))
    if anywhere:
        found.append(_opened_by_nothing(header, prover, desired, secrets, list(dict.fromkeys(anywhere)), staying))
    return tuple(warning for warning in found if warning)


def _bindings_alone(header: Header, prover: Prover, plan: Plan, desired: Desired) -> str:
    """If a change leaves keyslots of a TPM or of a server only: that these are all that opens the volume."""
    made: t.Dict[int, int] = {}
    gone = set()
    for action in plan.actions:
        if action.keyslot is not None and action.secret is not None and not action.own_key:
            made[action.keyslot] = action.secret
        elif action.kind in (ActionKind.ERASE, ActionKind.FINISH_ERASE):
            gone.add(action.keyslot)
    if not made and not gone:
        return ""
    stale = {number for yielded in prover.yielded.values() for number in yielded.stale}
    names = []
    for keyslot in sorted({*made, *(number for number, slot in header.keyslots.items() if slot.bound)}):
        if keyslot in made:
            if made[keyslot] not in desired.by_token:
                return ""
            names.append(f"the new binding {desired.labels[made[keyslot]]}")
        elif keyslot not in gone:
            holders = [token for token in header.tokens if token.type in _OF_MACHINES and keyslot in token.keyslots]
            people = [secret for secret in range(len(desired.labels)) if secret not in desired.by_token]
            if not holders or any(prover.known(secret, keyslot) for secret in people):
                return ""
            able = [f"token {token.number} ({token.type})" for token in holders if token.number not in stale]
            names += able or [f"a secret of keyslot {keyslot} that this task does not have"]
    return (
        f"only {_several(names)} can open the volume after this change: without that machine or server the data is"
        " lost; add a recovery key or a passphrase"
        if names
        else ""
    )


def _staying(header: Header, changed: t.Container[t.Optional[int]]) -> t.List[int]:
    """Keyslots of the volume that are not ``changed``, without those of tokens."""
    guarded = {keyslot for token in header.tokens if not token.ours for keyslot in token.keyslots}
    return [
        keyslot
        for keyslot, slot in header.keyslots.items()
        if slot.bound and keyslot not in changed and keyslot not in guarded
    ]


def _not_tried(
    header: Header,
    prover: Prover,
    desired: Desired,
    named: t.Sequence[Entry],
    changed: t.Container[t.Optional[int]],
    staying: t.Sequence[int],
) -> str:
    """Of old secrets that go from the keyslot of their entry only: where else nobody knows them not to be."""
    labels = recorded(header)
    where: t.Dict[t.Tuple[int, ...], t.List[str]] = {}
    for entry in named:
        old = entry.old_secret
        if old is None or old == entry.new_secret or entry.keyslot not in changed:
            continue
        label = desired.labels[old]
        left = tuple(
            keyslot for keyslot in staying if labels.get(keyslot, label) == label and prover.known(old, keyslot) is None
        )
        if left and label not in where.setdefault(left, []):
            where[left].append(label)
    return "; ".join(
        f"{_several(names)} {'was' if len(names) == 1 else 'were'} not tried on {numbered(left)}; leave out keyslot"
        " to remove it everywhere"
        for left, names in where.items()
    )


def _opened_by_nothing(
    header: Header,
    prover: Prover,
    desired: Desired,
    secrets: t.Sequence[Secret],
    removed: t.Sequence[int],
    staying: t.Sequence[int],
) -> str:
    """Of old secrets that open nothing: the keyslots that no secret of the task is known to open."""
    in_vain = [
        old
        for old in removed
        if old not in desired.by_token and not any(prover.known(old, keyslot) for keyslot in header.keyslots)
    ]
    if not in_vain:
        return ""
    names = [desired.labels[old] for old in in_vain]
    others = [secret for secret in range(len(desired.labels)) if secret not in desired.by_token]
    labels = recorded(header)
    left = [
        keyslot
        for keyslot in staying
        if not any(prover.known(secret, keyslot) for secret in others)
        and not _suggested(keyslot, [secret for secret in others if secret not in in_vain], prover)
        and not _of_another_task(labels.get(keyslot, ""), desired)
    ]
    homeless = [secret for secret in others if secret not in in_vain and not _has_a_keyslot(secret, header, prover)]
    candidates = [secret for secret in homeless if any(prover.known(secret, keyslot) is None for keyslot in left)]
    if len(left) <= len(candidates):
        return ""
    prover.expect((secret, keyslot) for keyslot in left for secret in candidates)
    left = [
        keyslot
        for keyslot in left
        if not any(prover.verdict(secret, keyslot) is Verdict.OPENS for secret in candidates)
    ]
    if not left:
        return ""
    text = (
        f"{_several(names)} (old_secret) {'opens' if len(names) == 1 else 'open'} no keyslot, and no secret of this"
        f" task is known to open {numbered(left)}: if one of them has the secret that is to go, it was set in another"
        " form; correct it in the task, or erase the keyslot by its number"
    )
    beyond = [desired.labels[old] for old in in_vain if any(byte > 127 for byte in secrets[old].value)]
    if beyond:
        text += (
            f". {_several(beyond)} {'has' if len(beyond) == 1 else 'have'} characters beyond ASCII: what was set may"
            " have another Unicode form of them (NFC, NFD), as keyboards and systems differ"
        )
    return text


def _suggested(keyslot: int, secrets: t.Sequence[int], prover: Prover) -> bool:
    return any(prover.hint(secret) == keyslot and prover.known(secret, keyslot) is None for secret in secrets)


def _of_another_task(label: str, desired: Desired) -> bool:
    return bool(label) and label not in desired.labels


def _has_a_keyslot(secret: int, header: Header, prover: Prover) -> bool:
    hint = prover.hint(secret)
    return any(prover.known(secret, keyslot) for keyslot in header.keyslots) or (
        hint is not None and hint in header.keyslots and prover.known(secret, hint) is None
    )


def _several(names: t.Sequence[str]) -> str:
    return " and ".join(names)
