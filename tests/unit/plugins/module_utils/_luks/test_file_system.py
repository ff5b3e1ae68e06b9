# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file system of a file, from the tables of the kernel."""

from __future__ import annotations

import os
import pathlib

from ansible_collections.luksmith.luks.plugins.module_utils._luks.file_system import mount_of, view_of_the_kernel


def test_the_mount_of_a_descriptor_is_found_in_the_real_tables() -> None:
    fd = os.open("/proc/self", os.O_RDONLY)
    try:
        mount = mount_of(fd)
    finally:
        os.close(fd)
    assert mount is not None
    assert mount[1] == "proc"


def test_a_folder_for_files_is_no_view_of_the_kernel(tmp_path: pathlib.Path) -> None:
    assert view_of_the_kernel(str(tmp_path)) == "" and view_of_the_kernel("/proc/self/task") == "proc"
