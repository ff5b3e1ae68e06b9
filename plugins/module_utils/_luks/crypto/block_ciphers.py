# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The libraries that run the block ciphers of dm-crypt.

AES comes from where :mod:`.aes` finds it. The others, and AES where a mode is missing there, come from Nettle,
Libgcrypt or libcrypto; XTS and LRW are made of a library's ECB where it has nothing better.
"""

from __future__ import annotations

import typing as t

from . import gcrypt, libcrypto, nettle, whitening
from .aes import aes
from .cipher_table import BlockCipher
from .memory import Bytes
from .providers import Chunks, Crypt, NotProvided, select


class CipherProvider(t.Protocol):
    """A library with block ciphers."""

    @property
    def name(self) -> str:
        ...

    def ability(self, cipher: BlockCipher, mode: str, size: int) -> Crypt:
        """``cipher`` in ``mode`` ("xts", "cbc", "ctr", "ecb") with a key of ``size`` bytes (XTS has two of them).

        Raises NotProvided if the library lacks it.
        """


class Nettle:
    name = "Nettle"

    def __init__(self, libraries: t.Sequence[str] = nettle.LIBRARIES) -> None:
        self._libraries = libraries

    def ability(self, cipher: BlockCipher, mode: str, size: int) -> Crypt:
        library, name = nettle.load(self._libraries), cipher.nettle.format(size * 8)
        library.has(name, size)

        def crypt(key: Bytes, chunks: Chunks, buffer: bytearray, encrypt: bool) -> None:
            library.crypt(name, mode, key, chunks, buffer, encrypt)

        return crypt


class Gcrypt:
    name = "Libgcrypt"

    def __init__(self, libraries: t.Sequence[str] = gcrypt.LIBRARIES) -> None:
        self._libraries = libraries

    def ability(self, cipher: BlockCipher, mode: str, size: int) -> Crypt:
        library, number = gcrypt.load(self._libraries), cipher.sizes.get(size, 0)
        if not number:
            raise NotProvided(f"no {cipher.title} with such a key")
        library.has_cipher(number)

        def crypt(key: Bytes, chunks: Chunks, buffer: bytearray, encrypt: bool) -> None:
            library.crypt(number, mode, key, chunks, buffer, encrypt)

        return crypt


class Libcrypto:
    name = "libcrypto"

    def __init__(self, libraries: t.Sequence[str] = libcrypto.LIBRARIES) -> None:
        self._libraries = libraries

    def ability(self, cipher: BlockCipher, mode: str, size: int) -> Crypt:
        library = libcrypto.load(self._libraries)
        handle = library.cipher(f"{cipher.openssl.format(size * 8) or cipher.name}_{mode}")

        def crypt(key: Bytes, chunks: Chunks, buffer: bytearray, encrypt: bool) -> None:
            library.crypt(handle, key, chunks, buffer, encrypt)

        # A build may have the name and not the cipher. No pattern in the key: weak keys are refused.
        iv = b"" if mode == "ecb" else bytes(cipher.block)
        crypt(bytes(range(1, size * (2 if mode == "xts" else 1) + 1)), [(0, 32, iv)], bytearray(32), True)
        return crypt


PROVIDERS: t.List[CipherProvider] = [Nettle(), Gcrypt(), Libcrypto()]


def crypt_function(cipher: BlockCipher, mode: str, size: int) -> Crypt:
    """``cipher`` in ``mode`` ("xts", "lrw", "cbc", "ctr", "ecb") with a key of ``size`` bytes, which does not count the
    second key of XTS or the 16 bytes of LRW.

    Raises NotProvided with the reason of each library if all lack it.
    """
    reasons = []
    if mode == "lrw":
        return whitening.lrw(crypt_function(cipher, "ecb", size))
    if cipher.name == "aes":
        try:
            return aes(mode, size * 8)
        except NotProvided as reason:
            reasons.append(str(reason))
    try:
        return select(PROVIDERS, lambda provider: provider.ability(cipher, mode, size))[1]
    except NotProvided as reason:
        reasons.append(str(reason))
    if mode == "xts":
        try:
            return whitening.xts(crypt_function(cipher, "ecb", size))
        except NotProvided:
            pass
    raise NotProvided("; ".join(reasons))
