# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The JSON area of LUKS2: a reader that accepts only unambiguous JSON, and a writer that writes as json-c does.

Trees are plain dicts, lists, strings, ints, bools and None. A fractional number becomes a :class:`Number`, which keeps
its spelling as json-c does. Sources: RFC 8259; json-c 0.16 and libcryptsetup 2.6.1 as observed.
"""

from __future__ import annotations

import json
import re
import typing as t

from ...errors import MalformedHeader

Tree = t.Dict[str, t.Any]

# json-c stops at its default depth of 32, so that the innermost of 32 containers could only be empty.
MAX_DEPTH = 31

_INT64 = 1 << 63
# One mark at a time: a pattern for whole strings takes quadratic time on a text whose last string never ends.
_MARKS = re.compile(r'\\.|["\[{\]}]', re.DOTALL)
# luksmith.luks.header_backup overwrites no intact header that it does not understand.
REPLACE = "'cryptsetup luksHeaderRestore --header-backup-file BACKUP DEVICE' replaces the whole header"
RESTORE = f"Restore a header backup that you trust: {REPLACE}"
LOOK_AND_RESTORE = (
    "Look at it with 'cryptsetup luksDump --dump-json-metadata'; if this was not done on purpose, restore a header "
    f"backup that you trust: {REPLACE}"
)


class StricterThanCryptsetup(MalformedHeader):
    """Refused although cryptsetup accepts it or may: this is never a reason to prefer the other copy."""


class Number:
    """A JSON number with fraction or exponent, as it was spelled."""

    __slots__ = ("spelling",)

    def __init__(self, spelling: str) -> None:
        self.spelling = spelling

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and other.spelling == self.spelling

    def __hash__(self) -> int:
        return hash(self.spelling)

    def __repr__(self) -> str:
        return f"Number({self.spelling!r})"


def parse_area(area: bytes) -> Tree:
    """The object in a JSON area (the text, then NUL bytes up to the end, at least one).

    Raises MalformedHeader if cryptsetup refuses it too, and its subclass StricterThanCryptsetup if json-c accepts or
    might accept the text, but not with the one meaning that RFC 8259 gives it.
    """
    end = area.find(b"\0")
    if end < 0:
        raise _broken("the text fills the whole area and is not terminated by a NUL byte")
    if area[end:].strip(b"\0"):
        raise _broken("the text is followed by bytes other than NUL")
    if not area.startswith(b"{"):
        raise _broken("it does not begin with '{'")
    try:
        text = area[:end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _ambiguous(f"byte {error.start} is not valid UTF-8") from None
    if _too_deep(text):
        raise _broken(f"it is nested deeper than {MAX_DEPTH} levels")
    try:
        tree, stop = _DECODER.raw_decode(text)
    except ValueError as error:
        raise _ambiguous(f"{error}") from None
    if stop != len(text):
        raise _broken("the closing '}' is followed by more text")
    if "\\u" in text:
        _check_strings(tree)
    return t.cast(Tree, tree)


def emit(tree: t.Any) -> bytes:
    """UTF-8 text as json-c writes it with JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE: compact."""
    parts: t.List[str] = []
    _emit(tree, parts)
    return "".join(parts).encode("utf-8")


def _emit(value: t.Any, parts: t.List[str]) -> None:
    if isinstance(value, dict):
        separator = "{"
        for key, member in value.items():
            parts += (separator, json.dumps(key, ensure_ascii=False), ":")
            _emit(member, parts)
            separator = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        separator = "["
        for member in value:
            parts.append(separator)
            _emit(member, parts)
            separator = ","
        parts.append("]" if value else "[]")
    elif isinstance(value, Number):
        parts.append(value.spelling)
    else:
        parts.append(json.dumps(value, ensure_ascii=False))


def _too_deep(text: str) -> bool:
    depth, in_string = 0, False
    for token in _MARKS.finditer(text):
        mark = text[token.start()]
        if mark == '"':
            in_string = not in_string
        elif in_string or mark == "\\":
            continue
        elif mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


def _members(pairs: t.List[t.Tuple[str, t.Any]]) -> Tree:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: t.Set[str] = set()
        for key, _value in pairs:
            if key in seen:
                raise ValueError(f"the member {key[:40]!r} appears twice in one object")
            seen.add(key)
    return members


def _integer(spelling: str) -> int:
    # Twenty characters hold every int64. Longer ones are not converted: that could take long.
    if spelling == "-0" or len(spelling) > 20 or not -_INT64 <= int(spelling) < _INT64:
        raise ValueError(f"the number {spelling[:24]} does not fit a signed 64-bit integer")
    return int(spelling)


def _constant(spelling: str) -> t.NoReturn:
    raise ValueError(f"{spelling} is not a JSON number")


def _check_strings(value: t.Any) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            _check_strings(key)
            _check_strings(member)
    elif isinstance(value, list):
        for member in value:
            _check_strings(member)
    elif isinstance(value, str):
        if "\0" in value:
            raise _ambiguous("a string contains an escaped NUL character, at which C programs stop reading")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _ambiguous("a string contains half of a surrogate pair") from None


def _broken(what: str) -> MalformedHeader:
    return MalformedHeader(
        f"the LUKS2 metadata is damaged: {what}", why="cryptsetup refuses such a header too", remedy=LOOK_AND_RESTORE
    )


def _ambiguous(what: str) -> StricterThanCryptsetup:
    return StricterThanCryptsetup(
        f"the LUKS2 metadata is not strict JSON: {what}",
        why="the parser of cryptsetup is more lenient and may read this differently, so that it is refused, not "
        "normalised",
        remedy=LOOK_AND_RESTORE,
    )


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=Number, parse_int=_integer, parse_constant=_constant, strict=True
)
