# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of secrets that a run gave to the QEMU that has the image open: here in memory, there as objects."""

from __future__ import annotations

import base64
import os
import pathlib
import random
import typing as t
from functools import partial

import pytest
from ansible_collections.luksmith.luks.tests.interop.live_qemu import daemon
from ansible_collections.luksmith.luks.tests.interop.qemu_image import QemuImage
from ansible_collections.luksmith.luks.tests.interop.qemu_programs import needs_qemu_programs
from ansible_collections.luksmith.luks.tests.secrets import canary, child, hurts, volumes
from ansible_collections.luksmith.luks.tests.secrets.box import known_keys

pytestmark = [needs_qemu_programs, pytest.mark.needs("cryptsetup")]

# How QEMU is given them; a wipe that is left out shows at least these.
_GIVEN = ("old as base64", "new as base64")


@pytest.mark.parametrize(
    ("hurt", "wiped", "fails"),
    [
        pytest.param(None, True, "", id="wiped"),
        pytest.param(hurts.wipe_nothing, False, "", id="not wiped", marks=pytest.mark.full),
        pytest.param(hurts.fail_jobs, True, "QEMU did not", id="a job fails", marks=pytest.mark.full),
    ],
)
def test_what_qemu_was_given(
    tmp_path: pathlib.Path, hurt: t.Optional[t.Callable[[], None]], wiped: bool, fails: str
) -> None:
    """No secret is in the arguments, where Ansible would keep it: they are in keyfiles. A job of QEMU takes more than
    5 s.
    """
    image = QemuImage(tmp_path, "luks", options="cipher-alg=aes-128")
    drawn = random.Random(os.urandom(8))
    old, new = canary.Canary("old", b"amber unlocks", (b"amber unlocks",)), canary.passphrase("new", drawn)
    for one in (old, new):
        (tmp_path / one.name).write_bytes(one.value)
    keys = known_keys(volumes.Volume(image.path, "luks1"), {0: old.value})
    plain = {key.name.partition(" of ")[0]: key.parts[0] for key in keys}
    for one in (old, new):
        plain.update({one.name: one.value, f"{one.name} as base64": base64.b64encode(one.value)})
    needles = {name: bytes(byte ^ 0xFF for byte in value) for name, value in plain.items()}
    with daemon(image) as qemu:
        ended = child.run(
            "keyslots",
            {
                "device": str(image.path),
                "qmp": str(qemu.socket),
                "unlock": [{"label": "old", "keyfile": str(tmp_path / "old")}],
                "keyslots": [{"new_secret": {"label": "new", "keyfile": str(tmp_path / "new")}, "iter_time": 300}],
            },
            hurt=hurt,
            afterwards=partial(hurts.search_memory, needles),
        )
        assert bool(fails) == bool(ended.result.get("failed")) and fails in ended.result.get("msg", ""), ended.said
        assert qemu.left_behind() == []
    found = {name for name, count in ended.memory.items() if count}
    assert not found if wiped else found.issuperset(_GIVEN), ended.memory
    assert wiped or found > set(_GIVEN), "nor is the rest wiped"
