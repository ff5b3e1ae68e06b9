# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which library does the work on a stock host, and what the module says where no library can."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts.machine import Host
from ansible_collections.luksmith.luks.tests.hosts.roots import SUITES
from ansible_collections.luksmith.luks.tests.hosts.stock import on

pytestmark = pytest.mark.needs("cryptsetup", "debootstrap", "root")

# Debian 12: OpenSSL 3.0 has no Argon2, and cryptsetup brings libargon2. Debian 13: the reverse.
ARGON2 = {"bookworm": "libargon2", "trixie": "libcrypto"}
CHEAP = ("--pbkdf-force-iterations", "1000")


def test_argon2_comes_from_the_library_of_the_hosts_cryptsetup(
    host: Host, answers: t.Dict[str, t.Any], tell: t.Callable[..., None]
) -> None:
    """The first test on a host takes longer than 5 seconds where its root file system is still to be made."""
    tell(host, answers)
    assert (answers["argon2i"], answers["argon2id"]) == (ARGON2[host.suite], ARGON2[host.suite])


def test_aes_comes_from_cryptography_or_without_it_from_libcrypto(host: Host, answers: t.Dict[str, t.Any]) -> None:
    assert bool(answers["cryptography"]) == host.name.endswith("with cryptography")
    assert set(answers["aes"].values()) == {"libcrypto"}


@pytest.mark.parametrize("name", ["ripemd160", "whirlpool"])
def test_hash_that_the_hosts_cryptsetup_has_is_never_a_wrong_secret(
    host: Host, answers: t.Dict[str, t.Any], name: str
) -> None:
    volume = make_luks1(host, name)
    before = (host.volumes / volume).read_bytes()
    result = host.module("keyslots", {"device": f"/mnt/{volume}", "keyslots": [{"new_secret": {"passphrase": "old"}}]})
    assert (host.volumes / volume).read_bytes() == before
    if answers["hashes"][name]:
        assert (result.get("failed"), result["changed"]) == (None, False), result
        assert result["keyslots"][0]["opened_by"] == ["keyslots[0].new_secret"]
    else:
        assert result["failed"]
        assert name in result["msg"]


@on(*SUITES)
def test_hash_that_nobody_provides_is_named_and_nothing_is_written(host: Host) -> None:
    volume = make_luks1(host, "whirlpool")
    before = (host.volumes / volume).read_bytes()
    task = {
        "device": f"/mnt/{volume}",
        "keyslots": [{"state": "absent", "old_secret": {"passphrase": "old"}}],
        "allow_lockout": True,
    }
    # Debian 13 comes without Libgcrypt.
    others = ["usr/lib/*/libgcrypt.so.20"] if host.suite == "bookworm" else []
    result = host.module("keyslots", task, hide=["usr/lib/*/ossl-modules", *others])
    assert result["failed"]
    assert not result["changed"]
    assert "whirlpool" in result["msg"]
    assert (host.volumes / volume).read_bytes() == before


# Debian 13 has its Argon2 in libcrypto, which Python itself needs.
@on("bookworm")
def test_argon2_that_nobody_provides_names_what_to_install(host: Host) -> None:
    volume = "nobody.img"
    done = host.cryptsetup(
        "luksFormat",
        "--pbkdf",
        "argon2id",
        "--pbkdf-memory",
        "32",
        "--pbkdf-force-iterations",
        "4",
        *make_file(host, volume),
        stdin="old",
    )
    assert done.returncode == 0, done
    result = host.module(
        "keyslots",
        {"device": f"/mnt/{volume}", "keyslots": [{"new_secret": {"passphrase": "old"}}]},
        hide=["usr/lib/*/libargon2.so.1"],
    )
    assert result["failed"]
    assert not result["changed"]
    assert "argon2id" in result["msg"]
    assert "libargon2" in result["msg"]


def make_file(host: Host, volume: str) -> t.Tuple[str, ...]:
    with (host.volumes / volume).open("wb") as file:
        file.truncate(20 * 1024 * 1024)
    return "--key-file", "-", f"/mnt/{volume}"


def make_luks1(host: Host, name: str) -> str:
    volume = f"{name}.img"
    done = host.cryptsetup(
        "luksFormat", "--type", "luks1", "--hash", name, *CHEAP, *make_file(host, volume), stdin="old"
    )
    assert done.returncode == 0, done
    return volume
