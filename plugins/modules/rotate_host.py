# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rotate_host
short_description: Give all LUKS volumes of a host new secrets
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - The role P(luksmith.luks.rotate#role), which is the way to use it. It takes the variables of that role and no other
    options, so that no secret is in a task. It may change in any release.
  - Runs on the controller, which alone asks the store, and asks the host with M(luksmith.luks.rotation_step), three
    times for a rotation and once at rest, for all its volumes.
  - Shows each phase of each volume that changes as it begins. With C(-v) it shows also what stays as it is.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  journal:
    description:
      - For a store that is made of tasks, what an earlier call returned as RV(journal), or an empty list. It contains
        secrets. The result is then in RV(outcome), and a failure is there, too.
    type: list
    elements: raw
  answer:
    description:
      - What the tasks answered to RV(asks) of the earlier call. It has C(entry) and C(version), or C(failed) and
        C(msg).
    type: raw
seealso:
  - module: luksmith.luks.rotation_step
"""

EXAMPLES = r"""
- name: Rotate the volumes of this host
  luksmith.luks.rotate_host:
"""

RETURN = r"""
volumes:
  description:
    - An item for each volume, as P(luksmith.luks.rotate#role) writes it to its report, but without the tables of its
      keyslots. C(secrets) has the ids of all secrets that this run brought to it, C(unknown) the keyslots that no known
      secret opens. C(group) is there for a volume that is in a group.
  returned: without O(journal)
  type: list
  elements: dict
  sample:
    - cipher: aes-xts-plain64
      closed: []
      container: raw
      device: /dev/sdb
      header:
      key_size: 64
      label: ""
      plan:
        - action: add
          keyslot: 2
          label: rotation 86cfc40b
          reason: rotation 86cfc40b opens no keyslot
      secrets: [86cfc40b]
      slot_count: 32
      state: done
      type: luks2
      unknown: []
      uuid: 4b543c86-7353-47b9-b355-d0ef03989991
searched:
  description:
    - How many volumes there are, and the patterns of O(luksmith.luks.rotate#role:main:rotate_paths) that lead to some
      and to none. From that of all hosts the role sees whether there is nothing at all.
  returned: without O(journal), and at the end
  type: dict
  sample:
    allow_empty: false
    host: web-1
    matched: [/srv/images/*.img]
    unmatched: []
    volumes: 2
asks:
  description: What a store that is made of tasks is asked. With V(write) it contains secrets.
  returned: with O(journal), until the rotation is at its end
  type: dict
  sample:
    key: web-1/4b543c86-7353-47b9-b355-d0ef03989991
    operation: read
journal:
  description: All that was answered so far, for the next call. It contains secrets.
  returned: with O(journal), until the rotation is at its end
  type: list
  elements: raw
  sample: []
outcome:
  description: The result.
  returned: with O(journal), at the end
  type: dict
  sample:
    changed: false
    searched:
      allow_empty: false
      host: web-1
      matched: []
      unmatched: []
      volumes: 0
    volumes: []
    warnings: []
"""
