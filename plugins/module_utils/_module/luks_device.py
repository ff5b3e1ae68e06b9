# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""For somebody who knows community.crypto.luks_device: what to write in ``keyslots`` in place of its options."""

from __future__ import annotations

_HERE = {
    "passphrase": "unlock: [{passphrase: ...}]",
    "keyfile": "unlock: [{keyfile: ...}]",
    "passphrase_encoding": "passphrase_base64 in place of passphrase",
    "new_passphrase": "keyslots: [{new_secret: {passphrase: ...}}]",
    "new_keyfile": "keyslots: [{new_secret: {keyfile: ...}}]",
    "new_keyslot": "keyslots: [{keyslot: ..., new_secret: ...}]",
    "remove_passphrase": "keyslots: [{state: absent, old_secret: {passphrase: ...}}]",
    "remove_keyfile": "keyslots: [{state: absent, old_secret: {keyfile: ...}}]",
    "remove_keyslot": "keyslots: [{state: absent, keyslot: ...}]",
    "force_remove_last_key": "allow_lockout",
    "keyslot": "keyslots: [{keyslot: ..., new_secret: ...}]",
    "keyslot_priority": "keyslots: [{keyslot: ..., priority: ...}]",
    "pbkdf": "keyslots: [{new_secret: ..., pbkdf: ...}]",
    "algorithm": "type",
    "iteration_time": "iter_time beside pbkdf, in milliseconds",
    "iteration_count": "iterations for pbkdf2, or time for Argon2",
    "label": "the path of the volume under device, which volumes_info finds",
    "uuid": "the path of the volume under device, which volumes_info finds",
}
_NOT_HERE = (
    "name state type cipher hash keysize sector_size tpm2_device new_tpm2 new_tpm2_pcrs remove_tpm2 persistent "
    "allow_discards perf_same_cpu_crypt perf_submit_from_crypt_cpus perf_no_read_workqueue perf_no_write_workqueue"
)
_THEIRS = "is an option of community.crypto.luks_device"

HINTS = {
    **{name: f"{_THEIRS}; here, write {instead}" for name, instead in _HERE.items()},
    **dict.fromkeys(
        _NOT_HERE.split(),
        f"{_THEIRS}, which makes, opens, closes and wipes volumes; keyslots manages those that exist",
    ),
}
