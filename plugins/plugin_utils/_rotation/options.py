# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Options come from whoever runs the play, never from a host. Pure.

Ansible keeps the facts of a host beside its variables, and they win over the inventory and over the defaults of a
role. Any module result can hold facts, and a host decides what its module results hold.
"""

from __future__ import annotations

import typing as t

# What the names of the options of our roles begin with.
PREFIXES = ("rotate_", "audit_")


class ClaimedByHost(Exception):
    """A host returned facts that bear the names of options."""


def claimed(facts: t.Any) -> t.List[str]:
    """The names of facts that would pass for an option of one of our roles, or for a variable within it."""
    names = [str(name) for name in facts] if isinstance(facts, t.Mapping) else []
    return sorted(name for name in names if (name[8:] if name.startswith("ansible_") else name).startswith(PREFIXES))


def refuse_claimed(facts: t.Any) -> None:
    """Raises ClaimedByHost."""
    names = claimed(facts)
    if names:
        raise ClaimedByHost(
            f"the facts of this host bear the name of options: {', '.join(map(ascii, names))}. A host must not "
            "decide about the controller. Find out whether the host lies or who filled the fact cache, and empty "
            "the cache of this host (ansible.builtin.meta: clear_facts); set an option with set_fact only without "
            "cacheable"
        )
