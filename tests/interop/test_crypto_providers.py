# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every library against cryptsetup and QEMU: they make volumes, we find the volume key; we reseal it, they open it.

The headers are taken apart here with struct and json, so that no other code of the collection has a part in the result.
"""

from __future__ import annotations

import base64
import hmac
import json
import pathlib
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import (
    aes,
    antiforensic,
    argon2,
    block_ciphers,
    cipher,
    cipher_table,
    hashes,
    kdf,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.providers import NotProvided
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Kdf, Pbkdf2
from ansible_collections.luksmith.luks.tests.interop.module_process import run_module
from ansible_collections.luksmith.luks.tests.interop.qemu_image import OPENER, QemuImage, needs_qemu
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.crypto.one_provider import alone, named

pytestmark = pytest.mark.needs("cryptsetup")

SECRET = OPENER.encode()
STRIPES = 4000
SECTOR = 512
full = pytest.mark.full


class Slot(t.NamedTuple):
    """Slot 0 of a volume and the digest of its volume key."""

    kdf: Kdf
    encryption: str
    key_size: int
    area_key_size: int
    af_hash: str
    offset: int
    digest: Pbkdf2
    expected: bytes

    @property
    def material_size(self) -> int:
        return -(-self.key_size * STRIPES // SECTOR) * SECTOR


def text(field: bytes) -> str:
    return field.split(b"\0")[0].decode()


def luks1(path: pathlib.Path) -> Slot:
    with path.open("rb") as file:
        header = file.read(592)
    magic, version, name, mode, hash_name, _payload, key_size, digest, salt, iterations = struct.unpack_from(
        ">6sH32s32s32sII20s32sI", header
    )
    assert (magic, version) == (b"LUKS\xba\xbe", 1)
    active, slot_iterations, slot_salt, sector, stripes = struct.unpack_from(">II32sII", header, 208)
    assert (active, stripes) == (0x00AC71F3, STRIPES)
    name, mode, hash_name = text(name), text(mode), text(hash_name)
    kdf_ = Pbkdf2(hash_name, slot_iterations, slot_salt)
    return Slot(
        kdf_,
        f"{name}-{mode}",
        key_size,
        key_size,
        hash_name,
        sector * SECTOR,
        Pbkdf2(hash_name, iterations, salt),
        digest,
    )


def luks2(path: pathlib.Path) -> Slot:
    with path.open("rb") as file:
        header = file.read(16384)
    found = json.loads(text(header[4096:]))
    slot, digest = found["keyslots"]["0"], found["digests"]["0"]
    stored, area, salt = slot["kdf"], slot["area"], base64.b64decode(slot["kdf"]["salt"])
    kdf_: Kdf
    if stored["type"] == "pbkdf2":
        kdf_ = Pbkdf2(stored["hash"], stored["iterations"], salt)
    else:
        kdf_ = Argon2(stored["type"], stored["time"], stored["memory"], stored["cpus"], salt)
    digest_kdf = Pbkdf2(digest["hash"], digest["iterations"], base64.b64decode(digest["salt"]))
    return Slot(
        kdf_,
        area["encryption"],
        slot["key_size"],
        area["key_size"],
        slot["af"]["hash"],
        int(area["offset"]),
        digest_kdf,
        base64.b64decode(digest["digest"]),
    )


def volume_key(path: pathlib.Path, slot: Slot, secret: bytes) -> bytearray:
    with path.open("rb") as file:
        file.seek(slot.offset)
        material = file.read(slot.material_size)
    derived = kdf.derive(slot.kdf, secret, slot.area_key_size, budget=kdf.Budget())
    return antiforensic.merge(cipher.decrypt(slot.encryption, derived, material), slot.key_size, STRIPES, slot.af_hash)


def is_volume_key(slot: Slot, key: bytearray) -> bool:
    value = kdf.pbkdf2(slot.digest.hash, key, slot.digest.salt, slot.digest.iterations, len(slot.expected))
    return hmac.compare_digest(value, slot.expected)


def reseal(path: pathlib.Path, slot: Slot, key: bytearray) -> None:
    split = antiforensic.split(key, STRIPES, slot.af_hash)
    split.extend(bytes(slot.material_size - len(split)))
    derived = kdf.derive(slot.kdf, SECRET, slot.area_key_size, budget=kdf.Budget())
    with path.open("r+b") as file:
        file.seek(slot.offset)
        file.write(cipher.encrypt(slot.encryption, derived, split))


def cryptsetup_opens(path: pathlib.Path) -> bool:
    command = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", str(path)]
    return subprocess.run(command, input=SECRET, capture_output=True, check=False).returncode == 0


def prove(path: pathlib.Path, slot: Slot) -> None:
    key = volume_key(path, slot, SECRET)
    assert is_volume_key(slot, key)
    assert not is_volume_key(slot, volume_key(path, slot, SECRET + b"x"))
    before = path.read_bytes()
    reseal(path, slot, key)
    assert path.read_bytes() != before
    assert is_volume_key(slot, volume_key(path, slot, SECRET))


def cryptsetup_format(path: pathlib.Path, *options: str) -> None:
    with path.open("wb") as file:
        file.truncate(4 * 1024 * 1024)
    command = ["cryptsetup", "luksFormat", "--batch-mode", "--use-urandom", "--key-file", "-", *options, str(path)]
    done = subprocess.run(command, input=SECRET, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


LUKS1 = [
    ("aes-xts-plain64", 512, "sha256"),
    pytest.param("aes-xts-plain", 256, "sha1", marks=full),
    pytest.param("aes-cbc-essiv:sha256", 128, "ripemd160", marks=full),
    ("aes-cbc-essiv:sha256", 256, "sm3"),
    pytest.param("aes-cbc-plain", 192, "sha512", marks=full),
    pytest.param("aes-cbc-plain64", 256, "sha384", marks=full),
    pytest.param("aes-ecb", 192, "sha224", marks=full),
    pytest.param("aes-ctr-plain64", 256, "sha3-256", marks=full),
    pytest.param("aes-xts-essiv:sha256", 512, "blake2s-256", marks=full),
    pytest.param("aes-xts-plain64", 512, "blake2b-512", marks=full),
    pytest.param("aes-xts-plain64", 512, "whirlpool", marks=full),
]


@pytest.mark.parametrize(("encryption", "bits", "hash_name"), LUKS1)
def test_luks1_of_cryptsetup(tmp_path: pathlib.Path, encryption: str, bits: int, hash_name: str) -> None:
    volume = tmp_path / "volume"
    options = ("--cipher", encryption, "--key-size", str(bits), "--hash", hash_name, "--pbkdf-force-iterations", "1000")
    cryptsetup_format(volume, "--type", "luks1", *options)
    slot = luks1(volume)
    assert (slot.encryption, slot.key_size * 8, slot.af_hash) == (encryption, bits, hash_name)
    for provider in aes.PROVIDERS[:]:
        with alone(aes.PROVIDERS, provider, lambda one: one.ability("xts", 256)):
            prove(volume, slot)
        assert cryptsetup_opens(volume)


@pytest.mark.parametrize("hash_provider", hashes.PROVIDERS, ids=named)
@pytest.mark.parametrize("hash_name", ["sha256", "whirlpool"])
def test_luks1_through_each_library_of_hashes(
    tmp_path: pathlib.Path, hash_provider: hashes.HashProvider, hash_name: str
) -> None:
    volume = tmp_path / "volume"
    with alone(hashes.PROVIDERS, hash_provider, lambda one: one.pbkdf2(hashes._HASHES[hash_name])):
        cryptsetup_format(
            volume,
            "--type",
            "luks1",
            "--cipher",
            "aes-xts-plain64",
            "--hash",
            hash_name,
            "--pbkdf-force-iterations",
            "1000",
        )
        prove(volume, luks1(volume))
        assert cryptsetup_opens(volume)


def test_upper_case_hash_in_a_luks1_header(tmp_path: pathlib.Path) -> None:
    volume = tmp_path / "volume"
    cryptsetup_format(volume, "--type", "luks1", "--hash", "sha256", "--pbkdf-force-iterations", "1000")
    with volume.open("r+b") as file:
        file.seek(72)
        file.write(b"SHA256")
    assert cryptsetup_opens(volume)
    slot = luks1(volume)
    assert slot.af_hash == "SHA256"
    prove(volume, slot)
    assert cryptsetup_opens(volume)


# Each library at least once; in the long form each with each, and both kinds of Argon2.
ARGON2 = [
    pytest.param(
        kind,
        one,
        other,
        id=f"{named(other)}-{named(one)}-{kind}",
        marks=() if kind == "argon2id" and 0 in (row, column) else full,
    )
    for column, other in enumerate(aes.PROVIDERS)
    for row, one in enumerate(argon2.PROVIDERS)
    for kind in argon2.TYPES
]


@pytest.mark.parametrize(("kind", "argon2_provider", "aes_provider"), ARGON2)
def test_luks2_argon2_of_cryptsetup(
    tmp_path: pathlib.Path, kind: str, argon2_provider: argon2.Argon2Provider, aes_provider: aes.AesProvider
) -> None:
    volume = tmp_path / "volume"
    costs = ("--pbkdf-memory", "64", "--pbkdf-force-iterations", "4", "--pbkdf-parallel", "2")
    sizes = ("--luks2-metadata-size", "16k", "--luks2-keyslots-size", "512k")
    with alone(argon2.PROVIDERS, argon2_provider, lambda one: one.ability(kind)), alone(
        aes.PROVIDERS, aes_provider, lambda one: one.ability("xts", 256)
    ):
        cryptsetup_format(volume, "--type", "luks2", "--pbkdf", kind, *costs, *sizes)
        slot = luks2(volume)
        assert isinstance(slot.kdf, Argon2)
        assert (slot.kdf.type, slot.kdf.time, slot.kdf.memory) == (kind, 4, 64)
        prove(volume, slot)
        assert cryptsetup_opens(volume)


@pytest.mark.parametrize(
    ("encryption", "bits", "hash_name"),
    [("aes-xts-plain64", 512, "sha512"), ("aes-cbc-essiv:sha256", 256, "sha256"), ("aes-cbc-plain", 192, "sha1")],
)
def test_luks2_pbkdf2_of_cryptsetup(tmp_path: pathlib.Path, encryption: str, bits: int, hash_name: str) -> None:
    volume = tmp_path / "volume"
    options = ("--keyslot-cipher", encryption, "--keyslot-key-size", str(bits), "--hash", hash_name)
    sizes = ("--luks2-metadata-size", "16k", "--luks2-keyslots-size", "512k")
    cryptsetup_format(
        volume, "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", *options, *sizes
    )
    slot = luks2(volume)
    assert (slot.encryption, slot.area_key_size * 8, slot.af_hash) == (encryption, bits, hash_name)
    prove(volume, slot)
    assert cryptsetup_opens(volume)


QEMU = [
    ("", "aes-xts-plain64"),  # what it makes unasked
    pytest.param(
        "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha512",
        "aes-cbc-essiv:sha256",
        marks=full,
    ),
    pytest.param("cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain,hash-alg=sha1", "aes-cbc-plain", marks=full),
    pytest.param("cipher-mode=xts,ivgen-alg=essiv,ivgen-hash-alg=sha256", "aes-xts-essiv:sha256", marks=full),
    pytest.param("cipher-mode=ctr,ivgen-alg=plain64,hash-alg=ripemd160", "aes-ctr-plain64", marks=full),
    pytest.param(
        "cipher-mode=cbc,ivgen-alg=plain64,ivgen-hash-alg=sha256,hash-alg=md5", "aes-cbc-plain64:sha256", marks=full
    ),
    pytest.param("cipher-mode=ecb,ivgen-alg=plain64,hash-alg=sha224", "aes-ecb-plain64", marks=full),
]


@needs_qemu
@pytest.mark.parametrize(("options", "encryption"), QEMU)
def test_luks1_of_qemu(tmp_path: pathlib.Path, options: str, encryption: str) -> None:
    image = QemuImage(tmp_path, "luks", options=options)
    slot = luks1(image.path)
    assert slot.encryption == encryption
    for provider in aes.PROVIDERS[:]:
        with alone(aes.PROVIDERS, provider, lambda one: one.ability("xts", 256)):
            prove(image.path, slot)
        assert image.opens(OPENER)


# What qemu-img can make besides AES: every cipher, key size, mode and IV generator at least once. A key of 24 bytes
# makes no whole sectors of key material, and QEMU asserts that: 192 bits only exist in XTS, which has two keys.
OTHER = [
    ("serpent-256", "xts", "plain64", ""),
    ("twofish-256", "xts", "plain64", ""),
    ("cast5-128", "cbc", "plain64", ""),
    ("aes-192", "xts", "plain64", ""),
    *(
        pytest.param(*row, marks=full)
        for row in (
            ("serpent-128", "cbc", "essiv", "md5"),
            ("serpent-192", "xts", "plain", ""),
            ("serpent-256", "cbc", "essiv", "sha256"),
            ("serpent-256", "ctr", "plain64", ""),
            ("serpent-128", "ecb", "plain64", ""),
            ("twofish-128", "xts", "essiv", "md5"),
            ("twofish-192", "xts", "plain64", ""),
            ("twofish-256", "cbc", "essiv", "sha256"),
            ("twofish-256", "ctr", "plain", ""),
            ("twofish-128", "ecb", "plain64", ""),
            ("cast5-128", "cbc", "plain", ""),
            ("cast5-128", "ctr", "plain64", ""),
            ("cast5-128", "ecb", "plain64", ""),
            ("aes-192", "xts", "essiv", "sha256"),
        )
    ),
]


@needs_qemu
@pytest.mark.parametrize(("algorithm", "mode", "ivgen", "iv_hash"), OTHER)
def test_other_ciphers_of_qemu(tmp_path: pathlib.Path, algorithm: str, mode: str, ivgen: str, iv_hash: str) -> None:
    """qemu-img makes the image, each of our libraries finds its key and writes the keyslot, qemu-img opens it."""
    options = f"cipher-alg={algorithm},cipher-mode={mode},ivgen-alg={ivgen}"
    image = QemuImage(tmp_path, "luks", options=options + (f",ivgen-hash-alg={iv_hash}" if iv_hash else ""))
    slot = luks1(image.path)
    name, _dash, bits = algorithm.partition("-")
    block = cipher_table.CIPHERS[name]
    used = 0
    for provider in block_ciphers.PROVIDERS[:]:
        try:
            provider.ability(block, mode, int(bits) // 8)
        except NotProvided:
            continue
        with alone(block_ciphers.PROVIDERS, provider, lambda one: None):
            prove(image.path, slot)
        assert image.opens(OPENER)
        used += 1
    if not used:
        pytest.skip(f"no library of this host has {algorithm} in mode {mode}")


@needs_qemu
@pytest.mark.parametrize("algorithm", ["serpent-256", "twofish-256", "cast5-128"])
def test_a_rotation_of_an_image_with_another_cipher(tmp_path: pathlib.Path, algorithm: str) -> None:
    """The whole module: rekey and add; QEMU opens with the new secrets and with the old one no more."""
    mode = ",cipher-mode=cbc" if algorithm.startswith("cast5") else ""
    image = QemuImage(tmp_path, "luks", options=f"cipher-alg={algorithm}{mode}")
    costs = {"pbkdf": {"iterations": 1000}}
    task = {
        "device": str(image.path),
        "keyslots": [
            {"old_secret": {"passphrase": OPENER}, "new_secret": {"passphrase": "rotated"}, **costs},
            {"new_secret": {"passphrase": "break-glass"}, **costs},
        ],
    }
    assert run_module("keyslots", task)["changed"]
    assert (image.opens("rotated"), image.opens("break-glass"), image.opens(OPENER)) == (True, True, False)
    assert not run_module("keyslots", task)["changed"]
