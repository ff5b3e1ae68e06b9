# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What a report says of the run as a whole: which one it is, who started it, and where."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import pathlib
import platform
import re
import typing as t

from ansible import constants
from ansible.release import __version__ as core
from ansible.utils.vars import get_unique_id

_ROOT = pathlib.Path(__file__).parents[2]
_VERSION = re.compile(r"^version:\s*(\S+)", re.MULTILINE)


def identity_of_run() -> str:
    """The same in all processes of one ansible-playbook, and in no other."""
    common = get_unique_id().rpartition("-")[0]  # made once, before Ansible starts a process for each host
    return hashlib.sha256(common.encode()).hexdigest()[:16]


def folder_of_run() -> str:
    """For what the processes of this run share; Ansible makes its parent for this run, and removes it afterwards."""
    return os.path.join(constants.DEFAULT_LOCAL_TMP, "luksmith.luks")


def folder_of_batches() -> str:
    return os.path.join(folder_of_run(), "batches")


def controller() -> t.Dict[str, t.Any]:
    return {
        "who": who(),
        "controller": platform.node(),
        "versions": {"luksmith.luks": _collection(), "ansible-core": core, "python": platform.python_version()},
    }


def who() -> str:
    """The user of the controller, and who is behind it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        name = f"user {os.getuid()}"
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo of {behind})" if behind and behind != name else name


def _collection() -> str:
    """The version of this collection, as it was installed or as it is checked out."""
    try:
        return str(json.loads((_ROOT / "MANIFEST.json").read_text(encoding="utf-8"))["collection_info"]["version"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    try:
        found = _VERSION.search((_ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found.group(1) if found else "unknown"
