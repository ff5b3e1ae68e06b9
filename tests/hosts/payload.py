# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's own payload for a module call, as it travels to a managed host.

A process of its own, because Ansible's collection loader and the one of tests/tools/register.py cannot live together:
each line of standard input is JSON {"module", "arguments"}, each line of standard output the payload in base64.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "tools"))

import importable  # noqa: E402

INTERPRETER = "/usr/bin/python3"


def main() -> None:
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(importable.collections_path())
    os.environ.setdefault("ANSIBLE_HOME", str(ROOT / ".cache" / "ansible"))

    from ansible.executor.module_common import modify_module
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader, module_loader
    from ansible.template import Templar

    init_plugin_loader()
    for line in sys.stdin:
        call = json.loads(line)
        name = f"luksmith.luks.{call['module']}"
        built: t.Any = modify_module(
            module_name=name,
            module_path=module_loader.find_plugin_with_context(name).plugin_resolved_path,
            module_args=call["arguments"],
            templar=Templar(loader=DataLoader()),
            task_vars={"ansible_python_interpreter": INTERPRETER},
            module_compression="ZIP_DEFLATED",
        )
        # ansible-core 2.19 and newer name what older ones return as a tuple.
        payload: bytes = built[0] if isinstance(built, tuple) else built.b_module_data
        print(base64.b64encode(payload).decode("ascii"), flush=True)


if __name__ == "__main__":
    main()
