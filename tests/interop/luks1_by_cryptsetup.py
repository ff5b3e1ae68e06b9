# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS1 volumes made, read and changed by cryptsetup. Secrets go through files; the argument list would show them."""

from __future__ import annotations

import pathlib
import re
import struct
import subprocess
import typing as t

ITERATIONS = 1000
_COST = ("--pbkdf-force-iterations", str(ITERATIONS))


class CannotMake(Exception):
    """cryptsetup does not make such a volume here; the text is its words."""


class Luks1:
    """``path``: the volume; ``header``: the detached header, or the volume itself."""

    def __init__(
        self,
        folder: pathlib.Path,
        passphrase: str,
        *,
        cipher: str,
        bits: int,
        hash: str = "sha256",
        detached: bool = False,
    ) -> None:
        self.folder = folder
        self.path = folder / "volume"
        self.header = folder / "header" if detached else self.path
        self.path.write_bytes(bytes(4 << 20))
        words = [
            "luksFormat",
            "-q",
            "--type",
            "luks1",
            "--cipher",
            cipher,
            "--key-size",
            str(bits),
            "--hash",
            hash,
            *_COST,
        ]
        if detached:
            self.header.write_bytes(bytes(4 << 20))
            words += ["--header", str(self.header)]
        done = self._cryptsetup(*words, self.path, self.keyfile(passphrase))
        if done.returncode:
            raise CannotMake(done.stderr.strip() or f"exit code {done.returncode}")

    def keyfile(self, passphrase: str) -> pathlib.Path:
        path = self.folder / f"key-{passphrase.encode().hex()}"
        path.write_text(passphrase)
        return path

    def _cryptsetup(self, *words: t.Union[str, pathlib.Path]) -> t.Any:
        return subprocess.run(
            ["cryptsetup", *map(str, words)], capture_output=True, text=True, check=False, timeout=120
        )

    def _do(self, *words: t.Union[str, pathlib.Path]) -> None:
        done = self._cryptsetup(*words)
        assert done.returncode == 0, done.stderr

    def opens(self, passphrase: str, keyslot: t.Optional[int] = None) -> bool:
        """Any answer of cryptsetup but "opens" and "no key available" fails the test."""
        where = () if keyslot is None else ("--key-slot", str(keyslot))
        done = self._cryptsetup(
            "open", "--test-passphrase", *where, "--key-file", self.keyfile(passphrase), self.header
        )
        if done.returncode == 0:
            return True
        assert done.returncode in (1, 2), done.stderr
        assert done.returncode == 2 or "is not active" in done.stderr or f"Keyslot {keyslot}" in done.stderr, (
            done.stderr
        )
        return False

    def holds(self, expected: t.Mapping[int, str], *gone: str) -> None:
        """Exactly these slots are active, each opens with its passphrase, and what is ``gone`` opens none of them."""
        assert self.dump().active == sorted(expected)
        for keyslot, passphrase in expected.items():
            assert self.opens(passphrase, keyslot), f"keyslot {keyslot} does not open with {passphrase}"
        for passphrase in gone:
            assert not self.opens(passphrase), f"{passphrase} still opens a keyslot"

    def add(self, unlock: str, passphrase: str, keyslot: int) -> None:
        self._do(
            "luksAddKey",
            "-q",
            *_COST,
            "--key-file",
            self.keyfile(unlock),
            "--new-key-slot",
            str(keyslot),
            self.header,
            self.keyfile(passphrase),
        )

    def change(self, old: str, passphrase: str, keyslot: int) -> None:
        self._do(
            "luksChangeKey",
            "-q",
            *_COST,
            "--key-slot",
            str(keyslot),
            "--key-file",
            self.keyfile(old),
            self.header,
            self.keyfile(passphrase),
        )

    def kill(self, unlock: str, keyslot: int) -> None:
        self._do("luksKillSlot", "--key-file", self.keyfile(unlock), self.header, str(keyslot))

    def dump(self) -> Dump:
        done = self._cryptsetup("luksDump", self.header)
        assert done.returncode == 0, done.stderr
        return Dump(done.stdout)


class Dump:
    """The output of ``cryptsetup luksDump``. ``head``: before the slots; ``slots``: number -> lines. In sectors."""

    def __init__(self, text: str) -> None:
        self.head, _blank, rest = text.partition("\nKey Slot 0:")
        parts = re.split(r"^Key Slot (\d): ", "Key Slot 0:" + rest, flags=re.MULTILINE)[1:]
        self._slots = {int(number): lines for number, lines in zip(parts[::2], parts[1::2])}

    @property
    def active(self) -> t.List[int]:
        return [number for number, lines in self._slots.items() if lines.startswith("ENABLED")]

    def number(self, keyslot: int, field: str) -> int:
        found = re.search(rf"{field}:\s+(\d+)", self._slots[keyslot])
        assert found, self._slots[keyslot]
        return int(found.group(1))


def slot_fields(raw: bytes, keyslot: int) -> t.Tuple[int, int, bytes, int, int]:
    """State, iterations, salt, offset in sectors, stripes, as the LUKS1 specification has them from byte 208 on."""
    return t.cast(t.Tuple[int, int, bytes, int, int], struct.unpack_from(">II32sII", raw, 208 + 48 * keyslot))
