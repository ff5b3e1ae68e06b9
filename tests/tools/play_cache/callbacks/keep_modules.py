# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets ansible-playbook find the archives of modules that an earlier play of the same tests has put together."""

from __future__ import annotations

import os
import typing as t

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: keep_modules
type: notification
short_description: Put the archives of modules together once, not once for each play
description: For tests.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "keep_modules"

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        folder = os.environ.get("LUKSMITH_PLAY_ARCHIVES")
        if folder:
            os.makedirs(folder, exist_ok=True)
            # Where this process looks first; the folder beside it is its own, and the name is free.
            os.symlink(folder, os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))
