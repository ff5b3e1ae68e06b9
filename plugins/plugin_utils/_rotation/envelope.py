# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A secret sealed for holders of private keys, as CMS (RFC 5652, authenticated as in RFC 5083), by the openssl program.

Secrets and private keys go through pipes, so that no argument, environment or file holds them. Whoever has the private
key needs nothing of ours: ``openssl cms -decrypt -inform PEM -inkey KEY``.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import subprocess
import typing as t

from ...module_utils._luks.files import read_regular

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
except ImportError:  # ansible-core brings it for its vault; check_certificate says so where somebody took it away
    x509 = None


# Seconds; openssl needs thousandths of one.
TIMEOUT = 60.0
# Bits, as NIST SP 800-57 has them for 112 bits of security.
LEAST_RSA, LEAST_CURVE = 2048, 224


class EnvelopeError(Exception):
    """openssl could not seal or open; the text holds no secret."""


def seal(secret: str, certificates: t.Sequence[str]) -> str:
    """The PEM text of an envelope that each holder of a key for one of the ``certificates`` (paths of PEM files) can
    open.
    """
    if not certificates:
        raise EnvelopeError("there is no certificate to seal a secret for")
    recipients: t.List[str] = []
    for path in certificates:
        recipients += [
            "-recip",
            path,
            *(["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"] if check_certificate(path) else []),
        ]
    return openssl(
        ["cms", "-encrypt", "-binary", "-aes-256-gcm", "-outform", "PEM", *recipients], secret.encode(), "seal a secret"
    ).decode("ascii")


def unseal(envelope: str, private_key: str) -> str:
    """The secret in ``envelope``; ``private_key`` is the PEM text of a key without a passphrase."""
    _refuse_locked(private_key)
    with piped(private_key.encode(), "the private key is too large to be one") as key:
        # An empty passphrase for a key that has one all the same: openssl fails then, instead of asking for it.
        words = ["-decrypt", "-binary", "-inform", "PEM", "-passin", "pass:", "-inkey", f"/dev/fd/{key}"]
        return openssl(
            ["cms", *words],
            envelope.encode("ascii"),
            "open an envelope; is it sealed for this private key?",
            (key,),
        ).decode()


def _refuse_locked(private_key: str) -> None:
    if any(mark in private_key for mark in ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")):
        raise EnvelopeError(
            "the private key has a passphrase; give the key without one (openssl pkey -in KEY), encrypted with "
            "ansible-vault"
        )


@contextlib.contextmanager
def piped(content: bytes, too_large: str) -> t.Iterator[int]:
    """A descriptor from which ``content`` is read, for a program.

    It is written at once: there is no reader yet, so that what does not fit the pipe's buffer would wait for ever.
    """
    reading, writing = os.pipe()
    try:
        try:
            os.set_blocking(writing, False)
            if os.write(writing, content) < len(content):
                raise BlockingIOError
        except BlockingIOError:
            raise EnvelopeError(too_large) from None
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def load_certificate(path: str) -> t.Any:
    """The certificate in the file, of the library ``cryptography``. Raises EnvelopeError."""
    if x509 is None:
        raise EnvelopeError(
            "the controller's Python has no package cryptography, which tells what kind of key a certificate is for; "
            "install it"
        )
    try:
        certificate = x509.load_pem_x509_certificate(read_regular(path))
        certificate.public_key()
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise EnvelopeError(f"{path} is no certificate in PEM form that can be read ({reason})") from None
    return certificate


def check_certificate(path: str) -> bool:
    """Whether the certificate is for an RSA key.

    Raises EnvelopeError if secrets must not be sealed for it, by its path.
    """
    certificate = load_certificate(path)
    key = certificate.public_key()
    is_rsa = isinstance(key, rsa.RSAPublicKey)
    if is_rsa and key.key_size < LEAST_RSA:
        raise EnvelopeError(
            f"the RSA key of the certificate {path} has {key.key_size} bits; at least {LEAST_RSA} are needed to seal "
            "a secret for it"
        )
    if not is_rsa and not isinstance(key, ec.EllipticCurvePublicKey):
        raise EnvelopeError(
            f"the certificate {path} is for a key that only signs; one for RSA or an elliptic curve (ECDH) is needed"
        )
    if not is_rsa and key.key_size < LEAST_CURVE:
        raise EnvelopeError(
            f"the key of the certificate {path} has {key.key_size} bits; at least {LEAST_CURVE} are needed on an "
            "elliptic curve"
        )
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    begin, end = validity(certificate)
    if now > end:
        raise EnvelopeError(f"the certificate {path} expired on {end:%Y-%m-%d}; renew it, or name another one")
    if now < begin:
        raise EnvelopeError(
            f"the certificate {path} is not valid before {begin:%Y-%m-%d}; look at the clock of this machine"
        )
    usage = key_usage(certificate, path)
    if usage is not None and not (usage.key_encipherment if is_rsa else usage.key_agreement):
        needed = "keyEncipherment" if is_rsa else "keyAgreement"
        raise EnvelopeError(
            f"the certificate {path} is not for encryption: its key usage does not have {needed}. Name one that does"
        )
    return is_rsa


def key_usage(certificate: t.Any, path: str) -> t.Any:
    """What the key of the certificate is for, None where it does not say. Raises EnvelopeError."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
    except ValueError:
        raise EnvelopeError(f"the extensions of the certificate {path} cannot be read; make it anew") from None


def validity(certificate: t.Any) -> t.Tuple[datetime.datetime, datetime.datetime]:
    """In UTC. cryptography renamed both in release 42."""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_before_utc.replace(tzinfo=None), certificate.not_valid_after_utc.replace(
            tzinfo=None
        )
    return certificate.not_valid_before, certificate.not_valid_after


def openssl(words: t.Sequence[str], content: bytes, doing: str, descriptors: t.Sequence[int] = ()) -> bytes:
    command = ["openssl", *words]
    try:
        # A session of its own has no terminal on which anything could be asked.
        done = subprocess.run(
            command,
            input=content,
            capture_output=True,
            check=False,
            pass_fds=descriptors,
            timeout=TIMEOUT,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise EnvelopeError(f"openssl did not end within {TIMEOUT:g} seconds, and was ended") from None
    except OSError as error:
        raise EnvelopeError(f"the program openssl cannot be run: {error.strerror}") from None
    if done.returncode or not done.stdout:
        raise EnvelopeError(f"openssl could not {doing}")
    return done.stdout
