# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small volumes with cheap keys, as cryptsetup and qemu-img make them: AES-CBC, 128-bit keys, 1000 iterations.

A keyslot area is then 64000 bytes, which is what keeps the number of states and the time for each of them low; the
order of writes does not depend on it.
"""

from __future__ import annotations

import functools
import pathlib
import subprocess
import tempfile
import typing as t

from ansible_collections.luksmith.luks.tests.crash.checker import embedded_at

SECRETS = {name: f"passphrase-{name}".encode() for name in ("alpha", "bravo", "charlie", "delta", "echo")}
CHEAP = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
CIPHER = ("-c", "aes-cbc-plain64", "-s", "128")

Slots = t.Mapping[int, str]


def run(*command: t.Union[str, pathlib.Path]) -> str:
    """Raises CalledProcessError, with what the program said in it."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def luks1(slots: Slots) -> bytes:
    return _made("luks1", tuple(slots.items()), 0)


def luks2(slots: Slots, *, areas: int = 8) -> bytes:
    """32 numbers, and room for ``areas`` areas of 64 KiB only."""
    return _made("luks2", tuple(slots.items()), areas)


def with_unbound(image: bytes, keyslot: int, name: str) -> bytes:
    """``image`` after cryptsetup added a keyslot for another key than that of the volume."""
    with tempfile.TemporaryDirectory(prefix="luksmith-crash-") as folder:
        volume, key, secret = (pathlib.Path(folder, file) for file in ("volume", "key", "secret"))
        volume.write_bytes(image)
        key.write_bytes(bytes(range(16)))
        secret.write_bytes(SECRETS[name])
        cipher = ("--keyslot-cipher", "aes-cbc-plain64", "--keyslot-key-size", "128")
        other = ("--unbound", "--key-size", "128", "--volume-key-file", key, "--key-slot", str(keyslot))
        run("cryptsetup", "luksAddKey", "-q", *CHEAP, *cipher, *other, volume, secret)
        return volume.read_bytes()


def qcow2(slots: Slots) -> bytes:
    """A LUKS1 header inside a qcow2 image. QEMU fills keyslot 0, which therefore must be the first of ``slots``."""
    assert next(iter(slots)) == 0
    return _made("qcow2", tuple(slots.items()), 0)


@functools.lru_cache(maxsize=None)
def _made(kind: str, slots: t.Tuple[t.Tuple[int, str], ...], areas: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="luksmith-crash-") as folder:
        image, files = pathlib.Path(folder, "image"), {}
        for name, secret in SECRETS.items():
            files[name] = pathlib.Path(folder, name)
            files[name].write_bytes(secret)
        if kind == "qcow2":
            _by_qemu(image, slots, files)
        else:
            _by_cryptsetup(image, kind, slots, areas, files)
        return image.read_bytes()


def _by_cryptsetup(
    image: pathlib.Path,
    kind: str,
    slots: t.Sequence[t.Tuple[int, str]],
    areas: int,
    files: t.Mapping[str, pathlib.Path],
) -> None:
    (number, first), *rest = slots
    if kind == "luks1":
        image.write_bytes(bytes(532480))
        geometry: t.Sequence[str] = ("--align-payload", "8")
    else:
        image.write_bytes(bytes(32768 + areas * 65536 + 65536))
        geometry = (
            "--luks2-metadata-size",
            "16k",
            "--luks2-keyslots-size",
            f"{areas * 64}k",
            "--offset",
            str(64 + areas * 128),
        )
    run(
        "cryptsetup",
        "luksFormat",
        "-q",
        "--type",
        kind,
        *CIPHER,
        *CHEAP,
        *geometry,
        "--key-slot",
        str(number),
        image,
        files[first],
    )
    _add(image, rest, files[first], files)


def _by_qemu(image: pathlib.Path, slots: t.Sequence[t.Tuple[int, str]], files: t.Mapping[str, pathlib.Path]) -> None:
    """QEMU makes the image and cryptsetup, on the header alone, adds what is more: QEMU measures for seconds before
    each key.
    """
    first = slots[0][1]
    data = _qemu_image(SECRETS[first].decode())
    at = embedded_at(data)
    header = image.with_name("header")
    header.write_bytes(data[at:].ljust(1 << 20, b"\0"))
    _add(header, slots[1:], files[first], files)
    image.write_bytes(data[:at] + header.read_bytes()[: len(data) - at])


@functools.lru_cache(maxsize=None)
def _qemu_image(secret: str) -> bytes:
    cipher = "encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=plain64,encrypt.hash-alg=sha256"
    options = f"encrypt.format=luks,encrypt.key-secret=first,{cipher},encrypt.iter-time=1,cluster_size=4096"
    with tempfile.TemporaryDirectory(prefix="luksmith-crash-") as folder:
        image = pathlib.Path(folder, "image")
        command = [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            f"--object=secret,id=first,data={secret}",
            "-o",
            options,
            image,
            "64K",
        ]
        for _attempt in range(100):
            done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            # On a busy machine QEMU now and then measures no time at all and gives up.
            if "accurate CPU usage" not in done.stdout:
                break
        assert done.returncode == 0, done.stdout
        return image.read_bytes()


def added(image: bytes, keyslot: int, name: str, opening: str) -> bytes:
    """``image`` after cryptsetup added a keyslot."""
    with tempfile.TemporaryDirectory(prefix="luksmith-crash-") as folder:
        volume, files = pathlib.Path(folder, "volume"), {key: pathlib.Path(folder, key) for key in (name, opening)}
        volume.write_bytes(image)
        for key, file in files.items():
            file.write_bytes(SECRETS[key])
        _add(volume, [(keyslot, name)], files[opening], files)
        return volume.read_bytes()


def _add(
    header: pathlib.Path,
    slots: t.Sequence[t.Tuple[int, str]],
    opening: pathlib.Path,
    files: t.Mapping[str, pathlib.Path],
) -> None:
    for number, name in slots:
        run(
            "cryptsetup",
            "luksAddKey",
            "-q",
            *CHEAP,
            "--new-key-slot",
            str(number),
            "--key-file",
            opening,
            header,
            files[name],
        )
