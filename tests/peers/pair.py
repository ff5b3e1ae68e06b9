# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of equal volumes: luks_device gets one as a loop device, we get the other, cryptsetup says what opens both."""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
import subprocess
import typing as t

SECRETS: t.Dict[str, bytes] = {
    "one": b"the first passphrase",
    "two": b"the second passphrase",
    "three": b"the third passphrase",
    "binary": bytes(range(256)) * 2,
}
CHEAP = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")


def cryptsetup(*arguments: str, key: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["cryptsetup", "--batch-mode", *arguments], input=key, capture_output=True, check=False)


class Pair:
    """``theirs`` is a loop device over a copy of the file ``ours``; keyfiles of all secrets lie in ``folder``."""

    def __init__(self, folder: pathlib.Path, form: str, holds: t.Mapping[int, str]) -> None:
        self.folder = folder
        self.form = form
        for name, secret in SECRETS.items():
            (folder / name).write_bytes(secret)
        self.ours = folder / "ours.img"
        self._backing = folder / "theirs.img"
        with open(self.ours, "wb") as file:
            file.truncate(20 << 20)
        slots = sorted(holds)
        first = holds[slots[0]]
        self.make(
            "luksFormat",
            "--type",
            form,
            *CHEAP,
            "--key-slot",
            str(slots[0]),
            "--key-file",
            self.keyfile(first),
            str(self.ours),
        )
        for slot in slots[1:]:
            self.make(
                "luksAddKey",
                *CHEAP,
                "--key-slot",
                str(slot),
                "--key-file",
                self.keyfile(first),
                str(self.ours),
                self.keyfile(holds[slot]),
            )
        self.theirs = ""

    def keyfile(self, name: str) -> str:
        return str(self.folder / name)

    def make(self, *arguments: str) -> None:
        done = cryptsetup(*arguments)
        assert done.returncode == 0, done.stderr.decode()

    @contextlib.contextmanager
    def split(self) -> t.Iterator[None]:
        """From here on there are two volumes."""
        shutil.copyfile(self.ours, self._backing)
        found = subprocess.run(["losetup", "--find", "--show", str(self._backing)], stdout=subprocess.PIPE, check=True)
        self.theirs = found.stdout.decode().strip()
        try:
            yield
        finally:
            subprocess.run(["losetup", "--detach", self.theirs], check=True)

    def state(self, volume: str) -> t.Dict[int, t.List[str]]:
        """Every active keyslot with the names of the secrets that open it, as cryptsetup sees it; slot -1 stands for no
        LUKS header.
        """
        dump = cryptsetup("luksDump", volume)
        if dump.returncode:
            return {-1: []}
        text = dump.stdout.decode()
        found = re.findall(r"^Key Slot (\d+): ENABLED$", text, re.MULTILINE) or re.findall(
            r"^  (\d+): luks2", text.partition("Keyslots:")[2].partition("Tokens:")[0], re.MULTILINE
        )
        return {int(slot): [name for name in SECRETS if self._opens(volume, slot, name)] for slot in found}

    def _opens(self, volume: str, slot: str, name: str) -> bool:
        opened = cryptsetup("open", "--test-passphrase", "--key-slot", slot, "--key-file", self.keyfile(name), volume)
        unbound = cryptsetup(
            "open", "--test-passphrase", "--unbound", "--key-slot", slot, "--key-file", self.keyfile(name), volume
        )
        return opened.returncode == 0 or unbound.returncode == 0
