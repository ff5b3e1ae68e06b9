# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that peers made. Secrets go to them through files, never through their arguments."""

from __future__ import annotations

import atexit
import contextlib
import pathlib
import struct
import tempfile
import typing as t

from .programs import need, need_root, run

KINDS = ("luks", "qcow2")
SIZE = 32 << 20

_folder = tempfile.TemporaryDirectory(prefix="luksmith-volumes-")
atexit.register(_folder.cleanup)
_templates = pathlib.Path(_folder.name)


def secret_file(folder: pathlib.Path, secret: t.Union[str, bytes]) -> pathlib.Path:
    data = secret.encode() if isinstance(secret, str) else secret
    for number in range(1000):
        path = folder / f"secret-{number}"
        if not path.exists():
            path.write_bytes(data)
            return path
        if path.read_bytes() == data:
            return path
    raise AssertionError("too many secrets")


def qemu_volume(path: pathlib.Path, kind: str, secret: str, *options: str, size: int = SIZE) -> pathlib.Path:
    """``kind``: luks (raw) or qcow2. Takes seconds of CPU: QEMU measures it. Copy a volume where one is enough."""
    need("qemu-img")
    prefix = "encrypt." if kind == "qcow2" else ""
    given = [f"{prefix}key-secret=s", f"{prefix}iter-time=1", *(f"{prefix}{option}" for option in options)]
    if kind == "qcow2":
        given.insert(0, "encrypt.format=luks")
    file = secret_file(path.parent, secret)
    run("qemu-img", "create", "-q", "-f", kind, "--object", f"secret,id=s,file={file}", "-o", ",".join(given), path, size)
    return path


def fresh(folder: pathlib.Path, kind: str) -> pathlib.Path:
    """A copy of the one volume of this kind that QEMU made for this session with the secret s0, in keyslot 0."""
    template = _templates / f"made.{kind}"
    if not template.exists():
        qemu_volume(template, kind, "s0")
    target = folder / f"volume.{kind}"
    run("cp", "--sparse=always", template, target)
    return target


def cryptsetup_volume(
    path: pathlib.Path,
    secret: t.Union[str, bytes],
    *options: t.Any,
    size: int = 8 << 20,
    luks: str = "luks1",
    iterations: int = 1000,
    detached: t.Optional[pathlib.Path] = None,
) -> pathlib.Path:
    need("cryptsetup")
    with open(path, "ab") as file:
        if path.is_file():
            file.truncate(size)
    kdf = ["--pbkdf", "pbkdf2"] if luks == "luks2" else []
    where = ["--header", detached] if detached is not None else []
    command = ["cryptsetup", "luksFormat", "-q", "--type", luks, *kdf, "--pbkdf-force-iterations", iterations, "--key-file", "-", *options, *where, path]
    run(*command, stdin=secret.encode() if isinstance(secret, str) else secret)
    return path


@contextlib.contextmanager
def loop_device(backing: pathlib.Path) -> t.Iterator[pathlib.Path]:
    need("losetup")
    need_root("a loop device")
    device = pathlib.Path(run("losetup", "--find", "--show", backing).stdout.strip())
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


def luks_region(image: pathlib.Path) -> pathlib.Path:
    """A raw volume itself; of a qcow2 image a copy of the embedded header and key material, found without our code.

    docs/interop/qcow2.txt of QEMU: extensions follow the header; 0x0537be77 holds offset and length.
    """
    with image.open("rb") as file:
        if file.read(4) != b"QFI\xfb":
            return image
        file.seek(100)
        place = struct.unpack(">I", file.read(4))[0]
        while True:
            file.seek(place)
            kind, length = struct.unpack(">II", file.read(8))
            assert kind, "no encryption header extension"
            if kind == 0x0537BE77:
                break
            place += 8 + (length + 7) // 8 * 8
        offset, size = struct.unpack(">QQ", file.read(16))
        file.seek(offset)
        region = file.read(size)
    cut = image.with_name(image.name + ".region")
    # cryptsetup wants a device that reaches beyond the payload offset.
    cut.write_bytes(region + bytes(4 << 20))
    return cut


def luks1_fields(image: pathlib.Path) -> t.List[t.Tuple[int, int, bytes, int, int]]:
    """(state, iterations, salt, key material sector, stripes) of the eight slots, by the offsets of the format."""
    header = luks_region(image).open("rb").read(592)
    return [struct.unpack_from(">II32sII", header, 208 + 48 * slot) for slot in range(8)]
