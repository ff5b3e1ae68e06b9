# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Import the collection as the unit tests do, and find the module runner of the interop tests."""

from __future__ import annotations

import pathlib
import runpy
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]

runpy.run_path(str(TESTS / "unit" / "conftest.py"))
sys.path.insert(0, str(TESTS / "interop"))
