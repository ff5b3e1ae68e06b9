# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A secret sealed for holders of private keys, as CMS (RFC 5652, authenticated as in RFC 5083), by the openssl program.

Secrets and private keys go through pipes, so that no argument, environment or file holds them. Whoever has the private key needs
nothing of ours: ``openssl cms -decrypt -inform PEM -inkey KEY``.
"""

from __future__ import annotations

import os
import subprocess
import typing as t

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
except ImportError:  # ansible-core brings it for its vault; _is_rsa says so where somebody took it away
    x509 = None


class EnvelopeError(Exception):
    """openssl could not seal or open; the text holds no secret."""


def seal(secret: str, certificates: t.Sequence[str]) -> str:
    """The PEM text of an envelope that each holder of a key for one of the ``certificates`` (paths of PEM files) can open."""
    if not certificates:
        raise EnvelopeError("there is no certificate to seal a secret for")
    recipients: t.List[str] = []
    for path in certificates:
        recipients += ["-recip", path, *(["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"] if _is_rsa(path) else [])]
    return _openssl(["-encrypt", "-binary", "-aes-256-gcm", "-outform", "PEM", *recipients], secret.encode(), "seal a secret").decode("ascii")


def unseal(envelope: str, private_key: str) -> str:
    """The secret in ``envelope``; ``private_key`` is the PEM text of a key without a passphrase."""
    reading, writing = os.pipe()
    try:
        # A key is smaller than the buffer of a pipe (64 KiB), so that this does not wait for a reader.
        os.write(writing, private_key.encode())
        os.close(writing)
        words = ["-decrypt", "-binary", "-inform", "PEM", "-inkey", f"/dev/fd/{reading}"]
        return _openssl(words, envelope.encode("ascii"), "open an envelope; is it sealed for this private key?", (reading,)).decode()
    finally:
        os.close(reading)


def _is_rsa(path: str) -> bool:
    if x509 is None:
        raise EnvelopeError("the controller's Python has no package cryptography, which tells what kind of key a certificate is for; install it")
    try:
        with open(path, "rb") as file:
            return isinstance(x509.load_pem_x509_certificate(file.read()).public_key(), rsa.RSAPublicKey)
    except (OSError, ValueError) as error:
        raise EnvelopeError(f"{path} is no certificate in PEM form that can be read ({type(error).__name__})") from None


def _openssl(words: t.Sequence[str], content: bytes, doing: str, descriptors: t.Sequence[int] = ()) -> bytes:
    try:
        done = subprocess.run(["openssl", "cms", *words], input=content, capture_output=True, check=False, pass_fds=descriptors)
    except OSError as error:
        raise EnvelopeError(f"the program openssl cannot be run: {error.strerror}") from None
    if done.returncode or not done.stdout:
        raise EnvelopeError(f"openssl could not {doing}")
    return done.stdout
