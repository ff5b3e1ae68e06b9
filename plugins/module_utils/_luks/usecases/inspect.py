# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a header contains, and which of the given secrets opens which keyslot. Never writes."""

from __future__ import annotations

from ..errors import LuksmithError
from ..result.actions import Result
from ..result.describe import describe_header, doubtful_tokens, unfinished
from ..result.slot_table import rows
from ..task.parse_info import InfoTask
from ..unlock.prover import labels_by_keyslot, tokens_asked
from .proving import proofs


def inspect(task: InfoTask) -> Result:
    """The whole content of the header, and which of the given secrets opens which keyslot.

    Raises StorageFault or Busy if the volume cannot be read, what the header's parser raises, and what
    :meth:`.Prover.try_slot` raises.
    """
    try:
        with proofs(task) as (session, volume, header, prover):
            warnings = [*header.warnings, *doubtful_tokens(header)]
            prover.expect(
                ((secret, keyslot) for keyslot in header.keyslots for secret in range(len(task.secrets))), unbound=True
            )
            pending = unfinished(header)
            if pending is not None:
                warnings.append(pending["says"])
            reasons = {}
            for keyslot in header.keyslots:
                for secret in range(len(task.secrets)):
                    prover.try_slot(secret, keyslot)
                reason = prover.why_untried(keyslot)
                if reason:
                    reasons[keyslot] = reason
                    warnings.append(f"keyslot {keyslot} could not be tried: {reason}")
            opened_by = labels_by_keyslot(prover, task.labels)
            tried = prover.tried()
            untried = [keyslot for keyslot in header.keyslots if keyslot not in tried]
            volume_keys = {}
            for number, key in enumerate(task.volume_keys):
                reason = prover.why_not_key(number)
                volume_keys[key.labels[0]] = not reason
                if reason:
                    warnings.append(f"the volume key {key.labels[0]} is not that of the volume: {reason}")
            evaluations = session.evaluations
            warnings.extend(prover.token_failures())
            asked = any(secret.token for secret in task.secrets)
            chain = None
            if volume.has_others:
                from .chain import chain_of

                chain = chain_of(volume, task.labels, session.sibling)
            if chain is not None:
                warnings.extend(chain.warnings)
                evaluations += sum(chain.evaluations)
            return {
                **({"chain": chain.rows} if chain is not None else {}),
                "changed": False,
                "uuid": header.uuid,
                "type": header.format,
                "container": volume.container,
                "header": describe_header(header),
                "keyslots": [
                    {**row, "why_untried": reasons[row["keyslot"]]} if row["keyslot"] in reasons else row
                    for row in rows(header, opened_by, untried)
                ],
                "opened_by": {
                    label: [keyslot for keyslot, labels in opened_by.items() if label in labels]
                    for label in task.labels
                },
                **({"tokens_asked": tokens_asked(prover, task.labels)} if asked else {}),
                **({"volume_keys": volume_keys} if volume_keys else {}),
                "kdf_evaluations": evaluations,
                "warnings": [*task.warnings, *warnings],
            }
    except LuksmithError as error:
        raise error.on(task.device) from None
