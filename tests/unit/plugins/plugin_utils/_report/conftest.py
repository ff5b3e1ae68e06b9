# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every report that a test here writes as JSON is judged by the schema."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import exchange, parts, writing
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import schema

LARGE = 100  # hosts of a report that would take long


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[None]:
    wrong: t.List[str] = []
    if schema.available():
        real = exchange.to_json

        def to_json(report: t.Mapping[str, t.Any]) -> str:
            if len(report["hosts"]) <= LARGE:
                wrong.extend(schema.complaints(report))
            return real(report)

        def parts_of(report: t.Mapping[str, t.Any]) -> parts.Parts:
            if len(report["hosts"]) <= LARGE:
                wrong.extend(schema.complaints(report))
            return parts.json_of(report)

        monkeypatch.setattr(exchange, "to_json", to_json)
        monkeypatch.setitem(writing.FORMS, "json", parts_of)
    yield
    assert wrong == []
