#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keyslots
short_description: Bring the keyslots of LUKS volumes to a desired state
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Describe which secrets open a volume and which do not. The module proves the present state, makes the smallest plan
    that leads to the desired one, and carries it out so that a crash at any moment leaves a volume that opens.
  - "A task that replaces a passphrase wherever it opens a keyslot is C(luksmith.luks.keyslots: {device: /dev/sdb,
    keyslots: [{old_secret: {passphrase: OLD}, new_secret: {passphrase: NEW}}]})."
  - Works on block devices, raw image files, qcow2 images with LUKS encryption and detached headers, on LUKS1 and LUKS2,
    without cryptsetup and QEMU. It never formats. A refused task changes nothing.
  - docs/options.md in the collection has the options at length.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.actiongroup
  - luksmith.luks._secret.entries
  - luksmith.luks._volume
attributes:
  check_mode:
    support: full
    details:
      - Makes the same plan as the real run, with the same key derivations, and shows it. Costs that only the real run
        measures are shown as V(set at apply).
      - Warns if another program holds a lock that the real run would have to wait for.
  diff_mode:
    support: full
    details:
      - Shows the tables of keyslots before and after, without secrets. Check mode and the real run show the same.
  idempotent:
    support: full
options:
  device:
    description: Path of the volume on the managed host, or C(UUID=...). This or O(devices) is required.
    type: path
  devices:
    description: Paths of several volumes that share one desired state. Each is changed on its own.
    type: list
    elements: path
  unlock:
    description: Secrets that open the volume today, its volume key, or a token. Needed only to add a key.
    type: list
    elements: dict
    default: []
  keyslots:
    description: The desired state, at least one entry. Their order does not matter.
    type: list
    elements: dict
    required: true
  purge:
    description: Erase every keyslot that no entry claims, but none that a token of another program uses.
    type: bool
    default: false
  force:
    description: Overwrite the named keyslot even if no given secret opens it.
    type: bool
    default: false
  allow_lockout:
    description: Erase keyslots even if no secret of the task opens a remaining one that is tried by default.
    type: bool
    default: false
  backup_dir:
    description: Folder on another disk, for a copy of a full header while its only known keyslot is replaced.
    type: path
  record:
    description: Record labels and times of changes in the LUKS2 header.
    type: bool
    default: true
  verify:
    description:
      - Try the secrets, or trust the record if it says that nothing needs to change. It compares labels, so never give
        a label to a second secret. Keyslots that it does not know are tried if an old secret could be in them.
    type: str
    choices:
      - proof
      - record
    default: proof
  rederive:
    description: Derive the key of a new keyslot twice, against faults of memory.
    type: bool
    default: false
  wipe:
    description: Passes over an erased key. V(auto) is V(multiple) on a rotational disk, else V(single).
    type: str
    choices:
      - auto
      - single
      - multiple
    default: auto
  qmp:
    description:
      - Path of a QMP monitor socket. A running QEMU or qemu-storage-daemon that has the image open makes the change.
    type: path
    version_added: 2.0.0
notes:
  - Erasing a key does not revoke older copies of the header. An older backup, snapshot or image together with the old
    secret still opens the data. Only re-encryption with another volume key prevents that.
  - Results, differences and errors never contain secrets. But Ansible itself writes module arguments to a temporary
    file on the managed host unless pipelining is on. Turn it on (C(ANSIBLE_PIPELINING=true)), or give secrets as
    keyfiles.
seealso:
  - module: luksmith.luks.keyslots_info
  - module: community.crypto.luks_device
    description: Formats, opens and closes LUKS devices with cryptsetup.
"""

EXAMPLES = r"""
- name: Let a passphrase open the volume, in any keyslot
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_installer }}"
    keyslots:
      - new_secret: {label: admin, passphrase: "{{ vault_admin }}"}

- name: Have the passphrase in keyslot 3 (refused if another secret is there that the entry does not name)
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_installer }}"
    keyslots:
      - keyslot: 3
        new_secret: {label: admin, passphrase: "{{ vault_admin }}"}

- name: Rotate a passphrase in every keyslot that it opens (--check --diff shows the plan first)
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    keyslots:
      - old_secret: {label: admin 2025, passphrase: "{{ vault_admin_old }}"}
        new_secret: {label: admin 2026, passphrase: "{{ vault_admin }}"}

- name: Replace the passphrase of keyslot 0, only if the old one opens it
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    keyslots:
      - keyslot: 0
        old_secret: {passphrase: "{{ vault_admin_old }}"}
        new_secret: {passphrase: "{{ vault_admin }}"}

- name: The same for the image of a VM that goes on running
  luksmith.luks.keyslots:
    device: /var/lib/libvirt/images/vm.qcow2
    qmp: /run/vm-keyslots.qmp
    keyslots:
      - old_secret: {label: admin 2025, passphrase: "{{ vault_admin_old }}"}
        new_secret: {label: admin 2026, passphrase: "{{ vault_admin }}"}

- name: Erase every keyslot that a leaked passphrase opens
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_admin }}"  # the proof that another keyslot stays usable
    keyslots:
      - state: absent
        old_secret: {label: leaked, passphrase: "{{ vault_leaked }}"}

- name: Erase keyslot 5
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - state: absent
        keyslot: 5

- name: Erase keyslot 5 only if the old passphrase opens it
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - state: absent
        keyslot: 5
        old_secret: {passphrase: "{{ vault_admin_old }}"}

- name: Keep exactly these two secrets on several volumes
  luksmith.luks.keyslots:
    devices:
      - /dev/nvme0n1p3
      - /dev/sdb
    keyslots:
      - new_secret: {label: admin, passphrase: "{{ vault_admin }}"}
      - new_secret: {label: boot, keyfile: /etc/cryptsetup-keys.d/data.key}
    purge: true

- name: Add a binary key from a vault, without a file on the host
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - new_secret: {label: escrow, passphrase_base64: "{{ vault_escrow_base64 }}"}

- name: Add a key of 64 bytes that is on a USB stick, 512 bytes after its start
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - new_secret: {label: usb, keyfile: /dev/disk/by-id/usb-stick, keyfile_offset: 512, keyfile_size: 64}

- name: Raise the costs of a passphrase's keyslot to at least these
  luksmith.luks.keyslots:
    device: /dev/sdb
    keyslots:
      - new_secret: {label: admin, passphrase: "{{ vault_admin }}"}
        pbkdf: {type: argon2id, time: 4, memory: 1048576, parallel: 4}

- name: Add a break-glass key that is not tried at boot
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - new_secret: {label: break-glass, keyfile: /root/break-glass.key}
        priority: ignore

- name: Try the keyslot of the TPM2 before all others (needs no secret)
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    keyslots:
      - {keyslot: 2, priority: prefer}

- name: Rotate the passphrase of a qcow2 image whose virtual machine is shut off
  luksmith.luks.keyslots:
    device: /var/lib/libvirt/images/mail.qcow2
    lock_timeout: 5
    keyslots:
      - old_secret: {passphrase: "{{ vault_mail_old }}"}
        new_secret: {passphrase: "{{ vault_mail }}"}
        iter_time: 1000

- name: Add a passphrase to a volume with a detached header
  luksmith.luks.keyslots:
    device: /dev/sdc
    header: /boot/sdc.header
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - new_secret: {label: spare, passphrase: "{{ vault_spare }}"}

- name: Add a passphrase to a volume whose only known key is the volume key itself
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - volume_key_file: /root/sdb.volume-key
    keyslots:
      - new_secret: {label: break-glass, passphrase: "{{ vault_break_glass }}"}

- name: Remove the installer's passphrase, because the Clevis binding is proven to open the volume
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - token: clevis
    keyslots:
      - state: absent
        old_secret: {label: installer, passphrase: "{{ vault_installer }}"}

- name: Bind the volume to the TPM of the machine (PCR 7) with a PIN, and remove the installer's passphrase
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    keyslots:
      - binding: {type: systemd-tpm2, pcrs: [7], pin: "{{ vault_tpm_pin }}"}
      - state: absent
        old_secret: {label: installer, passphrase: "{{ vault_installer }}"}

- name: Bind the volume to a Tang server whose signing key is known
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - binding:
          type: clevis
          pin: tang
          config: {url: "http://tang.example.com", thp: "{{ tang_thumbprint }}"}

- name: Remove every binding to the TPM, keyslots and tokens
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - state: absent
        binding: {type: systemd-tpm2}

- name: Overwrite keyslot 7, whichever secret opens it
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - keyslot: 7
        new_secret: {label: spare, passphrase: "{{ vault_spare }}"}
    force: true

- name: Replace the only known secret of a volume without a free keyslot
  luksmith.luks.keyslots:
    device: /dev/sdb
    keyslots:
      - new_secret: {label: admin 2026, passphrase: "{{ vault_admin_2026 }}"}
        old_secret: {label: admin 2025, passphrase: "{{ vault_admin_2025 }}"}
    backup_dir: /root/luks-copies

- name: Erase the last key (the data is lost forever)
  luksmith.luks.keyslots:
    device: /dev/sdb
    keyslots:
      - state: absent
        keyslot: 0
    allow_lockout: true
"""

RETURN = r"""
plan:
  description:
    - Actions in the order of their execution; in check mode, those that would be executed. Empty if nothing needs to
      change.
    - With O(devices), this value and all others of one volume are in RV(volumes) instead.
  returned: success, with O(device)
  type: list
  elements: dict
  contains:
    action:
      description:
        - V(add) a key, V(rekey) a keyslot, V(erase) a keyslot, V(finish-erase) what an interrupted run began,
          V(set-priority), or V(heal-header) to rewrite a damaged copy of the header. With O(backup_dir) also
          V(copy-header) before and V(remove-copy) after changes that have no safe order in the header alone.
      type: str
    keyslot:
      description: Number of the keyslot, or V(none) for the whole header.
      type: int
    label:
      description:
        - Label of the secret that opens the keyslot afterwards, or of the proven secret that is removed. Empty if it is
          not known.
      type: str
    reason:
      description: Why the action is needed, for people.
      type: str
  sample:
    - action: rekey
      keyslot: 0
      label: admin 2026
      reason: admin 2026 replaces admin 2025
    - action: erase
      keyslot: 1
      label: leaked
      reason: keyslots[1] wants leaked to open nothing
keyslots:
  description:
    - The keyslots afterwards; in check mode, those that the plan would leave. LUKS1 shows all eight keyslots, LUKS2 the
      active ones.
  returned: success, with O(device)
  type: list
  elements: dict
  contains:
    keyslot:
      description: Number of the keyslot.
      type: int
    state:
      description: V(active) or V(inactive).
      type: str
    bound:
      description: Whether the keyslot opens the data of the volume. A LUKS2 keyslot can hold a key for something else.
      type: bool
    priority:
      description: V(ignore), V(normal) or V(prefer).
      type: str
    kdf:
      description:
        - Key derivation of the keyslot. In check mode, V(set at apply) stands for a number that only the real run
          decides. Empty if the keyslot is inactive.
      type: dict
      contains:
        type:
          description: V(pbkdf2), V(argon2i), V(argon2id), or an unknown name as found in the header.
          type: str
        hash:
          description: Hash of PBKDF2.
          returned: for V(pbkdf2)
          type: str
        iterations:
          description: Iterations of PBKDF2.
          returned: for V(pbkdf2)
          type: int
        time:
          description: Passes of Argon2 over its memory.
          returned: for Argon2
          type: int
        memory:
          description: Memory of Argon2 in KiB.
          returned: for Argon2
          type: int
        parallel:
          description: Lanes of Argon2.
          returned: for Argon2
          type: int
    opened_by:
      description: Labels of the secrets that are proven to open the keyslot.
      type: list
      elements: str
    tried:
      description:
        - V(false) if not every secret was tried on the keyslot, because that was not needed or not possible. An empty
          RV(keyslots[].opened_by) then proves nothing.
      type: bool
    tokens:
      description: Types of the tokens of other programs that use the keyslot.
      type: list
      elements: str
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
    - bound: true
      kdf:
        hash: sha256
        iterations: 1000
        type: pbkdf2
      keyslot: 2
      opened_by: []
      priority: normal
      state: active
      tokens: []
      tried: true
diff:
  description:
    - Tables of the keyslots before and after, as text, as shown with C(--diff).
    - With O(devices), a list with one item for each volume that was not refused.
  returned: success
  type: dict
  contains:
    before_header:
      description: The path as given.
      type: str
    before:
      description: The table before.
      type: str
    after_header:
      description: The path as given.
      type: str
    after:
      description: The table after.
      type: str
  sample:
    before_header: /dev/nvme0n1p3
    before: |
      LUKS2 4b543c86-7353-47b9-b355-d0ef03989991
      keyslot  opened by                         key derivation
      0        admin 2025                        argon2id, 4 passes, 65536 KiB, 2 lanes
      1        leaked                            argon2id, 4 passes, 65536 KiB, 2 lanes
      2        (not opened by any given secret)  pbkdf2-sha256, 1000 iterations
    after_header: /dev/nvme0n1p3
    after: |
      LUKS2 4b543c86-7353-47b9-b355-d0ef03989991
      keyslot  opened by                         key derivation
      0        admin 2026                        argon2id, 4 passes, 65536 KiB, 2 lanes
      2        (not opened by any given secret)  pbkdf2-sha256, 1000 iterations
uuid:
  description: UUID of the volume.
  returned: success, with O(device)
  type: str
  sample: 4b543c86-7353-47b9-b355-d0ef03989991
type:
  description: V(luks1) or V(luks2).
  returned: success, with O(device)
  type: str
  sample: luks2
container:
  description: Whether the header is at the start of the device or file (V(raw)) or inside a qcow2 image (V(qcow2)).
  returned: success, with O(device)
  type: str
  sample: raw
via:
  description: How the change is made, if not by this module itself. V(qmp) is by the QEMU that has the image open.
  returned: if something changes and O(qmp) was needed
  type: str
  sample: qmp
verified:
  description: Whether the secrets were tried. V(false) only with O(verify=record).
  returned: success, with O(device)
  type: bool
  sample: true
tokens_asked:
  description: The tokens that yielded a secret which opens a keyslot of theirs.
  returned: with O(device), if O(unlock) has a token
  type: list
  elements: dict
  contains:
    label:
      description: Label of the item of the task.
      type: str
    token:
      description: Number of the token; with LUKS1, of the keyslot.
      type: int
    type:
      description: Type of the token.
      type: str
    keyslots:
      description: The keyslots that the secret opens.
      type: list
      elements: int
  sample:
    - {label: tang, token: 1, type: clevis, keyslots: [1]}
chain:
  description:
    - The other files of a qcow2 image, backing files beneath it and external data files; and with O(header) the device,
      if it has a LUKS header of its own. A change of the volume changes nothing in them.
  returned: with O(device), if there are any
  type: list
  elements: dict
  contains:
    path:
      description: The path; of an address or a description in JSON only the protocol.
      type: str
    role:
      description: V(backing), V(data) or V(device).
      type: str
    format:
      description: V(qcow2), V(raw) or what the image says.
      type: str
    encrypted:
      description: Whether what it holds is encrypted, V(none) if that is not known.
      type: bool
    opened_by:
      description: Labels of the secrets of the task that open one of its own keyslots.
      type: list
      elements: str
    unknown:
      description: Its own keyslots that none of these opens.
      returned: if it is encrypted and was looked at
      type: list
      elements: int
    why_untried:
      description: Why it, or a keyslot of it, was not looked at.
      returned: if so
      type: str
  sample:
    - {path: /srv/base.qcow2, role: backing, format: qcow2, encrypted: true, opened_by: [leaked], unknown: [1]}
kdf_evaluations:
  description:
    - Number of keys that were derived from secrets, for a trial or for a new keyslot. They take most of the time.
    - It is the smallest number that proves the result. No secret is tried twice on a keyslot, or on a keyslot that
      another secret is known to open. A search for a wanted secret uses all idle processor cores after its first
      keyslot, which can add up to one derivation less than there are cores.
    - Where only a volume key unlocks and no costs are given, one derivation more is measured for the costs.
    - The comparisons of a volume key with its digest do not count. Each trial has one until a secret opens the volume.
  returned: success
  type: int
  sample: 7
volumes:
  description: One result for each volume, with the values above, its own C(changed) and its own C(warnings).
  returned: with O(devices)
  type: list
  elements: dict
  contains:
    device:
      description: The path as given.
      type: str
    also:
      description: Other given paths that lead to the same volume.
      returned: if there are any
      type: list
      elements: str
    status:
      description:
        - V(unchanged), V(done), V(refused) if an error prevented every change, or V(partial) if an error came after a
          change.
      type: str
    msg:
      description: What went wrong.
      returned: on failure
      type: str
  sample:
    - also:
        - /dev/disk/by-partlabel/data
      changed: true
      container: raw
      device: /dev/nvme0n1p3
      diff:
        after: |
          LUKS2 4b543c86-7353-47b9-b355-d0ef03989991
          keyslot  opened by                         key derivation
          0        admin 2026                        argon2id, 4 passes, 65536 KiB, 2 lanes
          1        (not opened by any given secret)  argon2id, 4 passes, 65536 KiB, 2 lanes
        after_header: /dev/nvme0n1p3
        before: |
          LUKS2 4b543c86-7353-47b9-b355-d0ef03989991
          keyslot  opened by                         key derivation
          0        admin 2025                        argon2id, 4 passes, 65536 KiB, 2 lanes
          1        (not opened by any given secret)  argon2id, 4 passes, 65536 KiB, 2 lanes
        before_header: /dev/nvme0n1p3
      kdf_evaluations: 4
      keyslots:
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
        - bound: true
          kdf:
            memory: 65536
            parallel: 2
            time: 4
            type: argon2id
          keyslot: 1
          opened_by: []
          priority: normal
          state: active
          tokens: []
          tried: true
      plan:
        - action: rekey
          keyslot: 0
          label: admin 2026
          reason: admin 2026 replaces admin 2025
      status: done
      type: luks2
      uuid: 4b543c86-7353-47b9-b355-d0ef03989991
      verified: true
      warnings: []
    - changed: false
      device: /dev/sdb
      failed: true
      kdf_evaluations: 0
      msg: >-
        /dev/sdb: It begins with zeros, not with a LUKS header. Check the path; this collection never formats a device.
        Nothing was changed.
      status: refused
actions_done:
  description: The actions of the plan that were done before the error. With O(devices) it is in RV(volumes).
  returned: on failure after something was written
  type: list
  elements: dict
  sample:
    - action: add
      keyslot: 1
      label: admin 2026
      reason: admin 2026 opens no keyslot
actions_left:
  description: The actions of the plan that were not done. Run the task again, which finishes what was begun.
  returned: on failure after something was written
  type: list
  elements: dict
  sample:
    - action: erase
      keyslot: 0
      label: leaked
      reason: keyslots[1] wants leaked to open nothing
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.fips import choose as choose_fips
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import (
    Spec,
    any_entry_options,
    unlocking,
    volume_options,
)
from ansible_collections.luksmith.luks.plugins.module_utils._module.luks_device import HINTS
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule

LEAVES = (
    "A change that had begun is noted in the header where it needs finishing, and every volume still opens. "
    "Run the same task again: it finishes what was begun."
)


def argument_spec() -> Spec:
    return {
        "device": {"type": "path"},
        "devices": {"type": "list", "elements": "path"},
        **volume_options(),
        "unlock": {**unlocking(), "default": []},
        "keyslots": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "no_log": False,
            "options": any_entry_options(),
        },
        "purge": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "allow_lockout": {"type": "bool", "default": False},
        "backup_dir": {"type": "path"},
        "record": {"type": "bool", "default": True},
        "verify": {"type": "str", "choices": ["proof", "record"], "default": "proof"},
        "rederive": {"type": "bool", "default": False},
        "wipe": {"type": "str", "choices": ["auto", "single", "multiple"], "default": "auto"},
        "qmp": {"type": "path"},
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    choose_fips(module.params["fips"])
    task = parse_task(module.params)
    try:
        return amend(task, check=module.check_mode)
    finally:
        task.wipe_secrets()


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True, hints=HINTS)
    run_module(module, lambda: work(module), leaves=LEAVES)


if __name__ == "__main__":
    main()
