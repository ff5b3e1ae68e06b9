# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values at the borders of rules, and ways to hurt bytes and JSON trees.

Everything is decided by the ``random.Random`` given.
"""

from __future__ import annotations

import copy
import random
import typing as t

Path = t.Tuple[t.Any, ...]

# Around zero, around the sizes that headers use, around the widths of C integers, and past them.
_EDGES = (
    0,
    1,
    2,
    7,
    8,
    16,
    20,
    31,
    32,
    33,
    64,
    255,
    256,
    511,
    512,
    513,
    520,
    1000,
    1536,
    4000,
    4095,
    4096,
    4097,
    8192,
    16384,
    32768,
)
_WIDE = (
    2**16,
    2**22,
    2**24,
    2**27,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**63 - 512,
    2**63 - 1,
    2**63,
    2**64 - 4096,
    2**64 - 512,
    2**64 - 1,
)
EDGES = (*_EDGES, *_WIDE)
BEYOND = (-1, -(2**31), -(2**63), 2**64, 2**64 + 1, 10**30)
WORDS = (
    "", " ", "0", "00", "01", "-1", "+1", "1_0", "1e3", "0x10", "\u0661", "null", "dynamic", "crypt", "linear",
    "luks1", "luks2", "raw", "none", "reencrypt",
    "checksum", "datashift", "datashift-checksum", "journal", "forward", "backward", "encrypt", "decrypt", "pbkdf2",
    "argon2i", "argon2id", "argon2d", "sha1",
    "sha256", "SHA256", "sha512", "sha3-256", "md5", "whirlpool", "shake_128", "aes-xts-plain64",
    "aes-cbc-essiv:sha256", "aes-cbc-essiv:", "aes-ecb",
    "aes-ctr-plain", "serpent-xts-plain64", "cipher_null-ecb", "capi:xts(aes)-plain64", "aes-", "-", "backup-final",
    "backup-previous", "backup-moved-segment",
    "in-reencryption", "online-reencrypt", "online-reencrypt-v2", "online-reencrypt-v", "offline-reencrypt", "opal",
    "hw-opal", "hw-opal-crypt",
    "inline-hw-tags", "systemd-tpm2", "clevis", "luks2-keyring", "luksmith.luks-record", "luksmith.luks-intent",
    "erase", "wipe", "hop-fill",
    "replace-erase", "replace-fill", "\x1b[2J", "a\nb", "\u202e", "\ud7ff", "\u00e9", "\U0001f512", "A" * 48,
    "A" * 44, "QUFB", "====", "A" * 5000,
)  # fmt: skip
TEXT_PIECES = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"\\u00e9", b"/*x*/", b"//", b"'",
    b"NaN", b"Infinity", b"-0", b"1.50",
    b"1e400", b"TRUE", b"true", b"null", b"007", b"9223372036854775808", b"-9223372036854775809", b"\n", b"\t", b" ",
    b"\0", b"\x01", b"\xff",
    b"\xc3\x28", b"\xed\xa0\x80", b"\x7f", b"1" * 400, b"[" * 40, b'{"a":' * 40, b'"keyslots":{}', b'"\\"\\"',
    b"\xef\xbb\xbf",
)  # fmt: skip


def number(rng: random.Random) -> int:
    """An edge, a neighbour of one, or anything."""
    choice = rng.random()
    if choice < 0.6:
        return rng.choice(EDGES)
    if choice < 0.9:
        return max(0, rng.choice(EDGES) + rng.randint(-3, 3))
    return rng.getrandbits(rng.choice((8, 16, 32, 40, 63, 64)))


def unsigned(rng: random.Random, bits: int) -> int:
    return number(rng) & ((1 << bits) - 1)


def value(rng: random.Random) -> t.Any:
    """A JSON value of any kind."""
    choice = rng.randrange(9)
    if choice == 0:
        return number(rng)
    if choice == 1:
        return str(number(rng))
    if choice == 2:
        return rng.choice(BEYOND[:3])
    if choice == 3:
        return str(rng.choice(BEYOND))
    if choice in (4, 5):
        return rng.choice(WORDS)
    if choice == 6:
        return rng.choice((None, True, False, [], {}, [0], ["0"], ["9"], ["0", "0"], {"0": {}}, {"0": 1}, {"": ""}))
    if choice == 7:
        return [rng.choice(("0", "1", "5", "31", "32", "x", "", 0)) for _time in range(rng.randrange(1, 6))]
    deep: t.Any = rng.choice((0, "x", {}))
    for _time in range(rng.choice((1, 2, 27, 31, 33, 200))):
        deep = {"a": deep} if rng.random() < 0.5 else [deep]
    return deep


def places(tree: t.Any, path: Path = ()) -> t.Iterator[Path]:
    if path:
        yield path
    for key, member in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(member, (*path, key))


def at(tree: t.Any, path: Path) -> t.Any:
    for key in path:
        tree = tree[key]
    return tree


def hurt_tree(tree: t.Dict[str, t.Any], rng: random.Random) -> None:
    """One change somewhere: another value, a near one, nothing, another name, a copy of something else, one more
    member.
    """
    known = list(places(tree))
    if not known:
        return
    path = rng.choice(known)
    parent, key = at(tree, path[:-1]), path[-1]
    how = rng.randrange(8)
    if how in (0, 1):
        parent[key] = value(rng)
    elif how in (2, 3):
        parent[key] = _near(parent[key], rng)
    elif how == 4:
        del parent[key]
    elif how == 5 and isinstance(parent, dict):
        parent[rng.choice((*WORDS, str(number(rng))))] = parent.pop(key)
    elif how == 6:
        parent[key] = copy.deepcopy(at(tree, rng.choice(known)))
    elif isinstance(parent, dict):
        parent[rng.choice((*WORDS, str(rng.randrange(40))))] = copy.deepcopy(parent[key])
    else:
        parent.insert(rng.randrange(len(parent) + 1), value(rng))


def _near(old: t.Any, rng: random.Random) -> t.Any:
    step = rng.choice((1, -1, 7, 511, 512, -512, 4096, -4096, 2**32, 2**63))
    if isinstance(old, bool) or old is None:
        return not old
    if isinstance(old, int):
        return old + step
    if isinstance(old, str) and old.isascii() and old.isdigit():
        return str(int(old) + step)
    if isinstance(old, str) and old:
        where = rng.randrange(len(old))
        return old[:where] + rng.choice(("", "\0", "A", "=", "-", old)) + old[where + 1 :]
    if isinstance(old, list):
        return old + old[:1] if rng.random() < 0.5 else old[1:]
    return value(rng)


def hurt_bytes(raw: bytes, rng: random.Random, *, within: t.Optional[int] = None) -> bytes:
    """One to four runs of bytes replaced, swapped or cut; the length stays."""
    data = bytearray(raw)
    limit = min(within or len(data), len(data))
    for _time in range(rng.randint(1, 4)):
        where, length = rng.randrange(limit), rng.choice((1, 1, 2, 4, 8, 32))
        how = rng.randrange(4)
        if how == 0:
            piece = rng.randbytes(length)
        elif how == 1:
            piece = number(rng).to_bytes(16, "big")[-rng.choice((2, 4, 8)) :]
        elif how == 2:
            piece = bytes([data[where] ^ (1 << rng.randrange(8))])
        else:
            other = rng.randrange(limit)
            piece = bytes(data[other : other + length])
        data[where : where + len(piece)] = piece
    return bytes(data[: len(raw)])


def hurt_text(text: bytes, rng: random.Random) -> bytes:
    for _time in range(rng.randint(1, 3)):
        where = rng.randrange(len(text) + 1)
        gone = rng.choice((0, 0, 1, 2, 9))
        text = text[:where] + rng.choice(TEXT_PIECES) + text[where + gone :]
    return text
