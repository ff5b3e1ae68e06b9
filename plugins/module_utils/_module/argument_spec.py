# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Parts of argument specifications that several modules share. The modules' documentation says what options mean.

The engine, not the specification, checks which options go together (one source per secret, options of an absent
entry): its messages name the item ("keyslots[2].new_secret"), Ansible's only the option.
"""

from __future__ import annotations

import typing as t

Spec = t.Dict[str, t.Any]


def secret_options() -> Spec:
    """One secret. The texts are raw, so that a list or a number is refused instead of converted to some text."""
    return {
        "label": {"type": "str"},
        "passphrase": {"type": "raw", "no_log": True},
        "passphrase_base64": {"type": "raw", "no_log": True},
        "keyfile": {"type": "path", "no_log": False},
        "keyfile_offset": {"type": "int", "no_log": False},
        "keyfile_size": {"type": "int", "no_log": False},
    }


def secret() -> Spec:
    return {"type": "dict", "no_log": False, "options": secret_options()}


def secrets() -> Spec:
    return {"type": "list", "elements": "dict", "no_log": False, "options": secret_options()}


def unlocking() -> Spec:
    """Secrets, the volume key itself, or a token that yields a secret."""
    options = {
        **secret_options(),
        "volume_key_file": {"type": "path", "no_log": False},
        "volume_key_base64": {"type": "raw", "no_log": True},
        "token": {"type": "str", "no_log": False},
        "pin": {"type": "raw", "no_log": True},
        "device": {"type": "str"},
    }
    return {"type": "list", "elements": "dict", "no_log": False, "options": options}


def fips() -> Spec:
    return {"type": "str", "choices": ["auto", "require", "ignore"], "default": "auto"}


def volume_options() -> Spec:
    """The options of a volume, without the one that names it."""
    return {
        "header": {"type": "path"},
        "lock_timeout": {"type": "float", "default": 30.0},
        "fips": fips(),
        "kdf_limits": {
            "type": "dict",
            "options": {
                option: {"type": "int"}
                for option in ("iterations", "time", "memory", "parallel", "work", "total_memory")
            },
        },
    }


def entry_options() -> Spec:
    """One entry of ``keyslots`` whose key is a secret, which may be a recovery key of systemd."""
    token: Spec = {"type": "str", "choices": ["systemd-recovery"], "no_log": False}
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "keyslot": {"type": "int", "no_log": False},
        "new_secret": {**secret(), "options": {**secret_options(), "token": token}},
        "old_secret": secret(),
        "iter_time": {"type": "int"},
        "pbkdf": {
            "type": "dict",
            "options": {
                "type": {"type": "str", "choices": ["pbkdf2", "argon2i", "argon2id"]},
                "hash": {"type": "str"},
                "iterations": {"type": "int"},
                "time": {"type": "int"},
                "memory": {"type": "int"},
                "parallel": {"type": "int"},
            },
        },
        "priority": {"type": "str", "choices": ["ignore", "normal", "prefer"]},
    }


def any_entry_options() -> Spec:
    """One entry of ``keyslots``: its key is a secret or a binding."""
    return {
        **entry_options(),
        "binding": {
            "type": "dict",
            "options": {
                "type": {"type": "str", "choices": ["systemd-tpm2", "clevis"], "required": True},
                "label": {"type": "str"},
                "pcrs": {"type": "list", "elements": "int"},
                # The name of a Clevis pin is no secret, and hiding it would hide "tang" in each message. SafeModule
                # hides the PIN of a TPM.
                "pin": {"type": "raw", "no_log": False},
                "device": {"type": "str"},
                "config": {"type": "dict"},
            },
        },
    }
