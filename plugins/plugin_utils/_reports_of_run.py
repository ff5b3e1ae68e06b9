# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The reports of a run are renewed when ansible-playbook ends, however it does, unless it is killed: with Ctrl-C the
processes of the hosts die at once, and cannot say themselves that they were interrupted.

Ansible loads an action in its own process first, before that of any host. So what is registered here when the action is
loaded happens at the end of ansible-playbook.
"""

from __future__ import annotations

import atexit
import os

from ansible.utils.display import Display

from ..module_utils._luks.errors import LuksmithError
from ..module_utils._luks.paths import fault
from ._report.running import RunningReport
from ._this_run import folder_of_run, identity_of_run


def note_report(folder: str) -> None:
    """This run makes a report in ``folder``. Raises LuksmithError."""
    line = os.fsencode(folder) + b"\0"
    path = _path()
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "ab+") as noted:
            noted.seek(0)
            if line not in noted.read():
                noted.write(line)
    except OSError as error:
        raise fault(path, "cannot be written", error) from None


def end_reports(process: int) -> None:
    """At the end of the process ``process``, which is not that of a host."""
    if os.getpid() != process:
        return
    try:
        with open(_path(), "rb") as noted:
            folders = {os.fsdecode(line) for line in noted.read().split(b"\0") if line}
    except OSError:
        return  # no host was begun
    for folder in sorted(folders):
        try:
            RunningReport(folder, identity_of_run()).end()
        except LuksmithError as error:
            Display().warning(str(error))


def _path() -> str:
    return os.path.join(folder_of_run(), "reports")


atexit.register(end_reports, os.getpid())
