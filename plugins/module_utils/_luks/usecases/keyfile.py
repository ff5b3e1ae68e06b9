# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A keyfile that follows a rotation: the new secret replaces its content only if that is one of the old secrets."""

from __future__ import annotations

import errno
import os
import typing as t

from ..errors import LuksmithError, Refused
from ..paths import check_path
from ..task.keyfile_content import read_keyfile
from ..task.secrets import Secret, read
from ..volume import keyfiles

NEW, OLD, OTHER, MISSING = "new", "old", "other", "missing"


def update_keyfile(params: t.Mapping[str, t.Any], *, check: bool) -> t.Dict[str, t.Any]:
    """Write ``new_secret`` to the keyfile ``path`` if it holds one of ``old_secrets``.

    Raises BadTask or BadSecret if an argument is not valid or the keyfile cannot be read, and Refused, Busy or
    StorageFault if it cannot be replaced.
    """
    path = params["path"]
    check_path(path, "path")
    secrets = [read(params["new_secret"], "new_secret", new=True)]
    try:
        secrets.extend(read(one, f"old_secrets[{position}]") for position, one in enumerate(params["old_secrets"]))
        new, old = secrets[0], secrets[1:]
        try:
            holds = _holds(params, new, old)
            if holds == OLD:
                _check_replaceable(params)
                if not check:
                    keyfiles.replace(path, new.value)
        except LuksmithError as error:
            raise error.on(path) from None
        return {"changed": holds == OLD, "holds": NEW if holds == OLD and not check else holds}
    finally:
        for secret in secrets:
            secret.wipe()


def _holds(params: t.Mapping[str, t.Any], new: Secret, old: t.Sequence[Secret]) -> str:
    try:
        os.stat(params["path"])
    except OSError as error:
        if error.errno == errno.ENOENT:
            return MISSING
    content = Secret(read_keyfile(params["path"], params["keyfile_offset"], params["keyfile_size"], "crypttab"), ())
    try:
        if content.same_bytes(new):
            return NEW
        return OLD if any(content.same_bytes(one) for one in old) else OTHER
    finally:
        content.wipe()


def _check_replaceable(params: t.Mapping[str, t.Any]) -> None:
    if params["keyfile_offset"] or params["keyfile_size"]:
        raise Refused(
            "only a part of the keyfile holds the old secret",
            why="The rest may belong to another volume, and the new secret may have another length",
            remedy="Give the volume a keyfile of its own, or leave this secret out of the rotation",
        )
    keyfiles.check_replaceable(params["path"])
