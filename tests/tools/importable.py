# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder in which Ansible finds this checkout as ``luksmith.luks``, without Galaxy: ``python3 importable.py`` prints
it.
"""

from __future__ import annotations

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def collections_path() -> pathlib.Path:
    """Value for ANSIBLE_COLLECTIONS_PATH; made when it is not there, pointed here when the checkout was moved."""
    folder = ROOT / ".cache" / "collections"
    link = folder / "ansible_collections" / "luksmith" / "luks"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.resolve() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT)
    return folder


if __name__ == "__main__":
    print(collections_path())
