# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the system is asked for, so that secrets in memory go to no core and no debugger."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._module import cores


@pytest.mark.parametrize(("hard", "most"), [(cores.resource.RLIM_INFINITY, 1), (100, 1), (1, 1), (0, 0)])
def test_no_core_and_no_debugger(hard: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 0 is left alone: only root could raise it to 1."""
    asked: t.List[t.Any] = []
    limits = types.SimpleNamespace(
        RLIMIT_CORE=4,
        RLIM_INFINITY=cores.resource.RLIM_INFINITY,
        getrlimit=lambda _what: (hard, hard),
        setrlimit=lambda what, limit: asked.append((what, limit)),
    )
    library = types.SimpleNamespace(prctl=lambda *given: asked.append(given))
    monkeypatch.setattr(cores, "resource", limits)
    monkeypatch.setattr(cores, "ctypes", types.SimpleNamespace(CDLL=lambda _none: library))
    cores.forbid_core_dumps()
    assert asked == [(4, (most, most)), (4, 0, 0, 0, 0)]
