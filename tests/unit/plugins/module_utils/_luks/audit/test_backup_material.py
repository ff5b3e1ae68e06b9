# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A header backup restores a keyslot only if it has the key material of the volume, or a given secret opens it."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.create import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit import remedy_texts
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit import test_rules as rule_cases
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    FIRE,
    WINTER,
    Image,
    audit,
    extended,
    secret,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_host import loop_over

WANTED = extended(require_backup=True)
NEITHER = {"kdf_limits": {"iterations": 1, "memory": 1}}


class Pair(t.NamedTuple):
    image: Image
    backup: Image

    def rules(self, kind: str = "findings", **options: t.Any) -> t.Dict[str, t.Any]:
        given = {"policy": WANTED, "secrets": BOTH, **options}
        found = {one["rule"]: one for one in audit(self.image, backups=[str(self.backup.path)], **given)[kind]}
        return remedy_texts.noted({rule: one for rule, one in found.items() if rule.startswith(("backup", "slot"))})


@pytest.fixture(params=["luks1.img", "luks2.img"])
def pair(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Pair:
    pair = Pair(*(Image(tmp_path / name, request.param) for name in ("volume", "backup")))
    pair.backup.path.write_bytes(pair.image.header())
    return pair


def overwrite(image: Image, keyslot: int, with_what: str) -> None:
    """Its key material; a few of its bytes are enough for no secret to open it."""
    with open_volume(str(image.path), writable=False) as volume:
        area = read_header(volume).keyslots[keyslot].area
    image.patch(area.offset, bytes(area.size) if with_what == "zeros" else os.urandom(512))


@pytest.mark.parametrize("with_what", ["zeros", "noise"])
@remedy_texts.carries(
    ("backup-damaged", "Create a new backup with luksmith.luks.header_backup"), ("backup-missing", "Create one with")
)
def test_one_that_nothing_opens_is_none(pair: Pair, with_what: str) -> None:
    assert not pair.rules() and not pair.rules("unverified")
    for keyslot in (0, 1):
        overwrite(pair.backup, keyslot, with_what)
    found = pair.rules()
    assert set(found) == {"backup-damaged", "backup-missing"}
    assert "proven to restore a keyslot" in found["backup-missing"]["message"]
    assert ("is blank" in found["backup-damaged"]["message"]) == (with_what == "zeros")
    pair.backup.path.write_bytes(pair.image.header())
    assert not pair.rules()


def test_the_volume_itself_and_a_whole_copy_of_it_are_no_backups(
    pair: Pair, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(path: pathlib.Path) -> str:
        result = audit(pair.image, backups=[str(path)], policy=WANTED, secrets=BOTH)
        return str({one["rule"]: one["message"] for one in result["findings"]}.get("backup-missing", ""))

    header = pair.image.header()
    pair.backup.path.write_bytes(header)
    assert says(pair.backup.path) == ""
    pair.backup.path.write_bytes(header + b"x")
    assert f"{pair.backup.path} has {len(header) + 1} bytes" in says(pair.backup.path)
    assert "it is a whole volume" in says(pair.backup.path)
    for name, link in (("symlink", os.symlink), ("hard link", os.link)):
        link(pair.image.path, tmp_path / name)
        assert f"{name} is the volume itself, and is lost with it" in says(tmp_path / name)
    pair.backup.path.write_bytes(header)
    loop_over(monkeypatch, pair.backup.path, pair.image.path)
    assert "is the volume itself" in says(pair.backup.path)


def test_one_keyslot_that_is_damaged_is_told(pair: Pair) -> None:
    overwrite(pair.backup, 1, "noise")
    found = pair.rules()
    assert set(found) == {"backup-damaged"}
    assert "keyslot 1 of the header backup" in found["backup-damaged"]["message"]
    assert set(pair.rules(secrets=[])) == {"backup-damaged"}, "that they differ is seen without any secret"


def test_a_damaged_volume_is_not_blamed_on_the_backup(pair: Pair) -> None:
    overwrite(pair.image, 1, "noise")
    assert set(pair.rules()) == {"slot-unknown"}
    overwrite(pair.image, 0, "noise")
    assert set(pair.rules()) == {"slot-unknown"}


def test_a_forbidden_secret_that_opens_only_the_backup(pair: Pair) -> None:
    overwrite(pair.image, 1, "noise")
    assert "backup-forbidden" in pair.rules(secrets=[secret(WINTER)], forbidden_secrets=[secret(FIRE)])


def test_what_cannot_be_tried_is_not_verified(pair: Pair) -> None:
    assert not [rule for rule in pair.rules(**NEITHER) if rule.startswith("backup")], (
        "the bytes are those of the volume"
    )
    for keyslot in (0, 1):
        overwrite(pair.backup, keyslot, "noise")
    assert not [rule for rule in pair.rules(**NEITHER) if rule.startswith("backup")]
    unverified = set(pair.rules("unverified", **NEITHER))
    assert {"backup-damaged", "backup-missing"} <= unverified and "backup-forbidden" not in unverified
    forbidden = {"secrets": [], "forbidden_secrets": [secret("leaked")], **NEITHER}
    assert "backup-forbidden" in pair.rules("unverified", **forbidden)


def test_one_of_before_a_change_counts_if_a_secret_opens_it(pair: Pair) -> None:
    again = [
        {"old_secret": secret(name), "new_secret": secret(f"{name} anew"), "pbkdf": {"iterations": 1000}}
        if pair.image.at(6, 2) == b"\0\1"
        else {"old_secret": secret(name), "new_secret": secret(f"{name} anew"), "pbkdf": rule_cases.CHEAP}
        for name in (WINTER, FIRE)
    ]
    rule_cases.amend_volume(pair.image, *again)
    new = [secret(f"{name} anew") for name in (WINTER, FIRE)]
    assert "backup-missing" in pair.rules(secrets=new), "nobody knows whether it opens"
    assert "backup-missing" not in pair.rules(secrets=[*new, secret(WINTER)])
    assert {"backup-outdated", "backup-older"} <= set(pair.rules(secrets=new))


def test_one_that_ends_too_early_restores_nothing(pair: Pair) -> None:
    whole = pair.backup.path.read_bytes()
    end = 4096 if pair.image.at(6, 2) == b"\0\1" else 2 * pair.image.hdr_size
    pair.backup.path.write_bytes(whole[:end])
    found = {**pair.rules(), **pair.rules("unverified")}
    assert {"backup-missing", "backup-unreadable"} & set(found), found


@pytest.mark.parametrize("with_what", ["zeros", "noise"])
def test_header_backup_says_what_is_true_of_the_old_one(tmp_path: pathlib.Path, with_what: str) -> None:
    """The volume has the keyslot, and nothing opens the one in the file."""
    image, path = Image(tmp_path / "volume", "luks2.img"), tmp_path / "backup"
    task = {"device": str(image.path), "path": str(path), "force": True}
    create(parse_backup(task), check=False)
    old = Image.__new__(Image)
    old.path = path
    overwrite(old, 1, with_what)
    (said,) = [one for one in create(parse_backup(task), check=True)["warnings"] if "The old backup" in one]
    assert "other key material than the volume for keyslot 1, with the same salt: one of both is damaged" in said
    assert "no longer has" not in said and "still opens" not in said
    rule_cases.amend_volume(image, {"state": "absent", "old_secret": secret(FIRE)})
    (said,) = [one for one in create(parse_backup(task), check=True)["warnings"] if "The old backup" in one]
    assert "still has keyslot 1, which the volume no longer has" in said
