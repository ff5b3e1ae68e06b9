# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What an engine says of the options that it was given, in the words of what the operator typed. Pure."""

from __future__ import annotations

import re
import typing as t

_ENTRY = re.compile(r"keyslots\[(\d+)\](\.(?:new|old)_secret)?")
_UNLOCK = re.compile(r"unlock\[(\d+)\]")
_OTHERS = (
    ("(state: absent with its number)", "(luksmith.luks.keyslots with state: absent and its number)"),
    ("set backup_dir to", "set rotate_backup_dir to"),
    ("the same backup_dir", "the same rotate_backup_dir"),
    ("as backup_dir", "as rotate_backup_dir"),
    ("give under unlock the secret", "give in rotate_keeps or rotate_replaces the secret"),
    ("No secret under unlock", "No secret of the store, of rotate_keeps or of rotate_replaces"),
    ("under unlock", "in rotate_keeps or rotate_replaces"),
    ("if you give the path of its QMP monitor as qmp", "if you give the path of its QMP monitor in rotate_qmp"),
    ("Run the same task again", "Run the rotation again"),
    ("run the task again", "run the rotation again"),
)


def in_words(text: str, keeps: int, held: int) -> str:
    """``text`` of the module for an order with one present entry, ``held`` secrets of the store, then those of
    ``rotate_replaces``; ``keeps``: how many of ``rotate_keeps`` come before them under ``unlock``.
    """

    def entry(match: t.Match[str]) -> str:
        position = int(match.group(1))
        if position == 0:
            return "the new secret" if match.group(2) else "the rotation"
        return _gone(position - 1, held)

    def unlock(match: t.Match[str]) -> str:
        position = int(match.group(1))
        return f"rotate_keeps[{position}]" if position < keeps else _gone(position - keeps, held)

    text = _UNLOCK.sub(unlock, _ENTRY.sub(entry, text))
    for found, told in _OTHERS:
        text = text.replace(found, told)
    return text


def _gone(position: int, held: int) -> str:
    return "the store" if position < held else f"rotate_replaces[{position - held}]"
