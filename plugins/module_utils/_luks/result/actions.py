# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The actions of a plan as values for a module's result. Imports no engine, so that every module can report them."""

from __future__ import annotations

import typing as t

from ..errors import Interrupted
from ..plan.actions import Action

Result = t.Dict[str, t.Any]


def interruption(error: Interrupted) -> Result:
    return {
        "actions_done": [action_row(action) for action in error.actions_done],
        "actions_left": [action_row(action) for action in error.actions_left],
    }


def action_row(action: Action) -> Result:
    return {"action": str(action.kind), "keyslot": action.keyslot, "label": action.label, "reason": action.reason}
