# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An old secret that may still open a keyslot: the task says so, and only then. n keyslots cost what they did."""

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind, Plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Desired
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.tokens import Yielded
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import left_behind
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import absent, present

IN_VAIN, NOT_TRIED = "(old_secret) open", "not tried on"
NFC, NFD = "caf\u00e9", "cafe\u0301"


def said(result: volume.Result) -> t.List[str]:
    return [text for text in result["warnings"] if IN_VAIN in text or NOT_TRIED in text]


@pytest.fixture(params=["luks1", "luks2"])
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def by_hand(path: pathlib.Path, format: str, text: str) -> None:
    assert volume.amend_volume(path, present(format, text), unlock=volume.MADE[:1], record=False)["changed"]


# What opens nothing


@pytest.mark.parametrize("check", [True, False])
def test_a_secret_that_opens_nothing_names_the_keyslot_that_nothing_opens(
    format: str, check: bool, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 2)
    result = volume.amend_volume(
        path, absent("in-case-of-fir"), present(format, volume.MADE[0], keyslot=0), check=check
    )
    assert not result["changed"]
    (text,) = said(result)
    assert text.startswith(
        "label of in-case-of-fir (old_secret) opens no keyslot, and no secret of this task is known to open keyslot 1:"
    )
    assert "Unicode" not in text


def test_the_one_that_was_typed_on_another_keyboard(format: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 1)
    by_hand(path, format, NFD)
    kept = present(format, volume.MADE[0], keyslot=0)
    (text,) = said(volume.amend_volume(path, absent(NFC), kept))
    assert "keyslot 1:" in text
    assert f"label of {NFC} has characters beyond ASCII: what was set may have another Unicode form" in text
    assert said(volume.amend_volume(path, absent(NFD), kept)) == []


def test_what_replaces_it_is_there_already(format: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 3)
    result = volume.amend_volume(path, present(format, volume.MADE[1], old="mistyped"))
    assert not result["changed"]
    (text,) = said(result)
    assert "keyslots 0, 2:" in text


def test_more_keyslots_than_secrets_are_tried(format: str, tmp_path: pathlib.Path) -> None:
    """Nothing needs the secret under unlock, and one of both keyslots is not its own: it is tried to say which."""
    path = tmp_path / "volume"
    volume.make(path, format, 2)
    result = volume.amend_volume(path, absent("mistyped"), unlock=volume.MADE[1:2])
    (text,) = said(result)
    assert "keyslot 0:" in text
    assert result["kdf_evaluations"] == 4


def test_as_many_secrets_as_keyslots_are_believed(format: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 2)
    result = volume.amend_volume(path, absent("gone"), unlock=volume.MADE)
    assert (said(result), result["kdf_evaluations"]) == ([], 2)


def test_the_record_says_whose_the_other_keyslots_are(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, "luks2", 1)
    assert volume.amend_volume(path, present("luks2", "glass"), unlock=volume.MADE[:1])["changed"]
    kept = present("luks2", volume.MADE[0], keyslot=0)
    assert said(volume.amend_volume(path, absent("gone"), kept)) == []
    # A label of this task whose secret does not open it is no answer.
    relabelled = {"state": "absent", "old_secret": {"passphrase": "gone", "label": "label of glass"}}
    (text,) = said(volume.amend_volume(path, relabelled, kept))
    assert "keyslot 1:" in text


def test_a_secret_of_the_task_that_nothing_needs_has_its_keyslot(format: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 1)
    assert volume.amend_volume(path, present(format, "glass"), unlock=volume.MADE[:1])["changed"]
    kept = present(format, volume.MADE[0], keyslot=0)
    result = volume.amend_volume(path, absent("gone"), kept, unlock=["glass"])
    assert (said(result), result["kdf_evaluations"]) == ([], 2)


def test_a_keyslot_of_a_token_is_somebodys(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, "luks2", 1)
    entry = present("luks2", "-".join(["cbdefghi", "jklnrtuv"] * 4))
    entry["new_secret"]["token"] = "systemd-recovery"
    assert volume.amend_volume(path, entry, unlock=volume.MADE[:1], record=False)["changed"]
    kept = present("luks2", volume.MADE[0], keyslot=0)
    assert said(volume.amend_volume(path, absent("gone"), kept)) == []


def test_what_is_removed_or_all_known_needs_no_word(format: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 3)
    first = volume.amend_volume(path, absent(volume.MADE[1]), unlock=volume.MADE[:1])
    assert (first["changed"], said(first)) == (True, [])
    everything = [present(format, volume.MADE[0], keyslot=0), absent("gone")]
    assert said(volume.amend_volume(path, *everything, check=True)) != []
    assert said(volume.amend_volume(path, *everything, purge=True)) == []
    assert said(volume.amend_volume(path, *everything)) == []


# What goes from one keyslot


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("state", ["absent", "present"])
def test_the_other_keyslots_of_an_old_secret_that_goes_from_one(
    state: str, format: str, check: bool, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 3)
    entry = {**absent(volume.MADE[0]), "keyslot": 0}
    if state == "present":
        entry = present(format, "new", keyslot=0, old=volume.MADE[0])
    unlock = volume.MADE[1:] if state == "absent" else ()
    result = volume.amend_volume(path, entry, unlock=unlock, check=check)
    where = "keyslot 2" if state == "absent" else "keyslots 1, 2"
    assert said(result) == [f"label of winter-2025 was not tried on {where}; leave out keyslot to remove it everywhere"]
    if not check:
        assert said(volume.amend_volume(path, entry, unlock=unlock)) == []


def test_keyslots_that_the_task_names_need_no_word(format: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    secrets = volume.make(path, format, 3)
    table = [present(format, f"new {number}", keyslot=number, old=text) for number, text in enumerate(secrets)]
    result = volume.amend_volume(path, *table)
    assert (result["changed"], said(result)) == (True, [])
    assert said(volume.amend_volume(path, *table)) == []


def test_keyslots_that_the_record_gives_to_somebody_else_need_no_word(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, "luks2", 1)
    assert volume.amend_volume(path, present("luks2", "glass"), unlock=volume.MADE[:1])["changed"]
    assert said(volume.amend_volume(path, present("luks2", "new", keyslot=0, old=volume.MADE[0]))) == []


def test_only_other_costs_remove_nothing(format: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    volume.make(path, format, 2)
    entry = present(format, volume.MADE[0], keyslot=0, old=volume.MADE[0])
    entry["pbkdf"] = {name: value if name == "parallel" else 2 * value for name, value in entry["pbkdf"].items()}
    result = volume.amend_volume(path, entry)
    assert (result["changed"], said(result)) == (True, [])


# What only a machine or a server opens

PERSON, MACHINE = 0, 1
TPM = Token(2, "systemd-tpm2", (1,))


def alone(
    *actions: Action,
    tokens: t.Sequence[Token] = (TPM,),
    opened: t.Collection[t.Tuple[int, int]] = (),
    stale: t.Tuple[int, ...] = (),
) -> str:
    """Keyslots 0 to 2, of which the last one is not bound, of a task with a person's secret and a machine's."""
    slots = {number: types.SimpleNamespace(bound=number < 2) for number in range(3)}
    header: t.Any = types.SimpleNamespace(format="luks2", keyslots=slots, tokens=tokens)
    prover: t.Any = types.SimpleNamespace(
        known=lambda secret, keyslot: (secret, keyslot) in opened or None, yielded={MACHINE: Yielded(stale=stale)}
    )
    desired = Desired((), (), ("person", "machine"), by_token=(MACHINE,))
    return " ".join(left_behind.warnings(header, prover, Plan(actions), desired, ()))


GONE = Action(ActionKind.ERASE, 0, "")


@pytest.mark.parametrize("kind", [ActionKind.ERASE, ActionKind.FINISH_ERASE])
def test_the_last_secret_of_a_person_goes(kind: ActionKind) -> None:
    assert alone(GONE._replace(kind=kind)).startswith("only token 2 (systemd-tpm2) can open the volume")
    bound = Action(ActionKind.ADD, 3, "", secret=MACHINE)
    assert "only token 2 (systemd-tpm2) and the new binding machine can" in alone(GONE, bound)
    assert "only the new binding machine can" in alone(GONE, GONE._replace(keyslot=1), bound)
    # Into the keyslot that has just become free.
    assert "only the new binding machine and token 2 (systemd-tpm2) can" in alone(GONE, bound._replace(keyslot=0))


def test_a_token_whose_secret_opens_nothing_is_not_named_as_one_that_can() -> None:
    bound = Action(ActionKind.ADD, 3, "", secret=MACHINE)
    assert alone(GONE, bound, stale=(2,)).startswith(
        "only a secret of keyslot 1 that this task does not have and the new binding machine can open the volume"
    )
    beside = TPM._replace(number=3)
    assert alone(GONE, tokens=(TPM, beside), stale=(2,)).startswith("only token 3 (systemd-tpm2) can open the volume")


@pytest.mark.parametrize(
    ("actions", "more"),
    [
        pytest.param([], {}, id="no change"),
        pytest.param([GONE._replace(keyslot=1)], {}, id="a keyslot of somebody stays"),
        pytest.param([GONE, Action(ActionKind.ADD, 3, "", secret=PERSON)], {}, id="a new one"),
        pytest.param([Action(ActionKind.REKEY, 0, "", secret=PERSON)], {}, id="another one"),
        pytest.param([GONE], {"opened": [(PERSON, 1)]}, id="beside a token that is stale"),
        pytest.param([GONE], {"tokens": [TPM._replace(type="systemd-fido2")]}, id="what a person carries"),
        pytest.param([GONE], {"tokens": [TPM._replace(type="systemd-recovery")]}, id="a recovery key"),
        pytest.param([GONE, GONE._replace(keyslot=1)], {}, id="nothing at all"),
        pytest.param([Action(ActionKind.SET_PRIORITY, 0, "")], {"tokens": [TPM._replace(keyslots=(0, 1))]}, id="rank"),
    ],
)
def test_somebody_can_open_it(actions: t.Sequence[Action], more: t.Dict[str, t.Any]) -> None:
    assert alone(*actions, **more) == ""
