# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host answers is not believed further than it makes sense."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import answers
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import HostError

ONE = {"device": "/dev/sdb", "changed": False}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({}, "without its volumes"),
        ({"volumes": "all"}, "without its volumes"),
        ({"volumes": [ONE] * 100_000}, "without its volumes"),
        ({"volumes": [ONE, "/dev/sdc"]}, "something else than volumes"),
        ({"volumes": [ONE, {"changed": True}]}, "a volume that is nowhere"),
        ({"volumes": [ONE, {"device": 7}]}, "a volume that is nowhere"),
    ],
)
def test_what_is_no_answer(answer: t.Dict[str, t.Any], says: str) -> None:
    for read in (answers.seen, lambda answer: answers.done(answer, 2)):
        with pytest.raises(HostError, match=says):
            read(answer)


@pytest.mark.parametrize("count", [0, 2])
def test_an_answer_about_others_than_were_asked_about(count: int) -> None:
    assert len(answers.done({"volumes": [ONE]}, 1)) == 1
    with pytest.raises(HostError, match=f"was asked about {count} volumes and answered about 1"):
        answers.done({"volumes": [ONE]}, count)
