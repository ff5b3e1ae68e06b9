# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of a rotation that is an ansible-vault file on the controller. Runs in the controller's process: no secret leaves it."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.vault import VaultLib, is_encrypted, match_encrypt_secret
from ansible.plugins.action import ActionBase

from ..module_utils._luks.errors import LuksmithError
from ..module_utils._module.cores import forbid_core_dumps
from ..plugin_utils._rotation.guarded_file import FileBusy, GuardedFile

ROOT = "luksmith_luks_secrets"
UNCHANGED, CHANGED = "The store was not changed.", "The store was changed before."


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("path", "key", "operation", "entry", "version", "vault_id", "lock_timeout"))

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        forbid_core_dumps()  # of this worker, which ends with this task
        super().run(tmp, task_vars)
        self._supports_check_mode = True
        _checked, arguments = self.validate_argument_spec(
            argument_spec={
                "path": {"type": "path", "required": True},
                "key": {"type": "str", "required": True, "no_log": False},
                "operation": {"type": "str", "choices": ["read", "write"], "default": "read"},
                "entry": {"type": "dict", "no_log": True},
                "version": {"type": "int", "default": 0},
                "vault_id": {"type": "str"},
                "lock_timeout": {"type": "float", "default": 60.0},
            },
            required_if=[("operation", "write", ["entry"])],
        )
        file = GuardedFile(arguments["path"], arguments["lock_timeout"])
        try:
            if arguments["operation"] == "write" and not self._task.check_mode:
                return {"changed": True, **self._write(file, arguments)}
            return {"changed": False, **_found(self._entries(file), arguments["key"])}
        except FileBusy as error:
            raise AnsibleActionFail(f"{error}. Wait until it is done, then run the rotation again. {UNCHANGED}") from None
        except LuksmithError as error:  # says itself what was changed
            raise AnsibleActionFail(f"The store cannot be written. {error}") from None
        except OSError as error:
            raise AnsibleActionFail(f"{file.path} cannot be used as a store: {error.strerror}. {UNCHANGED}") from None

    def _write(self, file: GuardedFile, arguments: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
        key = arguments["key"]
        with file.locked():
            entries = self._entries(file)
            version = _found(entries, key)["version"]
            if version != arguments["version"]:
                raise AnsibleActionFail(
                    f"The entry {key} in {file.path} was changed by another run meanwhile. Run the rotation again; it takes up what the other one staged. "
                    f"{UNCHANGED}"
                )
            entries[key] = {"version": version + 1, "entry": arguments["entry"]}
            file.replace(self._encrypted(file, entries, arguments["vault_id"]))
            try:
                return _found(self._entries(file, CHANGED), key)
            except OSError as error:
                raise AnsibleActionFail(f"{file.path} cannot be read back: {error.strerror}. {CHANGED}") from None

    def _vault(self, file: GuardedFile) -> VaultLib:
        vault = self._loader._vault
        if not vault.secrets:
            raise AnsibleActionFail(
                f"There is no vault password, so that {file.path} cannot be used. Give one to ansible-playbook with --vault-id or "
                f"--vault-password-file. {UNCHANGED}"
            )
        return vault

    def _entries(self, file: GuardedFile, state: str = UNCHANGED) -> t.Dict[str, t.Any]:
        """``state``: of the store, for errors."""
        vault = self._vault(file)
        content = file.content()
        if content is None:
            return {}
        if not is_encrypted(content):
            raise AnsibleActionFail(f"{file.path} is not encrypted with ansible-vault. Encrypt it with ansible-vault encrypt, or name another file. {state}")
        try:
            document = json.loads(vault.decrypt(content))
        except AnsibleError:
            raise AnsibleActionFail(
                f"No vault password of this run decrypts {file.path}, or it is damaged. Give the password with --vault-id. {state}"
            ) from None
        except ValueError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get(ROOT), dict):
            raise AnsibleActionFail(f"{file.path} is encrypted, but holds no secrets of luksmith.luks. Name another file. {state}")
        return document[ROOT]

    def _encrypted(self, file: GuardedFile, entries: t.Dict[str, t.Any], vault_id: t.Optional[str]) -> bytes:
        vault = self._vault(file)
        try:
            chosen, secret = match_encrypt_secret(vault.secrets, encrypt_vault_id=vault_id)
        except AnsibleError:
            raise AnsibleActionFail(f"This run has no vault password with the id {vault_id!r}. {UNCHANGED}") from None
        text = json.dumps({ROOT: entries}, indent=2, sort_keys=True, default=str)
        return vault.encrypt(text, secret=secret, vault_id=vault_id and chosen)


def _found(entries: t.Dict[str, t.Any], key: str) -> t.Dict[str, t.Any]:
    held = entries.get(key) or {}
    return {"entry": held.get("entry"), "version": held.get("version", 0)}
