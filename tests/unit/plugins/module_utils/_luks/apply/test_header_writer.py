# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each write is guarded, durable and read back; the faults of real media are in tests/crash."""

from __future__ import annotations

import gzip
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Write
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume

FIXTURE = pathlib.Path(__file__).parents[5] / "fixtures" / "luks1.img.gz"
PLACE = Write(1024, b"a note of another program")


@pytest.mark.parametrize("lost", [False, True])
def test_what_is_beside_the_header_is_read_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    path = tmp_path / "volume"
    path.write_bytes(gzip.decompress(FIXTURE.read_bytes()))
    with open_volume(str(path), writable=True) as volume:
        writer = HeaderWriter(volume, read_header(volume), wipe_passes=1)
        if not lost:
            writer.write_beside([PLACE], "the note")
            assert path.read_bytes()[PLACE.offset :].startswith(PLACE.data)
            return
        monkeypatch.setattr(volume.region, "write", lambda _offset, _data: None)
        with pytest.raises(StorageFault, match="The note, read back from the medium at byte 1024, is not what was"):
            writer.write_beside([PLACE], "the note")


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> t.Iterator[t.Any]:
    path = tmp_path / "volume"
    path.write_bytes(gzip.decompress(FIXTURE.read_bytes()))
    with open_volume(str(path), writable=True) as opened:
        yield opened


def test_before_and_after_each_write(volume: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: t.List[str] = []

    def noted(owner: t.Any, name: str) -> None:
        right = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given: said.append(name) or right(*given))

    for name in ("check_still_there", "begin_writing"):
        noted(volume, name)
    for name in ("write", "barrier"):
        noted(volume.region, name)
    header = read_header(volume)
    writer = HeaderWriter(volume, header, wipe_passes=3)
    once = ["check_still_there", "write", "barrier"]
    writer.overwrite(header.keyslots[1].area)
    assert said == ["check_still_there", "begin_writing", "write", "barrier", *once, *once]
    del said[:]
    writer.commit(header.without_keyslot(1))
    assert said and said == once * (len(said) // 3)


@pytest.mark.parametrize("step", ["commit", "overwrite"])
def test_a_medium_that_loses_writes(volume: t.Any, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    header = read_header(volume)
    writer = HeaderWriter(volume, header, wipe_passes=1)
    monkeypatch.setattr(volume.region, "write", lambda _offset, _data: None)
    if step == "commit":
        with pytest.raises(StorageFault, match="The header read back from the medium at byte"):
            writer.commit(header.without_keyslot(1))
    else:
        with pytest.raises(StorageFault, match="was overwritten, but other data was read back"):
            writer.overwrite(header.keyslots[1].area)


@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_all_of_the_header_is_read_back_at_the_end(
    tmp_path: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that went wrong elsewhere in the header, too."""
    path = tmp_path / "volume"
    path.write_bytes(gzip.decompress(FIXTURE.with_name(f"{format}.img.gz").read_bytes()))
    with open_volume(str(path), writable=True) as volume:
        header = read_header(volume)
        writer = HeaderWriter(volume, header, wipe_passes=1)
        confirms = len(list(header.without_keyslot(1).commit_writes(header)))
        right = volume.region.confirm

        def confirm(offset: int, *given: t.Any) -> None:
            nonlocal confirms
            right(offset, *given)
            confirms -= 1
            if confirms == 0:
                with path.open("r+b") as stream:
                    stream.seek(30 if format == "luks2" else 900)
                    stream.write(b"?")

        monkeypatch.setattr(volume.region, "confirm", confirm)
        with pytest.raises(StorageFault, match="The header read back from the medium at byte"):
            writer.commit(header.without_keyslot(1))
