# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule has its identifiers or says why it has none, and docs/rules.md shows the book as it is."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import rules
from ansible_collections.luksmith.luks.plugins.plugin_utils._report.fleet_rules import FLEET_RULES
from ansible_collections.luksmith.luks.plugins.plugin_utils._report.rule_book import BOOK, TOPICS, ids_of

DOCUMENT = pathlib.Path(__file__).resolve().parents[5] / "docs" / "rules.md"


def test_every_rule_is_in_it_and_no_other() -> None:
    assert set(BOOK) == {*rules.IDS, *FLEET_RULES}


@pytest.mark.parametrize("rule", BOOK)
def test_a_rule_has_identifiers_or_a_reason(rule: str) -> None:
    entry = BOOK[rule]
    assert bool(entry.topics) != bool(entry.why)
    assert bool(ids_of(rule)) == bool(entry.topics)
    assert entry.remedy and entry.mistaken


def test_every_topic_is_used_and_has_identifiers() -> None:
    assert {topic for entry in BOOK.values() for topic in entry.topics} == set(TOPICS)
    assert all(topic.ids for topic in TOPICS.values())


def test_a_rule_of_another_release_has_none() -> None:
    assert ids_of("not-yet") == []


def test_the_page_is_the_book() -> None:
    if not DOCUMENT.exists():
        pytest.skip("docs/rules.md is not in this copy")
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    topics = [f"| {name} | {topic.about} | {', '.join(topic.ids)} |" for name, topic in TOPICS.items()]
    entries = [
        f"| `{rule}` | {about} | {BOOK[rule].remedy} "
        f"| {', '.join(BOOK[rule].topics) or f'none: {BOOK[rule].why}'} | {BOOK[rule].mistaken} |"
        for rule, about in [*((rule.id, rule.about) for rule in rules.RULES), *FLEET_RULES.items()]
    ]
    assert [line for line in lines if line.startswith("| `")] == entries
    assert [line for line in lines if line.partition(" | ")[0][2:] in TOPICS] == topics
