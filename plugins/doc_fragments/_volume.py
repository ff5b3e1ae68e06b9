# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - Linux
  - Python 3.8 or newer
  - OpenSSL's libcrypto (usually installed) or the Python library cryptography
  - for keyslots with Argon2, libcrypto 3.2 or libargon2 (cryptsetup installs one of them) or one of the Python
    libraries argon2-cffi and cryptography 44
options:
  header:
    description: Path of the detached header on the managed host, if the volume has one.
    type: path
  lock_timeout:
    description: Time to wait for locks of other programs, in seconds. V(0) tries once.
    type: float
    default: 30.0
  fips:
    description: In FIPS mode use only libcrypto. V(require) refuses other hosts.
    type: str
    choices:
      - auto
      - require
      - ignore
    default: auto
    version_added: 2.0.0
  kdf_limits:
    description: Limits for the cost of a key derivation, which the header sets.
    type: dict
    suboptions:
      iterations:
        description: Iterations of PBKDF2. The default is V(100000000).
        type: int
      time:
        description: Passes of Argon2. The default is V(100000).
        type: int
      memory:
        description: KiB of Argon2. The default is V(4194304).
        type: int
      parallel:
        description: Lanes of Argon2. The default is V(16).
        type: int
      work:
        description: KiB times passes. The default is V(268435456).
        type: int
      total_memory:
        description: KiB of all derivations at once. The default is half of what is free.
        type: int
"""
