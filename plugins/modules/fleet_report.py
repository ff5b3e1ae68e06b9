#!/usr/bin/python
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
  - Writes what M(luksmith.luks.audit) or a rotation said of many hosts as one HTML page that needs nothing else, as JSON, as CSV and as JUnit XML.
  - Meant for the controller, with C(delegate_to=localhost) and C(run_once=true). It needs nothing but Python there.
  - A folder that does not exist yet is made, for its owner only.
  - A file is replaced as a whole and durably, and keeps its owner where the module may give files away. A symbolic link gives way to the file; what is,
    or what a link leads to, no regular file is refused.
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
options:
  hosts:
    description:
      - The data, one dictionary for each host. C(host) is its name, C(volumes) a list of results of M(luksmith.luks.audit), C(error) a sentence if it
        could not be asked at all.
    type: list
    elements: dict
    default: []
  sources:
    description:
      - Paths of reports that this module wrote as O(json). Their hosts come before O(hosts), so that a large fleet can be audited in parts.
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
  mode:
    description:
      - Permissions of the files. A report holds no secret, but tells an attacker where to begin.
    type: str
    default: '0600'
requirements:
  - Python 3.8 or newer
seealso:
  - module: luksmith.luks.audit
"""

EXAMPLES = r"""
- name: One report of all hosts that were audited
  luksmith.luks.fleet_report:
    hosts: "{{ ansible_play_hosts_all | map('extract', hostvars) | selectattr('audit', 'defined') | map(attribute='audit') }}"
    html: /srv/reports/luks.html
    json: /srv/reports/luks.json
  delegate_to: localhost
  run_once: true

- name: The reports of four shards as one
  luksmith.luks.fleet_report:
    sources: [shard-1.json, shard-2.json, shard-3.json, shard-4.json]
    html: fleet.html
    junit: fleet.xml
  delegate_to: localhost
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
  sample: "3 volumes on 2 hosts: 1 with findings, 2 compliant. Made 2026-11-24 21:50 UTC."
files:
  description: Paths of the files that were, or in check mode would be, written.
  returned: success
  type: list
  elements: str
  sample:
    - /srv/reports/luks.html
"""

import datetime
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._luks import files
from ..module_utils._luks.errors import BadTask, LuksmithError
from ..module_utils._luks.report import data, exchange, page
from ..module_utils._module.argument_spec import Spec
from ..module_utils._module.runner import run_module

FORMS = {"html": page.render, "json": exchange.to_json, "csv": exchange.to_csv, "junit": exchange.to_junit}
PATIENCE = 10.0  # seconds for another process that writes the same report
LEAVES = "Of the report, each file is the old one or the new one. Run the same task again."


def argument_spec() -> Spec:
    return {
        "hosts": {"type": "list", "elements": "dict", "default": []},
        "sources": {"type": "list", "elements": "path", "default": []},
        "kind": {"type": "str", "choices": ["audit", "rotation"], "default": "audit"},
        "title": {"type": "str", "default": ""},
        "generated": {"type": "str"},
        **{form: {"type": "path"} for form in FORMS},
        "mode": {"type": "str", "default": "0600"},
    }


def work(module: AnsibleModule) -> t.Dict[str, t.Any]:
    params = module.params
    wanted = {params[form]: render for form, render in FORMS.items() if params[form] is not None}
    if not wanted:
        raise BadTask("no file to write is given", remedy=f"Give one or more of {', '.join(FORMS)}")
    for path in (*params["sources"], *wanted):
        files.check_path(path, "a path")
    hosts = [host for path in params["sources"] for host in exchange.read_json(path, params["kind"])]
    generated = params["generated"] or datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    report = data.build([*hosts, *params["hosts"]], kind=params["kind"], title=params["title"], generated=generated)
    contents = {path: render(report).encode("utf-8") for path, render in wanted.items()}
    stale = [path for path, content in contents.items() if not _is(path, content)]
    changed: t.List[str] = []
    try:
        for path in stale:
            files.check_replaceable(path, follow=False, new_folders=True)
        for path, content in contents.items():
            if put(module, path, content if path in stale else None, params["mode"]):
                changed.append(path)
    except LuksmithError as error:
        raise _cannot_write(path, error, changed) from None
    return {"changed": bool(changed), "totals": report["totals"], "summary": page.summary(report), "files": list(contents)}


def _cannot_write(path: str, error: LuksmithError, changed: t.Sequence[str]) -> LuksmithError:
    before = [f"Written before that: {', '.join(changed)}."] if changed else []
    told = BadTask(
        f"the report {path} cannot be written: {error.found}",
        why=error.why,
        remedy=error.remedy or "Make room for it there, or give another path",
        changed=" ".join([*before, *([error.changed] if error.after_change or not before else [])]),
    )
    told.after_change = bool(changed) or error.after_change
    return told


def put(module: AnsibleModule, path: str, content: t.Optional[bytes], mode: str) -> bool:
    """Put ``content`` at ``path`` whole or not at all, None for what is there already; whether that or the mode changes anything."""
    changed = content is not None
    if content is not None and not module.check_mode:
        files.make_folder(os.path.dirname(os.path.abspath(path)))
        files.replace(path, content, owner=files.LIKE_THE_OLD, follow=False, patience=PATIENCE)
    if os.path.exists(path):
        changed = bool(module.set_mode_if_different(path, mode, changed))
    return changed


def _is(path: str, content: bytes) -> bool:
    try:
        return files.read_regular(path) == content
    except OSError:
        return False


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    run_module(module, lambda: work(module), leaves=LEAVES)


if __name__ == "__main__":
    main()
