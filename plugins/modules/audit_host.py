# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_host
short_description: Check all LUKS volumes of a host against their policies
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - The role P(luksmith.luks.audit#role), which is the way to use it. It takes the variables of that role and no
    options, so that no secret is in a task. It may change in any release.
  - Runs on the controller, and asks the host once, with M(luksmith.luks.audit_step), for all its volumes. A host that
    gives no answer is one of the results, and fails no task.
extends_documentation_fragment:
  - luksmith.luks._attributes
  - luksmith.luks._attributes.info
options: {}
seealso:
  - module: luksmith.luks.audit_step
"""

EXAMPLES = r"""
- name: Audit the volumes of this host
  luksmith.luks.audit_host:
"""

RETURN = r"""
answer:
  description: What the report has of this host.
  returned: success
  type: dict
  contains:
    host:
      description: Its name in the inventory.
      type: str
    error:
      description: Why it could not be asked, or which of its devices cannot be read, or nothing.
      type: str
    volumes:
      description: What M(luksmith.luks.audit) says of each volume, as far as the report shows it.
      type: list
      elements: dict
    excluded:
      description: What C(audit_exclude) leaves out, C(volume) and C(reason) of each.
      type: list
      elements: dict
    searched:
      description: Where volumes were looked for, and the patterns that lead to none. Not there if the host did not say.
      type: dict
  sample:
    host: web-1
    error: ''
    excluded: []
    searched:
      allow_empty: false
      block_devices: true
      paths: [/srv/images/*.img]
      unmatched: []
      volumes: []
    volumes: []
problem:
  description: Why the role fails for this host, or nothing.
  returned: success
  type: str
  sample: ''
summary:
  description: How many volumes are compliant.
  returned: success
  type: str
  sample: 2 of 3 volumes compliant, 1 only by record
searched:
  description:
    - How many volumes there are, and the patterns of O(luksmith.luks.audit#role:main:audit_paths) that lead to some
      and to none. From that of all hosts the role sees whether there is nothing at all.
  returned: success
  type: dict
  sample:
    allow_empty: false
    host: web-1
    matched: [/srv/images/*.img]
    unmatched: []
    volumes: 2
report:
  description: The options of the role that say where the report is to be, as they were before the host was asked.
  returned: success
  type: dict
  sample:
    audit_report_directory: /srv/reports
    audit_report_formats: [html, json, csv, junit]
    audit_report_name: luks-audit
    audit_report_title: ''
"""
