# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes whose keys the test knows, so that it can look for them: by cryptsetup, hashlib and ``cryptography``, not by
ours.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import struct
import subprocess
import typing as t

from ansible_collections.luksmith.luks.tests.secrets import canary
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_COSTS = ("--pbkdf-force-iterations", "1000")


@dataclasses.dataclass(frozen=True)
class Volume:
    path: pathlib.Path
    format: str

    @property
    def header_size(self) -> int:
        """Bytes that hold fields and metadata; behind them is key material, which is encrypted."""
        return 1024 if self.format == "luks1" else 32768


def cryptsetup(*words: t.Union[str, pathlib.Path], stdin: bytes = b"", fine: t.Container[int] = (0,)) -> bytes:
    done = subprocess.run(["cryptsetup", *map(str, words)], input=stdin, capture_output=True, check=False, timeout=120)
    assert done.returncode in fine, done.stderr
    return done.stdout


def make(path: pathlib.Path, form: str, secret: bytes) -> Volume:
    path.write_bytes(bytes(4 << 20))
    more = ["--luks2-keyslots-size", "2m", "--pbkdf", "pbkdf2"] if form == "luks2" else []
    words = [
        "luksFormat",
        "-q",
        "--type",
        form,
        "--cipher",
        "aes-xts-plain64",
        "--key-size",
        "256",
        "--hash",
        "sha256",
        *more,
        *_COSTS,
    ]
    cryptsetup(*words, "--key-file=-", path, stdin=secret)
    return Volume(path, form)


def opens(volume: Volume, secret: bytes) -> bool:
    done = subprocess.run(
        ["cryptsetup", "open", "--test-passphrase", "--key-file=-", str(volume.path)],
        input=secret,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def volume_key(volume: Volume, secret: bytes) -> canary.Canary:
    """As cryptsetup dumps it."""
    text = cryptsetup("luksDump", "-q", "--dump-volume-key", "--key-file=-", volume.path, stdin=secret).decode()
    lines = text[text.index("dump:") + 5 :].splitlines()
    value = bytes.fromhex("".join(line for line in lines if set(line.strip()) <= set("0123456789abcdef ")))
    assert len(value) == 32, text
    return canary.key(f"volume key of {volume.format}", value)


def derived(volume: Volume, secret: bytes, keyslot: int) -> t.List[canary.Canary]:
    """The key of a keyslot's area as hashlib derives it, and the beginning of the split key that it decrypts."""
    raw = volume.path.read_bytes()
    salt, iterations, offset = _slot(raw, volume.format, keyslot)
    key = hashlib.pbkdf2_hmac("sha256", secret, salt, iterations, 32)
    tweak = Cipher(algorithms.AES(key), modes.XTS(bytes(16))).decryptor()
    stripes = tweak.update(raw[offset : offset + 512])
    name = f"of keyslot {keyslot} of {volume.format}"
    return [canary.key(f"derived key {name}", key), canary.key(f"split key {name}", stripes[:32])]


def place_of(volume: Volume, keyslot: int) -> int:
    """First byte of the key material of a keyslot."""
    return _slot(volume.path.read_bytes(), volume.format, keyslot)[2]


def _slot(raw: bytes, form: str, keyslot: int) -> t.Tuple[bytes, int, int]:
    """Salt, iterations, first byte of the area."""
    if form == "luks1":
        _state, iterations, salt, sector, _stripes = struct.unpack_from(">II32sII", raw, 208 + 48 * keyslot)
        return salt, iterations, sector * 512
    import base64
    import json

    slot = json.loads(raw[4096:16384].rstrip(b"\0"))["keyslots"][str(keyslot)]
    return base64.b64decode(slot["kdf"]["salt"]), slot["kdf"]["iterations"], int(slot["area"]["offset"])
