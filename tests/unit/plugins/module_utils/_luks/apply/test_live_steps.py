# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each job of each step that QEMU is asked for, in its order; tests/interop has a real QEMU."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import live_steps
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.kdf_policy import MINIMUM_ITERATIONS
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.live_steps import LiveSteps
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import HeaderChanged, Refused, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Pbkdf2
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.apply.step_log import Log

TIME = 100


class Live(LiveSteps):
    """``said``: the jobs and the notes. The image has keyslots 0 and 1; QEMU gives ``iterations``, in this order."""

    def __init__(self, *iterations: int) -> None:
        self.said: t.List[str] = []
        self.iterations = list(iterations)
        self.openers: t.Any = {0: [0]}
        self.desired: t.Any = types.SimpleNamespace(allow_lockout=False)
        material = iter(range(1, 99))
        self.image: t.Any = types.SimpleNamespace(
            header=Log("luks1").header,
            written=False,
            amend=self.amend,
            note_move=lambda *numbers: self.said.append(f"note {numbers}"),
            forget_move=lambda: self.said.append("forget"),
            volume=types.SimpleNamespace(
                region=types.SimpleNamespace(reread=lambda _offset, size: bytes([next(material)]) * size)
            ),
        )

    def amend(self, options: t.Dict[str, t.Any], _secrets: t.Any, *, force: bool = False) -> t.Any:
        number, header = options["keyslot"], self.image.header
        if options["state"] == "inactive":
            self.said.append(f"erase {number}")
            return header.without_keyslot(number)
        self.said.append(f"fill {number} in {options['iter-time']} ms")
        area = header.layout.fixed[number]
        return header.with_keyslot(number, Pbkdf2("sha256", self.iterations.pop(0), bytes(32)), area)

    def _time_for(self, _action: Action) -> int:
        return TIME

    def _value(self, _secret: t.Any) -> bytearray:
        return bytearray()

    def _opener(self) -> t.Any:
        return 0

    def _check_opens(self, _found: t.Any, number: int, _secret: int) -> None:
        self.said.append(f"try {number}")


def action(**members: t.Any) -> Action:
    return Action(**{"kind": ActionKind.REKEY, "keyslot": 0, "reason": "", "secret": 0, **members})


FILL = "fill {0} in 100 ms,try {0}"
STEPS: t.Mapping[str, t.Tuple[str, t.Dict[str, t.Any], str]] = {
    "add": ("add", {"keyslot": 5}, FILL.format(5)),
    "erase": ("erase", {}, "erase 0"),
    "rekey": ("rekey", {}, f"note (0, 2),{FILL.format(2)},erase 0,{FILL.format(0)},erase 2,forget"),
    "go on": ("rekey", {"temporary_slot": 1}, f"erase 0,{FILL.format(0)},erase 1,forget"),
    "go on behind the erase": ("rekey", {"keyslot": 5, "temporary_slot": 1}, f"{FILL.format(5)},erase 1,forget"),
    "finish": ("finish", {}, "erase 0,forget"),
    "finish what is not active": ("finish", {"keyslot": 5}, "forget"),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str) -> None:
    step, members, expected = STEPS[name]
    live = Live(*[MINIMUM_ITERATIONS] * 2)
    getattr(live, step)(action(**members))
    assert ",".join(live.said) == expected
    assert set(live.openers) - {0} <= set(live.image.header.keyslots)
    assert (0 in live.openers) is (0 in live.image.header.keyslots)


def test_a_keyslot_with_too_few_iterations_does_not_stay() -> None:
    live = Live(MINIMUM_ITERATIONS // 2, MINIMUM_ITERATIONS)
    live.add(action(keyslot=5))
    assert live.said == ["fill 5 in 100 ms", "try 5", "erase 5", "fill 5 in 240 ms", "try 5"]
    hopeless = Live(*[MINIMUM_ITERATIONS // 2] * 99)
    with pytest.raises(Refused, match="too few iterations"):
        hopeless.add(action(keyslot=5))
    assert hopeless.said[-1] == "erase 5"


def test_an_erase_that_takes_another_keyslot_with_it() -> None:
    live = Live()
    live.image.amend = lambda *_given, **_how: live.image.header.without_keyslot(0).without_keyslot(1)
    with pytest.raises(HeaderChanged, match=r"ore than keyslot 0 has changed \(keyslots 1\)"):
        live.erase(action())


def test_the_keys_of_a_trial_are_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    derived, key = bytearray(b"derived"), bytearray(b"what it opens")
    live: t.Any = object.__new__(LiveSteps)
    live.prover = types.SimpleNamespace(
        derivations=types.SimpleNamespace(derive=lambda *_given: derived), need_volume_key=lambda: b"another key"
    )
    region = types.SimpleNamespace(reread=lambda _offset, size: bytes(size))
    live.image = types.SimpleNamespace(volume=types.SimpleNamespace(region=region))
    live.desired = types.SimpleNamespace(labels=["new"])
    monkeypatch.setattr(live_steps.key_material, "unseal", lambda *_given: key)
    with pytest.raises(StorageFault, match="does not open keyslot 0"):
        live._check_opens(Log("luks1").header, 0, 0)
    assert not any(derived) and not any(key)
