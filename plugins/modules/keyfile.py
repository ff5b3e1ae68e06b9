#!/usr/bin/python
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keyfile
short_description: Let a keyfile on a host follow the rotation of its secret
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Gives a keyfile the new secret if it holds one of the old ones. A keyfile that holds something else is left alone, because then it is a
    secret of its own.
  - What the file holds is found out by comparing it on the host. Nothing of it is returned.
  - The file is replaced as a whole and durably, so that whoever reads it finds the old secret or the new one. Owner and SELinux label
    stay, and so does the mode unless others than the owner may read the file, in which case it becomes V(0400). The old content is overwritten afterwards.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - All that the file holds is secret.
  idempotent:
    support: full
options:
  path:
    description:
      - Path of the keyfile on the managed host. It is never created.
    type: path
    required: true
  keyfile_offset:
    description:
      - Where the secret begins in the file, in bytes, if crypttab says so. Such a file is not replaced but refused when it holds an old secret.
    type: int
  keyfile_size:
    description:
      - How long the secret in the file is, in bytes, if crypttab says so. Such a file is not replaced but refused when it holds an old secret.
    type: int
  new_secret:
    description:
      - The secret that the file is to hold.
    type: dict
    required: true
    suboptions: &secret
      label:
        description:
          - A name for the secret, for messages.
        type: str
      passphrase:
        description:
          - The secret as text, used as UTF-8 to the byte.
        type: raw
      passphrase_base64:
        description:
          - The secret as base64 of its bytes.
        type: raw
      keyfile:
        description:
          - Path of another keyfile on the host that holds the secret.
        type: path
      keyfile_offset:
        description:
          - Where the secret begins in that keyfile, in bytes.
        type: int
      keyfile_size:
        description:
          - How long the secret in that keyfile is, in bytes.
        type: int
  old_secrets:
    description:
      - The secrets that give way to the new one.
    type: list
    elements: dict
    default: []
    suboptions: *secret
requirements:
  - Linux, Python 3.8 or newer
notes:
  - The file is replaced by a rename, so that the right to write into its folder is needed, not that to write to the file. Whoever is not root replaces
    only files of his own.
  - Change the file before the old secret is erased from the volume, else the host cannot open it at the next boot. An initramfs may hold a copy of the file.
seealso:
  - module: luksmith.luks.keyslots
"""

EXAMPLES = r"""
- name: The keyfile of the data volume follows
  luksmith.luks.keyfile:
    path: /etc/cryptsetup-keys.d/data.key
    new_secret: {passphrase: "{{ vault_data_2026 }}"}
    old_secrets:
      - {passphrase: "{{ vault_data_2025 }}"}
"""

RETURN = r"""
holds:
  description:
    - What the file holds now, or in check mode still holds. V(new), V(old), V(other) for a secret that is none of those given, V(missing) if
      there is no such file.
  returned: success
  type: str
  sample: new
"""

import typing as t

from ..module_utils._luks.usecases.keyfile import update_keyfile
from ..module_utils._module.argument_spec import Spec, secret, secrets
from ..module_utils._module.runner import run_module
from ..module_utils._module.safe_module import SafeModule

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
