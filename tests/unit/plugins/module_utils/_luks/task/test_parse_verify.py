# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification that asserts nothing, or two things that exclude each other, is none."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_verify import parse_verify

RED, GREEN = ({"label": text, "passphrase": text} for text in ("red", "green"))


def verify(**options: t.Any) -> t.Any:
    return parse_verify({"device": "/dev/none", **options})


@pytest.mark.parametrize("options", [{}, {"opens": []}, {"opens": [], "does_not_open": []}])
def test_nothing_is_asked(options: t.Dict[str, t.Any]) -> None:
    with pytest.raises(BadTask, match="The task asks for nothing"):
        verify(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"opens": [RED]},
        {"does_not_open": [RED]},
        {"keyslots": []},
        {"tokens": []},
        {"ignored": []},
        {"same_volume_as": "4b543c86-7353-47b9-b355-d0ef03989991"},
        {"unchanged_since": "/backup"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_one_thing_is_asked(options: t.Dict[str, t.Any]) -> None:
    task = verify(**options)
    task.info.wipe_secrets()
    assert task.assertions == 1


def test_a_secret_cannot_open_and_not_open() -> None:
    with pytest.raises(BadTask, match=" is in opens and in does_not_open"):
        verify(opens=[GREEN, RED], does_not_open=[RED])
