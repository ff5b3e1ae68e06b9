# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module that is given a secret leaves in its memory, when it succeeds and when it fails."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import shutil
import typing as t
from functools import partial

import pytest
from ansible_collections.luksmith.luks.tests.secrets import canary, child, hurts, volumes
from ansible_collections.luksmith.luks.tests.secrets.box import known_keys
from ansible_collections.luksmith.luks.tests.secrets.scene import CHEAP

pytestmark = pytest.mark.needs("cryptsetup")

# Copies that are left, and that docs/security.md tells of. More would be a buffer that we forgot.
LEFT = {"volume key": 0, "derived key": 0, "split key": 0, "keyfile": 0}
ONLY_KEYFILE = ("keyfile",)
# First byte of the key material of keyslot 1, as cryptsetup lays it out for a key of 32 bytes; the test checks it.
SECOND = 32768 + 128 * 1024


@dataclasses.dataclass(frozen=True)
class Case:
    """``fails``: words of its refusal. ``hurt``: what makes the module fail where the task alone cannot.

    ``found``: what is still there at the end of a run that wipes nothing. Derived keys are not always among it: memory
    that is freed is soon used again.
    """

    module: str
    task: t.Mapping[str, t.Any]
    fails: str = ""
    check: bool = False
    hurt: t.Optional[t.Callable[[], None]] = None
    found: t.Collection[str] = ("volume key", "keyfile")


@dataclasses.dataclass(frozen=True)
class Lab:
    """A LUKS2 volume with two keyslots, a backup of its header, and a file that holds the secret of the second one."""

    folder: pathlib.Path
    old: canary.Canary
    keyfile: canary.Canary
    volume: volumes.Volume

    @property
    def needles(self) -> t.Dict[str, bytes]:
        """Inverted, so that what the child is told of them is not what it finds."""
        keys = known_keys(self.volume, {0: self.old.value})
        plain = {one.name.partition(" of ")[0]: one.parts[0] for one in (*keys, self.keyfile, self.old)}
        return {name: bytes(byte ^ 0xFF for byte in value) for name, value in plain.items()}

    def case(self, name: str) -> Case:
        return _CASES[name](
            str(self.volume.path),
            {"label": "old", "passphrase": self.old.text},
            {"label": "keyfile", "keyfile": str(self.folder / "keyfile")},
            str(self.folder / "backup"),
        )


_Secret = t.Dict[str, str]


def _keyslots(device: str, entries: t.Sequence[t.Any], *unlock: _Secret, **more: t.Any) -> Case:
    return Case("keyslots", {"device": device, "unlock": list(unlock), "keyslots": list(entries)}, **more)


def _backup(
    device: str, path: str, *unlock: _Secret, state: str = "present", force: bool = False, **more: t.Any
) -> Case:
    task = {"device": device, "path": path, "state": state, "unlock": list(unlock), "force": force}
    return Case("header_backup", task, **more)


def _keyfile(path: str, *old: _Secret, part: t.Optional[int] = None, **more: t.Any) -> Case:
    task = {"path": path, "new_secret": _THIRD, "old_secrets": list(old)}
    limits = {} if part is None else {"keyfile_offset": 0, "keyfile_size": part}
    return Case("keyfile", {**task, **limits}, found=ONLY_KEYFILE, **more)


_THIRD = {"passphrase": "a third"}
_ADD_THIRD = {"new_secret": _THIRD, "pbkdf": CHEAP}
_CASES: t.Dict[str, t.Callable[[str, _Secret, _Secret, str], Case]] = {
    "keyslots": lambda device, old, key, backup: _keyslots(device, [{"new_secret": key}, _ADD_THIRD], old),
    "keyslots in check mode": lambda device, old, key, backup: _keyslots(
        device, [{"state": "absent", "old_secret": key}], old, check=True
    ),
    "keyslots, refused": lambda device, old, key, backup: _keyslots(
        device, [{"state": "absent", "old_secret": one} for one in (old, key)], fails="allow_lockout"
    ),
    "keyslots, a write fails": lambda device, old, key, backup: _keyslots(
        device, [_ADD_THIRD, {"new_secret": key}], old, fails="Input/output error", hurt=hurts.fail_writes
    ),
    "keyslots_info": lambda device, old, key, backup: Case("keyslots_info", {"device": device, "secrets": [old, key]}),
    "keyslots_info, a keyslot cannot be read": lambda device, old, key, backup: Case(
        "keyslots_info",
        {"device": device, "secrets": [old, key]},
        fails="Input/output error",
        hurt=partial(hurts.fail_reads_from, SECOND),
    ),
    "header_backup": lambda device, old, key, backup: _backup(device, backup, old, key, force=True),
    "header_backup, no room for it": lambda device, old, key, backup: _backup(
        device, backup, old, key, fails="No space left", hurt=hurts.fill_file_systems
    ),
    "header_backup, restored": lambda device, old, key, backup: _backup(
        device, backup, old, key, state="restored", force=True
    ),
    "header_backup, not restored": lambda device, old, key, backup: _backup(
        device, backup, old, key, state="restored", fails="force"
    ),
    "audit": lambda device, old, key, backup: Case(
        "audit",
        {
            "device": device,
            "secrets": [old],
            "forbidden_secrets": [key],
            "backups": [backup],
            "policy": {"extends": "legacy"},
        },
    ),
    "audit, a finding fails it": lambda device, old, key, backup: Case(
        "audit", {"device": device, "secrets": [old, key], "backups": [backup], "fail_on": "info"}, fails="finding"
    ),
    "keyfile": lambda device, old, key, backup: _keyfile(key["keyfile"], key, old),
    "keyfile, refused": lambda device, old, key, backup: _keyfile(
        key["keyfile"], old, key, part=32, fails="part of the keyfile"
    ),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("pristine")
    old = canary.passphrase("passphrase", random.Random(os.urandom(8)))
    keyfile = canary.key("keyfile", os.urandom(32))
    (folder / "keyfile").write_bytes(keyfile.value)
    volume = volumes.make(folder / "volume", "luks2", old.value)
    volumes.cryptsetup("luksHeaderBackup", volume.path, f"--header-backup-file={folder / 'backup'}")
    (folder / "old").write_bytes(old.value)
    costs = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
    volumes.cryptsetup("luksAddKey", "-q", *costs, f"--key-file={folder / 'old'}", volume.path, folder / "keyfile")
    assert volumes.place_of(volume, 1) == SECOND
    return Lab(folder, old, keyfile, volume)


@pytest.fixture
def lab(pristine: Lab, tmp_path: pathlib.Path) -> Lab:
    for name in ("volume", "backup", "keyfile"):
        shutil.copy(pristine.folder / name, tmp_path / name)
    return Lab(tmp_path, pristine.old, pristine.keyfile, volumes.Volume(tmp_path / "volume", pristine.volume.format))


# One case shows in the short form that the search finds what is not wiped.
_WIPED = [pytest.param(name, False, id=f"{name}: wiped") for name in _CASES]
_NOT_WIPED = [
    pytest.param(name, True, id=f"{name}: not wiped", marks=[pytest.mark.full] if number else [])
    for number, name in enumerate(_CASES)
]


@pytest.mark.parametrize(("name", "forgetful"), [*_WIPED, *_NOT_WIPED])
def test_what_is_left_in_memory(lab: Lab, name: str, forgetful: bool) -> None:
    """In all writable memory of the process. Ansible keeps the arguments; where nothing is wiped, keys are found."""
    case = lab.case(name)

    hooks = [deed for deed in (case.hurt, hurts.wipe_nothing if forgetful else None) if deed]
    ended = child.run(
        case.module,
        dict(case.task),
        check=case.check,
        hurt=partial(hurts.each_of, hooks),
        afterwards=partial(hurts.search_memory, lab.needles),
    )
    print(f"left in memory: {ended.memory}")
    assert bool(case.fails) == bool(ended.result.get("failed")), ended.said
    assert case.fails in ended.result.get("msg", ""), ended.said
    assert ended.memory.pop("passphrase") >= 1, "the search finds what Ansible keeps"
    assert ended.memory.keys() == LEFT.keys()
    if forgetful:
        assert all(ended.memory[found] > LEFT[found] for found in case.found), ended.memory
    else:
        assert all(count <= LEFT[found] for found, count in ended.memory.items()), ended.memory
