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
  - Describe which secrets open a volume and which do not. The module proves what is true now, makes the smallest plan that gets
    there, and carries it out so that a crash at any moment leaves a volume that opens.
  - Works on block devices, raw image files, qcow2 images with LUKS encryption and detached headers, on LUKS1 and LUKS2.
    Neither cryptsetup nor QEMU is needed on the managed host.
  - One task describes the final state of all keyslots that it mentions. The order of the entries does not matter, keys are added before
    others are erased, and entries that contradict each other are refused before anything is written.
  - Whether a secret opens a keyslot is always shown by deriving the key from it, unless O(verify=record) is chosen.
  - This module never formats. What is not a LUKS header that can be read is an error which says what was found there.
  - Every refusal says what was found, why it is unsafe, and what to do. Nothing is changed then.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.actiongroup
  - luksmith.luks._volume
attributes:
  check_mode:
    support: full
    details:
      - Makes the same plan as the real run, with the same key derivations, and shows it. Costs that would only be measured are shown as
        V(set at apply).
      - Warns when another program holds a lock that the real run would have to wait for.
  diff_mode:
    support: full
    details:
      - The difference of two tables of keyslots. It never contains secrets. It is the same in check mode and in the real run.
  idempotent:
    support: full
options:
  device:
    description:
      - Path of the volume on the managed host, a block device or an image file.
      - Exactly one of O(device) and O(devices) is required.
    type: path
  devices:
    description:
      - Paths of several volumes that are to have the same desired state.
      - Every volume is planned and changed by itself. If one fails, the others are done all the same, and the task fails at the end.
      - Two paths that lead to one header, such as a symbolic link, or a loop device and its file, are one volume.
    type: list
    elements: path
  unlock:
    description:
      - Secrets that open the volume today. They are tried where the volume key is needed, which is for every new key and for nothing else.
      - They need not open every volume. That none of them opens one is an error only if something has to be added there.
      - They also prove that a keyslot stays usable when others are erased. See O(allow_lockout).
      - The old and new secrets of O(keyslots) count as well, so that they need no repetition here.
    type: list
    elements: dict
    default: []
    suboptions: &secret
      label:
        description:
          - A name for the secret, used in results, messages and differences. On LUKS2 it is also stored in the header if O(record=true).
          - A label is not secret. Two secrets must not share one. Without it, the place in the task is the name, such as V(keyslots[0].new_secret).
        type: str
      passphrase:
        description:
          - The secret as text, used as UTF-8 to the byte. A newline at its end is a part of it, which causes a warning.
          - Numbers, booleans and lists are refused, because there is more than one way to write them as text. Put them in quotes.
          - Exactly one of this option, the one with base64 and the one for a keyfile is required in each secret.
        type: raw
      passphrase_base64:
        description:
          - The secret as base64 of its bytes, for secrets that are not text. It must have no line breaks, as the
            P(ansible.builtin.b64encode#filter) filter writes it.
        type: raw
      keyfile:
        description:
          - Path of a regular file or block device on the managed host whose bytes are the secret, with every newline and NUL byte in it.
          - At most 8 MiB are read unless a size is given, as with C(cryptsetup --key-file).
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
  keyslots:
    description:
      - The desired state. At least one entry is needed.
      - The entries are judged together, so that their order does not matter.
    type: list
    elements: dict
    required: true
    suboptions:
      state:
        description:
          - V(present) with O(keyslots[].new_secret) - some keyslot opens with it. Otherwise it is added to the first free one.
          - V(present) with O(keyslots[].keyslot) and O(keyslots[].new_secret) - that keyslot opens with it. If it is free, the secret is added there.
            If it is in use, it gets the new secret when O(keyslots[].old_secret) opens it, or when a secret of O(unlock) does that no other
            entry wants to keep.
            Otherwise the task is refused. See O(force).
          - V(present) with O(keyslots[].old_secret) and O(keyslots[].new_secret) - the new secret opens the volume and the old one does not.
            Every keyslot that the old one opens gets the new one and keeps its number. If the new one opens a keyslot already, those of the
            old one are erased.
            If neither opens any, the task is refused, unless another entry provides the new secret.
          - V(present) with O(keyslots[].keyslot), O(keyslots[].old_secret) and O(keyslots[].new_secret) - as before, for that keyslot only.
          - V(absent) with O(keyslots[].keyslot) - that keyslot is inactive. Otherwise it is erased, whoever it belongs to.
          - V(absent) with O(keyslots[].old_secret) - the secret opens no keyslot. Every one that it opens is erased.
          - V(absent) with O(keyslots[].keyslot) and O(keyslots[].old_secret) - that keyslot does not open with the secret. If it does, it is erased.
        type: str
        choices:
          - present
          - absent
        default: present
      keyslot:
        description:
          - Number of the keyslot, V(0) to V(7) on LUKS1 and V(0) to V(31) on LUKS2.
        type: int
      new_secret:
        description:
          - The secret that is to open the volume. It must not be empty.
          - Required with O(keyslots[].state=present), refused with O(keyslots[].state=absent).
        type: dict
        suboptions: *secret
      old_secret:
        description:
          - The secret that is to be replaced or erased. It may be empty, so that an empty one can be removed.
          - It may be the same as O(keyslots[].new_secret) only to change the costs in O(keyslots[].pbkdf).
        type: dict
        suboptions: *secret
      iter_time:
        description:
          - How long it may take to try the new secret, in milliseconds, as a wish. It is measured with the derivation that opened the
            volume, not with a benchmark.
          - This decides the costs of a key that is written anyway. It never causes a change by itself. Use O(keyslots[].pbkdf) for that.
          - Without it and without O(keyslots[].pbkdf), a new key costs what the replaced or the opening keyslot costs, if that is at least V(600000)
            iterations of PBKDF2, or V(4) passes of Argon2 over V(65536) KiB. Otherwise it costs so much that it takes about V(2000)
            milliseconds, and never less than that.
        type: int
      pbkdf:
        description:
          - Explicit costs of the key derivation. If a keyslot that the secret opens today has another type or hash, or lower costs than
            given here, it is
            made again with these. Higher costs than given are left alone.
          - A cost that only one kind of derivation has implies its type.
        type: dict
        suboptions:
          type:
            description:
              - The derivation. LUKS1 knows only V(pbkdf2).
              - Without it, V(pbkdf2) if a hash or iterations are given, V(argon2id) if time, memory or parallel are given. Else it is not
                compared, and a new key uses that of the
                keyslot which it replaces or which opened the volume.
            type: str
            choices:
              - pbkdf2
              - argon2i
              - argon2id
          hash:
            description:
              - Hash of PBKDF2, such as V(sha256) or V(sha512). On LUKS1 it can only be that of the header.
            type: str
          iterations:
            description:
              - Iterations of PBKDF2, at least V(1000).
            type: int
          time:
            description:
              - Passes of Argon2 over its memory, at least V(4) as with cryptsetup.
            type: int
          memory:
            description:
              - Memory of Argon2 in KiB, V(32) to V(4194304), and at least V(8) for each lane.
            type: int
          parallel:
            description:
              - Lanes of Argon2, V(1) to V(4).
            type: int
      priority:
        description:
          - How willingly other programs try the keyslot. V(prefer) is tried first, V(ignore) only when it is named. LUKS2 only.
          - Without it, a keyslot keeps its priority, but one with V(ignore) is set to V(normal), because else it would not open the volume at boot.
        type: str
        choices:
          - ignore
          - normal
          - prefer
  purge:
    description:
      - Exactly these. Every keyslot that no entry claims is erased, duplicates of a wanted secret included.
      - Keyslots that are used by tokens of other programs (such as TPM2, FIDO2, Clevis), that belong to no volume, or that could not be
        tried stay, with a
        warning. Erase those by number with an entry of their own.
    type: bool
    default: false
  force:
    description:
      - Give a keyslot that is named by an entry to its new secret, even if nobody proved what is in it.
      - This is no consent to losing access. See O(allow_lockout).
    type: bool
    default: false
  allow_lockout:
    description:
      - Consent to erasing keyslots although no secret of the task is then proven to open any other one, so that the data may be lost for ever.
    type: bool
    default: false
  record:
    description:
      - Write down in the LUKS2 header, in a token of this collection, the labels of the keyslots and when they were changed.
        The next run then knows which keyslot to try first, and M(luksmith.luks.keyslots_info) sees which ones others changed.
      - The record is only written together with another change. LUKS1 has no place for it. There, the salt of a new key tells which
        keyslot to try first to whoever knows its label.
    type: bool
    default: true
  verify:
    description:
      - V(proof) tries the secrets.
      - V(record) believes the record in a LUKS2 header where it says that nothing needs to change, so that no key is derived. The result is
        marked as unverified, because the
        record can be forged and does not see a damaged keyslot. As soon as anything needs to change, the secrets are tried as with V(proof).
    type: str
    choices:
      - proof
      - record
    default: proof
  rederive:
    description:
      - Derive the key of every new keyslot a second time from the secret and compare, before anything is written. A fault of memory or
        processor during the derivation would else make a keyslot that never opens.
      - This costs one derivation more for each key. Without it, new key material is still read back from the medium and opened with the
        derived key.
    type: bool
    default: false
  wipe:
    description:
      - How the key material of an erased key is overwritten. Each pass reaches the device before the next one begins, and the last one is read back.
      - V(single) - once with random bytes. This is what is possible on solid state disks and in files.
      - V(multiple) - 40 times, as cryptsetup and QEMU do, for rotating disks.
      - V(auto) - V(multiple) on a rotating disk, else V(single).
    type: str
    choices:
      - auto
      - single
      - multiple
    default: auto
notes:
  - Erasing a key does not revoke old copies of the header. Who has a backup, a snapshot or an image from before and the old secret still
    opens the data.
    Only encrypting the data again with another volume key helps against that.
  - Secrets are never in the result, in a difference or in an error. But Ansible itself writes module arguments to a temporary file on the
    managed host unless pipelining is on,
    so turn it on (C(ANSIBLE_PIPELINING=true)), or give secrets as keyfiles.
  - A passphrase that must be typed at boot should not end in a newline and should consist of characters that every keyboard layout has in
    the same place.
  - QEMU accepts only secrets that are UTF-8 without NUL bytes. A warning tells if a new secret of a LUKS1 volume is none.
  - A secret is the same secret if it has the same bytes, wherever it stands in the task and whatever it is called.
  - LUKS1 has no checksum and no second copy of its header. If power fails while one of its sectors is torn, the volume can be lost. Keep a
    backup of the header.
seealso:
  - module: luksmith.luks.keyslots_info
  - module: community.crypto.luks_device
    description: Formats, opens and closes LUKS devices with cryptsetup.
"""

EXAMPLES = r"""
- name: A passphrase opens the volume (in whichever keyslot)
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_installer }}"
    keyslots:
      - new_secret: {label: admin, passphrase: "{{ vault_admin }}"}

- name: It is in keyslot 3
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_installer }}"
    keyslots:
      - keyslot: 3
        new_secret: {label: admin, passphrase: "{{ vault_admin }}"}

- name: Rotate a passphrase wherever it is, and show the plan first with --check --diff
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    keyslots:
      - old_secret: {label: admin 2025, passphrase: "{{ vault_admin_old }}"}
        new_secret: {label: admin 2026, passphrase: "{{ vault_admin }}"}

- name: Replace the key in keyslot 0 only if it is the old one
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    keyslots:
      - keyslot: 0
        old_secret: {passphrase: "{{ vault_admin_old }}"}
        new_secret: {passphrase: "{{ vault_admin }}"}

- name: A leaked passphrase opens nothing any more
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_admin }}"  # the proof that another keyslot stays usable
    keyslots:
      - state: absent
        old_secret: {label: leaked, passphrase: "{{ vault_leaked }}"}

- name: Keyslot 5 is free
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - state: absent
        keyslot: 5

- name: Keyslot 5 does not open with the old passphrase (if it holds another one, that stays)
  luksmith.luks.keyslots:
    device: /dev/nvme0n1p3
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - state: absent
        keyslot: 5
        old_secret: {passphrase: "{{ vault_admin_old }}"}

- name: Exactly these two, on all volumes of the host
  luksmith.luks.keyslots:
    devices:
      - /dev/nvme0n1p3
      - /dev/sdb
    keyslots:
      - new_secret: {label: admin, passphrase: "{{ vault_admin }}"}
      - new_secret: {label: boot, keyfile: /etc/cryptsetup-keys.d/data.key}
    purge: true

- name: A binary key from a vault, without a file on the host
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - new_secret: {label: escrow, passphrase_base64: "{{ vault_escrow_base64 }}"}

- name: A key of 64 bytes at the end of a USB stick, 512 bytes behind its start
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - new_secret: {label: usb, keyfile: /dev/disk/by-id/usb-stick, keyfile_offset: 512, keyfile_size: 64}

- name: Make the derivation of a passphrase at least this expensive (the secret stays, a cheap keyslot is made again)
  luksmith.luks.keyslots:
    device: /dev/sdb
    keyslots:
      - new_secret: {label: admin, passphrase: "{{ vault_admin }}"}
        pbkdf: {type: argon2id, time: 4, memory: 1048576, parallel: 4}

- name: A break-glass key that is not tried at boot
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - new_secret: {label: break-glass, keyfile: /root/break-glass.key}
        priority: ignore

- name: A qcow2 image of a virtual machine that is shut off
  luksmith.luks.keyslots:
    device: /var/lib/libvirt/images/mail.qcow2
    lock_timeout: 5
    keyslots:
      - old_secret: {passphrase: "{{ vault_mail_old }}"}
        new_secret: {passphrase: "{{ vault_mail }}"}
        iter_time: 1000

- name: A volume with a detached header
  luksmith.luks.keyslots:
    device: /dev/sdc
    header: /boot/sdc.header
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - new_secret: {label: spare, passphrase: "{{ vault_spare }}"}

- name: Overwrite keyslot 7, whoever it belonged to
  luksmith.luks.keyslots:
    device: /dev/sdb
    unlock:
      - passphrase: "{{ vault_admin }}"
    keyslots:
      - keyslot: 7
        new_secret: {label: spare, passphrase: "{{ vault_spare }}"}
    force: true

- name: Destroy the last key (the data is lost for ever)
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
    - What was done, or would be done in check mode, in this order. Empty if the volume is as desired.
    - With O(devices) this and all values of one volume are in RV(volumes) instead.
  returned: success, with O(device)
  type: list
  elements: dict
  contains:
    action:
      description:
        - V(add) a key, V(rekey) a keyslot, V(erase) one, V(finish-erase) what an interrupted run began, V(set-priority),
          or V(heal-header) to write a damaged copy of the header again.
      type: str
    keyslot:
      description: The keyslot, or V(none) for the header as a whole.
      type: int
    label:
      description: Of the secret that opens the keyslot afterwards, or of the proven one that goes away. Empty if nobody knows.
      type: str
    reason:
      description: Why, for people.
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
    - The keyslots afterwards. In check mode those that the plan would leave. LUKS1 shows all eight, LUKS2 the active ones.
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
      description: Whether it opens the data of the volume. A LUKS2 keyslot can hold a key for something else.
      type: bool
    priority:
      description: V(ignore), V(normal) or V(prefer).
      type: str
    kdf:
      description:
        - What it costs to try a secret. In check mode, V(set at apply) stands for a number that only the real run will decide. Empty if inactive.
      type: dict
      contains:
        type:
          description: V(pbkdf2), V(argon2i), V(argon2id), or the foreign name that was found.
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
      description: Labels of the secrets that are proven to open it.
      type: list
      elements: str
    tried:
      description: V(false) if not every secret was tried on it, as there was no need or no way. An empty RV(keyslots[].opened_by) then proves nothing.
      type: bool
    tokens:
      description: Types of the tokens of other programs that use it.
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
    - The tables of keyslots before and after, as text, as they are shown with C(--diff).
    - With O(devices) a list with one for each volume that was not refused.
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
verified:
  description: Whether the secrets were tried. V(false) only with O(verify=record).
  returned: success, with O(device)
  type: bool
  sample: true
kdf_evaluations:
  description:
    - How many keys of keyslots were derived from secrets, for a trial or for a new keyslot. This is where the time goes.
    - It is the smallest number that proves the result. No secret is tried twice on a keyslot, and none where another one is known to open it.
      Where a wanted secret has to be searched for, the keyslots behind the first are tried on all idle processor cores at once, so that up to
      one less than there are cores may be counted more than one core would need.
    - The comparisons of a volume key with its digest are not counted. There is one with each trial until one opens.
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
        - V(unchanged), V(done), V(refused) if nothing was changed because of an error, or V(partial) if an error came after a change.
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
        /dev/sdb: It begins with zeros, not with a LUKS header. Check the path; this collection never formats a device. Nothing was changed.
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

from ..module_utils._luks.task.parse import parse_task
from ..module_utils._luks.usecases.amend import amend
from ..module_utils._module.argument_spec import Spec, secret, secrets, volume_options
from ..module_utils._module.runner import run_module
from ..module_utils._module.safe_module import SafeModule

LEAVES = (
    "A change that had begun is noted in the header where it needs finishing, and every volume still opens. "
    "Run the same task again: it finishes what was begun."
)


def argument_spec() -> Spec:
    return {
        "device": {"type": "path"},
        "devices": {"type": "list", "elements": "path"},
        **volume_options(),
        "unlock": {**secrets(), "default": []},
        "keyslots": {"type": "list", "elements": "dict", "required": True, "no_log": False, "options": entry_options()},
        "purge": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "allow_lockout": {"type": "bool", "default": False},
        "record": {"type": "bool", "default": True},
        "verify": {"type": "str", "choices": ["proof", "record"], "default": "proof"},
        "rederive": {"type": "bool", "default": False},
        "wipe": {"type": "str", "choices": ["auto", "single", "multiple"], "default": "auto"},
    }


def entry_options() -> Spec:
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "keyslot": {"type": "int", "no_log": False},
        "new_secret": secret(),
        "old_secret": secret(),
        "iter_time": {"type": "int"},
        "pbkdf": {
            "type": "dict",
            "options": {
                "type": {"type": "str", "choices": ["pbkdf2", "argon2i", "argon2id"]},
                "hash": {"type": "str"},
                "iterations": {"type": "int"},
                "time": {"type": "int"},
                "memory": {"type": "int"},
                "parallel": {"type": "int"},
            },
        },
        "priority": {"type": "str", "choices": ["ignore", "normal", "prefer"]},
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    task = parse_task(module.params)
    try:
        return amend(task, check=module.check_mode)
    finally:
        task.wipe_secrets()


def main() -> None:
    module = SafeModule(
        argument_spec=argument_spec(),
        mutually_exclusive=[("device", "devices"), ("header", "devices")],
        required_one_of=[("device", "devices")],
        supports_check_mode=True,
    )
    run_module(module, lambda: work(module), leaves=LEAVES)


if __name__ == "__main__":
    main()
