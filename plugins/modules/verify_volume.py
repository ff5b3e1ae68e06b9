#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_volume
short_description: Fail unless a LUKS volume is as expected
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Fails unless the given secrets open a LUKS volume, others do not, and its keyslots and tokens are as expected. The
    message names the volume and the label of each secret that is wrong.
  - "A task that fails unless a passphrase opens the volume is C(luksmith.luks.verify_volume: {device: /dev/sdb, opens:
    [{passphrase: SECRET}]})."
  - For tests of roles, and for gates in pipelines. Every secret is tried on every keyslot. Never writes.
  - At least one of O(opens), O(does_not_open), O(keyslots), O(tokens), O(ignored), O(same_volume_as) and
    O(unchanged_since) is required. A task that asks for nothing fails.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.actiongroup
  - luksmith.luks._attributes.info
  - luksmith.luks._secret.verified
  - luksmith.luks._volume
options:
  device:
    description:
      - Path of the volume on the managed host, a block device or an image file; or C(UUID=...) as in crypttab.
    type: path
    required: true
  opens:
    description:
      - Secrets, each of which must open the volume. A keyslot that is not bound to the volume does not count, nor one
        with priority V(ignore), unless O(ignored) says so.
    type: list
    elements: dict
    default: []
  does_not_open:
    description:
      - Secrets, none of which may open the volume, a backing file beneath the image, or with O(header) the header that
        the device has of its own. If one of their keyslots cannot be tried, the task fails.
    type: list
    elements: dict
    default: []
  keyslots:
    description:
      - Numbers of exactly those keyslots that must be active. V([]) allows none.
    type: list
    elements: int
  tokens:
    description:
      - Types of exactly those tokens of other programs that the header must have, in any order, such as
        V(systemd-tpm2) or V(clevis). V([]) allows none.
    type: list
    elements: str
  ignored:
    description:
      - Numbers of exactly those keyslots that must have the priority V(ignore), which programs do not try unless they
        are named. V([]) allows none.
    type: list
    elements: int
  same_volume_as:
    description:
      - Path of an earlier copy of the volume, or of a backup that M(luksmith.luks.header_backup) made. Format, UUID,
        volume key, cipher and place of the data must be the same. Otherwise the volume was formatted anew, converted or
        encrypted anew, even if the right secrets open it.
    type: path
  unchanged_since:
    description:
      - Path of an earlier copy of the volume, or of a backup that M(luksmith.luks.header_backup) made. Header and key
        material must be the same to the byte.
    type: path
seealso:
  - module: luksmith.luks.keyslots_info
  - module: luksmith.luks.test_volumes
"""

EXAMPLES = r"""
- name: Check that a rotation did what it should
  luksmith.luks.verify_volume:
    device: /dev/nvme0n1p3
    opens:
      - {label: admin 2026, passphrase: "{{ vault_admin_2026 }}"}
      - {label: break-glass, keyfile: /root/break-glass.key}
    does_not_open:
      - {label: admin 2025, passphrase: "{{ vault_admin_2025 }}"}
    keyslots: [0, 1]
    tokens: [systemd-tpm2]
    same_volume_as: /var/backups/nvme0n1p3.header

- name: Check that nothing has changed since the backup
  luksmith.luks.verify_volume:
    device: /dev/nvme0n1p3
    unchanged_since: /var/backups/nvme0n1p3.header
"""

RETURN = r"""
assertions:
  description: Number of assertions that were checked, at least 1.
  returned: success, or failure of an assertion
  type: int
  sample: 5
failures:
  description: A sentence for each assertion that does not hold.
  returned: success, or failure of an assertion
  type: list
  elements: str
  sample:
    - "'admin 2025' must not open the volume, but opens keyslot 0."
uuid:
  description: UUID of the volume.
  returned: success, or failure of an assertion
  type: str
  sample: 4b543c86-7353-47b9-b355-d0ef03989991
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.fips import choose as choose_fips
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import NOTHING_CHANGED
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_verify import parse_verify
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.verify import verify
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import Spec, secrets, volume_options
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule


def argument_spec() -> Spec:
    return {
        "device": {"type": "path", "required": True},
        **volume_options(),
        "opens": {**secrets(), "default": []},
        "does_not_open": {**secrets(), "default": []},
        "keyslots": {"type": "list", "elements": "int", "no_log": False},
        "tokens": {"type": "list", "elements": "str", "no_log": False},
        "ignored": {"type": "list", "elements": "int", "no_log": False},
        "same_volume_as": {"type": "path"},
        "unchanged_since": {"type": "path"},
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    choose_fips(module.params["fips"])
    task = parse_verify(module.params)
    try:
        return verify(task)
    finally:
        task.info.wipe_secrets()


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=NOTHING_CHANGED)


if __name__ == "__main__":
    main()
