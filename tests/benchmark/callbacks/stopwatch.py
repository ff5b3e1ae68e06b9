# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times every task of a play by the controller's clock; for ansible-playbook as its standard output callback."""

from __future__ import annotations

DOCUMENTATION = """
name: stopwatch
type: stdout
short_description: One line of JSON for each task
description: What the benchmark reads.
"""

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

KEPT = ("changed", "kdf_evaluations", "msg", "rc", "stderr", "ansible_facts")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "stopwatch"

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._name = task.get_name()
        self._started = time.monotonic()

    def _write(self, result: t.Any, failed: bool) -> None:
        values = getattr(result, "result", None) or result._result
        line = {
            "task": self._name,
            "seconds": time.monotonic() - self._started,
            "failed": failed,
            **{key: values[key] for key in KEPT if key in values},
        }
        with open(os.environ["LUKSMITH_STOPWATCH"], "a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._write(result, False)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._write(result, True)
