# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes for tests are what they are called: cryptsetup, luksmeta and QEMU judge every kind of them."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask, LuksmithError, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures import volumes
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures.recipe import parse_recipe
from ansible_collections.luksmith.luks.plugins.module_utils.test_volumes import make_test_volume, remove_test_volume
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, needs_cryptsetup, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module
from ansible_collections.luksmith.luks.tests.interop.qemu_image import needs_qemu

FORMATS = ("luks1", "luks2", "qcow2")
RAW = ("luks1", "luks2")
FIRST, SECOND = "winter-2025", "in-case-of-fire"
ADMIN, OTHER = "correct horse", "battery staple"
CHEAP = {"iterations": 1000}


def secret(text: str) -> t.Dict[str, str]:
    return {"label": text, "passphrase": text}


def slot(text: str, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"secret": secret(text), **more}


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "volume"


def made(path: pathlib.Path, **options: t.Any) -> Luks2Volume:
    make_test_volume(path, **options)
    return Luks2Volume(path)


def unfinished(path: pathlib.Path) -> t.Any:
    return run_module("keyslots_info", {"device": str(path)})["header"]["unfinished"]


def qemu_opens(path: pathlib.Path, passphrase: str) -> bool:
    words = ["--object", f"secret,id=s,data={passphrase}", "--image-opts"]
    words.append(f"driver=qcow2,file.filename={path},encrypt.key-secret=s")
    done = run("qemu-io", *words, "-c", "read 0 4096", check=False)
    assert done.returncode == 0 or "Invalid password" in done.stderr + done.stdout, done
    return bool(done.returncode == 0)


@needs_cryptsetup
@pytest.mark.parametrize("key_size", [32, 64])
@pytest.mark.parametrize("kind", RAW)
def test_both_formats(kind: str, key_size: int, path: pathlib.Path) -> None:
    volume = made(path, format=kind, key_size=key_size)
    assert volume.opened(range(3), [FIRST, SECOND]) == {(0, FIRST), (1, SECOND)}
    assert f"{8 * key_size}" in run("cryptsetup", "luksDump", path).stdout


@needs_cryptsetup
def test_cryptsetup_finds_nothing_to_repair_in_luks2(path: pathlib.Path) -> None:
    shown = made(path, label="data disk", uuid="4B543C86-7353-47b9-b355-d0ef03989991").approved()
    assert "data disk" in shown and "4b543c86-7353-47b9-b355-d0ef03989991" in shown


@needs_qemu
def test_qcow2(path: pathlib.Path) -> None:
    make_test_volume(path, format="qcow2", key_size=64)
    words = ["--object", f"secret,id=s,data={FIRST}", "--image-opts"]
    run("qemu-img", "check", *words, f"driver=qcow2,file.filename={path},encrypt.key-secret=s")
    assert [qemu_opens(path, text) for text in (FIRST, SECOND, ADMIN)] == [True, True, False]


@needs_qemu
def test_qemu_writes_to_a_qcow2_image_and_reads_it_again(path: pathlib.Path) -> None:
    make_test_volume(path, format="qcow2", secrets=[secret(ADMIN)])
    words = ["--object", f"secret,id=s,data={ADMIN}", "--image-opts"]
    words.append(f"driver=qcow2,file.filename={path},encrypt.key-secret=s")
    run("qemu-io", *words, "-c", "write -P 7 0 65536")
    assert "read 65536/65536" in run("qemu-io", *words, "-c", "read -P 7 0 65536").stdout
    run("qemu-img", "check", *words)


@needs_cryptsetup
@pytest.mark.parametrize("kind", RAW)
def test_detached_header(kind: str, path: pathlib.Path) -> None:
    header = path.with_name("header")
    make_test_volume(path, header=header, format=kind)
    assert path.read_bytes() == bytes(1 << 20)
    assert Luks2Volume(header).opens(FIRST) and not Luks2Volume(header).opens(ADMIN)
    run("cryptsetup", "open", "--test-passphrase", "--header", header, path, "-d", Luks2Volume(path).keyfile(SECOND))
    assert remove_test_volume(path, header) and not path.exists() and not header.exists()


@needs_cryptsetup
@pytest.mark.parametrize("kind", ["systemd-tpm2", "systemd-fido2", "systemd-recovery", "clevis"])
def test_tokens(kind: str, path: pathlib.Path) -> None:
    volume = made(path, keyslots=[slot(ADMIN), {"token": kind}, slot(OTHER, token=kind)])
    assert volume.tokens() == {"0": kind, "1": kind}
    exported = json.loads(run("cryptsetup", "token", "export", "--token-id", 1, path).stdout)
    assert exported["keyslots"] == ["2"]
    assert kind in volume.approved()
    assert volume.opened(range(3), [ADMIN, OTHER]) == {(0, ADMIN), (2, OTHER)}


@pytest.mark.needs("cryptsetup", "luksmeta")
def test_clevis_on_luks1(path: pathlib.Path) -> None:
    volume = made(path, format="luks1", keyslots=[slot(ADMIN), slot(OTHER, token="clevis", keyslot=6)])
    shown = run("luksmeta", "show", "-d", path).stdout.splitlines()
    assert [line.split()[0] for line in shown if "cb6e8904-81ff-40da-a84a-07ab9ab5715e" in line] == ["6"]
    loaded = run("luksmeta", "load", "-d", path, "-s", 6, "-u", "cb6e8904-81ff-40da-a84a-07ab9ab5715e").stdout
    assert loaded.count(".") == 4, "a compact JWE"
    assert volume.opens(ADMIN) and volume.opens(OTHER)


@needs_cryptsetup
def test_an_unbound_and_an_ignored_keyslot(path: pathlib.Path) -> None:
    ignored = slot(OTHER, priority="ignore")
    volume = made(path, keyslots=[slot(ADMIN), slot("for something else", bound=False), ignored])
    shown = volume.approved()
    assert "1: luks2 (unbound)" in shown and "Priority:   ignored" in shown
    assert volume.opens(ADMIN) and not volume.opens("for something else") and not volume.opens(OTHER)
    assert volume.opens(OTHER, "--key-slot", 2)
    key = run("cryptsetup", "luksDump", "--unbound", "--key-slot", 1, "-d", volume.keyfile("for something else"), path)
    assert "Unbound Key:" in key.stdout


@needs_cryptsetup
@pytest.mark.parametrize("kind, most", [("luks1", 8), ("luks2", 32)])
def test_as_many_secrets_as_the_format_has_keyslots(kind: str, most: int, path: pathlib.Path) -> None:
    texts = [f"secret {number}" for number in range(most)]
    volume = made(path, format=kind, secrets=[secret(text) for text in texts])
    asked = [0, most // 2, most - 1]
    assert {number for number, _text in volume.opened(asked, [texts[number] for number in asked])} == set(asked)
    with pytest.raises(BadTask, match=f"{kind} has {most} keyslots"):
        make_test_volume(path.with_name("more"), format=kind, secrets=[secret(text) for text in [*texts, "one more"]])
    assert not path.with_name("more").exists()


@needs_cryptsetup
@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_header_has_no_room(kind: str, path: pathlib.Path) -> None:
    volume = made(path, format=kind, full=True)
    before = path.read_bytes()
    with pytest.raises(ModuleFailed):
        keyslots(path, [{"new_secret": secret(ADMIN), "pbkdf": CHEAP}], unlock=[FIRST])
    assert path.read_bytes() == before
    if kind != "qcow2":
        words = ("-d", volume.keyfile(FIRST), path, volume.keyfile(ADMIN))
        assert run("cryptsetup", "luksAddKey", "-q", *words, check=False).returncode != 0
        assert volume.opens(FIRST) and volume.opens(SECOND)


@needs_cryptsetup
@pytest.mark.parametrize("copy", ["primary", "secondary"])
def test_a_damaged_copy(copy: str, path: pathlib.Path) -> None:
    make_test_volume(path, damaged_copy=copy)
    copies = run_module("keyslots_info", {"device": str(path)})["header"]["copies"]
    assert {name for name, state in copies.items() if state != "ok"} == {copy}
    assert "LUKS2 header requires recovery" in run("cryptsetup", "luksDump", "--debug", path).stdout.replace("\n", " ")
    assert Luks2Volume(path).opens(FIRST)


@needs_cryptsetup
@pytest.mark.parametrize("kind", RAW)
def test_an_interrupted_erase(kind: str, path: pathlib.Path) -> None:
    volume = made(path, format=kind, keyslots=[slot(ADMIN), slot(OTHER, interrupted="erase")])
    assert volume.opens(ADMIN) and not volume.opens(OTHER)
    assert unfinished(path)["keyslot"] == 1
    assert keyslots(path, [{"new_secret": secret(ADMIN)}])["changed"]
    assert unfinished(path) is None and volume.opens(ADMIN)
    assert [row["keyslot"] for row in rows(path) if row["state"] == "active"] == [0]


@needs_cryptsetup
@pytest.mark.parametrize("kind", RAW)
def test_an_interrupted_rekey(kind: str, path: pathlib.Path) -> None:
    volume = made(path, format=kind, keyslots=[slot(ADMIN), slot(OTHER, interrupted="rekey")])
    assert volume.opens(ADMIN) and volume.opens(OTHER)
    assert unfinished(path)["keyslot"] == 1
    assert keyslots(path, [{"new_secret": secret(ADMIN)}, {"new_secret": secret(OTHER)}])["changed"]
    assert unfinished(path) is None
    assert volume.opened([0, 1], [ADMIN, OTHER]) == {(0, ADMIN), (1, OTHER)}
    assert [row["keyslot"] for row in rows(path) if row["state"] == "active"] == [0, 1]


@needs_qemu
@pytest.mark.parametrize("what", ["erase", "rekey"])
def test_an_interrupted_run_on_qcow2(what: str, path: pathlib.Path) -> None:
    make_test_volume(path, format="qcow2", keyslots=[slot(ADMIN), slot(OTHER, interrupted=what)])
    assert [qemu_opens(path, text) for text in (ADMIN, OTHER)] == [True, what == "rekey"]
    assert keyslots(path, [{"new_secret": secret(ADMIN)}])["changed"]
    assert unfinished(path) is None
    assert [qemu_opens(path, text) for text in (ADMIN, OTHER)] == [True, what == "rekey"]


def rows(path: pathlib.Path) -> t.List[t.Dict[str, t.Any]]:
    return list(run_module("keyslots_info", {"device": str(path)})["keyslots"])


@needs_cryptsetup
def test_costs(path: pathlib.Path) -> None:
    cheap = {"type": "argon2i", "time": 5, "memory": 64, "parallel": 2}
    shown = made(path, keyslots=[slot(ADMIN), slot(OTHER, pbkdf={"hash": "sha512", "iterations": 2000})], pbkdf=cheap)
    dumped = shown.tree()["keyslots"]
    assert {name: dumped["0"]["kdf"][name] for name in ("type", "time", "memory", "cpus")} == {
        "type": "argon2i",
        "time": 5,
        "memory": 64,
        "cpus": 2,
    }
    assert (dumped["1"]["kdf"]["hash"], dumped["1"]["kdf"]["iterations"]) == ("sha512", 2000)
    assert shown.opened(range(2), [ADMIN, OTHER]) == {(0, ADMIN), (1, OTHER)}


def test_each_volume_has_its_own_uuid_and_salts(tmp_path: pathlib.Path) -> None:
    uuids = {make_test_volume(tmp_path / str(number))["uuid"] for number in range(3)}
    assert len(uuids) == 3
    found = [run_module("keyslots_info", {"device": str(tmp_path / str(number))}) for number in range(3)]
    assert {one["uuid"] for one in found} == uuids
    prints = {area["fingerprint"] for one in found for area in one["header"]["areas"]}
    assert len(prints) == 6


@needs_cryptsetup
def test_only_a_volume_for_tests_is_removed(path: pathlib.Path) -> None:
    real = Luks2Volume(path).format()
    before = real.sha256()
    link, folder = path.with_name("link"), path.with_name("folder")
    make_test_volume(path.with_name("ours"))
    link.symlink_to(path.with_name("ours"))
    folder.mkdir()
    (path.with_name("text")).write_text("nothing of that kind")
    for one in (path, link, folder, path.with_name("text")):
        with pytest.raises(LuksmithError):
            remove_test_volume(one)
        assert one.exists()
    assert real.sha256() == before
    assert remove_test_volume(path.with_name("ours")) and not remove_test_volume(path.with_name("ours"))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_module_makes_and_removes(kind: str, path: pathlib.Path) -> None:
    volume = {"path": str(path), "format": kind}
    assert run_module("test_volumes", {"volumes": [volume]}, check=True)["changed"] and not path.exists()
    first = run_module("test_volumes", {"volumes": [volume]})
    assert first["changed"] and first["volumes"][0]["keyslots"] == [0, 1]
    before = path.read_bytes()
    with pytest.raises(ModuleFailed, match="It exists"):
        run_module("test_volumes", {"volumes": [volume]})
    assert path.read_bytes() == before
    gone = {"path": str(path), "state": "absent"}
    assert run_module("test_volumes", {"volumes": [gone]}, check=True)["changed"] and path.exists()
    assert run_module("test_volumes", {"volumes": [gone]})["changed"] and not path.exists()
    assert not run_module("test_volumes", {"volumes": [gone]})["changed"]


def test_a_task_without_a_volume_fails() -> None:
    with pytest.raises(ModuleFailed, match="Volumes is empty"):
        run_module("test_volumes", {"volumes": []})


def test_what_fails_leaves_no_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third write fails as on a full file system."""
    real, calls = os.pwrite, [0]

    def pwrite(*arguments: t.Any) -> int:
        calls[0] += 1
        if calls[0] > 5:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, "pwrite", pwrite)
    recipes = [parse_recipe({"path": str(tmp_path / name)}, name) for name in ("one", "two")]
    with pytest.raises(StorageFault, match="two: Cannot write it: No space left"):
        try:
            volumes.write(volumes.prepare(recipes))
        except StorageFault as error:
            raise StorageFault(str(error)) from None
    assert not list(tmp_path.iterdir())


def test_a_volume_that_cannot_be_made_stops_those_before_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "two").write_text("somebody's data")
    task = {"volumes": [{"path": str(tmp_path / name)} for name in ("one", "two")]}
    with pytest.raises(ModuleFailed, match="two: It exists"):
        run_module("test_volumes", task)
    assert [one.name for one in tmp_path.iterdir()] == ["two"]
