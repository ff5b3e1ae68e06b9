# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of a rotation that is an ansible-vault file on the controller.

Runs in the controller's process: no secret leaves it.
"""

from __future__ import annotations

from ..plugin_utils._store_action import StoreAction, store_options


class ActionModule(StoreAction):
    TRANSFERS_FILES = False
    STORE = "vault_file"
    OPTIONS = store_options(path={"type": "path", "required": True}, vault_id={"type": "str"})
