# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in FIPS mode: what is loaded, refused and listed there. The flag of the kernel is a file of the test."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import ready_policies
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import (
    argon2,
    cipher,
    fips,
    hashes,
    host,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask, Refused, Unsupported
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    WINTER,
    Image,
    audit,
    secret,
)

Json = t.Dict[str, t.Any]

ROOT = pathlib.Path(__file__).resolve().parents[6]


@pytest.fixture
def flag(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[pathlib.Path]:
    """fips_enabled of a host in FIPS mode."""
    path = tmp_path / "proc" / "sys" / "crypto" / "fips_enabled"
    path.parent.mkdir(parents=True)
    path.write_text("1\n")
    monkeypatch.setattr(host, "PROC", str(tmp_path / "proc"))
    yield path
    fips.choose("auto")


def test_what_the_option_means(flag: pathlib.Path) -> None:
    for choice, expected in ((None, True), ("auto", True), ("require", True), ("ignore", False)):
        fips.choose(choice)
        assert fips.active() is expected, choice
    flag.write_text("0\n")
    for choice in ("auto", "ignore"):
        fips.choose(choice)
        assert not fips.active()
    with pytest.raises(Refused, match="not in FIPS mode"):
        fips.choose("require")
    with pytest.raises(BadTask, match="'always'"):
        fips.choose("always")
    flag.unlink()
    fips.choose("auto")
    assert not fips.active(), "a kernel without the flag is in no such mode"


@pytest.mark.parametrize("kind", ["argon2id", "argon2i"])
def test_argon2_is_refused_with_the_remedy(flag: pathlib.Path, kind: str) -> None:
    with pytest.raises(Unsupported) as caught:
        argon2.argon2_provider(kind)
    assert "FIPS mode" in str(caught.value) and "pbkdf: {type: pbkdf2}" in str(caught.value)
    fips.choose("ignore")
    assert argon2.argon2_provider(kind)


@pytest.mark.parametrize("name", ["md5", "ripemd160", "whirlpool", "blake2b-512", "sm3"])
def test_hashes_that_are_not_approved_are_refused(flag: pathlib.Path, name: str) -> None:
    for use in (hashes.new_hash, hashes.pbkdf2_function):
        with pytest.raises(Unsupported, match="FIPS mode"):
            use(name)


def test_approved_hashes_come_from_hashlib_and_no_race_is_run(
    flag: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "WORTH_A_RACE", 1)
    for name in sorted(fips.HASHES):
        assert hashes.new_hash(name).digest_size and len(hashes.pbkdf2(name, b"secret", b"salt" * 8, 1000, 32)) == 32
        assert hashes.pace(name, 10**9, 32) == 1.0


@pytest.mark.parametrize(
    ("encryption", "size", "good"),
    [
        ("aes-xts-plain64", 64, True),
        ("aes-xts-plain64", 32, True),
        ("aes-cbc-essiv:sha256", 32, True),
        ("aes-ctr-plain64", 32, True),
        ("aes-xts-plain64", 48, False),
        ("aes-lrw-benbi", 48, False),
        ("serpent-xts-plain64", 64, False),
        ("camellia-cbc-plain64", 32, False),
        ("aes-cbc-essiv:md5", 16, False),
    ],
)
def test_ciphers(flag: pathlib.Path, encryption: str, size: int, good: bool) -> None:
    """What is refused is what the rule of the audit says."""
    assert (fips.not_approved("pbkdf2", ["sha256"], encryption, size) == "") is good
    if good:
        data = bytes(512)
        key = bytes(range(1, size + 1))
        assert cipher.decrypt(encryption, key, cipher.encrypt(encryption, key, data)) == data
    else:
        with pytest.raises(Unsupported, match=r"FIPS mode|AES-192|XTS"):
            cipher.check(encryption, size)


def amended(image: Image, check: bool, **entry: t.Any) -> Json:
    entries = [{"new_secret": secret("spring-2027"), **entry}]
    task = parse_task({"device": str(image.path), "keyslots": entries, "unlock": [secret(WINTER)]})
    try:
        return t.cast(Json, amend.amend(task, check=check))
    finally:
        task.wipe_secrets()


def with_pbkdf2(image: Image) -> Image:
    """Keyslot 0 with PBKDF2, made while the host is not in FIPS mode."""
    fips.choose("ignore")
    cheap = {"type": "pbkdf2", "hash": "sha256", "iterations": 1000}
    entry = {"new_secret": secret(WINTER), "old_secret": secret(WINTER), "keyslot": 0, "pbkdf": cheap}
    task = parse_task({"device": str(image.path), "keyslots": [entry], "unlock": [secret(WINTER)]})
    amend.amend(task, check=False)
    task.wipe_secrets()
    fips.choose("auto")
    return image


@pytest.mark.parametrize("check", [True, False])
def test_a_new_keyslot_with_argon2_is_refused_before_anything_is_written(
    flag: pathlib.Path, tmp_path: pathlib.Path, check: bool
) -> None:
    image = with_pbkdf2(Image(tmp_path / "volume", "luks2.img"))
    before = image.path.read_bytes()
    with pytest.raises(Unsupported, match=r"FIPS mode.*pbkdf: \{type: pbkdf2\}"):
        amended(image, check, pbkdf={"type": "argon2id", "time": 4, "memory": 65536, "parallel": 1})
    assert image.path.read_bytes() == before


def test_a_new_keyslot_gets_pbkdf2(flag: pathlib.Path, tmp_path: pathlib.Path) -> None:
    image = with_pbkdf2(Image(tmp_path / "volume", "luks2.img"))
    made = next(row for row in amended(image, False)["keyslots"] if "SPRING-2027" in row["opened_by"])
    assert made["kdf"]["type"] == "pbkdf2" and made["kdf"]["iterations"] >= 600_000


def test_the_audit_lists_what_this_host_cannot_open(flag: pathlib.Path, tmp_path: pathlib.Path) -> None:
    def found(image: Image) -> t.List[t.Tuple[int, str]]:
        result = audit(image, secrets=BOTH)
        return [(one["keyslot"], one["message"]) for one in result["findings"] if one["rule"] == "fips-keyslot"]

    image = Image(tmp_path / "volume", "luks2.img")
    told = found(image)
    assert [keyslot for keyslot, _message in told] == [0, 1]
    assert all("argon2id is not approved; no keyslot is left" in message for _keyslot, message in told)
    ((keyslot, message),) = found(with_pbkdf2(image))
    assert keyslot == 1 and "is left" not in message
    assert not found(Image(tmp_path / "one", "luks1.img"))
    flag.write_text("0\n")
    assert not found(image)


def test_a_volume_by_the_policy(tmp_path: pathlib.Path) -> None:
    """The policy needs no host in FIPS mode."""
    image = Image(tmp_path / "volume", "luks2.img")
    assert "fips-140-3" in ready_policies.READY
    rules = {one["rule"] for one in audit(image, secrets=BOTH, policy="fips-140-3")["findings"]}
    assert "kdf-type" in rules and "cipher" not in rules and "fips-keyslot" not in rules


@pytest.mark.parametrize(("size", "found"), [(64, 0), (48, 2), (32, 0)])
def test_the_policy_knows_that_xts_has_no_aes_192(tmp_path: pathlib.Path, size: int, found: int) -> None:
    """SP 800-38E has XTS with AES-128 and AES-256; the kernel refuses the other in FIPS mode."""
    image = Image(tmp_path / "volume", "luks2.img")
    kdf = {"type": "pbkdf2", "hash": "sha256", "iterations": 600000}

    def change(tree: Json) -> None:
        for slot in tree["keyslots"].values():
            slot.update(key_size=size, kdf={**kdf, "salt": slot["kdf"]["salt"]})
            slot["area"].update(key_size=64, size="258048")
            slot["area"]["offset"] = str(32768 + int(slot["area"]["offset"]) // 131072 * 258048)
        tree["config"]["keyslots_size"] = str(2 * 258048)

    image.edit(change)
    told = [one for one in audit(image, policy="fips-140-3")["findings"] if one["rule"] == "fips-keyslot"]
    assert len(told) == found
    assert (
        not found
        or "a host in FIPS mode cannot open keyslot 0: aes-xts-plain64 with a key of 384" in told[0]["message"]
    )


# In a process of its own, because this one has loaded libraries of all kinds.
_CHILD = """
import json, runpy, sys
runpy.run_path(sys.argv[1] + "/tests/tools/register.py")
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import fips, hashes, host
host.PROC = sys.argv[2]
hashes.WORTH_A_RACE = 1
fips.choose(sys.argv[3])
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit, audit_task
task = audit_task.parse_audit(json.loads(sys.argv[4]))
result = audit.audit(task)
active = [[row for row in one["keyslots"] if row["state"] == "active"] for one in result["volumes"]]
print(json.dumps([[row["opened_by"] for row in rows] for rows in active]))
"""
_OUTSIDE = re.compile(
    r"/(libnettle|libhogweed|libgcrypt|libargon2|legacy\.so|[^/]*(_argon2|_rust|argon2_cffi)[^/]*\.so)"
)


def opened_files(folder: pathlib.Path, choice: str, task: Json) -> t.Tuple[t.Any, t.Set[str]]:
    """What the audit says, and the libraries outside the validated one that its process opened."""
    trace = folder / f"trace {choice}"
    words = [sys.executable, "-c", _CHILD, str(ROOT), str(folder / "proc"), choice, json.dumps(task)]
    command = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=open,openat,openat2,execve", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    calls = [line for line in trace.read_text().splitlines() if " = -1 " not in line]
    assert any("libcrypto" in line or "_hashlib" in line for line in calls), "the trace has the libraries"
    assert len([line for line in calls if "execve(" in line]) == 1, "no program is run that could load them instead"
    return json.loads(done.stdout), {match.group(0) for line in calls for match in [_OUTSIDE.search(line)] if match}


@pytest.mark.needs("strace")
def test_no_other_library_is_loaded(flag: pathlib.Path, tmp_path: pathlib.Path) -> None:
    images = [Image(tmp_path / "one", "luks1.img"), Image(tmp_path / "two", "luks2.img")]
    task = {"devices": [str(image.path) for image in images], "policy": "legacy", "secrets": BOTH}
    opened, outside = opened_files(tmp_path, "auto", task)
    assert not outside, outside
    assert opened == [[["WINTER-2025"], ["IN-CASE-OF-FIRE"]], [[], []]], "Argon2 is not tried"
    opened, outside = opened_files(tmp_path, "ignore", task)
    assert opened[1] == [["WINTER-2025"], ["IN-CASE-OF-FIRE"]]
    assert outside, "without the mode another library is used, so that the test would see one"
