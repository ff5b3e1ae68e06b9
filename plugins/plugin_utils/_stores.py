# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The stores of a rotation, made from what a task says; the edge between Ansible and ``_rotation/stores``."""

from __future__ import annotations

import importlib.util
import os
import typing as t

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, match_encrypt_secret

from ._rotation.guarded_file import PREVIOUS, GuardedFile
from ._rotation.role_variables import names_of, store_options_of
from ._rotation.signature import Signing
from ._rotation.stores import UNCHANGED, Store, StoreError
from ._rotation.stores.ceph import Ceph
from ._rotation.stores.command import Command
from ._rotation.stores.escrow import Escrow
from ._rotation.stores.faults import Sentences
from ._rotation.stores.hashi_vault import HashiVault
from ._rotation.stores.together import Together
from ._rotation.stores.vault_file import VaultFile

# Those that are classes of ours.
CLASSES = ("vault_file", "escrow", "command", "ceph", "hashi_vault")


class Cipher:
    """What ``ansible-playbook`` was given passwords for, as the store ``vault_file`` wants it."""

    def __init__(self, vault: VaultLib) -> None:
        self._vault = vault

    def decrypt(self, content: bytes) -> t.Tuple[bytes, t.Any]:
        self._passwords()
        try:
            text, _vault_id, secret = self._vault.decrypt_and_get_vault_id(content)
        except AnsibleError:
            raise ValueError("Give the password with --vault-id") from None
        # The fourth part of the first line; without it, the file was encrypted without an id.
        parts = content.split(b"\n", 1)[0].decode("ascii", "replace").split(";")
        return text, (parts[3].strip() if len(parts) > 3 else None, secret)

    def encrypt(self, text: str, vault_id: t.Optional[str], like: t.Any) -> bytes:
        self._passwords()
        if vault_id or like is None:
            try:
                label, secret = match_encrypt_secret(self._vault.secrets, encrypt_vault_id=vault_id or None)
            except AnsibleError:
                raise ValueError(f"This run has no vault password with the id {vault_id!r}") from None
            label = label if vault_id else None
        else:
            label, secret = like
        encrypted: bytes = self._vault.encrypt(text, secret=secret, vault_id=label)
        return encrypted

    def _passwords(self) -> None:
        if not self._vault.secrets:
            raise ValueError(
                "There is no vault password for the store. Give one to ansible-playbook with --vault-id or "
                "--vault-password-file"
            )


def check_name(store: t.Any, option: str = "rotate_store") -> None:
    """Raises StoreError for a name that is no store at all, such as a misspelt one, and for several stores that cannot
    be one.
    """
    names = names_of(store)
    for name in names or [store]:
        if not isinstance(name, str) or (name not in CLASSES and "/" not in name):
            raise StoreError(
                f"There is no store {name!r}. {option} is {', '.join(CLASSES)}, the path of a store of your own, or a "
                f"list of several of them. {UNCHANGED}"
            )
        if "/" in name and not os.path.exists(os.path.expanduser(name)):
            raise StoreError(f"The store of your own, {name}, does not exist. Check {option}. {UNCHANGED}")
        if len(names) > 1 and not is_class(name):
            raise StoreError(
                f"The store {name} is made of task files, so that it cannot be one of several. Name in {option} stores "
                f"that are a program (command) or a Python file. {UNCHANGED}"
            )
        if names.count(name) > 1:
            raise StoreError(f"{option} names the store {name} twice. Name each of several stores once. {UNCHANGED}")


def is_class(store: t.Any) -> bool:
    """Whether a store of this name, or of each of these names, is made by :func:`make`; the others are task files."""
    return all(name in CLASSES or ("/" in name and name.endswith(".py")) for name in names_of(store))


def store_of(store: t.Any, given: t.Mapping[str, t.Any], vault: VaultLib, *, lenient: bool = False) -> Store:
    """What ``rotate_store`` or ``audit_store`` names, with the variables of the role ``rotate``.

    lenient: one of several stores that cannot be read is left out. Raises StoreError.
    """
    made: t.List[t.Tuple[str, Store]] = [
        (name, Sentences(name, make(name, store_options_of(given, name), vault))) for name in names_of(store)
    ]
    return made[0][1] if len(made) == 1 else Together(made, lenient=lenient)


def make(name: str, options: t.Mapping[str, t.Any], vault: VaultLib) -> Store:
    """The store ``name`` (of CLASSES, or the path of a Python file) with the options that are not empty.

    Raises StoreError.
    """
    words = {option: value for option, value in options.items() if value not in ("", None)}
    if name.endswith(".py"):
        return _own(name, words)
    lock = {
        "timeout": float(words.get("lock_timeout", 60)),
        "create": bool(words.get("create")),
        "previous": int(words.get("previous", PREVIOUS)),
    }

    def file(path: str, folder: str) -> GuardedFile:
        return GuardedFile(path, store=folder, **lock)

    if name == "hashi_vault":
        return HashiVault(words.get("options") or {}, words.get("mount") or "secret", words.get("path") or "")
    if name == "ceph":
        return Ceph(words.get("words") or ("ceph",))
    needed = {"vault_file": "path", "escrow": "folder", "command": "words"}[name]
    if needed not in words:
        option = {"path": "rotate_vault_file", "folder": "rotate_escrow_folder", "words": "rotate_command"}[needed]
        raise StoreError(f"The store {name} needs {option}. {UNCHANGED}")
    if name == "vault_file":
        return VaultFile(file(words["path"], ""), Cipher(vault), words.get("vault_id"))
    if name == "escrow":
        _refuse_pem_text(words)
        signing = Signing(
            words.get("signers") or (),
            words.get("signing_key") or "",
            words.get("signing_passphrase"),
            bool(words.get("accept_unsigned")),
        )
        return Escrow(words["folder"], words.get("certificates") or (), words.get("private_key"), signing, file)
    return Command(words["words"])


def _refuse_pem_text(words: t.Mapping[str, t.Any]) -> None:
    """It would be shown as a path: that of a certificate hides what is wrong, and that of a key leaks it."""
    for option in ("certificates", "signers", "signing_key"):
        given = words.get(option) or ()
        if any("-----BEGIN" in path for path in ([given] if isinstance(given, str) else given)):
            raise StoreError(
                f"rotate_escrow_{option} has the text of a PEM file where a path belongs. Write it to a file on the "
                f"controller, and give the path of that. {UNCHANGED}"
            )


def _own(path: str, words: t.Mapping[str, t.Any]) -> Store:
    """An object of the class ``Store`` of somebody's own file."""
    path = os.path.expanduser(path)
    try:
        spec = importlib.util.spec_from_file_location("luksmith_store_of_your_own", path)
        if spec is None or spec.loader is None:
            raise ImportError("it is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        store: Store = module.Store(**words)
    except (
        ArithmeticError,
        AttributeError,
        ImportError,
        LookupError,
        NameError,
        OSError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        # Its own text could hold an option that is secret.
        raise StoreError(
            f"The store {path} cannot be used: {type(error).__name__} while its class Store was made. {UNCHANGED}"
        ) from None
    return store
