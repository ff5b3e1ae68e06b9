# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the tasks that begin, and kills ansible-playbook with SIGKILL when number KILL_AT would."""

from __future__ import annotations

import os
import pathlib
import signal
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill_at
type: notification
short_description: Kill the controller at a task
description: For tests.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "kill_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self._begun: t.List[str] = []

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        if os.environ.get("KILL_AT") == str(len(self._begun)):
            os.kill(os.getpid(), signal.SIGKILL)
        self._begun.append(task.get_name())
        pathlib.Path(os.environ["TASKS_BEGUN"]).write_text("\n".join(self._begun))
