# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose answer says two things at once, is about another volume, or is nonsense in one place, in the middle of a
rotation: nothing is promoted, erased or called done by its word, and no text of it reaches a terminal as it is.
"""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import answers
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.machine import TAKEN_UP
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import HostError
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    FakeHost,
    FakeStore,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (
    OTHER,
    disk,
    one_of,
    options,
)

Edit = t.Callable[[t.Dict[str, t.Any]], t.Any]
DONE = "the host says that it is done, and "


class Edits(FakeHost):
    """Gives every volume of its answers to ``step`` to ``edit``; idle: it only says that it did the step."""

    def __init__(self, disks: t.Any, step: str, edit: t.Optional[Edit] = None, *, idle: bool = False) -> None:
        super().__init__(disks)
        self.edited, self.edit, self.idle = step, edit, idle

    def _change(self, asked: t.Any, work: t.Any) -> t.Any:
        if not (self.idle and asked["step"] == self.edited):
            return super()._change(asked, work)
        table = self.disks[work["device"]].table(work)
        return {"device": work["device"], "phase": asked["step"], "changed": True, "plan": [], "keyslots": table}

    def _step(self, asked: t.Any) -> t.Any:
        answer = super()._step(asked)
        if asked["step"] == self.edited and self.edit:
            for volume in answer["volumes"]:
                self.edit(volume)
        return answer


def test_an_add_that_its_own_table_does_not_show() -> None:
    one, store = disk(), FakeStore()
    found = one_of(rotate(options(), Edits({"/dev/a": one}, "add", idle=True), store)[0])
    assert (found.state, found.failed_at) == ("partial", "add") and found.msg.endswith(TAKEN_UP)
    assert f"{DONE}names no keyslot that rotation {store.entry()['next']['id']} opens" in found.msg
    assert one.slots == disk().slots and store.entry()["current"] is None
    assert one_of(rotate(options(), FakeHost({"/dev/a": one}), store)[0]).state == "done"


def test_an_erase_that_its_own_table_does_not_show() -> None:
    one, store = disk(), FakeStore()
    found = one_of(rotate(options(), Edits({"/dev/a": one}, "erase", idle=True), store)[0])
    assert (found.state, found.failed_at, found.closed) == ("partial", "erase", [])
    assert f"{DONE}that leaked still opens keyslot 0" in found.msg
    again = one_of(rotate(options(), FakeHost({"/dev/a": one}), store)[0])
    assert (again.state, again.closed) == ("done", ["leaked"]) and 0 not in one.slots


@pytest.mark.parametrize(("step", "promoted"), [("add", False), ("erase", True)])
@pytest.mark.parametrize("table", [None, [], "all", [{"keyslot": 2, "opened_by": "rotation"}]])
def test_a_step_that_names_nothing_that_opens(step: str, promoted: bool, table: t.Any) -> None:
    store = FakeStore()
    host = Edits({"/dev/a": disk()}, step, lambda volume: volume.update(keyslots=table))
    found = one_of(rotate(options(), host, store)[0])
    assert found.state == "partial" and f"{DONE}names no keyslot that rotation " in found.msg
    assert (store.entry()["current"] is not None) is promoted


@pytest.mark.parametrize("step", ["add", "erase"])
def test_an_answer_about_another_volume(step: str) -> None:
    """The answers of two volumes, exchanged: what is refused on one would be done on the other."""

    class Exchanges(FakeHost):
        def _step(self, asked: t.Any) -> t.Any:
            answer = super()._step(asked)
            return {**answer, "volumes": answer["volumes"][:: -1 if asked["step"] == step else 1]}

    disks, store = {"/dev/a": disk(), "/dev/b": disk(uuid=OTHER)}, FakeStore()
    for volume in rotate(options(), Exchanges(disks), store)[0].volumes:
        assert (volume.state, volume.failed_at) == ("partial", step)
        assert "the host answered about another volume than it was asked about" in volume.msg


JUNK: t.Sequence[t.Any] = (
    *(None, 7, -1, True, 1.5, "text", "\x1b[2J\u202e", [], {}, [[[]]], [{}], {"a": {"b": [1]}}),
    [{"keyslot": True, "opened_by": 7}],
    [{"keyslot": -5, "label": {}, "opened_by": [{}]}],
    [{"keyslot": 10**400, "action": "add", "label": "x"}],
    [{"action": "add", "keyslot": [1], "label": {}}],
    [{"action": {}, "keyslot": {}, "reason": [1]}],
    {"plan": [{"action": "add", "keyslot": {}}], "keyslots": [{"keyslot": 1, "opened_by": [[]]}], "diff": [7]},
)
FIELDS = {
    "look": "backup cipher container crypttab failed free_keyslots header key_size keyfiles keyslots label msg phase "
    "plan planned record slot_count type unknown uuid",
    "add": "changed diff failed keyfiles keyslots msg phase plan",
    "erase": "changed diff failed keyfiles keyslots msg phase plan",
}


@pytest.mark.parametrize(("step", "field"), [(step, field) for step in FIELDS for field in FIELDS[step].split()])
def test_nonsense_in_one_place_refuses_at_most_its_volume(step: str, field: str) -> None:
    for junk in JUNK:
        one, store = disk(), FakeStore()

        def spoil(volume: t.Dict[str, t.Any], junk: t.Any = junk) -> None:
            volume[field] = copy.deepcopy(junk)

        rotation, _heard = rotate(options(unknown="erase"), Edits({"/dev/a": one}, step, spoil), store)
        assert one_of(rotation).ended, junk
        kept = [store.entry()[name] or {} for name in ("next", "current")] if store.held else []
        known = {"winter-2025", *(secret.get("passphrase") for secret in kept)}
        assert known & {*one.slots.values()}, "a secret that somebody has opens it"


@pytest.mark.parametrize("field", FIELDS["look"].split())
def test_nonsense_at_rest(field: str) -> None:
    one, store = disk(), FakeStore()
    rotate(options(), FakeHost({"/dev/a": one}), store)
    held, slots = copy.deepcopy(store.held), dict(one.slots)
    for junk in JUNK:

        def spoil(volume: t.Dict[str, t.Any], junk: t.Any = junk) -> None:
            volume[field] = copy.deepcopy(junk)

        assert one_of(rotate(options(), Edits({"/dev/a": one}, "look", spoil), store)[0]).ended, junk
        store.held, one.slots = copy.deepcopy(held), dict(slots)


def test_what_a_host_says_is_cut_and_is_text() -> None:
    """Ansible shows the diff as it is, and the result with -v; a text of 100 MB would be in each report."""
    evil = "\x1b[2J\u202e\x9b" + "x" * 1_000_000
    rows = [{"keyslot": 1, "action": evil, "label": evil, "reason": evil, "more": evil, "opened_by": []}] * 5_000
    diff = {"before": f"{evil}\n" * 3, "after": "fine\nlines\n", "before_header": evil, "prepared": evil}
    volume = {"device": "/dev/a", "plan": rows, "keyslots": rows, "diff": diff, "msg": evil, "failed": True}
    (done,) = answers.done({"volumes": [volume]}, 1)
    assert len(done.actions) == 1_000 == len(done.table or ()) and len(done.refused) < 20_000
    assert all(set(one) == {"action", "keyslot", "label", "reason"} for one in done.actions)
    assert all(str(one[name]).isprintable() and len(str(one[name])) < 2_000 for one in done.actions for name in one)
    assert set(done.diff) == {"before", "after", "before_header", "after_header"}
    assert done.diff["after"] == "fine\nlines\n" and len(done.diff["before"]) < 20_000
    assert all(line.isprintable() for side in done.diff.values() for line in side.split("\n"))
    (seen,) = answers.seen(
        {"volumes": [{**volume, "label": evil, "cipher": evil, "plan": {"plan": rows, "diff": diff}}]}
    )
    assert len(seen.label) < 20_000 > len(seen.cipher) and seen.planned and seen.planned.diff == done.diff


def test_a_diff_that_is_none() -> None:
    for diff in (None, 7, "text", [7]):
        assert answers.done({"volumes": [{"device": "/dev/a", "diff": diff}]}, 1)[0].diff is None


def test_nesting_is_no_answer() -> None:
    """Deeper than Python reads JSON: Ansible refuses such a result itself; what it lets through is dropped here."""
    deep: t.Any = []
    for _level in range(50_000):
        deep = [deep]
    (seen,) = answers.seen({"volumes": [{"device": "/dev/a", "label": deep, "record": [{"keyslot": 1, "x": deep}]}]})
    assert seen.label == "" and seen.record == []
    with pytest.raises(HostError):
        answers.seen({"volumes": deep})
