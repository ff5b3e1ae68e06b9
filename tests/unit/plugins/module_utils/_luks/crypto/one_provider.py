# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a test once for each provider of a list, with that provider alone; skipped where this host does not have it."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.providers import NotProvided
from ansible_collections.luksmith.luks.tests.needs import Need

# What apt brings; tests/requirements/unit.txt has the others.
PACKAGES = {"libargon2": "libargon2-1"}


@contextlib.contextmanager
def alone(providers: t.List[t.Any], provider: t.Any, ability: t.Callable[[t.Any], object]) -> t.Iterator[None]:
    try:
        ability(provider)
    except NotProvided as reason:
        package = PACKAGES.get(provider.name)
        pytest.skip(str(Need(provider.name, f"apt install {package}")) if package else f"{provider.name}: {reason}")
    before = providers[:]
    providers[:] = [provider]
    try:
        yield
    finally:
        providers[:] = before


def named(provider: t.Any) -> str:
    return str(provider.name)
