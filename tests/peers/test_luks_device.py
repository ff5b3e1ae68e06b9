# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""keyslots leaves the same state as luks_device, or the documentation says why not."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.luksmith.luks.tests.interop import module_process
from ansible_collections.luksmith.luks.tests.peers import luks_device as peer
from ansible_collections.luksmith.luks.tests.peers.pair import Pair
from ansible_collections.luksmith.luks.tests.peers.scenarios import (
    CHANGED,
    REFUSED,
    SCENARIOS,
    UNCHANGED,
    Scenario,
    Step,
    told,
)

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "peers.md"

CASES = [
    pytest.param(scenario, form, id=f"{scenario.source}: {scenario.task}, {form}")
    for scenario in SCENARIOS
    for form in scenario.formats
]


def _ours(pair: Pair, step: Step) -> str:
    try:
        result = module_process.run_module(
            "keyslots", {"device": str(pair.ours), **told(step.ours, pair)}, check=step.check
        )
    except module_process.ModuleFailed:
        return REFUSED
    return CHANGED if result["changed"] else UNCHANGED


def _theirs(pair: Pair, step: Step) -> str:
    result = peer.luks_device(pair.theirs, told(step.theirs, pair), check=step.check)
    if result["failed"]:
        return REFUSED
    return CHANGED if result["changed"] else UNCHANGED


@pytest.mark.skipif(not peer.PYTHON, reason="the package ansible is not there; tests/run peers installs it")
@pytest.mark.parametrize(("scenario", "form"), CASES)
def test_same_scenario(scenario: Scenario, form: str, tmp_path: pathlib.Path) -> None:
    pair = Pair(tmp_path, form, scenario.holds)
    scenario.prepare(pair)
    with pair.split():
        for number, step in enumerate(scenario.steps):
            assert (number, _theirs(pair, step)) == (number, step.outcome)
            assert (number, _ours(pair, step)) == (number, step.our_outcome or step.outcome)
            if not scenario.differs:
                assert pair.state(str(pair.ours)) == pair.state(pair.theirs)
        assert (pair.state(str(pair.ours)) != pair.state(pair.theirs)) == bool(scenario.differs)


def table() -> str:
    lines = ["| scenario | task | formats | final state |", "|---|---|---|---|"]
    for scenario in SCENARIOS:
        verdict = f"differs on purpose: {scenario.differs}" if scenario.differs else "the same"
        refused = [step for step in scenario.steps if step.our_outcome and step.our_outcome != step.outcome]
        if refused and not scenario.differs:
            said = ", ".join(
                f"`luks_device` returns `{step.outcome}`{' in check mode' if step.check else ''}, ours "
                f"`{step.our_outcome}`"
                for step in refused
            )
            verdict += f"; {said}"
        formats = " and ".join(form.upper() for form in scenario.formats)
        lines.append(f"| {scenario.source} | {scenario.task} | {formats} | {verdict} |")
    return "\n".join(lines)


def test_document_has_the_table() -> None:
    assert table() in DOCUMENT.read_text(), "docs/peers.md is out of date; the table that belongs there:\n" + table()
