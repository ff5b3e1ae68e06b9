# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes for tests as plain functions, for pytest and other programs. docs/testing_your_role.md shows how to use them.

This is the only public module util of luksmith.luks: names and options change only as those of its modules do.
"""

from __future__ import annotations

import os
import typing as t

from ._luks.errors import BadTask
from ._luks.fixtures import volumes
from ._luks.fixtures.recipe import parse_recipe


def make_test_volume(path: t.Union[str, os.PathLike[str]], **options: t.Any) -> t.Dict[str, t.Any]:
    """Make the LUKS volume ``path``, which must not exist, and return its path, header, format, uuid and keyslots.

    ``options``: those of an item of ``volumes`` of the module luksmith.luks.test_volumes, such as ``format="luks1"`` or
    ``secrets=[{"label": "admin", "passphrase": "x"}]``. If it fails, no file stays.

    Raises an Exception whose text says what is wrong and what to do.
    """
    if "state" in options:
        raise BadTask("state is not an option here", remedy="Remove a volume with remove_test_volume")
    given = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
    recipe = parse_recipe({"path": os.fspath(path), **given}, "")
    volumes.write(volumes.prepare([recipe]))
    return volumes.facts(recipe)


def remove_test_volume(
    path: t.Union[str, os.PathLike[str]], header: t.Union[str, os.PathLike[str], None] = None
) -> bool:
    """Remove a volume that :func:`make_test_volume` made. False if it is not there.

    Raises an Exception, and removes nothing, if it is anything else.
    """
    return volumes.remove(os.fspath(path), None if header is None else os.fspath(header))
