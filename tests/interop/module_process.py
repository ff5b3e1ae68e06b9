# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of the collection as Ansible does: a process of its own, arguments on one side, JSON on the other."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Arguments come on standard input, so that the argument list and the environment hold no secret.
_RUNNER = """
import json, runpy, sys
runpy.run_path(sys.argv[2])
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"  # core >= 2.19 asks for it, older ones do not look
sys.argv[1:] = sys.argv[1:2]
runpy.run_module("ansible_collections.luksmith.luks.plugins.modules." + sys.argv.pop(1), run_name="__main__")
"""


class ModuleFailed(AssertionError):
    """The module called fail_json; ``result`` is all that it said."""

    def __init__(self, result: t.Dict[str, t.Any]) -> None:
        super().__init__(result.get("msg"))
        self.result = result


@dataclasses.dataclass
class Running:
    process: t.Any

    def result(self, timeout: float = 300) -> t.Dict[str, t.Any]:
        """What the module said; raises ModuleFailed when that is a failure."""
        out, err = self.process.communicate(timeout=timeout)
        try:
            result = t.cast(t.Dict[str, t.Any], json.loads(out))
        except ValueError:
            raise AssertionError(f"the module printed no JSON (exit {self.process.returncode}): {out!r} {err!r}") from None
        if result.get("failed"):
            raise ModuleFailed(result)
        return result


def start_module(
    name: str, arguments: t.Mapping[str, t.Any], *, check: bool = False, diff: bool = False, env: t.Optional[t.Mapping[str, str]] = None
) -> Running:
    """``keyslots`` or another module of the collection, started; ask :meth:`Running.result` for the outcome."""
    arguments = {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/nowhere", "_ansible_keep_remote_files": False}
    process = subprocess.Popen(
        [sys.executable, "-c", _RUNNER, name, str(ROOT / "tests" / "tools" / "register.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
    process.stdin.close()
    process.stdin = None
    return Running(process)


def run_module(name: str, arguments: t.Mapping[str, t.Any], *, check: bool = False, diff: bool = False) -> t.Dict[str, t.Any]:
    return start_module(name, arguments, check=check, diff=diff).result()


def keyslots(
    device: t.Union[str, pathlib.Path],
    entries: t.Sequence[t.Mapping[str, t.Any]],
    *,
    check: bool = False,
    run: t.Callable[..., t.Dict[str, t.Any]] = run_module,
    **options: t.Any,
) -> t.Dict[str, t.Any]:
    """The main module on one volume. ``unlock=["secret"]`` is short for passphrases; ``run``: how a module is run."""
    unlock = [{"passphrase": secret} if isinstance(secret, str) else secret for secret in options.pop("unlock", ())]
    return run("keyslots", {"device": str(device), "keyslots": list(entries), "unlock": unlock, **options}, check=check, diff=True)
