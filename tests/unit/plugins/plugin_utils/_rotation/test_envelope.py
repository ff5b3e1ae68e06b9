# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be sealed or opened; what can is shown with openssl itself in tests/rotation."""

from __future__ import annotations

import pathlib
import subprocess
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import envelope
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.envelope import EnvelopeError
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors

SECRET = "winter-2025"


@pytest.fixture
def certificate(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A path; what kind of key it is for is not asked."""
    monkeypatch.setattr(envelope, "check_certificate", lambda _path: False)
    return str(tmp_path / "certificate.pem")


def answers(monkeypatch: pytest.MonkeyPatch, code: int, output: bytes) -> None:
    def run(words: t.Sequence[str], **_options: t.Any) -> t.Any:
        return subprocess.CompletedProcess(words, code, output, b"")

    monkeypatch.setattr(subprocess, "run", run)


def test_nobody_to_seal_for() -> None:
    with pytest.raises(EnvelopeError, match="there is no certificate"):
        envelope.seal(SECRET, [])


@pytest.mark.parametrize(("code", "output"), [(1, b""), (1, b"half an envelope"), (0, b"")])
def test_openssl_that_fails_or_says_nothing(
    certificate: str, monkeypatch: pytest.MonkeyPatch, code: int, output: bytes
) -> None:
    """An empty envelope that was believed would be a secret that is in no store."""
    answers(monkeypatch, code, output)
    with pytest.raises(EnvelopeError, match="openssl could not seal a secret") as caught:
        envelope.seal(SECRET, [certificate])
    with pytest.raises(EnvelopeError, match="openssl could not open an envelope"):
        envelope.unseal("an envelope", "a key")
    assert SECRET not in str(caught.value)


def test_the_private_key_is_in_a_pipe_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, 0, SECRET.encode())
    before = open_descriptors()
    assert envelope.unseal("an envelope", "a key") == SECRET
    assert open_descriptors() == before


def test_no_openssl(certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_words: t.Any, **_options: t.Any) -> t.Any:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(EnvelopeError, match="the program openssl cannot be run: No such file"):
        envelope.seal(SECRET, [certificate])


def test_no_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "x509", None)
    with pytest.raises(EnvelopeError, match="has no package cryptography"):
        envelope.seal(SECRET, ["certificate.pem"])


def test_what_is_no_certificate(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("cryptography")
    path = tmp_path / "certificate.pem"
    path.write_text("no certificate")
    for wrong in (path, tmp_path / "none.pem"):
        with pytest.raises(EnvelopeError, match=r"is no certificate in PEM form"):
            envelope.seal(SECRET, [str(wrong)])


@pytest.mark.parametrize("error", ["ValueError", "UnsupportedAlgorithm"])
@pytest.mark.parametrize("use", [envelope.load_certificate, envelope.check_certificate])
def test_a_certificate_with_a_key_that_the_library_cannot_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, use: t.Callable[[str], t.Any], error: str
) -> None:
    exceptions = pytest.importorskip("cryptography.exceptions")

    def public_key() -> t.NoReturn:
        raise getattr(exceptions, error, ValueError)("no such curve")

    path = tmp_path / "certificate.pem"
    path.touch()
    certificate = types.SimpleNamespace(public_key=public_key)
    monkeypatch.setattr(envelope.x509, "load_pem_x509_certificate", lambda _text: certificate)
    with pytest.raises(EnvelopeError, match=rf"is no certificate in PEM form that can be read \({error}\)"):
        use(str(path))


class Key(t.NamedTuple):
    key_size: int


@pytest.mark.parametrize("kind", ["RSA", "curve", "other"])
def test_a_key_that_is_too_short_or_only_signs(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """No program makes such certificates any more."""
    path = tmp_path / "certificate.pem"
    path.touch()
    certificate = types.SimpleNamespace(public_key=lambda: Key(160))
    monkeypatch.setattr(envelope.x509, "load_pem_x509_certificate", lambda _text: certificate)
    monkeypatch.setattr(envelope.rsa, "RSAPublicKey", Key if kind == "RSA" else str)
    monkeypatch.setattr(envelope.ec, "EllipticCurvePublicKey", Key if kind == "curve" else str)
    says = "is for a key that only signs" if kind == "other" else "160 bits; at least"
    with pytest.raises(EnvelopeError, match=says):
        envelope.check_certificate(str(path))
