# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""community.crypto.luks_device as the package ``ansible`` brings it, called without a playbook."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t

# The lane "peers" makes the environment and names its Python here.
PYTHON = os.environ.get("LUKSMITH_PEER_PYTHON", "")

# Its debug messages go to the system's log; nobody reads that here, and a chroot has none.
_RUNNER = """
import runpy, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
sys.argv[1:] = []
runpy.run_module("ansible_collections.community.crypto.plugins.modules.luks_device", run_name="__main__")
"""


def luks_device(device: str, arguments: t.Mapping[str, t.Any], *, check: bool = False) -> t.Dict[str, t.Any]:
    """What the module says; ``failed`` is always there. It finds cryptsetup on PATH."""
    internal = {"_ansible_check_mode": check, "_ansible_remote_tmp": "/dev/null/x", "_ansible_keep_remote_files": False}
    done = subprocess.run(
        [PYTHON, "-c", _RUNNER],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"device": device, **arguments, **internal}}).encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    try:
        result = t.cast(t.Dict[str, t.Any], json.loads(done.stdout))
    except ValueError:
        raise AssertionError(f"luks_device printed no JSON: {done.stdout!r} {done.stderr!r}") from None
    result.setdefault("failed", False)
    return result
