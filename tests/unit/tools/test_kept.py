# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests keep from one run to the next, by what it depends on."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests import kept


@pytest.fixture
def checkout(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[pathlib.Path]:
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    monkeypatch.setattr(kept, "CACHE", tmp_path / "cache")
    (tmp_path / "code" / "inner").mkdir(parents=True)
    (tmp_path / "code" / "inner" / "a.py").write_text("one")
    kept.sources.cache_clear()
    kept._place.cache_clear()
    yield tmp_path
    kept.sources.cache_clear()
    kept._place.cache_clear()


def sources() -> str:
    kept.sources.cache_clear()
    return kept.sources("code")


def test_every_change_of_a_source_counts(checkout: pathlib.Path) -> None:
    seen = [sources()]
    (checkout / "code" / "inner" / "a.py").write_text("two")
    seen.append(sources())
    (checkout / "code" / "b.py").write_text("")
    seen.append(sources())
    (checkout / "code" / "b.py").rename(checkout / "code" / "c.py")
    seen.append(sources())
    assert len(set(seen)) == len(seen)


def test_bytecode_that_another_process_writes_is_not_read(
    checkout: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python writes it under a name that is gone a moment later, perhaps between a look at the folder and a read."""
    before, read_bytes = sources(), pathlib.Path.read_bytes
    folder = checkout / "code" / "inner" / "__pycache__"
    folder.mkdir()
    (folder / "a.pyc.1234").write_bytes(b"compiled")

    def gone(path: pathlib.Path) -> bytes:
        if "__pycache__" in path.parts:
            raise FileNotFoundError(path)
        return read_bytes(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", gone)
    assert sources() == before


def test_a_value_is_made_once(checkout: pathlib.Path) -> None:
    made: t.List[int] = []

    def make() -> bytes:
        made.append(1)
        return b"made"

    assert [kept.value(["a", sources()], make) for _time in range(3)] == [b"made"] * 3
    assert len(made) == 1
    (checkout / "code" / "inner" / "a.py").write_text("two")
    kept.value(["a", sources()], make)
    assert len(made) == 2
