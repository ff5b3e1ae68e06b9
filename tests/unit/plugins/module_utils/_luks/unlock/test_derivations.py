# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is derived is wiped when nobody needs it, and what nobody needs is not derived."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError, Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Kdf, Pbkdf2
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import derivations
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.derivations import Derivations

QUICK = Pbkdf2("sha256", 1000, bytes(32))
OTHER = Pbkdf2("sha256", 1001, bytes(32))


class Secret:
    def __init__(self, text: str) -> None:
        self.value = bytearray(text.encode())


class Queue:
    """Workers that do not work; what was asked of them."""

    def __init__(self) -> None:
        self.given_up: t.List[t.Any] = []
        self.jobs: t.List[t.Any] = []

    def submit(self, job: t.Any, **_how: t.Any) -> t.Any:
        self.jobs.append(job)
        return job

    def abandon(self, job: t.Any) -> None:
        self.given_up.append(job)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> t.List[bytearray]:
    """All keys that were derived."""
    found: t.List[bytearray] = []
    right = kdf.derive

    def derive(*arguments: t.Any, **options: t.Any) -> bytearray:
        found.append(right(*arguments, **options))  # pylint: disable=missing-kwoa
        return found[-1]

    monkeypatch.setattr(kdf, "derive", derive)
    return found


def of(*texts: str, workers: t.Any = None) -> Derivations:
    return Derivations([Secret(text) for text in texts], kdf.Budget(), workers)


def test_the_time_of_a_derivation_is_measured_once_and_leaves_no_key(made: t.List[bytearray]) -> None:
    one = of("red")
    assert one.time(QUICK, 32).kdf == one.time(OTHER, 32).kdf == QUICK
    assert one.evaluations == len(made) == 1 and not any(made[0])


def test_another_secret_in_the_place_of_one_derives_anew(made: t.List[bytearray]) -> None:
    one, other = of("red", "green"), Secret("blue")
    red, green = one.derive(0, QUICK, 32), one.derive(1, QUICK, 32)
    one.replace(0, other)
    assert [any(key) for key in made] == [False, True]
    assert one.derive(0, QUICK, 32) != red and one.derive(1, QUICK, 32) == green
    one.close()
    assert not any(other.value) and not any(any(key) for key in made)


def test_what_nobody_needs_is_given_up() -> None:
    queue = Queue()
    one = of("red", workers=queue)
    question: t.Tuple[int, Kdf, int] = (0, QUICK, 32)
    for key in (question, (0, OTHER, 32)):
        one.prepare(key)
    first, second = list(one._under_way.values())
    one.give_up(question)
    one.give_up(question)
    assert queue.given_up == [first]
    one.close()
    assert queue.given_up == [first, second] and not one._under_way


def test_a_second_derivation_is_compared_and_wiped(made: t.List[bytearray], monkeypatch: pytest.MonkeyPatch) -> None:
    one = of("red")
    one.derive(0, QUICK, 32)
    one.confirm([(0, QUICK, 32)])
    assert [any(key) for key in made] == [True, False]
    right = kdf.derive
    monkeypatch.setattr(
        kdf, "derive", lambda *given, **options: made.append(right(*given, **options)) or flipped(made[-1])
    )
    with pytest.raises(Refused, match="Two derivations of the same key gave different results"):
        one.confirm([(0, QUICK, 32)])
    assert not any(made[-1])


def flipped(key: bytearray) -> bytearray:
    key[0] ^= 1
    return key


def test_a_derivation_that_fails_says_so() -> None:
    one = of("red")
    with pytest.raises(LuksmithError):
        one.finish([(0, Pbkdf2("whirlpool-9", 1000, bytes(32)), 32)])


def test_copies_of_secrets_that_are_compared_are_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: t.List[bytes] = []
    monkeypatch.setattr(derivations, "wipe", lambda buffer: wiped.append(bytes(buffer)))
    one = of("red", "red\0", "blue")
    assert one.same_input(0, 1, QUICK) and not one.same_input(0, 2, QUICK)
    assert [copy.rstrip(b"\0") for copy in wiped] == [b"red", b"red", b"red", b"blue"]
