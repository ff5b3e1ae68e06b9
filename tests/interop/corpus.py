# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared corpus of LUKS images, not in the repository but in $LUKSMITH_CORPUS or in shared/corpus beside it.

Unpacked once and kept with holes where an image has zeros: a gigabyte that takes a few megabytes.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import os
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests import kept

Row = t.Dict[str, str]

CORPUS = pathlib.Path(
    os.environ.get("LUKSMITH_CORPUS") or pathlib.Path(__file__).resolve().parents[3] / "shared" / "corpus"
)
BLOCK = 1 << 16

needs_corpus = pytest.mark.needs("corpus")


def rows(kind: str = "") -> t.List[Row]:
    """Of the manifest; none where there is no corpus."""
    manifest = CORPUS / "manifest.tsv"
    if not manifest.exists():
        return []
    with manifest.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["kind"].startswith(kind)]


def each(chosen: t.Sequence[Row]) -> pytest.MarkDecorator:
    """A test for each of these rows. The short form has the first of each kind and expectation."""
    first: t.Set[t.Tuple[str, str]] = set()
    cases = []
    for row in chosen:
        what = row["kind"], row["expected"]
        cases.append(pytest.param(row, id=row["file"], marks=pytest.mark.full if what in first else ()))
        first.add(what)
    return pytest.mark.parametrize("row", cases or [pytest.param({}, id="no corpus")])


def image(name: str) -> pathlib.Path:
    """Of the manifest's column "file". Not to be written to."""
    archive = CORPUS / "headers.tar.xz"
    return kept.folder(["corpus", hashlib.sha256(archive.read_bytes()).hexdigest()], _unpack) / name


def _unpack(folder: pathlib.Path) -> None:
    wanted = {row["file"] for row in rows()}
    with tarfile.open(CORPUS / "headers.tar.xz") as archive:
        for member in archive:
            if member.name not in wanted:
                continue
            source = archive.extractfile(member)
            assert source is not None
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                for block in iter(functools.partial(source.read, BLOCK), b""):
                    if block.count(0) == len(block):
                        file.seek(len(block), os.SEEK_CUR)
                    else:
                        file.write(block)
                file.truncate(member.size)


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
