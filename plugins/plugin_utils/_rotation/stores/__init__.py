# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The stores of a rotation: where the secrets of volumes are kept. docs/stores.md is the contract for stores of your
own.

A store is a class with the two methods of :class:`Store`. It knows nothing of volumes, and nothing of Ansible.
"""

from __future__ import annotations

import typing as t

from ....module_utils._luks.errors import NOTHING_CHANGED
from ....module_utils._luks.files import KEPT

UNCHANGED, CHANGED = "The store was not changed.", "The store was changed before."


class StoreError(Exception):
    """The store cannot do what it was asked for: a sentence or two for an operator, without a secret, that end with
    what was changed.
    """


def says_unchanged(error: StoreError) -> bool:
    """Whether the store says that it holds what it held before."""
    return str(error).endswith((UNCHANGED, NOTHING_CHANGED, KEPT))


class Stored(t.NamedTuple):
    """What a store holds under a key. entry: as it was written, None for nothing. version: for the next ``write``, 0
    for nothing.
    """

    entry: t.Optional[t.Dict[str, t.Any]] = None
    version: t.Any = 0


class Store(t.Protocol):
    def check(self) -> None:
        """Raise StoreError for everything that would make a ``write`` fail and can be known before. Changes nothing."""

    def read(self, key: str) -> Stored:
        """What was written last under ``key``. Raises StoreError."""

    def write(self, key: str, entry: t.Dict[str, t.Any], version: t.Any) -> Stored:
        """Bring ``entry`` durably into the store, and return what a fresh ``read`` gives back.

        version: of the ``read`` that the entry was made from. If the store holds another version by now, somebody else
        works on the volume: raise StoreError and change nothing.
        """


def known(store: Store, prefix: str) -> t.Optional[t.Mapping[str, Stored]]:
    """What ``store`` holds under all keys that begin with ``prefix``; None if it is no Listing. Raises StoreError."""
    listed = getattr(store, "known", None)
    return None if listed is None else t.cast(t.Mapping[str, Stored], listed(prefix))


class Listing(t.Protocol):
    """What a store may have besides, so that a volume at rest costs one call of its host and not two."""

    def known(self, prefix: str) -> t.Mapping[str, Stored]:
        """What it holds under all keys that begin with ``prefix``, as ``read`` returns it. Raises StoreError."""
