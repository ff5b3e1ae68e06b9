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
  - The store V(vault_file) of the role P(luksmith.luks.rotate#role). Reads or writes what the store holds for one volume.
  - Runs on the controller, in the process of Ansible itself. The vault password is the one that C(ansible-playbook) was started with, and
    no secret gets into an argument of a process, an environment or a temporary file.
  - The file is replaced as a whole, so that a kill or a power cut leaves the old one or the new one. Runs that share a file wait for each other.
  - Always use it with C(no_log), because the result holds secrets.
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
      - Everything in the file is secret.
  idempotent:
    support: none
    details:
      - A write is refused if the entry is not of the given O(version), and makes a new version.
  platform:
    details:
      - The controller.
options:
  path:
    description:
      - The file on the controller. It is created if it does not exist, and its folder as well.
      - C(ansible-vault view) shows it. The file beside it that ends in C(.lock) keeps runs apart.
    type: path
    required: true
  key:
    description:
      - What tells the volume from all others in the file.
    type: str
    required: true
  operation:
    description:
      - V(read) returns the entry. V(write) replaces it and returns what was then read from the file.
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
  vault_id:
    description:
      - The vault id whose password encrypts the file. Without it, the first one that C(ansible-playbook) was given.
    type: str
  lock_timeout:
    description:
      - Seconds to wait for another run that uses the file.
    type: float
    default: 60.0
seealso:
  - module: luksmith.luks.rotation_entry
"""

EXAMPLES = r"""
- name: Read what is kept for a volume
  luksmith.luks.vault_entry:
    path: luks-secrets/{{ inventory_hostname }}.yml
    key: "{{ inventory_hostname }}/4b543c86-7353-47b9-b355-d0ef03989991"
  register: kept
  no_log: true
"""

RETURN = r"""
entry:
  description: What the file holds under the key, or V(none). It holds secrets.
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
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
version:
  description: Counts the writes of this entry.
  returned: success
  type: int
  sample: 2
"""
