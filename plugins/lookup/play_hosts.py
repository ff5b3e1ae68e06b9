# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pattern of hosts that has to match."""

from __future__ import annotations

DOCUMENTATION = r"""
name: play_hosts
short_description: A pattern of hosts, or an error if it matches none
version_added: 2.0.0
author:
  - The luksmith developers (@luksmith)
description:
  - If no host matches the C(hosts) of a play and C(--limit), Ansible does nothing and ends with code 0. With this
    lookup the playbook fails.
  - The playbooks of this collection use it. A syntax check, which often has no inventory, always succeeds.
  - A limit from a file (C(--limit @FILE)) is left to Ansible.
options:
  _terms:
    description:
      - Patterns of hosts, as in C(hosts) of a play.
    type: list
    elements: raw
    required: true
seealso:
  - plugin: ansible.builtin.inventory_hostnames
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Fail if there are no servers
  hosts: "{{ lookup('luksmith.luks.play_hosts', 'servers') }}"
  tasks: []
"""

RETURN = r"""
_raw:
  description: The pattern, in one item.
  type: list
  elements: str
  sample: [servers]
"""

import typing as t

from ansible import context
from ansible.errors import AnsibleLookupError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

Variables = t.Mapping[str, t.Any]


class LookupModule(LookupBase):
    def run(self, terms: t.Sequence[t.Any], variables: t.Optional[Variables] = None, **kwargs: t.Any) -> t.List[str]:
        pattern = ",".join(map(str, self._flatten(terms)))
        if context.CLIARGS.get("syntax"):
            return [pattern]
        given = variables or {}
        limit = str(given.get("ansible_limit") or "")
        hosts = self._matching(pattern, given)
        if limit and "@" not in limit:
            limited = self._matching(limit, given)
            hosts = [host for host in hosts if host in limited]
        if not hosts:
            beside = f" with --limit {limit}" if limit else ""
            raise AnsibleLookupError(f"No host of the inventory matches {pattern}{beside}. Nothing was changed.")
        return [pattern]

    def _matching(self, pattern: str, variables: Variables) -> t.List[str]:
        found = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        return list(found.run([pattern], variables=variables))
