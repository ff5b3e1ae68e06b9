# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Between a module and the engine: the one place that turns errors into results and keeps secrets inside."""

from __future__ import annotations

import re
import signal
import sys
import threading
import types
import typing as t

from .._luks.errors import NOTHING_CHANGED, Interrupted, LuksmithError, Unexpected, end_of_run
from .._luks.result.actions import interruption
from .cores import forbid_core_dumps

Result = t.Dict[str, t.Any]

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Terminated(BaseException):
    """A signal asked this process to end. Not an Exception, so that error handling lets it pass."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name


class Module(t.Protocol):
    """The part of AnsibleModule that is used here."""

    check_mode: bool
    params: t.Dict[str, t.Any]

    def warn(self, warning: str) -> None:
        ...

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        ...

    def fail_json(self, msg: str, **result: t.Any) -> t.NoReturn:
        ...


def run_module(module: Module, work: t.Callable[[], Result], *, leaves: str) -> t.NoReturn:
    """Do ``work`` and end the module with its result, or with the message of its error.

    leaves: a sentence on what an interrupted module may leave behind; NOTHING_CHANGED for one that never writes.
    A result with ``failed`` ends as a failure. Raises nothing: a traceback or the text of a foreign exception could
    show a secret.
    """
    forbid_core_dumps()
    found = {each: signal.getsignal(each) for each in _SIGNALS}
    unwind_on_signals()
    # Python prints exceptions of threads and destructors with their text; the thread that waits gets the error anyway.
    threading.excepthook = sys.unraisablehook = _say_nothing
    try:
        leaves = NOTHING_CHANGED if module.check_mode else leaves
        result = _outcome(work, leaves)
        result = _outcome(lambda: _readable(result, module.params), leaves)
        for warning in result.pop("warnings", ()):
            module.warn(warning)
        # Not inside an except clause: Ansible would look up the exception being handled and add it to the result.
        if not result.pop("failed", False):
            try:
                module.exit_json(**result)
            except Exception as error:  # noqa: BLE001 - its text must not get out
                result = _unexpected(error, leaves)
        module.fail_json(**result)
    finally:
        # Under Mitogen this process goes on with other tasks. The hooks stay: what dies at its very end may know a
        # secret too.
        for each, handler in found.items():
            if handler is not None:  # one that Python did not set, nor did we
                signal.signal(each, handler)


def _readable(result: Result, params: Result) -> Result:
    """For Ansible, with the volume or file that ``params`` name in each warning."""
    found = t.cast(Result, _as_text(result))
    about = str(_as_text(params.get("device") or params.get("path") or ""))
    return {**found, "warnings": [_named(warning, about) for warning in found.get("warnings", ())]}


def _named(warning: str, about: str) -> str:
    """With the volume or file that the module is about: Ansible shows it apart from the task and the item of a loop."""
    named = not about or re.search(rf"{re.escape(about)}(?![./-]?\w)", warning)
    return warning if named else f"{about}: {warning}"


def _as_text(value: t.Any) -> t.Any:
    """``value`` with an escape in the place of each byte that is no text, as in the name of a file.

    ansible-core 2.19 and newer refuse a whole answer because of one.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, t.Mapping):
        return {_as_text(name): _as_text(member) for name, member in value.items()}
    return [_as_text(member) for member in value] if isinstance(value, (list, tuple)) else value


def _say_nothing(_unraisable: t.Any) -> None:
    """An exception hook that prints nothing."""


def unwind_on_signals() -> None:
    """Make the first signal raise :class:`Terminated`, so that secrets are wiped and locks released; a second kills."""

    def terminate(number: int, frame: t.Optional[types.FrameType]) -> t.NoReturn:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise Terminated(number)

    for each in _SIGNALS:
        # Under nohup SIGHUP is ignored, and stays so.
        if signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(each, terminate)


def _outcome(work: t.Callable[[], Result], leaves: str) -> Result:
    try:
        return work()
    except Terminated as ended:
        return _terminated(ended, leaves)
    except Interrupted as error:
        return {"failed": True, "changed": True, "msg": str(error), **interruption(error)}
    except Exception as error:  # noqa: BLE001 - its text must not get out
        ending = end_of_run(error)  # an error on the way out of a signal is not what ended the run
        if isinstance(ending, Terminated):
            return _terminated(ending, leaves)
        if isinstance(error, LuksmithError):
            return {"failed": True, "changed": error.after_change, "msg": str(error)}
        return {"failed": True, **_unexpected(error, leaves)}


def _unexpected(error: Exception, leaves: str) -> Result:
    changed = (
        NOTHING_CHANGED
        if leaves == NOTHING_CHANGED
        else "What was changed is not known; luksmith.luks.keyslots_info shows the state of a volume"
    )
    return {**_unchanged(leaves), "msg": str(Unexpected.of(error, changed=changed))}


def _terminated(ended: Terminated, leaves: str) -> Result:
    return {"failed": True, **_unchanged(leaves), "msg": f"The run was ended by {ended.name}. {leaves}"}


def _unchanged(leaves: str) -> Result:
    return {"changed": False} if leaves == NOTHING_CHANGED else {}
