# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.decision import (
    MAKE,
    REST,
    TAKE_UP,
    Wanted,
    decide,
)
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import BadEntry, Secret, blank

NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.timezone.utc)


def secret(identity: str, generation: str = "", created: str = "2026-11-14T12:00:00Z") -> Secret:
    return {"id": identity, "passphrase": f"passphrase of {identity}", "generation": generation, "created": created}


def phase(wanted: Wanted, current: t.Optional[Secret] = None, new: t.Optional[Secret] = None) -> t.Tuple[str, bool]:
    """The phase, and whether another rotation follows."""
    entry = {**blank("web-01", "4b543c86-7353-47b9-b355-d0ef03989991", "/dev/sdb"), "current": current, "next": new}
    decision = decide(entry, wanted, NOW)
    assert decision.reason and "passphrase of" not in decision.reason + decision.then
    return decision.phase, bool(decision.then)


@pytest.mark.parametrize(
    ("wanted", "current", "expected"),
    [
        (Wanted(), None, MAKE),
        (Wanted(), secret("a"), REST),
        (Wanted(generation="2026-11"), secret("a", "2026-11"), REST),
        (Wanted(generation="2026-11"), secret("a", "2026-10"), MAKE),
        (Wanted(generation="2026-11"), secret("a"), MAKE),
        (Wanted(max_age=10), secret("a"), REST),
        (Wanted(max_age=9), secret("a"), MAKE),
        (Wanted(max_age=9), secret("a", created=""), MAKE),
        (Wanted(max_age=9), secret("a", created="yesterday"), MAKE),
        (Wanted(passphrase="passphrase of a"), secret("a"), REST),
        (Wanted(passphrase="passphrase of b"), secret("a"), MAKE),
        (Wanted("2026-11", 9, "passphrase of a"), secret("a", "2026-10"), REST),
    ],
)
def test_without_a_staged_secret(wanted: Wanted, current: t.Optional[Secret], expected: str) -> None:
    assert phase(wanted, current) == (expected, False)


def test_a_secret_of_the_future_has_no_age() -> None:
    """The clock of the controller that made it was ahead, or this one is behind."""
    tomorrow, later = "2026-11-25T12:00:00Z", "2026-11-26T12:00:01Z"
    assert phase(Wanted(max_age=9), secret("a", created=tomorrow)) == (REST, False)
    for wanted in (Wanted(), Wanted("2026-11"), Wanted(max_age=9, passphrase="passphrase of a")):
        assert phase(wanted, secret("a", "2026-11", created=later)) == (REST, False)
    with pytest.raises(BadEntry, match=f"secret a was made {later}, which has not come yet by the clock of this"):
        phase(Wanted(max_age=9), secret("a", created=later))
    # The ways out of it: another generation, and a staged secret that is brought to its end.
    assert phase(Wanted("2026-12", 9), secret("a", "2026-11", created=later)) == (MAKE, False)
    assert phase(Wanted(max_age=9), secret("a"), secret("b", created=later)) == (TAKE_UP, False)


@pytest.mark.parametrize(
    ("wanted", "again"),
    [
        (Wanted(), False),
        (Wanted(generation="2026-11"), False),
        (Wanted(generation="2026-12"), True),
        (Wanted(max_age=3), True),
        (Wanted(passphrase="passphrase of b"), False),
        (Wanted(passphrase="passphrase of c"), True),
    ],
)
@pytest.mark.parametrize("current", [None, secret("a", "2026-11")], ids=["first", "later"])
def test_a_staged_secret_is_always_taken_up_first(wanted: Wanted, again: bool, current: t.Optional[Secret]) -> None:
    assert phase(wanted, current, secret("b", "2026-11")) == (TAKE_UP, again)
