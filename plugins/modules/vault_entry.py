# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_entry
short_description: Keep the secrets of a rotation in an ansible-vault file on the controller
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - The store V(vault_file) of the role P(luksmith.luks.rotate#role). Reads or writes the entry of one volume.
  - Runs on the controller, in the process of Ansible itself. The vault password is the one that C(ansible-playbook) was
    started with. Secrets never appear in process arguments, the environment or temporary files.
  - The file is replaced as a whole, so that a kill or a power failure leaves either the old file or the new one. Runs
    that share a file wait for each other.
  - Always use it with C(no_log), because the result contains secrets.
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
      - Everything in the file is secret.
  idempotent:
    support: none
    details:
      - A write makes a new version, and is refused if the entry does not have the given O(version).
  platform:
    details:
      - The controller.
options:
  path:
    description:
      - Path of the file on the controller. The file is created if it does not exist, and its directory
        with O(create).
      - C(ansible-vault view) shows it. Runs lock the file of the same name with C(.lock) at its end.
    type: path
    required: true
  key:
    description:
      - Unique name of the volume in the file.
    type: str
    required: true
  operation:
    description:
      - V(read) returns the entry. V(write) replaces it, reads it back and returns it.
    type: str
    choices:
      - read
      - write
    default: read
  vault_id:
    description:
      - Vault id whose password encrypts the file. By default, a file keeps the one that opened it, and a new
        file gets the first one given to C(ansible-playbook).
    type: str
seealso:
  - module: luksmith.luks.rotation_entry
"""

EXAMPLES = r"""
- name: Read the entry of a volume
  luksmith.luks.vault_entry:
    path: luks-secrets/{{ inventory_hostname }}.yml
    key: "{{ inventory_hostname }}/4b543c86-7353-47b9-b355-d0ef03989991"
  register: kept
  no_log: true
"""

RETURN = r"""
entry:
  description: The entry for the key, or V(none). It contains secrets.
  returned: success
  type: dict
  sample:
    current:
      created: "2026-11-25T03:21:56Z"
      entropy: 140
      generation: "2026-11"
      id: 86cfc40b
      passphrase: g161-fvxw-13nk-xjmt-ze2y-v7zx-7j87
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
