# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that asks at its terminal is answered there, and what it leaves is nothing."""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import child

WORDS = child.Words("the program", "check it", "its server may be slow", "check the server")
PIN = b"se cret"


def typed(script: str, line: bytes = PIN, **options: t.Any) -> None:
    child.typed(["sh", "-c", script], line, WORDS, **options)


def test_the_line_is_typed_twice() -> None:
    typed('read -r one; read -r two; test "$one,$two" = "se cret,se cret"')


def test_it_gets_the_files_that_it_is_meant_to_get() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as told, os.fdopen(write, "w"):
        typed(f"echo here > /proc/self/fd/{write}", pass_fds=(write,))
        assert told.readline() == "here\n"


def test_the_terminal_does_not_repeat_the_line() -> None:
    typed("stty -a | grep -q -- ' -echo '")


def test_nothing_is_typed_where_there_is_no_line() -> None:
    typed('stty -icanon min 0 time 0; test -z "$(cat)"', b"")


def test_one_that_fails_is_refused_with_its_words() -> None:
    with pytest.raises(Refused, match="The program ended with 3: no such TPM") as caught:
        typed("echo 'no  such TPM' >&2; exit 3")
    assert caught.value.remedy == "check it"


NOISE = "WARNING:esys:src/tss2-esys/api/Esys_Load.c:324:Esys_Load_Finish() Received TPM Error " + "x" * 200


def test_what_the_library_of_the_tpm_says_beside_it_is_left_out() -> None:
    with pytest.raises(Refused, match=r"The program ended with 3: Failed to seal to TPM\. Check it\."):
        typed(f"for i in 1 2 3; do echo '{NOISE}'; done >&2; echo 'Failed to seal to TPM' >&2; echo '{NOISE}'; exit 3")
    assert child.own_words(f"{NOISE}\n{NOISE}\n").startswith("WARNING:esys:src"), "nothing else was said"


def test_a_long_error_ends_at_a_word() -> None:
    said = child.own_words(" ".join(f"word{number}" for number in range(1000)))
    assert len(said) <= child.LONGEST_TOLD and said.startswith("word0 word1 ")
    assert said.endswith(" ...") and said.split()[-2] == f"word{len(said.split()) - 2}"


@pytest.mark.parametrize(
    "said",
    [
        "Failed to unseal: tpm:warn(2.0): authorizations are not allowed because the TPM is in DA lockout mode",
        "TPM is in dictionary attack lockout mode.",
        f"{NOISE} (0x00000921)",
    ],
)
def test_a_locked_tpm_is_told_as_one(said: str) -> None:
    with pytest.raises(Refused, match=r"The TPM is locked.*tpm2_dictionarylockout --clear-lockout") as caught:
        typed(f"echo '{said}' >&2; exit 1")
    assert "check it" not in str(caught.value)


def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PATIENCE", 0.5)
    with pytest.raises(Refused, match="The program did not end in time"):
        typed("sleep 1000")


@pytest.mark.parametrize("script", ["true", "false"])
def test_what_was_typed_is_wiped_and_what_was_opened_is_closed(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wiped = []
    monkeypatch.setattr(child, "wipe", lambda buffer: wiped.append(bytes(buffer)))
    before = os.listdir("/proc/self/fd")
    try:
        typed(script)
    except Refused:
        assert script == "false"
    assert wiped == [PIN + b"\n" + PIN + b"\n"]
    assert os.listdir("/proc/self/fd") == before


def test_an_answer_of_a_program_that_fails_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    wiped = []
    monkeypatch.setattr(child, "wipe", lambda buffer: wiped.append(bytes(buffer).rstrip(b"\0")))
    with pytest.raises(Refused, match="The program ended with 3"):
        child.answer(["sh", "-c", "printf half; exit 3"], b"", WORDS)
    assert wiped == [b"half"]
    assert child.answer(["sh", "-c", "cat"], b"whole", WORDS) == b"whole"
    assert wiped == [b"half", b"whole"]
