# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: escrow_entry
short_description: Keep the secrets of a rotation sealed for the holders of private keys
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - The store V(escrow) of the role P(luksmith.luks.rotate#role). Reads or writes what the store holds for one volume, a file of its own in a folder on
    the controller, in which each passphrase is a CMS envelope. The rest of the file is in the clear.
  - Whoever has a private key opens an envelope with C(openssl cms -decrypt -inform PEM -inkey KEY). Nothing of this collection is needed for that.
  - Runs on the controller, in the process of Ansible itself, with the program C(openssl). Secrets go through pipes.
  - Always use it with C(no_log), because the result can hold secrets.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
    details:
      - Writes nothing, and returns what the file holds.
  diff_mode:
    support: none
    details:
      - Envelopes tell nobody anything.
  idempotent:
    support: none
    details:
      - A write is refused if the entry is not of the given O(version), and makes a new version.
  platform:
    details:
      - The controller.
options:
  folder:
    description:
      - The folder on the controller.
    type: path
    required: true
  key:
    description:
      - What tells the volume from all others. It is the path of its file in the folder, without C(.json).
    type: str
    required: true
  operation:
    description:
      - V(read) returns the entry. V(write) seals what is not sealed yet, writes, and returns what was then read.
    type: str
    choices:
      - read
      - write
    default: read
  entry:
    description:
      - What to write.
      - Required with O(operation=write).
    type: dict
  version:
    description:
      - The RV(version) that the last read returned, so that a write which another run did meanwhile is not lost.
    type: int
    default: 0
  certificates:
    description:
      - Paths of X.509 certificates in PEM form on the controller, RSA or elliptic curves. The holder of the private key of any of them can open what is sealed.
    type: list
    elements: path
    default: []
  private_key:
    description:
      - A private key as PEM text, with which to open the envelopes. Without it, the entry comes back without passphrases.
    type: str
  lock_timeout:
    description:
      - Seconds to wait for another run that uses the file.
    type: float
    default: 60.0
requirements:
  - openssl 3.0 or newer on the controller
seealso:
  - module: luksmith.luks.rotation_entry
"""

EXAMPLES = r"""
- name: Read what is kept for a volume, without its secrets
  luksmith.luks.escrow_entry:
    folder: luks-escrow
    key: "{{ inventory_hostname }}/4b543c86-7353-47b9-b355-d0ef03989991"
  register: kept
  no_log: true
"""

RETURN = r"""
entry:
  description: What the file holds, or V(none).
  returned: success
  type: dict
  sample:
    current:
      created: "2026-11-25T03:21:56Z"
      entropy: 140
      generation: "2026-11"
      id: 86cfc40b
      sealed: |
        -----BEGIN CMS-----
        (as many lines as the certificates need)
        -----END CMS-----
    device: /dev/sdb
    format: 1
    host: web-1
    next:
    older: []
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
version:
  description: Counts the writes of this entry.
  returned: success
  type: int
  sample: 2
"""
