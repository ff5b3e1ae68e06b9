# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourteen things that live runs of QEMU showed (L1 to L14), each through the module, and QEMU or cryptsetup on what
came out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.in_the_child import FIRST_WRITE
from ansible_collections.luksmith.luks.tests.interop.lock_lab import bytes_taken, loop_device
from ansible_collections.luksmith.luks.tests.interop.luks1_by_cryptsetup import Luks1, slot_fields
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume
from ansible_collections.luksmith.luks.tests.interop.module_process import (
    ModuleFailed,
    keyslots,
    run_module,
    start_module,
)
from ansible_collections.luksmith.luks.tests.interop.qemu_image import (
    CHEAP,
    FORMATS,
    ONE_FORMAT,
    OPENER,
    QemuImage,
    run,
)
from ansible_collections.luksmith.luks.tests.tools.module_server import stop_before

pytestmark = pytest.mark.needs("qemu-img", "qemu-io", "cryptsetup")

EVERY = S0, S1, S2, S3 = (OPENER, *(f"{word} unlocks" for word in ("beryl", "coral", "diamond")))


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": passphrase.split()[0], "passphrase": passphrase}


def new(passphrase: str, **entry: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": secret(passphrase), "pbkdf": CHEAP, **entry}


def gone(passphrase: str, **entry: t.Any) -> t.Dict[str, t.Any]:
    return {"state": "absent", "old_secret": secret(passphrase), **entry}


@pytest.fixture(params=ONE_FORMAT)
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[QemuImage]:
    made = QemuImage(tmp_path, request.param)
    yield made
    made.check(*EVERY)


@pytest.fixture
def raw(tmp_path: pathlib.Path) -> QemuImage:
    return QemuImage(tmp_path, "luks")


both = pytest.mark.parametrize("image", FORMATS, indirect=True)


def actions(result: t.Mapping[str, t.Any]) -> t.List[t.Tuple[str, t.Optional[int]]]:
    return [(action["action"], action["keyslot"]) for action in result["plan"]]


def refused(path: t.Union[str, pathlib.Path], *entries: t.Mapping[str, t.Any], **options: t.Any) -> str:
    before = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    messages = []
    for check in (True, False):
        with pytest.raises(ModuleFailed) as caught:
            keyslots(path, entries, check=check, **options)
        messages.append(str(caught.value))
    assert len(set(messages)) == 1
    assert "Nothing was changed" in messages[0]
    assert hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() == before
    return messages[0]


def test_l1_the_same_secret_three_times_takes_one_slot(image: QemuImage) -> None:
    assert [actions(keyslots(image.path, [new(S1)], unlock=[S0])) for _time in range(3)] == [[("add", 1)], [], []]
    assert image.active() == {0, 1} and image.opened_by(*EVERY) == {S0, S1}


@both
def test_l2_a_slot_and_its_secret_erase_only_that_slot(image: QemuImage) -> None:
    keyslots(image.path, [new(S1, keyslot=keyslot) for keyslot in (1, 2, 3)], unlock=[S0])
    assert image.active() == {0, 1, 2, 3}
    assert actions(keyslots(image.path, [gone(S1, keyslot=2)], unlock=[S0])) == [("erase", 2)]
    assert (
        actions(keyslots(image.path, [gone(S1, keyslot=0)], unlock=[S0])) == []
    )  # QEMU: an error; ours: it holds already
    assert image.active() == {0, 1, 3} and image.opened_by(*EVERY) == {S0, S1}


def test_l3_a_full_header_and_force_without_a_slot_is_still_refused(image: QemuImage) -> None:
    keyslots(image.path, [new(f"{keyslot}th stranger", keyslot=keyslot) for keyslot in range(1, 8)], unlock=[S0])
    assert image.active() == set(range(8))
    assert "no safe order" in refused(image.path, new(S1), unlock=[S0], force=True)


def test_l4_an_inactive_slot_with_a_secret_that_opens_another_is_no_change(image: QemuImage) -> None:
    before = image.path.read_bytes()
    assert not keyslots(image.path, [gone(S0, keyslot=5)], unlock=[S0], force=True)[
        "changed"
    ]  # QEMU: refused, with and without force
    assert image.path.read_bytes() == before


@pytest.mark.needs("loop", "blockdev")
@pytest.mark.parametrize("way", ["--read-only", "--setro"])
def test_l5_a_read_only_device(raw: QemuImage, way: str) -> None:
    with loop_device(raw.path, *([way] if way == "--read-only" else [])) as device:
        if way == "--setro":
            subprocess.run(["blockdev", "--setro", device], check=True)
        message = refused(device, new(S1), unlock=[S0])
        assert "block device is read-only" in message and "blockdev --setrw" in message
        assert not keyslots(device, [new(S0)])["changed"]  # a state that holds needs no writing


@pytest.mark.needs("immutable files")
def test_l5_a_file_that_may_not_be_written(image: QemuImage) -> None:
    subprocess.run(["chattr", "+i", image.path], check=True)
    try:
        message = refused(image.path, new(S1), unlock=[S0])
        assert "cannot open it for writing" in message.lower() and "lsattr" in message
        assert not keyslots(image.path, [new(S0)])["changed"]
    finally:
        subprocess.run(["chattr", "-i", image.path], check=True)


def test_l6_luks2_which_qemu_takes_for_raw_works_here(tmp_path: pathlib.Path) -> None:
    volume = Luks2Volume(tmp_path / "volume").like()
    path = volume.path
    assert json.loads(run("qemu-img", "info", "--output=json", path).stdout)["format"] == "raw"
    assert "LUKS version 2 is not supported" in run("qemu-img", "info", "-f", "luks", path, check=False).stderr
    result = keyslots(path, [new(S1), gone("pw0")])
    assert (result["type"], actions(result)) == ("luks2", [("add", 1), ("erase", 0)])
    assert volume.opened((1,), [S1, "pw0"]) == {(1, S1)}


def test_l7_a_detached_header_that_qemu_7_refuses(tmp_path: pathlib.Path) -> None:
    volume = Luks1(tmp_path, S0, cipher="aes-xts-plain64", bits=256, detached=True)
    image = QemuImage.__new__(QemuImage)
    image.path, image.format, image._folder = volume.header, "luks", tmp_path
    read = run("qemu-io", *image._object(S0), "--image-opts", image._image_opts(), "-c", "read 0 512", check=False)
    if "overlapping with the header" not in read.stderr:
        pytest.skip(f"this QEMU says: {read.stderr.strip() or 'nothing'}")
    keyslots(volume.path, [new(S1), gone(S0)], header=str(volume.header))
    volume.holds({1: S1}, S0)


ODD_SECRETS = {
    "newline": (b"a line\n", "ends with a newline", True),
    "NUL": (b"before\0after", "contains a NUL byte: cryptsetup can open the volume with it, QEMU cannot", False),
    "not UTF-8": (b"\xff\xfe binary", "is not UTF-8: cryptsetup can open the volume with it, QEMU cannot", False),
    "600 characters": (b"six hundred " * 50, "longer than 512 bytes", True),
    "umlaut": ("Schlüßel".encode(), "", True),
}


@pytest.mark.parametrize("name", ODD_SECRETS)
def test_l8_secrets_to_the_byte(image: QemuImage, tmp_path: pathlib.Path, name: str) -> None:
    value, warning, qemu_opens = ODD_SECRETS[name]
    as_text = {"passphrase": value.decode()} if qemu_opens else {"passphrase_base64": base64.b64encode(value).decode()}
    result = keyslots(image.path, [{"new_secret": {"label": "odd one", **as_text}, "pbkdf": CHEAP}], unlock=[S0])
    said = json.dumps(result.get("warnings", []))
    assert warning in said if warning else "odd one" not in said
    key = tmp_path / "odd.key"
    key.write_bytes(value)
    unlock = ("--object", f"secret,id=s,file={key}")
    read = run("qemu-io", *unlock, "--image-opts", image._image_opts(), "-c", "read 0 512", check=False)
    assert (read.returncode == 0) == qemu_opens, read.stderr
    if not qemu_opens:
        assert "not valid UTF-8" in read.stderr
    if image.format == "luks":
        run("cryptsetup", "open", "--test-passphrase", "--key-slot", "1", "--key-file", key, image.path)
    by_file = {"state": "absent", "old_secret": {"label": "odd one", "keyfile": str(key)}}
    assert actions(keyslots(image.path, [by_file], unlock=[S0])) == [("erase", 1)]


def test_l8_an_empty_secret_can_be_taken_away(tmp_path: pathlib.Path) -> None:
    volume = Luks1(tmp_path, S0, cipher="aes-xts-plain64", bits=256)
    volume.add(S0, "", 3)
    assert actions(
        keyslots(volume.path, [{"state": "absent", "old_secret": {"label": "nothing", "passphrase": ""}}], unlock=[S0])
    ) == [("erase", 3)]
    volume.holds({0: S0})


def test_l9_a_volume_key_of_24_bytes_at_which_qemu_aborts(tmp_path: pathlib.Path) -> None:
    volume = Luks1(tmp_path, S0, cipher="aes-cbc-essiv:sha256", bits=192)
    keyslots(volume.path, [new(S1, keyslot=4), new(S2), gone(S0)])
    volume.holds({1: S2, 4: S1}, S0)
    shown = json.loads(run("qemu-img", "info", "--output=json", volume.path).stdout)["format-specific"]["data"]["slots"]
    assert {number for number, slot in enumerate(shown) if slot["active"]} == {1, 4}


def test_l10_an_upper_case_hash_stays_as_it_is_spelled(tmp_path: pathlib.Path) -> None:
    volume = Luks1(tmp_path, S0, cipher="aes-xts-plain64", bits=256)
    with volume.path.open("r+b") as stream:
        stream.seek(72)
        stream.write(b"SHA256")
    assert run("qemu-img", "info", "-f", "luks", volume.path, check=False).returncode != 0
    result = keyslots(volume.path, [new(S1), gone(S0)])
    assert "QEMU refuses it" in json.dumps(result["warnings"])
    assert volume.path.read_bytes()[72:79] == b"SHA256\0"
    volume.holds({1: S1}, S0)


def test_l11_an_erased_slot_has_the_same_fields_as_one_that_qemu_erased(raw: QemuImage, tmp_path: pathlib.Path) -> None:
    keyslots(raw.path, [new(S1)], unlock=[S0])
    before = raw.path.read_bytes()
    (tmp_path / "twin").mkdir()
    twin = raw.copied(tmp_path / "twin")
    assert twin.amend(S0, "state=inactive", "keyslot=1").returncode == 0
    assert actions(keyslots(raw.path, [{"state": "absent", "keyslot": 1}], unlock=[S0])) == [("erase", 1)]
    after = raw.path.read_bytes()
    assert after[:592] == twin.path.read_bytes()[:592]
    assert slot_fields(after, 1) == (0xDEAD, 0, bytes(32), *slot_fields(before, 1)[3:])
    begin = slot_fields(before, 1)[3] * 512
    unchanged = sum(old == new for old, new in zip(before[begin : begin + 256_000], after[begin : begin + 256_000]))
    assert unchanged < 256_000 / 100  # one in 256 by chance
    assert after[begin + 256_000 :] == before[begin + 256_000 :] and after[592:begin] == before[592:begin]


REFUSED: t.Dict[str, t.Tuple[t.Sequence[t.Mapping[str, t.Any]], t.Mapping[str, t.Any]]] = {
    "wrong secret": ([new(S1)], {"unlock": [S3]}),
    "only active slot": ([{"state": "absent", "keyslot": 0}], {"unlock": [S0]}),
    "only active slot, force": ([{"state": "absent", "keyslot": 0}], {"unlock": [S0], "force": True}),
    "all slots match": ([gone(S0)], {"force": True}),
    "slot 8": ([new(S1, keyslot=8)], {"unlock": [S0]}),
    "taken slot": ([new(S1, keyslot=0), new(S0)], {"unlock": [S0]}),
    "nothing to replace": ([new(S1, old_secret=secret(S2))], {"unlock": [S0]}),
    "wrong old secret for the slot": ([new(S1, old_secret=secret(S2), keyslot=0)], {"unlock": [S0], "force": True}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_l12_what_is_refused_leaves_every_byte(image: QemuImage, name: str) -> None:
    entries, options = REFUSED[name]
    refused(image.path, *entries, **options)


@pytest.mark.parametrize("iter_time", [0, -1])
def test_l13_no_time_is_no_time(image: QemuImage, iter_time: int) -> None:
    entry = {"new_secret": secret(S1), "iter_time": iter_time}
    assert f"iter_time is {iter_time}" in refused(image.path, entry, unlock=[S0])


def test_l13_one_millisecond_is_enough_for_the_least_cost_and_no_drift_later(image: QemuImage) -> None:
    entry = {"new_secret": secret(S1), "iter_time": 1}
    result = keyslots(image.path, [entry], unlock=[S0])
    assert result["keyslots"][1]["kdf"]["iterations"] >= 1000
    assert not keyslots(image.path, [{**entry, "iter_time": 200}], unlock=[S0])["changed"]
    assert image.opens(S1)


@both
def test_l14_a_killed_run_leaves_no_lock_and_the_next_one_goes_on(image: QemuImage) -> None:
    task = {"device": str(image.path), "keyslots": [new(S1)], "unlock": [secret(S0)], "lock_timeout": 0}
    victim = start_module("keyslots", task, hooks=[stop_before(FIRST_WRITE)])
    victim.reached(FIRST_WRITE)
    assert 200 in bytes_taken(image.path), "nobody else may read"
    victim.kill()
    assert bytes_taken(image.path) == []
    assert image.opened_by(S0, S1) == {S0}
    result = run_module("keyslots", task)
    assert actions(result) == [("add", 1)]
    assert image.opened_by(S0, S1) == {S0, S1}
