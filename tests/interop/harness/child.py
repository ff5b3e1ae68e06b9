# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run in a process of its own: one module of the collection, with the arguments that stdin gives as JSON.

``child.py COLLECTIONS MODULE`` runs it once. ``child.py COLLECTIONS MODULE serve`` reads one line of arguments after the
other and forks for each, which saves the imports where a test needs hundreds of runs; every run is still a process.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys

import ansible.module_utils.basic as basic


def hand_over(arguments: bytes) -> None:
    basic._ANSIBLE_ARGS = arguments
    if hasattr(basic, "_ANSIBLE_PROFILE"):  # ansible-core 2.19 and newer
        basic._ANSIBLE_PROFILE = "legacy"


def serve(name: str) -> None:
    module = importlib.import_module(name)
    for line in sys.stdin.buffer:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            with open(job["result"], "wb") as result:
                os.dup2(result.fileno(), 1)
            hand_over(json.dumps({"ANSIBLE_MODULE_ARGS": job["arguments"]}).encode())
            module.main()
            os._exit(97)  # a module ends by itself
        _pid, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    module_name = f"ansible_collections.luksmith.luks.plugins.modules.{sys.argv[2]}"
    if sys.argv[3:] == ["serve"]:
        serve(module_name)
    else:
        hand_over(sys.stdin.buffer.read())
        runpy.run_module(module_name, run_name="__main__", alter_sys=True)
