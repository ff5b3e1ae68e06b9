# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The LUKS1 images of the shared corpus: what is to be accepted is read to the byte, what is evil is refused.

The corpus is not part of the repository. It is looked for in $LUKSMITH_CORPUS and in shared/corpus beside the repository.
"""

from __future__ import annotations

import csv
import os
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import luks1, parse
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = pathlib.Path(os.environ.get("LUKSMITH_CORPUS") or ROOT.parent / "shared" / "corpus")
MANIFEST = CORPUS / "manifest.tsv"
# Nothing that a LUKS1 codec reads lies behind this.
HEAD = 2 << 20


def rows() -> t.List[t.Dict[str, str]]:
    if not MANIFEST.exists():
        return []
    with MANIFEST.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["kind"].startswith("luks1")]


ROWS = rows()
pytestmark = pytest.mark.skipif(not ROWS, reason=f"no corpus in {CORPUS} (set LUKSMITH_CORPUS to its folder)")


@pytest.fixture(scope="module", name="heads")
def fixture_heads() -> t.Dict[str, bytes]:
    wanted = {row["file"] for row in ROWS}
    found = {}
    with tarfile.open(CORPUS / "headers.tar.xz") as archive:
        for member in archive:
            if member.name in wanted:
                file = archive.extractfile(member)
                assert file is not None
                found[member.name] = file.read(HEAD)
    return found


def read(row: t.Mapping[str, str], heads: t.Mapping[str, bytes]) -> luks1.Luks1Header:
    header = parse.parse_header(image.reader(heads[row["file"]]), int(row["size"]))
    assert isinstance(header, luks1.Luks1Header)
    return header


def those(*expected: str) -> t.Any:
    chosen = [row for row in ROWS if row["expected"] in expected]
    return pytest.mark.parametrize("row", chosen, ids=[row["file"] for row in chosen])


@those("accept", "accept+open")
def test_a_good_image_is_read_to_the_byte(row: t.Dict[str, str], heads: t.Dict[str, bytes]) -> None:
    header = read(row, heads)
    assert header.image() == (heads[row["file"]][:1024],)
    assert ",".join(map(str, header.keyslots)) == row["active_slots"]
    assert header.write_obstacle is None
    assert header.intent is None
    assert header.extent <= int(row["size"])
    for number, slot in header.keyslots.items():
        assert header.with_keyslot(number, slot.kdf, slot.area).image() == header.image()


@those("refuse")
def test_an_evil_image_is_refused(row: t.Dict[str, str], heads: t.Dict[str, bytes]) -> None:
    with pytest.raises(errors.MalformedHeader, match="Nothing was changed"):
        read(row, heads)


@those("aux")
def test_the_files_of_an_interrupted_reencryption(row: t.Dict[str, str], heads: t.Dict[str, bytes]) -> None:
    """The new header is an ordinary detached one with a null cipher; the log is no LUKS."""
    if row["file"].endswith(".log"):
        with pytest.raises(errors.NotLuks):
            read(row, heads)
    else:
        assert ",".join(map(str, read(row, heads).keyslots)) == row["active_slots"]


def test_old_layouts_are_told_from_new_ones(heads: t.Dict[str, bytes]) -> None:
    oldest = [row for row in ROWS if "unaligned keyslots" in row["note"]]
    assert oldest
    for row in oldest:
        header = read(row, heads)
        assert header.keyslots[0].area.offset == 1024
        assert "below sector 8" in " ".join(header.warnings)
