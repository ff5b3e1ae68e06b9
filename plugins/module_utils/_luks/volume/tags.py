# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""``UUID=``, ``LABEL=``, ``PARTUUID=`` and ``PARTLABEL=``, as crypttab names devices, by the links of udev.

udev makes one link however many devices bear the name: a snapshot or a clone has the same UUID. It notes each of them
in /run/udev/links, in a folder with the name of the link (systemd, src/udev/udev-node.c).
"""

from __future__ import annotations

import os
import typing as t

from ..errors import Refused, StorageFault
from . import blockdev

KINDS = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")
CLAIMS = "/run/udev/links"


def path_of(name: str) -> str:
    """The path of the device that ``name`` tells by a tag; ``name`` itself if it is a path.

    Raises StorageFault if no device has the tag, Refused if several have it.
    """
    kind, _equals, value = name.partition("=")
    if kind not in KINDS or not _equals:
        return name
    value = value.strip("\"'")
    for link in links(kind, value):
        path = os.path.join(blockdev.DEV, "disk", link)
        if value and os.path.lexists(path):
            _check_one(name, link)
            return path
    raise StorageFault(
        f"no device has {kind} {value!r}",
        why=f"there is no such link in {blockdev.DEV}/disk/by-{kind.lower()}",
        remedy="Compare with 'lsblk -o NAME,UUID,LABEL,PARTUUID,PARTLABEL'; a device that was just attached may still "
        "be waiting for udev, and a container has no such links",
        volume=name,
    )


def links(kind: str, value: str) -> t.List[str]:
    """The links below /dev/disk that may bear the tag: a UUID as a table shows it, and as udev spells it."""
    link = f"by-{kind.lower()}/{_encoded(value)}"
    return [link, link.lower()] if kind in ("UUID", "PARTUUID") else [link]


def _check_one(name: str, link: str) -> None:
    folder = os.path.join(CLAIMS, f"/disk/{link}".replace("\\", "\\x5c").replace("/", "\\x2f"))
    try:
        claims = sorted(entry for entry in os.listdir(folder) if entry.startswith("b"))
    except OSError:  # no udev, or a name that it shortens
        return
    if len(claims) > 1:
        raise Refused(
            f"{len(claims)} devices have it: {', '.join(map(_node_of, claims))}",
            why="one of them is a copy, and the link of udev leads to either",
            remedy="Give the path of the one that is meant",
            volume=name,
        )


def _node_of(claim: str) -> str:
    """``b8:1`` -> ``/dev/sda1``."""
    try:
        device = os.readlink(os.path.join(blockdev.SYS, "dev", "block", claim[1:]))
        return os.path.join(blockdev.DEV, os.path.basename(device))
    except OSError:
        return f"block device {claim[1:]}"


def _encoded(value: str) -> str:
    """The value as in the links of udev, which writes most characters but letters and digits as ``\\x20`` and so on."""
    return "".join(
        char if char.isalnum() or char in "#+-.:=@_" or ord(char) > 127 else f"\\x{ord(char):02x}" for char in value
    )
