# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the program clevis is run: its output, its errors, its time, what is left of it. A script stands in."""

from __future__ import annotations

import os
import pathlib
import signal
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import clevis
from ansible_collections.luksmith.luks.tests.interop.lock_lab import until

JWE = b"a.b.c.d.e"


@pytest.fixture
def program(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], None]:
    def write(script: str) -> None:
        path = tmp_path / "clevis"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return write


def test_it_reads_the_jwe_and_its_output_counts_to_the_byte(program: t.Any) -> None:
    program("test \"$1\" = decrypt && cat && printf '\\000\\n'")
    assert clevis.passphrase(JWE) == JWE + b"\0\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("cat >/dev/null; echo 'no such   server' >&2; exit 7", "levis decrypt ended with 7: no such server"),
        ("exit 0", "levis decrypt yielded nothing"),
        ("head -c 9000 /dev/zero", "levis decrypt yielded nothing"),
        ("printf secret; exit 1", "levis decrypt ended with 1"),
        ("exec 0<&- ; exec >&-; exit 3", "ended with 3"),
    ],
)
def test_what_is_no_passphrase_is_refused(program: t.Any, script: str, words: str) -> None:
    program(script)
    with pytest.raises(Refused, match=words) as caught:
        clevis.passphrase(JWE)
    assert "secret" not in str(caught.value).replace("yielded no secret", "")


def test_its_sentence_is_a_clause_of_ours(program: t.Any) -> None:
    """No full stop before a semicolon."""
    program("echo 'Cancelling the attempt.' >&2; exit 1")
    with pytest.raises(Refused) as caught:
        clevis.passphrase(JWE)
    assert "ended with 1: Cancelling the attempt; the binding gave no passphrase; " in caught.value.clauses()
    assert "ended with 1: Cancelling the attempt. The binding gave no passphrase. " in str(caught.value)
    assert caught.value.clauses()[-1] != "."


def test_one_that_hangs_is_ended_with_what_it_started(program: t.Any, tmp_path: pathlib.Path) -> None:
    program(f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(Refused, match="did not end in time"):
        clevis.passphrase(JWE, patience=1.0)
    child = int((tmp_path / "child").read_text())
    until(lambda: _is_gone(child), "what it started is gone")  # its new parent has to notice


def _is_gone(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


class Struck(BaseException):
    """As the runner raises one."""


def test_a_signal_ends_it_too(program: t.Any, tmp_path: pathlib.Path) -> None:
    program(f"cat > /dev/null; echo $$ > {tmp_path}/pid; kill -USR1 {os.getpid()}; sleep 1000")

    def struck(_number: int, _frame: t.Any) -> None:
        raise Struck

    found = signal.signal(signal.SIGUSR1, struck)
    try:
        with pytest.raises(Struck):
            clevis.passphrase(JWE)
    finally:
        signal.signal(signal.SIGUSR1, found)
    assert _is_gone(int((tmp_path / "pid").read_text()))


def test_without_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="not installed"):
        clevis.passphrase(JWE)


def test_a_jwe_that_would_block_the_pipe_is_refused(program: t.Any) -> None:
    program("cat")
    with pytest.raises(Refused, match="bytes"):
        clevis.passphrase(b"a" * 40000)


def test_the_parts_are_joined_as_clevis_splits_them() -> None:
    whole = {"protected": "p", "iv": "i", "ciphertext": "c", "tag": "t"}
    assert clevis.compact({**whole, "encrypted_key": ""}) == clevis.compact(whole) == b"p..i.c.t"
    for wrong in (None, [], {**whole, "iv": 5}, {**whole, "tag": "\u00e9"}):
        with pytest.raises(Refused, match="damaged"):
            clevis.compact(wrong)


@pytest.mark.parametrize("written", [b"", b"a.b.c.d", b"a.b.c.d.e.f"])
def test_what_clevis_wrote_is_no_jwe(written: bytes) -> None:
    with pytest.raises(Refused, match="Clevis encrypt did not write a JWE"):
        clevis.parts(written)
