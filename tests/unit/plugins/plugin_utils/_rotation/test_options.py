# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.options import (
    ClaimedByHost,
    claimed,
    refuse_claimed,
)

yaml = pytest.importorskip("yaml")

ROLES = pathlib.Path(__file__).resolve().parents[5] / "roles"


@pytest.mark.parametrize(
    "facts", [None, {}, {"distribution": "Debian", "ansible_local": {"rotate_store": "x"}, "rotates": 1}]
)
def test_facts_of_others(facts: t.Any) -> None:
    refuse_claimed(facts)


@pytest.mark.parametrize("name", ["rotate_store", "ansible_rotate_store", "audit_report_directory", "rotate_anything"])
def test_a_fact_that_bears_our_name(name: str) -> None:
    assert claimed({"distribution": "Debian", name: 1}) == [name]
    with pytest.raises(ClaimedByHost, match=name):
        refuse_claimed({name: 1})


def test_the_name_of_a_fact_cannot_forge_lines() -> None:
    with pytest.raises(ClaimedByHost) as caught:
        refuse_claimed({"rotate_\n\x1b[2Jok: [web]": 1})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("role", ["rotate", "audit"])
def test_every_option_of_a_role_is_read_once(role: str) -> None:
    """And every one but the new passphrase, which need not be given, is a variable of the tasks."""
    options = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    once, host = yaml.safe_load((ROLES / role / "tasks" / "main.yml").read_text())
    assert once["luksmith.luks.role_options"]["names"] == list(options)
    assert list(host["vars"]) == [name for name in options if name != "rotate_passphrase"]
    for name, value in host["vars"].items():
        assert re.fullmatch(rf"{{{{ {role}_once\.options\.{name}( \| default\(''\))? }}}}", value)
