# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The store that seals each secret for the holders of private keys; the controller keeps no secret in the clear.

An envelope holds the secret together with the host, the volume and the secret's id, so that it is of no use for another
one.
"""

from __future__ import annotations

import copy
import json
import os
import typing as t

from ....module_utils._luks.errors import LuksmithError
from ..entry import Entry, held
from ..envelope import EnvelopeError, check_certificate, seal, unseal
from ..guarded_file import CannotBeStored, GuardedFile
from . import CHANGED, UNCHANGED, Stored, StoreError

# What an envelope holds besides the passphrase, and must share with the entry in which it lies.
_BOUND = ("host", "uuid")


class Escrow:
    """A file for each volume below ``folder``, at the path that its key is.

    certificates: paths; private_key: PEM text, without which the entries come back without passphrases;
    file: makes a GuardedFile of a path, with what all of them share.
    """

    def __init__(
        self,
        folder: str,
        certificates: t.Sequence[str] = (),
        private_key: t.Optional[str] = None,
        file: t.Callable[[str, str], GuardedFile] = lambda path, folder: GuardedFile(path, store=folder),
    ) -> None:
        self._folder = folder
        self._certificates = certificates
        self._private_key = private_key
        self._make = file

    def check(self) -> None:
        try:
            for path in self._certificates:
                check_certificate(path)
            if not self._certificates:
                raise EnvelopeError("there is no certificate to seal a secret for")
            self._file("any").check()
        except (CannotBeStored, EnvelopeError) as error:
            raise StoreError(f"{error}. {UNCHANGED}") from None
        except LuksmithError as error:
            raise StoreError(f"The store cannot be written. {error}") from None

    def known(self, prefix: str) -> t.Dict[str, Stored]:
        folder = os.path.dirname(self._file(f"{prefix}any").path)
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            return {}  # what cannot be listed cannot be read either, and is said then
        keys = [f"{prefix}{name[: -len('.json')]}" for name in names if name.endswith(".json")]
        return {key: self.read(key) for key in keys}

    def read(self, key: str) -> Stored:
        file = self._file(key)
        try:
            return self._opened(_document(file, UNCHANGED), UNCHANGED)
        except OSError as error:
            raise StoreError(f"{file.path} cannot be used as a store: {error.strerror}. {UNCHANGED}") from None

    def write(self, key: str, entry: Entry, version: t.Any) -> Stored:
        with self._file(key).changing() as file:
            before = _document(file, UNCHANGED)
            if before.version != (version or 0):
                raise StoreError(
                    f"{file.path} was changed by another run meanwhile. Run the rotation again. {UNCHANGED}"
                )
            try:
                document = Stored(_sealed(entry, self._certificates), before.version + 1)
            except EnvelopeError as error:
                raise StoreError(f"{error}. {UNCHANGED}") from None
            file.replace(
                json.dumps({"version": document.version, "entry": document.entry}, indent=2, sort_keys=True).encode()
            )
            try:
                found = _document(file, CHANGED)
            except OSError as error:
                raise StoreError(f"{file.path} cannot be read back: {error.strerror}. {CHANGED}") from None
        if found != document:
            raise StoreError(
                f"{file.path} did not give back what was written. Look at its file system before the rotation is run "
                f"again. {CHANGED}"
            )
        return self._opened(found, CHANGED)

    def _file(self, key: str) -> GuardedFile:
        if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
            raise StoreError(f"The key {key!r} is no path below the folder of the store. {UNCHANGED}")
        return self._make(os.path.join(self._folder, f"{key}.json"), self._folder)

    def _opened(self, document: Stored, state: str) -> Stored:
        if not self._private_key or not document.entry:
            return document
        changed = copy.deepcopy(document.entry)
        try:
            for secret in held(changed):
                secret["passphrase"] = _unsealed(secret, changed, self._private_key)
        except EnvelopeError as error:
            raise StoreError(f"{error}. {state}") from None
        return Stored(changed, document.version)


def _document(file: GuardedFile, state: str) -> Stored:
    """``state``: of the store, for errors. Raises StoreError and OSError."""
    content = file.content()
    if content is None:
        return Stored()
    try:
        document = json.loads(content)
        entry, version = document["entry"], document["version"]
        if (
            not isinstance(entry, dict)
            or not isinstance(version, int)
            or any(not isinstance(secret["sealed"], str) for secret in held(entry))
        ):
            raise ValueError
        return Stored(entry, version)
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            f"{file.path} holds no entry of luksmith.luks. Move it away, or name another folder. {state}"
        ) from None


def _sealed(entry: Entry, certificates: t.Sequence[str]) -> Entry:
    """The entry without a passphrase; an envelope that is there already stays as it is."""
    changed = copy.deepcopy(entry)
    for secret in held(changed):
        passphrase = secret.pop("passphrase", None)
        if "sealed" not in secret:
            bound = {"passphrase": passphrase, "id": secret["id"], **{name: entry[name] for name in _BOUND}}
            secret["sealed"] = seal(json.dumps(bound, indent=1, ensure_ascii=False), certificates)
    return changed


def _unsealed(secret: t.Dict[str, t.Any], entry: Entry, private_key: str) -> str:
    """The passphrase, if the envelope was sealed for this secret of this volume."""
    text = unseal(secret["sealed"], private_key)
    try:
        bound = json.loads(text)
        passphrase, identity = bound["passphrase"], bound["id"]
        wrong = [
            f"{name} {str(bound[name])!r} and not {entry[name]!r}" for name in _BOUND if bound[name] != entry[name]
        ]
    except (ValueError, KeyError, TypeError):
        raise EnvelopeError(
            f"the envelope of secret {secret['id']} does not say for which volume it was sealed, so that anybody "
            "could have put it there (release 1.0.0 sealed so). If you know that it is right, open it with "
            "openssl, move the file away, give the passphrase in rotate_replaces, and run the rotation with "
            "rotate_store_create"
        ) from None
    if identity != secret["id"]:
        wrong.append(f"secret {str(identity)!r} and not {secret['id']!r}")
    if wrong:
        raise EnvelopeError(
            f"the envelope of secret {secret['id']} was sealed for {', '.join(wrong)}: somebody has exchanged "
            "envelopes. Find out who writes to the store"
        )
    return str(passphrase)
