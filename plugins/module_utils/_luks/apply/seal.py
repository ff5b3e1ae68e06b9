# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A new key and the token that keeps it, by the program of the host, and the proof that the token yields that key.

Nothing of the volume is needed: no key of it, no device. So the program writes nothing to the volume, the token and its
keyslot get there in one write of ours, and check mode can do all of it, too.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import shutil
import typing as t

from ..crypto.memory import wipe
from ..errors import Refused
from ..header.foreign_tokens import CLEVIS, TPM2, decode
from ..header.luks2.codec import parse
from ..task.desired import Binding
from ..unlock import child, clevis, token_plugin
from ..unlock.bindings import fits
from . import scratch

_ENROL = child.Words(
    "systemd-cryptenroll",
    "check that the TPM is there and that it has these PCRs",
    "its TPM may not answer",
    "check the TPM",
)
_ENCRYPT = child.Words(
    "clevis encrypt",
    "check its config and that its server answers",
    "its server may not answer",
    "check the connection",
)
_KEY_BYTES = 40  # as 'clevis luks bind' draws


class Sealed(t.NamedTuple):
    """``secret`` belongs to the caller, who wipes it; ``token``: its members, without keyslots."""

    secret: bytearray
    token: t.Mapping[str, t.Any]


def sealed(binding: Binding, pin: bytearray) -> Sealed:
    """Raises Refused, with the words of the program, if it makes none, or one that does not yield its key."""
    return _clevis(binding) if binding.type == CLEVIS else _tpm2(binding, pin)


def _clevis(binding: Binding) -> Sealed:
    secret = bytearray(base64.b64encode(os.urandom(_KEY_BYTES)))
    command = [clevis.program(), "encrypt", binding.pin, binding.config, "-y"]
    jwe = bytes(child.answer(command, secret, _ENCRYPT, longest=clevis.LONGEST_JWE)).strip()
    back = clevis.passphrase(jwe)
    same = hmac.compare_digest(back, secret)
    wipe(back)
    token = {"type": CLEVIS, "jwe": clevis.parts(jwe)}
    if not same or not fits(binding, decode(0, CLEVIS, (), token)):
        wipe(secret)
        raise Refused("clevis made a JWE of another kind, or for another key", remedy="check the config of the pin")
    return Sealed(secret, token)


def _tpm2(binding: Binding, pin: bytearray) -> Sealed:
    program = shutil.which("systemd-cryptenroll")
    if program is None:
        raise Refused(
            "the program systemd-cryptenroll is not installed",
            why="it binds a key to the TPM",
            remedy="install the package systemd-cryptsetup, or systemd with older distributions",
        )
    with contextlib.ExitStack() as stack:
        file, key = scratch.scratch_header(), os.memfd_create("key", os.MFD_CLOEXEC)
        for descriptor in (file, key):
            stack.callback(os.close, descriptor)
        os.fchmod(key, 0o400)
        os.write(key, scratch.SECRET)
        command = [
            program,
            f"--unlock-key-file=/proc/self/fd/{key}",
            f"--tpm2-device={binding.device or 'auto'}",
            f"--tpm2-pcrs={'+'.join(map(str, binding.pcrs or ()))}",
            f"--tpm2-with-pin={'yes' if pin else 'no'}",
            f"/proc/self/fd/{file}",
        ]
        child.typed(command, pin, _ENROL, pass_fds=(file, key))
        header = parse(lambda offset, size: os.pread(file, size, offset), os.fstat(file).st_size)
        number = next((token.number for token in header.tokens if token.type == TPM2), None)
        if number is None:
            raise Refused("systemd-cryptenroll made no token", remedy="check its version: 252 or newer")
        token = header.metadata["tokens"][str(number)]
        if not fits(binding, decode(number, TPM2, (), token)):
            raise Refused("systemd-cryptenroll made a token with other PCRs", remedy="check the banks of the TPM")
        return Sealed(token_plugin.passphrase(header, number, TPM2, pin, binding.device), token)
