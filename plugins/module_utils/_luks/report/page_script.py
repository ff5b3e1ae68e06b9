# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the report page does. Python files, because Ansible carries nothing else to where a module runs.

All text reaches the page by ``textContent`` or attributes of fixed names; nothing is ever parsed as HTML. Only one page of hosts is
in the document at a time, so that 3,000 volumes are as quick as 3.
"""

from __future__ import annotations

from .script import details, filters, layout, overview, paper, shared, slots, volumes

# The parts are one function, so that they see each other's names and the browser's global scope gets none. What a part does
# when the page is drawn for the first time needs only those before it.
_PARTS = (shared, slots, filters, overview, volumes, details, paper, layout)

SCRIPT = '\n"use strict";\n(() => {' + "".join(part.PART for part in _PARTS) + "})();\n"
