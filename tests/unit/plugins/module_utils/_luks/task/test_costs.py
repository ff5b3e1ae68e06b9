# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of pbkdf and iter_time no volume could hold."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import costs as task_costs
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Costs


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (None, Costs()),
        ({}, Costs()),
        ({"type": None, "iterations": None}, Costs()),
        ({"type": "argon2i"}, Costs(type="argon2i")),
        ({"iterations": 1000}, Costs(type="pbkdf2", iterations=1000)),
        ({"hash": "SHA512"}, Costs(type="pbkdf2", hash="sha512")),
        ({"iterations": 2**31 - 1, "hash": "sha3-256"}, Costs(type="pbkdf2", hash="sha3-256", iterations=2**31 - 1)),
        ({"memory": 32}, Costs(type="argon2id", memory=32)),
        (
            {"type": "argon2i", "time": 4, "memory": 4194304, "parallel": 4},
            Costs(type="argon2i", time=4, memory=4194304, parallel=4),
        ),
    ],
)
def test_costs(params: t.Optional[t.Dict[str, t.Any]], expected: Costs) -> None:
    assert task_costs.parse_costs(params, "keyslots[0]") == expected


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ("fast", "pbkdf is not a dictionary"),
        ({"type": "scrypt"}, "pbkdf.type is 'scrypt'"),
        ({"hash": "sha 256"}, "pbkdf.hash"),
        ({"hash": 256}, "pbkdf.hash"),
        ({"iterations": 999}, "pbkdf.iterations is 999"),
        ({"iterations": 0}, "pbkdf.iterations is 0"),
        ({"iterations": 2**31}, "pbkdf.iterations"),
        ({"time": 3}, "pbkdf.time is 3"),
        ({"memory": 31}, "pbkdf.memory is 31"),
        ({"memory": 4194305}, "pbkdf.memory"),
        ({"parallel": 0}, "pbkdf.parallel is 0"),
        ({"parallel": 5}, "pbkdf.parallel is 5"),
        ({"parallel": True}, "pbkdf.parallel is True"),
        ({"parallel": 2.0}, "pbkdf.parallel is 2.0"),
        ({"type": "argon2id", "iterations": 1000}, "pbkdf.iterations is given with type argon2id"),
        ({"type": "argon2i", "hash": "sha256"}, "pbkdf.hash is given with type argon2i"),
        ({"type": "pbkdf2", "memory": 1024}, "pbkdf.memory is given with type pbkdf2"),
        ({"iterations": 1000, "memory": 1024}, "pbkdf.iterations and pbkdf.memory"),
    ],
)
def test_refusals(params: t.Any, part: str) -> None:
    with pytest.raises(BadTask) as caught:
        task_costs.parse_costs(params, "keyslots[7]")
    assert caught.value.found.startswith("keyslots[7]")
    assert part in caught.value.found
    assert caught.value.remedy


def test_memory_is_enough_for_every_lane() -> None:
    assert task_costs.parse_costs({"memory": 32, "parallel": 4}, "x").memory == 32
    assert task_costs.BOUNDS["memory"][0] >= 8 * task_costs.BOUNDS["parallel"][1]


@pytest.mark.parametrize("value", [0, -1, True, 1.5, 2**32])
def test_iter_time_counts_milliseconds(value: t.Any) -> None:
    with pytest.raises(BadTask, match="iter_time"):
        task_costs.parse_iter_time(value, Costs(), "keyslots[0]")
    assert task_costs.parse_iter_time(1, Costs(memory=64), "keyslots[0]") == 1


@pytest.mark.parametrize("costs", [Costs(iterations=1000), Costs(time=4)])
def test_iter_time_measures_nothing_that_is_given(costs: Costs) -> None:
    assert task_costs.parse_iter_time(None, costs, "keyslots[0]") is None
    with pytest.raises(BadTask, match="iter_time and pbkdf"):
        task_costs.parse_iter_time(2000, costs, "keyslots[0]")
