#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keyslots_info
short_description: Show the keyslots of a LUKS volume and which secrets open them
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Shows the whole content of the header of a LUKS1 or LUKS2 volume. That needs neither a secret nor cryptsetup.
  - With O(secrets), every secret is tried on every keyslot, including keyslots that are ignored at boot or not bound to
    the volume.
  - "A task that finds what a passphrase opens is C(luksmith.luks.keyslots_info: {device: /dev/sdb, secrets:
    [{passphrase: SECRET}]})."
  - Works on block devices, raw image files, qcow2 images with LUKS encryption and detached headers. Never writes.
  - docs/options.md in the collection has the options at length.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.actiongroup
  - luksmith.luks._attributes.info
  - luksmith.luks._secret.tried
  - luksmith.luks._volume
options:
  device:
    description:
      - Path of the volume on the managed host, a block device or an image file; or C(UUID=...) as in crypttab.
    type: path
    required: true
  secrets:
    description:
      - Secrets to try. Each one costs a key derivation for every keyslot that no secret before it opens.
      - A secret that opens no keyslot is not an error.
      - A volume key costs no key derivation. It opens no keyslot, and RV(volume_keys) says whether it is the one of the
        volume. What a token yields is tried on the keyslots of the token.
    type: list
    elements: dict
    default: []
seealso:
  - module: luksmith.luks.keyslots
"""

EXAMPLES = r"""
- name: Show the header
  luksmith.luks.keyslots_info:
    device: /dev/nvme0n1p3
  register: volume

- name: List the keyslots that still use PBKDF2
  ansible.builtin.debug:
    msg: >-
      {{ volume.keyslots | selectattr('state', '==', 'active')
      | selectattr('kdf.type', '==', 'pbkdf2') | map(attribute='keyslot') }}

- name: Check that the escrowed passphrase still opens the volume
  luksmith.luks.keyslots_info:
    device: /dev/nvme0n1p3
    secrets:
      - {label: escrow, passphrase: "{{ vault_escrow }}"}
  register: volume
  failed_when: not volume.opened_by.escrow

- name: List the keyslots that other programs changed since this collection last wrote to the header
  ansible.builtin.debug:
    msg: "{{ volume.header.record | rejectattr('current') | map(attribute='label') }}"

- name: Show the header of a volume with a detached header
  luksmith.luks.keyslots_info:
    device: /dev/sdc
    header: /boot/sdc.header
"""

RETURN = r"""
keyslots:
  description: The keyslots. LUKS1 shows all eight, LUKS2 the active ones.
  returned: success
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
        - Key derivation of the keyslot. Empty if the keyslot is inactive.
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
      description: Labels of the secrets that open the keyslot.
      type: list
      elements: str
    tried:
      description:
        - V(false) if the keyslot could not be tried, or no secret was given. An empty RV(keyslots[].opened_by) then
          proves nothing.
      type: bool
    why_untried:
      description: Why no secret can be tried here (a cipher that no library of this host has) and what to do about it.
      returned: when the keyslot cannot be tried on this host
      type: str
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
opened_by:
  description: For each label, the keyslots that the secret opens.
  returned: success
  type: dict
  sample:
    admin 2026:
      - 0
header:
  description: The rest of the header. Offsets are in bytes from the start of the header, sizes in bytes.
  returned: success
  type: dict
  contains:
    version:
      description: V(1) or V(2).
      type: int
    uuid:
      description: UUID of the volume.
      type: str
    label:
      description: Label of a LUKS2 volume, else empty.
      type: str
    subsystem:
      description: Subsystem label of a LUKS2 volume, else empty.
      type: str
    cipher:
      description: Cipher of the data.
      type: str
    key_size:
      description: Size of the volume key in bytes.
      type: int
    slot_count:
      description: Number of keyslots of the format.
      type: int
    free_keyslots:
      description: Number of free keyslots.
      type: int
    size:
      description: Size of the area for header and key material, in bytes.
      type: int
    copies:
      description: State of each copy of the header, V(ok) or what is wrong with it. LUKS1 has only C(primary).
      type: dict
    requirements:
      description: Requirements that a LUKS2 header sets for programs that use it.
      type: list
      elements: str
    unfinished:
      description:
        - What an interrupted run of M(luksmith.luks.keyslots) left to do, or V(none). The next run that writes finishes
          it. C(kind), C(keyslot) and C(via) are from the header. C(says) is a sentence on how the next run ends it,
          which is also a warning.
      type: dict
    write_obstacle:
      description: Why M(luksmith.luks.keyslots) would refuse every change, or V(none).
      type: str
    areas:
      description:
        - Place and format of the key material of each active keyslot. C(fingerprint) changes whenever the keyslot is
          written.
      type: list
      elements: dict
    segments:
      description: Where the data is and how it is encrypted. A size of V(none) extends to the end of the device.
      type: list
      elements: dict
    digests:
      description: The digests of the volume keys, without their values.
      type: list
      elements: dict
    tokens:
      description:
        - The tokens of a LUKS2 header. C(ours) are those of this collection.
        - Those of systemd and Clevis are decoded. C(says) is a description for people, C(problem) why a token is not
          what its type says, C(asks_for_pin) whether its device wants a PIN. TPM2 has C(pcrs) and C(pcr_bank), Clevis
          C(pin) and the C(urls) of its servers. It shows what the token says, not whether it unlocks.
      type: list
      elements: dict
    record:
      description:
        - What this collection recorded about the keyslots (label, time of the last change). C(current) is V(false) if
          another program has changed the keyslot since.
      type: list
      elements: dict
  sample:
    areas:
      - af_hash: sha256
        digests:
          - 0
        encryption: aes-xts-plain64
        fingerprint: c27aaf2634b4081eb12e7f29a0abc0bc
        key_size: 64
        keyslot: 0
        kind: luks2
        offset: 806912
        size: 258048
        stripes: 4000
    cipher: aes-xts-plain64
    copies:
      primary: ok
      secondary: ok
    digests:
      - hash: sha256
        iterations: 1000
        keyslots:
          - 0
          - 2
        number: 0
        segments:
          - 0
        type: pbkdf2
    free_keyslots: 30
    key_size: 64
    label: ""
    record:
      - changed: "2026-11-24T01:04:41Z"
        current: true
        keyslot: 0
        label: admin 2026
    requirements: []
    segments:
      - encryption: aes-xts-plain64
        flags: []
        number: 0
        offset: 16777216
        sector_size: 4096
        size: null
        type: crypt
    size: 16777216
    slot_count: 32
    subsystem: ""
    tokens:
      - keyslots: []
        number: 1
        ours: true
        type: luksmith.luks-record
    unfinished: null
    uuid: 4b543c86-7353-47b9-b355-d0ef03989991
    version: 2
    write_obstacle: null
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
  description: Label of each given volume key, and whether it is the one of the volume by the digest in the header.
  returned: if a volume key is given
  type: dict
  sample: {dump: true}
tokens_asked:
  description: The tokens that yielded a secret which opens a keyslot of theirs.
  returned: if O(secrets) has a token
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
  returned: if there are any
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
  description: Number of keys that were derived.
  returned: success
  type: int
  sample: 2
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.fips import choose as choose_fips
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import NOTHING_CHANGED
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import Spec, unlocking, volume_options
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule


def argument_spec() -> Spec:
    return {
        "device": {"type": "path", "required": True},
        **volume_options(),
        "secrets": {**unlocking(), "default": []},
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    choose_fips(module.params["fips"])
    task = parse_info(module.params)
    try:
        return inspect(task)
    finally:
        task.wipe_secrets()


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=NOTHING_CHANGED)


if __name__ == "__main__":
    main()
