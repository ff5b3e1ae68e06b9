# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_step
short_description: Check all volumes of a host against policies
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - A part of the role P(luksmith.luks.audit#role), used by M(luksmith.luks.audit_host). It may change in any release.
  - Does on the host, in one call, what M(luksmith.luks.volumes_info) and M(luksmith.luks.audit) do one by one. Never
    writes.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.info
  - luksmith.luks._secret.tried
  - luksmith.luks._secret.forbidden
options:
  volumes:
    description:
      - The volumes. The default is every volume that is found.
    type: list
    elements: dict
    default: []
    suboptions:
      device:
        description:
          - As O(luksmith.luks.audit#module:device).
        type: path
        required: true
      header:
        description:
          - As O(luksmith.luks.audit#module:header).
        type: path
  paths:
    description:
      - As O(luksmith.luks.volumes_info#module:paths).
    type: list
    elements: str
    default: []
  block_devices:
    description:
      - As O(luksmith.luks.volumes_info#module:block_devices). With O(volumes), block devices are not searched.
    type: bool
    default: true
  crypttab:
    description:
      - As O(luksmith.luks.volumes_info#module:crypttab).
    type: path
    default: /etc/crypttab
  exclude:
    description:
      - UUIDs or devices of volumes to leave out; also devices that cannot be read and need not be.
    type: list
    elements: str
    default: []
  policy:
    description:
      - As O(luksmith.luks.audit#module:policy).
    type: raw
    default: strict
  policies:
    description:
      - Policies of single volumes, by device, UUID or label, in this order.
    type: dict
    default: {}
  secrets:
    description:
      - As O(luksmith.luks.audit#module:secrets).
    type: list
    elements: dict
    default: []
  forbidden_secrets:
    description:
      - As O(luksmith.luks.audit#module:forbidden_secrets).
    type: list
    elements: dict
    default: []
  backups:
    description:
      - As O(luksmith.luks.audit#module:backups).
    type: list
    elements: path
    default: []
  verify:
    description:
      - As O(luksmith.luks.audit#module:verify).
    type: str
    choices:
      - proof
      - record
    default: proof
  kdf_limits:
    description:
      - As O(luksmith.luks.audit#module:kdf_limits).
    type: dict
    default: {}
  lock_timeout:
    description:
      - As O(luksmith.luks.audit#module:lock_timeout).
    type: float
    default: 30.0
  fips:
    description:
      - As O(luksmith.luks.audit#module:fips).
    type: str
    choices:
      - auto
      - require
      - ignore
    default: auto
  prints_key:
    description:
      - Key of this run for fingerprints of volume keys and secrets, in hexadecimal digits. Without it, none are made.
    type: str
  stored:
    description:
      - What the store of a rotation holds for each volume, by UUID; the item without one holds for all others. Without
        this option, no store was asked.
    type: list
    elements: dict
    default: []
    suboptions:
      uuid:
        description:
          - Of the volume.
        type: str
      device:
        description:
          - Path of the volume, where its group names it so. It counts for more than the UUID.
        type: path
      problem:
        description:
          - Why the store could not be asked for it.
        type: str
      current:
        description:
          - Label of the secret that must open the volume.
        type: str
      created:
        description:
          - When the store got that secret.
        type: str
      given:
        description:
          - To whom it was given out last, and when.
        type: str
      staged:
        description:
          - Label of the secret of an interrupted rotation.
        type: str
      older:
        description:
          - Labels of secrets that must open nothing.
        type: list
        elements: str
        default: []
      kept:
        description:
          - Labels of secrets that must open the volume, too.
        type: list
        elements: str
        default: []
      secrets:
        description:
          - The secrets of these labels; one that is missing is sealed.
        type: list
        elements: dict
        default: []
        suboptions:
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
              - Not used here.
            type: path
          volume_key_base64:
            description:
              - Not used here.
            type: raw
          token:
            description:
              - The token to ask for the secret, as for O(secrets).
            type: str
          pin:
            description:
              - PIN of the token.
            type: raw
          device:
            description:
              - Path of the TPM or security key.
            type: str
requirements:
  - Linux, Python 3.8 or newer
seealso:
  - module: luksmith.luks.audit_host
"""

EXAMPLES = r"""
- name: Audit the images of a host
  luksmith.luks.audit_step:
    paths: [/var/lib/images/*.img]
    block_devices: false
"""

RETURN = r"""
volumes:
  description:
    - An item for each volume, as M(luksmith.luks.audit) returns it with O(luksmith.luks.audit#module:device). One that
      could not be audited has the state V(failed).
  returned: success
  type: list
  elements: dict
  sample:
    - device: /dev/sdb
      findings: []
      header:
      msg: "/dev/sdb: Cannot open it: No such file or directory (ENOENT)."
      state: failed
      unverified: []
      uuid:
unreadable:
  description: As RV(luksmith.luks.volumes_info#module:unreadable), without those of O(exclude).
  returned: success
  type: list
  elements: str
  sample: []
excluded:
  description: The items of O(exclude) that left something out on this host.
  returned: success
  type: list
  elements: str
  sample: []
unmatched:
  description: As RV(luksmith.luks.volumes_info#module:unmatched).
  returned: success
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.host import audit_host
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.fips import choose as choose_fips
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import NOTHING_CHANGED
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import Spec, fips, secrets, unlocking
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule


def argument_spec() -> Spec:
    return {
        "volumes": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"device": {"type": "path", "required": True}, "header": {"type": "path"}},
        },
        "paths": {"type": "list", "elements": "str", "default": []},
        "block_devices": {"type": "bool", "default": True},
        "crypttab": {"type": "path", "default": "/etc/crypttab"},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "policy": {"type": "raw", "default": "strict"},
        "policies": {"type": "dict", "default": {}},
        "secrets": {**unlocking(), "default": []},
        "forbidden_secrets": {**secrets(), "default": []},
        "backups": {"type": "list", "elements": "path", "default": []},
        "verify": {"type": "str", "choices": ["proof", "record"], "default": "proof"},
        "kdf_limits": {"type": "dict", "default": {}},
        "lock_timeout": {"type": "float", "default": 30.0},
        "fips": fips(),
        "prints_key": {"type": "str", "no_log": True},
        "stored": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "no_log": False,
            "options": {
                "uuid": {"type": "str"},
                "device": {"type": "path"},
                "problem": {"type": "str"},
                "current": {"type": "str"},
                "created": {"type": "str"},
                "given": {"type": "str"},
                "staged": {"type": "str"},
                "older": {"type": "list", "elements": "str", "default": []},
                "kept": {"type": "list", "elements": "str", "default": []},
                "secrets": {**unlocking(), "default": []},
            },
        },
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    choose_fips(module.params["fips"])
    return audit_host(module.params)


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=NOTHING_CHANGED)


if __name__ == "__main__":
    main()
