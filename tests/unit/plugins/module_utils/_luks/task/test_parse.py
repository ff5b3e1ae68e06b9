# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From task arguments to the desired state, and what is refused before any volume is touched."""

from __future__ import annotations

import math
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.kdf import Budget
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadSecret, BadTask, LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import parse, parse_info, secret_list
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import ABSENT, PRESENT, Costs, Entry
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.keyfile_content import read_keyfile
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.options import parse_folder, parse_path
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secrets import Secret

Params = t.Dict[str, t.Any]


def secret(text: str, label: t.Optional[str] = None) -> Params:
    # Ansible hands over every option of a specification, None where nothing was given.
    return {
        "label": label,
        "passphrase": text,
        "passphrase_base64": None,
        "keyfile": None,
        "keyfile_offset": None,
        "keyfile_size": None,
    }


def entry(**options: t.Any) -> Params:
    names = ("state", "keyslot", "new_secret", "old_secret", "iter_time", "pbkdf", "priority")
    return {**dict.fromkeys(names), "state": PRESENT, **options}


def task(*entries: t.Any, **params: t.Any) -> Params:
    return {"device": "/dev/x", "devices": None, "header": None, "unlock": [], "keyslots": list(entries), **params}


A, B, C = secret("alpha", "a"), secret("beta", "b"), secret("gamma", "c")


def refusal(params: Params, kind: t.Type[LuksmithError] = BadTask) -> str:
    with pytest.raises(kind) as caught:
        parse.parse_task(params)
    sentence = str(caught.value)
    for text in ("alpha", "beta", "gamma"):
        assert text not in sentence
    assert caught.value.remedy
    return caught.value.found


def test_a_whole_task() -> None:
    parsed = parse.parse_task(
        task(
            entry(
                keyslot=3, new_secret=B, old_secret=A, priority="prefer", pbkdf={"type": "argon2id", "memory": 65536}
            ),
            entry(state=ABSENT, old_secret=C),
            entry(state=ABSENT, keyslot=0),
            unlock=[A, secret("alpha")],
            purge=True,
            force=True,
            allow_lockout=True,
            lock_timeout=2,
            record=False,
            verify="record",
            wipe="multiple",
            kdf_limits={"memory": 1 << 20, "time": None},
        )
    )
    assert parsed.devices == ("/dev/x",)
    assert parsed.single
    assert parsed.header is None
    assert parsed.desired.labels == ("a", "b", "c")
    assert [bytes(one.value) for one in parsed.secrets] == [b"alpha", b"beta", b"gamma"]
    assert parsed.desired.unlock == (0,)
    assert parsed.desired.entries == (
        Entry(
            position=0,
            state=PRESENT,
            keyslot=3,
            new_secret=1,
            old_secret=0,
            costs=Costs(type="argon2id", memory=65536),
            priority="prefer",
        ),
        Entry(position=1, state=ABSENT, old_secret=2),
        Entry(position=2, state=ABSENT, keyslot=0),
    )
    assert parsed.desired.purge and parsed.desired.force and parsed.desired.allow_lockout
    assert (parsed.lock_timeout, parsed.record, parsed.verify, parsed.wipe) == (2.0, False, "record", "multiple")
    assert parsed.budget == Budget(max_memory=1 << 20)
    assert parsed.warnings == ()


def test_defaults() -> None:
    parsed = parse.parse_task({"device": "/dev/x", "keyslots": [{"new_secret": {"passphrase": "alpha"}}]})
    assert parsed.desired.entries == (Entry(position=0, state=PRESENT, new_secret=0),)
    assert parsed.desired.labels == ("keyslots[0].new_secret",)
    assert not (parsed.desired.purge or parsed.desired.force or parsed.desired.allow_lockout)
    assert (parsed.lock_timeout, parsed.record, parsed.verify, parsed.wipe, parsed.budget) == (
        30.0,
        True,
        "proof",
        "auto",
        Budget(),
    )


def test_a_task_never_shows_its_secrets() -> None:
    assert "alpha" not in repr(parse.parse_task(task(entry(new_secret=A))))


def test_wiping_a_task() -> None:
    parsed = parse.parse_task(task(entry(new_secret=A)))
    parsed.wipe_secrets()
    assert parsed.secrets[0].value == bytes(5)


def test_secrets_of_a_refused_task_are_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    made: t.List[Secret] = []

    def remembering(params: t.Any, position: str, **how: bool) -> Secret:
        made.append(original(params, position, **how))
        return made[-1]

    original = secret_list.read
    monkeypatch.setattr(secret_list, "read", remembering)
    refusal(task(entry(new_secret=A), entry(state=ABSENT, old_secret=A), unlock=[B]))
    assert len(made) == 3
    assert all(not any(one.value) for one in made)


# Which volumes


def test_several_devices_each_once() -> None:
    parsed = parse.parse_task(task(entry(new_secret=A), device=None, devices=["/dev/x", "/dev/y", "/dev/x"]))
    assert parsed.devices == ("/dev/x", "/dev/y")
    assert not parsed.single


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ({"device": None}, "neither device nor devices"),
        ({"devices": ["/dev/y"]}, "both given"),
        ({"device": None, "devices": []}, "devices is empty"),
        ({"device": None, "devices": ["/dev/y"], "header": "/h"}, "header and devices"),
        ({"device": ""}, "device is ''"),
        ({"device": None, "devices": ["/dev/y", ""]}, "devices[1]"),
        ({"header": ""}, "header is ''"),
        ({"device": ["/dev/x"]}, "not a path"),
    ],
)
def test_volumes_that_are_refused(params: Params, part: str) -> None:
    assert part in refusal(task(entry(new_secret=A), **params))


# The forms of an entry


@pytest.mark.parametrize(
    ("one", "part"),
    [
        (entry(), "keyslots[0] is present and has no new_secret"),
        (entry(old_secret=A), "has no new_secret"),
        (entry(state=ABSENT), "neither keyslot nor old_secret"),
        (entry(state=ABSENT, keyslot=1, new_secret=A), "absent and has new_secret"),
        (entry(state=ABSENT, keyslot=1, pbkdf={"iterations": 1000}), "absent and has pbkdf"),
        (entry(state=ABSENT, old_secret=A, iter_time=5), "absent and has iter_time"),
        (entry(state=ABSENT, old_secret=A, priority="normal"), "absent and has priority"),
        (entry(state="gone", keyslot=1), "state is 'gone'"),
        (entry(new_secret=A, keyslot=-1), "keyslot is -1"),
        (entry(new_secret=A, keyslot=32), "keyslot is 32"),
        (entry(new_secret=A, keyslot=True), "keyslot is True"),
        (entry(new_secret=A, priority="high"), "priority is 'high'"),
        (entry(new_secret=A, iter_time=0), "iter_time is 0"),
        (entry(new_secret=A, iter_time=-1), "iter_time is -1"),
        (entry(new_secret=A, old_secret=secret("alpha")), "keyslots[0] replaces a with itself"),
        ("new_secret", "keyslots[0] is not a dictionary"),
    ],
)
def test_entries_that_are_refused(one: t.Any, part: str) -> None:
    assert part in refusal(task(one))


@pytest.mark.parametrize("keyslot", [0, 8, 31])
def test_every_number_of_luks2_passes_here(keyslot: int) -> None:
    assert parse.parse_task(task(entry(new_secret=A, keyslot=keyslot))).desired.entries[0].keyslot == keyslot


def test_an_empty_secret_can_be_removed_but_not_added() -> None:
    empty = secret("")
    assert parse.parse_task(task(entry(state=ABSENT, old_secret=empty), unlock=[empty])).desired.unlock == (0,)
    assert parse.parse_task(task(entry(new_secret=A, old_secret=empty))).desired.entries[0].old_secret == 1
    assert "keyslots[1].new_secret is empty" in refusal(task(entry(new_secret=A), entry(new_secret=empty)), BadSecret)


def test_one_secret_can_be_old_and_new_to_change_its_costs() -> None:
    only = parse.parse_task(task(entry(new_secret=A, old_secret=A, pbkdf={"iterations": 5000}))).desired.entries[0]
    assert only.old_secret == only.new_secret == 0


@pytest.mark.parametrize("purge", [False, True])
def test_no_entry_at_all_is_refused(purge: bool) -> None:
    assert "no entry" in refusal(task(purge=purge))


def test_a_dictionary_is_no_list_of_entries() -> None:
    assert "keyslots is not a list" in refusal({**task(), "keyslots": entry(new_secret=A)})
    assert "unlock is not a list" in refusal(task(entry(new_secret=A), unlock=B))


# Entries that contradict each other


@pytest.mark.parametrize(
    "entries",
    [
        (entry(keyslot=1, new_secret=A), entry(keyslot=1, new_secret=B)),
        (entry(keyslot=1, new_secret=A), entry(state=ABSENT, keyslot=1)),
        (entry(new_secret=A), entry(state=ABSENT, old_secret=A)),
        (entry(keyslot=1, new_secret=A), entry(state=ABSENT, old_secret=A)),
        (entry(keyslot=1, new_secret=A), entry(state=ABSENT, keyslot=1, old_secret=A)),
        (entry(new_secret=A), entry(new_secret=B, old_secret=A)),
        (entry(keyslot=1, new_secret=A), entry(new_secret=B, old_secret=A)),
        (entry(new_secret=A, old_secret=B), entry(new_secret=B, old_secret=A)),
        (entry(new_secret=A, pbkdf={"iterations": 1000}), entry(keyslot=1, new_secret=A, pbkdf={"iterations": 2000})),
        (entry(new_secret=A, priority="ignore"), entry(new_secret=A, priority="prefer")),
        (entry(keyslot=1, new_secret=A, priority="normal"), entry(new_secret=A, priority="prefer")),
    ],
)
def test_contradictions_name_both_entries(entries: t.Tuple[Params, Params]) -> None:
    for order in (entries, entries[::-1]):
        sentence = refusal(task(*order, unlock=[C]))
        assert "keyslots[0]" in sentence
        assert "keyslots[1]" in sentence


@pytest.mark.parametrize(
    "entries",
    [
        (entry(new_secret=A), entry(state=ABSENT, keyslot=1, old_secret=A)),
        (entry(new_secret=A), entry(state=ABSENT, keyslot=1)),
        (entry(keyslot=1, new_secret=A), entry(state=ABSENT, keyslot=1, old_secret=B)),
        (entry(keyslot=0, new_secret=A, old_secret=B), entry(keyslot=1, new_secret=B, old_secret=A)),
        (entry(new_secret=C, old_secret=A), entry(new_secret=C, old_secret=B)),
        (entry(new_secret=A, old_secret=B), entry(state=ABSENT, old_secret=B)),
        (entry(new_secret=A), entry(new_secret=A)),
        (entry(new_secret=A, priority="prefer"), entry(new_secret=A)),
        (entry(keyslot=1, new_secret=A, priority="ignore"), entry(keyslot=2, new_secret=A, priority="prefer")),
        (entry(new_secret=A, old_secret=A, pbkdf={"iterations": 1000}), entry(new_secret=A)),
    ],
)
def test_entries_that_agree(entries: t.Tuple[Params, Params]) -> None:
    for order in (entries, entries[::-1]):
        assert len(parse.parse_task(task(*order)).desired.entries) == 2


# The rest


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, "30", True])
def test_lock_timeout_counts_seconds(value: t.Any) -> None:
    assert "lock_timeout" in refusal(task(entry(new_secret=A), lock_timeout=value))


@pytest.mark.parametrize(("option", "value"), [("verify", "maybe"), ("wipe", "never")])
def test_choices(option: str, value: str) -> None:
    assert repr(value) in refusal(task(entry(new_secret=A), **{option: value}))


@pytest.mark.parametrize(
    ("limits", "pbkdf", "limit"),
    [
        ({"iterations": 5000}, {"iterations": 5001}, "kdf_limits.iterations"),
        ({"time": 5}, {"time": 6}, "kdf_limits.time"),
        ({"memory": 1000}, {"memory": 1001}, "kdf_limits.memory"),
        ({"parallel": 1}, {"parallel": 2}, "kdf_limits.parallel"),
        ({"work": 3999}, {"memory": 1000, "time": 4}, "kdf_limits.work"),
    ],
)
def test_costs_that_the_next_run_could_not_pay(limits: Params, pbkdf: Params, limit: str) -> None:
    one = entry(new_secret=A, pbkdf=pbkdf)
    assert limit in refusal(task(one, kdf_limits=limits))
    assert parse.parse_task(task(one)).desired.entries[0].costs.given


@pytest.mark.parametrize("limits", [{"memory": 0}, {"time": True}, ["memory"], {"work": -1}])
def test_limits_that_are_none(limits: t.Any) -> None:
    assert "kdf_limits" in refusal(task(entry(new_secret=A), kdf_limits=limits))


def test_warnings_for_every_volume_and_for_those_of_qemu() -> None:
    parsed = parse.parse_task(
        task(
            entry(new_secret=secret("a\x00b", "with nul")),
            entry(state=ABSENT, old_secret=secret("also\x00nul", "going")),
            unlock=[secret("line\n", "with newline")],
        )
    )
    assert [("with newline" in warning) for warning in parsed.warnings] == [True]
    assert [("with nul" in warning and "NUL byte" in warning) for warning in parsed.qemu_warnings] == [True]


def test_info_numbers_its_secrets() -> None:
    parsed = parse_info.parse_info(
        {"device": "/dev/x", "header": "/h", "secrets": [A, secret("beta"), secret("alpha")], "lock_timeout": 0}
    )
    assert parsed.labels == ("a", "secrets[1]")
    assert [bytes(one.value) for one in parsed.secrets] == [b"alpha", b"beta"]
    assert (parsed.device, parsed.header, parsed.lock_timeout) == ("/dev/x", "/h", 0.0)
    assert parse_info.parse_info({"device": "/dev/x"}).secrets == ()


@pytest.mark.parametrize(
    "params", [{}, {"device": ""}, {"device": "/dev/x", "secrets": [{}]}, {"device": "/dev/x", "secrets": A}]
)
def test_info_refusals(params: Params) -> None:
    with pytest.raises(BadTask):
        parse_info.parse_info(params)


@pytest.mark.parametrize("device", ["rbd:pool/image", "nbd://host/export", "json:{}", "https://host/image"])
def test_what_qemu_alone_reads_is_no_path(device: str) -> None:
    with pytest.raises(BadTask, match=r"Device is an address or a description of QEMU \([a-z]+:\), not a path"):
        parse_path(device, "device")
    assert parse_path(f"./{device}", "device") == f"./{device}"


def test_a_keyfile_with_a_nul_is_the_content_of_one() -> None:
    with pytest.raises(BadTask, match="the path of the keyfile contains a NUL byte"):
        read_keyfile("\0key", None, None, "unlock[0]")


@pytest.mark.parametrize("where", ["device", "devices", "header", "a link"])
def test_a_new_secret_in_the_volume_itself(where: str, tmp_path: pathlib.Path) -> None:
    volume, link, other = tmp_path / "volume", tmp_path / "link", tmp_path / "other"
    volume.write_bytes(bytes(64))
    other.write_bytes(bytes(range(64)))
    link.symlink_to(volume)
    places = {
        "device": {"device": str(volume)},
        "devices": {"device": None, "devices": [str(other), str(volume)]},
        "header": {"device": str(other), "header": str(volume)},
        "a link": {"device": str(link)},
    }
    key = {**secret(""), "passphrase": None, "keyfile": str(volume), "keyfile_size": 32}
    with pytest.raises(BadTask, match=r"keyslots\[0\].new_secret: keyfile '.*volume' is the volume itself"):
        parse.parse_task(task(entry(new_secret=key), **places[where]))
    gone = task(entry(state=ABSENT, old_secret=key), entry(new_secret=secret("next")), **places[where])
    parse.parse_task(gone).wipe_secrets()


@pytest.mark.parametrize("path", ["/dev/\ud800", "/srv/\ud800/copies"])
def test_a_path_that_no_file_can_have(path: str) -> None:
    for read in (lambda: parse_path(path, "place"), lambda: parse_folder({"place": path}, "place")):
        with pytest.raises(BadTask, match=r"Place is '.*', which has characters that .* cannot encode"):
            read()
