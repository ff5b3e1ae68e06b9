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
  - With O(state=present), keeps a verified copy of a volume's header and of the key material of all its keyslots in a
    file. The header is read under a lock. The copy is written to a new file, made durable and read back before it
    replaces an older one. The file has the mode 0600.
  - With O(state=restored), restores the keyslots of the volume from such a file. A secret must open the backup, and if
    the volume's own header can be read, the volume key in the backup must be the one in use.
  - "A task that keeps a backup is C(luksmith.luks.header_backup: {device: /dev/sdb, path: /root/sdb.header})."
  - The files are compatible with C(cryptsetup luksHeaderBackup) and C(cryptsetup luksHeaderRestore) in both directions.
  - On LUKS1, what luksmeta (Clevis) keeps behind the keyslots is part of the backup. cryptsetup does not restore that.
    The host does not need cryptsetup.
  - "B(A header backup opens the volume with the secrets of its day) as long as a copy of it exists and the volume is
    not reencrypted. After a secret has been removed, make the backup again and destroy all copies of the older one. The
    module reports which keyslots the previous file at O(path) contained."
  - Works on block devices, raw image files, qcow2 images with LUKS encryption and detached headers.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.actiongroup
  - luksmith.luks._secret.unlock
  - luksmith.luks._volume
attributes:
  check_mode:
    support: full
    details:
      - Also tries the secrets of O(unlock).
  diff_mode:
    support: full
    details:
      - Shows the keyslots of the file (O(state=present)) or the volume (O(state=restored)) before and after, and which
        ones have another key than before.
  idempotent:
    support: full
options:
  device:
    description:
      - Path of the volume on the managed host, a block device or an image file; or C(UUID=...) as in crypttab.
    type: path
    required: true
  path:
    description:
      - Absolute path of the backup on the managed host. Its directory must exist. Symbolic links are followed.
      - A file that is not a header backup is never overwritten. The volume itself, also through a loop device, and a
        copy of the whole volume are refused.
    type: path
    required: true
  state:
    description:
      - V(present) updates the backup. The file is written only if it differs from the volume.
      - V(restored) makes the volume's keyslots those of the backup. Keyslots that only the backup has open the volume
        again, and keyslots that only the volume has are erased. Label and subsystem of a readable header are kept.
      - A keyslot with the same salt in both and different key material is damaged in one of them. That of the volume
        stays, with a warning, unless O(unlock) opens that of the backup and not that of the volume.
    type: str
    choices: [present, restored]
    default: present
  unlock:
    description:
      - Secrets that open the backup. With O(state=restored), at least one must open it.
      - With O(state=present), the module warns if none of them opens it.
      - A volume key opens no keyslot. The task is refused, or with O(state=present) warns, if the backup is of another
        volume key.
      - Each secret costs a key derivation for every keyslot that no secret before it opens; with O(state=restored), in
        the backup and in the volume.
    type: list
    elements: dict
    default: []
  force:
    description:
      - Allow the restore or the replacement of a backup.
      - With O(state=restored), required for every restore that changes something. Without it, the task fails and says
        which keyslots would be restored and which would be erased.
      - With O(state=present), permits replacing a backup of another volume, one of the other format (from before
        C(cryptsetup convert)), or one that is newer than the volume's header.
      - A backup with another UUID or another volume key, or one that no secret opens, is never restored.
    type: bool
    default: false
notes:
  - A volume whose header is destroyed can be restored with O(force=true), unless something else (a file system, a
    partition table) is recognized on it. If that was written over the header by mistake, first remove its signature
    with C(wipefs). The module cannot verify that the backup belongs to a volume without a header; if the volume is
    open, it compares the UUID of the mapping.
  - To finish a restore that a crash or power failure interrupted, run the same task again. If the volume's header can
    be read, a keyslot that the volume had, or one that O(unlock) opens, opens the volume at every moment. Until the
    restore is finished, keyslots of both may open it.
  - If the header of a LUKS2 volume has no room for the backup's key material next to the material in use, the restore
    is refused. C(cryptsetup luksHeaderRestore) overwrites everything at once, without protection from a power failure.
  - Volumes under reencryption, and headers with unknown requirements, can be backed up with a warning, but not
    restored.
seealso:
  - module: luksmith.luks.keyslots
  - module: luksmith.luks.keyslots_info
"""

EXAMPLES = r"""
- name: Keep a backup of the header up to date
  luksmith.luks.header_backup:
    device: /dev/nvme0n1p3
    path: /root/nvme0n1p3.luks-header
  register: backup

- name: Show the removed keyslots that were still in the previous backup
  ansible.builtin.debug:
    msg: "{{ backup.previous.only_in_backup | map(attribute='label') }}"
  when: backup.previous

- name: Check that the escrowed passphrase opens the backup
  luksmith.luks.header_backup:
    device: /dev/nvme0n1p3
    path: /root/nvme0n1p3.luks-header
    unlock:
      - {label: escrow, passphrase: "{{ vault_escrow }}"}
  check_mode: true
  register: backup
  failed_when: not backup.backup.opened_by

- name: Restore the keyslots of yesterday
  luksmith.luks.header_backup:
    device: /dev/nvme0n1p3
    path: /root/nvme0n1p3.luks-header
    state: restored
    unlock:
      - {label: yesterday, passphrase: "{{ vault_yesterday }}"}
    force: true

- name: Back up a detached header
  luksmith.luks.header_backup:
    device: /dev/sdc
    header: /boot/sdc.header
    path: /root/sdc.luks-header
"""

RETURN = r"""
backup:
  description: The backup. With O(state=present), the backup after the task; in check mode, the one that it would make.
  returned: success
  type: dict
  contains:
    path:
      description: Path of the backup.
      type: str
    uuid:
      description: UUID of the volume in the backup.
      type: str
    type:
      description: V(luks1) or V(luks2).
      type: str
    size:
      description: Size of the file in bytes.
      type: int
    seqid:
      description: Sequence id of a LUKS2 header, which increases with every write. V(none) for LUKS1.
      type: int
    keyslots:
      description: Numbers of the active keyslots.
      type: list
      elements: int
    opened_by:
      description: Keyslots that a secret of O(unlock) opens, with the labels.
      type: dict
    relation:
      description:
        - With O(state=restored), the backup compared with the volume's header before the restore. V(same),
          V(equivalent) (the same keyslots), V(older), V(newer), or V(different) if it is not known which one is older,
          because LUKS1 has no sequence id. Absent if the volume's header could not be read.
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
    - With O(state=present), the previous backup at O(path), with the same members as RV(backup) except C(path).
      C(relation), C(only_in_backup) and C(only_in_header) compare it with the volume's header. With O(force=true),
      C(relation) may also be V(foreign), of another volume or of the other format. V(none) if there was no backup.
    - The secret of a keyslot in C(only_in_backup) has been removed or replaced since. Any copy of that backup still
      opens the volume with it.
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
  description:
    - The keyslots that come back from the backup; in check mode, those that would. They open the volume again if
      C(opened_by) names a secret; without one, nothing shows it. C(label) is from the record in the
      backup or from O(unlock).
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
  description: Actions in the order of their execution; in check mode, those that would be executed.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(write-backup), V(restrict-mode), V(restore), V(erase), V(restore-header) or V(heal-header).
      type: str
    keyslot:
      description: Number of the keyslot, V(none) if the action is not about a keyslot.
      type: int
    label:
      description: Always empty.
      type: str
    reason:
      description: Why the action is needed, for people.
      type: str
  sample:
    - action: write-backup
      keyslot: null
      label: ""
      reason: the file differs from the volume, it is older
diff:
  description:
    - Text that C(--diff) shows, about the file at O(path) with O(state=present), about the volume with
      O(state=restored).
  returned: success
  type: dict
  contains:
    before_header:
      description: Path of the file or volume.
      type: str
    before:
      description: Mode of the file and table of its keyslots before.
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
  description: The keyslots of the volume afterwards, as in RV(luksmith.luks.keyslots_info#module:keyslots).
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
volume_keys:
  description: Label of each given volume key, and whether it is the one of the backup by the digest in the header.
  returned: with O(state=present), if a volume key is given
  type: dict
  sample: {dump: true}
kdf_evaluations:
  description: Number of keys that were derived.
  returned: success
  type: int
  sample: 1
actions_done:
  description: The actions that were completed before a restore was interrupted.
  returned: failure after the first write
  type: list
  elements: dict
  sample: []
actions_left:
  description: The actions that were not completed. Run the same task again to carry them out.
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

from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import RESTORED, parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.create import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore import restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.fips import choose as choose_fips
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import Spec, unlocking, volume_options
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule

LEAVES = (
    "With state: present, the backup is the old file or the new one. With state: restored, the restore may have begun: "
    "do not destroy the backup. Run the same task again: it finishes what was begun."
)


def argument_spec() -> Spec:
    return {
        "device": {"type": "path", "required": True},
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["present", "restored"], "default": "present"},
        **volume_options(),
        "unlock": {**unlocking(), "default": []},
        "force": {"type": "bool", "default": False},
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    choose_fips(module.params["fips"])
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
