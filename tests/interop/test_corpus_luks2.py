# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The LUKS2 images of the shared corpus: every row has the answer that the manifest expects, and no byte changes.

The corpus is not part of the repository. It is looked for in $LUKSMITH_CORPUS and in shared/corpus beside the repository.
"""

from __future__ import annotations

import csv
import hashlib
import os
import pathlib
import shutil
import tarfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import luks2, parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = pathlib.Path(os.environ.get("LUKSMITH_CORPUS") or ROOT.parent / "shared" / "corpus")
MANIFEST = CORPUS / "manifest.tsv"


def rows() -> t.List[t.Dict[str, str]]:
    if not MANIFEST.exists():
        return []
    with MANIFEST.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["kind"].startswith("luks2")]


ROWS = rows()
pytestmark = pytest.mark.skipif(not ROWS, reason=f"no corpus in {CORPUS} (set LUKSMITH_CORPUS to its folder)")


class Answer(t.NamedTuple):
    header: t.Optional[luks2.Luks2Header]
    error: t.Optional[errors.LuksmithError]
    before: str
    after: str


def sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def ask(path: pathlib.Path) -> Answer:
    before = sha256(path)
    header = error = None
    # Writable on purpose: a codec that repaired while reading would be caught.
    with path.open("r+b") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            data = file.read(length)
            assert len(data) == length, "read behind the end"
            return data

        try:
            found = parse.parse_header(read, path.stat().st_size)
            assert isinstance(found, luks2.Luks2Header)
            header = found
        except errors.LuksmithError as caught:
            error = caught
    return Answer(header, error, before, sha256(path))


@pytest.fixture(scope="module", name="answers")
def fixture_answers(tmp_path_factory: pytest.TempPathFactory) -> t.Dict[str, Answer]:
    """One image on the disk at a time: together they are a gigabyte."""
    wanted = {row["file"] for row in ROWS}
    place = tmp_path_factory.mktemp("corpus") / "image"
    found = {}
    with tarfile.open(CORPUS / "headers.tar.xz") as archive:
        for member in archive:
            if member.name in wanted:
                source = archive.extractfile(member)
                assert source is not None
                with place.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                found[member.name] = ask(place)
    place.unlink()
    return found


def those(*expected: str) -> t.Any:
    chosen = [row for row in ROWS if row["expected"] in expected]
    return pytest.mark.parametrize("row", chosen, ids=[row["file"] for row in chosen])


def test_every_expectation_is_tested() -> None:
    known = {"accept", "accept+open", "accept+open-unbound", "accept-readonly", "refuse", "refuse-until-repair"}
    assert {row["expected"] for row in ROWS} <= known


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_no_byte_changes(row: t.Dict[str, str], answers: t.Dict[str, Answer]) -> None:
    answer = answers[row["file"]]
    assert answer.before == answer.after == row["sha256"]


@those("accept", "accept+open", "accept+open-unbound", "accept-readonly")
def test_a_good_image_is_read(row: t.Dict[str, str], answers: t.Dict[str, Answer]) -> None:
    header = answers[row["file"]].header
    assert header is not None, answers[row["file"]].error
    numbers = set(header.keyslots)
    # The manifest's list was cut out of luksDump's text, where tokens are numbered in the same way (both images of "reqs/").
    if row["file"].startswith("reqs/"):
        numbers |= {token.number for token in header.tokens}
    assert ",".join(map(str, sorted(numbers))) == row["active_slots"]
    assert (header.write_obstacle is not None) is (row["expected"] == "accept-readonly")
    damaged = any(word in row["file"] for word in ("hdr0", "-secondary"))
    assert (header.health["primary"] != "ok") is damaged
    for opened in filter(None, row["opened_by_slot"].split(";")):
        assert int(opened.rpartition("slot")[2]) in header.keyslots
    if header.write_obstacle is None:
        # One image has a full JSON area: even there, a heal must be possible.
        assert header.after_commit(header).health == {"primary": "ok", "secondary": "ok"}
        assert len(header.commit_writes(header)) == 4


@those("accept+open-unbound")
def test_unbound_slots_are_told_from_bound_ones(row: t.Dict[str, str], answers: t.Dict[str, Answer]) -> None:
    header = answers[row["file"]].header
    assert header is not None
    assert {number: slot.bound for number, slot in header.keyslots.items()} == {0: True, 1: False}


@those("refuse", "refuse-until-repair")
def test_a_bad_image_is_refused_with_a_sentence(row: t.Dict[str, str], answers: t.Dict[str, Answer]) -> None:
    answer = answers[row["file"]]
    assert answer.header is None
    assert isinstance(answer.error, errors.Refused if row["expected"] == "refuse-until-repair" else errors.MalformedHeader)
    assert answer.error.found and answer.error.why and answer.error.remedy
