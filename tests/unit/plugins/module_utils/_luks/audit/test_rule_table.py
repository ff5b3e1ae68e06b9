# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/audit.md has every rule as it is, and names no rule that is not."""

from __future__ import annotations

import pathlib
import re

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import policy, ready_policies, rules

DOCUMENT = pathlib.Path(__file__).resolve().parents[6] / "docs" / "audit.md"
TEXT = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
pytestmark = pytest.mark.skipif(not TEXT, reason="docs/audit.md is not in this copy")


def test_the_table_is_the_rules() -> None:
    table = TEXT.partition("## Rules")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    expected = []
    for rule in rules.RULES:
        option = f"`{rule.option}`" if rule.option else ""
        references = f" {', '.join(rule.references)}." if rule.references else ""
        expected.append(f"| `{rule.id}` | {rule.severity} | {rule.looks_at} | {option} | {rule.about}{references} |")
    assert lines == expected


def test_every_rule_stands_where_it_belongs_and_no_other() -> None:
    points = TEXT.partition("point by point")[2].partition("Not decidable")[0]
    named = set(re.findall(r"`([a-z0-9-]+)`", points))
    assert named <= set(rules.IDS)
    assert len(re.findall(r"^\| \d+\. ", points, re.MULTILINE)) == 12


def test_options_of_rules_are_keys_of_policies() -> None:
    assert {rule.option for rule in rules.RULES if rule.option} <= set(policy.KEYS)


def test_names_are_unique_and_severities_real() -> None:
    assert len(set(rules.IDS)) == len(rules.IDS)
    assert {rule.severity for rule in rules.RULES} <= set(policy.SEVERITIES)


def test_ready_policies_are_in_the_table() -> None:
    assert all(f"`{name}`" in TEXT for name in ready_policies.READY)
