# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and cores as /proc and the control groups tell them."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import host

GIB = 1 << 30


@pytest.fixture
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[t.Dict[str, str]], None]:
    def write(files: t.Dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(host, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(host, "CGROUPS", str(tmp_path / "cgroup"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4, 5, 6, 7}, raising=False)
    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal: 100 kB\nMemAvailable:      77 kB\n", 77),
        ("MemTotal: 100 kB\n", None),
        ("MemAvailable: many kB\n", None),
        (None, None),
    ],
)
def test_what_the_kernel_says(tree: t.Any, text: t.Optional[str], expected: t.Optional[int]) -> None:
    if text is not None:
        tree({"proc/meminfo": text})
    assert host.available_memory() == expected
    assert host.cores() == 8


V2 = {"proc/meminfo": "MemAvailable: 99999999 kB\n", "proc/self/cgroup": "0::/a/b\n"}
V1 = {
    "proc/meminfo": "MemAvailable: 99999999 kB\n",
    "proc/self/cgroup": "5:memory:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/a\n",
}
LIMITED = {
    "memory.max": str(GIB),
    "memory.current": str(GIB // 2),
    "memory.stat": f"anon 7\ninactive_file {GIB // 4}\n",
    "cpu.max": "250000 100000\n",
}


@pytest.mark.parametrize(
    ("files", "memory", "cores"),
    [
        ({**V2, **{f"cgroup/a/b/{name}": text for name, text in LIMITED.items()}}, 768 * 1024, 2),
        ({**V2, **{f"cgroup/a/{name}": text for name, text in LIMITED.items()}}, 768 * 1024, 2),
        (
            {
                **V2,
                "cgroup/a/b/memory.max": "max\n",
                "cgroup/a/b/memory.current": "5\n",
                "cgroup/a/b/cpu.max": "max 100000\n",
            },
            99999999,
            8,
        ),
        (
            {
                **V2,
                "cgroup/a/b/memory.max": "4096\n",
                "cgroup/a/b/memory.current": "8192\n",
                "cgroup/a/b/cpu.max": "10000 100000\n",
            },
            0,
            1,
        ),
        ({**V2, **{f"cgroup/{name}": text for name, text in LIMITED.items()}}, 768 * 1024, 2),  # in a container
        (
            {
                **V1,
                "cgroup/memory/a/memory.limit_in_bytes": str(GIB),
                "cgroup/memory/a/memory.usage_in_bytes": str(GIB),
                "cgroup/memory/a/memory.stat": f"inactive_file 3\ntotal_inactive_file {GIB // 2}\n",
                "cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n",
                "cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            512 * 1024,
            3,
        ),
        ({**V1, "cgroup/cpu/a/cpu.cfs_quota_us": "-1\n", "cgroup/cpu/a/cpu.cfs_period_us": "100000\n"}, 99999999, 8),
        ({**V1, "cgroup/cpu/a/cpu.cfs_quota_us": "500000\n", "cgroup/cpu/a/cpu.cfs_period_us": "0\n"}, 99999999, 8),
    ],
)
def test_the_tightest_control_group_counts(tree: t.Any, files: t.Dict[str, str], memory: int, cores: int) -> None:
    tree(files)
    assert (host.available_memory(), host.cores()) == (memory, cores)
