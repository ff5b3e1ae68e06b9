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
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._luks.errors import NOTHING_CHANGED, BadTask
from ..module_utils._luks.files import check_path
from ..module_utils._luks.report import exchange, model, page
from ..module_utils._module.guard import finish
from ..module_utils._module.options import Spec

FORMS = {"html": page.render, "json": exchange.to_json, "csv": exchange.to_csv, "junit": exchange.to_junit}
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
        check_path(path, "a path")
    hosts = [host for path in params["sources"] for host in exchange.read_json(path, params["kind"])]
    generated = params["generated"] or datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    report = model.build([*hosts, *params["hosts"]], kind=params["kind"], title=params["title"], generated=generated)
    files = {path: render(report).encode("utf-8") for path, render in wanted.items()}
    stale = [path for path, content in files.items() if not _is(path, content)]
    changed: t.List[str] = []
    try:
        for path in stale:
            check(path)
        for path, content in files.items():
            if put(module, path, content if path in stale else None, params["mode"]):
                changed.append(path)
    except CannotWrite as error:
        before = f"Written before that: {', '.join(changed)}." if changed else NOTHING_CHANGED
        raise BadTask(str(error), remedy="Make room for it there, or give another path", changed=before) from None
    return {"changed": bool(changed), "totals": report["totals"], "summary": page.summary(report), "files": list(files)}


class CannotWrite(Exception):
    """A file that cannot be put into place, and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} cannot be written ({why})")


def check(path: str) -> None:
    """Raise CannotWrite for what is known before a byte is written, so that check mode tells it too."""
    if os.path.isdir(path):
        raise CannotWrite(path, "a folder is there")
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise CannotWrite(path, f"{folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotWrite(path, f"nothing can be written into {folder}: no permission, or a file system that is read-only")


def put(module: AnsibleModule, path: str, content: t.Optional[bytes], mode: str) -> bool:
    """Put ``content`` at ``path`` whole or not at all, None for what is there already; whether that or the mode changes anything."""
    changed = content is not None
    if content is not None and not module.check_mode:
        make_folder(path)
        descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        try:
            module.atomic_move(temporary, path)
        except Exception as error:  # noqa: BLE001 - ansible-core raises nothing narrower
            cause = error.__cause__ or error.__context__
            raise CannotWrite(path, cause.strerror if isinstance(cause, OSError) else type(error).__name__) from None
    if os.path.exists(path):
        changed = bool(module.set_mode_if_different(path, mode, changed))
    return changed


def make_folder(path: str) -> None:
    """The folders above the file ``path``; those that are not there yet are for their owner only, like what will be in them."""
    folder = os.path.dirname(os.path.abspath(path))
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for one in reversed(missing):
        try:
            os.mkdir(one, 0o700)
        except OSError as error:
            # Another host's part may be written at the same time; a file of that name is something else.
            if not os.path.isdir(one):
                raise CannotWrite(path, f"{one}: {error.strerror}") from None


def _is(path: str, content: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == content
    except OSError:
        return False


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    finish(module, lambda: work(module), leaves=LEAVES)


if __name__ == "__main__":
    main()
