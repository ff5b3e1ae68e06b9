# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The passphrase of a Clevis binding, by the program ``clevis decrypt`` of the host. Nothing is written anywhere."""

from __future__ import annotations

import shutil
import typing as t

from ..errors import Refused
from . import child

LONGEST_JWE = 32768  # bytes; with several servers some thousands. All of it fits into the pipe
_PARTS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
_DECRYPT = child.Words(
    "clevis decrypt",
    "check that its server answers or its TPM is there",
    "its server may not answer",
    "check the connection to it",
)


def compact(jwe: t.Any) -> bytes:
    """The ``jwe`` of a LUKS2 token in the form that ``clevis decrypt`` reads. Raises Refused if it is none."""
    parts = [jwe.get(name, "") if isinstance(jwe, dict) else None for name in _PARTS]
    if not all(isinstance(part, str) and part.isascii() for part in parts):
        raise Refused("its JWE is damaged", remedy="bind the keyslot to Clevis again")
    return ".".join(t.cast(t.List[str], parts)).encode()


def parts(jwe: bytes) -> t.Dict[str, str]:
    """The members of a compact JWE, as a token has them. Raises Refused if it is none."""
    values = jwe.decode("ascii", "replace").split(".")
    if len(values) != len(_PARTS):
        raise Refused("clevis encrypt did not write a JWE", remedy="check its version")
    return dict(zip(_PARTS, values))


def passphrase(jwe: bytes, patience: float = child.PATIENCE) -> bytearray:
    """What the binding yields; the caller wipes it. Raises Refused, with the program's words, if it yields nothing."""
    if len(jwe) > LONGEST_JWE:
        raise Refused(f"its JWE has {len(jwe)} bytes", remedy="bind the keyslot to Clevis again")
    return child.answer([program(), "decrypt"], jwe, _DECRYPT, patience=patience)


def program() -> str:
    """The path of the program. Raises Refused if it is not installed."""
    found = shutil.which("clevis")
    if found is None:
        raise Refused("the program clevis is not installed", remedy="install it, with what its pin needs")
    return found
