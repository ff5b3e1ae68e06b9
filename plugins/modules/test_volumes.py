#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: test_volumes
short_description: Make small LUKS volumes in every state that a role can meet, for tests
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Makes real LUKS volumes as small sparse files, to test roles and playbooks that use this collection.
  - It needs neither root nor cryptsetup nor QEMU.
  - "A task that makes a volume with two passphrases is C(luksmith.luks.test_volumes: {volumes: [{path: /tmp/data.img,
    secrets: [{passphrase: one}, {passphrase: two}]}]})."
  - The role P(luksmith.luks.test_volumes#role) uses it. The file docs/testing_your_role.md of the collection shows how.
  - Only new files are written. If one volume of a task cannot be made, the files of all its volumes are removed again.
  - Everybody can compute the volume key from the UUID, and the key derivations are cheap, so that these volumes protect
    nothing.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - The volumes are new.
  idempotent:
    support: partial
    details:
      - With O(volumes[].state=present) a second run is refused, because the files exist.
options:
  fips:
    description:
      - As O(luksmith.luks.keyslots#module:fips).
    type: str
    choices:
      - auto
      - require
      - ignore
    default: auto
  volumes:
    description:
      - The volumes. An empty list is an error, because a test without a volume tests nothing.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description:
          - Path of the image. The folder must exist.
        type: path
        required: true
      header:
        description:
          - Path of a detached header. O(volumes[].path) is then the file for the data.
        type: path
      state:
        description:
          - V(present) makes the volume. A file that exists is an error.
          - V(absent) removes it and its detached header. A file that is not a volume for tests is an error and stays.
        type: str
        choices:
          - present
          - absent
        default: present
      format:
        description:
          - V(luks1) and V(luks2) are raw images. V(qcow2) is a qcow2 image with LUKS encryption.
        type: str
        choices:
          - luks2
          - luks1
          - qcow2
        default: luks2
      secrets:
        description:
          - Secrets that open the volume, each one a keyslot, in this order from keyslot 0 on. LUKS2 takes up to 32,
            LUKS1 and qcow2 up to 8.
          - Use O(volumes[].keyslots) for keyslots that are more than that.
          - The default is the passphrases C(winter-2025) (label C(leaked)) in keyslot 0 and C(in-case-of-fire) (label
            C(break-glass)) in keyslot 1.
        type: list
        elements: dict
        suboptions: &secret
          label:
            description:
              - Name of the secret in messages.
            type: str
          passphrase:
            description:
              - The secret as text, used as its UTF-8 bytes.
            type: raw
          passphrase_base64:
            description:
              - The secret in base64.
            type: raw
          keyfile:
            description:
              - Path of a file on the managed host that holds the secret.
            type: path
          keyfile_offset:
            description:
              - Offset of the secret in the keyfile, in bytes.
            type: int
          keyfile_size:
            description:
              - Length of the secret in the keyfile, in bytes.
            type: int
      keyslots:
        description:
          - Keyslots of the volume, instead of O(volumes[].secrets).
        type: list
        elements: dict
        suboptions:
          keyslot:
            description:
              - Number of the keyslot. The default is the lowest one that no item names.
            type: int
          secret:
            description:
              - Secret that opens the keyslot. The default is a random one that is forgotten, for keyslots of a token.
            type: dict
            suboptions: *secret
          pbkdf: &pbkdf
            description:
              - Key derivation, as in O(luksmith.luks.keyslots#module:keyslots[].pbkdf).
              - The default is the least that the format allows, which is 1000 iterations of PBKDF2 for LUKS1 and qcow2,
                and 4 passes of Argon2id over 32 KiB for LUKS2.
            type: dict
            suboptions:
              type:
                description:
                  - V(argon2id), V(argon2i) or V(pbkdf2).
                type: str
                choices:
                  - pbkdf2
                  - argon2i
                  - argon2id
              hash:
                description:
                  - Hash of PBKDF2.
                type: str
              iterations:
                description:
                  - Iterations of PBKDF2.
                type: int
              time:
                description:
                  - Passes of Argon2 over its memory.
                type: int
              memory:
                description:
                  - Memory of Argon2 in KiB.
                type: int
              parallel:
                description:
                  - Lanes of Argon2.
                type: int
          priority:
            description:
              - Priority of the keyslot. LUKS2 only.
            type: str
            choices:
              - normal
              - ignore
              - prefer
            default: normal
          bound:
            description:
              - V(false) makes a keyslot that holds a key for something else and does not open the volume. LUKS2 only.
            type: bool
            default: true
          token:
            description:
              - Type of a token of another program that uses the keyslot. On LUKS1, V(clevis) is an entry of luksmeta,
                and other types are not possible. A qcow2 image has no tokens.
              - No TPM, security key or server stands behind it, so that the token itself opens nothing.
            type: str
            choices:
              - clevis
              - systemd-recovery
              - systemd-tpm2
              - systemd-fido2
          interrupted:
            description:
              - Leaves the header as a crash leaves it in a run of M(luksmith.luks.keyslots). The next run that writes
                ends the interrupted one. One keyslot of a volume can have it.
              - V(erase) is a run that was removing the keyslot. Its secret opens the volume no more.
              - V(rekey) is a run that was giving the keyslot this secret, which already opens the volume.
            type: str
            choices:
              - erase
              - rekey
      pbkdf: *pbkdf
      uuid:
        description:
          - UUID of the volume. By default, each volume has a new one.
        type: str
      label:
        description:
          - Label of a LUKS2 volume, at most 47 printable ASCII characters.
        type: str
      key_size:
        description:
          - Size of the volume key in bytes. V(32) is AES-128 in XTS mode, V(64) is AES-256.
        type: int
        choices:
          - 32
          - 64
        default: 32
      full:
        description:
          - Leaves no room for another keyslot. The other keyslots of LUKS1 and qcow2 get random secrets. The area for
            key material of LUKS2 holds the given keyslots and nothing else.
        type: bool
        default: false
      damaged_copy:
        description:
          - Damages one of the two copies of a LUKS2 header. The other copy still opens the volume.
        type: str
        choices:
          - primary
          - secondary
requirements:
  - Linux
  - Python 3.8 or newer
  - OpenSSL's libcrypto (usually installed) or the Python library cryptography
  - for the default of LUKS2, libcrypto 3.2 or libargon2 or one of the Python libraries argon2-cffi and cryptography 44
seealso:
  - module: luksmith.luks.verify_volume
  - module: luksmith.luks.keyslots
"""

EXAMPLES = r"""
- name: Make a LUKS2 and a LUKS1 volume with two secrets each
  luksmith.luks.test_volumes:
    volumes:
      - path: /tmp/volumes/data.img
        secrets:
          - {label: admin, passphrase: winter-2025}
          - {label: break-glass, passphrase: in-case-of-fire}
      - path: /tmp/volumes/old.img
        format: luks1

- name: Make a volume that a TPM opens too, and a header without room
  luksmith.luks.test_volumes:
    volumes:
      - path: /tmp/volumes/laptop.img
        keyslots:
          - {secret: {label: admin, passphrase: winter-2025}}
          - {token: systemd-tpm2}
      - path: /tmp/volumes/full.img
        full: true

- name: Make what a crash leaves, and a detached header with a damaged copy
  luksmith.luks.test_volumes:
    volumes:
      - path: /tmp/volumes/crashed.img
        keyslots:
          - {secret: {label: admin, passphrase: winter-2025}}
          - {secret: {label: leaked, passphrase: summer-2024}, interrupted: erase}
      - path: /tmp/volumes/archive.img
        header: /tmp/volumes/archive.header
        damaged_copy: primary

- name: Remove a volume again
  luksmith.luks.test_volumes:
    volumes:
      - {path: /tmp/volumes/data.img, state: absent}
"""

RETURN = r"""
volumes:
  description: The volumes that were made, or that would be made in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path of the image.
      type: str
    header:
      description: Path of the detached header, or V(none).
      type: str
    format:
      description: V(luks1), V(luks2) or V(qcow2).
      type: str
    uuid:
      description: UUID of the volume.
      type: str
    keyslots:
      description: Numbers of the active keyslots. An interrupted run may use one more for a copy.
      type: list
      elements: int
  sample:
    - format: luks2
      header:
      keyslots:
        - 0
        - 1
      path: /tmp/volumes/data.img
      uuid: 4b543c86-7353-47b9-b355-d0ef03989991
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.fips import choose as choose_fips
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures.volumes import make_and_remove
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import Spec, fips, secret, secrets
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule

LEAVES = "New files of the unfinished run were removed again. Run the same task again."


def _pbkdf() -> Spec:
    return {
        "type": "dict",
        "options": {
            "type": {"type": "str", "choices": ["pbkdf2", "argon2i", "argon2id"]},
            "hash": {"type": "str"},
            **{option: {"type": "int"} for option in ("iterations", "time", "memory", "parallel")},
        },
    }


def _keyslot() -> Spec:
    return {
        "keyslot": {"type": "int", "no_log": False},
        "secret": secret(),
        "pbkdf": _pbkdf(),
        "priority": {"type": "str", "choices": ["normal", "ignore", "prefer"], "default": "normal"},
        "bound": {"type": "bool", "default": True},
        "token": {
            "type": "str",
            "choices": ["clevis", "systemd-recovery", "systemd-tpm2", "systemd-fido2"],
            "no_log": False,
        },
        "interrupted": {"type": "str", "choices": ["erase", "rekey"]},
    }


def argument_spec() -> Spec:
    volume: Spec = {
        "path": {"type": "path", "required": True},
        "header": {"type": "path"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "format": {"type": "str", "choices": ["luks2", "luks1", "qcow2"], "default": "luks2"},
        "secrets": secrets(),
        "keyslots": {"type": "list", "elements": "dict", "no_log": False, "options": _keyslot()},
        "pbkdf": _pbkdf(),
        "uuid": {"type": "str"},
        "label": {"type": "str"},
        "key_size": {"type": "int", "choices": [32, 64], "default": 32, "no_log": False},
        "full": {"type": "bool", "default": False},
        "damaged_copy": {"type": "str", "choices": ["primary", "secondary"]},
    }
    return {"volumes": {"type": "list", "elements": "dict", "required": True, "options": volume}, "fips": fips()}


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    choose_fips(module.params["fips"])
    return make_and_remove(module.params, check=module.check_mode)


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=LEAVES)


if __name__ == "__main__":
    main()
