# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fuzzer can fail: for each invariant a fault is planted in the code under test, and the cases must find it."""

from __future__ import annotations

import os
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import luks1_steps, luks2_steps
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import argon2, kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import summary
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec as luks1_codec
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import fields as luks1_fields
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import (
    binary as luks2_binary,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import (
    codec as luks2_codec,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import (
    members as luks2_members,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import (
    metadata as luks2_metadata,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import (
    validate_metadata as luks2_validate,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result import diff
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import inspect as usecases_inspect
from ansible_collections.luksmith.luks.tests.fuzz import case, headers, look
from ansible_collections.luksmith.luks.tests.tools.module_server import in_a_fork

pytestmark = pytest.mark.needs("cryptsetup")
Plant = t.Callable[[pytest.MonkeyPatch], None]


def unchecked_member(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(luks2_members, "text", lambda container, name, where: container[name])


def areas_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(luks2_validate, "_areas", lambda tree, size: None)


def luks1_areas_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(luks1_fields, "check_areas", lambda fields, size: None)


def segments_not_checked(patch: pytest.MonkeyPatch) -> None:
    """Our own reader agrees with itself; only cryptsetup can tell."""
    patch.setattr(luks2_validate, "_digests", lambda tree: None)


def unknown_members_lost(patch: pytest.MonkeyPatch) -> None:
    emit = luks2_metadata.emit

    def forgetful(tree: t.Any) -> bytes:
        return emit(
            {name: value for name, value in tree.items() if name != "vendor"} if isinstance(tree, dict) else tree
        )

    patch.setattr(luks2_metadata, "emit", forgetful)


def wrong_checksum_accepted(patch: pytest.MonkeyPatch) -> None:
    """What we read so, cryptsetup does not load."""
    checksum = luks2_binary._checksum
    patch.setattr(
        luks2_binary, "_checksum", lambda block, alg: block[448 : 448 + len(checksum(block, "sha256") or b"")]
    )


def names_drawn_as_they_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(errors, "shown", lambda text, most=0: text)
    patch.setattr(diff, "shown", lambda text, most=0: text)
    patch.setattr(luks2_binary, "shown", lambda text, most=0: text)
    patch.setattr(luks2_codec, "shown", lambda text, most=0: text)


def everything_read(patch: pytest.MonkeyPatch) -> None:
    parse = luks1_codec.parse

    def greedy(read: t.Any, size: int, *, embedded: bool = False) -> t.Any:
        read(0, size)
        return parse(read, size, embedded=embedded)

    patch.setattr(luks1_codec, "parse", greedy)


def for_ever(patch: pytest.MonkeyPatch) -> None:
    def endless(fields: t.Any, size: int) -> None:
        while fields.key_size > 64:
            pass

    patch.setattr(case, "LONGEST", 0.2)
    patch.setattr(luks1_fields, "check_areas", endless)


def budget_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kdf, "_within", lambda *arguments: None)


def erased_only_in_the_plan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(luks1_steps.Luks1Steps, "erase", lambda self, action: None)
    patch.setattr(luks2_steps.Luks2Steps, "erase", lambda self, action: None)


def written_while_looking(patch: pytest.MonkeyPatch) -> None:
    inspect = usecases_inspect.inspect

    def careless(task: t.Any) -> t.Any:
        descriptor = os.open(task.device, os.O_RDWR)
        os.pwrite(descriptor, b"L", 0)
        os.close(descriptor)
        return inspect(task)

    patch.setattr(usecases_inspect, "inspect", careless)


def check_mode_lies(patch: pytest.MonkeyPatch) -> None:
    bring = amend.amend

    def liar(task: t.Any, *, check: bool) -> t.Any:
        result = bring(task, check=check)
        return {**result, "plan": result["plan"][:1]} if check else result

    patch.setattr(amend, "amend", liar)


def search_forgives_areas(patch: pytest.MonkeyPatch) -> None:
    """What volumes_info would show as a volume without a problem, keyslots would refuse."""
    patch.setattr(summary, "_luks1", lambda read, size: summary.Summary("luks1", "", "", False, read(0, 1024)))


def search_reads_its_own_label(patch: pytest.MonkeyPatch) -> None:
    true = summary._luks2
    patch.setattr(summary, "_luks2", lambda read, size: true(read, size)._replace(label="another"))


# kind of case, the fault, what is found of it, whether cryptsetup is needed to see it
FAULTS: t.Tuple[t.Tuple[str, Plant, str, bool], ...] = (
    ("luks2", unchecked_member, "KeyError", False),
    ("luks2", areas_not_checked, "areas|Error|outside", False),
    ("luks1", luks1_areas_not_checked, "areas", False),
    ("luks2", segments_not_checked, "cryptsetup does not load|Error", True),
    ("luks2", unknown_members_lost, "changed the metadata|not about", False),
    ("luks2", wrong_checksum_accepted, "cryptsetup does not load", True),
    ("luks2", names_drawn_as_they_are, "printable|one line", False),
    ("luks1", search_forgives_areas, "the summary", False),
    ("luks2", search_reads_its_own_label, "the summary", False),
    ("luks1", everything_read, "too much is read", False),
    ("luks1", for_ever, "processor time", False),
    ("look", budget_ignored, "the budget does not hold", False),
    ("look", erased_only_in_the_plan, "the real run leaves|not quiet", False),
    ("look", written_while_looking, "os.pwrite was called", False),
    ("look", check_mode_lies, "check mode says plan", False),
)


@pytest.mark.parametrize(("kind", "plant", "found", "ask"), FAULTS, ids=[fault[1].__name__ for fault in FAULTS])
def test_a_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, kind: str, plant: Plant, found: str, ask: bool
) -> None:
    plant(monkeypatch)
    monkeypatch.setattr(case, "ASK_EVERY", {kind: int(ask)})
    numbers = (index for index in range(20_000) if case.kind_of(index) == kind)
    for index in numbers:
        finding = case.run("planted", index).finding
        if finding and re.search(found, finding):
            return
    pytest.fail("no case found it")


def hungry(*arguments: t.Any, **options: t.Any) -> t.Any:
    return bytearray(2 << 30)


def finding_of_a_hungry_parser() -> str:
    """In a process of its own: what is bounded stays so."""
    case.bound_memory()
    headers.parsing.parse_header = hungry
    return case.run("planted", 20).finding


def test_more_memory_than_allowed_is_a_finding() -> None:
    assert "MemoryError" in in_a_fork(finding_of_a_hungry_parser)


def test_a_case_is_the_same_each_time() -> None:
    for index in (0, 5, 30, 70):
        assert case.make("luksmith", index)[1].raw == case.make("luksmith", index)[1].raw
        assert case.make("luksmith", index)[1].raw != case.make("other", index)[1].raw or index == 0


def test_without_a_fault_nothing_is_found() -> None:
    assert [case.run("planted", index) for index in range(200) if case.run("planted", index).finding] == []


def test_the_watch_puts_everything_back() -> None:
    before = os.pread, argon2.argon2
    with look.Watch().watching():
        assert os.pread is not before[0]
    assert (os.pread, argon2.argon2) == before
