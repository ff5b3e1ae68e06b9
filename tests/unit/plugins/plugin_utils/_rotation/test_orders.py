# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module is told to do with a volume, and when nothing is told at all; whole rotations are played in
tests/rotation.
"""

from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.decision import MAKE, REST, TAKE_UP, Decision  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import BadEntry, Entry, Secret, blank  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.orders import orders as _orders  # noqa: E402

BREAK_GLASS = {"label": "break-glass", "passphrase": "in-case-of-fire"}
LEAKED = {"label": "leaked", "passphrase": "winter-2025"}


def secret(identity: str, passphrase: t.Optional[str] = None) -> Secret:
    return {"id": identity, "passphrase": passphrase or f"passphrase of {identity}", "generation": "", "created": ""}


def sealed(identity: str) -> Secret:
    return {"id": identity, "sealed": "an envelope", "generation": "", "created": ""}


def entry(current: t.Optional[Secret] = None, new: t.Optional[Secret] = None, older: t.Sequence[Secret] = ()) -> Entry:
    return {
        **blank("web", "4b543c86-7353-47b9-b355-d0ef03989991", "/dev/sdb"),
        "current": current,
        "next": new,
        "older": list(older),
    }


def orders(
    held: Entry, phase: str, new: Secret, replaces: t.Sequence[t.Dict[str, str]] = (LEAKED,)
) -> t.Dict[str, t.Any]:
    look = {"luks": "luks1", "record": [], "opened": None, "made": []}
    arguments = {"keeps": [BREAK_GLASS], "replaces": list(replaces), **look, "pbkdf": None, "iter_time": None}
    return _orders(held, Decision(phase, "it is time", ""), new, arguments)


def test_the_old_ones_let_in_and_go() -> None:
    told = orders(entry(secret("b"), None, [secret("a")]), MAKE, secret("c"))
    assert [option["passphrase"] for option in told["unlock"]] == [
        "in-case-of-fire",
        "passphrase of b",
        "passphrase of a",
        "winter-2025",
    ]
    assert [one["old_secret"]["passphrase"] for one in told["absent"]] == [
        "passphrase of b",
        "passphrase of a",
        "winter-2025",
    ]
    assert [one["new_secret"]["passphrase"] for one in told["present"]] == ["passphrase of c"]


@pytest.mark.parametrize("phase", [MAKE, TAKE_UP])
@pytest.mark.parametrize("again", ["winter-2025", "passphrase of a", "passphrase of b"])
def test_a_passphrase_that_is_to_go_cannot_be_the_new_one(phase: str, again: str) -> None:
    """The task would ask for it to be there and to be gone."""
    new = secret("c", again)
    with pytest.raises(
        BadEntry, match=r"the new passphrase is the same as '.*', which this rotation removes"
    ) as caught:
        orders(entry(secret("b"), new if phase == TAKE_UP else None, [secret("a")]), phase, new)
    assert again not in str(caught.value)


def test_at_rest_the_current_one_stays_though_it_is_listed_as_replaced() -> None:
    told = orders(entry(secret("b", "winter-2025")), REST, secret("b", "winter-2025"))
    assert (told["absent"], [option["passphrase"] for option in told["unlock"]]) == ([], ["in-case-of-fire"])


@pytest.mark.parametrize(
    ("held", "phase"), [(entry(sealed("b")), MAKE), (entry(sealed("b"), sealed("c")), TAKE_UP)], ids=["make", "take up"]
)
def test_what_is_sealed_cannot_be_used(held: Entry, phase: str) -> None:
    with pytest.raises(BadEntry, match=r"cannot open secret [bc], which is sealed; give it the private key"):
        orders(held, phase, held["next"] or secret("c"))


def test_at_rest_what_is_sealed_is_not_tried() -> None:
    told = orders(entry(sealed("b")), REST, sealed("b"))
    assert told["present"] == [] and "it was not tried" in told["reason"]
    assert [one["old_secret"] for one in told["absent"]] == [LEAKED]


def test_at_rest_what_is_sealed_must_be_named_by_the_volume() -> None:
    """Whoever can write to the store could seal a current secret for the public certificate, and the volume would never
    be rotated.
    """
    arguments = {"keeps": [], "replaces": [], "pbkdf": None, "iter_time": None, "luks": "luks2"}
    rest = Decision(REST, "it is time", "")
    line = {"keyslot": 1, "label": "rotation b", "current": True}
    assert _orders(entry(sealed("b")), rest, sealed("b"), {**arguments, "record": [line]})["phase"] == REST
    for record in ([], [{**line, "current": False}], [{**line, "label": "rotation a"}]):
        with pytest.raises(BadEntry, match="does not name it"):
            _orders(entry(sealed("b")), rest, sealed("b"), {**arguments, "record": record})


def test_a_planted_secret_names_none_for_the_erase_that_is_to_stay() -> None:
    planted = {**secret("x", BREAK_GLASS["passphrase"]), "discarded": True}
    told = orders(entry(secret("b"), None, [planted]), MAKE, secret("c"))
    assert [one["old_secret"]["passphrase"] for one in told["absent"]] == ["passphrase of b", "winter-2025"]


def test_only_what_the_record_names_is_not_tried_at_rest() -> None:
    """And then only in that keyslot, where the module refuses any other secret.

    What this run made for a copy of the volume comes to it.
    """
    usual = {"keeps": [], "replaces": [], "pbkdf": None, "iter_time": None, "luks": "luks2", "opened": None, "made": []}
    line = {"keyslot": 3, "label": "rotation b", "current": True}
    rest = Decision(REST, "it is time", "")

    def asked(**more: t.Any) -> t.Tuple[bool, t.Any]:
        told = _orders(entry(secret("b")), rest, secret("b"), {**usual, "record": [], **more})
        return told["try"], told["present"][0].get("keyslot")

    assert asked() == (True, None)
    assert asked(record=[line]) == (False, 3)
    assert asked(record=[{**line, "current": False}]) == (True, None)
    assert asked(made=["b"]) == (False, None)
    assert asked(opened=[5]) == (False, None)
