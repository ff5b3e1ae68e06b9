# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sentence refuses what. Whether a plan may be refused at all is judged in tests/property."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.planner import make_plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Situation, SlotView, WayBack
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Costs, Desired, Entry
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.verdict import Verdict

AREA = 258048
LABELS = ("red", "green", "blue")
RED, GREEN, BLUE = range(3)
UNTRIABLE = -1


class Told:
    """Proofs from a table: keyslot -> the secret that opens it, None for nobody's, UNTRIABLE for what cannot be tried
    here.
    """

    def __init__(self, opens: t.Mapping[int, t.Optional[int]]) -> None:
        self.opens = opens

    def verdict(self, secret: int, keyslot: int) -> Verdict:
        if self.opens[keyslot] == UNTRIABLE:
            return Verdict.UNTRIED
        return Verdict.OPENS if self.opens[keyslot] == secret else Verdict.CLOSED

    def opens_unbound(self, secret: int, keyslot: int) -> bool:
        return False

    def why_untried(self, keyslot: int) -> str:
        return "unsupported cipher 'serpent'" if self.opens[keyslot] == UNTRIABLE else ""

    def hint(self, secret: int) -> t.Optional[int]:
        return None

    def token_failures(self) -> t.List[str]:
        return []

    def expect(self, questions: t.Iterable[t.Tuple[int, int]]) -> None:
        pass

    def expect_search(self, secret: int, keyslots: t.Sequence[int], *, in_vain: bool = False) -> None:
        pass


def situation(
    opens: t.Mapping[int, t.Optional[int]], *, luks1: bool, intent: t.Optional[model.Intent] = None
) -> Situation:
    kdf: model.Kdf = (
        model.Pbkdf2("sha256", 1000, bytes(32)) if luks1 else model.Argon2("argon2id", 4, 65536, 1, bytes(32))
    )
    count = 8 if luks1 else 32
    places = {number: model.Extent(AREA * (number + 1), AREA) for number in range(count)}
    taken = {number: places[number] for number in opens}
    layout = (
        model.Layout(count, taken, fixed=places)
        if luks1
        else model.Layout(count, taken, window=model.Extent(AREA, count * AREA), unit=AREA)
    )
    slots = {number: SlotView(number=number, kdf=kdf) for number in opens}
    return Situation(
        "luks1" if luks1 else "luks2", count, slots, layout, intent=intent, only_hash="sha256" if luks1 else ""
    )


def present(
    new: int, old: t.Optional[int] = None, keyslot: t.Optional[int] = None, position: int = 0, **members: t.Any
) -> Entry:
    return Entry(position, "present", keyslot, new, old, **members)


def absent(old: int, keyslot: t.Optional[int] = None, position: int = 0) -> Entry:
    return Entry(position, "absent", keyslot, old_secret=old)


def absent_slot(keyslot: int) -> Entry:
    return Entry(0, "absent", keyslot)


def plan(
    opens: t.Mapping[int, t.Optional[int]],
    *entries: Entry,
    unlock: t.Sequence[int] = (RED,),
    luks1: bool = False,
    intent: t.Optional[model.Intent] = None,
    **flags: bool,
) -> t.List[t.Tuple[str, t.Optional[int]]]:
    made = make_plan(
        situation(opens, luks1=luks1, intent=intent), Desired(entries, tuple(unlock), LABELS, **flags), Told(opens)
    )
    return [(action.kind, action.keyslot) for action in made.actions]


@pytest.mark.parametrize("luks1", [True, False])
@pytest.mark.parametrize("old", [None, BLUE])
@pytest.mark.parametrize("force", [False, True])
def test_a_pinned_slot_that_cannot_be_tried(luks1: bool, old: t.Optional[int], force: bool) -> None:
    if force and old is None:
        assert plan({0: RED, 3: UNTRIABLE}, present(GREEN, keyslot=3), luks1=luks1, force=True)[-1][1] == 3
        return
    with pytest.raises(
        Refused,
        match=r"(?i)keyslot 3 is in use.*unsupported cipher 'serpent'.*this host cannot tell which secret opens it",
    ):
        plan({0: RED, 3: UNTRIABLE}, present(GREEN, old, keyslot=3), luks1=luks1, force=force)


def test_a_pinned_slot_that_another_entry_wants_to_keep() -> None:
    entries = present(GREEN, keyslot=0), present(RED, position=1)
    with pytest.raises(Refused, match=r"(?i)keyslot 0 opens with red, which another entry wants present"):
        plan({0: RED, 1: None}, *entries)


def test_a_pinned_slot_of_a_secret_that_merely_unlocks() -> None:
    """What unlocks may be the secret of somebody else: to know it is no consent to destroy its key."""
    refused = r"(?i)keyslot 0 opens with red$|keyslot 0 opens with red[^,]"
    with pytest.raises(Refused, match=refused) as caught:
        plan({0: RED, 1: BLUE}, present(GREEN, keyslot=0), unlock=(RED, BLUE))
    assert "Give red as old_secret of this entry" in str(caught.value)
    elsewhere = present(BLUE, RED, keyslot=2, position=1)
    with pytest.raises(Refused, match=refused):
        plan({0: RED, 1: BLUE, 2: RED}, present(GREEN, keyslot=0), elsewhere, unlock=(RED, BLUE))


@pytest.mark.parametrize(
    ("entries", "flags"),
    [
        ([present(GREEN, RED, keyslot=0)], {}),
        ([present(GREEN, keyslot=0), absent(RED, position=1)], {}),
        ([present(GREEN, keyslot=0), absent(RED, keyslot=0, position=1)], {}),
        ([present(GREEN, keyslot=0)], {"force": True}),
    ],
    ids=["replaced there", "absent everywhere", "absent there", "force"],
)
def test_a_pinned_slot_of_a_secret_that_may_go(entries: t.List[Entry], flags: t.Dict[str, bool]) -> None:
    assert plan({0: RED, 1: BLUE}, *entries, unlock=(BLUE,), **flags) == [("rekey", 0)]


def test_a_pinned_slot_of_nobody_who_is_known() -> None:
    with pytest.raises(Refused, match=r"(?i)keyslot 1 is in use, and neither green nor an unlock secret opens it"):
        plan({0: RED, 1: None}, present(GREEN, keyslot=1))


def test_one_slot_cannot_hold_two_new_secrets() -> None:
    entries = present(GREEN, RED), present(BLUE, RED, position=1)
    with pytest.raises(Refused, match=r"(?i)keyslot 0 opens with red, which is replaced by green and by blue"):
        plan({0: RED}, *entries)


@pytest.mark.parametrize("given", [{"memory": 65536}, {"time": 4}, {"parallel": 1}], ids=str)
def test_argon2_costs_on_luks1(given: t.Dict[str, int]) -> None:
    with pytest.raises(Refused, match=r"(?i)keyslots\[0\] gives Argon2 costs, but LUKS1 has only pbkdf2"):
        plan({0: RED}, present(GREEN, costs=Costs(**given)), luks1=True)


def test_argon2_on_luks1() -> None:
    with pytest.raises(Refused, match=r"(?i)keyslots\[0\] wants argon2id, but LUKS1 has only pbkdf2"):
        plan({0: RED}, present(GREEN, costs=Costs(type="argon2id")), luks1=True)


def test_a_priority_on_luks1() -> None:
    with pytest.raises(Refused, match=r"(?i)keyslots\[0\] wants priority prefer, but LUKS1 keyslots have no priority"):
        plan({0: RED}, present(GREEN, priority="prefer"), luks1=True)
    assert plan({0: RED}, present(GREEN, priority="normal"), luks1=True)[0][0] == "add"


def test_another_hash_on_luks1() -> None:
    with pytest.raises(
        Refused, match=r"(?i)keyslots\[0\] wants hash sha512, but every keyslot of this LUKS1 header uses sha256"
    ):
        plan({0: RED}, present(GREEN, costs=Costs(hash="sha512")), luks1=True)
    assert plan({0: RED}, present(GREEN, costs=Costs(hash="SHA256")), luks1=True)[0][0] == "add"
    assert plan({0: RED}, present(GREEN, costs=Costs(type="pbkdf2", hash="sha512")))[0][0] == "add"


@pytest.mark.parametrize(
    ("kind", "temporary_slot"),
    [(model.IntentKind.ERASE, None), (model.IntentKind.REPLACE_ERASE, None), (model.IntentKind.MOVE_FILL, 3)],
    ids=["erase", "replace", "move"],
)
def test_an_interrupted_erase_waits_for_a_proof_that_another_slot_opens(
    kind: str, temporary_slot: t.Optional[int]
) -> None:
    """The slot to be erased may be the only one that still opens."""
    intent = model.Intent(kind, 2, temporary_slot=temporary_slot)
    doomed = temporary_slot or 2
    slots = {2: None, doomed: None, 0: RED}
    with pytest.raises(Refused, match="no secret of this task opens any other keyslot"):
        plan(slots, present(GREEN), unlock=(BLUE,), luks1=True, intent=intent)
    assert plan(slots, present(RED), unlock=(BLUE,), luks1=True, intent=intent)[0] == ("finish-erase", doomed)


def test_an_interrupted_erase_of_the_only_slot_needs_consent() -> None:
    intent = model.Intent(model.IntentKind.ERASE, 2)
    with pytest.raises(Refused, match="no secret of this task opens any other keyslot"):
        plan({2: RED}, present(RED), luks1=True, intent=intent)


@pytest.mark.parametrize("kind", [model.IntentKind.MOVE_ADD, model.IntentKind.MOVE_ERASE, model.IntentKind.MOVE_FILL])
def test_a_note_of_a_rekey_through_no_slot(kind: str) -> None:
    with pytest.raises(
        Refused, match=r"(?i)the journal entry of an interrupted rekey of keyslot 2 has no temporary slot"
    ):
        plan({0: RED, 2: None}, present(RED), luks1=True, intent=model.Intent(kind, 2))


def test_a_note_of_an_unknown_kind() -> None:
    with pytest.raises(Refused, match=r"(?i)an interrupted run left a journal entry of the unknown kind 'polish'"):
        plan({0: RED}, present(RED), luks1=True, intent=model.Intent("polish", 2))


def test_a_priority_for_a_slot_that_is_empty() -> None:
    with pytest.raises(Refused, match=r"(?i)keyslots\[0\] gives keyslot 3 a priority, but it is not active"):
        plan({0: RED}, Entry(0, "present", 3, priority="prefer"))


def test_two_priorities_for_one_slot() -> None:
    ranked = Entry(1, "present", 0, priority="prefer")
    refused = r"(?i)keyslots\[1\] gives keyslot 0 the priority prefer, and keyslots\[0\], .* wants ignore"
    for slot, old in ((None, None), (0, RED)):
        entries = present(RED if old is None else GREEN, old, keyslot=slot, priority="ignore"), ranked
        with pytest.raises(Refused, match=refused):
            plan({0: RED}, *entries)


def test_a_priority_of_a_slot_that_gets_a_new_key_is_set_with_it() -> None:
    ranked = Entry(1, "present", 0, priority="prefer")
    assert plan({0: RED}, present(GREEN, RED, keyslot=0), ranked) == [("rekey", 0)]
    assert plan({0: RED}, present(GREEN, RED, keyslot=0, priority="prefer"), ranked) == [("rekey", 0)]


def test_a_priority_of_a_slot_that_is_to_be_erased() -> None:
    with pytest.raises(Refused, match=r"(?i)keyslots\[1\] gives keyslot 1 a priority, and it is to be erased"):
        plan({0: RED, 1: BLUE}, absent(BLUE), Entry(1, "present", 1, priority="prefer"))


def test_a_secret_to_replace_that_opens_nothing() -> None:
    with pytest.raises(Refused, match=r"(?i)neither blue nor green opens any keyslot"):
        plan({0: RED}, present(GREEN, BLUE))
    with pytest.raises(Refused, match=r"(?i)keyslot 3 is in use, and neither green nor blue opens it"):
        plan({0: RED, 3: None}, present(GREEN, BLUE, keyslot=3))


def test_a_secret_to_remove_where_one_slot_cannot_be_tried() -> None:
    with pytest.raises(Refused, match=r"(?i)keyslot 3 could not be tried with blue \(unsupported cipher"):
        plan({0: RED, 3: UNTRIABLE}, absent(BLUE))


def test_two_secrets_that_derive_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """To remove the one would remove the other."""
    same = r"(?i)blue \(to remove\) and green \(to keep\) derive the same key in keyslot 1"
    opens = {0: {RED}, 1: {GREEN, BLUE}}

    def verdict(_told: Told, secret: int, keyslot: int) -> Verdict:
        return Verdict.OPENS if secret in opens[keyslot] else Verdict.CLOSED

    monkeypatch.setattr(Told, "verdict", verdict)
    for entries in (
        (present(GREEN), absent(BLUE, position=1)),
        (present(GREEN, keyslot=1), absent(BLUE, keyslot=1, position=1)),
    ):
        with pytest.raises(Refused, match=same):
            plan({0: RED, 1: GREEN}, *entries)


def with_unbound(monkeypatch: pytest.MonkeyPatch) -> Situation:
    """Red in keyslot 0, and blue in keyslot 3, which is not bound."""
    monkeypatch.setattr(Told, "opens_unbound", lambda _told, secret, keyslot: (secret, keyslot) == (BLUE, 3))
    found = situation({0: RED, 3: None}, luks1=False)
    return found._replace(slots={**found.slots, 3: SlotView(number=3, kdf=found.slots[3].kdf, bound=False)})


def test_a_secret_to_replace_that_opens_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of the keyslot its secret is replaced and its key stays; without it nothing is said to open."""
    found, told = with_unbound(monkeypatch), Told({0: RED, 3: None})
    made = make_plan(found, Desired((present(GREEN, BLUE, keyslot=3),), (), LABELS), told)
    assert [(action.kind, action.keyslot, action.own_key) for action in made.actions] == [("rekey", 3, True)]
    assert made.warnings == ("keyslot 3 is not bound to the volume: green opens another key there",)
    held = make_plan(found, Desired((present(BLUE, GREEN, keyslot=3),), (), LABELS), told)
    assert not held.actions and held.warnings
    with pytest.raises(Refused, match=r"(?i)blue opens keyslot 3 only, which is not bound to the volume: name it by"):
        make_plan(found, Desired((present(GREEN, BLUE),), (RED,), LABELS), told)
    for entries in (
        (present(BLUE, keyslot=3),),
        (present(GREEN, BLUE, keyslot=3), present(GREEN, keyslot=3, position=1)),
    ):
        with pytest.raises(Refused, match=r"(?i)keyslot 3 is in use, and not bound to the volume.*old_secret too"):
            make_plan(found, Desired(entries, (RED,), LABELS), told)


def test_another_key_is_never_without_a_keyslot(monkeypatch: pytest.MonkeyPatch) -> None:
    found, told = with_unbound(monkeypatch), Told({0: RED, 3: None})
    full = model.Layout(
        32,
        {0: model.Extent(AREA, AREA), 3: model.Extent(2 * AREA, AREA)},
        window=model.Extent(AREA, 2 * AREA),
        unit=AREA,
    )
    # Room for a key as long as that of the volume is not enough.
    longer = {**full.taken, 3: model.Extent(2 * AREA, 2 * AREA)}
    nearly_full = full._replace(taken=longer, window=model.Extent(AREA, 4 * AREA))
    for layout, way_back in itertools.product((full, nearly_full), (WayBack.NONE, WayBack.OFFERED)):
        with pytest.raises(Refused, match=r"(?i)green into keyslot 3 .*needs room beside it \(not bound"):
            make_plan(
                found._replace(layout=layout, way_back=way_back),
                Desired((present(GREEN, BLUE, keyslot=3),), (RED,), LABELS, backup_dir="/copies"),
                told,
            )


ANOTHER = "give under unlock the secret of another keyslot that stays"


@pytest.mark.parametrize("luks1", [True, False])
@pytest.mark.parametrize(
    ("case", "opens", "entries", "helps"),
    [
        ("new costs of a secret that stays", {0: BLUE, 1: RED}, [], False),
        ("its secret is replaced", {0: BLUE, 1: None}, [present(GREEN, BLUE)], True),
        ("two that exchange", {0: BLUE, 1: RED}, [present(RED, BLUE, 0), present(BLUE, RED, 1, position=1)], False),
        ("the last opener goes", {0: BLUE, 1: None}, [present(GREEN), absent(BLUE, position=1)], True),
        ("no keyslot of anybody else", {0: BLUE}, [present(GREEN, BLUE)], False),
    ],
)
def test_a_full_header_asks_for_a_secret_only_where_one_helps(
    case: str, opens: t.Dict[int, t.Optional[int]], entries: t.List[Entry], helps: bool, luks1: bool
) -> None:
    """What helps besides, each carried out: a keyslot that goes, a copy of the header, and the secret that it names."""
    strange = dict.fromkeys(range(len(opens), 8)) if case != "no keyslot of anybody else" else {}
    there, opens_then = {**opens, **strange}, {**opens, **strange}

    if not entries:
        entries = [present(BLUE, costs=Costs(iterations=9999) if luks1 else Costs(memory=1 << 20))]

    def made(opens: t.Mapping[int, t.Optional[int]], way_back: WayBack = WayBack.NONE) -> t.Any:
        found = situation(opens, luks1=True)
        places = {number: model.Extent(AREA * (number + 1), AREA) for number in there}
        taken = {number: places[number] for number in opens}
        full = model.Layout(len(places), taken, fixed=places)
        if not luks1:
            found = situation(opens, luks1=False)
            full = model.Layout(32, taken, window=model.Extent(AREA, len(places) * AREA), unit=AREA)
        desired = Desired(tuple(entries), (RED, BLUE), LABELS, backup_dir="/copies" if way_back else "")
        return make_plan(found._replace(layout=full, way_back=way_back), desired, Told(opens))

    with pytest.raises(Refused, match="There is no safe order") as caught:
        made(there)
    said = str(caught.value)
    assert (ANOTHER in said) is helps and "et backup_dir to a folder on another file system" in said, said
    erase = "irst erase a keyslot that is not needed, in a task of its own" in said
    assert erase is (case not in ("two that exchange", "no keyslot of anybody else"))
    if erase:
        del opens_then[7]
        assert made(opens_then).actions
    assert made(there, way_back=WayBack.OFFERED).actions
    unknown = [number for number, secret in there.items() if secret is None]
    for number in unknown if RED not in opens.values() else ():
        if helps:
            assert made({**there, number: RED}).actions


def test_the_only_keyslot_of_a_full_header_is_not_one_to_erase() -> None:
    """What is said instead is done."""
    full = model.Layout(32, {0: model.Extent(AREA, AREA)}, window=model.Extent(AREA, AREA), unit=AREA)
    found = situation({0: BLUE}, luks1=False)._replace(layout=full, way_back=WayBack.OFFERED)
    with pytest.raises(Refused, match="No room is left, and the task makes none") as caught:
        make_plan(found, Desired((present(GREEN),), (BLUE,), LABELS, backup_dir="/copies"), Told({0: BLUE}))
    said = str(caught.value)
    assert "erase" not in said and "Give old_secret, so that the new secret takes the place of another one" in said
    replaced = Desired((present(GREEN, BLUE),), (BLUE,), LABELS, backup_dir="/copies")
    assert make_plan(found, replaced, Told({0: BLUE})).actions


@pytest.mark.parametrize("token", ["systemd-tpm2", "clevis", "systemd-recovery", "of-somebody"])
def test_a_token_that_seals_the_replaced_secret_is_named(token: str) -> None:
    """What other tokens hold is not known, or is nothing; a new cost for the same secret leaves it good."""
    opens = {0: RED, 3: BLUE}
    found = situation(opens, luks1=False)
    slot = SlotView(number=3, kdf=found.slots[3].kdf, protected_by=(token,))
    found = found._replace(slots={**found.slots, 3: slot})
    sealed = token in ("systemd-tpm2", "clevis")

    def warned(entry: Entry, **flags: bool) -> bool:
        made = make_plan(found, Desired((entry,), (RED,), LABELS, **flags), Told(opens))
        assert [(action.kind, action.keyslot) for action in made.actions] == [("rekey", 3)]
        return any(f"token ({token}), which keeps the replaced secret" in warning for warning in made.warnings)

    assert warned(present(GREEN, BLUE)) is sealed
    assert warned(present(GREEN, BLUE, keyslot=3)) is sealed
    assert not warned(present(BLUE, BLUE, costs=Costs(memory=1 << 20)))
    assert not warned(present(GREEN, keyslot=3), force=True), "the token goes with the key"


@pytest.mark.parametrize("luks1", [True, False])
@pytest.mark.parametrize(
    ("opens", "entries", "flags", "words"),
    [
        ({0: None}, [absent_slot(0)], {}, r"erasing keyslot 0 would .*\(it is the last one\)"),
        ({0: None, 1: None}, [absent_slot(0)], {}, r"erasing keyslot 0 would .*\(keyslot 1 would stay, unproven\)"),
        (
            {0: None, 1: None, 2: None},
            [absent_slot(2)],
            {"purge": True},
            r"erasing keyslots 0, 1, 2 would .*\(they are the last ones\)",
        ),
    ],
)
def test_what_would_stay_is_what_the_plan_leaves(
    opens: t.Dict[int, t.Optional[int]], entries: t.List[Entry], flags: t.Dict[str, bool], words: str, luks1: bool
) -> None:
    with pytest.raises(Refused, match=f"(?i){words}"):
        plan(opens, *entries, luks1=luks1, **flags)


@pytest.mark.parametrize(
    ("token", "by_token", "told"),
    [
        ("clevis", False, True),
        ("systemd-tpm2", False, True),
        ("clevis", True, False),
        ("systemd-recovery", False, False),
    ],
)
@pytest.mark.parametrize("entry", [present(GREEN), absent_slot(0)])
def test_a_token_that_could_be_asked_is_named(entry: Entry, token: str, by_token: bool, told: bool) -> None:
    opens: t.Dict[int, t.Optional[int]] = {0: None, 3: None}
    found = situation(opens, luks1=False)
    slot = SlotView(number=3, kdf=found.slots[3].kdf, protected_by=(token,))
    found = found._replace(slots={**found.slots, 3: slot})
    desired = Desired((entry,), (RED,), LABELS, by_token=(BLUE,) if by_token else ())
    with pytest.raises(Refused) as caught:
        make_plan(found, desired, Told(opens))
    assert (f"ask the token of keyslot 3 ({token}) with unlock: [{{token: auto}}]" in str(caught.value)) is told
