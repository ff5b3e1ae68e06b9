# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The terminal at which somebody sits, past everything that Ansible records: callbacks, its log, the result."""

from __future__ import annotations

import os
import typing as t

# What runs plays for somebody else gives them a terminal, too, and keeps all that is written to it.
_RECORDERS = ("AWX_ISOLATED_DATA_DIR", "AWX_PRIVATE_DATA_DIR")
_RECORDING_CALLBACK = "awx_display"
_JOBS = ("awx_job_id", "tower_job_id")


class NoTerminal(Exception):
    """A sentence that says why nothing can be shown."""


def open_terminal(variables: t.Mapping[str, t.Any]) -> int:
    """A descriptor for writing, for the caller to close. ``variables``: of the task. Raises NoTerminal."""
    recorded = any(name in os.environ for name in _RECORDERS) or any(name in variables for name in _JOBS)
    if recorded or os.environ.get("ANSIBLE_STDOUT_CALLBACK") == _RECORDING_CALLBACK:
        raise NoTerminal("this run belongs to AWX or ansible-runner, which keeps what is shown")
    # Since ansible-core 2.19 a worker has no terminal of its own, but its parent has.
    for path in ("/dev/tty", *(f"/proc/{os.getppid()}/fd/{number}" for number in (2, 1, 0))):
        try:
            terminal = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            continue
        if os.isatty(terminal):
            return terminal
        os.close(terminal)
    raise NoTerminal("there is no terminal, and elsewhere it would be kept")


def write_all(terminal: int, text: str) -> None:
    """Raises OSError."""
    data = memoryview(text.encode())
    while data:
        data = data[os.write(terminal, data) :]
