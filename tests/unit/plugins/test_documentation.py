# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules' documentation says what their code does."""

from __future__ import annotations

import importlib
import pathlib
import typing as t

import pytest

pytest.importorskip("ansible")
yaml = pytest.importorskip("yaml")

from ansible_collections.luksmith.luks.plugins.action import fleet_report
from ansible_collections.luksmith.luks.plugins.doc_fragments import _volume
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit_task, policy, ready_policies
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import backup_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.kdf import Budget
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import costs, options, parse, parse_info

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.luksmith.luks.plugins.modules."
FRAGMENT = yaml.safe_load(_volume.ModuleDocFragment.DOCUMENTATION)["options"]


PARSERS: t.Dict[str, t.Any] = {
    "keyslots": parse.parse_task,
    "keyslots_info": parse_info.parse_info,
    "audit": audit_task.parse_audit,
    "header_backup": backup_task.parse_backup,
}


def load(name: str) -> t.Tuple[t.Any, t.Dict[str, t.Any]]:
    module = importlib.import_module(PACKAGE + name)
    documentation = yaml.safe_load(module.DOCUMENTATION)
    shared = FRAGMENT if "luksmith.luks._volume" in documentation["extends_documentation_fragment"] else {}
    return module, {**documentation["options"], **shared}


def compare(spec: t.Mapping[str, t.Any], documented: t.Mapping[str, t.Any], where: str) -> None:
    assert set(spec) == set(documented), where
    for name, option in spec.items():
        described = documented[name]
        for key in ("type", "elements", "choices", "default", "required"):
            assert option.get(key) == described.get(key), f"{where}{name}: {key}"
        compare(option.get("options", {}), described.get("suboptions", {}), f"{where}{name}.")


@pytest.mark.parametrize("name", ["keyslots", "keyslots_info", "volumes_info", "audit", "header_backup"])
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


@pytest.mark.parametrize("name", ["keyslots", "keyslots_info", "audit", "header_backup"])
def test_only_secrets_are_masked(name: str) -> None:
    """Labels and paths must stay readable: they are what a person knows a secret by."""
    masked: t.Set[str] = set()

    def walk(spec: t.Mapping[str, t.Any]) -> None:
        for option, described in spec.items():
            if described.get("no_log"):
                masked.add(option)
            walk(described.get("options", {}))

    walk(load(name)[0].argument_spec())
    assert masked == {"passphrase", "passphrase_base64"}


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


@pytest.mark.parametrize("name", ["keyslots", "keyslots_info", "audit", "header_backup"])
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
    if "keyfile" in value:
        return {"label": value.get("label"), "passphrase": f"content of {value['keyfile']}"}
    if "passphrase_base64" in value:
        return {**value, "passphrase_base64": "c2VjcmV0"}
    return {key: filled(item) for key, item in value.items()}
