# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils import _audit
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


def test_the_role_audit_reads_no_option_after_its_host_was_asked() -> None:
    """The action has what it read before; what a task gives to its variables wins over the facts of a host."""
    look, report, fail, nothing = yaml.safe_load((ROLES / "audit" / "tasks" / "main.yml").read_text())
    assert list(look) == ["name", "luksmith.luks.audit_host", "register"]
    assert tuple(report["vars"]) == _audit.REPORT
    for name, value in report["vars"].items():
        assert value == f"{{{{ audit_looked.report.{name} }}}}"
    assert set(re.findall(r"\baudit_\w+", str([report["when"], fail]))) == {"audit_looked", "audit_report_directory"}
    assert set(re.findall(r"\baudit_\w+", str(nothing))) == {"audit_nothing"}


@pytest.mark.parametrize(("role", "spec"), [("rotate", SPEC), ("audit", _audit.SPEC)])
def test_every_option_of_a_role_is_read_by_its_action(role: str, spec: t.Any) -> None:
    """With the type, the default and the choices that the role documents, and no other variable is read."""

    def plain(option: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
        kept = {name: option[name] for name in ("type", "elements", "choices", "default") if name in option}
        kept["no_log"] = bool(option.get("no_log"))
        inner = {name: plain(one) for name, one in option.get("options", {}).items()}
        return {**kept, "required": bool(option.get("required")), "options": inner}

    options = options_of(role)
    assert list(spec) == list(options)
    for name, option in options.items():
        assert plain(spec[name]) == plain(option), name
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    assert defaults == {name: option["default"] for name, option in options.items() if "default" in option}
