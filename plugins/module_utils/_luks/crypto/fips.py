# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Whether only the validated library of the host may be used: the kernel's FIPS mode and the option ``fips``.

The validated library is OpenSSL's libcrypto, which Python's hashlib uses, too; a wheel of ``cryptography`` brings
another one. Sources: FIPS 140-3 and NIST SP 800-140C for the functions, SP 800-132 for PBKDF2, SP 800-38E for XTS.
"""

from __future__ import annotations

import typing as t

from ..errors import BadTask, Refused
from . import host

AUTO, REQUIRE, IGNORE = CHOICES = ("auto", "require", "ignore")

ELSEWHERE = "run this on a host that is not in FIPS mode"
HASHES = frozenset(("sha1", "sha224", "sha256", "sha384", "sha512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"))
MODES = ("xts", "cbc", "ctr", "ecb")
_AES_192_XTS = 48

_chosen = AUTO


def choose(choice: t.Optional[str]) -> None:
    """Hold to this value of the option from now on, in the whole process.

    Raises Refused if FIPS mode is required and the host is not in it.
    """
    global _chosen
    if choice not in (None, *CHOICES):
        raise BadTask(f"fips is {choice!r}", remedy=f"Use one of {', '.join(CHOICES)}")
    if choice == REQUIRE and not host.fips_mode():
        raise Refused(
            "this host is not in FIPS mode",
            why="the task requires it (fips: require), and /proc/sys/crypto/fips_enabled is not 1",
            remedy="Bring the host into FIPS mode (on RHEL: fips-mode-setup --enable), or leave fips out",
        )
    _chosen = choice or AUTO


def active() -> bool:
    """Whether no other library than the validated one may be loaded."""
    return _chosen != IGNORE and host.fips_mode()


def not_approved(kdf_type: str, hashes: t.Iterable[str], encryption: str, key_size: int) -> str:
    """What a host in FIPS mode has no function for, in words, or "": of a keyslot with this key derivation, these
    hashes, and this cipher with a key of ``key_size`` bytes.
    """
    if kdf_type != "pbkdf2":
        return kdf_type
    wrong = sorted(name for name in hashes if name.lower() not in HASHES)
    if wrong:
        return f"the hash {wrong[0]}"
    name, _dash, rest = encryption.partition("-")
    mode, _dash, iv = rest.partition("-")
    iv_hash = iv.partition(":")[2]
    if name != "aes" or mode not in MODES or (mode == "xts" and key_size == _AES_192_XTS):
        return f"{encryption} with a key of {key_size * 8} bits"
    return f"the hash {iv_hash}" if iv_hash and iv_hash.lower() not in HASHES else ""
