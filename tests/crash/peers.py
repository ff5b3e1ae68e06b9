# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cryptsetup and QEMU as judges of what opens."""

from __future__ import annotations

import subprocess
import tempfile
import typing as t

from ansible_collections.luksmith.luks.tests.crash.checker import QCOW2_MAGIC


def opened_by_peer(
    path: str, image: bytes, secrets: t.Mapping[str, bytes], unbound: t.Collection[int] = ()
) -> t.Set[str]:
    """Names of the secrets with which cryptsetup, or QEMU for a qcow2 image, opens what is in the file at ``path``, or
    one of its keyslots that are not bound.
    """
    peer = _by_qemu if image.startswith(QCOW2_MAGIC) else _by_cryptsetup
    named = [("--unbound", "--key-slot", str(number)) for number in unbound]
    return {
        name
        for name, secret in secrets.items()
        if peer(path, secret) or any(_by_cryptsetup(path, secret, *words) for words in named)
    }


def _by_cryptsetup(path: str, secret: bytes, *named: str) -> bool:
    with tempfile.NamedTemporaryFile(prefix="luksmith-crash-") as file:
        file.write(secret)
        file.flush()
        # The header is asked alone, so that one that lost its payload's place is no other case.
        command = ["cryptsetup", "open", "--test-passphrase", *named, "--key-file", file.name, path]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode in (0, 1, 2), f"cryptsetup: {done.returncode} {done.stdout!r}"
    return done.returncode == 0


def _by_qemu(path: str, secret: bytes) -> bool:
    opening = f"driver=qcow2,encrypt.key-secret=s,file.filename={path}"
    command = [
        "qemu-io",
        f"--object=secret,id=s,data={secret.decode()}",
        "--image-opts",
        "-r",
        "-c",
        "read -q 0 512",
        opening,
    ]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    closed = "Invalid password" in done.stdout
    assert closed or done.returncode == 0, f"qemu-io: {done.returncode} {done.stdout!r}"
    return not closed
