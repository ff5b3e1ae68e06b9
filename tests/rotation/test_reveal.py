# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A passphrase that is given out opens the volume, only the terminal has it, and the next rotation ends it."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import PATIENCE, Lab, exactly_the_newest

pytestmark = [pytest.mark.full, pytest.mark.needs("ansible-playbook", "cryptsetup")]
VOLUME = "luks2.img"


def at_a_terminal(lab: Lab, *flags: str, expect: int = 0, **environment: str) -> t.Tuple[str, str]:
    """What the playbook prints, and what its terminal shows; its output goes elsewhere."""
    master, slave = os.openpty()
    seen: t.List[bytes] = []

    def look() -> None:
        try:
            while True:
                seen.append(os.read(master, 4096))
        except OSError:  # no process has the other end any more
            pass

    # The first terminal that the leader of a session opens becomes its own.
    sit_down = 'exec 3<>"$0"; exec "$@" 3<&-'
    words = ["setsid", "sh", "-c", sit_down, os.ttyname(slave), *lab.words(*flags, playbook="reveal")]
    how = {**lab.surroundings(ANSIBLE_LOG_PATH=str(lab.folder / "log"), **environment), "stdin": slave}
    process = subprocess.Popen(words, **how)
    os.close(slave)
    reader = threading.Thread(target=look)
    reader.start()
    output, _nothing = process.communicate(timeout=PATIENCE)
    reader.join()
    os.close(master)
    assert process.returncode == expect, output
    return output, b"".join(seen).decode()


def test_given_out_and_replaced(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take half a minute: two rotations and three more playbooks."""
    lab = Lab.once_rotated(tmp_path / "lab", shared, [VOLUME])
    (entry,) = lab.stored()
    passphrase = entry["current"]["passphrase"]
    host = ("-e", "reveal_host=web", "-e", "reveal_reason='no boot'", "-vvv")

    assert "no terminal" in lab.play(*host, playbook="reveal", expect=2)
    assert at_a_terminal(lab, *host, "--check")[1] == "" and lab.stored() == [entry]

    output, terminal = at_a_terminal(lab, *host)
    assert passphrase in terminal and lab.opens(VOLUME, passphrase)
    assert "type it with its hyphens; the last symbol is a check symbol" in terminal
    kept = [path for path in lab.folder.rglob("*") if path.is_file() and passphrase.encode() in path.read_bytes()]
    assert passphrase not in output and not kept
    (noted,) = lab.stored()
    assert [note["why"] for note in noted["current"]["given"]] == ["no boot"]

    again = lab.play()
    assert re.search(r"given to .* \(no boot\)", again), again
    exactly_the_newest(lab, lab.stored(), "one")
    assert not lab.opens(VOLUME, passphrase)
    assert "1 unchanged" in lab.play()


def test_no_host_and_several(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    lab = Lab.once_rotated(tmp_path / "lab", shared, [VOLUME])
    assert "-e reveal_host=NAME" in lab.play(playbook="reveal", expect=None)
    assert "No host of the inventory matches db" in lab.play("-e", "reveal_host=db", playbook="reveal", expect=None)
