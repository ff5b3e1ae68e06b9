# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The store that seals each secret for the holders of private keys; the controller keeps no secret in the clear.

An envelope holds the secret together with the host, the volume and the secret's id, so that it is of no use for another
one. Whoever can write to the folder can seal for a public certificate, too; with signers, what none of them has signed
is refused. A signature covers the whole file: key, version and entry with all envelopes.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import typing as t

from ....module_utils._luks.errors import LuksmithError
from ..entry import Entry, held
from ..envelope import EnvelopeError, check_certificate, seal, unseal
from ..guarded_file import CannotBeStored, GuardedFile
from ..signature import NOBODY_SIGNS, Signing
from . import CHANGED, UNCHANGED, Stored, StoreError

# What an envelope holds besides the passphrase, and must share with the entry in which it lies.
_BOUND = ("host", "uuid")
_RENAME = "It begins with the name of the host, which names a folder here: give the host another one in the inventory"


class Escrow:
    """A file for each volume below ``folder``, at the path that its key is.

    certificates: paths; private_key: PEM text, without which the entries come back without passphrases; signing: who
    signs what is written, and who is believed;
    file: makes a GuardedFile of a path, with what all of them share.
    """

    def __init__(
        self,
        folder: str,
        certificates: t.Sequence[str] = (),
        private_key: t.Optional[str] = None,
        signing: Signing = NOBODY_SIGNS,
        file: t.Callable[[str, str], GuardedFile] = lambda path, folder: GuardedFile(path, store=folder),
    ) -> None:
        self._folder = folder
        self._certificates = certificates
        self._private_key = private_key
        self._signing = signing
        self._make = file

    def check(self) -> None:
        try:
            for path in self._certificates:
                check_certificate(path)
            if not self._certificates:
                raise EnvelopeError("there is no certificate to seal a secret for")
            self._file("any").check()
            self._signing.check()
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
            return self._opened(self._believed(file, key, UNCHANGED)[0], UNCHANGED)
        except OSError as error:
            remedy = f" {_RENAME}." if error.errno == errno.ENAMETOOLONG else ""
            raise StoreError(f"{file.path} cannot be used as a store: {error.strerror}.{remedy} {UNCHANGED}") from None

    def write(self, key: str, entry: Entry, version: t.Any) -> Stored:
        with self._file(key).changing() as file:
            before, signed = self._believed(file, key, UNCHANGED)
            if before.version != (version or 0):
                raise StoreError(
                    f"{file.path} was changed by another run meanwhile. Run the rotation again. {UNCHANGED}"
                )
            try:
                document = Stored(_sealed(entry, self._certificates), before.version + 1)
                content = self._content(file.path, key, document, signed)
            except EnvelopeError as error:
                raise StoreError(f"{error}. {UNCHANGED}") from None
            file.replace(content)
            try:
                found = self._believed(file, key, CHANGED)[0]
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
            raise StoreError(f"The key {key!r} is no path below the folder of the store. {_RENAME}. {UNCHANGED}")
        return self._make(os.path.join(self._folder, f"{key}.json"), self._folder)

    def _content(self, path: str, key: str, document: Stored, signed: bool) -> bytes:
        """Of the file, signed where there are signers. signed: what it replaces. Raises EnvelopeError."""
        if self._signing.signers or self._signing.key:
            whole = {"key": key, "version": document.version, "entry": document.entry}
            return _text({**whole, "signature": self._signing.sign(_text(whole))})
        if signed:
            raise EnvelopeError(
                f"{path} is signed, and this run would write it without a signature, so that nobody who asks for "
                "one believed it any more. Give the run rotate_escrow_signers and rotate_escrow_signing_key"
            )
        return _text({"version": document.version, "entry": document.entry})

    def _believed(self, file: GuardedFile, key: str, state: str) -> t.Tuple[Stored, bool]:
        """What the file holds, if one of the signers, where there are any, has signed it for this key; and whether it
        is signed.

        ``state``: of the store, for errors. Raises StoreError and OSError.
        """
        content = file.content()
        document = _document(content, file.path, state)
        signing, parsed = self._signing, _parsed(content)
        signed = "signature" in parsed
        if content is None or not signing.signers or (signing.accept_unsigned and not signed):
            return document, signed
        signature = parsed.pop("signature", None)
        again = f"{os.path.basename(file.path)}.previous-1 beside it is the newest earlier one. {state}"
        if not isinstance(signature, str):
            raise StoreError(
                f"{file.path} has no signature, and only what one of rotate_escrow_signers has signed is believed. "
                "Find out who wrote it: a run before there were signers, or somebody else. If you know that it is "
                "right, run the rotation once with a new rotate_generation and rotate_escrow_accept_unsigned: true, "
                f"which signs it; else bring back a signed copy: {again}"
            )
        try:
            signing.verify(_text(parsed), signature)
        except EnvelopeError as error:
            raise StoreError(
                f"{file.path} is not what one of rotate_escrow_signers has signed ({error}). Somebody changed it, or "
                "its signer is not in the list. Find out who writes to the folder, and bring back a signed copy: "
                f"{again}"
            ) from None
        if parsed.get("key") != key:
            raise StoreError(
                f"{file.path} was signed for {str(parsed.get('key'))!r} and not for {key!r}: somebody has exchanged "
                f"files. Find out who writes to the folder, and bring back the right one: {again}"
            )
        return document, signed

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


def _parsed(content: t.Optional[bytes]) -> t.Dict[str, t.Any]:
    """Empty for what is no JSON object."""
    try:
        document = json.loads(content or b"")
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def _text(document: t.Mapping[str, t.Any]) -> bytes:
    """As the file has it; without its member ``signature``, that is what is signed."""
    return json.dumps(json.loads(json.dumps(document)), indent=2, sort_keys=True).encode()


def _document(content: t.Optional[bytes], path: str, state: str) -> Stored:
    """``state``: of the store, for errors. Raises StoreError."""
    if content is None:
        return Stored()
    document = _parsed(content)
    try:
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
            f"{path} holds no entry of luksmith.luks. Move it away, or name another folder. {state}"
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
