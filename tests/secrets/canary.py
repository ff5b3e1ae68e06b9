# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that occur nowhere else, and everything that they could look like when they got out."""

from __future__ import annotations

import base64
import dataclasses
import random
import string
import typing as t

_LETTERS = string.ascii_letters + string.digits
# Between the halves of a passphrase: characters that JSON, URLs, shells and Python escape. The halves are found anyhow.
_AWKWARD = "\"\\/+% \u00e9'&$"


@dataclasses.dataclass(frozen=True)
class Canary:
    """``value``: all bytes of the secret. ``parts``: runs of at least 12 bytes, each enough to know it by."""

    name: str
    value: bytes
    parts: t.Tuple[bytes, ...]

    @property
    def text(self) -> str:
        return self.value.decode()


def passphrase(name: str, rng: random.Random) -> Canary:
    halves = ["".join(rng.choices(_LETTERS, k=16)) for _half in range(2)]
    return Canary(name, _AWKWARD.join(halves).encode(), tuple(half.encode() for half in halves))


def key(name: str, value: bytes) -> Canary:
    """Bytes that are not text: a keyfile, a volume key, a derived key. The first and the last 16 identify them."""
    return Canary(name, value, tuple({value[:16], value[-16:]}))


def _forms(part: bytes) -> t.Iterator[t.Tuple[str, bytes]]:
    yield "as it is", part
    yield "reversed", part[::-1]
    yield "hex", part.hex().encode()
    yield "HEX", part.hex().upper().encode()
    yield "hex in pairs", part.hex(" ").encode()
    yield "hex in pairs with colons", part.hex(":").encode()
    yield "as numbers", ", ".join(map(str, part)).encode()
    yield "repr", repr(part)[2:-1].encode()
    yield "UTF-16", b"".join(bytes([byte, 0]) for byte in part)
    yield "UTF-8 of Latin-1", part.decode("latin-1").encode()
    for shift in range(3):
        # Its base64 inside a longer text: the outer characters depend on the neighbours, the inner ones do not.
        coded = base64.b64encode(bytes(shift) + part)
        inner = coded[4 if shift else 0 : len(coded) // 4 * 4 - 4]
        yield f"base64 (at {shift})", inner
        yield f"base64 for URLs (at {shift})", inner.replace(b"+", b"-").replace(b"/", b"_")


class Search:
    """Looks for all forms of all ``canaries`` at once."""

    def __init__(self, canaries: t.Iterable[Canary]) -> None:
        self.canaries = tuple(canaries)
        needles: t.Dict[t.Tuple[str, bytes], str] = {}
        for canary in self.canaries:
            for part in canary.parts:
                for form, needle in _forms(part):
                    needles.setdefault((canary.name, needle), form)
        self._needles = [(name, form, needle) for (name, needle), form in needles.items()]
        assert all(len(needle) >= 12 for _name, _form, needle in self._needles)

    def __call__(self, data: t.Union[bytes, str]) -> t.List[t.Tuple[str, str]]:
        """(name of the secret, form) of each that is in ``data``."""
        raw = data.encode(errors="surrogateescape") if isinstance(data, str) else data
        return sorted({(name, form) for name, form, needle in self._needles if needle in raw})
