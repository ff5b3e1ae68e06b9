#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: header_backup
short_description: Back up the header of a LUKS volume, or restore its keyslots from a backup
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - With O(state=present), keeps a verified copy of a volume's header and of the key material of all its keyslots in a file. It is read while nobody
    writes to the header, written beside, made durable, read back, and only then takes the place of an older one. The file has the mode 0600.
  - With O(state=restored), makes the keyslots of such a file those of the volume again. A secret has to open the backup first, and where the volume's own
    header can be read, the volume key in the backup has to be the one in use.
  - The files are those of C(cryptsetup luksHeaderBackup) and C(cryptsetup luksHeaderRestore), in both directions. Neither program is needed.
  - "B(A header backup opens the volume with the secrets of its day), for as long as a copy of it exists and the volume is not reencrypted. After a
    secret was removed, make the backup again and destroy all copies of the older one. The module tells what the file at O(path) still held."
  - Works on block devices, raw image files, qcow2 images with LUKS encryption and detached headers.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.actiongroup
  - luksmith.luks._volume
attributes:
  check_mode:
    support: full
    details:
      - The secrets of O(unlock) are tried in check mode too.
  diff_mode:
    support: full
    details:
      - Shows the keyslots that the file (O(state=present)) or the volume (O(state=restored)) has before and after.
  idempotent:
    support: full
options:
  device:
    description:
      - Path of the volume on the managed host, a block device or an image file.
    type: path
    required: true
  path:
    description:
      - Path of the backup on the managed host. Its directory must exist. A link is followed.
      - Another file than a header backup is never overwritten.
    type: path
    required: true
  state:
    description:
      - V(present) brings the backup up to date. The file is written only if it does not hold what the volume holds.
      - V(restored) brings the volume's keyslots to those of the backup. Keyslots that only the backup has open the volume again, and keyslots that only
        the volume has are erased. Label and subsystem of a header that can be read stay as they are.
    type: str
    choices: [present, restored]
    default: present
  unlock:
    description:
      - With O(state=restored), secrets of which at least one must open the backup.
      - With O(state=present), secrets to try on the backup. That none opens it is a warning.
      - Each costs one key derivation for each keyslot that none of those before it opens, with O(state=restored) for the backup and for the volume.
    type: list
    elements: dict
    default: []
    suboptions:
      label:
        description:
          - A name for the secret, used in the result. A label is not secret. Two secrets must not share one.
          - Without it, the place in the task is the name, such as V(unlock[0]).
        type: str
      passphrase:
        description:
          - The secret as text, used as UTF-8 to the byte. A newline at its end is a part of it, which causes a warning.
          - Exactly one of O(unlock[].passphrase), O(unlock[].passphrase_base64) and O(unlock[].keyfile) is required.
        type: raw
      passphrase_base64:
        description:
          - The secret as base64 of its bytes, for secrets that are not text. It must have no line breaks.
        type: raw
      keyfile:
        description:
          - Path of a regular file or block device on the managed host whose bytes are the secret, with every newline and NUL byte in it.
          - At most 8 MiB are read unless O(unlock[].keyfile_size) is given.
        type: path
      keyfile_offset:
        description:
          - Where the secret begins in the keyfile, in bytes.
          - Without it, at the start.
        type: int
      keyfile_size:
        description:
          - How long the secret in the keyfile is, in bytes. So many bytes must be there.
          - Without it, up to the end of the keyfile.
        type: int
  force:
    description:
      - With O(state=restored), required for every restore that changes something. Without it, the task fails and says which keyslots would come back and
        which would be erased.
      - With O(state=present), allows to replace a backup of another volume, or one that is newer than the volume's header.
      - It never replaces a proof. A backup of another UUID, of another volume key, or one that no secret opens is refused in any case.
    type: bool
    default: false
notes:
  - A volume whose header is destroyed can be restored with O(force=true), as long as nothing else (a file system, a partition table) is recognized on it. If
    such a thing was written over it by mistake, remove its signature with C(wipefs) first. Of such a volume nobody can tell that it is the one of the backup;
    if it is open, the UUID of the mapping is compared.
  - A restore that is cut by a crash or power failure is finished by running the same task again. Where the volume's header can be read, at every instant
    a keyslot that the volume had, or one that O(unlock) opens, opens the volume. In between, keyslots of both may open it.
  - Where the header of a LUKS2 volume has no room for the backup's key material beside that in use, the restore is refused. C(cryptsetup luksHeaderRestore)
    writes over everything at once, without protection from a power cut.
  - Volumes that are being reencrypted, and headers with requirements that are not known here, can be backed up with a warning, but not restored.
seealso:
  - module: luksmith.luks.keyslots
  - module: luksmith.luks.keyslots_info
"""

EXAMPLES = r"""
- name: Keep a backup of the header, and fetch nothing that is unchanged
  luksmith.luks.header_backup:
    device: /dev/nvme0n1p3
    path: /root/nvme0n1p3.luks-header
  register: backup

- name: Which removed keyslots did the old backup still open?
  ansible.builtin.debug:
    msg: "{{ backup.previous.only_in_backup | map(attribute='label') }}"
  when: backup.previous

- name: Does the escrowed passphrase open what we keep?
  luksmith.luks.header_backup:
    device: /dev/nvme0n1p3
    path: /root/nvme0n1p3.luks-header
    unlock:
      - {label: escrow, passphrase: "{{ vault_escrow }}"}
  check_mode: true
  register: backup
  failed_when: not backup.backup.opened_by

- name: Bring the keyslots of yesterday back
  luksmith.luks.header_backup:
    device: /dev/nvme0n1p3
    path: /root/nvme0n1p3.luks-header
    state: restored
    unlock:
      - {label: yesterday, passphrase: "{{ vault_yesterday }}"}
    force: true

- name: A detached header
  luksmith.luks.header_backup:
    device: /dev/sdc
    header: /boot/sdc.header
    path: /root/sdc.luks-header
"""

RETURN = r"""
backup:
  description: The backup, with O(state=present) the one that is there now (in check mode, that would be).
  returned: success
  type: dict
  contains:
    path:
      description: Its path.
      type: str
    uuid:
      description: UUID of its volume.
      type: str
    type:
      description: V(luks1) or V(luks2).
      type: str
    size:
      description: Its size in bytes.
      type: int
    seqid:
      description: Sequence id of a LUKS2 header, which grows with every write, V(none) for LUKS1.
      type: int
    keyslots:
      description: Numbers of its active keyslots.
      type: list
      elements: int
    opened_by:
      description: Keyslots that a secret of O(unlock) opens, with the labels.
      type: dict
    relation:
      description:
        - With O(state=restored), how the backup stood to the volume's header before. V(same), V(equivalent) (the same keyslots), V(older), V(newer), or
          V(different) if nobody can tell which is the older one, as LUKS1 has no sequence id. Absent if the volume's header could not be read.
      type: str
    only_in_backup:
      description: With O(state=restored), the keyslots that the volume's header did not have. Items as in RV(revived).
      type: list
      elements: dict
    only_in_header:
      description: With O(state=restored), the keyslots that the backup does not have. Items as in RV(revived).
      type: list
      elements: dict
  sample:
    keyslots:
      - 0
      - 1
    opened_by:
      "0":
        - admin 2025
    path: /root/nvme0n1p3.luks-header
    seqid: 5
    size: 16777216
    type: luks2
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
previous:
  description:
    - With O(state=present), the backup that was at O(path) before, with the same members as RV(backup) except C(path), and C(relation), C(only_in_backup)
      and C(only_in_header) telling how it stood to the volume's header. V(none) if there was none.
    - A keyslot in C(only_in_backup) is one whose secret was removed or replaced since. Any copy of that backup still opens the volume with it.
  returned: O(state=present)
  type: dict
  sample:
    keyslots:
      - 0
      - 1
    only_in_backup:
      - keyslot: 1
        label: leaked
        opened_by: []
    only_in_header: []
    opened_by: {}
    relation: older
    seqid: 4
    size: 16777216
    type: luks2
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
revived:
  description: The keyslots that open the volume again (in check mode, that would). C(label) comes from the record in the backup, or from O(unlock).
  returned: O(state=restored)
  type: list
  elements: dict
  sample:
    - keyslot: 1
      label: leaked
      opened_by: []
dropped:
  description: The keyslots of the volume that were erased, or replaced by others. Items as in RV(revived).
  returned: O(state=restored)
  type: list
  elements: dict
  sample: []
plan:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(write-backup), V(restrict-mode), V(restore), V(erase), V(restore-header) or V(heal-header).
      type: str
    keyslot:
      description: Number of the keyslot, V(none) if it is not about one.
      type: int
    label:
      description: Always empty.
      type: str
    reason:
      description: Why, for people.
      type: str
  sample:
    - action: write-backup
      keyslot: null
      label: ""
      reason: the file differs from the volume, it is older
diff:
  description: What C(--diff) shows, as text. The file at O(path) with O(state=present), the volume with O(state=restored).
  returned: success
  type: dict
  contains:
    before_header:
      description: Path of the file or volume.
      type: str
    before:
      description: Mode of the file and the table of its keyslots before.
      type: str
    after_header:
      description: Path of the file or volume.
      type: str
    after:
      description: The same afterwards.
      type: str
  sample:
    after: |
      mode 0600
      LUKS2 4b543c86-7353-47b9-b355-d0ef03989991
      keyslot  opened by   key derivation
      0        admin 2026  argon2id, 4 passes, 65536 KiB, 2 lanes
    after_header: /root/nvme0n1p3.luks-header
    before: |
      mode 0600
      LUKS2 4b543c86-7353-47b9-b355-d0ef03989991
      keyslot  opened by    key derivation
      0        (not tried)  argon2id, 4 passes, 65536 KiB, 2 lanes
      1        (not tried)  argon2id, 4 passes, 65536 KiB, 2 lanes
    before_header: /root/nvme0n1p3.luks-header
keyslots:
  description: The keyslots of the volume afterwards, with the members that RV(luksmith.luks.keyslots_info#module:keyslots) has.
  returned: success
  type: list
  elements: dict
  sample:
    - bound: true
      kdf:
        memory: 65536
        parallel: 2
        time: 4
        type: argon2id
      keyslot: 0
      opened_by:
        - admin 2026
      priority: normal
      state: active
      tokens: []
      tried: true
uuid:
  description: UUID of the volume.
  returned: success
  type: str
  sample: 4b543c86-7353-47b9-b355-d0ef03989991
type:
  description: V(luks1) or V(luks2).
  returned: success
  type: str
  sample: luks2
container:
  description: Whether the header is at the start of the device or file (V(raw)) or inside a qcow2 image (V(qcow2)).
  returned: success
  type: str
  sample: raw
kdf_evaluations:
  description: How many keys were derived.
  returned: success
  type: int
  sample: 1
actions_done:
  description: The actions that were complete when a restore was interrupted.
  returned: failure after the first write
  type: list
  elements: dict
  sample: []
actions_left:
  description: The actions that were not. Running the same task again carries them out.
  returned: failure after the first write
  type: list
  elements: dict
  sample:
    - action: restore
      keyslot: 1
      label: ""
      reason: only the backup has it
"""

import typing as t

from ..module_utils._luks.backup.backup_task import RESTORED, parse_backup
from ..module_utils._luks.backup.create import create
from ..module_utils._luks.backup.restore import restore
from ..module_utils._module.argument_spec import Spec, secrets, volume_options
from ..module_utils._module.runner import run_module
from ..module_utils._module.safe_module import SafeModule

LEAVES = (
    "If a backup was to be made, the file of the backup is the old one or the new one. If one was to be restored, that may have begun: do not destroy the "
    "backup. Run the same task again: it finishes what was begun."
)


def argument_spec() -> Spec:
    return {
        "device": {"type": "path", "required": True},
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["present", "restored"], "default": "present"},
        **volume_options(),
        "unlock": {**secrets(), "default": []},
        "force": {"type": "bool", "default": False},
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    task = parse_backup(module.params)
    try:
        return (restore if task.state == RESTORED else create)(task, check=module.check_mode)
    finally:
        task.wipe_secrets()


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=LEAVES)


if __name__ == "__main__":
    main()
