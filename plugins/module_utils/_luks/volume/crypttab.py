# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The lines of /etc/crypttab, as systemd and the scripts of Debian read them. Pure text -> values.

Sources: crypttab(5) of systemd (four fields, comments only at the start of a line, ``-`` and ``none`` for "no keyfile")
and of Debian (the same, plus octal escapes such as ``\\040`` in every field, and ``keyscript=``, whose argument is the
third field).
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_BLANKS = re.compile(rb"[ \t\r]+")
_COMMA = re.compile(r"(?<!\\),")
_NOTHING = ("none", "-", "")
# A volume with one of these options is no LUKS volume, whatever its first bytes are.
_OTHER_FORMATS = frozenset(
    ("plain", "bitlk", "fvault2", "tcrypt", "tcrypt-hidden", "tcrypt-system", "tcrypt-veracrypt", "veracrypt")
)
_RANDOM = ("/dev/urandom", "/dev/random", "/dev/hwrng")


@dataclasses.dataclass(frozen=True)
class Line:
    """One entry. ``source``: as written (``UUID=...``, a path); ``line``: from 1; ``keyfile``: None for a prompt."""

    name: str
    source: str
    keyfile: t.Optional[str]
    options: t.Tuple[str, ...]
    line: int

    @property
    def header(self) -> t.Optional[str]:
        """The path or tag of the detached header, or None."""
        return next((option.partition("=")[2] for option in self.options if option.startswith("header=")), None)

    @property
    def expects_luks(self) -> bool:
        """False if the line is for another format or a random key at every boot."""
        if self.keyfile in _RANDOM:
            return False
        return not any(option.partition("=")[0] in _OTHER_FORMATS for option in self.options)

    @property
    def tag(self) -> t.Tuple[str, str]:
        """("UUID", value), ("PARTUUID", value), ("LABEL", ...), ("PARTLABEL", ...), ("ID", ...), or ("", path)."""
        kind, equals, value = self.source.partition("=")
        if equals and kind in ("UUID", "PARTUUID", "LABEL", "PARTLABEL", "ID"):
            return kind, value.strip("\"'")
        return "", self.source

    def row(self) -> t.Dict[str, t.Any]:
        """The line as it appears in the result of volumes_info."""
        return {
            "name": self.name,
            "source": self.source,
            "keyfile": self.keyfile,
            "options": list(self.options),
            "line": self.line,
        }


def parse(data: bytes) -> t.Tuple[t.List[Line], t.List[str]]:
    """The entries of a crypttab, and a warning for every invalid line."""
    lines: t.List[Line] = []
    odd: t.List[str] = []
    # Only newlines end a line: splitlines() would also split at form feeds and the like.
    for number, raw in enumerate(data.split(b"\n"), start=1):
        fields = _fields(raw)
        if not fields:
            continue
        if len(fields) < 2:
            odd.append(f"line {number} of crypttab names no device and is ignored")
            continue
        keyfile = fields[2] if len(fields) > 2 and fields[2] not in _NOTHING else None
        options = (
            tuple(option.replace("\\,", ",") for option in _COMMA.split(fields[3]) if option not in _NOTHING)
            if len(fields) > 3
            else ()
        )
        lines.append(Line(fields[0], fields[1], keyfile, options, number))
    return lines, odd


def _fields(raw: bytes) -> t.List[str]:
    fields = []
    for field in filter(None, _BLANKS.split(raw)):
        if field.startswith(b"#"):
            break
        fields.append(os.fsdecode(_OCTAL.sub(lambda match: bytes((int(match.group(1), 8),)), field)))
        if len(fields) == 4:
            break
    return fields
