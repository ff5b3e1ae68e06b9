# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The policies of the collection, as data in the form that a task uses.

Sources of ``owasp-2023``: OWASP Password Storage Cheat Sheet, figures of December 2022 to 2023 (Argon2id pairs; PBKDF2
with HMAC-SHA256 600,000 and with HMAC-SHA512 210,000 iterations); NIST SP 800-132 (December 2010) section 5.2, at least
1,000 iterations, for the digest; NIST SP 800-38E (January 2010), AES in XTS mode for storage. ``strict`` requires the
defaults of cryptsetup 2.4 and later, whose benchmark never goes below 4 passes and 64 MiB. ``legacy`` requires
the least that cryptsetup writes when it is forced to: 1,000 iterations, and 4 passes over 32 KiB.
"""

from __future__ import annotations

import typing as t

READY: t.Dict[str, t.Dict[str, t.Any]] = {
    "strict": {
        "description": "The present defaults of cryptsetup only; whatever is not declared is a finding.",
        "formats": ["luks2"],
        "ciphers": ["aes-xts-plain64"],
        "keyslot_ciphers": ["aes-xts-plain64"],
        "minimum_key_size": 64,
        "minimum_keyslot_key_size": 64,
        "kdf_types": ["argon2id"],
        "kdf_hashes": ["sha256", "sha384", "sha512"],
        "minimum_costs": {"argon2": [{"time": 4, "memory": 65536}]},
        "minimum_digest_iterations": 1000,
        "token_types": [],
        "try_empty_secret": True,
    },
    "owasp-2023": {
        "description": "Key derivation by the OWASP Password Storage Cheat Sheet (2023), cipher by NIST SP 800-38E, "
        "digest by NIST SP 800-132.",
        "formats": ["luks1", "luks2"],
        "ciphers": ["aes-xts-plain64", "aes-xts-plain"],
        "minimum_key_size": 32,
        "minimum_keyslot_key_size": 32,
        "kdf_types": ["argon2id", "pbkdf2"],
        "kdf_hashes": ["sha256", "sha512"],
        "minimum_costs": {
            "pbkdf2": {"sha256": 600000, "sha512": 210000},
            "argon2": [
                {"time": 1, "memory": 47104},
                {"time": 2, "memory": 19456},
                {"time": 3, "memory": 12288},
                {"time": 4, "memory": 9216},
                {"time": 5, "memory": 7168},
            ],
        },
        "minimum_digest_iterations": 1000,
        "try_empty_secret": True,
    },
    "fips-140-3": {
        "description": "Functions that a validated module may have: AES in XTS (SP 800-38E) or CBC, PBKDF2 "
        "(SP 800-132) with SHA-2, at the costs of OWASP, because SP 800-132 names only a minimum of 1,000 iterations.",
        "formats": ["luks1", "luks2"],
        "ciphers": ["aes-xts-plain64", "aes-xts-plain", "aes-cbc-essiv:sha256"],
        "keyslot_ciphers": ["aes-xts-plain64", "aes-xts-plain", "aes-cbc-essiv:sha256"],
        "minimum_key_size": 32,
        "minimum_keyslot_key_size": 32,
        "kdf_types": ["pbkdf2"],
        "kdf_hashes": ["sha256", "sha384", "sha512"],
        "minimum_costs": {"pbkdf2": {"sha256": 600000, "sha384": 210000, "sha512": 210000}},
        "minimum_digest_iterations": 1000,
        "try_empty_secret": True,
    },
    "legacy": {
        "description": "Old volumes that must be kept for now: only what is broken, unknown or opens without a secret "
        "is a finding.",
        "formats": ["luks1", "luks2"],
        "minimum_key_size": 16,
        "minimum_keyslot_key_size": 16,
        "minimum_costs": {"pbkdf2": {"other": 1000}, "argon2": [{"time": 4, "memory": 32}]},
        "minimum_digest_iterations": 1000,
        "try_empty_secret": True,
        "rules": {
            "cipher-weak": "medium",
            "hash-weak": "low",
            "secret-duplicate": "info",
            "slot-ignored": "info",
            "xts-limit": "info",
        },
    },
}
