# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the store of a rotation holds for a volume, as an audit is told it: labels, and the secrets that they name."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import BadTask
from ..task.options import items_of
from ..task.secret_list import SecretList
from ..task.volume_keys import token_or_secret

Params = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Stored:
    """The entry of one volume; labels are "" or absent where the store has no such secret.

    uuid:    of the volume, in lower case; "" for any that the store does not know.
    problem: why the store could not be asked, or "".
    current, created: the secret that must open the volume, and when the store got it.
    given:   to whom one of the current and the staged secret was given out last, and when; "" for nobody.
    staged:  of a rotation that did not end.
    older:   secrets that rotations replace, and that must open nothing.
    kept:    secrets that rotations keep, such as break-glass, and that must open the volume.
    sealed:  labels of which the store cannot give the secret, so that it was not tried.
    tokens:  labels of secrets that a token of the volume keeps.
    """

    uuid: str = ""
    problem: str = ""
    current: str = ""
    created: str = ""
    given: str = ""
    staged: str = ""
    older: t.Tuple[str, ...] = ()
    kept: t.Tuple[str, ...] = ()
    sealed: t.FrozenSet[str] = frozenset()
    tokens: t.FrozenSet[str] = frozenset()

    @property
    def wanted(self) -> t.Tuple[str, ...]:
        """All that may open the volume."""
        return tuple(label for label in (self.current, self.staged, *self.kept) if label)


class Given(t.NamedTuple):
    """The option ``stored`` for one volume, with its secrets by number."""

    params: Params
    numbers: t.Mapping[str, int]

    @property
    def allowed(self) -> t.List[int]:
        labels = [self.params.get("current"), self.params.get("staged"), *items_of(self.params, "kept")]
        return [self.numbers[label] for label in labels if label in self.numbers]

    @property
    def older(self) -> t.List[int]:
        """Without a secret that is to stay: what was put into the store must not make that a fault."""
        found = [self.numbers[label] for label in items_of(self.params, "older") if label in self.numbers]
        return [number for number in found if number not in self.allowed]

    def named(self, labels: t.Sequence[str]) -> Stored:
        """``labels``: of all secrets of the task; two labels for the same bytes are one."""
        params = self.params

        def name(label: t.Optional[str]) -> str:
            return labels[self.numbers[label]] if label and label in self.numbers else label or ""

        older = [name(label) for label in items_of(params, "older") if label not in self.numbers]
        tokens = [one["label"] for one in items_of(params, "secrets") if one.get("token") is not None]
        every = [params.get("current"), params.get("staged"), *items_of(params, "older"), *items_of(params, "kept")]
        return Stored(
            uuid=str(params.get("uuid") or "").lower(),
            problem=params.get("problem") or "",
            current=name(params.get("current")),
            created=params.get("created") or "",
            given=params.get("given") or "",
            staged=name(params.get("staged")),
            older=tuple(dict.fromkeys([*(labels[number] for number in self.older), *older])),
            kept=tuple(map(name, items_of(params, "kept"))),
            tokens=frozenset(map(name, tokens)),
            sealed=frozenset(label for label in every if label and label not in self.numbers),
        )


def read_stored(params: t.Any, secrets: SecretList) -> t.Optional[Given]:
    """The option ``stored`` of one volume, None if no store was asked. Raises BadTask and BadSecret."""
    if params is None:
        return None
    if not isinstance(params, t.Mapping):
        raise BadTask("stored is no dictionary", remedy="Use the role audit with audit_store")
    numbers = {
        item["label"]: token_or_secret(secrets, item, f"stored.secrets[{index}]")
        for index, item in enumerate(items_of(params, "secrets"))
        if isinstance(item, t.Mapping) and isinstance(item.get("label"), str)
    }
    return Given(params, numbers)
