# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new keyslot costs: given, else inherited, else calibrated, and never below the policy minimum unless by
name.
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.kdf_policy import (
    MINIMUM_ITERATIONS,
    MINIMUM_MEMORY,
    Precedents,
    choose,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.kdf import Budget
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Kdf, Pbkdf2
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Costs
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.derivations import Measurement

STRONG = Pbkdf2("sha512", 2_000_000, bytes(32))
WEAK = Pbkdf2("sha256", 1000, bytes(32))
HARD = Argon2("argon2id", 5, 1_000_000, 4, bytes(32))
SOFT = Argon2("argon2i", 4, 32, 1, bytes(32))
NOTHING: t.FrozenSet[str] = frozenset()


def costs_of(kdf: Kdf) -> t.Tuple[t.Any, ...]:
    if isinstance(kdf, Pbkdf2):
        return (kdf.type, kdf.hash, kdf.iterations)
    assert isinstance(kdf, Argon2)
    return (kdf.type, kdf.time, kdf.memory, kdf.parallel)


def seen(kdf: Kdf, seconds: float) -> Measurement:
    return Measurement(kdf, 64, seconds)


@pytest.mark.parametrize(
    ("costs", "precedents", "expected", "measured"),
    [
        (Costs(iterations=1000), Precedents(opener=STRONG), ("pbkdf2", "sha512", 1000), NOTHING),
        (Costs(iterations=1000), Precedents(replaced=STRONG), ("pbkdf2", "sha512", 2_000_000), NOTHING),
        (Costs(), Precedents(opener=STRONG), ("pbkdf2", "sha512", 2_000_000), NOTHING),
        (Costs(), Precedents(replaced=WEAK, opener=STRONG), ("pbkdf2", "sha256", 2_000_000), NOTHING),
        (Costs(), Precedents(opener=WEAK), ("pbkdf2", "sha256", MINIMUM_ITERATIONS), NOTHING),
        (Costs(), Precedents(opener=WEAK, measured=seen(WEAK, 0.001)), ("pbkdf2", "sha256", 2_000_000), {"iterations"}),
        (
            Costs(),
            Precedents(opener=WEAK, measured=seen(WEAK, 1.0)),
            ("pbkdf2", "sha256", MINIMUM_ITERATIONS),
            {"iterations"},
        ),
        (
            Costs(type="pbkdf2", hash="sha256", iterations=5000),
            Precedents(replaced=HARD),
            ("pbkdf2", "sha256", 5000),
            NOTHING,
        ),
        (
            Costs(type="argon2id", iterations=None),
            Precedents(only_hash="sha1", opener=STRONG),
            ("pbkdf2", "sha1", 2_000_000),
            NOTHING,
        ),
        (Costs(), Precedents(opener=HARD), ("argon2id", 5, 1_000_000, 4), NOTHING),
        (Costs(time=4, memory=64, parallel=1), Precedents(opener=HARD), ("argon2id", 4, 64, 1), NOTHING),
        (Costs(time=4, memory=64, parallel=1), Precedents(replaced=HARD), ("argon2id", 5, 1_000_000, 4), NOTHING),
        (
            Costs(type="argon2i", time=4, memory=64, parallel=1),
            Precedents(replaced=HARD),
            ("argon2i", 4, 64, 1),
            NOTHING,
        ),
        (Costs(parallel=4), Precedents(opener=SOFT, memory_limit=100_000), ("argon2i", 4, 100_000, 4), {"memory"}),
        (Costs(parallel=4), Precedents(opener=SOFT, memory_limit=1), ("argon2i", 4, MINIMUM_MEMORY, 4), {"memory"}),
        (
            Costs(parallel=1, time=9),
            Precedents(opener=SOFT, memory_limit=1 << 30),
            ("argon2i", 9, 1 << 20, 1),
            {"memory"},
        ),
    ],
)
def test_choice(
    costs: Costs, precedents: Precedents, expected: t.Tuple[t.Any, ...], measured: t.Collection[str]
) -> None:
    choice = choose(costs, None, precedents)
    assert costs_of(choice.kdf) == expected
    assert choice.measured == frozenset(measured)


def test_iter_time_is_calibrated_from_the_derivation_that_opened() -> None:
    choice = choose(Costs(), 500, Precedents(opener=STRONG, measured=seen(STRONG, 0.5)))
    assert costs_of(choice.kdf) == ("pbkdf2", "sha512", 2_000_000)
    assert (
        choose(Costs(), 1, Precedents(opener=STRONG, measured=seen(STRONG, 0.5))).kdf.iterations == MINIMUM_ITERATIONS
    )  # type: ignore[union-attr]


def test_iter_time_of_argon2_spends_memory_first_and_then_passes() -> None:
    measurement = seen(HARD, 2.5)  # 2,000,000 KiB-passes a second
    assert costs_of(choose(Costs(), 2000, Precedents(opener=HARD, measured=measurement)).kdf) == (
        "argon2id",
        4,
        1_000_000,
        4,
    )
    assert costs_of(choose(Costs(), 4000, Precedents(opener=HARD, measured=measurement)).kdf) == (
        "argon2id",
        8,
        1_000_000,
        4,
    )
    assert costs_of(choose(Costs(), 1, Precedents(opener=HARD, measured=measurement)).kdf) == (
        "argon2id",
        4,
        MINIMUM_MEMORY,
        4,
    )


def test_nothing_is_calibrated_beyond_what_the_task_allows() -> None:
    cheap = Budget(max_iterations=700_000, max_time=6, max_work=500_000, max_parallel=2)
    quick = Precedents(opener=WEAK, measured=seen(WEAK, 0.0001), budget=cheap)
    assert costs_of(choose(Costs(), None, quick).kdf) == ("pbkdf2", "sha256", 700_000)
    quick = Precedents(opener=HARD, measured=seen(HARD, 0.01), budget=cheap)
    assert costs_of(choose(Costs(memory=70_000), 2000, quick).kdf) == ("argon2id", 6, 70_000, 4)
    assert costs_of(choose(Costs(memory=100_000), 2000, quick).kdf) == ("argon2id", 5, 100_000, 4)
    least = Precedents(opener=WEAK, measured=seen(WEAK, 0.001), budget=Budget(max_iterations=10))
    assert costs_of(choose(Costs(), None, least).kdf) == ("pbkdf2", "sha256", MINIMUM_ITERATIONS), (
        "never below the policy minimum: that is refused instead"
    )


def test_every_choice_has_its_own_salt() -> None:
    salts = {choose(Costs(), None, Precedents(opener=STRONG)).kdf.salt for _run in range(8)}  # type: ignore[union-attr]
    assert {len(salt) for salt in salts} == {32}
    assert len(salts) == 8
