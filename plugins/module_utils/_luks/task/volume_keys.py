# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What unlocks and is no secret of the task: the volume key itself, and tokens that yield a secret.

A volume key opens no keyslot, and proves itself by the digest in the header. What a token yields is a secret as any
other.
"""

from __future__ import annotations

import os
import re
import typing as t

from ..crypto.memory import wipe
from ..errors import BadSecret, BadTask
from ..header.model import LARGEST_KEY
from .secret_list import SecretList
from .secrets import SOURCES, Secret, TokenRequest, decoded, label_of, text_of

_LONGEST_PIN = 1024  # bytes
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OF_TOKEN = ("label", "token", "pin", "device")
AUTO = "auto"
KEY_SOURCES = ("volume_key_file", "volume_key_base64")


def unlocking(secrets: SecretList, items: t.Sequence[t.Any], option: str) -> t.Tuple[int, ...]:
    """The numbers of the secrets among the ``items`` of ``option``; its volume keys join ``secrets.volume_keys``.

    Raises what :meth:`.SecretList.number_of` raises.
    """
    numbers = []
    for index, params in enumerate(items):
        position = f"{option}[{index}]"
        if is_volume_key(params) and all(params.get(name) is None for name in ("token", "pin", "device")):
            _add(secrets, read_volume_key(params, position), position)
        else:
            numbers.append(token_or_secret(secrets, params, position))
    return tuple(dict.fromkeys(numbers))


def token_or_secret(secrets: SecretList, params: t.Any, position: str) -> int:
    """The number of one secret. Raises what :meth:`.SecretList.number_of` raises."""
    if isinstance(params, t.Mapping) and params.get("token") is not None:
        return secrets.add(_of_token(params, position), position)
    if isinstance(params, t.Mapping) and (params.get("pin") is not None or params.get("device") is not None):
        raise BadTask(f"{position} has pin or device without token", remedy="Add the token that they are for")
    return secrets.number_of(params, position)


def _of_token(params: t.Mapping[str, t.Any], position: str) -> Secret:
    label = label_of(params.get("label"), position)
    token = params["token"]
    others = [name for name, value in params.items() if name not in _OF_TOKEN and value is not None]
    if others:
        raise BadTask(f"{position} has token and {' and '.join(others)}", remedy="Give each as an item of its own")
    if isinstance(token, bool) or not isinstance(token, (str, int)) or not _TOKEN.fullmatch(str(token)):
        raise BadTask(
            f"{position}: token is {token!r}",
            remedy="Write auto, a type such as clevis, or the number of the token",
        )
    # Nothing is equal to noise, so that it is a secret of its own until the token yields one.
    request = TokenRequest(str(token), read_pin(params.get("pin"), position), device_of(params.get("device"), position))
    return Secret(bytearray(os.urandom(32)), (label,) if label else (), token=request)


def read_pin(pin: t.Any, position: str) -> bytearray:
    """The option ``pin`` of the item at ``position``, empty if not given. Raises as :func:`.secrets.text_of`."""
    if pin is None:
        return bytearray()
    value = bytearray(text_of(pin, f"{position}: pin", base64_needed=False))
    if not 1 <= len(value) <= _LONGEST_PIN or 0 in value or b"\n" in value:
        size = len(value)
        wipe(value)
        raise BadSecret(
            f"{position}: pin has {size} bytes" + (", and a NUL or a newline" if 1 <= size <= _LONGEST_PIN else ""),
            why=f"a PIN is one line of 1 to {_LONGEST_PIN} bytes",
            remedy="Give the PIN that its program was told",
        )
    return value


def device_of(device: t.Any, position: str) -> str:
    """The option ``device`` of the item at ``position``, "" if it is to be found. Raises BadTask if it is no text."""
    if device in (None, AUTO):
        return ""
    if not isinstance(device, str) or not device.isprintable() or not device:
        raise BadTask(f"{position}: device is {device!r}", remedy="Give a path such as /dev/tpmrm0, or auto")
    return device


def _add(secrets: SecretList, key: Secret, position: str) -> None:
    if any(key.same_bytes(other) for other in secrets.volume_keys):
        key.wipe()
        return
    secrets.volume_keys.append(key)
    secrets.own_label(key.labels[0], -len(secrets.volume_keys), position)


def is_volume_key(params: t.Any) -> bool:
    return isinstance(params, t.Mapping) and any(params.get(source) is not None for source in KEY_SOURCES)


def read_volume_key(params: t.Mapping[str, t.Any], position: str) -> Secret:
    """The volume key that the options ``params`` describe, named by its label, else by its ``position``.

    Raises as :func:`read`.
    """
    label = label_of(params.get("label"), position)
    name = f"{position} (label {label!r})" if label else position
    given = [source for source in (*SOURCES, *KEY_SOURCES) if params.get(source) is not None]
    if len(given) != 1:
        raise BadTask(
            f"{name} has more than one source: {' and '.join(given)}",
            why="a volume key is no secret of a keyslot",
            remedy="Give each of them as an item of its own",
        )
    for option in ("keyfile_offset", "keyfile_size"):
        if params.get(option) is not None:
            raise BadTask(
                f"{name} has {option} with {given[0]}",
                why="a volume key is a file of its own, of exactly its length",
                remedy=f"Remove {option}",
            )
    if given == ["volume_key_file"]:
        from .keyfile_content import read_keyfile

        value = read_keyfile(params[given[0]], None, None, name, called=given[0])
    else:
        value = decoded(text_of(params[given[0]], f"{name}: {given[0]}", base64_needed=False), f"{name}: {given[0]}")
    if not 1 <= len(value) <= LARGEST_KEY:
        size = len(value)
        wipe(value)
        raise BadSecret(
            f"{name}: {given[0]} has {size} bytes",
            why=f"a volume key has 1 to {LARGEST_KEY}",
            remedy="Give the bytes that 'cryptsetup luksDump --dump-volume-key --volume-key-file FILE' writes",
        )
    return Secret(value, (label or position,))
