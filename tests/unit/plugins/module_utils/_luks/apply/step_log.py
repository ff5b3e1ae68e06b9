# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk and a builder of keyslots that only note what they are told, around the header of a volume that cryptsetup
made.
"""

from __future__ import annotations

import contextlib
import gzip
import pathlib
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.keyslot_writer import SlotKeys
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import (
    Argon2,
    Extent,
    Header,
    Kdf,
    Pbkdf2,
    Write,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.parsing import parse_header

FIXTURES = pathlib.Path(__file__).parents[5] / "fixtures"
KDFS: t.Mapping[str, Kdf] = {
    "luks1": Pbkdf2("sha256", 1000, bytes(32)),
    "luks2": Argon2("argon2id", 4, 65536, 1, bytes(32)),
}


class Log:
    """Stands for the disk and for the builder. ``said``: a word for each write; keyslots of the header, and its note.
    ``start``: the header of the fixture.
    """

    def __init__(self, format: str) -> None:
        data = gzip.decompress((FIXTURES / f"{format}.img.gz").read_bytes())
        self.header: Header = parse_header(lambda offset, length: data[offset : offset + length], len(data))
        self.kdf = KDFS[format]
        self.said: t.List[str] = []
        self.disk = self

    def commit(self, header: Header) -> None:
        note = header.intent
        slots = ",".join(map(str, sorted(header.keyslots)))
        self.said.append(f"header {slots}" + (f" {note.kind} {note.keyslot}" if note else ""))
        self.header = header.after_commit(self.header)

    def overwrite(self, area: Extent) -> None:
        layout = self.header.layout
        places = layout.fixed or {number: slot.area for number, slot in self.header.keyslots.items()}
        names = [str(number) for number, place in places.items() if place == area]
        self.said.append(f"wipe {', '.join(names) or 'what no keyslot uses'}")

    def write_beside(self, writes: t.Iterable[Write], what: str) -> None:
        self.said += [f"{what}: {write.data.decode()}" for write in writes]

    def reread(self, offset: int, length: int) -> bytes:
        raise AssertionError

    @contextlib.contextmanager
    def prepare(self, action: t.Any, area: Extent) -> t.Iterator[SlotKeys]:
        yield SlotKeys(self.kdf, bytearray(), bytearray())

    def place(self, number: int, area: Extent, keys: SlotKeys) -> None:
        self.said.append(f"key {number}")

    def priority(self, action: t.Any) -> str:
        return "normal"

    def token(self, action: t.Any) -> t.Optional[t.Mapping[str, t.Any]]:
        return None
