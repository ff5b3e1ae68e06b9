# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the roles that are wrong: what is said of them, before a host is asked."""

from __future__ import annotations

import pathlib
import re
import types
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.luksmith.luks.plugins.plugin_utils import _audit, _one_host
from ansible_collections.luksmith.luks.plugins.plugin_utils._one_host import OneHost, misspelt
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import role_variables

ROOT = pathlib.Path(__file__).resolve().parents[4]
SPECS = {"audit": _audit.SPEC, "rotate": role_variables.SPEC}
ON_THE_HOST = {"audit": _audit.ON_THE_HOST, "rotate": role_variables.ON_THE_HOST}

# The role, a variable, its value, and what is said.
WRONG: t.Dict[str, t.Tuple[str, str, t.Any, str]] = {
    "no dash before a secret": (
        "rotate",
        "replaces",
        {"passphrase": "hunter2"},
        (
            "rotate_replaces is a dictionary, but must be a list. Write each item on a line of its own that "
            "begins with a dash."
        ),
    ),
    "a secret as text": (
        "audit",
        "secrets",
        ["hunter2"],
        (
            "Entry 1 of audit_secrets: audit_secrets[0] is text, but must be a dictionary. Its options are label,"
            " passphrase, passphrase_base64, keyfile, keyfile_offset, keyfile_size"
        ),
    ),
    "a misspelt option of a secret": (
        "rotate",
        "keeps",
        [{"label": "a", "passphrase": "x"}, {"label": "b", "passphrse": "hunter2"}],
        "Entry 2 of rotate_keeps: rotate_keeps[1].passphrse is not an option; did you mean passphrase?",
    ),
    "an option of a volume": (
        "audit",
        "volumes",
        [{"path": "/dev/sdb"}],
        "Entry 1 of audit_volumes: audit_volumes[0].device is missing; did you mean device for path?",
    ),
    "a volume as text": (
        "rotate",
        "volumes",
        ["/dev/sdb"],
        (
            "Entry 1 of rotate_volumes: rotate_volumes[0] is text, but must be a dictionary. Its options are "
            "device, header."
        ),
    ),
    "a number in words": (
        "rotate",
        "max_age",
        "90 days",
        "rotate_max_age is text, but must be a whole number.",
    ),
    "a choice": (
        "rotate",
        "unknown",
        "errase",
        "rotate_unknown is text, but must be one of report, fail, erase. Did you mean erase?",
    ),
    "a format of the report": (
        "audit",
        "report_formats",
        "html, pdf",
        (
            "audit_report_formats is text, but must be one of html, json, csv, junit, sarif, oscal, xccdf, arf. "
            "Write each item on a line of its own that begins with a dash."
        ),
    ),
    "yes or no": (
        "audit",
        "block_devices",
        "nope",
        "audit_block_devices is text, but must be true or false.",
    ),
    "a list of one path": (
        "rotate",
        "vault_file",
        ["/x"],
        "rotate_vault_file is a list, but must be a path.",
    ),
    "true as a path": (
        "rotate",
        "header_backup",
        True,
        ("rotate_header_backup is a boolean, but must be a path. Write the path, or leave rotate_header_backup out."),
    ),
    "a misspelt cost": (
        "rotate",
        "pbkdf",
        {"iteration": 1000},
        "rotate_pbkdf.iteration is not an option; did you mean iterations?",
    ),
    "a limit": ("audit", "kdf_limits", {"mem": 65536}, "audit_kdf_limits.mem is not an option. The options here are"),
    "costs": (
        "rotate",
        "pbkdf",
        "argon2id",
        "rotate_pbkdf is text, but must be a dictionary. Its options are type, hash, iterations, time,",
    ),
}


def options(role: str, **variables: t.Any) -> t.Tuple[OneHost, t.Any]:
    action: t.Any = types.SimpleNamespace(_templar=types.SimpleNamespace(template=lambda value: value))
    host = OneHost(action, {"inventory_hostname": "web", **variables})
    return host, host.options(SPECS[role], ON_THE_HOST[role])


@pytest.mark.parametrize("case", WRONG)
def test_place_reason_and_fix(case: str) -> None:
    role, name, value, told = WRONG[case]
    with pytest.raises(AnsibleActionFail) as caught:
        options(role, **{f"{role}_{name}": value})
    assert str(caught.value).startswith(told), caught.value
    assert str(caught.value).endswith(" Nothing was changed.") and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("role", SPECS)
def test_what_is_right(role: str) -> None:
    host, given = options(role, **{f"{role}_paths": "/srv/*.img,/var/*.img", f"{role}_lock_timeout": "5"})
    assert given[f"{role}_paths"] == ["/srv/*.img", "/var/*.img"] and given[f"{role}_lock_timeout"] == 5.0
    assert host.warnings == []


@pytest.mark.parametrize(
    ("role", "name", "meant"),
    [
        ("rotate", "rotate_genration", "rotate_generation"),
        ("rotate", "rotate_block_device", "rotate_block_devices"),
        ("audit", "audit_forbiden_secrets", "audit_forbidden_secrets"),
        ("audit", "audit_secret", "audit_secrets"),
    ],
)
def test_a_variable_that_is_misspelt(role: str, name: str, meant: str) -> None:
    with pytest.raises(AnsibleActionFail, match=rf"^{name} is no variable .* {meant}\?.* Nothing was changed\.$"):
        options(role, **{name: "x"})


@pytest.mark.parametrize("role", SPECS)
def test_variables_that_are_no_options(role: str) -> None:
    """Those of the role and its playbook, and a reader's own."""
    files = [*(ROOT / "roles" / role).rglob("*.yml"), ROOT / "playbooks" / f"{role}.yml"]
    names = {name for file in files for name in re.findall(rf"\b{role}_[a-z_]+\b", file.read_text())}
    assert len(names) > len(SPECS[role])
    assert misspelt([*names, f"{role}_team", "ansible_host", "rotate", f"my_{role}_path"], SPECS[role]) == []


def test_a_name_cannot_forge_lines() -> None:
    (said,) = misspelt(["rotate_generation\n\x1b[2J"], SPECS["rotate"])
    assert said.isprintable()


def test_what_ansible_finds_wrong_is_refused_even_if_nothing_of_ours_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_one_host, "complaints", lambda *_given: [])
    action: t.Any = types.SimpleNamespace(_templar=types.SimpleNamespace(template=lambda value: value))
    host = OneHost(action, {"inventory_hostname": "web", "number": "soon"})
    with pytest.raises(AnsibleActionFail, match=r"(?s)number.*Nothing was changed\."):
        host.options({"number": {"type": "int"}})


def test_a_fact_of_the_host_that_bears_the_name_of_a_variable() -> None:
    action: t.Any = types.SimpleNamespace(_templar=types.SimpleNamespace(template=lambda value: value))
    host = OneHost(action, {"inventory_hostname": "web", "ansible_facts": {"rotate_store": "command"}})
    with pytest.raises(AnsibleActionFail, match=r"web: .*rotate_store.*Nothing was changed\."):
        host.options(role_variables.SPEC)


@pytest.mark.parametrize("role", SPECS)
def test_a_path_on_the_host_is_not_one_of_the_controller(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``~`` is there only the host knows, which replaces it as for an option of a module."""
    monkeypatch.setenv("HOME", "/home/controller")
    given: t.Dict[str, t.Any] = {f"{role}_volumes": [{"device": "~/a.img", "header": "$HOME/a.header"}]}
    given[f"{role}_crypttab"] = "~/crypttab"
    if role == "rotate":
        given.update(rotate_header_backup="~/backups", rotate_backup_dir="$HOME/copies")
    else:
        given.update(audit_backups=["~/a.bak", "$HOME/b.bak"])
    _host, found = options(role, **given)
    assert {name: found[name] for name in given} == given
    assert options(role, **{f"{role}_volumes": [{"device": "/dev/x"}]})[1][f"{role}_volumes"][0]["header"] is None
    _host, found = options(role, **{f"{role}_report{'_directory' if role == 'audit' else ''}": "~/report"})
    assert "/home/controller/report" in found.values()
    rest = [
        name
        for name, option in SPECS[role].items()
        if name not in ON_THE_HOST[role] and "path" in (option["type"], option.get("elements"))
    ]
    assert all(any(word in name for word in ("vault", "escrow", "report", "policy")) for name in rest), rest
