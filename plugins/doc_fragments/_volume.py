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
    description:
      - Path of the detached header on the managed host, a block device or a file.
      - Not needed if the header is at the start of the volume or inside the qcow2 image, which is the usual case.
    type: path
  lock_timeout:
    description:
      - Time to wait for the locks of the header, in seconds. V(0) tries once.
      - The locks of QEMU, of cryptsetup (LUKS2) and of this collection are respected. If a lock is still held at the
        end, the task fails without a change and names the program that holds it, if the system tells.
    type: float
    default: 30.0
  kdf_limits:
    description:
      - Limits for the cost of a key derivation. The header itself sets the costs of its keyslots, so a damaged or
        hostile one could keep the host busy for days or take all of its memory.
      - A keyslot beyond a limit is not tried. It is reported as such, and never treated as if no secret opened it.
      - The defaults are far above everything that cryptsetup and QEMU create by themselves.
    type: dict
    suboptions:
      iterations:
        description:
          - Maximum number of iterations of PBKDF2. The default is V(100000000).
        type: int
      time:
        description:
          - Maximum number of passes of Argon2 over its memory. The default is V(100000).
        type: int
      memory:
        description:
          - Maximum memory of Argon2, in KiB. The default is V(4194304), which is 4 GiB.
          - The free memory of the host limits it as well.
        type: int
      parallel:
        description:
          - Maximum number of lanes of Argon2. The default is V(16).
        type: int
      work:
        description:
          - Maximum work of Argon2, in KiB times passes.
          - The default is V(268435456), which is 256 GiB or about four minutes of one slow processor core.
        type: int
      total_memory:
        description:
          - Maximum memory of all derivations that run at the same time on several processor cores, in KiB. A derivation
            that needs more than that runs alone.
          - The default is half of what the host and the control groups of the process have available.
        type: int
"""
