# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The format of the vectors, see README.md: from text to vectors, and from a vector to the bytes of an image.

The standard library alone, and nothing of the collection, so that another project can take this file as it is.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import pathlib
import typing as t
import zlib

_BLOCK = 1 << 16
VECTORS = pathlib.Path(__file__).with_name("vectors")


@dataclasses.dataclass
class Vector:
    """detached: bytes of the payload if the image is a header that stands alone. peers: program -> what it says where
    that is not what ``expect`` says, and why.
    """

    name: str
    size: int = 0
    detached: t.Optional[int] = None
    edits: t.List[t.List[str]] = dataclasses.field(default_factory=list)
    secrets: t.Dict[str, bytes] = dataclasses.field(default_factory=dict)
    expect: str = ""
    peers: t.Dict[str, t.Tuple[str, str]] = dataclasses.field(default_factory=dict)

    def image(self) -> bytearray:
        """The bytes of the image. Raises ValueError for a line that the format does not have."""
        image = bytearray(self.size)
        for word, *values in self.edits:
            if word == "hex":
                _put(image, int(values[0]), bytes.fromhex(values[1]))
            elif word == "zlib":
                _put(image, int(values[0]), zlib.decompress(base64.b64decode(values[1])))
            elif word == "json":
                _put_json(image, " ".join(values).encode())
            elif word == "checksum":
                for copy in values:
                    _checksum(image, int(copy))
            else:
                raise ValueError(f"{self.name}: {word!r} is no word of the format")
        return image

    def write(self, path: pathlib.Path) -> None:
        """The image as a sparse file."""
        image = self.image()
        with path.open("wb") as file:
            file.truncate(len(image))
            for offset in range(0, len(image), _BLOCK):
                block = image[offset : offset + _BLOCK]
                if block.count(0) != len(block):
                    file.seek(offset)
                    file.write(block)


def load(folder: pathlib.Path = VECTORS) -> t.Dict[str, Vector]:
    """Every vector by its name, in the order of the files. Raises ValueError if a file breaks the format."""
    found: t.Dict[str, Vector] = {}
    for path in sorted(folder.glob("*.txt")):
        for stanza in path.read_text(encoding="utf-8").split("\n\n"):
            lines = [line for line in stanza.splitlines() if line and not line.startswith("#")]
            if lines:
                vector = _parse(lines, found)
                if vector.name in found:
                    raise ValueError(f"{path}: {vector.name} is there twice")
                found[vector.name] = vector
    return found


def _parse(lines: t.Sequence[str], known: t.Mapping[str, Vector]) -> Vector:
    word, _space, name = lines[0].partition(" ")
    if word != "vector":
        raise ValueError(f"a vector begins with its name, not with {lines[0]!r}")
    vector = Vector(name)
    for line in lines[1:]:
        word, _space, rest = line.partition(" ")
        if word == "base":
            base = known[rest]
            vector.size, vector.detached = base.size, base.detached
            vector.edits, vector.secrets = list(base.edits), dict(base.secrets)
        elif word == "size":
            vector.size = int(rest)
        elif word == "detached":
            vector.detached = int(rest)
        elif word == "secret":
            label, _space, content = rest.partition(" ")
            vector.secrets[label] = bytes.fromhex(content)
        elif word == "expect":
            vector.expect = rest
        elif word == "peer":
            program, verdict, why = rest.split(": ", 2)
            vector.peers[program] = (verdict, why)
        else:
            vector.edits.append([word, *([rest] if word == "json" else rest.split(" ") if rest else [])])
    return vector


def _put(image: bytearray, offset: int, content: bytes) -> None:
    if offset < 0 or offset + len(content) > len(image):
        raise ValueError(f"{len(content)} bytes at {offset} are outside of the image")
    image[offset : offset + len(content)] = content


def _put_json(image: bytearray, text: bytes) -> None:
    """The text into both copies, zeros behind it; 16 KiB headers, as all LUKS2 vectors have them at first."""
    for copy in (0, 16384):
        _put(image, copy + 4096, text.ljust(12288, b"\0"))


def _checksum(image: bytearray, copy: int) -> None:
    """SHA-256 over the 16 KiB of the copy with zeros in the 64 bytes of the checksum."""
    image[copy + 448 : copy + 512] = bytes(64)
    digest = hashlib.sha256(image[copy : copy + 16384]).digest()
    image[copy + 448 : copy + 480] = digest
