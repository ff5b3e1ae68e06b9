# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reveal
short_description: Give out the passphrase of one volume, and have the next rotation replace it
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Shows an operator the passphrase of one volume, from the store of the role P(luksmith.luks.rotate#role). The
    playbook C(luksmith.luks.reveal) runs it.
  - The store gets a note first, of who got the secret, when and why. Only if it gives that note back, the passphrase is
    written to the terminal. The next run of the rotation treats the secret as due.
  - The passphrase is written to the terminal only. It is not in the result, a variable, a log or the output of a
    callback. Where there is no terminal, and in a job of AWX or ansible-runner, which record theirs, it fails and
    changes nothing.
  - If a rotation of the volume was interrupted, the staged secret is shown, too. One of both opens the volume.
  - The variables C(rotate_store), C(rotate_vault_file) and so on of the host say where the store is, as for the role.
    The host itself is not asked, and may be off.
  - With the store V(escrow) it needs C(rotate_escrow_private_key). A store that is made of tasks cannot be used.
  - Runs on the controller, in the process of Ansible itself.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
    details:
      - Shows no passphrase and writes no note.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each run is a note of its own.
  platform:
    details:
      - The controller.
options:
  volume:
    description:
      - UUID of the volume, its path when it was last rotated, or the name of a group of C(rotate_groups). Not needed if
        the store has one volume of this host.
    type: str
    default: ""
  reason:
    description:
      - Why it is given out, for the note. Do not put a secret here.
    type: str
    default: ""
seealso:
  - module: luksmith.luks.rotation_entry
"""

EXAMPLES = r"""
- name: Show the passphrase to whoever sits here
  luksmith.luks.reveal:
    volume: 4b543c86-7353-47b9-b355-d0ef03989991
    reason: the host does not boot
"""

RETURN = r"""
uuid:
  description: UUID of the volume, or of the group.
  returned: success
  type: str
  sample: 4b543c86-7353-47b9-b355-d0ef03989991
device:
  description: Path of the volume when it was last rotated.
  returned: success
  type: str
  sample: /dev/vda3
ids:
  description: The ids of the secrets that were shown, the current one first.
  returned: success
  type: list
  elements: str
  sample: [86cfc40b]
to:
  description: The user of the controller who got them.
  returned: success
  type: str
  sample: alice
"""
