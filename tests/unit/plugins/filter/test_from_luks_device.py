# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each option of luks_device, turned or left with a note; what comes out is a task that the module takes."""

from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible_collections.luksmith.luks.plugins.filter.from_luks_device import KNOWN, OURS, FilterModule
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._module.luks_device import HINTS
from ansible_collections.luksmith.luks.plugins.module_utils._module.wrong_task import complaints
from ansible_collections.luksmith.luks.plugins.modules import keyslots

THEIRS = "community.crypto.luks_device"
turn = FilterModule().filters()["from_luks_device"]
Options = t.Dict[str, t.Any]

# A task that adds a key; each case adds its option to it.
ADD: Options = {"device": "/x", "passphrase": "a", "new_passphrase": "b"}
UNLOCK = {"passphrase": "a"}
ENTRY = {"new_secret": {"passphrase": "b"}}


def turned(options: Options, **others: t.Any) -> t.Tuple[t.List[Options], str]:
    result = turn([{"name": "Old", THEIRS: options, **others}])
    for task in result["tasks"]:
        if OURS in task:
            assert complaints(task[OURS], keyslots.argument_spec()) == []
            parse_task(task[OURS]).wipe_secrets()
    return result["tasks"], "\n".join(result["notes"])


# option -> options, the options of keyslots, a part of the notes. Others have the keys of ADD.
TURNED: t.Dict[str, t.Tuple[Options, Options, str]] = {
    "device": (ADD, {"device": "/x", "unlock": [UNLOCK], "keyslots": [ENTRY]}, ""),
    "passphrase": (ADD, {"unlock": [UNLOCK]}, ""),
    "keyfile": (
        {"device": "/x", "keyfile": "/k", "new_passphrase": "b"},
        {"unlock": [{"keyfile": "/k"}]},
        "",
    ),
    "new_passphrase": (ADD, {"keyslots": [ENTRY]}, ""),
    "new_keyfile": (
        {"device": "/x", "passphrase": "a", "new_keyfile": "/etc/hostname"},
        {"keyslots": [{"new_secret": {"keyfile": "/etc/hostname"}}]},
        "",
    ),
    "remove_passphrase": (
        {**ADD, "remove_passphrase": "c"},
        {"keyslots": [ENTRY, {"state": "absent", "old_secret": {"passphrase": "c"}}]},
        "every keyslot that the removed secret opens",
    ),
    "remove_keyfile": (
        {"device": "/x", "passphrase": "a", "remove_keyfile": "/etc/hostname"},
        {"keyslots": [{"state": "absent", "old_secret": {"keyfile": "/etc/hostname"}}]},
        "every keyslot that the removed secret opens",
    ),
    "remove_keyslot": (
        {"device": "/x", "passphrase": "a", "remove_keyslot": 3},
        {"keyslots": [{"state": "absent", "keyslot": 3}]},
        "",
    ),
    "new_keyslot": ({**ADD, "new_keyslot": 3}, {"keyslots": [{**ENTRY, "keyslot": 3}]}, ""),
    "force_remove_last_key": (
        {"device": "/x", "remove_keyslot": 0, "force_remove_last_key": True},
        {"keyslots": [{"state": "absent", "keyslot": 0}], "allow_lockout": True},
        "",
    ),
    "passphrase_encoding": (
        {"device": "/x", "passphrase": "YQ==", "new_passphrase": "Yg==", "passphrase_encoding": "base64"},
        {"unlock": [{"passphrase_base64": "YQ=="}], "keyslots": [{"new_secret": {"passphrase_base64": "Yg=="}}]},
        "",
    ),
    "keyslot_priority": (
        {"device": "/x", "passphrase": "a", "keyslot": 2, "keyslot_priority": "ignore"},
        {"unlock": [UNLOCK], "keyslots": [{"keyslot": 2, "priority": "ignore"}]},
        "",
    ),
    "keyslot": ({**ADD, "keyslot": 2}, {"keyslots": [ENTRY]}, "keyslot is for a new volume"),
    "state": ({**ADD, "state": "present"}, {"keyslots": [ENTRY]}, "no longer makes a volume"),
    "label": ({**ADD, "label": "data"}, {"device": "/x"}, "label is for a new volume"),
    "uuid": (
        {"uuid": "u", "passphrase": "a", "new_passphrase": "b"},
        {"device": "UUID=u"},
        "uuid is a tag in device now",
    ),
    "pbkdf": (
        {**ADD, "pbkdf": {"algorithm": "argon2id"}},
        {"keyslots": [{**ENTRY, "pbkdf": {"type": "argon2id"}}]},
        "",
    ),
    "algorithm": (
        {**ADD, "pbkdf": {"algorithm": "pbkdf2", "iteration_count": 2000}},
        {"keyslots": [{**ENTRY, "pbkdf": {"type": "pbkdf2", "iterations": 2000}}]},
        "",
    ),
    "iteration_count": (
        {**ADD, "pbkdf": {"iteration_count": 5}},
        {"keyslots": [{**ENTRY, "pbkdf": {"time": 5}}]},
        "taken for passes of Argon2",
    ),
    "iteration_time": ({**ADD, "pbkdf": {"iteration_time": 1.5}}, {"keyslots": [{**ENTRY, "iter_time": 1500}]}, ""),
    "memory": ({**ADD, "pbkdf": {"memory": 65536}}, {"keyslots": [{**ENTRY, "pbkdf": {"memory": 65536}}]}, ""),
    "parallel": ({**ADD, "pbkdf": {"parallel": 2}}, {"keyslots": [{**ENTRY, "pbkdf": {"parallel": 2}}]}, ""),
}
# What cannot be turned for another reason than that no option is like it.
NOTED: t.Dict[str, t.Tuple[Options, Options, str]] = {
    "pbkdf that is none": ({**ADD, "pbkdf": "argon2id"}, {"keyslots": [ENTRY]}, "pbkdf is not a dictionary"),
    "pbkdf without a new key": (
        {"device": "/x", "passphrase": "a", "remove_keyslot": 3, "pbkdf": {"memory": 65536}},
        {"keyslots": [{"state": "absent", "keyslot": 3}]},
        "pbkdf is for a new key, and is left out",
    ),
    "encoding that is not known yet": (
        {**ADD, "passphrase_encoding": "{{ encoding }}"},
        {"unlock": [UNLOCK]},
        "passphrase_encoding is not known before the play runs",
    ),
    # Not a link below /dev/disk/by-label, which leads to one of two volumes of that label.
    "label alone": (
        {"label": "crypt", "passphrase": "a", "new_passphrase": "b"},
        {"device": "LABEL=crypt"},
        "label is a tag in device now",
    ),
    "keyslot_priority alone": (
        {"device": "/x", "remove_keyslot": 3, "keyslot_priority": "ignore"},
        {"keyslots": [{"state": "absent", "keyslot": 3}]},
        "keyslot_priority is left out: here it needs keyslot",
    ),
}
# Left out: what makes or opens a volume has no place in a task that only changes keyslots.
LEFT_OUT: Options = {
    "allow_discards": True,
    "cipher": "aes-xts-plain64",
    "hash": "sha256",
    "keysize": 512,
    "name": "data",
    "perf_no_read_workqueue": True,
    "perf_no_write_workqueue": True,
    "perf_same_cpu_crypt": True,
    "perf_submit_from_crypt_cpus": True,
    "persistent": True,
    "sector_size": 512,
    "type": "luks2",
}
# Bindings. They stay in a task of luks_device if they are not known before the play runs.
TPM2: Options = {"new_tpm2": True, "new_tpm2_pcrs": [7], "remove_tpm2": True, "tpm2_device": "auto"}


def test_every_option_has_a_case() -> None:
    """The options that the module knows to give hints on, which another test compares with those of luks_device."""
    assert {*TURNED, *LEFT_OUT, *TPM2} == {*HINTS, "device", "memory", "parallel"}
    assert KNOWN | {"algorithm", "iteration_count", "iteration_time", "memory", "parallel"} == {
        *TURNED,
        *LEFT_OUT,
        *TPM2,
    }


@pytest.mark.parametrize("option", {**TURNED, **NOTED})
def test_turned(option: str, tmp_path: t.Any) -> None:
    options, expected, note = {**TURNED, **NOTED}[option]
    key = tmp_path / "key"
    key.write_text("k")
    options = {name: str(key) if value == "/k" else value for name, value in options.items()}
    (task,), notes = turned(options, when="wanted")
    assert task["name"] == "Old" and task["when"] == "wanted" and set(task) == {"name", "when", OURS}
    wanted = {
        name: [{"keyfile": str(key)}] if value == [{"keyfile": "/k"}] else value for name, value in expected.items()
    }
    assert {name: task[OURS].get(name) for name in wanted} == wanted
    assert note in notes and "Old: it no longer makes a volume" in notes


@pytest.mark.parametrize("option", LEFT_OUT)
def test_left_out(option: str) -> None:
    (task,), notes = turned({**ADD, option: LEFT_OUT[option]})
    assert task[OURS] == {"device": "/x", "unlock": [UNLOCK], "keyslots": [ENTRY]}
    assert f"Old: {option} " in notes and "is left out" in notes


@pytest.mark.parametrize(
    ("options", "entries", "unlock"),
    [
        ({"new_tpm2": True}, [{"binding": {"type": "systemd-tpm2", "pcrs": [7]}}], {"passphrase": "a"}),
        (
            {"new_tpm2": True, "new_tpm2_pcrs": [0, 7], "remove_tpm2": True, "tpm2_device": "/dev/tpmrm1"},
            [{"binding": {"type": "systemd-tpm2", "pcrs": [0, 7], "device": "/dev/tpmrm1"}}],
            {"passphrase": "a"},
        ),
        ({"remove_tpm2": True}, [{"state": "absent", "binding": {"type": "systemd-tpm2"}}], {"passphrase": "a"}),
        ({"passphrase": None, "tpm2_device": "auto"}, [], {"token": "systemd-tpm2"}),
        ({"passphrase": None, "tpm2_device": "/dev/x"}, [], {"token": "systemd-tpm2", "device": "/dev/x"}),
    ],
)
def test_a_binding_to_the_tpm(options: Options, entries: t.List[Options], unlock: Options) -> None:
    """What comes out is a task that the module reads."""
    (ours,), _notes = turned({**ADD, **options})
    assert ours[OURS]["keyslots"] == [ENTRY, *entries] and ours[OURS]["unlock"] == [unlock]
    parse_task(ours[OURS]).wipe_secrets()


def test_a_task_that_only_binds_is_turned_too() -> None:
    (ours,), _notes = turned({"device": "/x", "passphrase": "a", "new_tpm2": True, "new_tpm2_pcrs": [7]})
    assert ours[OURS]["keyslots"] == [{"binding": {"type": "systemd-tpm2", "pcrs": [7]}}]


def test_what_a_binding_means_is_noted() -> None:
    for more, noted in (({}, True), ({"new_tpm2_pcrs": [7]}, False)):
        _tasks, notes = turned({"device": "/x", "passphrase": "a", "new_tpm2": True, **more})
        assert "the binding to the TPM replaces others to it" in notes
        assert ("new_tpm2 without new_tpm2_pcrs is PCR 7" in notes) is noted


def test_tpm2_that_is_not_known_before_the_play_stays_with_luks_device() -> None:
    (rest, ours), notes = turned({**ADD, "new_tpm2": "{{ wanted }}", "new_tpm2_pcrs": [7]})
    assert rest[THEIRS] == {"device": "/x", "passphrase": "a", "new_tpm2": "{{ wanted }}", "new_tpm2_pcrs": [7]}
    assert ours[OURS]["keyslots"] == [ENTRY] and "new_tpm2, new_tpm2_pcrs stay in a task of luks_device" in notes


def test_opening_stays_and_comes_first() -> None:
    (rest, ours), notes = turned({**ADD, "state": "opened", "name": "data", "persistent": True}, register="r")
    assert rest == {
        "name": "Old",
        THEIRS: {"device": "/x", "passphrase": "a", "state": "opened", "name": "data", "persistent": True},
    }
    assert ours["register"] == "r" and ours[OURS]["keyslots"] == [ENTRY]
    assert "state opened, name, persistent stay" in notes


def test_a_rotation_is_one_entry() -> None:
    (task,), _notes = turned({**ADD, "remove_passphrase": "a"})
    assert task[OURS]["keyslots"] == [{"old_secret": UNLOCK, **ENTRY}]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"device": "/x", "state": "absent"}, "wipes the header"),
        ({"device": "/x", "passphrase": "a"}, "state present may make a volume"),
        ({"device": "/x", "state": "opened", "passphrase": "a"}, "adds and removes no key"),
        ({**ADD, "state": "{{ wanted }}"}, "is not known before the play runs"),
        ({"name": "data", "passphrase": "a", "new_passphrase": "b"}, "give the device"),
        ("device=/x passphrase=a", "its options are not a dictionary"),
    ],
)
def test_left_as_it_is(options: t.Any, why: str) -> None:
    task = {"name": "Old", THEIRS: options}
    result = turn(task)
    assert result["tasks"] == [task]
    assert result["notes"][0].startswith("Old: the task stays as it is: ") and why in result["notes"][0]


def test_blocks_plays_and_templates() -> None:
    costs = {"iteration_time": "{{ seconds }}"}
    block = {"block": [{"luks_device": {"device": "{{ item }}", "new_passphrase": "{{ n }}", "pbkdf": costs}}]}
    play = {"hosts": "all", "tasks": [{"ansible.builtin.debug": None}, block], "vars": {"tasks": "x"}}
    (found,) = turn([play])["tasks"]
    debug, new_block = found["tasks"]
    assert debug == {"ansible.builtin.debug": None} and found["vars"] == {"tasks": "x"} and found["hosts"] == "all"
    entry = {"new_secret": {"passphrase": "{{ n }}"}, "iter_time": "{{ ((seconds) | float * 1000) | int }}"}
    assert new_block == {"block": [{OURS: {"device": "{{ item }}", "keyslots": [entry]}}]}


def test_unknown_options_are_told() -> None:
    (task,), notes = turned({**ADD, "new_thing": 1})
    assert "new_thing is not an option of luks_device that is known here" in notes
    assert "new_thing" not in task[OURS]


@pytest.mark.parametrize("given", ["text", 5, None, ["text"]])
def test_what_is_no_task(given: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="give a task, or a list of tasks or plays"):
        turn(given)


@pytest.mark.parametrize("given", [[], {"luksmith.luks.keyslots": {}}, [{"hosts": "all", "tasks": [{"debug": None}]}]])
def test_what_has_no_task_of_luks_device(given: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="there is no task of community"):
        turn(given)


@pytest.mark.parametrize(
    "task",
    [
        {"action": {"module": THEIRS, **ADD}},
        {"local_action": "luks_device device=/x"},
    ],
)
def test_a_task_that_names_the_module_under_action(task: Options) -> None:
    result = turn([{"hosts": "all", "tasks": [task]}])
    assert result["tasks"] == [{"hosts": "all", "tasks": [task]}]
    assert result["notes"] == ["a task without a name: the task stays as it is: it names luks_device under action."]


def test_too_few_passes_of_argon2_are_noted() -> None:
    """The module refuses them."""
    result = turn([{"name": "Old", THEIRS: {**ADD, "pbkdf": {"algorithm": "argon2id", "iteration_count": 3}}}])
    assert any("pbkdf.time must be at least 4 here" in note for note in result["notes"])
