# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What somebody needs to repeat an audit and to compare its answer: program, time, host, policy, what was tried."""

from __future__ import annotations

import datetime
import os
import typing as t

from ..task.options import PROOF, RECORD
from . import policy_text
from .audit_task import AuditTask
from .rules import IDS

TOOL = "luksmith.luks 1.0.0"  # a test compares it with galaxy.yml
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


def evidence_of(task: AuditTask, now: datetime.datetime) -> t.Dict[str, t.Any]:
    """The member ``evidence`` of a result; the header's own digest is its ``fingerprint``."""
    return {
        "tool": TOOL,
        "time": now.strftime(MOMENT),
        "host": os.uname().nodename,
        "policy": policy_text.describe(task.policy, IDS),
        "labels": [task.labels[number] for number in task.allowed],
        "forbidden_labels": [task.labels[number] for number in dict.fromkeys((*task.forbidden, *task.older))],
        "backups": list(task.backups),
        "verify": RECORD if task.by_record else PROOF,
    }
