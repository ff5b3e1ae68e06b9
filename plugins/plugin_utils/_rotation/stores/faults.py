# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A store that fails in a way that its contract does not know, such as a file server that went away below it, is one
that fails: its volume is refused with a sentence, and the others of the host go on.
"""

from __future__ import annotations

import functools
import os
import typing as t

from ....module_utils._luks.errors import shown
from . import UNCHANGED, Store, Stored, StoreError

_UNKNOWN = "It is not known whether the store was changed."


class Sentences:
    """``store`` with nothing but StoreErrors, and with answers that are Stored. name: how its user calls it."""

    def __init__(self, name: str, store: Store) -> None:
        self._name = name
        self._store = store
        listed = getattr(store, "known", None)
        if listed is not None:
            self.known = functools.partial(self._known, listed)

    def check(self) -> None:
        self._told("check itself", UNCHANGED, self._store.check)

    def read(self, key: str) -> Stored:
        return self._stored(key, self._told(f"read {key}", UNCHANGED, lambda: self._store.read(key)), UNCHANGED)

    def write(self, key: str, entry: t.Dict[str, t.Any], version: t.Any) -> Stored:
        written = self._told(f"write {key}", _UNKNOWN, lambda: self._store.write(key, entry, version))
        return self._stored(key, written, _UNKNOWN)

    def _known(self, listed: t.Callable[[str], t.Any], prefix: str) -> t.Optional[t.Dict[str, Stored]]:
        found = self._told(f"list {prefix}", UNCHANGED, lambda: listed(prefix))
        if found is None:
            return None
        if not isinstance(found, t.Mapping):
            raise self._broken(f"listed {type(found).__name__} instead of a dictionary", UNCHANGED)
        return {str(key): self._stored(str(key), stored, UNCHANGED) for key, stored in found.items()}

    def _told(self, doing: str, state: str, call: t.Callable[[], t.Any]) -> t.Any:
        try:
            return call()
        except StoreError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a program of somebody else's does
            # Not its text, which could hold a secret.
            reason = isinstance(error, OSError) and isinstance(error.errno, int) and os.strerror(error.errno)
            what = f"{reason} ({type(error).__name__})" if reason else type(error).__name__
            raise StoreError(
                f"The store {shown(self._name)} could not {shown(doing)}: {what}. Look at what it keeps its entries "
                f"in, and run again. {state}"
            ) from None

    def _stored(self, key: str, found: t.Any, state: str) -> Stored:
        entry = getattr(found, "entry", found)
        if not hasattr(found, "version") or not isinstance(entry, (dict, type(None))):
            raise self._broken(f"returned {type(entry).__name__} instead of an entry for {key}", state)
        return Stored(entry, found.version)

    def _broken(self, what: str, state: str) -> StoreError:
        return StoreError(
            f"The store {shown(self._name)} {shown(what)}. docs/stores.md says what it has to do. {state}"
        )
