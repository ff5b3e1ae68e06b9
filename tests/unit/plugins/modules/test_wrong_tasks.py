# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong tasks get the place, the reason and what to write instead, from one function for all modules."""

from __future__ import annotations

import importlib
import pathlib
import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._module.luks_device import HINTS
from ansible_collections.luksmith.luks.plugins.module_utils._module.wrong_task import CheckedModule, complaints

PLUGINS = pathlib.Path(__file__).resolve().parents[4] / "plugins" / "modules"
# Those without code here are documentation of action plugins.
MODULES = sorted(path.stem for path in PLUGINS.glob("[a-z]*.py") if "def argument_spec" in path.read_text())

Task = t.Dict[str, t.Any]
SECRET = {"passphrase": "hunter2"}
ENTRY = {"new_secret": SECRET}
OF_A_SECRET = "Its options are label, passphrase, passphrase_base64, keyfile, keyfile_offset, keyfile_size."
OF_A_NEW_ONE = OF_A_SECRET.replace("keyfile_size.", "keyfile_size, token.")
DASH = "Write each item on a line of its own that begins with a dash."


def module(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{name}")


def entry(**options: t.Any) -> Task:
    """The second of two entries, so that a place has something to tell."""
    return {"device": "/x", "keyslots": [ENTRY, {**ENTRY, **options}]}


def said(name: str, task: Task) -> t.List[str]:
    return complaints(task, module(name).argument_spec(), HINTS if name == "keyslots" else None)


# What Ansible reports without its place, or takes for something else.
WRONG: t.Dict[str, t.Tuple[str, Task, t.Sequence[str]]] = {
    "keyslot for keyslots": (
        "keyslots",
        {"device": "/x", "keyslot": [ENTRY]},
        ["keyslots is missing; did you mean keyslots for keyslot?"],
    ),
    "no keyslots": ("keyslots", {"device": "/x"}, ["keyslots is missing."]),
    "misspelt option of an entry": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY, {"new_secrt": SECRET}]},
        ["Entry 2 of keyslots: keyslots[1].new_secrt is not an option; did you mean new_secret?"],
    ),
    "misspelt option of a secret": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY], "unlock": [{"Passphrase": "hunter2"}]},
        ["Entry 1 of unlock: unlock[0].Passphrase is not an option; did you mean passphrase?"],
    ),
    "misspelt cost": (
        "keyslots",
        entry(pbkdf={"iteration": 1000}),
        ["Entry 2 of keyslots: keyslots[1].pbkdf.iteration is not an option; did you mean iterations?"],
    ),
    "a secret in an entry": (
        "keyslots",
        {"device": "/x", "keyslots": [{"passphrase": "hunter2"}]},
        [
            (
                "Entry 1 of keyslots: keyslots[0].passphrase is not an option here; it belongs to unlock[] or "
                "keyslots[].new_secret or keyslots[].old_secret."
            )
        ],
    ),
    "purge in an entry": (
        "keyslots",
        entry(purge=True),
        ["Entry 2 of keyslots: keyslots[1].purge is not an option here; it belongs to the task itself."],
    ),
    "priority of the task": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY], "priority": "ignore"},
        ["priority is not an option here; it belongs to keyslots[]."],
    ),
    "the file of a backup": (
        "header_backup",
        {"device": "/x", "dest": "/y"},
        ["path is missing; did you mean path for dest?"],
    ),
    "an option of nothing": (
        "header_backup",
        {"device": "/x", "path": "/y", "dest": "/z"},
        [
            (
                "dest is not an option. The options here are device, path, state, header, lock_timeout, fips, "
                "kdf_limits, unlock, force."
            )
        ],
    ),
    "an entry without a dash": (
        "keyslots",
        {"device": "/x", "keyslots": ENTRY},
        [f"keyslots is a dictionary, but must be a list. {DASH}"],
    ),
    "unlock without a dash": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY], "unlock": SECRET},
        [f"unlock is a dictionary, but must be a list. {DASH}"],
    ),
    "unlock as text": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY], "unlock": "hunter2"},
        [f"unlock is text, but must be a list. {DASH}"],
    ),
    "a number as entries": (
        "keyslots",
        {"device": "/x", "keyslots": 5},
        [f"keyslots is a number, but must be a list. {DASH}"],
    ),
    "an empty entry": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY, None]},
        [
            (
                "Entry 2 of keyslots: keyslots[1] is empty, but must be a dictionary. Its options are state, keyslot, "
                "new_secret, old_secret, iter_time, pbkdf, priority, binding."
            )
        ],
    ),
    "a secret as text": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY, {"new_secret": "hunter2"}]},
        [f"Entry 2 of keyslots: keyslots[1].new_secret is text, but must be a dictionary. {OF_A_NEW_ONE}"],
    ),
    "a secret as a list": (
        "keyslots",
        entry(old_secret=["hunter2"]),
        [f"Entry 2 of keyslots: keyslots[1].old_secret is a list, but must be a dictionary. {OF_A_SECRET}"],
    ),
    "a list under device": (
        "keyslots",
        {"device": ["/x", "/y"], "keyslots": [ENTRY]},
        ["device is a list, but must be a path. device takes one path, devices a list."],
    ),
    "header: true": (
        "keyslots",
        {"device": "/x", "header": True, "keyslots": [ENTRY]},
        ["header is a boolean, but must be a path. Write the path, or leave header out."],
    ),
    "iter_time: 2s": (
        "keyslots",
        entry(iter_time="2s"),
        [
            (
                "Entry 2 of keyslots: keyslots[1].iter_time is text, but must be a whole number. iter_time is in "
                "milliseconds: 2000."
            )
        ],
    ),
    "lock_timeout: 1m": (
        "keyslots_info",
        {"device": "/x", "lock_timeout": "1m"},
        ["lock_timeout is text, but must be a number. lock_timeout is in seconds: 30."],
    ),
    "memory: 1 GiB": (
        "keyslots",
        entry(pbkdf={"memory": "1 GiB"}),
        ["Entry 2 of keyslots: keyslots[1].pbkdf.memory is text, but must be a whole number. memory is in KiB: 65536."],
    ),
    "keyslot: first": (
        "keyslots",
        entry(keyslot="first"),
        ["Entry 2 of keyslots: keyslots[1].keyslot is text, but must be a whole number."],
    ),
    "keyslot: yes": (
        "keyslots",
        entry(keyslot=True),
        ["Entry 2 of keyslots: keyslots[1].keyslot is a boolean, but must be a whole number."],
    ),
    "purge: maybe": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY], "purge": "maybe"},
        ["purge is text, but must be true or false."],
    ),
    "state: Present": (
        "keyslots",
        entry(state="Present"),
        ["Entry 2 of keyslots: keyslots[1].state is text, but must be one of present, absent. Did you mean present?"],
    ),
    "a misspelt choice": (
        "audit",
        {"device": "/x", "fail_on": "hihg"},
        ["fail_on is text, but must be one of never, critical, high, medium, low, info. Did you mean high?"],
    ),
    "devices where there is one": (
        "keyslots_info",
        {"devices": ["/x"]},
        ["device is missing.", "devices is not an option; did you mean device?"],
    ),
    "unlock where there are secrets": (
        "keyslots_info",
        {"device": "/x", "passphrase": "hunter2"},
        ["passphrase is not an option here; it belongs to secrets[]."],
    ),
    "path for paths": ("volumes_info", {"path": "/x"}, ["path is not an option; did you mean paths?"]),
    "crypttab: false": (
        "volumes_info",
        {"crypttab": False},
        ["crypttab is a boolean, but must be a path. Write the path, or leave crypttab out."],
    ),
    "old_secret for old_secrets": (
        "keyfile",
        {"path": "/x", "new_secret": SECRET, "old_secret": SECRET},
        ["old_secret is not an option; did you mean old_secrets?"],
    ),
    "password": (
        "keyslots",
        entry(new_secret={"password": "hunter2"}),
        ["Entry 2 of keyslots: keyslots[1].new_secret.password is not an option; did you mean passphrase?"],
    ),
    "secret for new_secret": (
        "keyslots",
        {"device": "/x", "keyslots": [{"secret": SECRET}]},
        ["Entry 1 of keyslots: keyslots[0].secret is not an option; did you mean new_secret?"],
    ),
    "keyslot: 1.5": (
        "keyslots",
        entry(keyslot=1.5),
        ["Entry 2 of keyslots: keyslots[1].keyslot is a number, but must be a whole number."],
    ),
    "several numbers in an entry": (
        "keyslots",
        {"device": "/x", "keyslots": [{"state": "absent", "keyslot": [1, 2]}]},
        ["Entry 1 of keyslots: keyslots[0].keyslot is a list, but must be a whole number."],
    ),
    "state: removed": (
        "keyslots",
        entry(state="removed"),
        ["Entry 2 of keyslots: keyslots[1].state is text, but must be one of present, absent."],
    ),
    "priority: 2": (
        "keyslots",
        entry(priority=2),
        ["Entry 2 of keyslots: keyslots[1].priority is a number, but must be one of ignore, normal, prefer."],
    ),
    "argon2": (
        "keyslots",
        entry(pbkdf={"type": "argon2"}),
        [
            (
                "Entry 2 of keyslots: keyslots[1].pbkdf.type is text, but must be one of pbkdf2, argon2i, argon2id. "
                "Did you mean argon2id?"
            )
        ],
    ),
    "pbkdf: argon2id": (
        "keyslots",
        entry(pbkdf="argon2id"),
        [
            (
                "Entry 2 of keyslots: keyslots[1].pbkdf is text, but must be a dictionary. Its options are type, hash, "
                "iterations, time, memory, parallel."
            )
        ],
    ),
    "a misspelt pin": (
        "keyslots",
        {"device": "/x", "keyslots": [ENTRY], "unlock": [{"token": "auto", "pins": "hunter2"}]},
        ["Entry 1 of unlock: unlock[0].pins is not an option; did you mean pin?"],
    ),
    "new_secret as a list": (
        "keyslots",
        {"device": "/x", "keyslots": [{"new_secrets": [SECRET]}]},
        ["Entry 1 of keyslots: keyslots[0].new_secrets is not an option; did you mean new_secret?"],
    ),
    "a volume as a dictionary": (
        "keyslots",
        {"devices": [{"device": "/x"}], "keyslots": [ENTRY]},
        ["Entry 1 of devices: devices[0] is a dictionary, but must be a path. Write the path."],
    ),
    "numbers as rows": (
        "verify_volume",
        {"device": "/x", "keyslots": [{"keyslot": 0}]},
        ["Entry 1 of keyslots: keyslots[0] is a dictionary, but must be a whole number."],
    ),
    "a token as a row": (
        "verify_volume",
        {"device": "/x", "tokens": [{"type": "clevis"}]},
        ["Entry 1 of tokens: tokens[0] is a dictionary, but must be text."],
    ),
    "a secret as text in verify_volume": (
        "verify_volume",
        {"device": "/x", "opens": "hunter2"},
        [f"opens is text, but must be a list. {DASH}"],
    ),
    "open for opens": (
        "verify_volume",
        {"device": "/x", "open": [SECRET]},
        ["open is not an option; did you mean opens?"],
    ),
    "restore for restored": (
        "header_backup",
        {"device": "/x", "path": "/y", "state": "restore"},
        ["state is text, but must be one of present, restored. Did you mean restored?"],
    ),
    "a passphrase in header_backup": (
        "header_backup",
        {"device": "/x", "path": "/y", "passphrase": "hunter2"},
        ["passphrase is not an option here; it belongs to unlock[]."],
    ),
    "secret for the new one of a keyfile": (
        "keyfile",
        {"path": "/x", "secret": SECRET},
        ["new_secret is missing; did you mean new_secret for secret?"],
    ),
    "fail_on: true": (
        "audit",
        {"device": "/x", "fail_on": True},
        ["fail_on is a boolean, but must be one of never, critical, high, medium, low, info."],
    ),
    "one secret of an audit": (
        "audit",
        {"device": "/x", "secrets": SECRET},
        [f"secrets is a dictionary, but must be a list. {DASH}"],
    ),
    "the device of volumes_info": (
        "volumes_info",
        {"device": "/x"},
        ["device is not an option. The options here are paths, block_devices, crypttab."],
    ),
    "a token in short": (
        "test_volumes",
        {"volumes": [{"path": "/x", "keyslots": [{"token": "tpm2"}]}]},
        [
            (
                "Entry 1 of volumes: volumes[0].keyslots[0].token is text, but must be one of clevis, "
                "systemd-recovery, systemd-tpm2, systemd-fido2. Did you mean systemd-tpm2?"
            )
        ],
    ),
    "numbers for keyslots": (
        "test_volumes",
        {"volumes": [{"path": "/x", "keyslots": [0]}]},
        [
            (
                "Entry 1 of volumes: volumes[0].keyslots[0] is a number, but must be a dictionary. Its options are "
                "keyslot, secret, pbkdf, priority, bound, token, interrupted."
            )
        ],
    ),
    "format: luks": (
        "test_volumes",
        {"volumes": [{"path": "/x", "format": "luks"}]},
        ["Entry 1 of volumes: volumes[0].format is text, but must be one of luks2, luks1, qcow2. Did you mean luks2?"],
    ),
    "the variable of the role": (
        "test_volumes",
        {"test_volumes_list": [{"path": "/x"}]},
        ["volumes is missing; did you mean volumes for test_volumes_list?"],
    ),
    "two mistakes": (
        "keyslots",
        {"device": "/x", "keyslots": [{"new_secrt": SECRET}], "purge": "maybe"},
        [
            "Entry 1 of keyslots: keyslots[0].new_secrt is not an option; did you mean new_secret?",
            "purge is text, but must be true or false.",
        ],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_place_reason_and_fix(name: str) -> None:
    of, task, expected = WRONG[name]
    assert said(of, task) == expected
    assert "hunter2" not in str(expected)


# What belongs together and contradicts itself is for the engine to tell.
TOGETHER: t.Dict[str, t.Tuple[Task, str]] = {
    "device and devices": ({"device": "/x", "devices": ["/y"], "keyslots": [ENTRY]}, "Give device for one volume"),
    "neither": ({"keyslots": [ENTRY]}, "Give device for one volume"),
    "header and devices": ({"devices": ["/y"], "header": "/h", "keyslots": [ENTRY]}, "Use device, in one task"),
    "two sources": (entry(new_secret={**SECRET, "keyfile": "/k"}), "keyslots[1].new_secret has more than one source"),
    "no source": (entry(new_secret={"label": "mine"}), "Give exactly one of passphrase"),
    "absent and new": (entry(state="absent"), "keyslots[1] is absent and has new_secret"),
    "no entry": ({"device": "/x", "keyslots": []}, "Give at least one entry"),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_options_that_contradict_each_other(name: str) -> None:
    task, expected = TOGETHER[name]
    assert said("keyslots", task) == []
    with pytest.raises(LuksmithError) as caught:
        parse_task(task)
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", sorted(HINTS))
def test_options_of_luks_device(name: str) -> None:
    task = {"device": "/x", "keyslots": [ENTRY], name: "hunter2"}
    (sentence,) = said("keyslots", task)
    assert sentence == f"{name} {HINTS[name]}." and "community.crypto.luks_device" in sentence


def test_costs_of_luks_device() -> None:
    (sentence,) = said("keyslots", entry(pbkdf={"iteration_time": 2}))
    assert sentence.startswith("Entry 2 of keyslots: keyslots[1].pbkdf.iteration_time is an option of community")
    assert sentence.endswith("write iter_time beside pbkdf, in milliseconds.")


# Each value is good for some types and wrong for others.
VALUES = ["text", "5", 5, 2.5, "2.5", True, "yes", [], ["text"], [{}], {}, {"a": 1}, "a=1", '{"a": 1}', "/path", "[1]"]


def refused_by_ansible(task: Task, spec: t.Mapping[str, t.Any]) -> bool:
    try:
        return bool(ArgumentSpecValidator(spec).validate(task).error_messages)
    except TypeError:  # with a traceback: for text or a number among dictionaries
        return True


def smallest(spec: t.Mapping[str, t.Any]) -> Task:
    """A task of the options that are required."""
    return {name: _good(option) for name, option in spec.items() if option.get("required")}


def _good(option: t.Mapping[str, t.Any]) -> t.Any:
    if option["type"] == "list":
        return [_good({**option, "type": option["elements"]})]
    if option["type"] == "dict":
        return smallest(option.get("options") or {})
    return option["choices"][0] if option.get("choices") else "/x"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_that_is_good_is_complained_about(name: str) -> None:
    """Ansible judges: what it takes we take, but for what it makes text of; what it refuses has a sentence."""
    assert issubclass(getattr(module(name), "SafeModule", CheckedModule), CheckedModule)
    spec = {**module(name).argument_spec(), "required": {"type": "str"}}
    needed = smallest(spec)
    assert complaints(needed, spec) == []
    for option, described in spec.items():
        for value in VALUES:
            task = {**needed, option: value}
            ours, theirs = complaints(task, spec), refused_by_ansible(task, spec)
            no_text = isinstance(value, bool) or "{" in str(value) or "[" in str(value)
            converted = described["type"] in ("path", "str", "int", "list") and no_text
            assert ours or not theirs, (option, value)
            assert theirs or converted or not ours, (option, value, ours)
