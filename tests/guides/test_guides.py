# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook of every guide runs and does what the guide says; cryptsetup judges what opens."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import subprocess
import sys
from xml.etree import ElementTree

import pytest

yaml = pytest.importorskip("yaml")

from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import role_variables
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.groups import groups
from ansible_collections.luksmith.luks.tests.guides.guide import (
    CHEAP,
    FIRST,
    GUIDES,
    NEW,
    NEWER,
    SECOND,
    Reader,
    ci_files,
    cost_the_least,
    kinds_of_blocks,
    opens,
    playbooks,
    unpack,
    write_both_keyslots,
)
from ansible_collections.luksmith.luks.tests.interop.module_process import run_module
from ansible_collections.luksmith.luks.tests.interop.qemu_image import OPENER, QemuImage
from ansible_collections.luksmith.luks.tests.rotation.ceph_monitor import monitor

# Those that run something.
runs = pytest.mark.needs("ansible-playbook", "cryptsetup")

NAMES = sorted(path.name for path in GUIDES.glob("*.md"))


@pytest.fixture
def luks2(tmp_path: pathlib.Path) -> pathlib.Path:
    return unpack(tmp_path, "luks2.img")


@pytest.fixture
def usual(luks2: pathlib.Path) -> pathlib.Path:
    """The same volume, whose keyslots cost what they must cost at least."""
    cost_the_least(luks2)
    return luks2


def test_every_guide_has_a_test_below() -> None:
    told = set(sys.modules[__name__].__dict__)
    assert {f"test_{name[:-3]}{form}" for name in NAMES for form in ("", "_in_short")} <= told


# Files that are no playbooks; the lane lint reads them by the schemas of these services.
FILES = {"images_in_a_build_pipeline.md": set(ci_files("images_in_a_build_pipeline.md"))}


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_playbooks(name: str) -> None:
    assert kinds_of_blocks(name) == {"yaml", *(f"yaml {file}" for file in FILES.get(name, ()))}


def test_the_files_for_a_ci_run_the_playbooks_and_keep_the_report() -> None:
    files = ci_files("images_in_a_build_pipeline.md")
    assert set(files) == {".github/workflows/images.yml", ".gitlab-ci.yml"}
    report = yaml.safe_load(playbooks("images_in_a_build_pipeline.md")[1])[0]["vars"]["dist_report"]
    for text in files.values():
        assert yaml.safe_load(text)["images" if "jobs" not in text else "jobs"]
        assert "-e @secrets.yml copy.yml gate.yml" in text and report in text and "always" in text


def all_run(reader: Reader) -> None:
    assert reader.done == set(range(len(reader.playbooks))), "a playbook of the guide was not run"


@pytest.fixture
def leaver(tmp_path: pathlib.Path, shared: pathlib.Path, usual: pathlib.Path) -> Reader:
    backup = tmp_path / "backup"
    run_module("header_backup", {"device": str(usual), "path": str(backup)})
    return Reader(
        tmp_path,
        shared,
        "rotate_after_an_employee_leaves.md",
        image_patterns=[f"{tmp_path}/*.img"],
        look_at_block_devices=False,
        luks_volumes=[str(usual)],
        luks_volume=str(usual),
        luks_backup=str(backup),
        vault_team_2025=FIRST,
        vault_team_2026=NEW,
        vault_personal=SECOND,
    )


def test_rotate_ceph_osds_in_short() -> None:
    (text,) = playbooks("rotate_ceph_osds.md")
    (play,) = yaml.safe_load(text)
    names = {name for name in play["vars"] if name.startswith("rotate_")}
    assert names <= set(role_variables.SPEC) and groups(play["vars"]["rotate_groups"])
    assert "CVE-2026-50152" in (GUIDES / "rotate_ceph_osds.md").read_text()


@runs
@pytest.mark.full
@pytest.mark.needs("ceph", "ceph-mon")
@pytest.mark.xdist_group("ceph")
def test_rotate_ceph_osds(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """A block and its db, on a real monitor. It may take 20 s."""
    reader = Reader(tmp_path, shared, "rotate_ceph_osds.md")
    volumes = [unpack(tmp_path, name) for name in ("luks1.img", "luks2.img")]
    (tmp_path / "mon").mkdir()
    with monitor(tmp_path / "mon") as mon:
        mon.allow("client.luksmith", 'allow command "config-key get", allow command "config-key set"')
        osd = mon.new_osd(FIRST)
        own = {
            "rotate_ceph": mon.words("client.luksmith"),
            "rotate_groups": [{"name": osd, "volumes": [str(volume) for volume in volumes]}],
            "rotate_volumes": [{"device": str(volume)} for volume in volumes],
            "rotate_block_devices": False,
            "rotate_crypttab": str(tmp_path / "none"),
            "rotate_pbkdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 1000},
        }
        reader.twice(0, **own)
        for volume in volumes:
            assert opens(volume, FIRST, mon.given_to(osd)) == {mon.given_to(osd)}


@runs
def test_rotate_after_an_employee_leaves_in_short(leaver: Reader, usual: pathlib.Path) -> None:
    """Without the last playbook, which is a rotation. It may take 12 s: three playbooks."""
    *_others, audited, renewed = leaver.run_in_a_row(0, 2, 3).plays()
    assert opens(usual, FIRST, SECOND, NEW) == {NEW}
    assert "All assertions passed" in audited
    assert "Find and destroy copies: they hold [0, 1]" in renewed


@runs
@pytest.mark.full
def test_rotate_after_an_employee_leaves(leaver: Reader, tmp_path: pathlib.Path, usual: pathlib.Path) -> None:
    """It may take a minute: ten playbooks on three volumes, two of them with keyslots that are calibrated."""
    reader, luks2 = leaver, usual
    luks1 = unpack(tmp_path, "luks1.img")
    qcow2 = unpack(tmp_path, "luks1.qcow2")
    reader.variables["image_patterns"].append(f"{tmp_path}/*.qcow2")
    reader.variables["luks_volumes"] += [str(luks1), str(qcow2)]
    reader.run(3)
    assert "Find and destroy" not in reader.run(3).output
    checked = reader.run(0, "--check", "--diff")
    assert opens(luks2, FIRST, SECOND, NEW) == {FIRST, SECOND} and "team 2026" in checked.output
    failed = reader.run(2, ok=False)
    assert "secret-forbidden" in failed.output
    reader.twice(0)
    assert opens(luks1, FIRST, SECOND, NEW) == opens(luks2, FIRST, SECOND, NEW) == {NEW}
    reader.run(2)
    assert "Find and destroy copies: they hold [0, 1]" in reader.run(3).output
    rotation = {
        "rotate_paths": [str(luks2)],
        "rotate_block_devices": False,
        "rotate_vault_file": str(tmp_path / "store.yml"),
        "rotate_pbkdf": CHEAP,
    }
    reader.twice(1, **rotation)
    assert opens(luks2, NEW) == set()
    assert "$ANSIBLE_VAULT" in (tmp_path / "store.yml").read_text()
    all_run(reader)


@pytest.fixture
def glass(tmp_path: pathlib.Path, shared: pathlib.Path, usual: pathlib.Path) -> Reader:
    return Reader(
        tmp_path,
        shared,
        "break_glass_keys.md",
        luks_volume=str(usual),
        vault_daily=FIRST,
        vault_break_glass=NEW,
        vault_new_break_glass=NEWER,
    )


@runs
def test_break_glass_keys_in_short(glass: Reader, usual: pathlib.Path) -> None:
    """It may take 10 s: four playbooks."""
    added, purged, tried, replaced = glass.run_in_a_row(0, 1, 2, 3).plays()
    assert [play.count("\nchanged: [") for play in (added, purged, tried, replaced)] == [1, 1, 0, 1]
    assert opens(usual, FIRST, SECOND, NEW, NEWER) == {FIRST, NEWER}


@runs
@pytest.mark.full
def test_break_glass_keys(glass: Reader, usual: pathlib.Path) -> None:
    """It may take half a minute: eight playbooks."""
    reader = glass
    reader.run(2, ok=False)
    reader.twice(0)
    assert opens(usual, FIRST, SECOND, NEW) == {FIRST, SECOND, NEW}
    reader.twice(1)
    assert opens(usual, FIRST, SECOND, NEW) == {FIRST, NEW}
    assert not reader.run(2).changed
    reader.twice(3)
    assert opens(usual, FIRST, NEW, NEWER) == {FIRST, NEWER}
    all_run(reader)


def cut(volume: pathlib.Path) -> None:
    """Leave the volume as a run leaves it that is cut in the middle of its wipe."""
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Costs, Desired, Entry
    from ansible_collections.luksmith.luks.tests.crash import memory_volumes as lab

    secrets = lab.SECRETS, lab.LABELS
    lab.SECRETS, lab.LABELS = (FIRST.encode(), NEW.encode()), ("old", "new")
    try:
        entry = Entry(0, "present", None, 1, 0, costs=Costs(type="argon2id", time=4, memory=32, parallel=1))
        outcome = lab.amend_volume(volume.read_bytes(), Desired((entry,), (), lab.LABELS))
        disk = bytearray(volume.read_bytes())
        commits = [number for number, (offset, _data) in enumerate(outcome.writes) if offset < 32768]
        for offset, data in outcome.writes[: commits[3] + 1]:
            disk[offset : offset + len(data)] = data
    finally:
        lab.SECRETS, lab.LABELS = secrets
    volume.write_bytes(disk)


@pytest.fixture
def interrupted(tmp_path: pathlib.Path, shared: pathlib.Path, luks2: pathlib.Path) -> Reader:
    """With a backup of the header; then the run was cut."""
    (tmp_path / "backup").write_bytes(luks2.read_bytes())
    cut(luks2)
    return Reader(
        tmp_path,
        shared,
        "recover_an_interrupted_run.md",
        luks_volume=str(luks2),
        luks_backup=str(tmp_path / "backup"),
        vault_old=FIRST,
        vault_new=NEW,
        vault_older=SECOND,
    )


@runs
def test_recover_an_interrupted_run_in_short(interrupted: Reader, luks2: pathlib.Path) -> None:
    """All but the playbooks for a host that missed a rotation and for a lost header. May take 10 s: three playbooks."""
    before, run, after = interrupted.run_in_a_row(0, 1, 0).plays()
    assert "wipe" in before and "\nchanged: [" in run and '"unfinished": "nothing"' in after
    assert opens(luks2, FIRST, NEW) == {NEW}


@runs
@pytest.mark.full
def test_recover_an_interrupted_run(interrupted: Reader, tmp_path: pathlib.Path, luks2: pathlib.Path) -> None:
    """It may take half a minute: nine playbooks."""
    older = unpack(tmp_path, "luks1.img")
    reader = interrupted
    assert "wipe" in reader.run(0).output
    assert "unfinished" in reader.run(1, "--check", "--diff").output
    reader.twice(1)
    assert opens(luks2, FIRST, NEW) == {NEW}
    assert '"unfinished": "nothing"' in reader.run(0).output
    reader.twice(2, luks_volume=str(older), vault_old="a secret that it never had")
    assert opens(older, SECOND, NEW) == {NEW}
    with luks2.open("r+b") as stream:
        stream.write(bytes(32768))
    reader.twice(3)
    assert opens(luks2, FIRST, NEW) == {FIRST}
    all_run(reader)


# What the fixtures' keyslots cost is for tests.
CHEAP_POLICY = {
    "extends": "owasp-2023",
    "required_labels": ["team 2026", "break-glass"],
    "minimum_costs": {"argon2": [{"time": 4, "memory": 32}]},
}


@pytest.fixture
def auditor(tmp_path: pathlib.Path, shared: pathlib.Path, luks2: pathlib.Path) -> Reader:
    """Both keyslots are written by this collection, so that they have a record."""
    write_both_keyslots(luks2)
    return Reader(
        tmp_path,
        shared,
        "audit_for_a_certification.md",
        image_patterns=[f"{tmp_path}/*.img"],
        look_at_block_devices=False,
        luks_volumes=[str(luks2)],
        vault_team_2025=FIRST,
        vault_team_2026=NEW,
        vault_break_glass=NEWER,
    )


@runs
def test_audit_for_a_certification_in_short(auditor: Reader, luks2: pathlib.Path) -> None:
    """It may take 15 s: four playbooks."""
    before = luks2.read_bytes()
    assert "kdf-cost" in auditor.run_in_a_row(0, 1).output
    assert '"state": "compliant"' in auditor.run(0, luks_policy=CHEAP_POLICY).output
    assert luks2.read_bytes() == before
    subprocess.run(["cryptsetup", "luksErase", "--batch-mode", str(luks2)], check=True)
    assert "no active keyslot opens the data" in auditor.run(1, ok=False).output


@runs
@pytest.mark.full
def test_audit_for_a_certification(auditor: Reader, luks2: pathlib.Path) -> None:
    """It may take 20 s: four playbooks."""
    reader = auditor
    before = luks2.read_bytes()
    assert "kdf-cost" in reader.run(0).output
    assert '"state": "compliant"' in reader.run(0, luks_policy=CHEAP_POLICY).output
    assert (
        "secret-forbidden" in reader.run(0, luks_policy=CHEAP_POLICY, vault_team_2025=NEW, vault_team_2026=FIRST).output
    )
    reader.run(1)
    assert luks2.read_bytes() == before
    all_run(reader)


@pytest.fixture
def customer(tmp_path: pathlib.Path) -> pathlib.Path:
    """Its folder is for the playbook to make."""
    return tmp_path / "dist" / "customer.img"


@pytest.fixture
def builder(tmp_path: pathlib.Path, shared: pathlib.Path, usual: pathlib.Path, customer: pathlib.Path) -> Reader:
    return Reader(
        tmp_path,
        shared,
        "images_in_a_build_pipeline.md",
        build_image=str(usual),
        customer_image=str(customer),
        dist_folder=str(customer.parent),
        dist_report=str(tmp_path / "reports" / "images.xml"),
        vault_build=FIRST,
        vault_customer=NEW,
        vault_recovery=NEWER,
    )


def failures(tmp_path: pathlib.Path) -> int:
    """What the CI shows as failed."""
    (suite,) = ElementTree.parse(tmp_path / "reports" / "images.xml").getroot().iter("testsuite")
    return int(suite.get("failures", 0)) + int(suite.get("errors", 0))


@runs
def test_images_in_a_build_pipeline_in_short(
    builder: Reader, tmp_path: pathlib.Path, usual: pathlib.Path, customer: pathlib.Path
) -> None:
    """It may take 20 s: four playbooks."""
    with usual.open("r+b") as stream:
        stream.truncate(320 << 20)  # a hole
    builder.run_in_a_row(0, 1)
    assert opens(customer, FIRST, SECOND, NEW, NEWER) == {NEW, NEWER}
    assert opens(usual, FIRST, NEW) == {FIRST}
    assert customer.stat().st_size == 320 << 20 and customer.stat().st_blocks * 512 < 32 << 20
    assert customer.stat().st_mode & 0o777 == 0o600 and failures(tmp_path) == 0
    (customer.parent / "plain.img").write_bytes(b"a file system" * 4096)
    failed = builder.run(1, ok=False).output
    assert "1 good images of 1 in" in failed and "plain.img: " in failed and failures(tmp_path) > 0


@runs
@pytest.mark.full
def test_images_in_a_build_pipeline(
    builder: Reader, tmp_path: pathlib.Path, usual: pathlib.Path, customer: pathlib.Path
) -> None:
    """It may take half a minute: seven playbooks."""
    reader = builder
    planned = reader.run(0, "--check", "--diff").output
    assert "customer" in planned and not customer.parent.exists() and opens(usual, FIRST, NEW) == {FIRST}
    reader.twice(0)
    assert not reader.run(0, "--check").changed
    assert opens(customer, FIRST, SECOND, NEW, NEWER) == {NEW, NEWER}
    assert opens(usual, FIRST, NEW) == {FIRST}
    assert "1 good images and no other file" in reader.run(1).output
    unpack(tmp_path / "dist", "luks1.qcow2")
    failed = reader.run(1, ok=False, dist_images=2).output
    assert "luks1.qcow2: 'build' must not open the volume, but opens keyslot 0" in failed
    assert "luks1.qcow2: 'customer' must open the volume, but opens no keyslot" in failed
    all_run(reader)


def nothing(folder: pathlib.Path) -> None:
    (folder / "customer.img").unlink()


def only_plaintext(folder: pathlib.Path) -> None:
    (folder / "customer.img").write_bytes(b"a file system" * 4096)


def zeros_beside_it(folder: pathlib.Path) -> None:
    (folder / "zeros.img").write_bytes(bytes(1 << 20))


def hidden_plaintext(folder: pathlib.Path) -> None:
    (folder / "v2").mkdir()
    (folder / "v2" / ".plain.qcow2").write_bytes(b"a file system" * 4096)


def hostile_name(folder: pathlib.Path) -> None:
    (folder / "{{ 6 * 7 }}\n[x]*.img").write_bytes(b"a file system" * 4096)


def a_pipe(folder: pathlib.Path) -> None:
    os.mkfifo(folder / "pipe.img")


def a_link_to_plaintext(folder: pathlib.Path) -> None:
    (folder / "link.img").symlink_to("/etc/hostname")


def an_empty_file(folder: pathlib.Path) -> None:
    (folder / "a file with spaces.img").touch()


def a_loop_of_links(folder: pathlib.Path) -> None:
    (folder / "one.img").symlink_to("two.img")
    (folder / "two.img").symlink_to("one.img")


def no_folder(folder: pathlib.Path) -> None:
    folder.rename(folder.with_name("dits"))


def a_broken_header(folder: pathlib.Path) -> None:
    with (folder / "customer.img").open("r+b") as stream:
        stream.write(bytes(32768))


def an_unknown_keyslot(folder: pathlib.Path) -> None:
    unpack(folder, "luks2.img", "customer.img")


def a_link_to_its_own_folder(folder: pathlib.Path) -> None:
    (folder / "again").symlink_to(".")


def a_tebibyte_of_nothing(folder: pathlib.Path) -> None:
    with (folder / "huge.img").open("wb") as stream:
        stream.truncate(1 << 40)


def a_header_that_was_cut(folder: pathlib.Path) -> None:
    os.truncate(folder / "customer.img", 5000)


def a_socket(folder: pathlib.Path) -> None:
    """Bound by its name alone, because the path of a socket must be short."""
    with socket.socket(socket.AF_UNIX) as one:
        place = os.open(folder, os.O_RDONLY)
        try:
            one.bind(f"/proc/self/fd/{place}/customer.sock")
        finally:
            os.close(place)


def a_closed_folder(folder: pathlib.Path) -> None:
    """For root it is open, and the file in it is no image."""
    closed = folder / "closed"
    closed.mkdir()
    (closed / "plain.img").write_bytes(b"a file system" * 4096)
    closed.chmod(0)


GARBAGE = {
    one.__name__: one
    for one in (
        nothing,
        only_plaintext,
        zeros_beside_it,
        hidden_plaintext,
        hostile_name,
        a_pipe,
        a_link_to_plaintext,
        an_empty_file,
        a_loop_of_links,
        no_folder,
        a_broken_header,
        an_unknown_keyslot,
        a_link_to_its_own_folder,
        a_tebibyte_of_nothing,
        a_header_that_was_cut,
        a_socket,
        a_closed_folder,
    )
}
# Whatever else the folder holds, one whole image is there.
SHORT_GARBAGE = ("nothing", "only_plaintext", "hostile_name")


@runs
@pytest.mark.parametrize(
    "name", [name if name in SHORT_GARBAGE else pytest.param(name, marks=pytest.mark.full) for name in GARBAGE]
)
def test_a_pipeline_that_is_fed_with_garbage(
    builder: Reader, tmp_path: pathlib.Path, luks2: pathlib.Path, customer: pathlib.Path, name: str
) -> None:
    """The gate alone, once: seconds."""
    customer.parent.mkdir()
    unpack(customer.parent, "luks2.img", "customer.img")
    secrets = {"vault_customer": FIRST, "vault_recovery": SECOND, "vault_build": "the build's"}
    if name == "an_unknown_keyslot":
        secrets["vault_recovery"] = "never added"
    GARBAGE[name](customer.parent)
    before = {path: path.lstat().st_mtime_ns for path in customer.parent.rglob("*")}
    try:
        outcome = builder.run(1, ok=False, **secrets)
    finally:
        if name == "a_closed_folder":
            (customer.parent / "closed").chmod(0o700)
    assert re.search(r"\d good images of 1 in ", outcome.output), outcome.output
    assert failures(tmp_path) > 0
    assert "42" not in outcome.output.partition("Fail unless")[2]
    after = {path: path.lstat().st_mtime_ns for path in customer.parent.rglob("*")}
    assert name == "a_closed_folder" or after == before


@runs
@pytest.mark.full
def test_a_file_that_is_listed_may_leave(builder: Reader, customer: pathlib.Path) -> None:
    customer.parent.mkdir()
    unpack(customer.parent, "luks2.img", "customer.img")
    (customer.parent / "SHA256SUMS").write_text("...")
    secrets = {"vault_customer": FIRST, "vault_recovery": SECOND, "vault_build": "the build's"}
    builder.run(1, ok=False, **secrets)
    builder.run(1, dist_other_files=["SHA256SUMS"], **secrets)
    builder.run(1, ok=False, dist_other_files=["SHA256SUMS"], dist_images=2, **secrets)
    builder.run(1, ok=False, dist_other_files=["SHA256SUMS", "customer.img"], dist_images=0, **secrets)


@pytest.fixture
def migrant(tmp_path: pathlib.Path, shared: pathlib.Path, usual: pathlib.Path) -> Reader:
    keyfile = tmp_path / "data.key"
    keyfile.write_text(NEWER)
    keyfile.chmod(0o600)
    return Reader(
        tmp_path,
        shared,
        "migrate_from_luks_device.md",
        luks_volume=str(usual),
        luks_keyfile=str(keyfile),
        vault_old=FIRST,
        vault_new=NEW,
    )


@runs
def test_migrate_from_luks_device_in_short(migrant: Reader, usual: pathlib.Path) -> None:
    """It may take 10 s: two playbooks."""
    assert [play.count("\nchanged: [") for play in migrant.run_in_a_row(0, 1).plays()] == [1, 1]
    assert opens(usual, FIRST, SECOND, NEW, NEWER) == {NEW, NEWER}


OLD_TASKS = """
- name: Rotate
  community.crypto.luks_device:
    device: '{{ luks_volume }}'
    passphrase: '{{ vault_old }}'
    new_passphrase: '{{ vault_new }}'
    remove_passphrase: '{{ vault_old }}'
    cipher: aes-xts-plain64
"""


@runs
def test_migrate_from_luks_device_all_tasks_at_once(
    migrant: Reader, tmp_path: pathlib.Path, usual: pathlib.Path
) -> None:
    """What the filter wrote runs as it is. It may take 10 s: three playbooks."""
    tasks = {"old_tasks": str(tmp_path / "old.yml"), "new_tasks": str(tmp_path / "new.yml")}
    (tmp_path / "old.yml").write_text(OLD_TASKS)
    assert "cipher is for a new volume" in migrant.run(2, **tasks).output
    migrant.playbooks.append("- hosts: servers\n  gather_facts: false\n  tasks:\n    - include_tasks: new.yml\n")
    migrant.twice(3)
    assert opens(usual, FIRST, SECOND, NEW) == {SECOND, NEW}
    (tmp_path / "old.yml").write_text("just a text")
    assert "give a task, or a list of tasks or plays" in migrant.run(2, ok=False, **tasks).output


@runs
@pytest.mark.full
def test_migrate_from_luks_device(migrant: Reader, tmp_path: pathlib.Path, usual: pathlib.Path) -> None:
    """It may take 25 s: five playbooks."""
    reader = migrant
    reader.twice(0)
    assert opens(usual, FIRST, NEW) == {NEW}
    reader.twice(1)
    assert opens(usual, SECOND, NEW, NEWER) == {NEW, NEWER}
    (tmp_path / "old.yml").write_text(OLD_TASKS)
    reader.run(2, old_tasks=str(tmp_path / "old.yml"), new_tasks=str(tmp_path / "new.yml"))
    all_run(reader)


LUKS_DEVICE = """
state device name keyfile new_keyfile remove_keyfile passphrase new_passphrase remove_passphrase
tpm2_device new_tpm2 new_tpm2_pcrs remove_tpm2
passphrase_encoding keyslot keyslot_priority new_keyslot remove_keyslot force_remove_last_key
keysize label uuid type cipher hash pbkdf sector_size
perf_same_cpu_crypt perf_submit_from_crypt_cpus perf_no_read_workqueue perf_no_write_workqueue persistent allow_discards
iteration_time iteration_count algorithm memory parallel
"""


@pytest.mark.parametrize("option", LUKS_DEVICE.split())
def test_the_table_has_every_option_of_luks_device(option: str) -> None:
    """The options of community.crypto 3.3."""
    text = (GUIDES / "migrate_from_luks_device.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert any(f"`{option}" in row or f".{option}`" in row for row in rows)


@runs
def test_migrate_from_qemu_img_amend_in_short(
    tmp_path: pathlib.Path, shared: pathlib.Path, usual: pathlib.Path
) -> None:
    variables = {"luks_volume": str(usual), "vault_old": FIRST, "vault_new": NEW}
    Reader(tmp_path, shared, "migrate_from_qemu_img_amend.md", **variables).run(0)
    assert opens(usual, FIRST, SECOND, NEW) == {SECOND, NEW}


@pytest.mark.needs("ansible-playbook", "qemu-img")
@pytest.mark.full
def test_migrate_from_qemu_img_amend(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """QEMU says what opens its image afterwards. It may take 15 s: four playbooks."""
    image = QemuImage(tmp_path, "qcow2")
    keyfile = tmp_path / "data.key"
    keyfile.write_text(NEWER)
    keyfile.chmod(0o600)
    reader = Reader(
        tmp_path,
        shared,
        "migrate_from_qemu_img_amend.md",
        luks_volume=str(image.path),
        luks_keyfile=str(keyfile),
        vault_old=OPENER,
        vault_new=NEW,
    )
    reader.twice(0)
    assert image.opened_by(OPENER, NEW, NEWER) == {NEW}
    reader.twice(1)
    assert image.opened_by(OPENER, NEW, NEWER) == {NEW, NEWER}
    all_run(reader)


# QCryptoBlockAmendOptionsLUKS of QEMU's QAPI, and the options of `qemu-img amend --help`.
@pytest.mark.parametrize(
    "option",
    [
        "state",
        "new-secret",
        "old-secret",
        "keyslot",
        "iter-time",
        "secret",
        "-f",
        "-t",
        "-p",
        "-q",
        "-o",
        "--force",
        "--object",
        "--image-opts",
    ],
)
def test_the_table_has_every_option_of_qemu_img_amend(option: str) -> None:
    text = (GUIDES / "migrate_from_qemu_img_amend.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert any(f"`{option}" in row for row in rows)
