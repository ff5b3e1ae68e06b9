# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each program says about a vector: "refused", "opens N with LABEL", or "opens nothing"."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect

from .kit import Vector

Say = t.Callable[[Vector, pathlib.Path], str]


def ours(vector: Vector, image: pathlib.Path) -> str:
    """What ``keyslots_info`` would say, without the process of a module."""
    secrets = [{"passphrase": secret.decode(), "label": label} for label, secret in vector.secrets.items()]
    try:
        task = parse_info({"device": str(image), "secrets": secrets})
        try:
            found = inspect(task)
        finally:
            task.wipe_secrets()
    except LuksmithError:
        return "refused"
    return _said({label: [str(slot) for slot in slots] for label, slots in found["opened_by"].items()})


def cryptsetup(vector: Vector, image: pathlib.Path, prefix: t.Sequence[str] = ()) -> str:
    """``prefix``: a command that runs the program elsewhere (``chroot DIR``)."""
    dump = subprocess.run([*prefix, "cryptsetup", "luksDump", str(image)], capture_output=True, check=False)
    if dump.returncode:
        return "refused"
    opened: t.Dict[str, t.List[str]] = {}
    for label, secret in vector.secrets.items():
        command = [*prefix, "cryptsetup", "open", "--test-passphrase", "-v", "--key-file=-", str(image)]
        tried = subprocess.run(command, input=secret, capture_output=True, check=False)
        words = tried.stdout.decode().split()
        opened[label] = [words[words.index("slot") + 1]] if not tried.returncode and "slot" in words else []
    return _said(opened)


def _said(opened: t.Mapping[str, t.Sequence[str]]) -> str:
    facts = [f"{slot} with {label}" for label, slots in opened.items() for slot in slots]
    return f"opens {', '.join(facts)}" if facts else "opens nothing"
