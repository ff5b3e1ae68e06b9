# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has an image open beside the QEMU that is to change it. Its nodes: usecases/test_lying_qemu.py."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import live_image
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.lock_holders import Holder

QEMU, READER = Holder(1, "qemu-system-x86_64", ()), Holder(2, "python3", ())


def check(monkeypatch: pytest.MonkeyPatch, *seen: t.List[Holder], timeout: float) -> int:
    """How many looks it took."""
    looks = list(seen)
    monkeypatch.setattr(live_image, "users_of", lambda volume: looks.pop(0))
    monkeypatch.setattr(live_image, "_PAUSE", 0)
    volume: t.Any = types.SimpleNamespace(path="/image")
    monitor: t.Any = types.SimpleNamespace(pid=QEMU.pid, path="/q")
    live_image.check_holder(volume, monitor, timeout=timeout)
    return len(seen) - len(looks)


def test_who_looks_at_the_image_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, [QEMU, READER], [QEMU, READER], [QEMU], timeout=600) == 3
    assert check(monkeypatch, [QEMU], timeout=0) == 1


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([QEMU, READER], r"in use by pid 2 \(python3\), and the process behind the monitor /q is pid 1"),
        ([READER], r"in use by pid 2 \(python3\), and"),
        ([], "in use by no process any more"),
    ],
)
def test_it_alone_may_have_it_open(monkeypatch: pytest.MonkeyPatch, seen: t.List[Holder], words: str) -> None:
    with pytest.raises(Busy, match=words):
        check(monkeypatch, seen, timeout=0)


def test_a_run_of_ours_is_no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends by itself, and the locks wait for it."""
    for seen, held in (([READER], False), ([], False), ([READER, QEMU], True)):
        monkeypatch.setattr(live_image, "users_of", lambda volume, seen=seen: seen)
        assert live_image.held_by_qemu(t.cast(t.Any, None)) is held


def test_between_two_looks_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: t.List[float] = []
    monkeypatch.setattr(live_image.time, "sleep", paused.append)
    check(monkeypatch, [QEMU, READER], [QEMU, READER], [QEMU], timeout=600)
    assert paused == [0, 0]


def test_a_new_note_takes_the_place_of_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    said: t.List[str] = []
    monkeypatch.setattr(live_image, "remove_objects", lambda _monitor, beginning: said.append(f"-{beginning}"))
    monitor: t.Any = types.SimpleNamespace(add_secret=lambda name, _value: said.append(f"+{name}"))
    live_image.note_move(monitor, "ours-", 0, 2)
    assert [word.replace(live_image._MOVE, "") for word in said] == ["-ours-", "+ours-0-2"]
