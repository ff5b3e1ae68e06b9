# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All volumes of a host in one call: which ones, each with its policy, and one that fails hides no other."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import host
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.host import audit_host
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    LENIENT,
    Image,
    audit,
)

Json = t.Dict[str, t.Any]


@pytest.fixture
def images(tmp_path: pathlib.Path) -> t.List[Image]:
    return [Image(tmp_path / "one.img", "luks1.img"), Image(tmp_path / "two.img", "luks2.img")]


@pytest.fixture
def folder(tmp_path: pathlib.Path, images: t.List[Image]) -> pathlib.Path:
    return tmp_path


def run(folder: pathlib.Path, **more: t.Any) -> Json:
    usual = {
        "volumes": [],
        "paths": [str(folder / "*.img")],
        "block_devices": False,
        "crypttab": str(folder / "crypttab"),
        "exclude": [],
        "policy": LENIENT,
        "policies": {},
        "secrets": BOTH,
        "forbidden_secrets": [],
        "backups": [],
        "verify": "proof",
        "kdf_limits": {},
        "lock_timeout": 30.0,
    }
    return audit_host({**usual, **more})


def policies(result: Json) -> t.Dict[str, str]:
    return {pathlib.Path(one["device"]).name: one["policy"] for one in result["volumes"]}


def test_each_volume_is_what_its_own_audit_says(folder: pathlib.Path, images: t.List[Image]) -> None:
    result = run(folder)
    assert len(result["volumes"]) == 2
    for one, image in zip(result["volumes"], images):
        alone = audit(image, secrets=BOTH)
        for member in ("uuid", "findings", "unverified", "keyslots", "state"):
            assert one[member] == alone[member], member
    assert not result["unreadable"] and not result["changed"]


def test_a_volume_has_its_own_policy_by_device_before_uuid(folder: pathlib.Path) -> None:
    found = run(folder)["volumes"]
    by_uuid = {found[1]["uuid"]: {**LENIENT, "name": "by uuid"}}
    by_device = {found[1]["device"]: {**LENIENT, "name": "by device"}}
    assert policies(run(folder, policies=by_uuid)) == {"one.img": "lenient", "two.img": "by uuid"}
    assert policies(run(folder, policies={**by_uuid, **by_device})) == {"one.img": "lenient", "two.img": "by device"}
    assert policies(run(folder, policies={"": {**LENIENT, "name": "no label"}})) == {
        "one.img": "lenient",
        "two.img": "lenient",
    }


def test_what_is_excluded_and_what_is_named(folder: pathlib.Path) -> None:
    first, second = run(folder)["volumes"]
    assert [one["uuid"] for one in run(folder, exclude=[first["uuid"]])["volumes"]] == [second["uuid"]]
    assert [one["uuid"] for one in run(folder, exclude=[second["device"]])["volumes"]] == [first["uuid"]]
    named = run(folder, volumes=[{"device": second["device"], "header": None}], exclude=[second["device"]])
    assert [one["uuid"] for one in named["volumes"]] == [second["uuid"]], "what is named is meant"


def test_what_cannot_be_audited_hides_no_other(folder: pathlib.Path) -> None:
    (folder / "zeros").write_bytes(bytes(4096))
    names = ["zeros", "two.img", "gone"]
    result = run(folder, volumes=[{"device": str(folder / name), "header": None} for name in names])
    assert [one["state"] for one in result["volumes"]] == ["failed", "compliant", "failed"]
    assert "begins with zeros" in result["volumes"][0]["msg"] and "No such file" in result["volumes"][2]["msg"]


@pytest.mark.parametrize("names", [["two.img"], ["zeros", "two.img"]], ids=["all audited", "one failed"])
def test_the_secrets_of_each_audit_are_wiped(
    folder: pathlib.Path, names: t.List[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers: t.List[bytearray] = []
    right = host.parse_audit

    def parse(given: t.Any) -> t.Any:
        task = right(given)
        assert all(any(secret.value) for secret in task.secrets)
        buffers.extend(secret.value for secret in task.secrets)
        return task

    (folder / "zeros").write_bytes(bytes(4096))
    monkeypatch.setattr(host, "parse_audit", parse)
    run(folder, volumes=[{"device": str(folder / name), "header": None} for name in names])
    assert len(buffers) == len(BOTH) * len(names) and not any(any(buffer) for buffer in buffers)


def test_a_policy_that_is_none_is_said_of_each_volume(folder: pathlib.Path) -> None:
    result = run(folder, policy="splendid")
    assert [one["state"] for one in result["volumes"]] == ["failed", "failed"]
    assert all("splendid" in one["msg"] for one in result["volumes"])


@pytest.mark.parametrize(
    ("mounts", "mounted", "folder", "boots"),
    [
        (["/"], ["/", "/home"], "grub", True),
        (["/"], ["/", "/home"], "grub2", True),
        (["/boot"], ["/", "/boot"], "grub", True),
        (["/"], ["/", "/boot"], "grub", False),
        (["/srv"], ["/", "/srv"], "grub", False),
        (["/"], ["/"], "", False),
    ],
)
def test_grub_must_open_the_volume_with_boot(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    mounts: t.List[str],
    mounted: t.List[str],
    folder: str,
    boots: bool,
) -> None:
    monkeypatch.setattr(host, "GRUB_FOLDERS", (str(tmp_path / "grub"), str(tmp_path / "grub2")))
    if folder:
        (tmp_path / folder).mkdir()
    assert host.holds_boot({"open": [{"mounts": mounts}]}, mounted) is boots
    assert not host.holds_boot({}, mounted)


def test_it_says_what_was_left_out_here(folder: pathlib.Path, images: t.List[Image]) -> None:
    mine, other = str(folder / "one.img"), "/dev/of-another-host"
    result = run(folder, exclude=[mine, other])
    assert (len(result["volumes"]), result["excluded"]) == (1, [mine])
    named = run(folder, exclude=[mine], volumes=[{"device": mine, "header": None}])
    assert (len(named["volumes"]), named["excluded"]) == (1, []), "a named volume is audited"
