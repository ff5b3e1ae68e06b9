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
  - The store V(escrow) of the role P(luksmith.luks.rotate#role). Reads or writes the entry of one volume. Each volume
    has a file in a directory on the controller, in which each passphrase is a CMS envelope that names the host
    and the volume too. The rest of the file is not encrypted.
  - The holder of a private key opens an envelope with C(openssl cms -decrypt -inform PEM -inkey KEY), without this
    collection.
  - Runs on the controller, in the process of Ansible itself, with the program C(openssl). Secrets are passed through
    pipes.
  - Always use it with C(no_log), because the result can contain secrets.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._store
attributes:
  check_mode:
    support: full
    details:
      - Writes nothing and returns the entry in the file.
  diff_mode:
    support: none
    details:
      - The content of an envelope is encrypted.
  idempotent:
    support: none
    details:
      - A write makes a new version, and is refused if the entry does not have the given O(version).
  platform:
    details:
      - The controller.
options:
  folder:
    description:
      - Path of the directory on the controller.
    type: path
    required: true
  key:
    description:
      - Unique name of the volume, and path of its file in O(folder), without C(.json).
    type: str
    required: true
  operation:
    description:
      - V(read) returns the entry. V(write) seals secrets that are not sealed yet, writes the entry, reads it back and
        returns it.
    type: str
    choices:
      - read
      - write
    default: read
  certificates:
    description:
      - Paths of X.509 certificates in PEM format on the controller, RSA or elliptic curve. The private key of any of
        them opens the envelopes.
    type: list
    elements: path
    default: []
  private_key:
    description:
      - Private key in PEM format that opens the envelopes. Without it, the entry is returned without passphrases.
    type: str
  signers:
    description:
      - Paths of X.509 certificates in PEM format on the controller, RSA or elliptic curve. With any, a file that none
        of them has signed is refused, and so is one that was signed for another O(key) or changed since.
    type: list
    elements: path
    default: []
    version_added: 2.0.0
  signing_key:
    description:
      - Path of the private key on the controller that signs what is written. Its certificate must be one of O(signers).
    type: path
    version_added: 2.0.0
  signing_passphrase:
    description:
      - Passphrase of O(signing_key).
    type: str
    version_added: 2.0.0
  accept_unsigned:
    description:
      - Whether a file that has no signature at all is believed although there are O(signers). The next write signs it.
    type: bool
    default: false
    version_added: 2.0.0
requirements:
  - openssl 3.0 or newer on the controller
seealso:
  - module: luksmith.luks.rotation_entry
"""

EXAMPLES = r"""
- name: Read the entry of a volume, without its secrets
  luksmith.luks.escrow_entry:
    folder: luks-escrow
    key: "{{ inventory_hostname }}/4b543c86-7353-47b9-b355-d0ef03989991"
  register: kept
  no_log: true
"""

RETURN = r"""
entry:
  description: The entry in the file, or V(none).
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
    past: []
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
version:
  description: Number of writes of this entry so far.
  returned: success
  type: int
  sample: 2
"""
