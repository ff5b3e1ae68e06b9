# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The keyslots that no secret of a rotation opens: strangers, or secrets that the operator forgot to name."""

from __future__ import annotations

import typing as t

from ..result.slot_table import ACTIVE, Row
from ..task.parse_info import parse_info
from ..unlock.verdict import Verdict
from ..usecases.proving import proofs

Params = t.Mapping[str, t.Any]


def unknown_keyslots(
    params: Params, place: Params, work: Params, table: t.Sequence[Row], record: t.Sequence[Params]
) -> t.List[t.Dict[str, t.Any]]:
    """Of ``table`` (after the change, with the proofs so far) the active keyslots of the volume that open with nothing
    known. A keyslot of another program's token is not one of them.

    label: what the record in the header calls the keyslot, which is no proof, or ""; reason: why it was not tried.
    """
    asked = [
        row["keyslot"]
        for row in table
        if row["state"] == ACTIVE and row["bound"] and not row["opened_by"] and not row["tokens"]
    ]
    if not asked:
        return []
    secrets = [*work["unlock"], *(entry["new_secret"] for entry in work["keyslots"] if entry.get("new_secret"))]
    labels = {line["keyslot"]: line["label"] for line in record if line["current"]}
    task = parse_info({**place, "secrets": secrets, "lock_timeout": params["lock_timeout"]})
    try:
        with proofs(task) as (_session, _volume, header, prover):
            # What a token yields opens keyslots of that token, which are not asked.
            numbers = [number for number, secret in enumerate(task.secrets) if secret.token is None]
            there = [keyslot for keyslot in asked if keyslot in header.keyslots]
            prover.expect((secret, keyslot) for keyslot in there for secret in numbers)
            return [
                {"keyslot": keyslot, "label": labels.get(keyslot, ""), "tried": not reason, "reason": reason}
                for keyslot, reason in ((keyslot, prover.why_untried(keyslot)) for keyslot in there)
                if not any(prover.verdict(secret, keyslot) == Verdict.OPENS for secret in numbers)
            ]
    finally:
        task.wipe_secrets()
