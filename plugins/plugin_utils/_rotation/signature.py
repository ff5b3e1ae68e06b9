# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Who wrote an entry of the store ``escrow``: a detached signature, CMS SignedData (RFC 5652), by the openssl program.

What it says anybody can check: ``openssl cms -verify -nointern -noverify -certfile SIGNER``. A certificate only names a
key here; nobody's authority vouches for it but that of the list in which it stands.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import stat
import typing as t

from .envelope import LEAST_CURVE, LEAST_RSA, EnvelopeError, key_usage, load_certificate, openssl, piped, validity

try:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:
    pass  # load_certificate says so


class Signing(t.NamedTuple):
    """signers: paths of the certificates that are believed; none of them, and nothing is signed or asked for.

    key: path of the private key that signs; passphrase: of that key. accept_unsigned: what has no signature at all is
    believed as if there were no signers.
    """

    signers: t.Sequence[str] = ()
    key: str = ""
    passphrase: t.Optional[str] = None
    accept_unsigned: bool = False

    def check(self) -> None:
        """Whether :meth:`sign` would work. Raises EnvelopeError."""
        if self.signers or self.key:
            self.sign(b"a test")

    def sign(self, content: bytes) -> str:
        """The PEM text of a signature. Raises EnvelopeError."""
        with _told(self.passphrase) as (words, descriptors):
            signer = self._signer(words, descriptors)
        with _told(self.passphrase) as (words, descriptors):
            form = ("-binary", "-md", "sha256", "-nocerts", "-nosmimecap", "-outform", "PEM")
            return openssl(
                ["cms", "-sign", *form, "-signer", signer, "-inkey", self.key, *words],
                content,
                f"sign with {self.key}",
                descriptors,
            ).decode("ascii")

    def verify(self, content: bytes, signature: str) -> None:
        """Raises EnvelopeError unless one of the signers signed ``content``."""
        believed = b"".join(_checked(path).public_bytes(Encoding.PEM) for path in self.signers)
        with piped(believed, "the certificates of rotate_escrow_signers are too many") as certificates, piped(
            signature.encode("ascii", "replace"), "the signature is too large to be one"
        ) as one:
            # -noverify: no chain is looked for. -nointern: a certificate that the signature brings along is not asked.
            words = ["-verify", "-binary", "-inform", "PEM", "-in", f"/dev/fd/{one}", "-content", "/dev/stdin"]
            words += ["-certfile", f"/dev/fd/{certificates}", "-nointern", "-noverify"]
            if openssl(["cms", *words], content, "verify a signature", (one, certificates)) != content:
                raise EnvelopeError("openssl verified something else than it was given")

    def _signer(self, words: t.Sequence[str], descriptors: t.Sequence[int]) -> str:
        """The certificate of the key. Raises EnvelopeError."""
        if not self.key:
            raise EnvelopeError(
                "what a run writes must be signed, because rotate_escrow_signers says who is believed. Give the run "
                "rotate_escrow_signing_key, the private key of one of them"
            )
        if not self.signers:
            raise EnvelopeError(
                "rotate_escrow_signing_key needs rotate_escrow_signers, the certificates that are believed, with the "
                "one of this key among them"
            )
        try:
            if not stat.S_ISREG(os.stat(self.key).st_mode):
                raise EnvelopeError(f"{self.key} is no regular file. Name the file of the private key that signs")
        except OSError as error:
            raise EnvelopeError(f"{self.key}, the private key that signs, cannot be read: {error.strerror}") from None
        public = openssl(
            ["pkey", "-in", self.key, "-pubout", *words],
            b"",
            f"read the private key {self.key} that signs; is rotate_escrow_signing_passphrase its passphrase?",
            descriptors,
        )
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        own = [path for path in self.signers if _public(_checked(path)) == public.strip()]
        if not own:
            raise EnvelopeError(
                f"none of the certificates of rotate_escrow_signers is of the private key {self.key}. Add its "
                "certificate, so that what it signs is believed"
            )
        for path in own:
            begin, end = validity(load_certificate(path))
            if begin <= now <= end:
                return path
        raise EnvelopeError(
            f"the certificate {own[-1]} of the private key that signs is not valid today. Look at the clock of this "
            "machine, or renew it and name both, the old one for what it has signed"
        )


NOBODY_SIGNS = Signing()


@contextlib.contextmanager
def _told(passphrase: t.Optional[str]) -> t.Iterator[t.Tuple[t.List[str], t.Tuple[int, ...]]]:
    """Words and descriptors by which openssl gets the passphrase of a private key, and never asks for it."""
    if passphrase is None:
        yield ["-passin", "pass:"], ()
        return
    with piped(passphrase.encode() + b"\n", "the passphrase of the private key that signs is too long") as reading:
        yield ["-passin", f"fd:{reading}"], (reading,)


def _public(certificate: t.Any) -> bytes:
    text: bytes = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.strip()


def _checked(path: str) -> t.Any:
    """The certificate, if what its key signs can be believed. Raises EnvelopeError, by its path."""
    certificate = load_certificate(path)
    key = certificate.public_key()
    if not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        raise EnvelopeError(
            f"the certificate {path} is for a kind of key with which openssl 3.0 makes no CMS signature; one for RSA "
            "or an elliptic curve (ECDSA) is needed"
        )
    least = LEAST_RSA if isinstance(key, rsa.RSAPublicKey) else LEAST_CURVE
    if key.key_size < least:
        raise EnvelopeError(
            f"the key of the certificate {path} has {key.key_size} bits; at least {least} are needed to believe what "
            "it signs"
        )
    usage = key_usage(certificate, path)
    if usage is not None and not usage.digital_signature:
        raise EnvelopeError(
            f"the certificate {path} is not for signatures: its key usage does not have digitalSignature. Name one "
            "that does"
        )
    return certificate
