# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS1 with cryptsetup on the other side, in both directions, for every cipher, key size and hash that the collection
has.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import loop_device
from ansible_collections.luksmith.luks.tests.interop.luks1_by_cryptsetup import (
    ITERATIONS,
    CannotMake,
    Luks1,
    slot_fields,
)
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module

pytestmark = pytest.mark.needs("cryptsetup")

EVERY = A, B, C, D, E, F, G = tuple(
    f"{name} of seven" for name in ("Adam", "Bela", "Cleo", "Dora", "Emil", "Fritz", "Gerd")
)
XTS = [(f"aes-xts-{ivgen}", bits) for ivgen in ("plain64", "plain") for bits in (256, 512)]
CBC = [
    (f"aes-{mode}", bits)
    for mode in ("cbc-essiv:sha256", "cbc-plain", "cbc-plain64", "ecb")
    for bits in (128, 192, 256)
]
HASHES = ("sha1", "sha224", "sha384", "sha512", "ripemd160", "whirlpool")
COMBINATIONS = [
    *((cipher, bits, "sha256") for cipher, bits in (*XTS, *CBC)),
    *(("aes-xts-plain64", 512, hash) for hash in HASHES),
]


def label(passphrase: str) -> str:
    return f"label {passphrase[0]}"


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": label(passphrase), "passphrase": passphrase}


def new(passphrase: str, **entry: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": secret(passphrase), "pbkdf": {"iterations": ITERATIONS}, **entry}


def made(
    folder: pathlib.Path,
    *,
    cipher: str = "aes-cbc-essiv:sha256",
    bits: int = 128,
    hash: str = "sha256",
    detached: bool = False,
) -> Luks1:
    try:
        return Luks1(folder, A, cipher=cipher, bits=bits, hash=hash, detached=detached)
    except CannotMake as words:
        pytest.skip(f"cryptsetup does not make {cipher} with {bits} bits and {hash} here: {words}")


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def actions(result: t.Mapping[str, t.Any]) -> t.List[t.Tuple[str, t.Optional[int]]]:
    return [(action["action"], action["keyslot"]) for action in result["plan"]]


def add_rekey_erase(volume: Luks1, *, device: t.Union[str, pathlib.Path], **options: t.Any) -> None:
    """Through the module, each step judged by cryptsetup.

    It begins with A in slot 0 and ends with E in 1 and D in 5.
    """
    before, untouched = volume.dump(), volume.header.read_bytes()
    done = keyslots(device, [new(B), new(C, keyslot=5)], unlock=[A], **options)
    assert actions(done) == [("add", 5), ("add", 1)]
    volume.holds({0: A, 1: B, 5: C})

    wanted = [
        {"new_secret": secret(D), "old_secret": secret(C), "keyslot": 5, "pbkdf": {"iterations": 1500}},
        {"new_secret": secret(E), "old_secret": secret(B), "pbkdf": {"iterations": 1700}},
        {"state": "absent", "old_secret": secret(A)},
    ]
    done = keyslots(device, wanted, **options)
    assert actions(done) == [("rekey", 1), ("rekey", 5), ("erase", 0)]
    assert not keyslots(device, wanted, **options)["changed"]
    volume.holds({1: E, 5: D}, A, B, C)

    after = volume.dump()
    assert after.head == before.head  # cipher, hash, payload offset, digest, uuid
    assert [after.number(keyslot, "Iterations") for keyslot in after.active] == [1700, 1500]
    raw = volume.header.read_bytes()
    for keyslot in range(8):
        state, iterations, salt, *place = slot_fields(raw, keyslot)
        assert place == list(slot_fields(untouched, keyslot)[3:]), "offset and stripes belong to the slot for ever"
        if keyslot in after.active:
            assert (
                after.number(keyslot, "Key material offset") == place[0] and after.number(keyslot, "AF stripes") == 4000
            )
        else:
            assert (state, iterations, salt) == (0xDEAD, 0, bytes(32))


SHORT = [
    ("aes-xts-plain64", 512, "sha256"),
    ("aes-cbc-essiv:sha256", 128, "sha256"),
    ("aes-xts-plain64", 512, "sha512"),
]


@pytest.mark.parametrize(
    ("cipher", "bits", "hash"),
    [case if case in SHORT else pytest.param(*case, marks=pytest.mark.full) for case in COMBINATIONS],
)
def test_both_directions(tmp_path: pathlib.Path, cipher: str, bits: int, hash: str) -> None:
    volume = made(tmp_path, cipher=cipher, bits=bits, hash=hash)
    assert run_module("keyslots_info", {"device": str(volume.path), "secrets": [secret(A)]})["opened_by"] == {
        label(A): [0]
    }
    add_rekey_erase(volume, device=volume.path)

    volume.add(E, F, 7)
    volume.change(D, G, 5)
    volume.kill(F, 1)
    info = run_module("keyslots_info", {"device": str(volume.path), "secrets": [secret(word) for word in EVERY]})
    assert {name: slots for name, slots in info["opened_by"].items() if slots} == {label(F): [7], label(G): [5]}
    assert info["header"]["cipher"] == cipher and info["header"]["key_size"] * 8 == bits
    gone = [{"state": "absent", "old_secret": secret(word)} for word in (A, B, C, D, E)]
    result = keyslots(volume.path, [new(F), new(G, keyslot=5), *gone], check=True, purge=True)
    assert actions(result) == []
    shown = {row["keyslot"]: (row["opened_by"], row["kdf"]) for row in result["keyslots"] if row["state"] == "active"}
    costs = {"type": "pbkdf2", "hash": hash, "iterations": ITERATIONS}
    assert shown == {5: ([label(G)], costs), 7: ([label(F)], costs)}


def test_a_stranger_of_cryptsetup_is_purged_and_a_killed_slot_is_filled_again(tmp_path: pathlib.Path) -> None:
    volume = made(tmp_path)
    volume.add(A, F, 3)
    volume.add(A, G, 1)
    volume.kill(A, 1)
    assert actions(keyslots(volume.path, [new(A), new(B)], purge=True)) == [("add", 1), ("erase", 3)]
    volume.holds({0: A, 1: B}, F, G)


def test_a_detached_header_has_payload_offset_0_and_keeps_it(tmp_path: pathlib.Path) -> None:
    volume = made(tmp_path, detached=True)
    payload = digest(volume.path)
    assert volume.header.read_bytes()[104:108] == bytes(4)
    add_rekey_erase(volume, device=volume.path, header=str(volume.header))
    assert volume.header.read_bytes()[104:108] == bytes(4)
    assert digest(volume.path) == payload


def test_a_payload_given_without_its_detached_header_is_no_luks(tmp_path: pathlib.Path) -> None:
    volume = made(tmp_path, detached=True)
    with pytest.raises(ModuleFailed, match="begins with zeros, not with a LUKS header"):
        keyslots(volume.path, [new(B)], unlock=[A])


@pytest.mark.needs("loop")
def test_a_block_device(tmp_path: pathlib.Path) -> None:
    volume = made(tmp_path, cipher="aes-xts-plain64", bits=512)
    with loop_device(volume.path) as device:
        add_rekey_erase(volume, device=device)
        file = volume.header
        volume.header = pathlib.Path(device)
        volume.holds({1: E, 5: D})
        volume.add(E, F, 0)
        assert actions(keyslots(device, [new(F), new(E), new(D)], purge=True)) == []
    volume.header = file
    volume.holds({0: F, 1: E, 5: D})


@pytest.fixture(params=["cast6", pytest.param("anubis", marks=pytest.mark.full)])
def foreign_cipher(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Tuple[str, Luks1]:
    """cryptsetup needs a kernel with device-mapper to make one, so that the name in a good header is changed."""
    volume = made(tmp_path, cipher="aes-xts-plain64", bits=512)
    volume.add(A, B, 4)
    with volume.path.open("r+b") as stream:
        stream.seek(8)
        stream.write(request.param.encode().ljust(32, b"\0"))
    assert f"Cipher name:   \t{request.param}" in volume.dump().head
    return request.param, volume


ENTRIES = {
    "add": {"keyslots": [new(C)], "unlock": [A]},
    "rekey": {"keyslots": [{"new_secret": secret(C), "old_secret": secret(A)}]},
    "rekey in place": {"keyslots": [{"keyslot": 0, "new_secret": secret(C), "old_secret": secret(A)}]},
    "forced": {"keyslots": [new(C, keyslot=0)], "unlock": [A], "force": True},
    "present already, who knows": {"keyslots": [new(A)]},
    "absent by secret": {"keyslots": [{"state": "absent", "old_secret": secret(A)}], "unlock": [B]},
    "absent by slot and secret": {
        "keyslots": [{"state": "absent", "keyslot": 4, "old_secret": secret(B)}],
        "unlock": [A],
    },
    "absent by slot": {"keyslots": [{"state": "absent", "keyslot": 4}], "unlock": [A]},
    "purge": {"keyslots": [new(A)], "purge": True},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_cipher_that_nobody_provides_is_unsupported_and_nothing_is_touched(
    foreign_cipher: t.Tuple[str, Luks1], name: str
) -> None:
    cipher, volume = foreign_cipher
    before = digest(volume.path)
    options = dict(ENTRIES[name])
    with pytest.raises(ModuleFailed) as refused:
        keyslots(volume.path, t.cast(t.Any, options.pop("keyslots")), **t.cast(t.Any, options))
    message = str(refused.value)
    assert f"unsupported cipher '{cipher}" in message
    assert "wrong" not in message and "Nothing was changed" in message
    assert digest(volume.path) == before


def test_what_cannot_be_tried_is_named_with_its_slot_reported_and_erased_by_number_only(
    foreign_cipher: t.Tuple[str, Luks1],
) -> None:
    cipher, volume = foreign_cipher
    with pytest.raises(ModuleFailed, match=r"Keyslot 0 could not be tried with .*an untested one may still accept it"):
        keyslots(volume.path, [{"state": "absent", "old_secret": secret(A)}], unlock=[B])
    info = run_module("keyslots_info", {"device": str(volume.path), "secrets": [secret(A)]})
    assert info["opened_by"] == {label(A): []}
    assert [row["tried"] for row in info["keyslots"] if row["state"] == "active"] == [False, False]
    assert f"keyslot 4 could not be tried: unsupported cipher '{cipher}" in json.dumps(info["warnings"])
    for row in info["keyslots"]:
        assert (f"unsupported cipher '{cipher}" in row.get("why_untried", "")) is (row["state"] == "active")
    done = keyslots(volume.path, [{"state": "absent", "keyslot": 4}], allow_lockout=True)
    assert actions(done) == [("erase", 4)]
    assert volume.dump().active == [0]


def test_purge_leaves_a_slot_that_cannot_be_tried(tmp_path: pathlib.Path) -> None:
    """One that is beyond the budget, because a LUKS1 header has one cipher for all of its slots."""
    volume = made(tmp_path)
    volume.add(A, B, 4)
    raw = bytearray(volume.path.read_bytes())
    raw[208 + 48 * 4 + 4 : 208 + 48 * 4 + 8] = (9_000_000).to_bytes(4, "big")
    volume.path.write_bytes(raw)
    result = keyslots(volume.path, [new(A)], purge=True, kdf_limits={"iterations": 8_000_000})
    assert actions(result) == [] and volume.dump().active == [0, 4]
    assert "keyslot 4 could not be tried with any secret and stays" in json.dumps(result["warnings"])
    with pytest.raises(ModuleFailed, match=r"Keyslot 4 could not be tried .*9000000.*8000000"):
        keyslots(
            volume.path,
            [{"state": "absent", "old_secret": secret(B)}],
            unlock=[A],
            kdf_limits={"iterations": 8_000_000},
        )
    assert volume.dump().active == [0, 4]
    named = keyslots(
        volume.path, [new(A), {"state": "absent", "keyslot": 4}], purge=True, kdf_limits={"iterations": 8_000_000}
    )
    assert actions(named) == [("erase", 4)]
