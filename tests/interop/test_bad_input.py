# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input gets a sentence: what was found, what to do, nothing was changed; in check mode too, and never with a
secret in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.in_the_child import become_nobody
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, run_module
from ansible_collections.luksmith.luks.tests.tools.module_server import fresh_module

pytestmark = pytest.mark.needs("cryptsetup")

FIRST, SECOND, THIRD = SECRETS = ("quokka-4711", "wombat-0815", "numbat-1234")
NUMBER = 90210678
SIZE = 4 << 20
CHEAP = {"iterations": 1000}
Arguments = t.Dict[str, t.Any]


def secret(passphrase: t.Any, label: str = "") -> Arguments:
    return {"passphrase": passphrase, **({"label": label} if label else {})}


def new(passphrase: t.Any, **entry: t.Any) -> Arguments:
    return {"new_secret": secret(passphrase), **entry}


ADD = {"keyslots": [new(SECOND)], "unlock": [secret(FIRST)]}


def good(path: pathlib.Path) -> pathlib.Path:
    """A volume that FIRST opens."""
    return (
        Luks2Volume(path)
        .like("--cipher", "aes-cbc-essiv:sha256", "--key-size", "128", type="luks1", size=SIZE, opener=FIRST)
        .path
    )


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> pathlib.Path:
    return good(tmp_path / "volume")


def content(path: pathlib.Path) -> str:
    return (
        hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else str(os.path.lexists(path) and path.stat().st_mode)
    )


def refused(task: Arguments, *expected: str, of: t.Sequence[pathlib.Path]) -> str:
    """The message. ``expected``: patterns that must come in this order; ``of``: what must stay as it is."""
    before = [content(path) for path in of]
    messages = []
    for check in (True, False):
        with pytest.raises(ModuleFailed) as caught:
            run_module("keyslots", task, check=check, diff=True)
        result = caught.value.result
        assert not result.get("changed")
        everything = json.dumps(result)
        assert (
            "Traceback" not in everything and "exception" not in result and "error in luksmith.luks" not in everything
        )
        assert [word for word in (*SECRETS, str(NUMBER)) if word in everything] == []
        messages.append(str(result["msg"]))
    assert messages[0] == messages[1]
    assert re.search(".*".join(expected), messages[0], re.DOTALL), messages[0]
    assert [content(path) for path in of] == before
    return messages[0]


# What the path leads to


def lvm(path: pathlib.Path) -> None:
    """The label that pvcreate writes to sector 1: LABELONE, sector, checksum, offset, type."""
    label = b"LABELONE" + (1).to_bytes(8, "little") + bytes(4) + (32).to_bytes(4, "little") + b"LVM2 001"
    path.write_bytes(bytes(512) + label.ljust(512, b"\0") + bytes(SIZE - 1024))


def ext4(path: pathlib.Path) -> None:
    path.write_bytes(bytes(SIZE))
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(path)], check=True, capture_output=True)


def luks2_with_both_copies_broken(path: pathlib.Path) -> None:
    volume = Luks2Volume(path).like()
    for offset in (0, 0x4000):
        volume.patch(offset + 4096 + 20, b"?")


def truncated(path: pathlib.Path) -> None:
    os.truncate(good(path), 300_000)


def below_a_file(path: pathlib.Path) -> None:
    (path.parent / "file").touch()
    path.symlink_to("file/volume")


def cut_in_the_header(path: pathlib.Path) -> None:
    os.truncate(good(path), 500)


PATHS: t.Dict[str, t.Tuple[t.Callable[[pathlib.Path], object], t.Sequence[str]]] = {
    "ext4": (
        ext4,
        ["begins with an ext4 file system, not with a LUKS header", "Check the path; this collection never formats"],
    ),
    "lvm": (lvm, ["begins with an LVM2 physical volume", "Check the path"]),
    "zeros": (lambda path: path.write_bytes(bytes(SIZE)), ["begins with zeros", "Check the path"]),
    "nothing": (lambda path: path.write_bytes(b""), ["is empty", "Check the path"]),
    "text": (lambda path: path.write_text("root:x:0:0::/root:/bin/sh\n" * 100), ["begins with text", "Check the path"]),
    "random bytes": (
        lambda path: path.write_bytes(hashlib.sha512(b"seed").digest() * 1000),
        ["neither a LUKS header nor another", "Check the path"],
    ),
    "broken LUKS2": (
        luks2_with_both_copies_broken,
        [
            "No copy of the LUKS2 header is usable",
            "primary, its checksum is wrong",
            "secondary, its checksum is wrong",
            "header backup",
        ],
    ),
    "truncated": (
        truncated,
        [
            "header is truncated: its key material ends at byte 526848, but there are only 300000 bytes",
            "complete device or file",
        ],
    ),
    "truncated in the header": (cut_in_the_header, ["truncated", "500", "complete device or file"]),
    "directory": (lambda path: path.mkdir(), ["It is a directory", "Give the path of the volume itself"]),
    "named pipe": (os.mkfifo, ["It is a named pipe", "Give the path of the volume itself"]),
    "missing": (lambda path: None, ["No such file or directory", "Check the path"]),
    "dangling link": (
        lambda path: path.symlink_to(path.parent / "gone"),
        ["No such file or directory", "Check the path"],
    ),
    "circle of links": (lambda path: path.symlink_to(path), ["Too many levels of symbolic links", "form a loop"]),
    "below a file": (below_a_file, ["Not a directory", "check the path"]),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.needs("mke2fs")) if name == "ext4" else name for name in PATHS]
)
def test_what_is_no_volume(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / "volume"
    make, expected = PATHS[name]
    make(path)
    message = refused(
        {"device": str(path), **ADD},
        re.escape(str(path)),
        *expected,
        "Nothing was changed",
        of=[path] if path.exists() else [],
    )
    assert str(path) == message.partition(": ")[0]


def test_one_bad_volume_of_several_is_named_and_does_not_stop_the_others(
    tmp_path: pathlib.Path, volume: pathlib.Path
) -> None:
    zeros = tmp_path / "zeros"
    zeros.write_bytes(bytes(SIZE))
    with pytest.raises(ModuleFailed) as caught:
        run_module(
            "keyslots",
            {"devices": [str(zeros), str(volume)], "keyslots": [new(SECOND, pbkdf=CHEAP)], "unlock": [secret(FIRST)]},
        )
    assert re.search(
        rf"1 of 2 volumes failed .*1 done, 1 refused.*{zeros}: It begins with zeros.*Nothing was changed",
        str(caught.value),
    )
    assert [one["status"] for one in caught.value.result["volumes"]] == ["refused", "done"]
    assert zeros.read_bytes() == bytes(SIZE)


# What the task says. The first pattern is where or what, the last is what to do.

TASKS: t.Dict[str, t.Tuple[Arguments, t.Sequence[str]]] = {
    "empty secret": (
        {"keyslots": [new("")], "unlock": [secret(FIRST)]},
        [r"keyslots\[0\].new_secret is empty", "at least one byte"],
    ),
    "empty secret in base64": (
        {"keyslots": [{"new_secret": {"passphrase_base64": ""}}]},
        [r"keyslots\[0\].new_secret is empty", "at least one byte"],
    ),
    "no source": (
        {"keyslots": [{"new_secret": {"label": "mine"}}]},
        [r"keyslots\[0\].new_secret \(label 'mine'\) has no source", "exactly one of"],
    ),
    "two sources": (
        {"keyslots": [{"new_secret": {"passphrase": SECOND, "keyfile": "/k"}}]},
        [r"keyslots\[0\].new_secret has more than one source: passphrase and keyfile", "exactly one of"],
    ),
    "list as passphrase": (
        {"keyslots": [new([SECOND, THIRD])]},
        [r"keyslots\[0\].new_secret: passphrase is a list where text is expected", "one secret here"],
    ),
    "text as secret": (
        {"keyslots": [new(SECOND), {"new_secret": THIRD}]},
        [r"keyslots\[1\].new_secret is text, but must be a dictionary", "options are label, passphrase"],
    ),
    "dictionary as passphrase": (
        {"keyslots": [new({"stdout": SECOND})]},
        [r"passphrase is a dictionary where text is expected", "one secret here"],
    ),
    "number as passphrase": (
        {"keyslots": [new(SECOND)], "unlock": [secret(NUMBER)]},
        [r"unlock\[0\]: passphrase is a number where text is expected", "Quote it"],
    ),
    "truth value as passphrase": (
        {"keyslots": [new(True)]},
        ["passphrase is a boolean where text is expected", "Quote it"],
    ),
    "broken base64": (
        {"keyslots": [{"new_secret": {"passphrase_base64": SECOND}}]},
        [r"keyslots\[0\].new_secret: passphrase_base64 is not valid base64", "b64encode"],
    ),
    "slot 8 on LUKS1": (
        {"keyslots": [new(SECOND, keyslot=8)], "unlock": [secret(FIRST)]},
        [r"names keyslot 8", "keyslots 0 to 7", "hoose one of these"],
    ),
    "slot 8 absent": (
        {"keyslots": [{"state": "absent", "keyslot": 8}], "unlock": [secret(FIRST)]},
        ["names keyslot 8", "0 to 7", "hoose one of these"],
    ),
    "slot 32": (
        {"keyslots": [new(SECOND, keyslot=32)], "unlock": [secret(FIRST)]},
        [r"keyslots\[0\]: keyslot is 32", "0 to 31"],
    ),
    "slot -1": ({"keyslots": [{"state": "absent", "keyslot": -1}]}, [r"keyslots\[0\]: keyslot is -1", "0 to 31"]),
    "iter_time 0": (
        {"keyslots": [new(SECOND, iter_time=0)], "unlock": [secret(FIRST)]},
        [r"keyslots\[0\]: iter_time is 0", "milliseconds, 1 to"],
    ),
    "iter_time -1": (
        {"keyslots": [new(SECOND, iter_time=-1)], "unlock": [secret(FIRST)]},
        [r"iter_time is -1", "milliseconds, 1 to"],
    ),
    "too few iterations": (
        {"keyslots": [new(SECOND, pbkdf={"iterations": 10})]},
        ["pbkdf.iterations is 10", "1000 to"],
    ),
    "argon2 on LUKS1": (
        {"keyslots": [new(SECOND, pbkdf={"memory": 65536})], "unlock": [secret(FIRST)]},
        ["LUKS1 has only pbkdf2", "for this volume"],
    ),
    "another hash on LUKS1": (
        {"keyslots": [new(SECOND, pbkdf={"hash": "sha512"})], "unlock": [secret(FIRST)]},
        ["wants hash sha512", "uses sha256", "for this volume"],
    ),
    "priority on LUKS1": (
        {"keyslots": [new(SECOND, priority="prefer")], "unlock": [secret(FIRST)]},
        ["wants priority prefer", "leave priority out"],
    ),
    "wanted and forbidden": (
        {"keyslots": [new(SECOND), {"state": "absent", "old_secret": secret(SECOND)}], "unlock": [secret(FIRST)]},
        [r"keyslots\[0\] and keyslots\[1\] contradict each other", "is wanted and is to be removed", "one of them"],
    ),
    "one slot, two secrets": (
        {"keyslots": [new(SECOND, keyslot=3), new(THIRD, keyslot=3)], "unlock": [secret(FIRST)]},
        [r"keyslots\[0\] and keyslots\[1\] contradict each other", "keyslot 3 cannot hold both", "one of them"],
    ),
    "one slot present and absent": (
        {"keyslots": [new(SECOND, keyslot=3), {"state": "absent", "keyslot": 3}], "unlock": [secret(FIRST)]},
        ["contradict each other", "keyslot 3 is to be present and absent", "one of them"],
    ),
    "one label, two secrets": (
        {
            "keyslots": [{"new_secret": secret(SECOND, "key")}, {"new_secret": secret(THIRD, "key")}],
            "unlock": [secret(FIRST)],
        },
        [
            r"keyslots\[0\].new_secret and keyslots\[1\].new_secret are different secrets with the same label 'key'",
            "different labels",
        ],
    ),
    "no entry": (
        {"keyslots": [], "unlock": [secret(FIRST)]},
        ["keyslots has no entry", "at least one entry", "keyslots_info"],
    ),
    "no entry and purge": (
        {"keyslots": [], "purge": True},
        ["keyslots has no entry", "would erase every keyslot", "at least one entry"],
    ),
    "present without a secret": (
        {"keyslots": [{"keyslot": 1}]},
        [r"keyslots\[0\] is present and has no new_secret", "Give new_secret"],
    ),
    "absent without a name": (
        {"keyslots": [{"state": "absent"}]},
        ["neither keyslot nor old_secret", "Give one of them"],
    ),
    "absent with a new secret": (
        {"keyslots": [{"state": "absent", "keyslot": 1, **new(SECOND)}]},
        ["is absent and has new_secret", "set state: present"],
    ),
    "nobody opens it": (
        {"keyslots": [new(SECOND)], "unlock": [secret(THIRD)]},
        ["No secret of this task opens a keyslot of the volume, not even unlock\\[0\\]", "correct it.*under unlock"],
    ),
    "nobody is to open it": (
        {"keyslots": [new(SECOND)]},
        ["No secret of this task opens a keyslot of the volume, and unlock is not given", "under unlock"],
    ),
    "nothing to replace": (
        {"keyslots": [{"new_secret": secret(SECOND, "after"), "old_secret": secret(THIRD, "before")}]},
        ["neither before nor after opens any keyslot", "correct old_secret"],
    ),
    "the last key": (
        {"keyslots": [{"state": "absent", "keyslot": 0}]},
        ["Erasing keyslot 0 would leave no keyslot", "allow_lockout: true"],
    ),
    "lock_timeout -1": ({**ADD, "lock_timeout": -1}, ["lock_timeout is -1", "0 or more"]),
}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_no_task(volume: pathlib.Path, name: str) -> None:
    task, expected = TASKS[name]
    refused(
        {"device": str(volume), **task},
        *(word if word[0] == "\\" else f"(?i:{word})" for word in expected),
        "Nothing was changed",
        of=[volume],
    )


# What is refused before the module runs; tests/unit/plugins/modules/test_wrong_tasks.py has the whole table.

ARGUMENTS: t.Dict[str, t.Tuple[Arguments, str]] = {
    "device and devices": (
        {"device": "VOLUME", "devices": ["VOLUME"], **ADD},
        "Device and devices are both given.*devices for several",
    ),
    "header with devices": (
        {"devices": ["VOLUME"], "header": "VOLUME", **ADD},
        "Header and devices are given together.*Use device",
    ),
    "no volume": (ADD, "Neither device nor devices is given.*Give device for one volume"),
    "text as a slot": (
        {"device": "VOLUME", "keyslots": [new(SECOND, keyslot="first")]},
        r"Entry 1 of keyslots: keyslots\[0\].keyslot is text, but must be a whole number",
    ),
    "a number as entries": ({"device": "VOLUME", "keyslots": 5}, "keyslots is a number, but must be a list"),
    "an unknown option": (
        {"device": "VOLUME", "keyslots": [new(SECOND, slot=1)]},
        r"keyslots\[0\].slot is not an option.*did you mean keyslot",
    ),
    "an unknown state": (
        {"device": "VOLUME", "keyslots": [new(SECOND, state="gone")]},
        r"keyslots\[0\].state is text, but must be one of present, absent",
    ),
    "paths as a path": (
        {"device": ["VOLUME"], **ADD},
        "device is a list, but must be a path. device takes one path, devices a list",
    ),
    "true as a path": ({"device": "VOLUME", "header": True, **ADD}, "header is a boolean, but must be a path"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_is_refused_before_the_module_runs(volume: pathlib.Path, name: str) -> None:
    task, expected = ARGUMENTS[name]
    refused(json.loads(json.dumps(task).replace("VOLUME", str(volume))), expected, of=[volume])


# Keyfiles


def keyfile_task(volume: pathlib.Path, **keyfile: t.Any) -> Arguments:
    return {
        "device": str(volume),
        "keyslots": [{"new_secret": {"label": "disk key", **keyfile}}],
        "unlock": [secret(FIRST)],
    }


KEYFILES: t.Dict[str, t.Tuple[t.Callable[[pathlib.Path], object], Arguments, t.Sequence[str]]] = {
    "missing": (
        lambda path: None,
        {},
        ["cannot be opened: No such file or directory", "on the managed host, not on the controller"],
    ),
    "directory": (lambda path: path.mkdir(), {}, ["is a directory", "regular file"]),
    "named pipe": (os.mkfifo, {}, ["is a FIFO", "regular file"]),
    "empty": (lambda path: path.touch(), {}, ["is empty", "at least one byte"]),
    "offset behind the end": (
        lambda path: path.write_text(SECOND),
        {"keyfile_offset": 99},
        ["has 11 bytes, fewer than keyfile_offset 99", "Check"],
    ),
    "size beyond the end": (
        lambda path: path.write_text(SECOND),
        {"keyfile_size": 99},
        ["has 11 bytes", "fewer than keyfile_size 99", "Check"],
    ),
    "too big": (lambda path: path.write_bytes(bytes(9 << 20)), {}, ["9437184 bytes", "8 MiB", "Give keyfile_size"]),
}


@pytest.mark.parametrize("name", KEYFILES)
def test_a_keyfile_that_cannot_be_used(volume: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    make, options, expected = KEYFILES[name]
    make(tmp_path / "key.bin")
    task = keyfile_task(volume, keyfile=str(tmp_path / "key.bin"), **options)
    refused(task, r"(?i:keyslots\[0\]\.new_secret)", *expected, "Nothing was changed", of=[volume])


def test_a_keyfile_that_may_not_be_read(volume: pathlib.Path, tmp_path: pathlib.Path) -> None:
    key = tmp_path / "key.bin"
    key.write_text(SECOND)
    key.chmod(0)
    before = content(volume)
    with pytest.raises(ModuleFailed) as caught:
        run_module(
            "keyslots", keyfile_task(volume, keyfile=str(key)), hooks=[become_nobody] if os.geteuid() == 0 else []
        )
    message = str(caught.value)
    expected = (
        rf"\(label 'disk key'\): keyfile '{key}' cannot be opened: Permission denied \(EACCES\)\. Run the task "
        r"with become: true.*Nothing was changed"
    )
    assert re.search(expected, message), message
    assert content(volume) == before


def test_a_fresh_interpreter_says_the_same(volume: pathlib.Path) -> None:
    """All that these tests have a fork do, one of them has an interpreter do as Ansible starts it."""
    task = {"device": str(volume), "keyslots": [new(SECOND, keyslot=8)], "unlock": [secret(FIRST)]}
    message = refused(task, "keyslots 0 to 7", of=[volume])
    with pytest.raises(ModuleFailed) as caught:
        fresh_module("keyslots", task)
    assert str(caught.value) == message


def test_the_good_task_of_this_page_is_a_good_one(volume: pathlib.Path) -> None:
    """Else every refusal above could have another reason than the one that was meant."""
    assert run_module(
        "keyslots", {"device": str(volume), "keyslots": [new(SECOND, pbkdf=CHEAP)], "unlock": [secret(FIRST)]}
    )["changed"]
