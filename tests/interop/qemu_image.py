# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes made by QEMU, and QEMU's word on what opens them."""

from __future__ import annotations

import copy
import json
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests import kept
from ansible_collections.luksmith.luks.tests.interop import originals

CHEAP = {"iterations": 1000}
FORMATS = ("luks", "qcow2")
ONE_FORMAT = (
    "luks",
    pytest.param("qcow2", marks=pytest.mark.full),
)  # in the short form, for what is above the container
OPENER = "amber unlocks"
needs_qemu = pytest.mark.needs("qemu-img", "qemu-io")


def run(*command: t.Union[str, pathlib.Path], check: bool = True) -> t.Any:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True, timeout=120)
    if check and done.returncode:
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {done.stdout} {done.stderr}")
    return done


def create(path: pathlib.Path, format: str, secret: t.Sequence[str], options: str, size: str) -> None:
    """``qemu-img create``, which takes seconds. ``secret``: the words that bring the secret which ``options`` name."""
    for _attempt in range(100):
        done = run("qemu-img", "create", "-q", *secret, "-f", format, "-o", options, path, size, check=False)
        # A bug of 7.2 on fast processors, before any write; up to every second try fails. amend does not have it.
        if "accurate CPU usage" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr


class QemuImage:
    """A LUKS1 volume that qemu-img made, raw or inside qcow2, and its secrets as files (argv would show them).

    Every image of the same arguments is a copy of one, with one volume key and one uuid.
    """

    def __init__(
        self, folder: pathlib.Path, format: str, passphrase: str = OPENER, *, size: str = "1M", options: str = ""
    ) -> None:
        self.path = folder / f"volume.{format}"
        self.format = format
        self._folder = folder
        prefix = "" if format == "luks" else "encrypt."
        words = ",".join(
            filter(
                None,
                [
                    "" if format == "luks" else "encrypt.format=luks",
                    f"{prefix}key-secret=s",
                    f"{prefix}iter-time=1",
                    options,
                ],
            )
        )
        recipe = ["qemu-img create", originals.build_of("qemu-img"), format, passphrase, words, size]
        made = kept.folder(
            recipe, lambda scratch: create(scratch / "volume", format, self._object(passphrase), words, size)
        )
        originals.copied(made / "volume", self.path)

    def copied(self, folder: pathlib.Path) -> QemuImage:
        """Another image with the same content, in another folder."""
        twin = copy.copy(self)
        twin.path = originals.copied(self.path, folder / self.path.name)
        return twin

    def _object(self, passphrase: str) -> t.List[str]:
        secret = self._folder / f"secret-{passphrase.encode().hex()}"
        secret.write_text(passphrase)
        return ["--object", f"secret,id=s,file={secret}"]

    def _image_opts(self) -> str:
        secret = "key-secret=s" if self.format == "luks" else "encrypt.key-secret=s"
        return f"driver={self.format},file.filename={self.path},{secret}"

    def opens(self, passphrase: str) -> bool:
        """Does QEMU read the payload with it? Any answer but yes and "invalid password" fails the test."""
        done = run(
            "qemu-io", *self._object(passphrase), "--image-opts", self._image_opts(), "-c", "read 0 4096", check=False
        )
        if done.returncode == 0 and "read 4096/4096" in done.stdout:
            return True
        assert "Invalid password, cannot unlock any keyslot" in done.stderr + done.stdout, done.stdout + done.stderr
        return False

    def opened_by(self, *passphrases: str) -> t.Set[str]:
        return {passphrase for passphrase in passphrases if self.opens(passphrase)}

    def amend(self, unlock: str, *options: str, force: bool = False) -> t.Any:
        """``qemu-img amend``, unchecked; ``options`` without the qcow2 prefix."""
        prefix = "" if self.format == "luks" else "encrypt."
        words = ",".join(prefix + option for option in options)
        flags = ["--force"] if force else []
        return run(
            "qemu-img",
            "amend",
            *flags,
            *self._object(unlock),
            "--image-opts",
            self._image_opts(),
            "-o",
            words,
            check=False,
        )

    def amend_with(self, unlock: str, passphrase: str, *options: str) -> t.Any:
        """Like :meth:`amend`, with ``passphrase`` as the secret called "new"."""
        prefix = "" if self.format == "luks" else "encrypt."
        words = ",".join(prefix + option for option in options)
        other = [word.replace("id=s,", "id=new,") for word in self._object(passphrase)]
        return run(
            "qemu-img",
            "amend",
            *self._object(unlock),
            *other,
            "--image-opts",
            self._image_opts(),
            "-o",
            words,
            check=False,
        )

    def active(self) -> t.Set[int]:
        """Active keyslots as qemu-img sees them."""
        info = json.loads(run("qemu-img", "info", "--output=json", self.path).stdout)
        data = info["format-specific"]["data"]
        slots = data["slots"] if self.format == "luks" else data["encrypt"]["slots"]
        return {number for number, slot in enumerate(slots) if slot["active"]}

    def check(self, *passphrases: str) -> None:
        """qemu-img finds nothing to complain about (raw LUKS has no check, and no check opens without a secret)."""
        opener = next(iter(self.opened_by(*passphrases)), None)
        if self.format == "qcow2" and opener is not None:
            done = run("qemu-img", "check", *self._object(opener), "--image-opts", self._image_opts())
            assert "No errors were found" in done.stdout


def new(passphrase: str, **entry: t.Any) -> t.Dict[str, t.Any]:
    """A present entry at the lowest cost."""
    return {"new_secret": secret(passphrase), "pbkdf": CHEAP, **entry}


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": passphrase, "passphrase": passphrase}
