# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Clevis binding unlocks: the program clevis gives the secret, and a keyslot proves it. LUKS1 and LUKS2.

The bindings are those of ``clevis luks bind``, made with ``clevis encrypt``, which is in a package without that one.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import started, until
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, PBKDF2, Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module

pytestmark = pytest.mark.needs("cryptsetup", "clevis", "luksmeta")
CLEVIS = "cb6e8904-81ff-40da-a84a-07ab9ab5715e"
MACHINE = "passphrase-of-the-machine"
BREAK_GLASS = {"new_secret": {"label": "break-glass", "passphrase": "break-glass"}, "pbkdf": CHEAP}
TOKEN = {"label": "machine", "token": "clevis"}
PARTS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")


def bind(volume: Luks2Volume, type: str, pin: str = "null", config: str = "{}", secret: str = MACHINE) -> None:
    """What ``clevis luks bind`` leaves: ``MACHINE`` in keyslot 1, and ``secret`` in a token that names it."""
    options = ("--key-slot", 1, *PBKDF2)
    run("cryptsetup", "luksAddKey", "-q", *options, "-d", volume.keyfile("pw0"), volume.path, volume.keyfile(MACHINE))
    jwe = run("clevis", "encrypt", pin, config, "-y", stdin=secret).stdout
    if type == "luks2":
        parts = dict(zip(PARTS, jwe.split(".")))
        volume.import_token(3, {"type": "clevis", "keyslots": ["1"], "jwe": parts})
    else:
        run("luksmeta", "init", "-f", "-d", volume.path)
        run("luksmeta", "save", "-d", volume.path, "-s", 1, "-u", CLEVIS, stdin=jwe)


@pytest.fixture(params=["luks1", "luks2"])
def type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def volume(tmp_path: pathlib.Path, type: str) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like(type=type)


def number(type: str) -> int:
    return 3 if type == "luks2" else 1


def told(result: t.Mapping[str, t.Any], *words: str) -> bool:
    return any(all(word in str(one) for word in words) for one in result["warnings"])


@pytest.mark.parametrize("asked", ["auto", "clevis", "number"])
def test_a_host_with_a_binding_only_gets_a_passphrase(volume: Luks2Volume, type: str, asked: str) -> None:
    bind(volume, type)
    item = {"label": "machine", "token": str(number(type)) if asked == "number" else asked}
    run("cryptsetup", "luksKillSlot", "-q", "-d", volume.keyfile(MACHINE), volume.path, 0)
    foreseen = keyslots(volume.path, [BREAK_GLASS], check=True, unlock=[item])
    added = keyslots(volume.path, [BREAK_GLASS], unlock=[item])
    assert foreseen["plan"] == added["plan"]
    assert volume.opens("break-glass") and volume.opens(MACHINE)
    assert added["tokens_asked"] == [{"label": "machine", "token": number(type), "type": "clevis", "keyslots": [1]}]
    assert next(row for row in added["keyslots"] if row["keyslot"] == 1)["opened_by"] == ["machine"]
    assert MACHINE not in json.dumps(added)
    # At rest nothing has to be unlocked, so that no server is asked.
    again = keyslots(volume.path, [BREAK_GLASS], unlock=[item])
    assert not again["changed"] and again["tokens_asked"] == []


def test_the_installer_goes_because_the_binding_is_proven(volume: Luks2Volume, type: str) -> None:
    bind(volume, type)
    leave = {"state": "absent", "old_secret": {"label": "installer", "passphrase": "pw0"}}
    with pytest.raises(ModuleFailed, match="would leave no keyslot"):
        keyslots(volume.path, [leave])
    keyslots(volume.path, [leave], unlock=[TOKEN])
    assert volume.opens(MACHINE) and not volume.opens("pw0")


def test_a_stale_binding_is_found_and_proves_nothing(volume: Luks2Volume, type: str) -> None:
    bind(volume, type, secret="that of last year")
    before = volume.sha256()
    leave = {"state": "absent", "old_secret": {"label": "installer", "passphrase": "pw0"}}
    stale = f"token {number(type)} (clevis) yields a secret that opens none of its keyslots: the binding is stale"
    for entries in ([leave], [BREAK_GLASS]):
        with pytest.raises(ModuleFailed) as caught:
            keyslots(volume.path, entries, unlock=[TOKEN])
        assert stale in str(caught.value) and volume.sha256() == before
    found = run_module("keyslots_info", {"device": str(volume.path), "secrets": [TOKEN, {"passphrase": "pw0"}]})
    assert told(found, stale) and found["opened_by"]["machine"] == [] and found["tokens_asked"] == []


def test_a_rotation_takes_in_a_volume_whose_only_key_is_a_binding(volume: Luks2Volume, type: str) -> None:
    """As the role asks the host: look, add with the proof of the token, and erase the secret of the installer. Clevis
    is asked in each step: more than 5 s.
    """
    bind(volume, type)
    leave = {"state": "absent", "old_secret": {"label": "installer", "passphrase": "pw0"}}
    secret = {"label": "luksmith:1", "passphrase": "staged in the store"}
    work = {"device": str(volume.path), "unlock": [TOKEN], "kept": 1, "keyslots": [{"new_secret": secret}, leave]}
    run("cryptsetup", "luksKillSlot", "-q", "-d", volume.keyfile(MACHINE), volume.path, 0)
    (seen,) = run_module("rotation_step", {"step": "look", "volumes": [work]})["volumes"]
    assert [row["action"] for row in seen["plan"]["plan"]] == ["add"] and seen["unknown"] == []
    add = {**work, "keyslots": [{"new_secret": secret}], "prove": secret}
    (done,) = run_module("rotation_step", {"step": "add", "volumes": [add]})["volumes"]
    assert "failed" not in done and MACHINE not in json.dumps(done)
    (done,) = run_module("rotation_step", {"step": "erase", "volumes": [work]})["volumes"]
    assert "failed" not in done and done["plan"] == []
    assert volume.opens("staged in the store") and volume.opens(MACHINE) and not volume.opens("pw0")


def test_an_audit_asks_the_token(volume: Luks2Volume, type: str) -> None:
    bind(volume, type)
    given = {"device": str(volume.path), "secrets": [TOKEN, {"label": "installer", "passphrase": "pw0"}]}
    done = run_module("audit", given)
    assert {row["keyslot"]: row["opened_by"] for row in done["keyslots"] if row["state"] == "active"} == {
        0: ["installer"],
        1: ["machine"],
    }
    assert MACHINE not in json.dumps(done)
    found = {one["rule"] for kind in ("findings", "unverified") for one in done[kind]}
    assert not {"token-dangling", "slot-unknown"} & found, "it is the secret of that very token"
    wrong = {**given, "secrets": [{"label": "other", "volume_key_base64": "A" * 86 + "=="}, *given["secrets"]]}
    assert told(run_module("audit", wrong), "the volume key other is not that of the volume")


def test_an_audit_says_that_a_binding_is_stale(volume: Luks2Volume, type: str) -> None:
    bind(volume, type, secret="that of last year")
    done = run_module("audit", {"device": str(volume.path), "secrets": [TOKEN]})
    assert told(done, "the binding is stale")
    assert all(row["opened_by"] == [] for row in done["keyslots"])
    costs = {"pbkdf2": 1000, "argon2": [{"time": 4, "memory": 32}], "tokens": {"clevis": 1000}}
    for policy in ("legacy", {"extends": "legacy", "token_types": ["clevis"], "minimum_costs": costs}):
        refuted = run_module("audit", {"device": str(volume.path), "secrets": [TOKEN], "policy": policy})
        found = {(one["rule"], one["keyslot"]) for one in refuted["findings"]}
        assert {("token-dangling", 1), ("slot-unknown", 1)} <= found


def test_the_second_binding_counts_if_the_first_is_stale(tmp_path: pathlib.Path) -> None:
    volume = Luks2Volume(tmp_path / "volume").like()
    bind(volume, "luks2", secret="that of last year")
    jwe = run("clevis", "encrypt", "null", "{}", "-y", stdin=MACHINE).stdout
    volume.import_token(4, {"type": "clevis", "keyslots": ["1"], "jwe": dict(zip(PARTS, jwe.split(".")))})
    found = run_module("keyslots_info", {"device": str(volume.path), "secrets": [{"label": "any", "token": "auto"}]})
    assert [row["token"] for row in found["tokens_asked"]] == [4] and found["opened_by"] == {"any": [1]}
    assert told(found, "token 3 (clevis) yields a secret that opens none")


@pytest.mark.parametrize(
    ("token", "words"),
    [("systemd-tpm2", "no token that 'systemd-tpm2' could mean"), ("9", "no token that '9' could mean")],
)
def test_a_token_that_is_not_there(volume: Luks2Volume, type: str, token: str, words: str) -> None:
    bind(volume, type)
    with pytest.raises(ModuleFailed, match=words):
        keyslots(volume.path, [BREAK_GLASS], unlock=[{"token": token}])


def test_damaged_bindings_are_said(volume: Luks2Volume, type: str) -> None:
    bind(volume, type)
    if type == "luks2":
        volume.edit(lambda tree: tree["tokens"]["3"]["jwe"].update(tag="AAAA"))
    else:
        content = bytearray(volume.raw())
        content[content.index(b"LUKSMETA") + 4096 + 100] ^= 1
        volume.patch(0, bytes(content))
    with pytest.raises(ModuleFailed, match=r"No secret of this task opens a keyslot.*token"):
        keyslots(volume.path, [BREAK_GLASS], unlock=[TOKEN])


@contextlib.contextmanager
def tang(folder: pathlib.Path) -> t.Iterator[str]:
    """The address of a real tang server, as its socket unit starts it for each connection."""
    keys = folder / "tang"
    keys.mkdir()
    subprocess.run(["/usr/libexec/tangd-keygen", str(keys)], check=True, capture_output=True)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    listen = f"TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
    with started("socat", listen, f"EXEC:/usr/libexec/tangd {keys}") as server:
        until(lambda: _answers(port), "tang answers", server)
        yield f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.mark.needs("socat", "tangd")
def test_tang_unlocks_and_its_absence_is_told_in_the_words_of_clevis(
    volume: Luks2Volume, type: str, tmp_path: pathlib.Path
) -> None:
    with tang(tmp_path) as url:
        bind(volume, type, "tang", json.dumps({"url": url}))
        keyslots(volume.path, [BREAK_GLASS], unlock=[TOKEN])
        assert volume.opens("break-glass")
        required = {"extends": "legacy", "required_labels": ["machine"], "minimum_costs": {"pbkdf2": 1000}}
        secrets = [TOKEN, BREAK_GLASS["new_secret"], {"label": "installer", "passphrase": "pw0"}]
        audited = {"device": str(volume.path), "policy": required, "secrets": secrets}
        assert run_module("audit", audited)["state"] == "compliant"
    done = run_module("audit", audited)
    assert done["state"] == "unverified" and {"label-missing", "slot-unknown"} == {
        one["rule"] for one in done["unverified"] if "Error communicating with server" in one["message"]
    }
    other = {"new_secret": {"passphrase": "other"}, "pbkdf": CHEAP}
    with pytest.raises(ModuleFailed) as caught:
        keyslots(volume.path, [other], unlock=[TOKEN])
    assert "clevis decrypt ended with 1: Error communicating with server" in str(caught.value)
