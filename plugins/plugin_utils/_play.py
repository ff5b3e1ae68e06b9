# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The batch of a play that a task is of, for :mod:`._batches`, which knows no Ansible."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.template import Templar

from ._batches import Batch

# order of a play -> the hosts of ansible_play_hosts_all as its batches have them. Nobody can tell for shuffle.
_ORDERS: t.Mapping[t.Any, t.Callable[[t.List[str]], t.List[str]]] = {
    None: list,
    "inventory": list,
    "reverse_inventory": lambda hosts: hosts[::-1],
    "sorted": sorted,
    "reverse_sorted": lambda hosts: sorted(hosts, reverse=True),
}


def batch_of(task: Task, variables: t.Mapping[str, t.Any], templar: Templar) -> t.Tuple[Batch, bool]:
    """The batch, and whether it has the hosts that were lost before this task, too."""
    play, here = task.get_play(), str(variables["inventory_hostname"])
    limit = play.max_fail_percentage
    if isinstance(limit, str):
        limit = float(str(templar.template(limit)).strip().rstrip("%"))
    whole = _whole_batch(task)
    hosts = {*(whole or ()), *variables.get("ansible_play_batch", ()), here}
    everybody = list(variables.get("ansible_play_hosts_all", ()))
    lost = set(everybody) - set(variables.get("ansible_play_hosts", everybody))
    earlier: t.Set[str] = set()
    if play.order in _ORDERS:
        ordered = _ORDERS[play.order](everybody)
        first = next((number for number, one in enumerate(ordered) if one in hosts), 0)
        earlier = set(ordered[:first]) & lost
    return Batch(hosts, lost, earlier, limit, everybody), whole is not None


def _whole_batch(task: Task) -> t.Optional[t.List[str]]:
    """The hosts to which the inventory is restricted now; None where this release of ansible-core does not say.

    ansible_play_batch leaves out those that its own play has lost. Another play, here an empty one, has lost none.
    """
    try:
        found = task.get_variable_manager().get_vars(play=Play(), include_hostvars=False)["ansible_play_batch"]
    except (AnsibleError, AttributeError, LookupError, TypeError):
        return None
    return [str(name) for name in found]
