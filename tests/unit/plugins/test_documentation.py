# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules' documentation says what their code does."""

from __future__ import annotations

import importlib
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest

pytest.importorskip("ansible")
yaml = pytest.importorskip("yaml")

from ansible_collections.luksmith.luks.plugins.action import fleet_report
from ansible_collections.luksmith.luks.plugins.doc_fragments import _volume
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit_task, policy, ready_policies
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import backup_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.kdf import Budget
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures import recipe
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import (
    costs,
    options,
    parse,
    parse_info,
    parse_verify,
)
from ansible_collections.luksmith.luks.tests.tools import importable

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.luksmith.luks.plugins.modules."
FRAGMENT = yaml.safe_load(_volume.ModuleDocFragment.DOCUMENTATION)["options"]


PARSERS: t.Dict[str, t.Any] = {
    "keyslots": parse.parse_task,
    "keyslots_info": parse_info.parse_info,
    "audit": audit_task.parse_audit,
    "header_backup": backup_task.parse_backup,
    "test_volumes": lambda params: [recipe.parse_recipe(volume, "volume") for volume in params["volumes"]],
    "verify_volume": parse_verify.parse_verify,
}


def load(name: str) -> t.Tuple[t.Any, t.Dict[str, t.Any]]:
    """The module, and its options with those of its fragments, joined as Ansible joins them: option by option."""
    module = importlib.import_module(PACKAGE + name)
    documentation = yaml.safe_load(module.DOCUMENTATION)
    documented: t.Dict[str, t.Any] = {}
    for fragment in documentation["extends_documentation_fragment"]:
        file, _dot, part = fragment.rpartition("luksmith.luks.")[2].partition(".")
        known = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.doc_fragments.{file}")
        text = getattr(known.ModuleDocFragment, part.upper() or "DOCUMENTATION")
        documented.update(yaml.safe_load(text)["options"])
    for option, described in documentation["options"].items():
        documented[option] = {**documented.get(option, {}), **described}
    return module, documented


def compare(spec: t.Mapping[str, t.Any], documented: t.Mapping[str, t.Any], where: str) -> None:
    assert set(spec) == set(documented), where
    for name, option in spec.items():
        described = documented[name]
        for key in ("type", "elements", "choices", "default", "required"):
            assert option.get(key) == described.get(key), f"{where}{name}: {key}"
        compare(option.get("options", {}), described.get("suboptions", {}), f"{where}{name}.")


AGREE = [
    "keyslots",
    "keyslots_info",
    "volumes_info",
    "audit",
    "header_backup",
    "keyfile",
    "test_volumes",
    "verify_volume",
]


@pytest.mark.parametrize("name", AGREE)
def test_documentation_and_specification_agree(name: str) -> None:
    module, documented = load(name)
    compare(module.argument_spec(), documented, "")


def test_documentation_and_specification_of_the_report_agree() -> None:
    """The specification is that of the action plugin; the module is documentation only."""
    compare(fleet_report.ARGUMENT_SPEC, load("fleet_report")[1], "")


def test_every_default_of_the_group_is_an_option_of_all_its_members() -> None:
    """Ansible hands a default to each member and refuses it where there is no such option."""
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["luks"]
    members = [action.rpartition(".")[2] for action in group]
    told = [
        path.stem
        for path in sorted((ROOT / "plugins" / "modules").glob("[a-z]*.py"))
        if "luksmith.luks._attributes.actiongroup"
        in yaml.safe_load(load(path.stem)[0].DOCUMENTATION)["extends_documentation_fragment"]
    ]
    assert members == told
    for name in members:
        assert {"device", "header", "lock_timeout", "kdf_limits"} <= set(load(name)[0].argument_spec()), name


@pytest.mark.parametrize("name", [name for name in AGREE if name != "volumes_info"])
def test_only_secrets_are_masked(name: str) -> None:
    """Labels and paths must stay readable: they are what a person knows a secret by."""
    masked: t.Set[str] = set()

    def walk(spec: t.Mapping[str, t.Any]) -> None:
        for option, described in spec.items():
            if described.get("no_log"):
                masked.add(option)
            walk(described.get("options", {}))

    walk(load(name)[0].argument_spec())
    unlocks = {"volume_key_base64", "pin"} if name in ("keyslots", "keyslots_info", "header_backup", "audit") else set()
    assert masked == {"passphrase", "passphrase_base64"} | unlocks


def test_choices_and_defaults_are_those_of_the_engine() -> None:
    spec = load("keyslots")[0].argument_spec()
    entry = spec["keyslots"]["options"]
    assert tuple(spec["wipe"]["choices"]) == parse.WIPES
    assert spec["verify"]["choices"] == [options.PROOF, options.RECORD]
    assert tuple(entry["priority"]["choices"]) == parse.PRIORITIES
    assert tuple(entry["pbkdf"]["options"]["type"]["choices"]) == costs.TYPES
    assert set(entry["pbkdf"]["options"]) == {"type", "hash", *costs.BOUNDS}
    assert spec["lock_timeout"]["default"] == options.LOCK_TIMEOUT
    assert set(spec["kdf_limits"]["options"]) == set(options.LIMITS)


def test_choices_of_volumes_for_tests_are_those_of_the_engine() -> None:
    volume = load("test_volumes")[0].argument_spec()["volumes"]["options"]
    keyslot = volume["keyslots"]["options"]
    assert set(volume) == set(recipe.VOLUME_OPTIONS) and set(keyslot) == set(recipe.KEYSLOT_OPTIONS)
    found = [volume[name]["choices"] for name in ("format", "damaged_copy", "key_size")]
    found += [keyslot[name]["choices"] for name in ("priority", "token", "interrupted")]
    known = (recipe.FORMATS, recipe.COPIES, recipe.KEY_SIZES, recipe.PRIORITIES, recipe.TOKENS, recipe.INTERRUPTED)
    assert found == [list(choices) for choices in known]


def test_choices_of_the_audit_are_those_of_the_engine() -> None:
    spec = load("audit")[0].argument_spec()
    assert tuple(spec["verify"]["choices"]) == audit_task.VERIFY
    assert tuple(spec["fail_on"]["choices"]) == audit_task.FAIL_ON


def test_every_policy_key_and_ready_policy_is_documented() -> None:
    described = str(load("audit")[1]["policy"]["description"])
    for key in policy.KEYS:
        assert f"C({key})" in described
    for name in ready_policies.READY:
        assert f"V({name})" in described


@pytest.mark.parametrize("limit", sorted(set(options.LIMITS) - {"total_memory"}))
def test_documented_limits_are_the_real_ones(limit: str) -> None:
    assert f"V({getattr(Budget(), f'max_{limit}')})" in str(FRAGMENT["kdf_limits"]["suboptions"][limit]["description"])


@pytest.mark.parametrize("name", PARSERS)
def test_examples_are_tasks_that_parse(name: str) -> None:
    """Every example passes the checks before a volume is touched (with keyfiles and vault variables filled in)."""
    module, _documented = load(name)
    for example in yaml.safe_load(module.EXAMPLES):
        params = example.get(f"luksmith.luks.{name}")
        if params is not None:
            PARSERS[name](filled(params))


def filled(value: t.Any) -> t.Any:
    if isinstance(value, list):
        return [filled(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "volume_key_file" in value:
        return {"label": value.get("label"), "volume_key_base64": "AAAAAAAAAAAAAAAAAAAAAA=="}
    if "keyfile" in value:
        return {"label": value.get("label"), "passphrase": f"content of {value['keyfile']}"}
    if "passphrase_base64" in value:
        return {**value, "passphrase_base64": "c2VjcmV0"}
    return {key: filled(item) for key, item in value.items()}


# Lines of a terminal with 80 columns; the options stand before the examples, in ansible-doc's order.
EXAMPLES_BEGIN = {
    "audit": 326,
    "header_backup": 260,
    "keyfile": 150,
    "keyslots": 430,
    "keyslots_info": 188,
    "test_volumes": 318,
    "verify_volume": 232,
    "volumes_info": 90,
}
SCREEN = 24


@pytest.mark.needs("ansible-playbook")
@pytest.mark.parametrize("name", EXAMPLES_BEGIN)
def test_a_reader_finds_an_example(name: str) -> None:
    """A whole task on the first screen of a module of the group, and EXAMPLES not far below."""
    program = pathlib.Path(sys.executable).with_name("ansible-doc")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(importable.collections_path()),
        "ANSIBLE_HOME": str(ROOT / ".cache" / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "80",
    }
    command = [str(program), f"luksmith.luks.{name}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    begin = next(number for number, line in enumerate(lines, 1) if line.startswith("EXAMPLES:"))
    assert begin <= EXAMPLES_BEGIN[name], f"the examples begin in line {begin}"
    if name == "keyfile":  # the role rotate uses it, people hardly do
        return
    shown = " ".join(" ".join(lines[:SCREEN]).split())
    found = re.search(r"`(luksmith\.luks\.\w+: \{.*?\})'\.", shown)
    assert found, shown
    ((module, options),) = yaml.safe_load(found.group(1)).items()
    assert module == f"luksmith.luks.{name}" and set(options) <= set(load(name)[1])
    if name in PARSERS:
        PARSERS[name](options)


@pytest.mark.parametrize(
    "role", sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
)
def test_every_role_has_an_example(role: str) -> None:
    whole = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())
    specification = whole["argument_specs"]["main"]
    (play,) = yaml.safe_load(specification["examples"])
    assert play["roles"] == [f"luksmith.luks.{role}"]
    assert set(play["vars"]) - {"ansible_pipelining"} <= set(specification["options"])


def test_what_is_short_in_a_module_is_at_length_in_the_docs() -> None:
    """docs/options.md says more of each option of the module and of its entries than ansible-doc has room for."""
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    documented = load("keyslots")[1]
    names = {*documented, *documented["keyslots"]["suboptions"], *documented["unlock"]["suboptions"]}
    assert [name for name in sorted(names - {"device"}) if f"`{name}" not in text] == []
