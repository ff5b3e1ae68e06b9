# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._searched import searched


@pytest.mark.parametrize(
    ("unmatched", "matched", "empty"),
    [
        ([], ["/a/*", "/b/*"], []),
        (["/b/*"], ["/a/*"], ["/b/*"]),
        (["/b/*", "/etc/*", 7, "{{ x }}"], ["/a/*"], ["/b/*"]),
        ("/b/*", ["/a/*", "/b/*"], []),
        (None, ["/a/*", "/b/*"], []),
    ],
)
def test_a_host_says_nothing_about_patterns_that_it_was_not_asked_for(
    unmatched: t.Any, matched: t.List[str], empty: t.List[str]
) -> None:
    assert searched("web", 2, ["/a/*", "/b/*"], unmatched, False) == {
        "volumes": 2,
        "host": "web",
        "matched": matched,
        "unmatched": empty,
        "allow_empty": False,
    }
