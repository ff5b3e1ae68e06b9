# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Ciphers of keyslot areas in the notation of the kernel ("aes-xts-plain64"): sectors of 512 bytes, numbered from 0.

An unsupported cipher is reported by name and key size before anything is tried. Sources: the kernel's dm-crypt
documentation and dm-crypt.c for the IV generators, QEMU's crypto/ivgen*.c, which agrees where it has them.
"""

from __future__ import annotations

import hmac
import typing as t

from ..errors import MalformedHeader, Unsupported
from ..header.model import SECTOR
from . import fips
from .aes import aes
from .cipher_table import CIPHERS, BlockCipher
from .hashes import hash_size, new_hash
from .memory import Bytes, wipe
from .providers import Chunks, Crypt, NotProvided

_NULL = ("null", "cipher_null")
_MODES = ("xts", "lrw", "cbc", "ctr")
_IVS = ("plain", "plain64", "plain64be", "essiv", "benbi", "null")
_TWEAK = 16  # bytes of the second key of LRW, and of a block of XTS and LRW
_BY_CRYPTSETUP = (
    "let cryptsetup on a host whose kernel has it change the keyslot (LUKS2: cryptsetup luksConvertKey --keyslot-cipher"
    " aes-xts-plain64 --keyslot-key-size 512), or the volume (LUKS1, whose keyslots have the cipher of the data:"
    " cryptsetup reencrypt --cipher aes-xts-plain64 --key-size 512)"
)
_REMEDY = f"install Nettle (libnettle8) or Libgcrypt (libgcrypt20) on this host; where neither has it, {_BY_CRYPTSETUP}"


class _Cipher(t.NamedTuple):
    """``block`` in ``mode``; ``iv``: the IV generator; ``iv_hash``: the hash of ESSIV."""

    encryption: str
    block: BlockCipher
    mode: str
    iv: str
    iv_hash: str


def _unsupported(encryption: str, why: str, key_size: int, remedy: str) -> Unsupported:
    return Unsupported("cipher", encryption, why=f"{why}; its key has {key_size * 8} bits", remedy=remedy)


def _parse(encryption: str, key_size: int) -> _Cipher:
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
    if name not in CIPHERS:
        why = f"this collection takes it from no library; it has {', '.join(CIPHERS)}"
        raise _unsupported(encryption, why, key_size, _BY_CRYPTSETUP)
    block = CIPHERS[name]
    if mode == "ecb":
        return _Cipher(encryption, block, mode, "", "")
    if mode not in _MODES:
        why = f"mode {mode!r} is not one of {', '.join(_MODES)}, ecb"
        raise _unsupported(encryption, why, key_size, _BY_CRYPTSETUP)
    if mode in ("xts", "lrw") and block.block != _TWEAK:
        raise MalformedHeader(
            f"cipher {encryption!r}",
            why=f"mode {mode} needs blocks of {_TWEAK} bytes, and {block.title} has blocks of {block.block}",
        )
    if iv not in _IVS:
        why = f"IV generator {iv!r} is not one of {', '.join(_IVS)}"
        raise _unsupported(encryption, why, key_size, _BY_CRYPTSETUP)
    if iv != "essiv":
        return _Cipher(encryption, block, mode, iv, "")
    if not iv_hash:
        raise MalformedHeader(f"cipher {encryption!r}", why="essiv needs the name of a hash (essiv:sha256)")
    if hash_size(iv_hash) not in block.sizes:
        why = f"a digest of {hash_size(iv_hash)} bytes cannot be a key of {block.title}"
        raise MalformedHeader(f"cipher {encryption!r}", why=why)
    return _Cipher(encryption, block, mode, iv, iv_hash)


def _ability(cipher: _Cipher, mode: str, key_size: int) -> Crypt:
    def whole(size: int) -> int:
        return size * 2 if mode == "xts" else size + _TWEAK if mode == "lrw" else size

    size = next((size for size in cipher.block.sizes if whole(size) == key_size), 0)
    if not size:
        raise MalformedHeader(
            f"cipher {cipher.encryption!r} with a key of {key_size} bytes",
            why=f"the key must have {' or '.join(str(whole(size)) for size in cipher.block.sizes)} bytes",
        )
    try:
        return _crypt_function(cipher.block, mode, size)
    except NotProvided as reasons:
        why = f"no library of this host provides {cipher.block.title}-{size * 8} in mode {mode} ({reasons})"
        remedy = f"{fips.ELSEWHERE}, or {_BY_CRYPTSETUP}" if fips.active() else _REMEDY
        raise _unsupported(cipher.encryption, why, key_size, remedy) from None


def _crypt_function(block: BlockCipher, mode: str, size: int) -> Crypt:
    if fips.active():
        if block.name != "aes" or mode not in fips.MODES:
            raise NotProvided("in FIPS mode only AES is used, and not in mode lrw")
        return aes(mode, size * 8)
    if block.name == "aes" and mode != "lrw":
        try:
            return aes(mode, size * 8)
        except NotProvided:
            pass  # another library may have it, and if not, the error below has this reason, too
    # Here, because the host compiles what is imported in each run, and almost every volume is AES.
    from .block_ciphers import crypt_function

    return crypt_function(block, mode, size)


def check(encryption: str, key_size: int) -> None:
    """Check ``encryption`` with a key of ``key_size`` bytes.

    Raises Unsupported if no library of this host provides the cipher, MalformedHeader if it cannot have such a key.
    """
    cipher = _parse(encryption, key_size)
    _ability(cipher, cipher.mode, key_size)
    if cipher.iv_hash:
        new_hash(cipher.iv_hash)
        _ability(cipher, "ecb", hash_size(cipher.iv_hash))


def _iv_numbers(cipher: _Cipher, sectors: int) -> bytes:
    """What the IV generator makes of the sectors' numbers alone; plain (32 bits) and plain64 differ only from sector
    2**32 on, far past any keyslot area.
    """
    size = cipher.block.block
    if cipher.iv == "null":
        return bytes(size * sectors)
    if cipher.iv == "plain64be":
        return b"".join(sector.to_bytes(size, "big") for sector in range(sectors))
    if cipher.iv == "benbi":  # the number of the first block, from 1
        return b"".join((sector * (SECTOR // size) + 1).to_bytes(size, "big") for sector in range(sectors))
    return b"".join(sector.to_bytes(size, "little") for sector in range(sectors))


def _ivs(cipher: _Cipher, key: Bytes, sectors: int) -> bytes:
    numbers = _iv_numbers(cipher, sectors)
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
    ivs, block = _ivs(cipher, key, size // SECTOR), cipher.block.block
    return [(start, start + SECTOR, ivs[start // SECTOR * block :][:block]) for start in range(0, size, SECTOR)]


def _halves_equal(key: Bytes) -> bool:
    with memoryview(key) as view:
        return hmac.compare_digest(view[: len(key) // 2], view[len(key) // 2 :])


def _crypt(encryption: str, key: Bytes, data: Bytes, encrypt_: bool) -> bytearray:
    cipher = _parse(encryption, len(key))
    crypt = _ability(cipher, cipher.mode, len(key))
    if not len(data) or len(data) % SECTOR:
        raise MalformedHeader(
            f"{len(data)} bytes of key material", why=f"it must consist of whole sectors of {SECTOR} bytes"
        )
    if cipher.mode == "xts" and _halves_equal(key):
        why = "the two halves of its key are equal, which libraries refuse (FIPS 140)"
        raise Unsupported("cipher", encryption, why=why, remedy="use cryptsetup on a host whose kernel supports this")
    result = bytearray(data)
    try:
        crypt(key, _chunks(cipher, key, len(result)), result, encrypt_)
    except NotProvided as reason:
        wipe(result)
        raise _unsupported(encryption, str(reason), len(key), _REMEDY) from None
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
