# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each vector of the testkit: every program says what is expected, or the vector names the difference.

A tenth of the vectors in the default size, all with ``--size full``.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.testkit import kit, make, peers, table

VECTORS = kit.load()
BLOCKS = 10
SELECTION = [pytest.param(n, marks=[] if n == 0 else [pytest.mark.full]) for n in range(BLOCKS)]


def wrong(program: str, folder: pathlib.Path, block: int) -> t.List[t.Tuple[str, str, str]]:
    """Vector, what was to be said, and the answer, where these differ."""
    asked = [vector for vector in VECTORS.values() if peers.PEERS[program].asked(vector)]
    found = [(one.name, peers.difference(one, program, peers.Files.of(one, folder))) for one in asked[block::BLOCKS]]
    return [(name, *answer) for name, answer in found if answer]


@pytest.mark.parametrize("block", SELECTION)
def test_ours(tmp_path: pathlib.Path, block: int) -> None:
    assert wrong("luksmith", tmp_path, block) == []


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("block", SELECTION)
def test_cryptsetup(tmp_path: pathlib.Path, block: int) -> None:
    assert wrong("cryptsetup", tmp_path, block) == []


@pytest.mark.needs("qemu-io")
@pytest.mark.parametrize("block", SELECTION)
def test_qemu(tmp_path: pathlib.Path, block: int) -> None:
    assert wrong("qemu-io", tmp_path, block) == []


@pytest.mark.needs("luksmeta")
@pytest.mark.parametrize("block", SELECTION)
def test_luksmeta(tmp_path: pathlib.Path, block: int) -> None:
    assert wrong("luksmeta", tmp_path, block) == []


def test_there_are_enough() -> None:
    assert len(VECTORS) >= 300


def test_the_page_has_the_table() -> None:
    page = pathlib.Path(__file__).parents[2] / "docs" / "testkit.md"
    assert table.table(VECTORS) in page.read_text(encoding="utf-8")


@pytest.mark.full
def test_the_generator_writes_the_same_vectors_again(tmp_path: pathlib.Path) -> None:
    make.main(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in kit.VECTORS.glob("*.txt")
    }
