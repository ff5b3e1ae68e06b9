# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The block ciphers of dm-crypt by the kernel's names, with their names in the libraries."""

from __future__ import annotations

import typing as t


class BlockCipher(t.NamedTuple):
    """A cipher and its name in each library ("" where it is not there).

    block: bytes; sizes: bytes of a key -> Libgcrypt's number (0: it has none); ``{}`` in the other names stands for the
    bits of the key.
    """

    name: str
    block: int
    sizes: t.Mapping[int, int]
    nettle: str = ""
    openssl: str = ""
    official: str = ""

    @property
    def title(self) -> str:
        return self.official or self.name.upper()


_TABLE = (
    BlockCipher("aes", 16, {16: 7, 24: 8, 32: 9}, "aes{}", "aes_{}"),
    BlockCipher("serpent", 16, {16: 304, 24: 305, 32: 306}, "serpent{}", official="Serpent"),
    BlockCipher("twofish", 16, {16: 303, 24: 0, 32: 10}, "twofish{}", official="Twofish"),
    BlockCipher("camellia", 16, {16: 310, 24: 311, 32: 312}, "camellia{}", "camellia_{}", "Camellia"),
    BlockCipher("aria", 16, {16: 319, 24: 320, 32: 321}, "", "aria_{}"),
    BlockCipher("sm4", 16, {16: 318}, "sm4", "sm4"),
    BlockCipher("seed", 16, {16: 309}),
    BlockCipher("cast5", 8, {16: 3}, "cast128"),
    BlockCipher("des3_ede", 8, {24: 2}, "", "des_ede3", "Triple DES"),
)
CIPHERS: t.Dict[str, BlockCipher] = {cipher.name: cipher for cipher in _TABLE}
