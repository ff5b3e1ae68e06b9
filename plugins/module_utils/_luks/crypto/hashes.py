# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Hashes by their names in LUKS headers, and PBKDF2 with them.

Providers: hashlib; ``cryptography`` (if the OpenSSL of the system was built without a hash); libcrypto 3 with its
"legacy" provider in a context of its own (whirlpool); Libgcrypt. Long derivations go to the fastest library.
"""

from __future__ import annotations

import functools
import hashlib
import typing as t

from ..errors import MalformedHeader, Unsupported
from . import fips
from .memory import Bytes
from .providers import NotProvided, select

if t.TYPE_CHECKING:
    from .openssl3 import LibCrypto3

HASH = "hash"

# Iterations times blocks of output from which on a race between libraries costs less than one part in a hundred.
WORTH_A_RACE = 600_000

# OpenSSL counts iterations in a signed 32-bit integer.
MOST_ITERATIONS = 2**31 - 1


class Hash(t.Protocol):
    """The part of hashlib's interface that this package uses."""

    @property
    def digest_size(self) -> int:
        ...

    @property
    def block_size(self) -> int:
        ...

    def update(self, data: Bytes, /) -> None:
        ...

    def digest(self) -> bytes:
        ...

    def copy(self) -> Hash:
        ...


New = t.Callable[[], Hash]
DerivePbkdf2 = t.Callable[[Bytes, bytes, int, int], Bytes]


class _Names(t.NamedTuple):
    """The names of a hash in each library, and its number in Libgcrypt; ``size``: bytes of its digest; ``block``: bytes
    of an input block; ``whole``: the hash of which this one is the beginning.
    """

    size: int
    block: int
    hashlib: str
    openssl: str
    cryptography: str = ""
    gcrypt: int = 0
    whole: str = ""


_SHA3 = {
    f"sha3-{bits}": _Names(bits // 8, 200 - bits // 4, f"sha3_{bits}", f"SHA3-{bits}", f"SHA3_{bits}", number)
    for bits, number in ((224, 312), (256, 313), (384, 314), (512, 315))
}
_SHA2 = {
    f"sha{bits}": _Names(bits // 8, 64 if bits <= 256 else 128, f"sha{bits}", f"SHA{bits}", f"SHA{bits}", number)
    for bits, number in ((224, 11), (256, 8), (384, 9), (512, 10))
}

# rmd160, wp512 and wp256 are names that the kernel uses; wp384 and wp256 are the first bytes of Whirlpool.
_HASHES: t.Dict[str, _Names] = {
    "md5": _Names(16, 64, "md5", "MD5", "MD5", 1),
    "sha1": _Names(20, 64, "sha1", "SHA1", "SHA1", 2),
    **_SHA2,
    **_SHA3,
    "blake2b-512": _Names(64, 128, "blake2b", "BLAKE2b512", "BLAKE2b", 318),
    "blake2s-256": _Names(32, 64, "blake2s", "BLAKE2s256", "BLAKE2s", 322),
    "ripemd160": _Names(20, 64, "ripemd160", "RIPEMD160", gcrypt=3),
    "rmd160": _Names(20, 64, "ripemd160", "RIPEMD160", gcrypt=3),
    "whirlpool": _Names(64, 64, "whirlpool", "whirlpool", gcrypt=305),
    "wp512": _Names(64, 64, "whirlpool", "whirlpool", gcrypt=305),
    "wp384": _Names(48, 64, "", "", whole="whirlpool"),
    "wp256": _Names(32, 64, "", "", whole="whirlpool"),
    "sm3": _Names(32, 64, "sm3", "SM3", "SM3", 326),
}


class _Whole:
    """The interface of hashlib over a function that hashes whole messages."""

    def __init__(self, names: _Names, compute: t.Callable[[Bytes], bytes], message: Bytes = b"") -> None:
        self.digest_size = names.size
        self.block_size = names.block
        self._names = names
        self._compute = compute
        self._message = bytearray(message)

    def update(self, data: Bytes, /) -> None:
        self._message += data

    def digest(self) -> bytes:
        return self._compute(self._message)

    def copy(self) -> _Whole:
        return _Whole(self._names, self._compute, self._message)


class _Beginning:
    """The first bytes of another hash."""

    def __init__(self, size: int, whole: Hash) -> None:
        self.digest_size = size
        self.block_size = whole.block_size
        self._whole = whole

    def update(self, data: Bytes, /) -> None:
        self._whole.update(data)

    def digest(self) -> bytes:
        return self._whole.digest()[: self.digest_size]

    def copy(self) -> _Beginning:
        return _Beginning(self.digest_size, self._whole.copy())


class HashProvider(t.Protocol):
    """A library with hashes. Both methods raise NotProvided if it lacks the hash."""

    @property
    def name(self) -> str:
        ...

    def new(self, names: _Names) -> New:
        """A constructor of empty hash objects."""

    def pbkdf2(self, names: _Names) -> DerivePbkdf2:
        """A function of (secret, salt, iterations, length)."""


class Hashlib:
    """The standard library; releases the GIL while it derives."""

    name = "hashlib"
    validated = True  # of the hashes that :func:`_names` lets through in FIPS mode, each comes from libcrypto

    def new(self, names: _Names) -> New:
        """Raises NotProvided if this host lacks it."""
        for name in (names.hashlib, names.openssl):
            try:
                hashlib.new(name)
            except ValueError:
                continue
            return functools.partial(hashlib.new, name)
        raise NotProvided(f"no {names.hashlib}")

    def pbkdf2(self, names: _Names) -> DerivePbkdf2:
        """Raises NotProvided if this host lacks it."""
        for name in (names.hashlib, names.openssl):
            try:
                hashlib.pbkdf2_hmac(name, b"", b"", 1)
            except ValueError:
                continue
            return functools.partial(hashlib.pbkdf2_hmac, name)
        raise NotProvided(f"no PBKDF2 with {names.hashlib}")


class Cryptography:
    """The PyPI package; versions before 50 hold the GIL while they derive."""

    name = "cryptography"

    @staticmethod
    def _algorithm(names: _Names) -> t.Any:
        try:
            from cryptography.hazmat.primitives import hashes
        except ImportError as error:
            raise NotProvided(str(error)) from error
        try:
            kind = getattr(hashes, names.cryptography)
        except AttributeError:
            raise NotProvided(f"no {names.hashlib}") from None
        return kind(names.size) if names.cryptography.startswith("BLAKE2") else kind()

    def new(self, names: _Names) -> New:
        """Raises NotProvided if this host lacks it."""
        algorithm = self._algorithm(names)
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.backends import default_backend
        from cryptography.hazmat.primitives import hashes

        def compute(message: Bytes) -> bytes:
            whole = hashes.Hash(algorithm, default_backend())
            whole.update(bytes(message))
            return whole.finalize()

        try:
            compute(b"")
        except UnsupportedAlgorithm as error:
            raise NotProvided(str(error)) from error
        return functools.partial(_Whole, names, compute)

    def pbkdf2(self, names: _Names) -> DerivePbkdf2:
        """Raises NotProvided if this host lacks it."""
        algorithm = self._algorithm(names)
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.backends import default_backend
        from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

        def derive(secret: Bytes, salt: bytes, iterations: int, length: int) -> bytes:
            return PBKDF2HMAC(algorithm, length, salt, iterations, default_backend()).derive(bytes(secret))

        try:
            derive(b"", b"", 1, 1)
        except UnsupportedAlgorithm as error:
            raise NotProvided(str(error)) from error
        return derive


class LibcryptoLegacy:
    """OpenSSL 3 with the hashes of its "legacy" provider."""

    name = "libcrypto"

    def __init__(self, *libraries: str) -> None:
        """``libraries``: file names or paths, by default the usual ones."""
        self._libraries = libraries

    def _library(self) -> LibCrypto3:
        from .libcrypto import LIBRARIES
        from .openssl3 import load  # only for hashes that nothing else provides

        return load(self._libraries or LIBRARIES)

    def new(self, names: _Names) -> New:
        """Raises NotProvided if this host lacks it."""
        library = self._library()
        context = library.lasting_context("default", "legacy")

        def compute(message: Bytes) -> bytes:
            return library.digest(context, names.openssl, message)

        compute(b"")
        return functools.partial(_Whole, names, compute)

    def pbkdf2(self, names: _Names) -> DerivePbkdf2:
        """Raises NotProvided if this host lacks it."""
        library = self._library()
        context = library.lasting_context("default", "legacy")

        def derive(secret: Bytes, salt: bytes, iterations: int, length: int) -> bytes:
            # pkcs5=1 lifts the minima of SP 800-132, below which existing headers go.
            parameters = {"digest": names.openssl, "pass": secret, "salt": salt, "iter": iterations, "pkcs5": 1}
            return bytes(library.derive(context, "PBKDF2", parameters, length))

        derive(b"", b"", 1, 1)
        return derive


class Gcrypt:
    """Libgcrypt, which has Whirlpool where OpenSSL comes without its "legacy" provider."""

    name = "Libgcrypt"

    @staticmethod
    def _library(names: _Names) -> t.Any:
        from . import gcrypt

        library = gcrypt.load()
        library.has_hash(names.gcrypt)
        return library

    def new(self, names: _Names) -> New:
        library = self._library(names)
        return functools.partial(_Whole, names, lambda message: library.digest(names.gcrypt, names.size, message))

    def pbkdf2(self, names: _Names) -> DerivePbkdf2:
        return functools.partial(self._library(names).pbkdf2, names.gcrypt)


_INSTALL = "install Libgcrypt (libgcrypt20) on this host"
PROVIDERS: t.List[HashProvider] = [Hashlib(), Cryptography(), LibcryptoLegacy(), Gcrypt()]


def _names(name: str) -> _Names:
    if name.lower() not in fips.HASHES and name.lower() in _HASHES and fips.active():
        raise Unsupported(
            HASH,
            name,
            why="this host is in FIPS mode, and the hash is not approved",
            remedy="open the volume on a host that is not in FIPS mode, and give it keyslots with sha256 there",
        )
    try:
        return _HASHES[name.lower()]
    except KeyError:
        remedy = "let cryptsetup make new keyslots on a host that has it (cryptsetup reencrypt --hash sha256)"
        raise Unsupported(HASH, name, why="this collection does not support it", remedy=remedy) from None


def new_hash(name: str) -> Hash:
    """A new hash object for the LUKS name ``name``, in upper or lower case.

    Raises Unsupported if this collection or every library of this host lacks the hash.
    """
    names = _names(name)
    if names.whole:
        return _Beginning(names.size, new_hash(names.whole))
    try:
        return select(PROVIDERS, lambda provider: provider.new(names))[1]()
    except NotProvided as reason:
        why = f"no library of this host provides it ({reason})"
        raise Unsupported(HASH, name, why=why, remedy=_INSTALL) from None


def hash_size(name: str) -> int:
    """Digest size in bytes. Raises Unsupported as :func:`new_hash` does."""
    return new_hash(name).digest_size


def pbkdf2_function(name: str) -> DerivePbkdf2:
    """PBKDF2-HMAC with hash ``name``, a function of (secret, salt, iterations, length). Raises Unsupported as above."""
    library, usual = _usual_pbkdf2(name)

    def derive(secret: Bytes, salt: bytes, iterations: int, length: int) -> Bytes:
        chosen = _fastest(name, library, usual, iterations, length)[0]
        return chosen(secret, salt, iterations, length)

    return derive


def pace(name: str, iterations: int, length: int) -> float:
    """How many times as fast as OpenSSL, which cryptsetup uses, the library is that derives here.

    Raises Unsupported as :func:`pbkdf2_function` does.
    """
    library, usual = _usual_pbkdf2(name)
    return _fastest(name, library, usual, iterations, length)[1]


def _usual_pbkdf2(name: str) -> t.Tuple[str, DerivePbkdf2]:
    names = _names(name)
    try:
        provider, derive = select(PROVIDERS, lambda provider: provider.pbkdf2(names))
    except NotProvided as reason:
        why = f"no library of this host provides PBKDF2 with it ({reason})"
        raise Unsupported(HASH, name, why=why, remedy=_INSTALL) from None
    return provider.name, derive


def _fastest(
    name: str, library: str, usual: DerivePbkdf2, iterations: int, length: int
) -> t.Tuple[DerivePbkdf2, float]:
    """The function for a derivation of this size, and how many times as fast as ``usual`` it is."""
    blocks = -(-length // _names(name).size)
    if iterations * blocks < WORTH_A_RACE or fips.active():
        return usual, 1.0
    from . import fast_pbkdf2  # its libraries take longer to load than a short derivation takes

    return fast_pbkdf2.fastest(name.lower(), library, usual)


def pbkdf2(hash_name: str, secret: Bytes, salt: bytes, iterations: int, length: int) -> bytearray:
    """``length`` bytes of PBKDF2-HMAC-``hash_name`` (RFC 8018); also the digest of a volume key.

    It does not limit the costs. hashlib and cryptography return ``bytes``, one copy of which cannot be wiped; Nettle
    and Libgcrypt write into the result.

    Raises MalformedHeader if ``iterations`` or ``length`` is 0, Unsupported if the host lacks the hash or there are too
    many iterations for OpenSSL.
    """
    if iterations < 1 or length < 1:
        raise MalformedHeader(f"PBKDF2 with {iterations} iterations for {length} bytes", why="both must be at least 1")
    if iterations > MOST_ITERATIONS:
        raise Unsupported(
            "key derivation",
            f"pbkdf2 with {iterations} iterations",
            why=f"OpenSSL supports at most {MOST_ITERATIONS} iterations",
        )
    key = pbkdf2_function(hash_name)(secret, salt, iterations, length)
    return key if isinstance(key, bytearray) else bytearray(key)
