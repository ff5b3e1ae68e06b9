# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: role_options
short_description: Read the options of a role once, and refuse facts that bear their names
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - A part of the roles P(luksmith.luks.rotate#role) and P(luksmith.luks.audit#role). They ask it before they ask the
    host for anything, and go by its answer from then on.
  - Ansible lets the facts of a host win over the inventory and over the defaults of a role, and every result of a
    module can hold facts. So a host could give itself another store, or a folder of the controller for the report.
  - Fails if a fact of the host has a name that begins with C(rotate_) or C(audit_), wherever it comes from.
  - Runs on the controller, in the process of Ansible itself. Use it with C(no_log), because options hold secrets.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    details:
      - The controller.
options:
  names:
    description:
      - The names of the variables to read. One that is not defined is left out.
    type: list
    elements: str
    required: true
seealso:
  - module: luksmith.luks.rotation_entry
"""

EXAMPLES = r"""
- name: Read the options once
  luksmith.luks.role_options:
    names: [rotate_store, rotate_vault_file]
  register: once
  no_log: true
"""

RETURN = r"""
options:
  description: The value of each variable that is defined. It can hold secrets.
  returned: success
  type: dict
  sample:
    rotate_store: vault_file
    rotate_vault_file: luks-secrets/web-1.yml
"""
