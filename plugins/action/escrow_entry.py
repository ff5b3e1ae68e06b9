# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of a rotation that seals each secret for the holders of private keys; the controller keeps no secret in the
clear.
"""

from __future__ import annotations

from ..plugin_utils._store_action import StoreAction, store_options


class ActionModule(StoreAction):
    TRANSFERS_FILES = False
    STORE = "escrow"
    OPTIONS = store_options(
        folder={"type": "path", "required": True},
        certificates={"type": "list", "elements": "path", "default": []},
        private_key={"type": "str", "no_log": True},
        signers={"type": "list", "elements": "path", "default": []},
        signing_key={"type": "path", "no_log": False},
        signing_passphrase={"type": "str", "no_log": True},
        accept_unsigned={"type": "bool", "default": False},
    )
