# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU and cryptsetup say what opens. Nothing of the collection is used here."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

from .programs import run
from .volumes import luks_region, secret_file

WRONG_SECRET = "Invalid password, cannot unlock any keyslot"
NO_KEY_AVAILABLE = 2  # exit code of cryptsetup


def kind_of(image: pathlib.Path) -> str:
    with image.open("rb") as file:
        return "qcow2" if file.read(4) == b"QFI\xfb" else "luks"


def image_options(image: pathlib.Path) -> str:
    kind = kind_of(image)
    prefix = "encrypt." if kind == "qcow2" else ""
    return f"driver={kind},{prefix}key-secret=s,file.filename={image}"


def with_secret(image: pathlib.Path, secret: t.Union[str, bytes]) -> t.List[str]:
    return ["--object", f"secret,id=s,file={secret_file(image.parent, secret)}"]


def qemu_reads(image: pathlib.Path, secret: t.Union[str, bytes]) -> subprocess.CompletedProcess[str]:
    return run("qemu-io", *with_secret(image, secret), "--image-opts", "-c", "read 0 4096", image_options(image), check=False)


def qemu_opens(image: pathlib.Path, secret: t.Union[str, bytes]) -> bool:
    """Reading the first 4096 bytes of the payload with ``secret`` works, or fails for want of a keyslot."""
    done = qemu_reads(image, secret)
    if done.returncode == 0:
        assert "read 4096/4096" in done.stdout
        return True
    assert WRONG_SECRET in done.stderr, done.stderr
    return False


def qemu_slots(image: pathlib.Path) -> t.Set[int]:
    """Active slots as ``qemu-img info`` sees them."""
    data = json.loads(run("qemu-img", "info", "--output=json", image).stdout)["format-specific"]["data"]
    slots = data["encrypt"]["slots"] if kind_of(image) == "qcow2" else data["slots"]
    return {number for number, slot in enumerate(slots) if slot["active"]}


def qemu_check(image: pathlib.Path, secret: str) -> None:
    """A qcow2 image is clean; luks has no check."""
    if kind_of(image) == "qcow2":
        report = json.loads(run("qemu-img", "check", "--output=json", *with_secret(image, secret), "--image-opts", image_options(image)).stdout)
        assert not any(report.get(what) for what in ("corruptions", "leaks", "check-errors")), report


def cryptsetup_opens(volume: pathlib.Path, secret: t.Union[str, bytes], keyslot: t.Optional[int] = None) -> bool:
    """``open --test-passphrase``, on one slot if given. Other ends than "opens" and "no key" fail the test."""
    where = [] if keyslot is None else ["--key-slot", keyslot]
    data = secret.encode() if isinstance(secret, str) else secret
    done = run("cryptsetup", "open", "-q", "--test-passphrase", *where, "--key-file", "-", volume, stdin=data, check=False)
    # Asked for an inactive slot of LUKS1 it answers with code 1 or 2, and a sentence.
    assert done.returncode in (0, NO_KEY_AVAILABLE) or "is not active" in done.stderr or "slot" in done.stderr, (done.returncode, done.stderr)
    return done.returncode == 0


def slots_by_secret(image: pathlib.Path, secrets: t.Iterable[str]) -> t.Dict[int, str]:
    """What cryptsetup finds in each slot; a secret that nobody listed makes the slot "?"."""
    region = luks_region(image)
    found = {}
    for slot in sorted(dump(region)):
        found[slot] = next((secret for secret in secrets if cryptsetup_opens(region, secret, slot)), "?")
    return found


def dump(volume: pathlib.Path) -> t.Dict[int, t.Dict[str, str]]:
    """The enabled keyslots of ``luksDump`` for LUKS1, each with its fields."""
    slots: t.Dict[int, t.Dict[str, str]] = {}
    current: t.Optional[t.Dict[str, str]] = None
    for line in run("cryptsetup", "luksDump", volume).stdout.splitlines():
        if line.startswith("Key Slot "):
            number, _colon, state = line[len("Key Slot ") :].partition(": ")
            current = slots.setdefault(int(number), {}) if state == "ENABLED" else None
        elif current is not None and ":" in line:
            name, _colon, value = line.strip().partition(":")
            current[name] = value.strip()
    return slots


def dump_head(volume: pathlib.Path) -> t.Dict[str, str]:
    """The fields of ``luksDump`` that belong to the whole volume."""
    head = {}
    for line in run("cryptsetup", "luksDump", volume).stdout.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "\t", "Key Slot")):
            head[name] = value.strip()
    return head


def holds(image: pathlib.Path, expected: t.Mapping[int, str], *gone: str) -> None:
    """Exactly these secrets in exactly these slots, said by both peers; ``gone`` open nothing; a qcow2 image is clean."""
    assert slots_by_secret(image, sorted({*expected.values(), *gone})) == dict(expected)
    assert qemu_slots(image) == set(expected)
    for secret in sorted(set(expected.values())):
        assert qemu_opens(image, secret), f"QEMU does not open with {secret}"
    for secret in gone:
        assert not qemu_opens(image, secret), f"QEMU still opens with {secret}"
    if expected:
        qemu_check(image, next(iter(expected.values())))
