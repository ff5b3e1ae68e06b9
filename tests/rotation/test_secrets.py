# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of a rotation is in the most verbose output, in a process's arguments or environment, or in a file."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import BREAK_GLASS, LEAKED, ROOT, Lab, exactly_the_newest

VOLUMES = ("luks2.img",)
pytestmark = [pytest.mark.full, pytest.mark.needs("ansible-playbook", "cryptsetup", "strace")]

COMMAND = [sys.executable, str(ROOT / "tests" / "rotation" / "store_command.py"), "{{ inventory_dir }}/command.json"]


@pytest.mark.parametrize("store", ["vault_file", "command"])
def test_nothing_leaks(tmp_path: pathlib.Path, shared: pathlib.Path, store: str) -> None:
    """It may take a minute: three whole rotations, one of them under strace. (tests/secrets has a short form of it.)"""
    own: t.Dict[str, t.Any] = {"rotate_store": store, **({"rotate_command": COMMAND} if store == "command" else {})}
    lab = Lab.make(
        tmp_path / "lab",
        shared,
        VOLUMES,
        rotate_report="{{ inventory_dir }}/report",
        rotate_header_backup="{{ inventory_dir }}",
        **own,
    )
    keyfile = lab.folder / "data.key"
    keyfile.write_text(LEAKED)
    keyfile.chmod(0o400)
    (lab.folder / "crypttab").write_text(f"data {lab.folder / VOLUMES[0]} {keyfile} luks\n")
    trace = tmp_path / "strace"
    # strace of an ordinary user sees no arguments in a process that may not be dumped, so that none is made so.
    processes = [
        "strace",
        "--seccomp-bpf",
        "-f",
        "-qq",
        "-v",
        "-s",
        "1000000",
        "-e",
        "trace=execve,prctl",
        "-e",
        "inject=prctl:retval=0",
        "-o",
        str(trace),
    ]
    output = lab.play("--check", "--diff", "-vvvv") + lab.play("--diff", "-vvvv", command=processes)
    exactly_the_newest(lab, lab.stored(), "one")
    new = lab.stored()[0]["current"]["passphrase"]
    assert keyfile.read_text() == new
    output += lab.play("-e", "rotate_generation=two", "--diff", "-vvvv")
    newer = lab.stored()[0]["current"]["passphrase"]
    assert keyfile.read_text() == newer != new
    backup = f"{lab.uuid(VOLUMES[0])}.luks-header"
    assert lab.opens(backup, newer) and not lab.opens(backup, new) and not lab.opens(backup, LEAKED), (
        "the backup follows"
    )

    assert "rotation " in output and "argon2id" in output, "the plan is shown"
    traced = trace.read_text()
    assert "ansible-playbook" in traced and "execve(0x" not in traced
    secrets = [new, newer, LEAKED, BREAK_GLASS]
    assert [secret for secret in secrets if secret in output] == []
    assert [secret for secret in secrets if secret in traced] == []
    knows = {keyfile, lab.folder / "hosts.json", lab.folder / "command.json"}
    leaks = [
        str(path)
        for path in lab.folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path not in knows and "collections" not in path.parts
        if any(secret.encode() in path.read_bytes() for secret in secrets)
    ]
    assert leaks == []
    assert (lab.folder / "report" / "rotation.html").stat().st_size > 1000
