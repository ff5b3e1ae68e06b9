# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The variables of the role ``rotate``, as Ansible checks them, and what the machine makes of them.

meta/argument_specs.yml of the role says what each means; a test compares the two.
"""

from __future__ import annotations

import json
import typing as t

from .asking import INITRAMFS, UNKNOWN, Options
from .decision import Wanted
from .groups import groups

Given = t.Mapping[str, t.Any]

_SECRETS = {"type": "list", "elements": "dict", "default": [], "no_log": True}

SPEC: t.Dict[str, t.Dict[str, t.Any]] = {
    "rotate_volumes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"device": {"type": "path", "required": True}, "header": {"type": "path"}},
    },
    "rotate_paths": {"type": "list", "elements": "str", "default": []},
    "rotate_block_devices": {"type": "bool", "default": True},
    "rotate_exclude": {"type": "list", "elements": "str", "default": []},
    "rotate_allow_empty": {"type": "bool", "default": False},
    "rotate_generation": {"type": "str", "default": ""},
    "rotate_max_age": {"type": "int", "default": 0},
    "rotate_passphrase": {"type": "str", "no_log": True},
    "rotate_passphrase_format": {
        "type": "str",
        "choices": ["base32", "modhex", "recovery"],
        "default": "base32",
        "no_log": False,
    },
    "rotate_entropy": {"type": "int", "default": 128},
    "rotate_replaces": _SECRETS,
    "rotate_keeps": _SECRETS,
    "rotate_keep_older": {"type": "int", "default": 2},
    "rotate_unknown": {"type": "str", "choices": list(UNKNOWN), "default": "report"},
    "rotate_groups": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "volumes": {"type": "list", "elements": "str", "required": True},
        },
    },
    "rotate_store": {"type": "raw", "default": "vault_file"},
    "rotate_store_prefix": {"type": "str", "default": ""},
    "rotate_store_create": {"type": "bool", "default": False},
    "rotate_store_previous": {"type": "int", "default": 5},
    "rotate_store_options": {"type": "dict", "default": {}, "no_log": True},
    "rotate_vault_file": {"type": "path"},
    "rotate_vault_id": {"type": "str"},
    "rotate_command": {"type": "list", "elements": "str", "default": []},
    "rotate_ceph": {"type": "list", "elements": "str", "default": ["ceph"]},
    "rotate_hashi_vault": {"type": "dict", "default": {}, "no_log": True},
    "rotate_hashi_vault_mount": {"type": "str", "default": "secret"},
    "rotate_hashi_vault_path": {"type": "str", "default": "luks/"},
    "rotate_escrow_folder": {"type": "path"},
    "rotate_escrow_certificates": {"type": "list", "elements": "path", "default": []},
    "rotate_escrow_private_key": {"type": "str", "no_log": True},
    "rotate_escrow_signers": {"type": "list", "elements": "path", "default": []},
    "rotate_escrow_signing_key": {"type": "path"},
    "rotate_escrow_signing_passphrase": {"type": "str", "no_log": True},
    "rotate_escrow_accept_unsigned": {"type": "bool", "default": False},
    "rotate_pbkdf": {"type": "dict", "default": {}},
    "rotate_iter_time": {"type": "int", "default": 0},
    "rotate_wipe": {"type": "str", "choices": ["auto", "single", "multiple"], "default": "auto"},
    "rotate_lock_timeout": {"type": "float", "default": 30.0},
    "rotate_qmp": {"type": "dict", "default": {}},
    "rotate_fips": {"type": "str", "choices": ["auto", "require", "ignore"], "default": "auto"},
    "rotate_header_backup": {"type": "path", "default": ""},
    "rotate_backup_dir": {"type": "path", "default": ""},
    "rotate_report": {"type": "path", "default": ""},
    "rotate_report_command": {"type": "list", "elements": "str", "default": []},
    "rotate_crypttab": {"type": "path", "default": "/etc/crypttab"},
    "rotate_initramfs": {"type": "str", "choices": list(INITRAMFS), "default": "auto"},
}

# Those with paths on the host; all others are on the controller.
ON_THE_HOST = ("rotate_volumes", "rotate_header_backup", "rotate_backup_dir", "rotate_crypttab")


def options_of(given: Given, host: str, *, check: bool) -> Options:
    """What the machine is to do, from the variables as :data:`SPEC` leaves them. Raises ValueError."""
    return Options(
        host=host,
        wanted=Wanted(given["rotate_generation"], given["rotate_max_age"], given["rotate_passphrase"]),
        volumes=given["rotate_volumes"],
        paths=given["rotate_paths"],
        block_devices=given["rotate_block_devices"],
        exclude=given["rotate_exclude"],
        crypttab=given["rotate_crypttab"],
        passphrase_format=given["rotate_passphrase_format"],
        entropy=given["rotate_entropy"],
        replaces=given["rotate_replaces"],
        keeps=given["rotate_keeps"],
        keep_older=given["rotate_keep_older"],
        pbkdf=given["rotate_pbkdf"] or None,
        iter_time=given["rotate_iter_time"],
        wipe=given["rotate_wipe"],
        lock_timeout=given["rotate_lock_timeout"],
        qmp=given["rotate_qmp"] or None,
        fips=given["rotate_fips"],
        backup=given["rotate_header_backup"],
        backup_dir=given["rotate_backup_dir"],
        initramfs=given["rotate_initramfs"],
        unknown=given["rotate_unknown"],
        groups=groups(given["rotate_groups"]),
        prefix=given["rotate_store_prefix"],
        begin=given["rotate_store_create"],
        check=check,
    )


def names_of(store: t.Any) -> t.List[t.Any]:
    """The stores that ``rotate_store`` or ``audit_store`` names."""
    return list(store) if isinstance(store, (list, tuple)) else [store]


def store_options_of(given: Given, name: str) -> t.Dict[str, t.Any]:
    """What the class of the store ``name`` is made with."""
    shared = {"create": given["rotate_store_create"], "previous": given["rotate_store_previous"]}
    if name == "vault_file":
        return {"path": given["rotate_vault_file"], "vault_id": given["rotate_vault_id"], **shared}
    if name == "escrow":
        return {
            "folder": given["rotate_escrow_folder"],
            "certificates": given["rotate_escrow_certificates"],
            "private_key": given["rotate_escrow_private_key"],
            "signers": given["rotate_escrow_signers"],
            # An audit writes nothing, and so is not given what signs.
            "signing_key": given.get("rotate_escrow_signing_key"),
            "signing_passphrase": given.get("rotate_escrow_signing_passphrase"),
            "accept_unsigned": given["rotate_escrow_accept_unsigned"],
            **shared,
        }
    if name == "command":
        return {"words": given["rotate_command"]}
    if name == "hashi_vault":
        return {
            "options": given["rotate_hashi_vault"],
            "mount": given["rotate_hashi_vault_mount"],
            "path": given["rotate_hashi_vault_path"],
        }
    if name == "ceph":
        return {"words": given["rotate_ceph"]}
    return dict(given["rotate_store_options"])


def shown_options(given: Given) -> t.Dict[str, str]:
    """The options that are not as they are by default, as text for a report. No secret is among them."""
    found = {}
    for name, option in SPEC.items():
        value = given[name]
        if option.get("no_log") or value is None or value == option.get("default"):
            continue
        if name in ("rotate_command", "rotate_ceph", "rotate_report_command"):
            value = value[:1]  # a word of the command may be a secret
        found[name] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found
