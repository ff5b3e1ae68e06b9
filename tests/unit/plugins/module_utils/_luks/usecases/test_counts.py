# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many keys are derived, case by case, and that ``kdf_evaluations`` says so. n: keyslots in use; u: position of the
opener.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import session
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import absent, present

SLOTS = {"luks1": 6, "luks2": 3}


@dataclasses.dataclass(frozen=True)
class Case:
    """What a task on a volume with secrets ``s`` costs on one core; ``on_many``: on four, where that differs."""

    says: str
    entries: t.Callable[[str, t.List[str]], t.List[t.Dict[str, t.Any]]]
    cost: t.Callable[[int], int]
    slots: t.Optional[int] = None
    unlock: t.Callable[[t.List[str]], t.List[str]] = lambda s: []
    options: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    on_many: t.Optional[t.Callable[[int], int]] = None
    changed: bool = True


def no_change(says: str, entries: t.Any, cost: t.Any, **more: t.Any) -> Case:
    return Case(f"no change, {says}", entries, cost, changed=False, **more)


CASES = [
    no_change("the keyslot is named", lambda f, s: [present(f, s[-1], keyslot=len(s) - 1)], lambda n: 1),
    no_change(
        "all keyslots are named", lambda f, s: [present(f, text, keyslot=k) for k, text in enumerate(s)], lambda n: n
    ),
    no_change("the keyslot is not named and the first", lambda f, s: [present(f, s[0])], lambda n: 1),
    no_change("the keyslot is not named and the last", lambda f, s: [present(f, s[-1])], lambda n: n),
    no_change("all of them, none named, in order", lambda f, s: [present(f, text) for text in s], lambda n: n),
    no_change("forbidden opens nothing", lambda f, s: [absent("stranger"), present(f, s[0], keyslot=0)], lambda n: n),
    no_change("rotated long ago", lambda f, s: [present(f, s[0], old="older")], lambda n: n + 1, unlock=lambda s: []),
    no_change("the only keyslot", lambda f, s: [present(f, s[0])], lambda n: 1, slots=1),
    Case("rotate the named keyslot", lambda f, s: [present(f, "new", keyslot=0, old=s[0])], lambda n: 2),
    Case("rotate the named last keyslot", lambda f, s: [present(f, "new", keyslot=len(s) - 1, old=s[-1])], lambda n: 2),
    Case("rotate the only keyslot", lambda f, s: [present(f, "new", old=s[0])], lambda n: 2, slots=1),
    Case(
        "rotate the only keyslot, derived again",
        lambda f, s: [present(f, "new", old=s[0])],
        lambda n: 3,
        slots=1,
        options={"rederive": True},
    ),
    Case(
        "rotate the named keyslot, derived again",
        lambda f, s: [present(f, "new", keyslot=1, old=s[1])],
        lambda n: 3,
        options={"rederive": True},
    ),
    Case(
        "rotate all named keyslots",
        lambda f, s: [present(f, f"new {k}", keyslot=k, old=text) for k, text in enumerate(s)],
        lambda n: 2 * n,
    ),
    Case("rotate, keyslot not named (n + (n - 1) + 1)", lambda f, s: [present(f, "new", old=s[-1])], lambda n: 2 * n),
    Case(
        "the named keyslot opens with an unlock secret, by force",
        lambda f, s: [present(f, "new", keyslot=0)],
        lambda n: 3,
        unlock=lambda s: s[:1],
        options={"force": True},
    ),
    Case("add, opener first (n + u + 1)", lambda f, s: [present(f, "new")], lambda n: n + 2, unlock=lambda s: s[:1]),
    Case(
        "add, opener last (n + u + 1)", lambda f, s: [present(f, "new")], lambda n: 2 * n + 1, unlock=lambda s: s[-1:]
    ),
    Case(
        "add to a named free keyslot",
        lambda f, s: [present(f, "new", keyslot=len(s))],
        lambda n: 2,
        unlock=lambda s: s[:1],
    ),
    Case(
        "add and keep two that are named",
        lambda f, s: [present(f, s[0], keyslot=0), present(f, s[1], keyslot=1), present(f, "new")],
        lambda n: n + 1,
    ),
    Case(
        "remove a secret from the last keyslot", lambda f, s: [absent(s[-1]), present(f, s[0], keyslot=0)], lambda n: n
    ),
    Case("exactly one", lambda f, s: [present(f, s[0], keyslot=0)], lambda n: 1, options={"purge": True}),
]


def names(value: t.Any) -> t.Optional[str]:
    return value.says if isinstance(value, Case) else None


@pytest.fixture(params=[1, 4], ids=["1core", "4cores"])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(session, "cores", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize("format", ["luks1", "luks2"])
@pytest.mark.parametrize("case", CASES, ids=names)
@pytest.mark.parametrize("check", [False, True], ids=["real", "check"])
def test_count(
    case: Case, format: str, check: bool, cores: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "volume"
    secrets = volume.make(path, format, case.slots or SLOTS[format])
    notes = volume.noted(monkeypatch)
    result = volume.amend_volume(
        path, *case.entries(format, secrets), unlock=case.unlock(secrets), check=check, **case.options
    )
    assert result["changed"] is case.changed
    assert result["kdf_evaluations"] == len(notes.derived)
    if not case.options.get("rederive"):
        assert not notes.twice()
    new = sum(action["action"] in ("add", "rekey") for action in result["plan"]) * (
        2 if case.options.get("rederive") else 1
    )
    expected = (case.on_many if cores > 1 and case.on_many else case.cost)(len(secrets)) - (new if check else 0)
    assert result["kdf_evaluations"] == expected


@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_the_second_run_of_a_rotation_knows_where_to_look(format: str, cores: int, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    secrets = volume.make(path, format, 3)
    named, unnamed = present(format, "new", keyslot=2, old=secrets[2]), present(format, "newer", old="new")
    assert volume.amend_volume(path, named)["kdf_evaluations"] == 2
    again = volume.amend_volume(path, named)
    assert (again["changed"], again["kdf_evaluations"]) == (False, 1)
    assert volume.amend_volume(path, present(format, "new"))["kdf_evaluations"] == 1
    assert volume.amend_volume(path, unnamed)["changed"]
    again = volume.amend_volume(
        path, unnamed
    )  # the new one where it was put; the old one must be shown to open none of the others
    assert (again["changed"], again["kdf_evaluations"]) == (False, 3)


def test_a_record_that_is_believed_costs_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    secrets = volume.make(path, "luks2", 2)
    entry = present("luks2", "new", keyslot=1, old=secrets[1])
    assert volume.amend_volume(path, entry)["changed"]
    result = volume.amend_volume(path, entry, verify="record")
    assert (result["changed"], result["verified"], result["kdf_evaluations"]) == (False, False, 0)


def test_labels_leave_luks1_salts_alone_without_record(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "volume"
    secrets = volume.make(path, "luks1", 3)
    entry = present("luks1", "new", keyslot=2, old=secrets[2])
    volume.amend_volume(path, entry, record=False)
    assert volume.amend_volume(path, present("luks1", "new"))["kdf_evaluations"] == 3  # searched for, from keyslot 0 on


@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_digests_are_compared_until_a_trial_opens(
    format: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "cores", lambda: 1)
    path = tmp_path / "volume"
    secrets = volume.make(path, format, 3)
    notes = volume.noted(monkeypatch)
    volume.amend_volume(path, present(format, secrets[2]))
    assert (len(notes.derived), notes.digests) == (3, 3)
    volume.amend_volume(path, *[present(format, text, keyslot=number) for number, text in enumerate(secrets)])
    assert (len(notes.derived), notes.digests) == (6, 4)


@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_a_search_on_many_cores_tries_what_it_would_have_tried_and_few_more(
    format: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first slot alone, for most volumes have one; then as many as cores are idle, but never more slots than there
    are.

    How many more is a matter of time: a core that gets free may begin the next slot before the answer is read.
    """
    path = tmp_path / "volume"
    secrets = volume.make(path, format, SLOTS[format])
    for cores in (1, 2, 4, 16):
        monkeypatch.setattr(session, "cores", lambda cores=cores: cores)
        for position, text in enumerate(secrets):
            counted = volume.amend_volume(path, present(format, text))["kdf_evaluations"]
            least = position + 1
            assert least <= counted <= (least if position == 0 or cores == 1 else len(secrets))


@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_a_plan_made_again_derives_only_what_is_new(
    format: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody adds a keyslot between planning and locking: the header differs, the slots that were tried do not."""
    path = tmp_path / "volume"
    secrets = volume.make(path, format, 2)
    notes = volume.noted(monkeypatch)
    foresee = amend._Amendment._prepare
    meddled = []

    def meddle(self: t.Any, look: t.Any) -> t.Any:
        answer = foresee(self, look)
        if not meddled:
            meddled.append(True)
            seen = list(notes.derived)
            volume.amend_volume(path, present(format, "theirs", keyslot=2), unlock=secrets[:1])
            notes.derived[:] = seen
        return answer

    monkeypatch.setattr(amend._Amendment, "_prepare", meddle)
    result = volume.amend_volume(path, present(format, "ours", keyslot=0, old=secrets[0]))
    assert any("planning and locking" in warning for warning in result["warnings"])
    assert (result["changed"], result["kdf_evaluations"], notes.twice()) == (True, 2, [])
