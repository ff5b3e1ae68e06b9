# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""openssl itself, in a play that nobody watches: it asks nobody for anything and does not wait for ever."""

from __future__ import annotations

import datetime
import os
import pathlib
import pty
import subprocess
import sys
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import envelope
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.envelope import EnvelopeError, seal, unseal

pytestmark = pytest.mark.needs("openssl")

REGISTER = pathlib.Path(__file__).resolve().parents[4] / "tools" / "register.py"
SECRET = "winter-2025"
DEADLINE = 60.0  # seconds; only what hangs ever takes so long


def openssl(*words: t.Union[str, pathlib.Path], content: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *map(str, words)], input=content, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> t.Tuple[str, str]:
    """The path of a certificate, and the private key that belongs to it."""
    pytest.importorskip("cryptography")
    folder = tmp_path_factory.mktemp("pair")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    openssl("req", "-x509", *curve, "-nodes", "-keyout", key, "-subj", "/CN=test", "-days", "1", "-out", certificate)
    return str(certificate), key.read_text()


def within_the_deadline(work: t.Callable[[], t.Any]) -> str:
    """The text of the EnvelopeError with which ``work`` ends, in a thread so that a test of what hangs comes to an
    end.
    """
    said: t.List[str] = []

    def note() -> None:
        try:
            work()
        except EnvelopeError as error:
            said.append(str(error))

    thread = threading.Thread(target=note, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "it hangs"
    assert said, "no error"
    return said[0]


def test_what_was_sealed_is_opened(pair: t.Tuple[str, str]) -> None:
    assert unseal(seal(SECRET, [pair[0]]), pair[1]) == SECRET


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_a_key_with_a_passphrase_is_refused_with_that_reason(pair: t.Tuple[str, str], form: str) -> None:
    old = ("-traditional",) if form == "traditional" else ()
    locked = openssl("pkey", "-aes256", "-passout", "pass:secret", *old, content=pair[1].encode()).decode()
    assert "ENCRYPTED" in locked
    with pytest.raises(EnvelopeError, match="private key has a passphrase"):
        unseal(seal(SECRET, [pair[0]]), locked)


_IN_A_TERMINAL = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # what whoever asks opens as /dev/tty
runpy.run_path(sys.argv[1])
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import envelope
envelope._refuse_locked = lambda key: None
try:
    envelope.unseal(open(sys.argv[2]).read(), open(sys.argv[3]).read())
except envelope.EnvelopeError as error:
    print("REFUSED", error)
"""


def test_it_does_not_ask_on_the_terminal(pair: t.Tuple[str, str], tmp_path: pathlib.Path) -> None:
    """Even where nobody sees from the key that it has a passphrase."""
    (tmp_path / "envelope").write_text(seal(SECRET, [pair[0]]))
    (tmp_path / "key").write_bytes(openssl("pkey", "-aes256", "-passout", "pass:secret", content=pair[1].encode()))
    terminal, inside = pty.openpty()
    command = [sys.executable, "-c", _IN_A_TERMINAL, str(REGISTER), str(tmp_path / "envelope"), str(tmp_path / "key")]
    child = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True)
    os.close(inside)
    shown = b""
    try:
        while b"pass phrase" not in shown and b"REFUSED" not in shown:
            part = os.read(terminal, 4096)
            shown += part
            assert part, shown
    except OSError:  # the terminal of a child that has ended
        pass
    finally:
        os.close(terminal)  # whoever still reads from it gets its end
        child.wait()
    assert b"pass phrase" not in shown and b"REFUSED" in shown, shown


def test_a_program_that_hangs_is_ended(
    pair: t.Tuple[str, str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(envelope, "TIMEOUT", 0.2)
    assert "openssl did not end within 0.2 seconds" in within_the_deadline(lambda: seal(SECRET, [pair[0]]))


def test_a_key_that_fits_no_pipe_is_refused(pair: t.Tuple[str, str]) -> None:
    sealed = seal(SECRET, [pair[0]])
    assert "private key is too large" in within_the_deadline(lambda: unseal(sealed, pair[1] + "\n" * (4 << 20)))


def test_a_pipe_for_a_certificate_is_refused(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("cryptography")
    os.mkfifo(tmp_path / "certificate.pem")
    assert "not a regular file but a named pipe" in within_the_deadline(
        lambda: seal(SECRET, [str(tmp_path / "certificate.pem")])
    )


RIGHT = datetime.datetime

USELESS = {
    "short": (("-newkey", "rsa:1024"), r"has 1024 bits; at least 2048"),
    "signs": (("-newkey", "ed25519"), "for a key that only signs"),
    "rsa to sign": (
        ("-newkey", "rsa:2048", "-addext", "keyUsage=digitalSignature"),
        "its key usage does not have keyEncipherment",
    ),
    "curve to sign": (
        ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "keyUsage=digitalSignature"),
        "its key usage does not have keyAgreement",
    ),
}


@pytest.mark.parametrize("kind", USELESS)
def test_a_certificate_that_is_of_no_use(tmp_path: pathlib.Path, kind: str) -> None:
    pytest.importorskip("cryptography")
    words, says = USELESS[kind]
    path = tmp_path / "certificate.pem"
    openssl(
        "req", "-x509", *words, "-nodes", "-keyout", tmp_path / "key", "-subj", "/CN=test", "-days", "1", "-out", path
    )
    for ask in (lambda: envelope.check_certificate(str(path)), lambda: seal(SECRET, [str(path)])):
        with pytest.raises(EnvelopeError, match=says) as caught:
            ask()
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(("days", "says"), [(2, "expired on"), (-1, "is not valid before")])
def test_a_certificate_at_another_time(
    pair: t.Tuple[str, str], monkeypatch: pytest.MonkeyPatch, days: int, says: str
) -> None:
    class Later(RIGHT):
        @classmethod
        def now(cls, tz: t.Optional[datetime.tzinfo] = None) -> RIGHT:  # type: ignore[override]
            return RIGHT.now(tz) + datetime.timedelta(days=days)

    assert envelope.check_certificate(pair[0]) is False
    monkeypatch.setattr(envelope.datetime, "datetime", Later)
    with pytest.raises(EnvelopeError, match=says):
        envelope.check_certificate(pair[0])
