# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - Linux
  - Python 3.8 or newer
  - libcrypto of OpenSSL or the Python library cryptography (every usual host has the first)
  - for keyslots with Argon2 one of libcrypto 3.2 or libargon2 or the Python libraries argon2-cffi or cryptography 44 (cryptsetup brings one of the first two)
options:
  header:
    description:
      - Path of the detached header on the managed host, a block device or a file.
      - Leave it out when the header is at the start of the volume or inside the qcow2 image, which is the usual case.
    type: path
  lock_timeout:
    description:
      - Seconds to wait until nobody else uses the header.
      - The locks of QEMU, of cryptsetup (LUKS2) and of this collection are respected. When the time is over, the task fails
        and names the program that holds the lock, where the system tells it. Nothing is changed then.
      - V(0) tries once.
    type: float
    default: 30.0
  kdf_limits:
    description:
      - What one key derivation may cost. A header says itself how expensive its keyslots are, so that a damaged or hostile one
        could keep the host busy for days or take all of its memory.
      - A keyslot beyond a limit is not tried. It is reported as such, and never treated as if no secret opened it.
      - The defaults are far above everything that cryptsetup and QEMU create by themselves.
    type: dict
    suboptions:
      iterations:
        description:
          - Most iterations of PBKDF2.
          - Without it, V(100000000).
        type: int
      time:
        description:
          - Most passes of Argon2 over its memory.
          - Without it, V(100000).
        type: int
      memory:
        description:
          - Most memory of Argon2, in KiB.
          - Without it, V(4194304), which is 4 GiB. What the host has free limits it as well.
        type: int
      parallel:
        description:
          - Most lanes of Argon2.
          - Without it, V(16).
        type: int
      work:
        description:
          - Most memory traffic of Argon2, in KiB times passes.
          - Without it, V(268435456), which is 256 GiB or about four minutes of one slow processor core.
        type: int
      total_memory:
        description:
          - Memory that several derivations may take together when they run at the same time on several processor cores, in KiB.
            A single one that needs more runs alone.
          - Without it, half of what the host and the control groups of the process have available.
        type: int
"""
