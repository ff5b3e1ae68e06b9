# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The store that is an ansible-vault file.

Who encrypts is given: ansible's VaultLib, or anything with the same methods.
"""

from __future__ import annotations

import json
import typing as t

from ....module_utils._luks.errors import LuksmithError
from ..guarded_file import CannotBeStored, GuardedFile
from . import CHANGED, UNCHANGED, Stored, StoreError

ROOT = "luksmith_luks_secrets"


class Cipher(t.Protocol):
    """An open vault: what ``ansible-playbook`` was given passwords for.

    Both methods raise ValueError with a sentence.
    """

    def decrypt(self, content: bytes) -> t.Tuple[bytes, t.Any]:
        """The text, and what encrypted it, for ``encrypt``."""

    def encrypt(self, text: str, vault_id: t.Optional[str], like: t.Any) -> bytes:
        """By the password of ``vault_id``; without one, as ``like`` says (what ``decrypt`` returned); else by the first
        password.
        """


class VaultFile:
    """One file for any number of volumes. It keeps the vault id that opened it, unless another one is asked for."""

    def __init__(self, file: GuardedFile, cipher: Cipher, vault_id: t.Optional[str] = None) -> None:
        self._file = file
        self._cipher = cipher
        self._vault_id = vault_id

    def check(self) -> None:
        try:
            self._file.check()
            self._cipher.encrypt("", self._vault_id, None)
        except (CannotBeStored, ValueError) as error:
            raise StoreError(f"{error}. {UNCHANGED}") from None
        except LuksmithError as error:
            raise StoreError(f"The store cannot be written. {error}") from None

    def known(self, prefix: str) -> t.Dict[str, Stored]:
        try:
            entries = self._entries(UNCHANGED)[0]
        except OSError as error:
            raise StoreError(f"{self._file.path} cannot be used as a store: {error.strerror}. {UNCHANGED}") from None
        return {key: _found(entries, key) for key in entries if key.startswith(prefix)}

    def read(self, key: str) -> Stored:
        try:
            return _found(self._entries(UNCHANGED)[0], key)
        except OSError as error:
            raise StoreError(f"{self._file.path} cannot be used as a store: {error.strerror}. {UNCHANGED}") from None

    def write(self, key: str, entry: t.Dict[str, t.Any], version: t.Any) -> Stored:
        with self._file.changing() as file:
            entries, like = self._entries(UNCHANGED)
            held = _found(entries, key)
            if held.version != (version or 0):
                raise StoreError(
                    f"The entry {key} in {file.path} was changed by another run meanwhile. Run the rotation again; it "
                    "goes on where the other one is. "
                    f"{UNCHANGED}"
                )
            entries[key] = {"version": held.version + 1, "entry": entry}
            text = json.dumps({ROOT: entries}, indent=2, sort_keys=True, default=str)
            try:
                encrypted = self._cipher.encrypt(text, self._vault_id, like)
            except ValueError as error:
                raise StoreError(f"{error}. {UNCHANGED}") from None
            file.replace(encrypted)
            try:
                return _found(self._entries(CHANGED)[0], key)
            except OSError as error:
                raise StoreError(f"{file.path} cannot be read back: {error.strerror}. {CHANGED}") from None

    def _entries(self, state: str) -> t.Tuple[t.Dict[str, t.Any], t.Any]:
        """All entries, and what encrypted them. ``state``: of the store, for errors. Raises StoreError and OSError."""
        path = self._file.path
        content = self._file.content()
        if content is None:
            return {}, None
        if not content.startswith(b"$ANSIBLE_VAULT"):
            raise StoreError(
                f"{path} is not encrypted with ansible-vault. Encrypt it with ansible-vault encrypt, or name another "
                f"file. {state}"
            )
        try:
            text, like = self._cipher.decrypt(content)
        except ValueError as error:
            raise StoreError(
                f"No vault password of this run decrypts {path}, or it is damaged. {error}. {state}"
            ) from None
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get(ROOT), dict):
            raise StoreError(f"{path} is encrypted, but holds no secrets of luksmith.luks. Name another file. {state}")
        return document[ROOT], like


def _found(entries: t.Dict[str, t.Any], key: str) -> Stored:
    held = entries.get(key) or {}
    return Stored(held.get("entry"), held.get("version", 0))
