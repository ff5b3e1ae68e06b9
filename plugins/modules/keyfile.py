#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keyfile
short_description: Update a keyfile on a host when its secret is rotated
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Writes the new secret to a keyfile if it holds one of the old secrets. A keyfile with other content is left alone,
    because that is a secret of its own.
  - The content of the file is compared on the host and never returned.
  - The file is replaced as a whole and durably, so that a reader finds either the old secret or the new one. Owner and
    SELinux label are kept, and so is the mode, unless users other than the owner may read the file. It then becomes
    V(0400). The old content is overwritten afterwards.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._secret.keyfile
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - The whole content of the file is secret.
  idempotent:
    support: full
options:
  path:
    description:
      - Path of the keyfile on the managed host. The module never creates it.
    type: path
    required: true
  keyfile_offset:
    description:
      - Offset of the secret in the file, in bytes, if crypttab has one. If such a file holds an old secret, the task is
        refused.
    type: int
  keyfile_size:
    description:
      - Length of the secret in the file, in bytes, if crypttab has one. If such a file holds an old secret, the task is
        refused.
    type: int
  new_secret:
    description:
      - Secret that the file is to hold. It must not be empty.
    type: dict
    required: true
  old_secrets:
    description:
      - Secrets that O(new_secret) replaces.
    type: list
    elements: dict
    default: []
requirements:
  - Linux, Python 3.8 or newer
notes:
  - The file is replaced by a rename, which needs write permission for its directory, not for the file. Users other than
    root can replace only their own files.
  - Update the file before the old secret is erased from the volume. Otherwise the host cannot open the volume at the
    next boot. An initramfs may hold a copy of the file.
seealso:
  - module: luksmith.luks.keyslots
"""

EXAMPLES = r"""
- name: Update the keyfile of the data volume
  luksmith.luks.keyfile:
    path: /etc/cryptsetup-keys.d/data.key
    new_secret: {passphrase: "{{ vault_data_2026 }}"}
    old_secrets:
      - {passphrase: "{{ vault_data_2025 }}"}
"""

RETURN = r"""
holds:
  description:
    - What the file holds now, in check mode before the change. V(new), V(old), V(other) for anything else, or
      V(missing) if there is no such file.
  returned: success
  type: str
  sample: new
"""

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.keyfile import update_keyfile
from ansible_collections.luksmith.luks.plugins.module_utils._module.argument_spec import Spec, secret, secrets
from ansible_collections.luksmith.luks.plugins.module_utils._module.runner import run_module
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import SafeModule

LEAVES = "The keyfile holds the old secret or the new one. Run the same task again."


def argument_spec() -> Spec:
    return {
        "path": {"type": "path", "required": True},
        "keyfile_offset": {"type": "int", "no_log": False},
        "keyfile_size": {"type": "int", "no_log": False},
        "new_secret": {**secret(), "required": True},
        "old_secrets": {**secrets(), "default": []},
    }


def work(module: SafeModule) -> t.Dict[str, t.Any]:
    return update_keyfile(module.params, check=module.check_mode)


def main() -> None:
    module = SafeModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=LEAVES)


if __name__ == "__main__":
    main()
