# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TPM 2.0 for a virtual machine: a swtpm that loses its power with the machine, and whose keys outlive it."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import typing as t

from ansible_collections.luksmith.luks.tests.interop.lock_lab import started, until


@t.final
class Tpm:
    """A context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="luksmith-tpm-")
        self._running = contextlib.ExitStack()

    def restart(self) -> t.List[str]:
        """Switch it off and on; returns what connects QEMU with it."""
        self._running.close()
        folder = pathlib.Path(self._folder.name)
        server = folder / "socket"
        server.unlink(missing_ok=True)
        state = ("--tpmstate", f"dir={folder}", "--ctrl", f"type=unixio,path={server}")
        process = self._running.enter_context(started("swtpm", "socket", "--tpm2", *state))
        until(server.exists, "swtpm listens", process)
        chip = ["-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm"]
        return ["-chardev", f"socket,id=tpm,path={server}", *chip]

    def __enter__(self) -> Tpm:
        return self

    def __exit__(self, *_error: object) -> None:
        self._running.close()
        self._folder.cleanup()
