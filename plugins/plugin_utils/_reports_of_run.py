# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The reports of a run are renewed when ansible-playbook ends, however it does, unless it is killed: with Ctrl-C and
SIGTERM the processes of the hosts die at once, and cannot say themselves that they were interrupted.

A run that did not come to its later batches says so here, because Ansible does not.

Then the command of ``rotate_report_command`` gets the JSON of the report on its standard input, once for each folder.

Ansible loads an action in its own process first, before that of any host. So what is registered here when the action is
loaded happens at the end of ansible-playbook, and its standard output is the one that all lines go through.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import signal
import sys
import threading
import types
import typing as t

from ansible import constants
from ansible.utils.display import Display

from ..module_utils._luks.errors import LuksmithError, shown
from ..module_utils._luks.paths import fault
from ._batches import Batches
from ._report.running import RunningReport
from ._rotation.program import MOST, Late, TooMuch, run
from ._rotation.stores.command import TIMEOUT, complaint
from ._this_run import folder_of_batches, folder_of_run, identity_of_run


def note_report(folder: str, command: t.Sequence[str] = ()) -> None:
    """This run makes a report in ``folder``, and gives it to ``command`` in the end. Raises LuksmithError."""
    line = json.dumps([folder, *command]).encode("ascii") + b"\n"
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
    _tell_not_begun()
    try:
        with open(_path(), "rb") as noted:
            lines = sorted(map(json.loads, noted))
    except OSError:
        return  # no host was begun
    for folder in sorted({folder for folder, *_command in lines}):
        report = RunningReport(folder, identity_of_run())
        try:
            report.end()
        except LuksmithError as error:
            Display().warning(str(error))
        for command in [command for one, *command in lines if one == folder and command]:
            problem = _given(command, report)
            if problem:
                Display().warning(f"The report of {folder} was not delivered: {problem}.")


def _tell_not_begun() -> None:
    try:
        told = Batches(folder_of_batches()).not_begun()
    except (LuksmithError, OSError, ValueError):
        return  # the report has it
    if told:
        Display().display(shown(told), color=constants.COLOR_ERROR)


def _given(command: t.Sequence[str], report: RunningReport) -> str:
    """Gives the report to ``command``; why that failed, or ""."""
    try:
        content = report.content()
    except LuksmithError as error:
        return str(error).rstrip(".")
    if content is None:
        return "it is that of a run that began later"
    try:
        done = run(command, content, TIMEOUT)
    except Late:
        return f"{command[0]} did not end within {TIMEOUT:g} seconds, and was ended"
    except TooMuch:
        return f"{command[0]} printed more than {MOST // 2**20} MiB, and was ended"
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a word of it holds a NUL character"
        return f"the program {command[0]} of rotate_report_command cannot be run: {reason}"
    return (
        f"{command[0]} failed with exit code {done.returncode}{complaint(done.stderr, ())}" if done.returncode else ""
    )


def _path() -> str:
    return os.path.join(folder_of_run(), "reports")


def show_lines_at_once() -> None:
    """Also in a pipe or a file, where Python would keep the phases of a host to itself until Ansible flushes."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def end_when_terminated(process: int) -> None:
    """SIGTERM comes from systemd, or from a job runner whose time is up. Ansible dies of it without what ``atexit``
    has.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        return

    def end(number: int, _frame: t.Optional[types.FrameType]) -> None:
        # A second one ends the process at once, and so does this one in the process of a host that inherited this.
        signal.signal(number, before)
        try:
            if os.getpid() == process:
                for one in multiprocessing.active_children():  # none may answer into a report that has its end
                    one.terminate()
                atexit.unregister(end_reports)
                end_reports(process)
        finally:
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
    atexit.register(signal.signal, signal.SIGTERM, before)  # the reports do not end twice at a time


show_lines_at_once()
atexit.register(end_reports, os.getpid())
end_when_terminated(os.getpid())
