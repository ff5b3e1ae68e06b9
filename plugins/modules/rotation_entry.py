# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rotation_entry
short_description: Decide what a rotation has to do on a volume, and update the entry in its store
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - A part of the role P(luksmith.luks.rotate#role) that can also be used in other rotations. It reads and writes only
    the entry in O(store). Without O(store), other tasks read the entry before and write it after.
  - Runs on the controller, in the process of Ansible itself. New passphrases come from the random number generator of
    the operating system.
  - Always use it with C(no_log), because the result contains secrets.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
    details:
      - Only reads O(store). A new secret is called V(new), so that a plan reads the same every time.
  diff_mode:
    support: none
  idempotent:
    support: N/A
    details:
      - Each call with O(operation=decide) that finds a new secret due makes another one.
  platform:
    details:
      - The controller.
options:
  operation:
    description:
      - V(check) fails if O(uuid) is not a UUID, or if facts of the host have names of options of our roles. The other
        operations check that too, before they ask O(store); where other tasks read the entry, ask for it before them.
      - V(decide) reports what is due, and makes the new secret if one is due.
      - V(compare) fails unless O(entry) contains exactly O(secret) as O(field). It also returns the entry in which that
        secret has become the current one.
      - V(forget) returns the entry without its oldest replaced secrets, see O(keep_older).
    type: str
    choices:
      - check
      - decide
      - compare
      - forget
    required: true
  entry:
    description:
      - Entry of the volume in the store. An empty value stands for a volume without an entry.
      - Ignored with O(store).
    type: raw
  store:
    description:
      - Read the entry from this store within this task, V(vault_file), V(escrow), V(command) or the path of a Python
        file with a class C(Store). docs/stores.md in the collection explains them.
    type: str
    default: ""
  store_arguments:
    description:
      - The options of O(store). Empty ones are left out.
      - V(vault_file) takes those of M(luksmith.luks.vault_entry) and V(escrow) those of M(luksmith.luks.escrow_entry)
        that say where the store is and how it is written; V(command) takes C(words), the program and its first
        arguments.
    type: dict
    default: {}
  key:
    description:
      - What tells the volume from all others in O(store).
    type: str
    default: ""
    version_added: 2.0.0
  write:
    description:
      - Entry to write to O(store) before the entry is read.
    type: dict
  version:
    description:
      - RV(version) of an earlier call. O(store) refuses O(write) if somebody else wrote since.
    type: raw
  host:
    description:
      - Name of the host in the inventory. An entry of another host is refused.
    type: str
    required: true
  uuid:
    description:
      - UUID of the volume. An entry of another volume is refused.
    type: str
    required: true
  device:
    description:
      - Path of the volume, for messages and for readers of the store.
    type: str
    required: true
  generation:
    description:
      - Name of the rotation. A secret of another generation is due.
    type: str
    default: ""
  max_age:
    description:
      - Maximum age of a secret in days. V(0) means no limit.
    type: int
    default: 0
  passphrase:
    description:
      - The new passphrase. By default, a random one is generated.
    type: str
  passphrase_format:
    description:
      - Format of a generated passphrase.
    type: str
    default: base32
  entropy:
    description:
      - Minimum entropy of a generated passphrase, in bits.
    type: int
    default: 128
  replaces:
    description:
      - Secrets that are not in a store and must not open the volume.
    type: list
    elements: dict
    default: []
  keeps:
    description:
      - Secrets that open the volume and are kept.
    type: list
    elements: dict
    default: []
  pbkdf:
    description:
      - As O(luksmith.luks.keyslots#module:keyslots[].pbkdf), for the new secret.
    type: dict
  iter_time:
    description:
      - As O(luksmith.luks.keyslots#module:keyslots[].iter_time), for the new secret.
    type: int
  record:
    description:
      - What the header says of its keyslots, C(header.record) of M(luksmith.luks.keyslots_info). It names the secrets
        that were brought to the volume, so that an entry which does not know one of them is refused as rolled back.
    type: list
    elements: dict
    default: []
    version_added: 2.0.0
  luks:
    description:
      - The format of the volume, V(luks1) or V(luks2). LUKS1 has no record.
    type: str
    default: luks1
    version_added: 2.0.0
  opened:
    description:
      - The keyslots that the staged or current secret of the first answer opens, if that said RV(try). What somebody
        merely put into the store opens none, and does not come to the volume. A fresh secret is made then.
    type: list
    elements: int
    version_added: 2.0.0
  made:
    description:
      - Ids of secrets that this very run brought to another volume with the same UUID. They need not be tried.
    type: list
    elements: str
    default: []
    version_added: 2.0.0
  begin:
    description:
      - Whether to begin an entry for a volume that was rotated before, and that the store does not know.
    type: bool
    default: false
    version_added: 2.0.0
  secret:
    description:
      - Secret that the store is expected to contain.
    type: dict
  field:
    description:
      - Whether the secret must be the staged one or the current one.
    type: str
    choices:
      - next
      - current
    default: next
  keep_older:
    description:
      - Number of replaced secrets that the store keeps.
    type: int
    default: 2
seealso:
  - module: luksmith.luks.vault_entry
  - module: luksmith.luks.escrow_entry
  - module: luksmith.luks.keyslots
"""

EXAMPLES = r"""
- name: Decide what is due
  luksmith.luks.rotation_entry:
    operation: decide
    host: "{{ inventory_hostname }}"
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
    device: /dev/sdb
    entry: "{{ kept.entry }}"
    generation: 2026-11
  register: order
  no_log: true
"""

RETURN = r"""
entry:
  description: The entry; with V(forget), without the secrets to forget. It contains secrets.
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
  description: The version of the entry in O(store).
  returned: with O(store)
  type: raw
  sample: 3
promoted:
  description: The entry in which O(secret) is the current one. It contains secrets.
  returned: with O(operation=compare)
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
phase:
  description:
    - V(rest) if no new secret is due, V(take up) if an interrupted run staged one, V(make) if one is due.
  returned: with O(operation=decide)
  type: str
  sample: take up
reason:
  description: Why this phase comes next, for people.
  returned: with O(operation=decide)
  type: str
  sample: secret 3f9a12cd was staged 2026-11-24T01:04:41Z by a run that was interrupted
then:
  description: Why another rotation is due afterwards, or empty.
  returned: with O(operation=decide)
  type: str
  sample: ""
staged:
  description: The entry to write before the new secret is added to the volume. V(none) unless a secret was made.
  returned: with O(operation=decide)
  type: dict
  sample:
    current:
    device: /dev/sdb
    format: 1
    host: web-1
    next:
      created: "2026-11-25T03:21:56Z"
      entropy: 140
      generation: "2026-11"
      id: 86cfc40b
      passphrase: g161-fvxw-13nk-xjmt-ze2y-v7zx-7j87
    older: []
    past: []
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
new:
  description: The secret that is to open the volume.
  returned: with O(operation=decide)
  type: dict
  sample:
    created: "2026-11-25T03:21:56Z"
    entropy: 140
    generation: "2026-11"
    id: 86cfc40b
    passphrase: g161-fvxw-13nk-xjmt-ze2y-v7zx-7j87
try:
  description: Whether RV(new) must be tried on the volume first, and this module asked again with O(opened).
  returned: with O(operation=decide)
  type: bool
  sample: false
label:
  description: Label of the new secret on the volume.
  returned: with O(operation=decide)
  type: str
  sample: rotation 3f9a12cd
unlock:
  description: All secrets that may open the volume today, for O(luksmith.luks.keyslots#module:unlock).
  returned: with O(operation=decide)
  type: list
  elements: dict
  sample:
    - label: installer
      passphrase: winter-2025
present:
  description: The entry of O(luksmith.luks.keyslots#module:keyslots) that adds the new secret.
  returned: with O(operation=decide)
  type: list
  elements: dict
  sample:
    - new_secret:
        label: rotation 86cfc40b
        passphrase: g161-fvxw-13nk-xjmt-ze2y-v7zx-7j87
absent:
  description: The entries that erase all other secrets in the store and in O(replaces).
  returned: with O(operation=decide)
  type: list
  elements: dict
  sample:
    - old_secret:
        label: installer
        passphrase: winter-2025
      state: absent
differs:
  description: Whether there were secrets to forget.
  returned: with O(operation=forget)
  type: bool
  sample: false
"""
