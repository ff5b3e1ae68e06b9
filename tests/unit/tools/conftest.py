# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools import each other by their bare names, as scripts do."""

from __future__ import annotations

import pathlib
import sys

for folder in ("tools", "mutants"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / folder))
