# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the managed host, with its Python and its libraries: which of them does the engine use?"""

from __future__ import annotations

import json
import platform
import ssl
import sys
import time
import typing as t

sys.path.insert(0, "/srv")

from _luks.crypto import aes, argon2, hashes, kdf, providers  # noqa: E402
from _luks.errors import Unsupported  # noqa: E402
from _luks.header.model import Argon2  # noqa: E402

USUAL = Argon2("argon2id", 4, 256 * 1024, 4, bytes(32))


def cryptography() -> t.Optional[str]:
    try:
        from cryptography import __version__
    except ImportError:
        return None
    return str(__version__)


def provider_of(candidates: t.Sequence[t.Any], ask: t.Callable[[t.Any], object]) -> t.Optional[str]:
    try:
        return str(providers.select(candidates, ask)[0].name)
    except providers.NotProvided:
        return None


def argon2_of(kind: str) -> t.Optional[str]:
    try:
        return argon2.argon2_provider(kind)
    except Unsupported:
        return None


def aes_rung(mode: str, bits: int) -> t.Optional[str]:
    return provider_of(aes.PROVIDERS, lambda provider: provider.ability(mode, bits))


def pbkdf2(name: str) -> t.Optional[str]:
    return provider_of(hashes.PROVIDERS, lambda provider: provider.pbkdf2(hashes._names(name)))


begin = time.monotonic()
kdf.derive(USUAL, b"secret", 64, budget=kdf.Budget())
seconds = time.monotonic() - begin
answers = {
    "python": platform.python_version(),
    "cryptography": cryptography(),
    "openssl": ssl.OPENSSL_VERSION.split()[1],
    "argon2i": argon2_of("argon2i"),
    "argon2id": argon2_of("argon2id"),
    "aes": {f"{mode}-{bits}": aes_rung(mode, bits) for mode in ("xts", "cbc", "ecb") for bits in (128, 256)},
    "hashes": {
        name: pbkdf2(name) for name in ("sha1", "sha256", "sha512", "ripemd160", "whirlpool", "blake2b-512", "sm3")
    },
    "seconds": seconds,
}
print(json.dumps(answers))
