# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile and import every plugin of a target with the Python that runs this; prints what fails and exits with 1.

The caller puts an Ansible whose module_utils serve this Python on PYTHONPATH. The optional libraries are absent on
purpose: importing must work on a bare target.
"""

from __future__ import annotations

import importlib
import pathlib
import runpy
import sys
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folders of plugins/ that no target ever sees; they need all of ansible-core.
ON_THE_CONTROLLER = ("action", "doc_fragments", "filter", "lookup", "plugin_utils", "test")


def main() -> int:
    runpy.run_path(str(ROOT / "tests" / "tools" / "register.py"))
    failed = 0
    files = sorted((ROOT / "plugins").rglob("*.py"))
    for path in files:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.relative_to(ROOT).parts[1] in ON_THE_CONTROLLER:
            continue
        try:
            importlib.import_module(f"ansible_collections.luksmith.luks.{name}")
        except Exception as error:  # noqa: BLE001  whatever keeps a plugin from loading is the finding
            print(f"{path.relative_to(ROOT)}: {''.join(traceback.format_exception_only(type(error), error)).strip()}")
            failed += 1
    print(f"Python {sys.version.split()[0]}: {len(files)} files, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
