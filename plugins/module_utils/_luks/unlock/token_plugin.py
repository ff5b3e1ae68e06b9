# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The passphrase of a token of systemd (TPM2, FIDO2, PKCS#11), by its plugin for libcryptsetup.

The plugin is loaded in a process of its own, so that one that hangs or crashes does not take this run with it. It gets
a copy of the header in memory: it needs no lock on the volume, no device and no rights beyond those of its device.
"""

from __future__ import annotations

import os
import sys
import typing as t

from ..errors import Refused
from ..header.luks2.codec import Luks2Header
from . import child, plugin_child


def passphrase(
    header: Luks2Header,
    number: int,
    type: str,
    pin: t.Union[bytes, bytearray] = b"",
    device: str = "",
    patience: float = child.PATIENCE,
) -> bytearray:
    """What token ``number`` yields; the caller wipes it.

    pin: only for a token that asks for one. device: the TPM or key to use instead of the one that the plugin finds.
    Raises Refused, with the words of the plugin, if it yields nothing.
    """
    words = child.Words(
        f"the plugin {type} of libcryptsetup",
        f"check {'the PIN, ' if pin else ''}that its device is there and that it is in the state to which the keyslot "
        "is bound",
        "its device may wait for somebody",
        "touch or unlock the device in time",
    )
    loader: t.Any = plugin_child.__spec__ and plugin_child.__spec__.loader
    text = loader.get_source(plugin_child.__name__)
    if not sys.executable or not text:
        raise Refused("Python does not tell its program", remedy="run the module with a Python of the host")
    copy = os.memfd_create("header", os.MFD_CLOEXEC)
    try:
        for part in header.image():
            os.write(copy, part)
        os.ftruncate(copy, header.extent)
        command = [sys.executable, "-I", "-c", text, str(copy), str(number), type, device]
        return child.answer(command, pin, words, patience=patience, pass_fds=(copy,))
    finally:
        os.close(copy)
