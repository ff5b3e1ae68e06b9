# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of a plan needs the image free, in words. With real daemons: tests/interop/test_live.py."""

from __future__ import annotations

import gzip
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.parsing import parse_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.live_limits import check_live
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind, Plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Binding, Costs, Desired, Entry

FIXTURES = pathlib.Path(__file__).resolve().parents[5] / "fixtures"
RED, GREEN = range(2)
ADD = Action(ActionKind.ADD, 2, "why", label="green", secret=GREEN, entry=0)
REKEY = ADD._replace(kind=ActionKind.REKEY, keyslot=0)
ERASE = Action(ActionKind.ERASE, 1, "why")


def header(name: str = "luks1.img") -> model.Header:
    content = gzip.decompress((FIXTURES / f"{name}.gz").read_bytes())
    return parse_header(lambda offset, length: content[offset : offset + length], len(content))


def desired(**entry: t.Any) -> Desired:
    return Desired(entries=(Entry(0, "present", new_secret=GREEN, **entry),), unlock=(RED,), labels=("red", "green"))


def refusal(
    *actions: Action,
    of: t.Optional[model.Header] = None,
    unusable: t.Optional[t.Mapping[int, str]] = None,
    openers: t.Collection[int] = (RED,),
    **entry: t.Any,
) -> str:
    """ "" if all of it can be done."""
    try:
        check_live(Plan(actions), of or header(), desired(**entry), unusable or {}, openers)
    except Refused as error:
        assert "Nothing was changed." in str(error) and "image is free" in error.remedy
        return error.found.replace(" cannot be made while QEMU has the image open", "")
    return ""


def test_what_qemu_can_do() -> None:
    finish = Action(ActionKind.FINISH_ERASE, 2, "why", resume=True)
    assert refusal(finish, ERASE, ADD, REKEY, iter_time=100) == ""
    # A secret that opens nothing here is none of QEMU's business, and an erase needs no secret.
    assert refusal(ERASE, unusable={RED: "is not UTF-8"}, openers=()) == ""
    assert refusal(ADD, unusable={RED: "is not UTF-8"}, openers=(RED, GREEN)) == ""


@pytest.mark.parametrize(
    ("found", "how"),
    [
        ("a change of a LUKS2 volume", {"of": header("luks2.img")}),
        (
            "the end of what an interrupted run began",
            {"of": header().with_intent(model.Intent(model.IntentKind.ERASE, 1))},
        ),
        ("pbkdf.iterations of keyslots[0]", {"costs": Costs(iterations=1000)}),
        ("a keyslot for green", {"unusable": {GREEN: "contains a NUL byte"}}),
        ("a new keyslot", {"openers": ()}),
        ("a binding (keyslots[0])", {"binding": Binding("clevis", pin="tang")}),
        ("a new keyslot", {"unusable": {RED: "is not UTF-8"}}),
    ],
)
def test_what_needs_the_image_free(found: str, how: t.Any) -> None:
    assert refusal(ADD, **how) == found


@pytest.mark.parametrize(
    ("found", "action"),
    [
        ("a new secret in keyslot 0", REKEY._replace(in_place=True)),
        ("a copy of the header in backup_dir", Action(ActionKind.COPY_HEADER, None, "why")),
        ("set-priority of keyslot 1", Action(ActionKind.SET_PRIORITY, 1, "why", priority="ignore")),
    ],
)
def test_actions_that_qemu_does_not_know(found: str, action: Action) -> None:
    assert refusal(action) == found


class Noted:
    """A header with an entry of luksmeta for keyslot 1."""

    def __init__(self) -> None:
        self.real = header()
        self.tokens = (model.Token(1, "clevis", (1,)),)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.real, name)


def test_luksmeta_is_nothing_that_qemu_would_clear() -> None:
    noted = t.cast(model.Header, Noted())
    assert refusal(ERASE, of=noted) == "the entry of luksmeta for keyslot 1"
    assert refusal(REKEY._replace(keyslot=1, overwrites=True), of=noted) == "the entry of luksmeta for keyslot 1"
    assert refusal(REKEY, ADD, of=noted) == ""
