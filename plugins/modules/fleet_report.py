# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Write one report of the LUKS volumes of many hosts
version_added: 1.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - Writes what M(luksmith.luks.audit) or a rotation said of many hosts as one HTML page that needs nothing else, as
    JSON, as CSV, as JUnit XML, as SARIF, OSCAL, XCCDF and ARF, and as metrics for Prometheus.
  - Always runs on the controller, in the process of Ansible itself, and asks no host. Use it with C(run_once=true);
    C(delegate_to=localhost) is allowed and changes nothing, and delegation to another host is refused.
  - The files are those of the user who runs C(ansible-playbook), also with C(become). Relative paths begin in the
    folder of the playbook.
  - Everything in the task is checked before a file is written.
  - A folder that does not exist yet is made, for its owner only.
  - A file is replaced as a whole and durably, and keeps its owner where that user may give files away. A symbolic link
    is replaced by the file; anything but a regular file, or a link to one, is refused.
  - Hosts are not trusted. Names, labels and token types are shown as what they are, whatever is in them.
  - The file docs/report.md of the collection describes the data.
extends_documentation_fragment:
  - luksmith.luks._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - A report holds the time at which it was made. With the same O(generated) and the same data nothing changes.
  platform:
    details:
      - The controller.
options:
  hosts:
    description:
      - The data, one dictionary for each host. C(host) is its name, C(volumes) a list of results of
        M(luksmith.luks.audit), C(error) a sentence if it could not be asked at all.
    type: list
    elements: dict
    default: []
  sources:
    description:
      - Paths of reports that this module wrote as O(json). Their hosts come before O(hosts), so that a large fleet can
        be audited in parts.
      - Reports of parts of a rotation may be those that the role P(luksmith.luks.rotate#role) made, all of dry runs or
        none. If each of them knows its run, the joined report has a verdict over all hosts.
    type: list
    elements: path
    default: []
  kind:
    description:
      - Whether it is the report of an audit or of a rotation, with each volume before and after.
    type: str
    choices:
      - audit
      - rotation
    default: audit
  title:
    description:
      - Title of the report.
    type: str
    default: ''
  generated:
    description:
      - When the report was made, as text for people. Without it, the time at which the module runs, in UTC.
    type: str
  previous:
    description:
      - Path of the JSON file of an earlier report, which the new one is compared with. It may be the path of O(json),
        which is read before it is replaced. What cannot be compared is said in the report and is no failure.
    type: path
    version_added: 2.0.0
  scope:
    description:
      - Whether the report says how many hosts the inventory and the play have, and which of the play are beyond
        C(--limit). For a report of the hosts of the play that the task is in.
    type: bool
    default: false
    version_added: 2.0.0
  html:
    description:
      - Path of the HTML page.
    type: path
  json:
    description:
      - Path of the JSON file.
    type: path
  csv:
    description:
      - Path of the CSV file, one line for each finding.
    type: path
  junit:
    description:
      - Path of the JUnit XML file. What nobody could verify is a failure there.
    type: path
  sarif:
    description:
      - Path of the SARIF 2.1.0 file, for platforms that collect the findings of scanners. Only for an audit.
    type: path
  oscal:
    description:
      - Path of the OSCAL assessment results, for tools that collect evidence about the controls of NIST SP 800-53. Only
        for an audit.
    type: path
    version_added: 2.0.0
  xccdf:
    description:
      - Path of the XCCDF 1.2 file, for tools that read results of SCAP. Only for an audit.
    type: path
    version_added: 2.0.0
  arf:
    description:
      - Path of the file with the same results as an ARF 1.1 asset report collection. Only for an audit, of at least one
        host.
    type: path
    version_added: 2.0.0
  prometheus:
    description:
      - Path of a file with the totals as metrics in the text format of Prometheus, for the textfile collector of its
        node exporter, which must be able to read it.
    type: path
    version_added: 2.0.0
  mode:
    description:
      - Permissions of the files, as octal digits in quotes or as symbols. A report holds no secret, but tells an
        attacker where to begin.
    type: str
    default: '0600'
seealso:
  - module: luksmith.luks.audit
"""

EXAMPLES = r"""
- name: One report of all hosts that were audited
  luksmith.luks.fleet_report:
    hosts: >-
      {{ ansible_play_hosts_all | map('extract', hostvars) | selectattr('audit', 'defined') | map(attribute='audit') }}
    html: /srv/reports/luks.html
    json: /srv/reports/luks.json
  run_once: true

- name: The reports of four shards as one
  luksmith.luks.fleet_report:
    sources: [shard-1.json, shard-2.json, shard-3.json, shard-4.json]
    html: fleet.html
    junit: fleet.xml
  run_once: true
"""

RETURN = r"""
totals:
  description: Counts of the whole report.
  returned: success
  type: dict
  contains:
    hosts:
      description: Hosts.
      type: int
    hosts_without_answer:
      description: Hosts that could not be asked.
      type: int
    volumes:
      description: Volumes.
      type: int
    states:
      description: Volumes by state.
      type: dict
    findings:
      description: Findings by severity.
      type: dict
    unverified:
      description: What nobody could verify.
      type: int
  sample:
    findings:
      critical: 1
      high: 0
      info: 0
      low: 2
      medium: 0
    hosts: 2
    hosts_without_answer: 0
    states:
      compliant: 2
      failed: 0
      findings: 1
      recorded: 0
      unverified: 0
    unverified: 0
    volumes: 3
summary:
  description: The report in one sentence.
  returned: success
  type: str
  sample: "Verdict: not compliant. 3 volumes on 2 hosts: 1 with findings, 2 compliant. Made 2026-11-24 21:50 UTC."
since:
  description:
    - What changed since the report of O(previous). C(problem) is a sentence if it could not be compared, and C(first)
      is true if there was none. docs/report.md of the collection describes the rest.
  returned: with O(previous)
  type: dict
  sample:
    back: []
    check: false
    compared: 3
    counts:
      better: 1
      changed: 0
      gone: 0
      new: 0
      worse: 0
    first: false
    generated: 2026-11-24 21:50 UTC
    lost: []
    not_compared: []
    problem:
    volumes:
      - appeared: []
        change: better
        device: /dev/vda3
        header:
        host: web-1
        is: compliant
        notes: [its header changed]
        uuid: 4b543c86-7353-47b9-b355-d0ef03989991
        was: findings
        went:
          - keyslot: 0
            rule: kdf-cost
            severity: high
            unverified: false
files:
  description: Paths of the files that were, or in check mode would be, written.
  returned: success
  type: list
  elements: str
  sample:
    - /srv/reports/luks.html
"""
