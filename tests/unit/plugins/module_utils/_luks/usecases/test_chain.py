# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds or opens the data beside the header of the task. With images of QEMU and headers of cryptsetup:
tests/interop/test_backing_chain.py and test_second_header.py.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.qcow2_chain import References
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import chain
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import qcow2_image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import MADE, secret


@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_a_header_that_was_left_on_the_device(format: str, tmp_path: pathlib.Path) -> None:
    device, header = tmp_path / "device", tmp_path / "header"
    for path in (device, header):
        full.make(path, format, 2)
    full.amend_volume(header, full.present(format, "new", keyslot=0, old=MADE[0]))
    secrets = [secret("new"), secret(MADE[0])]
    found = inspect(parse_info({"device": str(device), "header": str(header), "secrets": secrets}))
    assert [(row["path"], row["role"], row["opened_by"]) for row in found["chain"]] == [
        (str(device), "device", [f"label of {MADE[0]}"])
    ]
    assert any(text.startswith(f"{device} has a LUKS header of its own") for text in found["warnings"])


@pytest.mark.parametrize("content", [qcow2_image.build(), qcow2_image.build(version=7), b"QFI", b""], ids=range(4))
def test_no_descriptor_of_a_file_beneath_stays_open(content: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "base"
    path.write_bytes(content)
    before = open_descriptors()
    chain._references(str(path))
    assert open_descriptors() == before
    nothing: t.Any = None
    where, row = chain._backing(str(tmp_path / "image"), References(True, "base", "raw"), nothing, (), nothing)
    assert (where, row["encrypted"]) == (str(path), False)
    assert open_descriptors() == before
