# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token that says that a machine drew the secret is only for a secret that looks so."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadSecret, BadTask, LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.foreign_tokens import RECOVERY
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.bindings import check_recovery
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task

DRAWN = bytearray("-".join(["cbdefghi", "jklnrtuv"] * 4).encode())


def test_a_recovery_key() -> None:
    check_recovery(RECOVERY, DRAWN, "new_secret")


@pytest.mark.parametrize("token", ["systemd-tpm2", "clevis", "", 5])
def test_another_token(token: object) -> None:
    with pytest.raises(BadTask, match="Use systemd-recovery; for a TPM or Clevis, use binding"):
        check_recovery(token, DRAWN, "new_secret")


@pytest.mark.parametrize("secret", [b"winter-2025", bytes(DRAWN[:-1]), bytes(DRAWN).upper()], ids=["own", "short", "a"])
def test_another_secret(secret: bytes) -> None:
    with pytest.raises(BadSecret, match="new_secret is not a recovery key"):
        check_recovery(RECOVERY, bytearray(secret), "new_secret")


@pytest.mark.parametrize(
    ("secret", "token", "error"),
    [(DRAWN, "clevis", BadTask), (b"winter-2025", RECOVERY, BadSecret), (DRAWN, RECOVERY, None)],
    ids=["another token", "another secret", "a recovery key"],
)
def test_an_entry_of_a_task(secret: bytes, token: str, error: t.Optional[t.Type[LuksmithError]]) -> None:
    entry = {"new_secret": {"passphrase": secret.decode(), "token": token}}
    task = {"device": "/dev/sdb", "keyslots": [entry]}
    if error is None:
        assert parse_task(task).desired.entries[0].token == RECOVERY
    else:
        with pytest.raises(error, match=r"(?i)keyslots\[0\].new_secret"):
            parse_task(task)
