# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A detached header is given, and the device has one of its own: what opens it is told, and no audit passes it."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume, needs_cryptsetup, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.remedy_texts import carries, noted

pytestmark = needs_cryptsetup
LEAKED = {"label": "leaked", "passphrase": "pw0"}
NEW = {"label": "new", "passphrase": "new words"}
ROTATED = {"old_secret": LEAKED, "new_secret": NEW, "pbkdf": CHEAP}
PERMISSIVE = {"extends": "legacy"}
BOTH = pytest.mark.parametrize("format", ["luks1", "luks2"])


class Moved:
    """A volume whose header was copied to a file and left where it was."""

    def __init__(self, folder: pathlib.Path, format: str) -> None:
        self.volume = Luks2Volume(folder / "volume").like(type=format)
        self.device = str(self.volume.path)
        self.header = str(folder / "header")
        run("cryptsetup", "luksHeaderBackup", self.device, "--header-backup-file", self.header)
        os.chmod(self.header, 0o600)  # cryptsetup makes a file that only root may write to

    def told(self, result: t.Mapping[str, t.Any], says: str) -> bool:
        begin = f"{self.device} has a LUKS header of its own, and this task is only about the one in {self.header}; "
        return any(begin + says in str(warning) for warning in result["warnings"])

    def audited(self, **options: t.Any) -> t.Dict[str, t.Any]:
        task = {"device": self.device, "policy": PERMISSIVE, "secrets": [NEW], **options}
        found = run_module("audit", {**task, "forbidden_secrets": [LEAKED]})
        return noted({one["rule"]: one for one in found["findings"]})


@pytest.fixture
def moved(tmp_path: pathlib.Path, format: str) -> Moved:
    return Moved(tmp_path, format)


@BOTH
@carries(
    ("header-second", "Audit the device without 'header', and change or erase the keyslots there, too; write nothing"),
    ("secret-forbidden", "<remove_beneath>"),
    ("remove_beneath", "Remove it from {}, too (state: absent, old_secret, without 'header'), if it is a header"),
)
def test_a_header_that_was_left_on_the_device(moved: Moved) -> None:
    before = pathlib.Path(moved.device).read_bytes()
    for check in (True, False, False):
        done = keyslots(moved.device, [ROTATED], header=moved.header, check=check)
        assert moved.told(done, "it opens with leaked. Change it too, in a task without 'header'"), done["warnings"]
    assert pathlib.Path(moved.device).read_bytes() == before and moved.volume.opens("pw0")
    assert [(row["role"], row["opened_by"]) for row in done["chain"]] == [("device", ["leaked"])]
    info = run_module("keyslots_info", {"device": moved.device, "header": moved.header, "secrets": [LEAKED]})
    assert moved.told(info, "it opens with leaked") and info["opened_by"] == {"leaked": []}
    gate = {"device": moved.device, "header": moved.header, "opens": [NEW], "does_not_open": [LEAKED]}
    with pytest.raises(ModuleFailed, match=f"'leaked' must not .* opens the header that {moved.device} has of its own"):
        run_module("verify_volume", gate)
    found = moved.audited(header=moved.header)
    assert found["header-second"]["severity"] == "high" and found["secret-forbidden"]["severity"] == "critical"
    assert f"opens the header that {moved.device} has of its own" in found["secret-forbidden"]["message"]

    keyslots(moved.device, [ROTATED])
    assert not moved.volume.opens("pw0") and moved.volume.opens(NEW["passphrase"])
    assert not {"header-second", "secret-forbidden"}.intersection(moved.audited())
    assert set(moved.audited(header=moved.header)) >= {"header-second"}


@pytest.mark.parametrize("format", ["luks2"])
def test_of_the_first_copy_nothing_is_left(moved: Moved) -> None:
    """cryptsetup opens what the other copy says, and repairs the first one."""
    with open(moved.device, "r+b") as device:
        device.write(bytes(4096))
    assert moved.told(keyslots(moved.device, [ROTATED], header=moved.header), "it opens with leaked")


@BOTH
def test_a_header_that_nobody_can_read(moved: Moved) -> None:
    with open(moved.device, "r+b") as device:
        device.seek(6)
        device.write(b"\0\7")
    done = keyslots(moved.device, [ROTATED], header=moved.header)
    assert moved.told(done, "no secret of this task opens it (not tried: its LUKS header has version 7)")
    found = run_module("audit", {"device": moved.device, "header": moved.header, "policy": PERMISSIVE})
    assert "header-second" in [one["rule"] for one in found["findings"]]


@BOTH
def test_a_device_without_one(moved: Moved) -> None:
    with open(moved.device, "r+b") as device:
        device.write(bytes(2 << 20))
    done = keyslots(moved.device, [ROTATED], header=moved.header)
    assert "chain" not in done and not any("of its own" in str(warning) for warning in done.get("warnings", ()))


@BOTH
def test_a_backup_given_as_the_device_is_told(moved: Moved) -> None:
    """It has no byte of data, and whoever rotates it has rotated no volume."""
    done = keyslots(moved.header, [ROTATED])
    assert any("this looks like a header backup" in str(warning) for warning in done["warnings"])
    assert moved.volume.opens("pw0")
