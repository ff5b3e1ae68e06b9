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
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.role_variables import SPEC

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


def options_of(role: str) -> t.Dict[str, t.Any]:
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    return t.cast(t.Dict[str, t.Any], specs["argument_specs"]["main"]["options"])


def test_every_option_of_the_role_audit_is_read_once() -> None:
    options = options_of("audit")
    once, host = yaml.safe_load((ROLES / "audit" / "tasks" / "main.yml").read_text())
    assert once["luksmith.luks.role_options"]["names"] == list(options)
    assert list(host["vars"]) == list(options)
    for name, value in host["vars"].items():
        assert re.fullmatch(rf"{{{{ audit_once\.options\.{name} }}}}", value)


def test_every_option_of_the_role_rotate_is_read_by_its_action() -> None:
    """With the type, the default and the choices that the role documents, and no other variable is read."""

    def plain(option: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
        kept = {name: option[name] for name in ("type", "elements", "choices", "default") if name in option}
        kept["no_log"] = bool(option.get("no_log"))
        inner = {name: plain(one) for name, one in option.get("options", {}).items()}
        return {**kept, "required": bool(option.get("required")), "options": inner}

    options = options_of("rotate")
    assert list(SPEC) == list(options)
    for name, option in options.items():
        assert plain(SPEC[name]) == plain(option), name
    defaults = yaml.safe_load((ROLES / "rotate" / "defaults" / "main.yml").read_text())
    assert defaults == {name: option["default"] for name, option in options.items() if "default" in option}
