# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The first bytes of what may hold a LUKS header. They say which format's code to import."""

LUKS = b"LUKS\xba\xbe"
QCOW2 = b"QFI\xfb"

# The secondary header of LUKS2, and the bytes at which it may begin: the primary one takes 16 KiB to 4 MiB.
SECONDARY = b"SKUL\xba\xbe"
SECONDARY_OFFSETS = tuple(0x4000 << step for step in range(9))
