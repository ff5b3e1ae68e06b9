# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors as text, and what is known of the answers: where a hostile header is read all the same, and where a program
differs.
"""

from __future__ import annotations

import base64
import re
import typing as t
import zlib

from .computed import Edit

BOTH = "opens 0 with a, 1 with b"
# (names, verdict): a member that no reader of a keyslot needs, or of which a reader needs a part only.
READ = (
    ("luks1-attack-payload-huge", BOTH),
    ("luks2-attack-(area-size-[12]|segment-offset-0|sector-size-3|stripes-[012346]|requirements-0)", "opens 0 with a"),
    ("luks2-attack-(slot-key-size-0|area-key-size-0)", "opens nothing"),
)
_STATE = "a state that is neither active nor free is damage to the collection; cryptsetup takes the keyslot for free"
_LATE = "luksDump prints the header, and only the attempt to open it fails"
_PLACE = "it does not compare the place of a keyslot with the size of the image"
_UTF8 = "it takes a secret only if it is UTF-8 without NUL"
# (names, program, verdict, why)
DIFFERENCES = (
    ("luks1-attack-hash-unknown", "luksmith", "opens nothing", "the header can be read; no keyslot of it can be tried"),
    (
        "luks1-attack-(cipher-empty|(cipher|mode)-unterminated|digest-iterations-0)", "cryptsetup", "opens nothing",
        _LATE,
    ),
    ("luks1-attack-slot-0-state-.*", "cryptsetup", "opens 1 with b", _STATE),
    ("luks1-attack-slot-1-state-.*", "cryptsetup", "opens 0 with a", _STATE),
    ("luks1-attack-slot-[2-7]-state-.*", "cryptsetup", BOTH, _STATE),
    (
        "luks2-attack-(area-key-size-1|iterations-0|salt-[12]|digest-iterations-0|digest-salt-1)",
        "cryptsetup", "opens nothing", _LATE,
    ),
    (
        "luks2-attack-(digest-iterations-1|digest-salt-0|json-trailing-comma)", "cryptsetup", "opens 0 with a",
        "its reader of JSON is lenient; the format has a number, a salt, and no comma there",
    ),
    ("luks2-attack-area-offset-3", "luksmith", "opens nothing", "an area that begins within a sector is not tried"),
    (
        "luks2-attack-area-offset-3", "cryptsetup", "opens 0 with a",
        "it divides the offset by the size of a sector and drops the rest",
    ),
    ("luks1-camellia-.*-wrong", "qemu-io", "refused", "QEMU has no Camellia"),
    ("luks1-camellia-.*[0-9]", "qemu-io", "refused", "QEMU has no Camellia"),
    ("luks1-.*-plain64be-.*", "qemu-io", "refused", "QEMU has no plain64be"),
    ("luks1-hash-sha3-.*", "qemu-io", "refused", "QEMU 7.2 has no SHA-3"),
    ("luks1-attack-payload-huge", "qemu-io", "refused", "its payload begins behind the end of the image"),
    ("luks1-attack-slot-0-offset-huge", "qemu-io", "opens with b", _PLACE),
    ("luks1-attack-slot-1-offset-huge", "qemu-io", "opens with a", _PLACE),
    ("luks1-attack-slot-[2-7]-offset-huge", "qemu-io", "opens with a, b", _PLACE),
    ("luks1-secret-(nul-behind|nul-within|not-utf8)", "qemu-io", "opens nothing", _UTF8),
    ("luks1-secret-long", "qemu-io", "opens with s0", _UTF8),
    ("qcow2-attack-corrupt-bit", "qemu-io", "opens with a", "it reads such an image, and refuses to write"),
    ("qcow2-attack-extension-twice", "qemu-io", "opens with a", "it does not count the extensions"),
    (
        "qcow2-attack-luks-length-huge", "qemu-io", "opens with a",
        "it does not compare the length of the region with the size of the file",
    ),
)  # fmt: skip


def stanza(name: str, *lines: str, expect: str) -> str:
    expect = next((right for pattern, right in READ if re.fullmatch(pattern, name)), expect)
    peers = [
        f"peer {program}: {verdict}: {why}"
        for pattern, program, verdict, why in DIFFERENCES
        if re.fullmatch(pattern, name)
    ]
    return "\n".join([f"vector {name}", *lines, f"expect {expect}", *peers]) + "\n"


def lines_of(edits: t.Iterable[Edit]) -> t.List[str]:
    return [f"zlib {offset} {base64.b64encode(zlib.compress(content, 9)).decode()}" for offset, content in edits]


def secret(label: str, content: bytes) -> str:
    return f"secret {label} {content.hex()}"
