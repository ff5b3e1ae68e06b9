# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each vector of the testkit: ours says what is expected; so does cryptsetup, or the vector names the difference.

A tenth of the vectors in the default size, all with ``--size full``.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.testkit import kit, make, peers, table

VECTORS = kit.load()
BLOCKS = 10
# cryptsetup takes these from the kernel, which may not have them (in a container, for example).
OF_THE_KERNEL = ("serpent", "twofish", "camellia")
SELECTION = [pytest.param(n, marks=[] if n == 0 else [pytest.mark.full]) for n in range(BLOCKS)]


def wrong(program: str, say: peers.Say, folder: pathlib.Path, block: int) -> t.List[t.Tuple[str, str, str]]:
    """Vector, expectation and answer, where these differ."""
    found = []
    for vector in list(VECTORS.values())[block::BLOCKS]:
        path = folder / "image"
        vector.write(path)
        expected = vector.peers[program][0] if program in vector.peers else vector.expect
        answer = say(vector, path)
        if answer != expected:
            found.append((vector.name, expected, answer))
    return found


@pytest.mark.parametrize("block", SELECTION)
def test_ours(tmp_path: pathlib.Path, block: int) -> None:
    assert wrong("luksmith", peers.ours, tmp_path, block) == []


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("block", SELECTION)
def test_cryptsetup(tmp_path: pathlib.Path, block: int) -> None:
    found = wrong("cryptsetup", peers.cryptsetup, tmp_path, block)
    assert [one for one in found if not any(cipher in one[0] for cipher in OF_THE_KERNEL)] == []


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
