# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty secret protects nothing: no module makes one, and every module can take one away."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadSecret
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.keyfile import update_keyfile
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import BadEntry, blank, staged

UUID = "4b543c86-7353-47b9-b355-d0ef03989991"


@pytest.fixture(params=["passphrase", "passphrase_base64", "keyfile"])
def empty(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Dict[str, str]:
    """A secret without a byte, from each source."""
    path = tmp_path / "nothing"
    path.touch()
    return {"label": "unset", request.param: str(path) if request.param == "keyfile" else ""}


def keyfile_task(path: pathlib.Path, new: t.Dict[str, str], old: t.Dict[str, str]) -> t.Dict[str, t.Any]:
    return {"path": str(path), "new_secret": new, "old_secrets": [old], "keyfile_offset": None, "keyfile_size": None}


@pytest.mark.parametrize("check", [True, False])
def test_a_keyfile_is_not_emptied(tmp_path: pathlib.Path, empty: t.Dict[str, str], check: bool) -> None:
    path = tmp_path / "data.key"
    path.write_bytes(b"old")
    with pytest.raises(BadSecret, match=r"new_secret .*is empty") as refused:
        update_keyfile(keyfile_task(path, empty, {"passphrase": "old"}), check=check)
    assert "at least one byte" in str(refused.value)
    assert path.read_bytes() == b"old"


def test_an_empty_keyfile_gives_way(tmp_path: pathlib.Path, empty: t.Dict[str, str]) -> None:
    path = tmp_path / "data.key"
    path.touch()
    assert update_keyfile(keyfile_task(path, {"passphrase": "new"}, empty), check=False) == {
        "changed": True,
        "holds": "new",
    }
    assert path.read_bytes() == b"new"


def test_a_keyslot_does_not_get_one(empty: t.Dict[str, str]) -> None:
    with pytest.raises(BadSecret, match=r"keyslots\[0\]\.new_secret .*is empty"):
        parse_task({"device": "/dev/null", "keyslots": [{"new_secret": empty, "old_secret": {"passphrase": "old"}}]})


def test_a_keyslot_is_freed_of_one(empty: t.Dict[str, str]) -> None:
    entries = [{"new_secret": {"passphrase": "new"}, "old_secret": empty}, {"state": "absent", "old_secret": empty}]
    for entry in entries:
        task = parse_task({"device": "/dev/null", "unlock": [empty], "keyslots": [entry]})
        assert any(not secret.value for secret in task.secrets)
        task.wipe_secrets()


def test_a_rotation_does_not_stage_one() -> None:
    """The store would hold an entry that it refuses to read ever after."""
    with pytest.raises(BadEntry, match="passphrase is empty"):
        staged(blank("web", UUID, "/dev/sdb"), {"id": "00ff00ff", "passphrase": "", "generation": "", "created": ""})
