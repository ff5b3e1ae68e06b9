# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of a rotation that seals each secret for the holders of private keys; the controller keeps no secret in the clear."""

from __future__ import annotations

import copy
import json
import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._luks.errors import LuksmithError
from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._rotation.entry import Entry, held
from ..plugin_utils._rotation.envelope import EnvelopeError, seal, unseal
from ..plugin_utils._rotation.guarded_file import FileBusy, GuardedFile

UNCHANGED, CHANGED = "The store was not changed.", "The store was changed before."


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("folder", "key", "operation", "entry", "version", "certificates", "private_key", "lock_timeout"))

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        _checked, arguments = self.validate_argument_spec(
            argument_spec={
                "folder": {"type": "path", "required": True},
                "key": {"type": "str", "required": True, "no_log": False},
                "operation": {"type": "str", "choices": ["read", "write"], "default": "read"},
                "entry": {"type": "dict", "no_log": True},
                "version": {"type": "int", "default": 0},
                "certificates": {"type": "list", "elements": "path", "default": []},
                "private_key": {"type": "str", "no_log": True},
                "lock_timeout": {"type": "float", "default": 60.0},
            },
            required_if=[("operation", "write", ["entry"])],
        )
        file = GuardedFile(os.path.join(arguments["folder"], f"{arguments['key']}.json"), arguments["lock_timeout"])
        try:
            if arguments["operation"] == "write" and not self._task.check_mode:
                return {"changed": True, **self._write(file, arguments)}
            return {"changed": False, **_opened(_read(file), arguments["private_key"])}
        except (EnvelopeError, FileBusy) as error:
            raise AnsibleActionFail(f"{error}. {UNCHANGED}") from None
        except LuksmithError as error:  # says itself what was changed
            raise AnsibleActionFail(f"The store cannot be written. {error}") from None
        except OSError as error:
            raise AnsibleActionFail(f"{file.path} cannot be used as a store: {error.strerror}. {UNCHANGED}") from None

    def _write(self, file: GuardedFile, arguments: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
        with file.locked():
            version = _read(file)["version"]
            if version != arguments["version"]:
                raise AnsibleActionFail(f"{file.path} was changed by another run meanwhile. Run the rotation again. {UNCHANGED}")
            document = {"version": version + 1, "entry": _sealed(arguments["entry"], arguments["certificates"])}
            file.replace(json.dumps(document, indent=2, sort_keys=True).encode())
            try:
                found = _read(file, CHANGED)
            except OSError as error:
                raise AnsibleActionFail(f"{file.path} cannot be read back: {error.strerror}. {CHANGED}") from None
        if found != document:
            raise AnsibleActionFail(f"{file.path} did not give back what was written. Look at its file system before the rotation is run again. {CHANGED}")
        try:
            return _opened(found, arguments["private_key"])
        except EnvelopeError as error:
            raise AnsibleActionFail(f"{error}. {CHANGED}") from None


def _read(file: GuardedFile, state: str = UNCHANGED) -> t.Dict[str, t.Any]:
    """``state``: of the store, for errors."""
    content = file.content()
    if content is None:
        return {"entry": None, "version": 0}
    try:
        document = json.loads(content)
        return {"entry": document["entry"], "version": document["version"]}
    except (ValueError, KeyError, TypeError):
        raise AnsibleActionFail(f"{file.path} holds no entry of luksmith.luks. Move it away, or name another folder. {state}") from None


def _sealed(entry: Entry, certificates: t.Sequence[str]) -> Entry:
    """The entry without a passphrase; an envelope that is there already stays as it is."""
    changed = copy.deepcopy(entry)
    for secret in held(changed):
        passphrase = secret.pop("passphrase", None)
        if "sealed" not in secret:
            secret["sealed"] = seal(passphrase, certificates)
    return changed


def _opened(document: t.Dict[str, t.Any], private_key: t.Optional[str]) -> t.Dict[str, t.Any]:
    changed = copy.deepcopy(document)
    if private_key and changed["entry"]:
        for secret in held(changed["entry"]):
            secret["passphrase"] = unseal(secret["sealed"], private_key)
    return changed
