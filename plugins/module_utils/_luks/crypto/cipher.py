# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Ciphers of keyslot areas in the notation of the kernel ("aes-xts-plain64"): sectors of 512 bytes, numbered from 0.

Only AES: no library on a stock host provides the other ciphers of dm-crypt in these modes. An unsupported cipher is
reported by name before anything is tried.
"""

from __future__ import annotations

import hmac
import typing as t

from ..errors import MalformedHeader, Unsupported
from ..header.model import SECTOR
from .aes import Chunks, Crypt, aes
from .hashes import hash_size, new_hash
from .memory import Bytes, wipe
from .providers import NotProvided

_AES_KEYS = (16, 24, 32)
_NULL = ("null", "cipher_null")


class _Cipher(t.NamedTuple):
    """AES in ``mode``; ``iv``: the IV generator; ``iv_hash``: the hash of ESSIV."""

    encryption: str
    mode: str
    iv: str
    iv_hash: str


def _unsupported(encryption: str, why: str) -> Unsupported:
    return Unsupported(
        "cipher", encryption, why=why, remedy="use cryptsetup on a host whose kernel supports this cipher"
    )


def _parse(encryption: str) -> _Cipher:
    name, _dash, rest = encryption.partition("-")
    mode, _dash, generator = rest.partition("-")
    iv, _colon, iv_hash = generator.partition(":")
    if name in _NULL:
        raise Unsupported(
            "cipher",
            encryption,
            why="a null cipher stores the key in plain text, so that the author of this header may know it",
            remedy="create a new volume and copy the data to it",
        )
    if name != "aes":
        raise _unsupported(encryption, "only AES is supported")
    if mode == "ecb":
        return _Cipher(encryption, mode, "", "")
    if mode not in ("xts", "cbc", "ctr"):
        raise _unsupported(encryption, f"mode {mode!r} is not one of xts, cbc, ctr, ecb")
    if iv in ("plain", "plain64"):
        return _Cipher(encryption, mode, iv, "")
    if iv != "essiv":
        raise _unsupported(encryption, f"IV generator {iv!r} is not one of plain, plain64, essiv")
    if not iv_hash:
        raise MalformedHeader(f"cipher {encryption!r}", why="essiv needs the name of a hash (essiv:sha256)")
    if hash_size(iv_hash) not in _AES_KEYS:
        raise MalformedHeader(f"cipher {encryption!r}", why=f"a digest of {hash_size(iv_hash)} bytes is not an AES key")
    return _Cipher(encryption, mode, iv, iv_hash)


def _ability(cipher: _Cipher, mode: str, key_size: int) -> Crypt:
    size, odd = divmod(key_size, 2) if mode == "xts" else (key_size, 0)
    if odd or size not in _AES_KEYS:
        sizes = ", ".join(str(known * 2 if mode == "xts" else known) for known in _AES_KEYS)
        raise MalformedHeader(
            f"cipher {cipher.encryption!r} with a key of {key_size} bytes",
            why=f"the key must have one of {sizes} bytes",
        )
    try:
        return aes(mode, size * 8)
    except NotProvided as reasons:
        raise Unsupported(
            "cipher",
            cipher.encryption,
            why=f"no library of this host provides AES-{size * 8} in mode {mode} ({reasons})",
            remedy="install python3-cryptography or OpenSSL 1.1.1 or newer",
        ) from None


def check(encryption: str, key_size: int) -> None:
    """Check ``encryption`` with a key of ``key_size`` bytes.

    Raises Unsupported if no library of this host provides the cipher, MalformedHeader if it cannot have such a key.
    """
    cipher = _parse(encryption)
    _ability(cipher, cipher.mode, key_size)
    if cipher.iv_hash:
        new_hash(cipher.iv_hash)
        _ability(cipher, "ecb", hash_size(cipher.iv_hash))


def _ivs(cipher: _Cipher, key: Bytes, sectors: int) -> bytes:
    # plain (32 bits) and plain64 differ only from sector 2**32 on, far past any keyslot area.
    numbers = b"".join(sector.to_bytes(16, "little") for sector in range(sectors))
    if cipher.iv != "essiv":
        return numbers
    digest = new_hash(cipher.iv_hash)
    digest.update(key)
    salt = bytearray(digest.digest())
    ivs = bytearray(numbers)
    try:
        _ability(cipher, "ecb", len(salt))(salt, [(0, len(ivs), b"")], ivs, True)
    finally:
        wipe(salt)
    return bytes(ivs)


def _chunks(cipher: _Cipher, key: Bytes, size: int) -> Chunks:
    if cipher.mode == "ecb":
        return [(0, size, b"")]
    ivs = _ivs(cipher, key, size // SECTOR)
    return [(start, start + SECTOR, ivs[start // SECTOR * 16 :][:16]) for start in range(0, size, SECTOR)]


def _halves_equal(key: Bytes) -> bool:
    with memoryview(key) as view:
        return hmac.compare_digest(view[: len(key) // 2], view[len(key) // 2 :])


def _crypt(encryption: str, key: Bytes, data: Bytes, encrypt_: bool) -> bytearray:
    cipher = _parse(encryption)
    crypt = _ability(cipher, cipher.mode, len(key))
    if not len(data) or len(data) % SECTOR:
        raise MalformedHeader(
            f"{len(data)} bytes of key material", why=f"it must consist of whole sectors of {SECTOR} bytes"
        )
    if cipher.mode == "xts" and _halves_equal(key):
        raise _unsupported(encryption, "the two halves of its key are equal, which libraries refuse (FIPS 140)")
    result = bytearray(data)
    try:
        crypt(key, _chunks(cipher, key, len(result)), result, encrypt_)
    except NotProvided as reason:
        wipe(result)
        raise _unsupported(encryption, str(reason)) from None
    except BaseException:
        wipe(result)
        raise
    return result


def decrypt(encryption: str, key: Bytes, data: Bytes) -> bytearray:
    """``data`` (whole 512-byte sectors, the first is number 0) decrypted; the caller wipes it.

    A wrong key gives noise, not an error. Source: the IV generators of dm-crypt as keyslots of cryptsetup and QEMU use
    them.

    Raises Unsupported and MalformedHeader as :func:`check` does, MalformedHeader if ``data`` is not whole sectors,
    Unsupported if the halves of an XTS key are equal.
    """
    return _crypt(encryption, key, data, False)


def encrypt(encryption: str, key: Bytes, data: Bytes) -> bytearray:
    """``data`` (whole 512-byte sectors, the first is number 0) encrypted. Raises what :func:`decrypt` raises."""
    return _crypt(encryption, key, data, True)
