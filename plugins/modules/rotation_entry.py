# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rotation_entry
short_description: Decide what a rotation has to do on a volume, and change what its store holds
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - A part of the role P(luksmith.luks.rotate#role), of use for a rotation of your own. It reads and writes nothing but what O(store) names. Without that,
    other tasks read and write, before and after.
  - Runs on the controller, in the process of Ansible itself. New passphrases come from the random number generator of its system.
  - Always use it with C(no_log), because the result holds secrets.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
    details:
      - O(store) is only read then. A new secret is called V(new), so that a plan reads the same every time.
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
      - V(decide) tells what is due, and makes the new secret if one is.
      - V(compare) fails unless O(entry) holds O(secret) as O(field), to the byte. It returns the entry in which that has become the current one, too.
      - V(forget) returns the entry without the oldest of its replaced secrets.
    type: str
    choices:
      - decide
      - compare
      - forget
    required: true
  entry:
    description:
      - What the store holds for the volume. Nothing at all stands for a volume that the store does not know.
      - Ignored with O(store).
    type: raw
  store:
    description:
      - Read the entry from this store, M(luksmith.luks.vault_entry) or M(luksmith.luks.escrow_entry), within this task.
    type: str
    choices:
      - ""
      - vault_entry
      - escrow_entry
    default: ""
  store_arguments:
    description:
      - The options of O(store) that say where it is, such as C(path) and C(key). Empty ones are left out.
    type: dict
    default: {}
  write:
    description:
      - An entry to write to O(store) before it is read.
    type: dict
  version:
    description:
      - RV(version) of an earlier call. O(store) refuses O(write) if somebody else wrote since.
    type: int
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
      - Path of the volume, for messages and for people who read the store.
    type: str
    required: true
  generation:
    description:
      - Name of the rotation. A secret of another generation is due.
    type: str
    default: ""
  max_age:
    description:
      - How many days old a secret may be. V(0) is for no limit.
    type: int
    default: 0
  passphrase:
    description:
      - The new passphrase. Without it, one is made.
    type: str
  passphrase_format:
    description:
      - How a new passphrase is written.
    type: str
    default: base32
  entropy:
    description:
      - The least entropy of a new passphrase in bits.
    type: int
    default: 128
  replaces:
    description:
      - Secrets that are in no store and must open nothing.
    type: list
    elements: dict
    default: []
  keeps:
    description:
      - Secrets that open the volume and stay.
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
  secret:
    description:
      - What the store is expected to hold.
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
      - How many replaced secrets the store keeps.
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
  description: The entry, without what it was to forget with V(forget). It holds secrets.
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
  description: The version of the entry in O(store).
  returned: with O(store)
  type: int
  sample: 3
promoted:
  description: The entry in which O(secret) is the current one. It holds secrets.
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
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
phase:
  description:
    - V(rest) if no new secret is due, V(take up) if an interrupted run staged one, V(make) if one is due.
  returned: with O(operation=decide)
  type: str
  sample: take up
reason:
  description: Why, for people.
  returned: with O(operation=decide)
  type: str
  sample: secret 3f9a12cd was staged 2026-11-24T01:04:41Z by a run that was interrupted
then:
  description: Why another rotation is due after that, or empty.
  returned: with O(operation=decide)
  type: str
  sample: ""
staged:
  description: The entry to write before the new secret comes to the volume. V(none) unless a secret was made.
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
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
new:
  description: The secret that shall open the volume.
  returned: with O(operation=decide)
  type: dict
  sample:
    created: "2026-11-25T03:21:56Z"
    entropy: 140
    generation: "2026-11"
    id: 86cfc40b
    passphrase: g161-fvxw-13nk-xjmt-ze2y-v7zx-7j87
label:
  description: Its label on the volume.
  returned: with O(operation=decide)
  type: str
  sample: rotation 3f9a12cd
unlock:
  description: Everything that may open the volume today, for O(luksmith.luks.keyslots#module:unlock).
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
  description: The entries that erase all others that the store and O(replaces) know.
  returned: with O(operation=decide)
  type: list
  elements: dict
  sample:
    - old_secret:
        label: installer
        passphrase: winter-2025
      state: absent
differs:
  description: Whether there was anything to forget.
  returned: with O(operation=forget)
  type: bool
  sample: false
"""
