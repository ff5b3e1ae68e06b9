# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rotation_step
short_description: Do one step of a rotation on all volumes of a host
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - A part of the role P(luksmith.luks.rotate#role), used by M(luksmith.luks.rotate_host). It may change in any release.
  - Does on the host, in one call, what M(luksmith.luks.volumes_info), M(luksmith.luks.keyslots_info),
    M(luksmith.luks.keyslots), M(luksmith.luks.keyfile) and M(luksmith.luks.header_backup) do one by one.
  - Each volume is looked at and changed alone. One that is refused has C(failed) in its item of RV(volumes), and the
    others go on.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
    details:
      - O(step=look) never changes anything, and the other steps do nothing in check mode.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  step:
    description:
      - V(look) finds volumes, and says what the other steps would do.
      - V(add) adds new secrets, tries them, and brings them to keyfiles.
      - V(erase) erases old secrets and makes the backup of the header.
    type: str
    choices:
      - look
      - add
      - erase
    required: true
  discover:
    description:
      - With V(look), where to search for volumes, and for lines of crypttab. Without it, only O(volumes) are looked at.
    type: dict
    suboptions:
      paths:
        description:
          - As O(luksmith.luks.volumes_info#module:paths).
        type: list
        elements: str
        default: []
      block_devices:
        description:
          - As O(luksmith.luks.volumes_info#module:block_devices).
        type: bool
        default: true
      crypttab:
        description:
          - As O(luksmith.luks.volumes_info#module:crypttab).
        type: path
        default: /etc/crypttab
      exclude:
        description:
          - UUIDs or devices of volumes to leave out.
        type: list
        elements: str
        default: []
  volumes:
    description:
      - The volumes, each with what is wanted of it. With O(discover), the default is every volume that is found.
    type: list
    elements: dict
    default: []
    suboptions: &work
      device:
        description:
          - As O(luksmith.luks.keyslots#module:device). Without O(discover), C(~) and C($HOME) are names like others.
        type: str
      header:
        description:
          - As O(luksmith.luks.keyslots#module:header), and as C(device) to the letter.
        type: str
      uuid:
        description:
          - The UUID of the volume.
        type: str
      unlock:
        description:
          - As O(luksmith.luks.keyslots#module:unlock).
        type: list
        elements: dict
        default: []
        suboptions:
          <<: &secret
            label:
              description:
                - Name of the secret.
              type: str
            passphrase:
              description:
                - The secret as text.
              type: raw
            passphrase_base64:
              description:
                - The secret in base64.
              type: raw
            keyfile:
              description:
                - Path of the secret on the host.
              type: path
            keyfile_offset:
              description:
                - First byte of the secret in the keyfile.
              type: int
            keyfile_size:
              description:
                - Bytes of the secret in the keyfile.
              type: int
          volume_key_file:
            description:
              - Path of the volume key on the host.
            type: path
          volume_key_base64:
            description:
              - The volume key in base64.
            type: raw
          token:
            description:
              - V(auto), the type or the number of a token that yields a secret.
            type: str
          pin:
            description:
              - PIN for the token.
            type: raw
          device:
            description:
              - Device for the token.
            type: str
      kept:
        description:
          - How many of the secrets of C(unlock) are expected to open keyslots of their own. They are tried first.
        type: int
        default: 0
      keyslots:
        description:
          - As O(luksmith.luks.keyslots#module:keyslots).
        type: list
        elements: dict
        default: []
        suboptions:
          state:
            description:
              - As O(luksmith.luks.keyslots#module:keyslots[].state).
            type: str
            choices:
              - present
              - absent
            default: present
          keyslot:
            description:
              - As O(luksmith.luks.keyslots#module:keyslots[].keyslot).
            type: int
          new_secret:
            description:
              - As O(luksmith.luks.keyslots#module:keyslots[].new_secret).
            type: dict
            suboptions:
              <<: *secret
              token:
                description:
                  - As O(luksmith.luks.keyslots#module:keyslots[].new_secret.token).
                type: str
                choices:
                  - systemd-recovery
          old_secret:
            description:
              - As O(luksmith.luks.keyslots#module:keyslots[].old_secret).
            type: dict
            suboptions: *secret
          iter_time:
            description:
              - As O(luksmith.luks.keyslots#module:keyslots[].iter_time).
            type: int
          pbkdf:
            description:
              - As O(luksmith.luks.keyslots#module:keyslots[].pbkdf).
            type: dict
            suboptions:
              type:
                description:
                  - The function.
                type: str
                choices:
                  - pbkdf2
                  - argon2i
                  - argon2id
              hash:
                description:
                  - The hash of pbkdf2.
                type: str
              iterations:
                description:
                  - Iterations of pbkdf2.
                type: int
              time:
                description:
                  - Passes of Argon2.
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
              - As O(luksmith.luks.keyslots#module:keyslots[].priority).
            type: str
            choices:
              - ignore
              - normal
              - prefer
      hints:
        description:
          - Which secret is to be tried first on which keyslot. A wrong one costs a derivation, and nothing else depends
            on it.
        type: list
        elements: dict
        default: []
        suboptions:
          label:
            description:
              - Label of the secret.
            type: str
            required: true
          keyslot:
            description:
              - Number of the keyslot.
            type: int
            required: true
      replaced:
        description:
          - Secrets that a keyfile may hold, and that the new secret replaces there.
        type: list
        elements: dict
        default: []
        suboptions: *secret
      prove:
        description:
          - With V(add), a secret that must open the volume afterwards, as the medium has it.
        type: dict
        suboptions: *secret
      keyfiles:
        description:
          - Keyfiles that follow.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description:
              - Name in crypttab.
            type: str
          path:
            description:
              - Path of the keyfile, to the letter.
            type: str
          keyfile_offset:
            description:
              - As in crypttab.
            type: int
          keyfile_size:
            description:
              - As in crypttab.
            type: int
  orders:
    description:
      - With V(look), what is wanted of volumes that are not known by their device yet, by UUID. One without a UUID is
        for all others.
    type: list
    elements: dict
    default: []
    suboptions: *work
  others:
    description:
      - Labels of secrets of other hosts. A volume with a keyslot that was made for one of them is not changed.
    type: list
    elements: str
    default: []
  backup:
    description:
      - Folder for a backup of each header.
    type: path
  backup_dir:
    description:
      - As O(luksmith.luks.keyslots#module:backup_dir).
    type: path
  wipe:
    description:
      - As O(luksmith.luks.keyslots#module:wipe).
    type: str
    choices:
      - auto
      - single
      - multiple
    default: auto
  lock_timeout:
    description:
      - As O(luksmith.luks.keyslots#module:lock_timeout).
    type: float
    default: 30.0
  qmp:
    description:
      - Device of a volume -> as O(luksmith.luks.keyslots#module:qmp).
    type: dict
    default: {}
  fips:
    description:
      - As O(luksmith.luks.keyslots#module:fips).
    type: str
    choices:
      - auto
      - require
      - ignore
    default: auto
requirements:
  - Linux, Python 3.8 or newer
seealso:
  - module: luksmith.luks.rotate_host
"""

EXAMPLES = r"""
- name: See what is there
  luksmith.luks.rotation_step:
    step: look
    discover: {paths: [/var/lib/images/*.img]}
"""

RETURN = r"""
volumes:
  description: An item for each volume.
  returned: success
  type: list
  elements: dict
  sample:
    - changed: false
      device: /dev/sdb
      failed: true
      header:
      msg: >-
        /dev/sdb: It begins with zeros, not with a LUKS header. Check the path; this collection never formats a device.
        Nothing was changed.
      phase: look
unmatched:
  description: As RV(luksmith.luks.volumes_info#module:unmatched).
  returned: with V(look)
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.fips import choose as choose_fips
from ansible_collections.luksmith.luks.plugins.module_utils._luks.rotation.step import step
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import (
    Spec,
    entry_options,
    fips,
    secret,
    secrets,
    unlocking,
)
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule

LEAVES = (
    "A change that had begun is noted in the header where it needs finishing, and every volume still opens. "
    "Run the same task again: it finishes what was begun."
)


def argument_spec() -> Spec:
    works: Spec = {"type": "list", "elements": "dict", "default": [], "options": work_options()}
    return {
        "step": {"type": "str", "choices": ["look", "add", "erase"], "required": True},
        "discover": {
            "type": "dict",
            "options": {
                "paths": {"type": "list", "elements": "str", "default": []},
                "block_devices": {"type": "bool", "default": True},
                "crypttab": {"type": "path", "default": "/etc/crypttab"},
                "exclude": {"type": "list", "elements": "str", "default": []},
            },
        },
        "volumes": works,
        "orders": works,
        "others": {"type": "list", "elements": "str", "default": []},
        "backup": {"type": "path"},
        "backup_dir": {"type": "path"},
        "wipe": {"type": "str", "choices": ["auto", "single", "multiple"], "default": "auto"},
        "lock_timeout": {"type": "float", "default": 30.0},
        "qmp": {"type": "dict", "default": {}},
        "fips": fips(),
    }


def work_options() -> Spec:
    return {
        "device": {"type": "str"},
        "header": {"type": "str"},
        "uuid": {"type": "str"},
        "unlock": {**unlocking(), "default": []},
        "kept": {"type": "int", "default": 0},
        "keyslots": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": entry_options()},
        "hints": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "label": {"type": "str", "required": True},
                "keyslot": {"type": "int", "required": True, "no_log": False},
            },
        },
        "replaced": {**secrets(), "default": []},
        "prove": secret(),
        "keyfiles": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "no_log": False,
            "options": {
                "name": {"type": "str"},
                "path": {"type": "str"},
                "keyfile_offset": {"type": "int", "no_log": False},
                "keyfile_size": {"type": "int", "no_log": False},
            },
        },
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    choose_fips(module.params["fips"])
    if module.check_mode and module.params["step"] != "look":
        return {"changed": False, "volumes": []}
    return step(module.params)


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=LEAVES)


if __name__ == "__main__":
    main()
