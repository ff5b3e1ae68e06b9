# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pattern that matches nobody stops the playbook before it does nothing and says so with success."""

from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleLookupError  # noqa: E402
from ansible_collections.luksmith.luks.plugins.lookup import play_hosts  # noqa: E402

GROUPS = {"all": ["web", "db"], "web": ["web"], "db": ["db"]}


def looked_up(monkeypatch: pytest.MonkeyPatch, pattern: str, *, syntax: bool = False, **variables: t.Any) -> t.Any:
    lookup: t.Any = object.__new__(play_hosts.LookupModule)
    monkeypatch.setattr(play_hosts.context, "CLIARGS", {"syntax": syntax})
    monkeypatch.setattr(play_hosts.LookupModule, "_matching", lambda _self, name, _given: GROUPS.get(name, []))
    return lookup.run([pattern], variables)


def test_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_up(monkeypatch, "web") == ["web"]
    assert looked_up(monkeypatch, "all", ansible_limit="db") == ["all"]
    assert looked_up(monkeypatch, "nobody", syntax=True) == ["nobody"]


def test_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleLookupError, match=r"No host of the inventory matches nobody\. Nothing was changed\."):
        looked_up(monkeypatch, "nobody")
    with pytest.raises(AnsibleLookupError, match="matches web with --limit db"):
        looked_up(monkeypatch, "web", ansible_limit="db")
