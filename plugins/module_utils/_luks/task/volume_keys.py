# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The volume key itself, given by a task: it opens no keyslot, and proves itself by the digest in the header."""

from __future__ import annotations

import typing as t

from ..crypto.memory import wipe
from ..errors import BadSecret, BadTask
from ..header.model import LARGEST_KEY
from .keyfile_content import read_keyfile
from .secret_list import SecretList
from .secrets import SOURCES, Secret, decoded, label_of, text_of

KEY_SOURCES = ("volume_key_file", "volume_key_base64")


def unlocking(secrets: SecretList, items: t.Sequence[t.Any], option: str) -> t.Tuple[int, ...]:
    """The numbers of the secrets among the ``items`` of ``option``; its volume keys join ``secrets.volume_keys``.

    Raises what :meth:`.SecretList.number_of` raises.
    """
    numbers = []
    for index, params in enumerate(items):
        position = f"{option}[{index}]"
        if is_volume_key(params):
            _add(secrets, read_volume_key(params, position), position)
        else:
            numbers.append(secrets.number_of(params, position))
    return tuple(dict.fromkeys(numbers))


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
