# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the crash tests is what really happens: a module in a process of its own, under strace, does the same
calls.
"""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.crash.judge import Lab
from ansible_collections.luksmith.luks.tests.crash.module_process import outcome_under_strace
from ansible_collections.luksmith.luks.tests.crash.operations import operation, peers_of

# Whatever can change a file or make a change durable; strace shows the path behind each descriptor.
TRACED = (
    "pwrite64,fsync,fdatasync,write,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,"
    "copy_file_range,sendfile,sync_file_range,syncfs,sync,io_uring_enter,mmap"
)
NAMES = ("luks1: rekey the only slot", "luks2: erase first without room", "qcow2: erase", "luks1, detached: add")
CALL = re.compile(r"(?P<name>\w+)\((?:[^<(]*)<(?P<path>[^>]*)>(?P<rest>.*)")


def traced(arguments: t.Mapping[str, t.Any], log: pathlib.Path, volume: pathlib.Path) -> t.List[t.Tuple[str, ...]]:
    result = outcome_under_strace(arguments, "-y", "-s", "0", "-e", f"trace={TRACED}", "-o", str(log))
    assert result["changed"], result
    calls = []
    for line in log.read_text().splitlines():
        found = CALL.search(line)
        if found and found["path"] == str(volume):
            if found["name"] == "mmap":
                assert "PROT_WRITE" not in found["rest"] or "MAP_PRIVATE" in found["rest"], line
                continue
            # pwrite64(3<path>, ""..., length, offset) = length
            numbers = re.findall(r"\d+", found["rest"].rsplit("=", 1)[0])
            calls.append((found["name"], *numbers))
    return calls


@pytest.mark.needs("strace")
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.needs(*peers_of(name))) for name in NAMES])
def test_a_module_process_does_what_the_record_says(name: str, tmp_path: pathlib.Path) -> None:
    work = operation(name)
    lab = Lab(work, tmp_path)
    _result, _image, calls = lab.run(work.start)
    lab.put(work.start)
    expected = [
        ("fsync",) if call.data is None else ("pwrite64", str(len(call.data)), str(call.offset)) for call in calls
    ]
    seen = traced({**lab.where, **work.task}, tmp_path / "log", lab.volume)
    assert seen == expected
    assert all(two == ("fsync",) for one, two in zip(seen, seen[1:]) if one[0] == "pwrite64"), (
        "a write is not followed by its barrier"
    )
