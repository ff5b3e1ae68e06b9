# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Each form of a report is made part by part, so that that of a large fleet is never in memory as a whole."""

from __future__ import annotations

import json
import typing as t

Parts = t.Iterator[str]
_ENOUGH = 1 << 16  # characters of a part


class Streamed(t.List[t.Any]):
    """A list for :func:`json_of` whose items are made while they are written."""

    def __init__(self, make: t.Callable[[], t.Iterator[t.Any]]) -> None:
        super().__init__()
        self._make = make

    def __iter__(self) -> t.Iterator[t.Any]:
        return self._make()

    def __bool__(self) -> bool:
        return next(self._make(), self) is not self


def json_of(value: t.Any) -> Parts:
    """As json.dumps with indent=1 has it, and a line feed."""
    yield from json.JSONEncoder(indent=1, ensure_ascii=True).iterencode(value)
    yield "\n"


def encoded(parts: Parts) -> t.Iterator[bytes]:
    """The same in UTF-8, in fewer parts of which none is empty."""
    pending: t.List[str] = []
    size = 0
    for part in parts:
        pending.append(part)
        size += len(part)
        if size >= _ENOUGH:
            yield "".join(pending).encode("utf-8")
            pending, size = [], 0
    if size:
        yield "".join(pending).encode("utf-8")
