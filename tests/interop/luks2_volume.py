# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes made by cryptsetup, its word on what opens them, and what it thinks of what we wrote."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests import kept
from ansible_collections.luksmith.luks.tests.interop import originals

CHEAP = {"iterations": 1000}
PBKDF2 = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
SIZE = 8 << 20
SMALL_KEY = ("--key-size", "256")  # half the work of the 512 bits that it takes unasked, for the same cipher
AREA = ("--luks2-keyslots-size", "2m")  # cryptsetup fills all of it with random bytes; 16 MiB is what it takes unasked

needs_cryptsetup = pytest.mark.needs("cryptsetup")
Slots = t.Mapping[int, str]
_DECODER = json.JSONDecoder()


def run(*command: t.Any, stdin: str = "", check: bool = True, **environment: str) -> t.Any:
    done = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


class Luks2Volume:
    """A header file or device. Secrets are text; ``opener`` is the one of the slot that ``luksFormat`` makes."""

    def __init__(self, path: pathlib.Path, folder: t.Optional[pathlib.Path] = None) -> None:
        self.path = path
        self.folder = folder or path.parent

    def keyfile(self, secret: str) -> pathlib.Path:
        path = self.folder / f"secret-{secret.encode().hex()}"
        path.write_bytes(secret.encode())
        return path

    def format(self, *options: t.Any, size: int = SIZE, type: str = "luks2", opener: str = "pw0") -> Luks2Volume:
        if not self.path.is_block_device():
            self.path.write_bytes(b"")
            os.truncate(self.path, size)
        costs = ("--pbkdf-force-iterations", "1000") if type == "luks1" else () if "--pbkdf" in options else PBKDF2
        area = AREA if type == "luks2" and "--luks2-keyslots-size" not in options and "--offset" not in options else ()
        key = () if {"-s", "--key-size"} & set(options) else SMALL_KEY
        run(
            "cryptsetup",
            "luksFormat",
            "-q",
            "--type",
            type,
            *costs,
            *area,
            *key,
            *options,
            self.path,
            self.keyfile(opener),
        )
        return self

    def like(
        self,
        *options: t.Any,
        slots: t.Optional[Slots] = None,
        size: int = SIZE,
        type: str = "luks2",
        opener: str = "pw0",
    ) -> Luks2Volume:
        """Like :meth:`format` and :meth:`add` for each of ``slots``, but a copy with the same volume key and uuid."""
        words = [str(word) for word in (*AREA, *SMALL_KEY, *options)]
        recipe = [
            "cryptsetup luksFormat",
            originals.build_of("cryptsetup"),
            words,
            sorted((slots or {}).items()),
            size,
            type,
            opener,
        ]

        def make(scratch: pathlib.Path) -> None:
            made = Luks2Volume(scratch / "volume").format(*options, size=size, type=type, opener=opener)
            for slot, secret in (slots or {}).items():
                made.add(slot, secret, unlock=opener)

        originals.copied(kept.folder(recipe, make) / "volume", self.path)
        return self

    def add(self, slot: int, secret: str, *options: t.Any, unlock: str = "pw0") -> Luks2Volume:
        costs = options if "--pbkdf" in options else (*PBKDF2, *options)
        run(
            "cryptsetup",
            "luksAddKey",
            "-q",
            "--key-slot",
            slot,
            *costs,
            "-d",
            self.keyfile(unlock),
            self.path,
            self.keyfile(secret),
        )
        return self

    def import_token(self, number: int, token: t.Mapping[str, t.Any]) -> None:
        run("cryptsetup", "token", "import", "--token-id", number, self.path, stdin=json.dumps(token))

    def opens(self, secret: str, *options: t.Any) -> bool:
        """Any answer of cryptsetup but yes, "no key available" and "only ignored slots" fails the test."""
        done = run(
            "cryptsetup", "open", "--test-passphrase", *options, "-d", self.keyfile(secret), self.path, check=False
        )
        assert done.returncode in (0, 2) or "No usable keyslot" in done.stderr, done.stderr
        return bool(done.returncode == 0)

    def opened(self, slots: t.Iterable[int], secrets: t.Iterable[str]) -> t.Set[t.Tuple[int, str]]:
        """Every pair of these that cryptsetup opens when the slot is named."""
        words = list(secrets)
        return {(slot, secret) for slot in slots for secret in words if self.opens(secret, "--key-slot", slot)}

    def raw(self, offset: int = 0, size: t.Optional[int] = None) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read() if size is None else file.read(size)

    def patch(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
            os.fsync(file.fileno())

    def sha256(self) -> str:
        return hashlib.sha256(self.raw()).hexdigest()

    @property
    def hdr_size(self) -> int:
        return int.from_bytes(self.raw(8, 8), "big")

    @property
    def seqid(self) -> int:
        return int.from_bytes(self.raw(16, 8), "big")

    def text(self) -> str:
        """The JSON of the primary copy, to the byte."""
        return self.raw(4096, self.hdr_size - 4096).rstrip(b"\0").decode()

    def tree(self) -> t.Any:
        return json.loads(self.text())

    def tokens(self) -> t.Dict[str, str]:
        """Token id -> type."""
        return {number: token["type"] for number, token in self.tree()["tokens"].items()}

    def pieces(self) -> t.Dict[t.Tuple[str, ...], str]:
        """The JSON text cut at the members of its five sections, digests once more; each piece as it is spelled."""
        found: t.Dict[t.Tuple[str, ...], str] = {}
        for section, content in _members(self.text()):
            for name, piece in _members(content):
                if section == "digests":
                    found.update({(section, name, member): value for member, value in _members(piece)})
                else:
                    found[section, name] = piece
        return found

    def edit(self, change: t.Callable[[t.Any], None]) -> None:
        """``change`` the JSON of both copies directly, with right checksums and the same sequence id."""
        tree = self.tree()
        change(tree)
        self.store(json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode())

    def store(self, text: bytes, copies: t.Sequence[int] = (0, 1), *, seqid: t.Optional[int] = None) -> None:
        size = self.hdr_size
        for place in copies:
            block = bytearray(self.raw(place * size, 4096))
            if seqid is not None:
                block[16:24] = seqid.to_bytes(8, "big")
            block[448:512] = bytes(64)
            area = text.ljust(size - 4096, b"\0")
            block[448:480] = hashlib.sha256(bytes(block) + area).digest()
            self.patch(place * size, bytes(block) + area)

    def approved(self) -> str:
        """What luksDump shows. Neither it nor repair finds anything to do, and they do not change a byte."""
        before = self.sha256()
        shown = run("cryptsetup", "luksDump", "--debug", self.path)
        repair = run("cryptsetup", "repair", "-q", "--debug", self.path)
        assert self.sha256() == before
        assert "requires recovery" not in shown.stdout + repair.stdout
        assert not shown.stderr
        return str(shown.stdout)


def _members(text: str) -> t.List[t.Tuple[str, str]]:
    """Members of a compact JSON object with the text of their values."""
    found, at = [], 1
    while text[at - 1] != "}" and text[at] != "}":
        name, colon = _DECODER.raw_decode(text, at)
        end = _DECODER.raw_decode(text, colon + 1)[1]
        found.append((name, text[colon + 1 : end]))
        at = end + 1
    return found
