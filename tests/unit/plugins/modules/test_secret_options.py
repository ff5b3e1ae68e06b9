# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option of every module that takes a secret is masked, and every module that has one is a SafeModule."""

from __future__ import annotations

import importlib
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._module.safe_module import (
    SafeModule,
    _pins,
    _unknown_texts,
)

PLUGINS = pathlib.Path(__file__).resolve().parents[4] / "plugins" / "modules"
# Those without code here are documentation of action plugins.
MODULES = sorted(path.stem for path in PLUGINS.glob("[a-z]*.py") if "def argument_spec" in path.read_text())
SECRET = ("passphrase", "passphrase_base64", "pin", "prints_key", "volume_key_base64")


def imported(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{name}")


def options(spec: t.Mapping[str, t.Any]) -> t.Iterator[t.Tuple[str, t.Mapping[str, t.Any]]]:
    for name, option in spec.items():
        yield name, option
        if name != "binding":  # whose pin may be the name of one: test_pins_of_bindings_are_masked_by_their_type
            yield from options(option.get("options") or {})


@pytest.mark.parametrize("name", MODULES)
def test_secrets_are_masked_and_not_logged(name: str) -> None:
    module = imported(name)
    found = list(options(module.argument_spec()))
    masked = [option for option, spec in found if spec.get("no_log")]
    assert [option for option, spec in found if (option in SECRET) != bool(spec.get("no_log"))] == []
    if masked:
        assert module.SafeModule is SafeModule and not hasattr(module, "AnsibleModule")


def test_pins_of_bindings_are_masked_by_their_type() -> None:
    clevis, tpm2 = {"type": "clevis", "pin": "tang"}, {"type": "systemd-tpm2", "pin": "1234"}
    wrong = {"type": "clevs", "pin": 5678}
    assert list(_pins([{"binding": one} for one in (clevis, tpm2, wrong, {}, "1")] + ["2", {}])) == ["1234", "5678"]
    assert list(_pins(None)) == list(_pins("text")) == []


def test_texts_of_unknown_options_are_found_at_any_depth() -> None:
    spec = imported("keyslots").argument_spec()
    params = {
        "device": "/dev/x",
        "_ansible_check_mode": True,
        "unlock": [
            {"label": "known", "passphrase": "masked by name", "passphrse": "one"},
            ["two", {"a": "three"}],
            "four",
        ],
        "keyslots": [{"new_secret": {"pass": "five"}, "old": {"passphrase": "six"}, "pbkdf": {"hash": "sha256"}}],
        "unlocks": {"x": [["seven"]]},
    }
    assert _unknown_texts(params, spec) == {"one", "two", "three", "four", "five", "six", "seven"}
