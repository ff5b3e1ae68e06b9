# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The key material in a keyslot's area: open it with a derived key, or seal a volume key into it."""

from __future__ import annotations

import hmac
import typing as t

from ..crypto import antiforensic, cipher, kdf
from ..crypto.memory import Bytes, wipe
from ..errors import BudgetExceeded, LuksmithError, shown
from ..header.model import LARGEST_KEY, SECTOR, Digest, Header, Keyslot, Pbkdf2

_SHORTEST_KEY = 16  # bytes, of the ciphers that encrypt volumes
_HEX_DIGITS = b"0123456789abcdefABCDEF"


def material_size(slot: Keyslot) -> int:
    """Bytes of key material in the area: the anti-forensic split key, rounded up to sectors of 512 bytes."""
    return -(-slot.key_size * slot.af_stripes // SECTOR) * SECTOR


def why_untriable(slot: Keyslot, digests: t.Iterable[Digest], budget: kdf.Budget) -> str:
    """Why this host cannot try the keyslot ("unsupported cipher 'serpent-xts-plain64'") and what helps, or ""."""
    if slot.kind not in ("luks1", "luks2"):
        return f"it is of type {slot.kind!r}, which is not for secrets"
    if not 1 <= slot.key_size <= LARGEST_KEY:
        return f"its key size is {slot.key_size} bytes; 1 to {LARGEST_KEY} are possible"
    try:
        kdf.check(slot.kdf, budget=budget)
        kdf.hash_size(slot.af_hash)
        cipher.check(slot.encryption, slot.area_key_size)
        for digest in digests:
            kdf.check(_as_kdf(digest), budget=budget)
    except BudgetExceeded as error:
        return shown(f"{error.found}, {error.why}")
    except LuksmithError as error:
        return shown(error.clauses())
    return ""


def why_no_key_of(slot: Keyslot, digests: t.Iterable[Digest]) -> str:
    """Why the keyslot has no key of its digests, whatever secret opens it, or "".

    cryptsetup refuses such a keyslot since 2.8.7. Older releases open it if its key and that of the first keyslot
    differ only in zeros at the end, which PBKDF2 takes as the same, so that the secret may still be good there.
    """
    for digest in digests:
        if digest.key_size and slot.key_size != digest.key_size:
            return (
                f"its key has {slot.key_size} bytes, and that of keyslot {digest.keyslots[0]}, which digest "
                f"{digest.number} lists first, has {digest.key_size}. cryptsetup refuses it since 2.8.7; older "
                "releases may still open it"
            )
    return ""


def unseal(slot: Keyslot, derived_key: Bytes, material: Bytes) -> bytearray:
    """The key in ``material``, or noise of the same length if ``derived_key`` is wrong: check the digest.

    Raises Unsupported for the cipher or the hash, and MalformedHeader for impossible sizes.
    """
    plain = cipher.decrypt(slot.encryption, derived_key, material)
    try:
        return antiforensic.merge(
            memoryview(plain)[: slot.key_size * slot.af_stripes], slot.key_size, slot.af_stripes, slot.af_hash
        )
    finally:
        wipe(plain)


def seal(slot: Keyslot, derived_key: Bytes, volume_key: Bytes) -> bytearray:
    """Key material of ``material_size(slot)`` bytes, with zeros after the split key, as cryptsetup pads it.

    Raises as :func:`unseal`.
    """
    split = antiforensic.split(volume_key, slot.af_stripes, slot.af_hash)
    try:
        split.extend(bytes(material_size(slot) - len(split)))
        return cipher.encrypt(slot.encryption, derived_key, split)
    finally:
        wipe(split)


def matches(digest: Digest, volume_key: Bytes) -> bool:
    """Whether the digest is of this volume key. Costs one PBKDF2, about an eighth of a keyslot's.

    Raises Unsupported for the hash, and MalformedHeader for impossible parameters.
    """
    computed = kdf.pbkdf2(digest.hash, volume_key, digest.salt, digest.iterations, len(digest.value))
    try:
        return hmac.compare_digest(bytes(computed), digest.value)
    finally:
        wipe(computed)


def why_not_the_key(header: Header, candidate: bytearray, budget: kdf.Budget) -> str:
    """Why ``candidate`` is not the volume key by which the data of ``header`` is encrypted, or "" if it is.

    HMAC pads a key with zeros, so that a digest alone takes a key and the same with zeros behind it as equal.
    """
    if header.key_size and len(candidate) != header.key_size:
        digits = len(candidate) == 2 * header.key_size and all(byte in _HEX_DIGITS for byte in candidate)
        hint = "; it looks like hex digits, and the bytes are needed" if digits else ""
        return f"it has {len(candidate)} bytes, and the volume key has {header.key_size}{hint}"
    if not header.key_size and (len(candidate) < _SHORTEST_KEY or not any(candidate[len(candidate) // 2 :])):
        return "the header does not say how long the volume key is, and zeros may have been added to this one"
    for digest in header.digests:
        if 0 in digest.segments:
            try:
                kdf.check(_as_kdf(digest), budget=budget)
            except LuksmithError as error:
                return shown(f"its digest cannot be computed: {error.found}")
            if matches(digest, candidate):
                return ""
    return "its digest is not the one in the header"


def digests_of(header: Header, slot: Keyslot) -> t.List[Digest]:
    return [digest for digest in header.digests if digest.number in slot.digests]


def _as_kdf(digest: Digest) -> Pbkdf2:
    return Pbkdf2(hash=digest.hash, iterations=digest.iterations, salt=digest.salt)
