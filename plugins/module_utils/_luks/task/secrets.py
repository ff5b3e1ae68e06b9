# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Reading secrets: text, base64 or a keyfile into bytes that can be wiped.

A secret is used byte for byte: nothing is trimmed, decoded twice or normalised. ``cryptsetup --key-file`` and QEMU's
secret objects do the same; only a terminal prompt ends a passphrase at the newline.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import typing as t

from ..crypto.memory import wipe
from ..errors import BadSecret, BadTask
from ..value_kinds import kind_of
from .desired import Binding

SOURCES = ("passphrase", "passphrase_base64", "keyfile")
PROMPT_LIMIT = 512  # bytes; cryptsetup's "maximum interactive passphrase length" (cryptsetup --help)
LABEL_LIMIT = 128  # characters; labels go into table rows and into the record in the header

# YAML reads 2026-01-02 03:04:05 as a time, which Ansible sends as ISO 8601; a date alone keeps its form.
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d:\d\d)?")


class TokenRequest(t.NamedTuple):
    """``name``: auto, a type or a number. pin: for a token that asks for one. device: the one to use, or "".

    binding: what the token must be, for an entry that wants it to be there.
    """

    name: str
    pin: bytearray
    device: str = ""
    binding: t.Optional[Binding] = None


class Secret:
    """The bytes of one secret and the names that the task gives it.

    labels:   its names; messages use the first one.
    value:    the bytes, in one buffer that :meth:`wipe` overwrites.
    warnings: warnings that hold for every volume: the text is likely not what was meant (a newline at the end).
    token: the token that yields it when it is needed, or None; ``value`` is noise then.
    qemu_obstacle: why QEMU cannot open a volume with it ("contains a NUL byte"), or "".
    """

    __slots__ = ("labels", "qemu_obstacle", "token", "value", "warnings")

    def __init__(
        self,
        value: bytearray,
        labels: t.Sequence[str],
        *,
        warnings: t.Sequence[str] = (),
        qemu_obstacle: str = "",
        token: t.Optional[TokenRequest] = None,
    ) -> None:
        self.value = value
        self.labels = tuple(labels)
        self.warnings = tuple(warnings)
        self.qemu_obstacle = qemu_obstacle
        self.token = token

    def __repr__(self) -> str:
        return f"Secret({', '.join(repr(label) for label in self.labels)})"

    def same_bytes(self, other: Secret) -> bool:
        """Of two that tokens yield, whether both ask for the same one in the same way."""
        if self.token is not None and other.token is not None and self.token.binding is other.token.binding is None:
            asked = (self.token.name, self.token.device) == (other.token.name, other.token.device)
            return asked and hmac.compare_digest(self.token.pin, other.token.pin)
        return hmac.compare_digest(self.value, other.value)

    def is_text(self, text: str) -> bool:
        return hmac.compare_digest(self.value, text.encode("utf-8", "surrogateescape"))

    def wipe(self) -> None:
        """Overwrite the bytes, and the PIN of its token, with zeros; the lengths stay."""
        wipe(self.value)
        if self.token is not None:
            wipe(self.token.pin)


def read(params: t.Any, position: str, *, new: bool = False) -> Secret:
    """The secret that the options ``params`` describe; ``position`` ("keyslots[2].new_secret") names it in messages.

    new: the secret is to open something from now on, so an empty one is refused. Removing an empty one stays possible.
    The result has the given label, or none. Raises BadTask if the options are not valid, BadSecret if the content or
    the keyfile is not.
    """
    if not isinstance(params, t.Mapping):
        raise BadTask(
            f"{position} is {kind_of(params)}, not a secret",
            remedy=f"Write it as a dictionary with one of {_sources()}",
        )
    label = label_of(params.get("label"), position)
    name = f"{position} (label {label!r})" if label else position
    given = [source for source in SOURCES if params.get(source) is not None]
    if len(given) != 1:
        found = f"{name} has no source" if not given else f"{name} has more than one source: {' and '.join(given)}"
        raise BadTask(found, remedy=f"Give exactly one of {_sources()}")
    source = given[0]
    for option in ("keyfile_offset", "keyfile_size"):
        if params.get(option) is not None and source != "keyfile":
            raise BadTask(
                f"{name} has {option} without keyfile", remedy=f"Remove {option}, or give the secret as keyfile"
            )
    warnings: t.List[str] = []
    if source == "keyfile":
        from .keyfile_content import read_keyfile

        value = read_keyfile(params["keyfile"], params.get("keyfile_offset"), params.get("keyfile_size"), name)
    else:
        text = text_of(params[source], f"{name}: {source}", base64_needed=source == "passphrase")
        value = decoded(text, f"{name}: {source}") if source == "passphrase_base64" else bytearray(text)
        if source == "passphrase":
            warnings += [f"{name} {doubt}" for doubt in _doubts(t.cast(str, params[source]))]
    if new and not value:
        raise BadSecret(
            f"{name} is empty",
            why="an empty secret protects nothing; most often a variable was not set",
            remedy="Give a secret of at least one byte",
        )
    return Secret(value, (label,) if label else (), warnings=warnings, qemu_obstacle=why_qemu_cannot(value))


def label_of(label: t.Any, position: str) -> str:
    """The option label, "" if not given. Raises BadTask if it cannot be shown."""
    if label is None or label == "":
        return ""
    if not isinstance(label, str):
        raise BadTask(f"{position}: label is {kind_of(label)}, not text", remedy="Quote it")
    if len(label) > LABEL_LIMIT or not label.isprintable():
        raise BadTask(
            f"{position}: label has {len(label)} characters"
            if len(label) > LABEL_LIMIT
            else f"{position}: label contains a control character or a newline",
            why="labels appear in tables and, on LUKS2, in the header",
            remedy=f"Use a printable name of at most {LABEL_LIMIT} characters",
        )
    return label


def text_of(value: t.Any, name: str, *, base64_needed: bool) -> bytes:
    """UTF-8 of a text option. Bytes that are not UTF-8 arrive from Ansible as surrogates and become bytes again."""
    if not isinstance(value, str):
        remedy = "Quote it in YAML, so that every character counts (0123 without quotes is the number 83)"
        if isinstance(value, (list, tuple, t.Mapping)):
            remedy = (
                "Give one secret here and one entry for each further secret; "
                "use passphrase_base64 for text that looks like a list"
            )
        raise BadTask(
            f"{name} is {kind_of(value)} where text is expected",
            why="converting it to text could give another secret than the intended one",
            remedy=remedy,
        )
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        remedy = "Give the bytes as passphrase_base64" if base64_needed else "Encode the bytes again"
        # From None: the exception would carry the text.
        raise BadSecret(f"{name} contains a lone surrogate, which UTF-8 cannot encode", remedy=remedy) from None


def _doubts(text: str) -> t.Iterator[str]:
    """What is odd about a passphrase, as sentences without a subject. It is used as it is, whatever is said here."""
    if text.endswith(("\n", "\r")):
        yield (
            "ends with a newline. It is part of the secret, and a prompt cannot take it. "
            "If it comes from a YAML block (|), write |- instead; if it comes from a file, remove the newline with "
            "the trim filter."
        )
    if "\n" in text.rstrip("\r\n"):
        yield (
            "contains a newline. It is part of the secret, and a prompt ends a passphrase there. If it is one line "
            "that YAML folds, write >- instead of |; if it is meant as a keyfile, give it as keyfile or "
            "passphrase_base64."
        )
    if text.isspace() and not text.strip(" \t"):
        yield "consists of blanks only. They are the secret as they are; most often a variable was meant."
    mark = next((mark for mark in ("{{", "{%") if mark in text), None)
    if mark is not None:
        yield (
            f"contains {mark} and is used as it is. If it is a template, Ansible has not rendered it: "
            "check whether the variable is marked !unsafe or comes from a file or lookup."
        )
    if len(text.encode("utf-8", "surrogateescape")) > PROMPT_LIMIT:
        yield (
            f"is longer than {PROMPT_LIMIT} bytes, and the prompt of cryptsetup takes no more. "
            "It opens the volume from a file only."
        )
    if _TIMESTAMP.fullmatch(text):
        yield (
            "is a timestamp in the form into which YAML and Ansible bring one that is not quoted, "
            "so that it can differ from what the playbook says. Quote it in the playbook."
        )


def decoded(text: bytes, name: str) -> bytearray:
    """``name``: of secret and option."""
    try:
        value = bytearray(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        value = bytearray()
        valid = False
    else:
        valid = hmac.compare_digest(base64.b64encode(value), text)
    if not valid:
        spaces = any(byte in b" \t\r\n" for byte in text)
        found = "contains spaces or line breaks" if spaces else "is not valid base64"
        raise BadSecret(
            f"{name} {found}",
            why="only the canonical form (RFC 4648, with padding) is accepted, so that a damaged value is noticed",
            remedy="Encode with the b64encode filter, or with 'base64 --wrap=0'",
        )
    return value


def why_qemu_cannot(value: bytearray) -> str:
    """Why QEMU cannot take a secret, or "": it has to be UTF-8 without NUL, in whatever way it is passed
    (crypto/secret.c)."""
    if 0 in value:
        return "contains a NUL byte"
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    return ""


def _sources() -> str:
    return ", ".join(SOURCES[:-1]) + f" or {SOURCES[-1]}"
