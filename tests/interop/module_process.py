# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main module on one volume, in a process of its own, which tests/tools/module_server.py starts."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.luksmith.luks.tests.tools.module_server import ModuleFailed, Running, run_module, start_module

__all__ = ["ModuleFailed", "Running", "keyslots", "run_module", "start_module"]


def keyslots(
    device: t.Union[str, pathlib.Path],
    entries: t.Sequence[t.Mapping[str, t.Any]],
    *,
    check: bool = False,
    hooks: t.Sequence[t.Any] = (),
    **options: t.Any,
) -> t.Dict[str, t.Any]:
    """The result, with its diff. ``unlock=["secret"]`` is short for passphrases."""
    unlock = [{"passphrase": secret} if isinstance(secret, str) else secret for secret in options.pop("unlock", ())]
    return run_module(
        "keyslots",
        {"device": str(device), "keyslots": list(entries), "unlock": unlock, **options},
        check=check,
        diff=True,
        hooks=hooks,
    )
