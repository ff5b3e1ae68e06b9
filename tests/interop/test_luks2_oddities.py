# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers that can be read, on which cryptsetup does something that a user has to know. It judges each case here."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module

pytestmark = pytest.mark.needs("cryptsetup")
ARGON2 = ("--pbkdf", "argon2id", "--pbkdf-force-iterations", 4, "--pbkdf-memory", 64, "--pbkdf-parallel", 1)


def told(result: t.Mapping[str, t.Any], words: str) -> bool:
    return any(words in str(one) for one in result["warnings"])


@pytest.mark.parametrize("derivation", ["argon2d", "scrypt"])
def test_an_unknown_derivation_hides_the_keyslots_behind_it(tmp_path: pathlib.Path, derivation: str) -> None:
    """cryptsetup 2.8 with OpenSSL 3.2 has Argon2d, and comes to the keyslots behind."""
    volume = Luks2Volume(tmp_path / "volume").like(*ARGON2, slots={1: "one"})
    volume.edit(lambda tree: tree["keyslots"]["0"]["kdf"].update(type=derivation))
    if derivation == "scrypt":
        with pytest.raises(AssertionError):  # neither opened nor refused: it fails
            volume.opens("one")
    assert volume.opens("one", "--key-slot", 1)
    found = run_module(
        "keyslots_info", {"device": str(volume.path), "secrets": [{"label": "second", "passphrase": "one"}]}
    )
    assert found["opened_by"] == {"second": [1]}
    assert told(found, "cryptsetup stops at it, unless its library has it, before it tries the keyslots behind")


@pytest.mark.parametrize(
    "payload", ["xchacha20,aes-adiantum-plain64", "aria-xts-plain64", "serpent-xts-plain64", "aes-hctr2-plain64"]
)
def test_beside_a_payload_that_is_not_plain_aes_a_keyslot_is_in_aes(tmp_path: pathlib.Path, payload: str) -> None:
    """cryptsetup opens keyslots in whatever cipher they name; on a host without one, the others are out of reach."""
    volume = Luks2Volume(tmp_path / "volume").like()
    volume.edit(lambda tree: tree["segments"]["0"].update(encryption=payload))
    keyslots(volume.path, [{"new_secret": {"passphrase": "new"}, "pbkdf": CHEAP}], unlock=["pw0"])
    assert volume.opens("new") and volume.opens("pw0")
    assert volume.tree()["keyslots"]["1"]["area"]["encryption"] == "aes-xts-plain64"


def test_a_keyslot_in_a_cipher_that_nobody_has_can_be_overwritten(tmp_path: pathlib.Path) -> None:
    volume = Luks2Volume(tmp_path / "volume").like(slots={1: "lost"})
    volume.edit(lambda tree: tree["keyslots"]["1"]["area"].update(encryption="cast6-xts-plain64"))
    task = [{"keyslot": 1, "new_secret": {"passphrase": "new"}, "pbkdf": CHEAP}]
    with pytest.raises(ModuleFailed, match=r"overwrite it \(force: true"):
        keyslots(volume.path, task, unlock=["pw0"])
    keyslots(volume.path, task, unlock=["pw0"], force=True)
    assert volume.opened([0, 1], ["pw0", "new"]) == {(0, "pw0"), (1, "new")}
    assert volume.tree()["keyslots"]["1"]["area"]["encryption"] == "aes-xts-plain64"


def test_a_header_that_must_not_be_written_says_so_at_rest(tmp_path: pathlib.Path) -> None:
    volume = Luks2Volume(tmp_path / "volume").like()
    volume.edit(lambda tree: tree["config"].update(requirements={"mandatory": ["opal-v2"]}))
    at_rest = keyslots(volume.path, [{"new_secret": {"passphrase": "pw0"}}])
    assert not at_rest["changed"] and told(at_rest, "nothing could be: the volume keeps its key in a self-encrypting")
    with pytest.raises(ModuleFailed, match=r"cryptsetup 2\.9 or later"):
        keyslots(volume.path, [{"new_secret": {"passphrase": "new"}, "pbkdf": CHEAP}], unlock=["pw0"])
