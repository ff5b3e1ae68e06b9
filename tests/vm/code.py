# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of this checkout as a file system for the guest, compiled by the guest's own Python.

Ansible sends source text in an archive, and to compile that takes most of a module's time under emulation. That the
modules work as Ansible sends them is shown by tests/hosts on the same Debian, and by the molecule scenario ``vm``.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import tempfile
import typing as t

import ansible
from ansible_collections.luksmith.luks.tests.hosts import roots

LABEL = "luksmith-code"
FOLDER = "/srv"
RUN = f"{FOLDER}/run"
_SIZE = "24M"
# Secrets come on standard input, so that the argument list and the environment hold none.
_RUN = f"""
import runpy, sys
sys.path.insert(0, "{FOLDER}")
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"  # core >= 2.19 asks for it, older ones do not look
runpy.run_module("ansible_collections.luksmith.luks.plugins.modules." + sys.argv.pop(1), run_name="__main__")
"""
_COMPILE = """
set -e
mount --bind "$2" "$1/mnt"
exec chroot "$1" python3 -m compileall -q --invalidation-mode unchecked-hash /mnt
"""


def make(tree: pathlib.Path, file: pathlib.Path, changes: t.Sequence[t.Tuple[str, str, str]] = ()) -> pathlib.Path:
    """Write the file system; returns ``file``.

    tree: the guest's root file system as a folder. changes: (path in this checkout, text that is there once, what the
    guest gets in its place), to see whether the tests notice.
    """
    with tempfile.TemporaryDirectory(prefix="luksmith-vm-") as name:
        folder = pathlib.Path(name)
        own = pathlib.PurePath("ansible_collections/luksmith/luks/plugins")
        unused = shutil.ignore_patterns("__pycache__", "csharp", "powershell", "facts")
        for source in ("module_utils", "modules"):
            shutil.copytree(roots.ROOT / "plugins" / source, folder / own / source, ignore=unused)
        shutil.copytree(
            pathlib.Path(ansible.__file__).parent / "module_utils", folder / "ansible/module_utils", ignore=unused
        )
        (folder / "ansible/__init__.py").touch()
        (folder / "run").write_text(_RUN)
        for path, text, replacement in changes:
            changed = folder / own.parent / path
            source_text = changed.read_text()
            assert source_text.count(text) == 1, f"{path} has not exactly one {text!r}"
            changed.write_text(source_text.replace(text, replacement))
        subprocess.run([*roots.OWN_MOUNTS, "sh", "-c", _COMPILE, "sh", str(tree), name], check=True)
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-L", LABEL, "-d", name, str(file), _SIZE], check=True
        )
    return file
