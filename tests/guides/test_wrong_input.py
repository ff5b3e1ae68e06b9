# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of the guides with empty, wrong and hostile input: none of them ends green and has done nothing."""

from __future__ import annotations

import pathlib
import re
import subprocess
import typing as t

import pytest

yaml = pytest.importorskip("yaml")

from ansible_collections.luksmith.luks.plugins.module_utils.test_volumes import make_test_volume
from ansible_collections.luksmith.luks.tests.guides.guide import (
    FIRST,
    GUIDES,
    HOST,
    NEW,
    NEWER,
    SECOND,
    Reader,
    opens,
    playbooks,
    unpack,
    write_both_keyslots,
)
from ansible_collections.luksmith.luks.tests.interop.module_process import keyslots

LEAVES, GLASS = "rotate_after_an_employee_leaves.md", "break_glass_keys.md"
RECOVER, AUDIT = "recover_an_interrupted_run.md", "audit_for_a_certification.md"
PIPELINE, MIGRATE = "images_in_a_build_pipeline.md", "migrate_from_luks_device.md"
CEPH, AMEND = "rotate_ceph_osds.md", "migrate_from_qemu_img_amend.md"
ALL = [(path.name, number) for path in sorted(GUIDES.glob("*.md")) for number in range(len(playbooks(path.name)))]
# What is wrong, or the playbook would be right.
STRANGE, OTHER = "a secret that opens nothing", "another one"
PLAIN = b"a file system" * 4096
BOUND = {"label": "daily", "passphrase": FIRST}


class Folder:
    """What a play finds; ``names`` are its variables."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.volume = unpack(path, "luks2.img")
        self.backup = path / "backup"
        self.backup.write_bytes(self.volume.read_bytes())
        (path / "data.key").write_text(NEWER)
        self.names: t.Dict[str, t.Any] = {
            "image_patterns": [f"{path}/*.img"],
            "look_at_block_devices": False,
            "luks_volume": str(self.volume),
            "luks_volumes": [str(self.volume)],
            "luks_backup": str(self.backup),
            "luks_keyfile": str(path / "data.key"),
            "build_image": str(self.volume),
            "customer_image": str(path / "dist" / "customer.img"),
            "dist_folder": str(path / "dist"),
            "dist_report": str(path / "reports" / "images.xml"),
            "old_tasks": str(path / "old.yml"),
            "new_tasks": str(path / "new.yml"),
            "rotate_paths": [str(self.volume)],
            "rotate_block_devices": False,
            "rotate_vault_file": str(path / "store.yml"),
            # A cluster that knows no key.
            "rotate_ceph": ["sh", "-c", "echo 'Error ENOENT: key does not exist' >&2; exit 2", "ceph"],
            **{f"vault_{name}": FIRST for name in ("team_2025", "daily", "old", "build")},
            **{f"vault_{name}": NEW for name in ("team_2026", "break_glass", "new", "customer")},
            **{f"vault_{name}": NEWER for name in ("new_break_glass", "recovery")},
            "vault_personal": SECOND,
            "vault_older": STRANGE,
        }

    def no_secret_opens(self) -> None:
        secrets = [name for name in self.names if name.startswith("vault_")]
        self.names.update({name: f"{STRANGE}: {name}" for name in secrets})

    def malformed(self) -> None:
        """Both copies of the header have a number that cannot be."""
        with self.volume.open("r+b") as stream:
            for offset in (0, 16384):
                stream.seek(offset + 8)
                stream.write(b"\xff" * 8)

    def mistyped_path(self) -> None:
        wrong = f"{self.path}/luks2.imgg"
        self.names.update(luks_volume=wrong, luks_volumes=[wrong], image_patterns=[wrong], build_image=wrong)
        self.names.update(rotate_paths=[wrong])

    def no_path(self) -> None:
        self.names.update(luks_volume="", luks_volumes=[], image_patterns=[], build_image="", rotate_paths=[])

    def no_match(self) -> None:
        self.names.update(image_patterns=[f"{self.path}/imgaes/*.img"], rotate_paths=[f"{self.path}/imgaes/*.img"])

    def one_pattern_without_a_match(self) -> None:
        self.names["image_patterns"] = [f"{self.path}/*.img", f"{self.path}/*.qcow3"]

    def personal_key_stays(self) -> None:
        """The rotation ran with a mistyped secret of the person who left: it opens nothing, so nothing was to do."""
        self.names.update(vault_team_2026=FIRST, vault_team_2025=OTHER, vault_personal=STRANGE)

    def not_rotated(self) -> None:
        self.names.update(vault_team_2025=SECOND, vault_team_2026=FIRST, vault_personal=STRANGE)

    def no_backup(self) -> None:
        self.backup.unlink()

    def malformed_backup(self) -> None:
        self.backup.write_bytes(PLAIN)

    def backup_of_another_volume(self) -> None:
        self.backup.unlink()
        make_test_volume(self.backup)

    def unbound(self) -> None:
        """The key opens a keyslot, but not the volume."""
        self.volume.unlink()
        other = {"secret": {"label": "for something else", "passphrase": NEW}, "bound": False}
        make_test_volume(self.volume, keyslots=[{"secret": BOUND}, other])

    def a_new_keyslot(self) -> None:
        """Another program has added one, all others have a record."""
        write_both_keyslots(self.volume)
        entry = {"new_secret": {"passphrase": OTHER}, "pbkdf": {"iterations": 1000, "type": "pbkdf2"}}
        keyslots(self.volume, [entry], unlock=[NEW], record=False)

    def a_removed_keyslot(self) -> None:
        """Somebody has removed one of those that have a record."""
        write_both_keyslots(self.volume)
        subprocess.run(["cryptsetup", "luksKillSlot", "--batch-mode", str(self.volume), "1"], check=True)

    def erased(self) -> None:
        """All keyslots are gone; the header is as good as before."""
        write_both_keyslots(self.volume)
        subprocess.run(["cryptsetup", "luksErase", "--batch-mode", str(self.volume)], check=True)

    def plaintext(self) -> None:
        self.volume.write_bytes(PLAIN)

    def no_keyfile(self) -> None:
        self.names["vault_new"] = FIRST
        (self.path / "data.key").unlink()

    def empty_keyfile(self) -> None:
        self.names["vault_new"] = FIRST
        (self.path / "data.key").write_bytes(b"")

    def no_task(self) -> None:
        (self.path / "old.yml").write_text("- ansible.builtin.debug:\n")

    def an_object(self) -> None:
        (self.path / "old.yml").write_text("!!python/object/apply:os.system ['touch pwned']\n")

    def no_member(self) -> None:
        """The volume is none of the OSD, whose volumes are not there."""

    def no_monitor(self) -> None:
        self.one_osd(["sh", "-c", "echo 'unable to get monitor info' >&2; exit 1", "ceph"])

    def no_program(self) -> None:
        self.one_osd([str(self.path / "ceph")])

    def one_osd(self, ceph: t.List[str]) -> None:
        """The volume is the only one of an OSD."""
        osd = {"name": "5b0f7f0a-5a5e-4b8e-9d61-0c7f4f1c2a33", "volumes": [str(self.volume)]}
        self.names.update(rotate_ceph=ceph, rotate_groups=[osd])

    def no_record(self) -> None:
        """Of a volume that another program has made."""

    def no_file(self) -> None:
        """Of tasks."""


Wrong = t.Callable[[Folder], None]

# What the play says of it.
TOLD: t.Dict[Wrong, str] = {
    Folder.no_match: r"0 volumes\. Patterns without a volume: \[.*imgaes",
    Folder.one_pattern_without_a_match: r"1 volumes\. Patterns without a volume: \[.*qcow3",
    Folder.no_path: r"0 volumes|Devices? is (empty|'')|cannot stat ''",
    Folder.mistyped_path: "No such file or directory|There is no such file|cannot stat",
    Folder.malformed: "[Nn]o copy of the LUKS2 header is usable",
    Folder.plaintext: "0 volumes|not with a LUKS header",
    Folder.no_secret_opens: "opens? (a|any|no) keyslot",
    Folder.not_rotated: "'team 2025' must not open the volume, but opens keyslot 1",
    Folder.personal_key_stays: "no given secret opens keyslot 1",
    Folder.no_backup: "There was no backup at|There is no such file",
    Folder.malformed_backup: "begins with text",
    Folder.backup_of_another_volume: "a backup of another volume",
    Folder.unbound: "'break-glass' must open the volume, but opens only keyslot 1, which is not bound",
    Folder.no_member: "5b0f7f0a-.* is not among the volumes of this host",
    Folder.no_monitor: "unable to get monitor info",
    Folder.no_program: "The program .* cannot be run: No such file",
    Folder.no_record: "Without a valid record: keyslots 0, 1",
    Folder.a_new_keyslot: "Without a valid record: keyslots 2",
    Folder.a_removed_keyslot: r"luks2.img: Without a valid record: keyslots none. The record no longer .*'break-glass'",
    Folder.erased: "no active keyslot opens the data",
    Folder.no_keyfile: "data.key",
    Folder.empty_keyfile: "data.key",
    Folder.no_file: "old.yml",
    Folder.no_task: "there is no task of community.crypto.luks_device",
    Folder.an_object: "could not determine a constructor|python/object",
}

# guide -> for each playbook what is wrong.
CASES: t.Dict[str, t.List[t.List[Wrong]]] = {
    LEAVES: [
        [
            Folder.no_match,
            Folder.one_pattern_without_a_match,
            Folder.no_path,
            Folder.mistyped_path,
            Folder.malformed,
            Folder.plaintext,
            Folder.no_secret_opens,
        ],
        [Folder.no_match, Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.not_rotated, Folder.personal_key_stays],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_backup, Folder.malformed_backup],
    ],
    GLASS: [
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens, Folder.unbound],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens],
    ],
    RECOVER: [
        [Folder.no_path, Folder.mistyped_path, Folder.malformed],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens],
        [
            Folder.no_path,
            Folder.mistyped_path,
            Folder.no_backup,
            Folder.malformed_backup,
            Folder.backup_of_another_volume,
            Folder.no_secret_opens,
        ],
    ],
    AUDIT: [
        [
            Folder.no_match,
            Folder.one_pattern_without_a_match,
            Folder.no_path,
            Folder.mistyped_path,
            Folder.malformed,
            Folder.plaintext,
        ],
        [
            Folder.no_path,
            Folder.mistyped_path,
            Folder.malformed,
            Folder.no_record,
            Folder.a_new_keyslot,
            Folder.a_removed_keyslot,
            Folder.erased,
        ],
    ],
    CEPH: [[Folder.malformed, Folder.no_member, Folder.no_monitor, Folder.no_program]],
    PIPELINE: [[Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.plaintext, Folder.no_secret_opens]],
    AMEND: [
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_keyfile, Folder.empty_keyfile],
    ],
    MIGRATE: [
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_secret_opens],
        [Folder.no_path, Folder.mistyped_path, Folder.malformed, Folder.no_keyfile, Folder.empty_keyfile],
        [Folder.no_file, Folder.no_task, Folder.an_object],
    ],
}


runs = pytest.mark.needs("ansible-playbook", "cryptsetup")
SHORT = (LEAVES, 0, Folder.one_pattern_without_a_match)


def cases() -> t.Iterator[t.Any]:
    for guide, lists in CASES.items():
        for number, wrongs in enumerate(lists):
            for wrong in wrongs:
                marks = () if (guide, number, wrong) == SHORT else (pytest.mark.full,)
                yield pytest.param(guide, number, wrong, marks=marks, id=f"{guide[:-3]} {number} {wrong.__name__}")


def test_every_playbook_has_wrong_input_here() -> None:
    """The gate of the pipeline is fed in test_guides.py."""
    assert {(guide, number) for guide, lists in CASES.items() for number in range(len(lists))} == {*ALL} - {
        (PIPELINE, 1)
    }
    assert {wrong for lists in CASES.values() for wrongs in lists for wrong in wrongs} == set(TOLD)


@runs
@pytest.mark.parametrize(("guide", "number", "wrong"), list(cases()))
def test_it_fails_and_says_why(
    guide: str, number: int, wrong: Wrong, tmp_path: pathlib.Path, shared: pathlib.Path
) -> None:
    """One playbook: seconds."""
    folder = Folder(tmp_path)
    wrong(folder)
    before = folder.volume.read_bytes()
    said = Reader(tmp_path, shared, guide, **folder.names).run(number, ok=False).output
    assert re.search(TOLD[wrong], said), said
    assert folder.volume.read_bytes() == before
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "new.yml").exists()


@runs
@pytest.mark.full
@pytest.mark.parametrize(
    ("guide", "number"), [one for one in ALL if one not in ((PIPELINE, 1), (MIGRATE, 2), (CEPH, 0))]
)
def test_a_misspelt_option_of_a_module(guide: str, number: int, tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """The first option of the first task of this collection."""
    folder = Folder(tmp_path)
    reader = Reader(tmp_path, shared, guide, **folder.names)
    task = re.compile(r"(luksmith\.luks\.\w+:\n(?: +#.*\n)* +\w+)(\w):")
    assert task.search(reader.playbooks[number])
    reader.playbooks[number] = task.sub(r"\1x:", reader.playbooks[number], count=1)
    before = folder.volume.read_bytes()
    said = reader.run(number, ok=False).output
    assert "is not an option; did you mean" in said or "is missing" in said, said
    assert folder.volume.read_bytes() == before


ON_SERVERS = [one for one in ALL if "groups['servers']" in playbooks(one[0])[one[1]]]


def test_every_other_play_runs_on_localhost() -> None:
    for guide, number in ALL:
        (play,) = yaml.safe_load(playbooks(guide)[number])
        assert play["hosts"] == "localhost" or (guide, number) in ON_SERVERS
    assert len(ON_SERVERS) == len(ALL) - 3


@runs
@pytest.mark.parametrize("inventory", ["servers: {hosts: {}}", f"others: {{hosts: {{server1: {HOST}}}}}", ""])
@pytest.mark.parametrize(
    ("guide", "number"),
    [one if one == (GLASS, 2) else pytest.param(*one, marks=pytest.mark.full) for one in ON_SERVERS],
)
def test_no_host(guide: str, number: int, inventory: str, tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """Ansible ends at once: a second."""
    reader = Reader(tmp_path, shared, guide, **Folder(tmp_path).names)
    reader.inventory = inventory
    said = reader.run(number, ok=False).output
    assert "The group servers has no host" in said or re.search("has no attribute 'servers'", said), said


@runs
@pytest.mark.full
def test_a_volume_with_a_hostile_name(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It is a volume like any other: two playbooks."""
    folder = Folder(tmp_path)
    hostile = folder.volume.rename(tmp_path / "{{ 6 * 7 }}\n[x]*.img")
    Reader(tmp_path, shared, LEAVES, **folder.names).run(0)
    assert opens(hostile, FIRST, SECOND, NEW) == {NEW}
    folder.names.update(vault_team_2025=FIRST)
    said = Reader(tmp_path, shared, AUDIT, **folder.names).run(0).output
    assert "slot-unknown" not in said and "42" not in re.sub(r"\d{3,}", "", said.partition("Show the findings")[2])
