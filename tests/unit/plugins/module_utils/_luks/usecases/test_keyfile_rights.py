# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode and the run need the same of the system: a keyfile is replaced by a rename, which is a right of its
folder.
"""

from __future__ import annotations

import errno
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.keyfile import update_keyfile

CHANGED = {"changed": True, "holds": "new"}
BOTH = pytest.mark.parametrize("check", [True, False])


@pytest.fixture
def keyfile(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    path = tmp_path / "keys" / "data.key"
    path.parent.mkdir(0o700)
    path.write_bytes(b"old")
    path.chmod(0o400)
    yield path
    path.parent.chmod(0o700)


def give(path: pathlib.Path, check: bool) -> t.Dict[str, t.Any]:
    new, old = {"passphrase": "new"}, {"passphrase": "old"}
    return update_keyfile(
        {"path": str(path), "new_secret": new, "old_secrets": [old], "keyfile_offset": None, "keyfile_size": None},
        check=check,
    )


def test_its_owner_needs_no_right_to_write_to_it(keyfile: pathlib.Path) -> None:
    """0400 is the mode that this module itself gives to keyfiles."""
    with keyfile.open("rb") as old:
        assert give(keyfile, check=True)["changed"] is True
        assert give(keyfile, check=False) == CHANGED
        assert old.read() != b"old", "the blocks of the old secret are overwritten all the same"
    assert keyfile.read_bytes() == b"new" and stat.S_IMODE(keyfile.stat().st_mode) == 0o400


@BOTH
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(keyfile: pathlib.Path, check: bool) -> None:
    """Though the file itself may be written to."""
    keyfile.chmod(0o600)
    keyfile.parent.chmod(0o500)
    with pytest.raises(
        StorageFault,
        match=r"cannot be replaced: cannot write to its directory .*EACCES.*It still contains the old secret\.",
    ):
        give(keyfile, check)
    assert keyfile.read_bytes() == b"old"


@BOTH
def test_the_folder_is_what_is_asked_for(keyfile: pathlib.Path, check: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    right, asked = os.access, []

    def access(path: str, mode: int, **how: t.Any) -> bool:
        asked.append(path)
        return path != str(keyfile.parent) and right(path, mode, **how)

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(StorageFault, match="cannot write to its directory"):
        give(keyfile, check)
    assert asked == [str(keyfile.parent)] and keyfile.read_bytes() == b"old"


@BOTH
def test_a_keyfile_of_somebody_else_is_not_taken_over(
    keyfile: pathlib.Path, check: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of ours the rename would succeed, and the new file would be ours: its owner could not read it any
    more.
    """
    monkeypatch.setattr(os, "geteuid", lambda: keyfile.stat().st_uid + 1)
    keyfile.parent.chmod(0o777)
    with pytest.raises(StorageFault, match="cannot give the new file the owner"):
        give(keyfile, check)
    assert keyfile.read_bytes() == b"old"


def test_a_fault_after_the_rename_does_not_speak_of_the_old_secret(
    keyfile: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        right(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with keyfile.open("rb") as old:
        with pytest.raises(
            StorageFault,
            match=r"EIO.*It contains the new secret, but after a power cut it may contain the old one again\.",
        ) as caught:
            give(keyfile, check=False)
        assert old.read() == b"old", "it may still be needed"
    assert caught.value.after_change is True and keyfile.read_bytes() == b"new"
