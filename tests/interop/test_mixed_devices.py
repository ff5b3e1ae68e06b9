# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One task over the volumes of a mixed host: LUKS1, LUKS1 inside qcow2, LUKS2, and one that is no volume at all."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import loop_device
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume, needs_cryptsetup
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, run_module
from ansible_collections.luksmith.luks.tests.interop.qemu_image import OPENER, QemuImage, needs_qemu

pytestmark = needs_cryptsetup

NEW = {"label": "ours", "passphrase": "n-e-w"}
ADD = {"new_secret": NEW, "pbkdf": CHEAP}


def task(devices: t.Sequence[pathlib.Path], *entries: t.Mapping[str, t.Any], **more: t.Any) -> t.Dict[str, t.Any]:
    return {
        "devices": [str(path) for path in devices],
        "unlock": [{"passphrase": "pw0"}, {"passphrase": OPENER}],
        "keyslots": list(entries or [ADD]),
        **more,
    }


def luks1(folder: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(folder / "luks1").like("--key-size", "256", type="luks1")


def luks2(folder: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(folder / "luks2").like()


def statuses(result: t.Mapping[str, t.Any]) -> t.List[str]:
    return [volume["status"] for volume in result["volumes"]]


@needs_qemu
def test_one_bad_volume_stops_nobody_else(tmp_path: pathlib.Path) -> None:
    raw, new, image = luks1(tmp_path), luks2(tmp_path), QemuImage(tmp_path, "qcow2")
    bad = tmp_path / "bad"
    bad.write_bytes(b"not a volume" * 100000)
    paths = [raw.path, bad, image.path, new.path, tmp_path / "missing"]
    before = [path.read_bytes() for path in paths[:4]]

    with pytest.raises(ModuleFailed) as promised:
        run_module("keyslots", task(paths), check=True, diff=True)
    assert statuses(promised.value.result) == ["done", "refused", "done", "done", "refused"]
    assert [path.read_bytes() for path in paths[:4]] == before

    with pytest.raises(ModuleFailed) as failed:
        run_module("keyslots", task(paths), diff=True)
    result = failed.value.result
    assert statuses(result) == ["done", "refused", "done", "done", "refused"]
    assert [volume["device"] for volume in result["volumes"]] == [str(path) for path in paths]
    assert [(volume["type"], volume["container"]) for volume in result["volumes"] if "type" in volume] == [
        ("luks1", "raw"),
        ("luks1", "qcow2"),
        ("luks2", "raw"),
    ]
    assert result["changed"] and result["diff"] == promised.value.result["diff"]
    assert (
        f"2 of 5 volumes failed (0 unchanged, 3 done, 2 refused, 0 partial). {bad}: " in result["msg"]
        and str(paths[4]) in result["msg"]
    )
    assert bad.read_bytes() == before[1] and not paths[4].exists()
    assert raw.opens("n-e-w") and new.opens("n-e-w") and image.opened_by(OPENER, "n-e-w") == {OPENER, "n-e-w"}

    with pytest.raises(ModuleFailed) as again:
        run_module("keyslots", task(paths))
    assert statuses(again.value.result) == ["unchanged", "refused", "unchanged", "unchanged", "refused"]
    assert not again.value.result["changed"]


@needs_qemu
def test_all_of_them_done_then_unchanged_then_partly(tmp_path: pathlib.Path) -> None:
    raw, new, image = luks1(tmp_path), luks2(tmp_path), QemuImage(tmp_path, "qcow2")
    paths = [raw.path, image.path, new.path]
    first = run_module("keyslots", task(paths))
    assert (first["changed"], statuses(first)) == (True, ["done"] * 3)
    after = [path.read_bytes() for path in paths]
    second = run_module("keyslots", task(paths))
    assert (second["changed"], statuses(second), [path.read_bytes() for path in paths]) == (
        False,
        ["unchanged"] * 3,
        after,
    )
    new.add(3, "leaked")
    gone = {"state": "absent", "old_secret": {"label": "leaked", "passphrase": "leaked"}}
    third = run_module("keyslots", task(paths, ADD, gone))
    assert statuses(third) == ["unchanged", "unchanged", "done"]
    assert not new.opens("leaked")


def test_what_one_format_cannot_hold_is_refused_there_only(tmp_path: pathlib.Path) -> None:
    raw, new = luks1(tmp_path), luks2(tmp_path)
    before = raw.sha256()
    argon2 = {
        "new_secret": NEW,
        "pbkdf": {"type": "argon2id", "time": 4, "memory": 32, "parallel": 1},
        "priority": "prefer",
    }
    with pytest.raises(ModuleFailed, match="LUKS1") as failed:
        run_module("keyslots", task([raw.path, new.path], argon2))
    assert statuses(failed.value.result) == ["refused", "done"]
    assert raw.sha256() == before and new.opens("n-e-w")


@pytest.mark.needs("loop")
def test_one_header_with_two_names_is_one_volume(tmp_path: pathlib.Path) -> None:
    new = luks2(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(new.path)
    with loop_device(new.path) as loop:
        result = run_module("keyslots", task([loop, new.path, link]))
        assert statuses(result) == ["done"]
        assert (result["volumes"][0]["device"], result["volumes"][0]["also"]) == (str(loop), [str(new.path), str(link)])
        assert [(action["action"], action["keyslot"]) for action in result["volumes"][0]["plan"]] == [("add", 1)]
        assert statuses(run_module("keyslots", task([link, loop]))) == ["unchanged"]
    assert new.opened((0, 1), ("pw0", "n-e-w")) == {(0, "pw0"), (1, "n-e-w")}
    new.approved()
