# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The two actions around a plan that needs a copy of the header (``backup_dir``), for both formats."""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import LuksmithError
from ..header.model import Extent, Header, Intent, IntentKind
from ..plan.actions import Action
from ..required import required


class Disk(t.Protocol):
    """Where the steps write: :class:`.header_writer.HeaderWriter`, or memory in a dry run."""

    header: Header

    def commit(self, header: Header) -> None:
        """The medium holds ``header`` when this returns. Raises as :meth:`.HeaderWriter.commit`."""

    def overwrite(self, area: Extent) -> None:
        """Wipe the area. Raises as :meth:`.HeaderWriter.overwrite`."""


class Copies(t.Protocol):
    """Makes and removes the copy of the header: :class:`.way_back.HeaderCopy`, or nothing in a dry run."""

    def new_name(self) -> str:
        """For a copy that is to be made. Raises as :func:`.copy_file.new_name`."""

    def make(self, name: str) -> None:
        """Copy the header that is on the disk. Raises as :meth:`.HeaderCopy.make`."""

    def remove(self, name: str) -> None:
        """Raises as :meth:`.HeaderCopy.remove`."""


class _Builder(t.Protocol):
    @property
    def disk(self) -> Disk:
        """Where the header is."""

    @property
    def way_back(self) -> Copies:
        """Of a plan that copies the header."""


class CopySteps:
    """The journal names the copy before there is one, and forgets it when it is gone.

    So a crash leaves no copy that no header names, except one whose header another program has written since.
    """

    def __init__(self, builder: _Builder) -> None:
        self.disk = builder.disk
        self._builder = builder

    def copy_header(self, action: Action) -> None:
        """Raises as every step, and what makes the copy. Then the header names no copy, unless it did before."""
        intent = self.disk.header.intent
        if intent is not None:
            self._builder.way_back.make(intent.copy or self._builder.way_back.new_name())
            return
        name = self._builder.way_back.new_name()
        self.disk.commit(self.disk.header.with_intent(Intent(IntentKind.COPIED, 0, copy=name)))
        try:
            self._builder.way_back.make(name)
        except LuksmithError:
            # Nothing else was begun. A header that still names the copy asks the next task for the same folder.
            with contextlib.suppress(LuksmithError):
                self._forget(name)
            raise

    def remove_copy(self, action: Action) -> None:
        """Raises as every step, and what removes the copy."""
        self._forget(required(self.disk.header.intent).copy)

    def _forget(self, name: str) -> None:
        self._builder.way_back.remove(name)
        self.disk.commit(self.disk.header.with_intent(None))
