# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Options that several modules share, read from plain dictionaries. Errors name the option; None means not given."""

from __future__ import annotations

import math
import re
import typing as t

from ..crypto.kdf import Budget
from ..errors import BadTask
from ..paths import check_path

_ADDRESS = re.compile(r"(json|rbd|nbd|nbd\+unix|iscsi|ssh|https?|ftps?|gluster(?:\+[a-z]+)?|nfs|nvme|fuse):")
LOCK_TIMEOUT = 30.0  # seconds
PROOF, RECORD = "proof", "record"  # the option verify
LIMITS = {
    "iterations": "iterations",
    "time": "passes",
    "memory": "KiB",
    "parallel": "lanes",
    "work": "KiB times passes",
    "total_memory": "KiB",
}


def parse_volumes(params: t.Mapping[str, t.Any]) -> t.Tuple[t.Tuple[str, ...], bool, t.Optional[str]]:
    """The paths of device or devices, whether it was device, and the detached header.

    Raises BadTask if the options are not valid together or one of them is not valid.
    """
    device, devices, header = params.get("device"), params.get("devices"), params.get("header")
    if (device is None) == (devices is None):
        raise BadTask(
            "device and devices are both given" if device is not None else "neither device nor devices is given",
            remedy="Give device for one volume, devices for several",
        )
    if device is not None:
        return (parse_path(device, "device"),), True, parse_header_path(params)
    if header is not None:
        raise BadTask(
            "header and devices are given together",
            why="One detached header belongs to one device",
            remedy="Use device, in one task (or loop item) per volume",
        )
    paths = [parse_path(item, f"devices[{index}]") for index, item in enumerate(items_of(params, "devices"))]
    if not paths:
        raise BadTask("devices is empty", remedy="Give at least one path")
    return tuple(dict.fromkeys(paths)), False, None


def parse_header_path(params: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """The option header, None where the header is at the start of the device. Raises BadTask if it is not a path."""
    return None if params.get("header") is None else parse_path(params["header"], "header")


def parse_path(value: t.Any, name: str) -> str:
    """``value`` as a path. Raises BadTask, naming the option, if it is not one."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadTask(
            f"{name} is {value!r}, not a path",
            remedy="Give the path of a block device or of an image file on the managed host",
        )
    protocol = _ADDRESS.match(value)
    if protocol:
        raise BadTask(
            f"{name} is an address or a description of QEMU ({protocol.group(1)}:), not a path",
            why="this collection reads block devices and files, and QEMU alone reads what such a name leads to",
            remedy="Attach it as a block device and give that: 'rbd map' for rbd, 'qemu-nbd --connect=/dev/nbd0' or "
            "'nbd-client' for others; of json: give the path in file.filename",
        )
    check_path(value, name)
    return value


def parse_folder(params: t.Mapping[str, t.Any], name: str) -> str:
    """The option ``name``, "" if not given. Raises BadTask if it is not an absolute path."""
    value = params.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise BadTask(f"{name} is {value!r}, not a folder", remedy="Give the absolute path of a folder on the host")
    check_path(value, name)
    return value


def items_of(params: t.Mapping[str, t.Any], name: str) -> t.Sequence[t.Any]:
    """The list option ``name``, empty if not given. Raises BadTask if it is not a list."""
    value = params.get(name)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise BadTask(f"{name} is not a list", remedy="Write each item on a line of its own that begins with a dash")
    return value


def parse_budget(params: t.Mapping[str, t.Any]) -> Budget:
    """The option ``kdf_limits``; limits that are not given keep their default. Raises BadTask if it is not valid."""
    limits = params.get("kdf_limits")
    if limits is None:
        return Budget()
    if not isinstance(limits, t.Mapping):
        raise BadTask("kdf_limits is not a dictionary", remedy=f"Its options are {', '.join(LIMITS)}")
    given = {
        f"max_{option}": whole_number(limits.get(option), f"kdf_limits.{option}", 1, 2**63 - 1, unit)
        for option, unit in LIMITS.items()
    }
    return Budget()._replace(**{field: bound for field, bound in given.items() if bound is not None})


def parse_seconds(params: t.Mapping[str, t.Any]) -> float:
    """The option lock_timeout, in seconds. Raises BadTask if it is not a number of seconds."""
    value = params.get("lock_timeout")
    if value is None:
        return LOCK_TIMEOUT
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise BadTask(f"lock_timeout is {value!r}", remedy="Give seconds, 0 or more; 0 tries once")
    return float(value)


def choice_of(params: t.Mapping[str, t.Any], name: str, choices: t.Sequence[str]) -> str:
    """The option ``name``; the first of ``choices`` is the default. Raises BadTask if it is not one of them."""
    value = choices[0] if params.get(name) is None else params[name]
    if value not in choices:
        raise BadTask(f"{name} is {value!r}", remedy=f"Use one of {', '.join(choices)}")
    return str(value)


def whole_number(value: t.Any, name: str, least: int, most: int, unit: str) -> t.Optional[int]:
    """``value``. Raises BadTask if it is neither None nor a whole number from ``least`` to ``most``."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadTask(f"{name} is {value!r}, not a whole number", remedy=f"Give {unit}, {least} to {most}")
    if not least <= value <= most:
        raise BadTask(f"{name} is {value}", remedy=f"Give {unit}, {least} to {most}, or leave it out")
    return value
