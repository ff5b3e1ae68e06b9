# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts there are: two of each release, with the package python3-cryptography, and without it.

Without it the engine has only Python and the libraries of cryptsetup. That is the harder case, and the short form.
"""

from __future__ import annotations

import typing as t

import pytest

from . import roots

STOCK = ("cryptsetup-bin",)
CRYPTOGRAPHY = ("python3-cryptography",)
# Layers of packages by the name of the host, which begins with its release.
LAYERS: t.Dict[str, t.Tuple[roots.Layer, ...]] = {}
for suite in roots.SUITES:
    LAYERS[suite] = (STOCK,)
    LAYERS[f"{suite} with cryptography"] = (STOCK, CRYPTOGRAPHY)


def of_host(name: str, *more: pytest.MarkDecorator) -> t.Any:
    """The host as a parameter. One process runs all tests of a host, because they share what was made there."""
    beyond = [] if LAYERS[name] == (STOCK,) else [pytest.mark.full]
    return pytest.param(name, marks=[pytest.mark.xdist_group(f"hosts: {name}"), *beyond, *more])


def on(*names: str, full: t.Sequence[str] = ()) -> pytest.MarkDecorator:
    """A test runs on these hosts only, and on those of ``full`` in the full size."""
    hosts = [*(of_host(name) for name in names), *(of_host(name, pytest.mark.full) for name in full)]
    return pytest.mark.parametrize("host", hosts, indirect=True)
