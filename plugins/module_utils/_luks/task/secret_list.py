# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The secrets of one task, numbered: the same bytes are one secret, whatever their label or place in the task."""

from __future__ import annotations

import typing as t

from ..errors import BadTask
from .secrets import Secret, read


@t.final
class SecretList:
    """Collects secrets while a task is read. The context manager wipes them unless they were handed over."""

    def __init__(self) -> None:
        self.members: t.List[Secret] = []
        self.volume_keys: t.List[Secret] = []  # :func:`.volume_keys.unlocking` adds them
        self._positions: t.List[str] = []  # where each secret stood first
        self._owners: t.Dict[str, t.Tuple[int, str]] = {}  # label -> number and where it was given
        self._warnings: t.List[str] = []

    def __enter__(self) -> SecretList:
        return self

    def __exit__(self, *_exception: object) -> None:
        for secret in (*self.members, *self.volume_keys):
            secret.wipe()

    def number_of(self, params: t.Any, position: str, *, new: bool = False) -> int:
        """Read the secret that ``params`` at ``position`` describe, and number it.

        Raises what :func:`read` raises, and BadTask if another secret has the same label.
        """
        return self.add(read(params, position, new=new), position)

    def add(self, secret: Secret, position: str) -> int:
        """Number a secret that was read at ``position``. Raises BadTask if another secret has the same label."""
        number = self._find(secret)
        if number is None:
            number = len(self.members)
            self.members.append(secret)
            self._positions.append(position)
        else:
            secret.wipe()
        self._warnings.extend(secret.warnings)
        for label in secret.labels:
            self._name(number, label, position)
        return number

    def labels(self) -> t.Tuple[str, ...]:
        """The name of each secret in messages, tables and the record in the header: its first label, else its position.

        Raises BadTask if a label equals the position that names another secret.
        """
        for number, secret in enumerate(self.members):
            usable = [label for label in secret.labels if not any(other.is_text(label) for other in self.members)]
            if len(usable) < len(secret.labels):
                self._warnings.append(
                    f"The label of {self._positions[number]} is itself a secret of this task. "
                    "Labels are shown and, on LUKS2, stored in the header, "
                    f"so {(usable or [self._positions[number]])[0]} is used instead."
                )
            secret.labels = tuple(usable or [self._positions[number]])
        names: t.Dict[str, int] = {}
        for number, secret in enumerate(self.members):
            for label in secret.labels:
                if names.setdefault(label, number) != number:
                    raise BadTask(
                        f"the label {label!r} is also the name of a secret without a label",
                        why="a secret without a label is named by its place in the task",
                        remedy="Choose a label that does not look like a place in the task",
                    )
        return tuple(secret.labels[0] for secret in self.members)

    def warnings(self) -> t.Tuple[str, ...]:
        return tuple(dict.fromkeys(self._warnings))

    def handed_over(self) -> t.Tuple[Secret, ...]:
        """The secrets, which the caller wipes from now on."""
        secrets, self.members = tuple(self.members), []
        return secrets

    def volume_keys_handed_over(self) -> t.Tuple[Secret, ...]:
        """The volume keys, which the caller wipes from now on."""
        keys, self.volume_keys = tuple(self.volume_keys), []
        return keys

    def _find(self, secret: Secret) -> t.Optional[int]:
        matches = [number for number, member in enumerate(self.members) if member.same_bytes(secret)]
        return matches[0] if matches else None

    def _name(self, number: int, label: str, position: str) -> None:
        self.own_label(label, number, position)
        member = self.members[number]
        if label not in member.labels:
            member.labels += (label,)

    def own_label(self, label: str, number: int, position: str) -> None:
        """Raises BadTask if another secret has this label."""
        owner, where = self._owners.setdefault(label, (number, position))
        if owner != number:
            raise BadTask(
                f"{where} and {position} are different secrets with the same label {label!r}",
                why="a result could not tell them apart",
                remedy="Give them different labels, or correct one if both were meant to be the same secret",
            )
