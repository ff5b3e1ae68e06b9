# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store refuses, and that it is as it was then; whole rotations are played in tests/rotation."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.parsing.vault import VaultLib, VaultSecret  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils import _stores  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import BadEntry, read  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.role_variables import SPEC  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import (  # noqa: E402
    Store,
    Stored,
    StoreError,
    ceph,
    escrow,
)
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.command import Command  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.vault_file import ROOT  # noqa: E402

UUID = "4b543c86-7353-47b9-b355-d0ef03989991"
ENTRY = {"host": "web", "uuid": UUID, "next": None, "current": None, "older": []}
KEY = "web/1"


def vault(*passwords: bytes, ids: t.Sequence[str] = ()) -> VaultLib:
    return VaultLib(
        [(name, VaultSecret(password)) for name, password in zip(ids or ["default"] * len(passwords), passwords)]
    )


def vault_store(path: pathlib.Path, *passwords: bytes, ids: t.Sequence[str] = (), **options: t.Any) -> Store:
    return _stores.make("vault_file", {"path": str(path), "lock_timeout": 1, **options}, vault(*passwords, ids=ids))


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "store"


def test_a_vault_file_gives_back_what_it_was_given(file: pathlib.Path) -> None:
    store = vault_store(file, b"password")
    assert store.read(KEY) == Stored(None, 0)
    assert store.write(KEY, ENTRY, 0) == Stored(ENTRY, 1)
    assert store.write(KEY, ENTRY, 1) == Stored(ENTRY, 2)
    assert store.write("other", ENTRY, 0) == Stored(ENTRY, 1)
    assert vault_store(file, b"password").read(KEY) == Stored(ENTRY, 2)
    assert b"web" not in file.read_bytes()


@pytest.mark.parametrize("version", [0, 2])
def test_an_entry_that_somebody_else_changed(file: pathlib.Path, version: int) -> None:
    store = vault_store(file, b"password")
    store.write(KEY, ENTRY, 0)
    before = file.read_bytes()
    with pytest.raises(StoreError, match="was changed by another run meanwhile"):
        store.write(KEY, ENTRY, version)
    assert file.read_bytes() == before


def test_no_vault_password(file: pathlib.Path) -> None:
    store = vault_store(file)
    for ask in (store.check, lambda: store.write(KEY, ENTRY, 0)):
        with pytest.raises(StoreError, match=r"There is no vault password.*The store was not changed\."):
            ask()
    assert not file.exists()
    vault_store(file, b"password").write(KEY, ENTRY, 0)
    with pytest.raises(StoreError, match="There is no vault password"):
        store.read(KEY)


def test_a_vault_file_that_cannot_be_written_is_told_before(
    file: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"the folder of the store, does not exist.*The store was not changed\."):
        vault_store(tmp_path / "not mounted" / "store", b"password").check()
    store = vault_store(file, b"password")
    store.check()
    monkeypatch.setattr(os, "access", lambda *_arguments, **_options: False)
    with pytest.raises(StoreError, match=r"The store cannot be written\. .*EACCES"):
        store.check()
    assert not list(tmp_path.iterdir())


def test_another_vault_password(file: pathlib.Path) -> None:
    vault_store(file, b"password").write(KEY, ENTRY, 0)
    before = file.read_bytes()
    with pytest.raises(StoreError, match="No vault password of this run decrypts"):
        vault_store(file, b"other").write(KEY, ENTRY, 1)
    assert file.read_bytes() == before


def test_no_password_of_that_id(file: pathlib.Path) -> None:
    store = vault_store(file, b"password", vault_id="luks")
    for ask in (store.check, lambda: store.write(KEY, ENTRY, 0)):
        with pytest.raises(StoreError, match="no vault password with the id 'luks'"):
            ask()
    assert not file.exists()


@pytest.mark.parametrize("label", ["luks", None])
def test_a_file_keeps_the_vault_id_that_opened_it(file: pathlib.Path, label: t.Optional[str]) -> None:
    """Those of other departments come first in the list, and must not take the file over."""
    own = vault_store(file, b"ours", ids=["luks"], vault_id=label)
    own.write(KEY, ENTRY, 0)
    first_line = file.read_bytes().split(b"\n")[0]
    vault_store(file, b"theirs", b"ours", ids=["others", "luks"]).write(KEY, ENTRY, 1)
    assert file.read_bytes().split(b"\n")[0] == first_line
    assert own.read(KEY) == Stored(ENTRY, 2)


def test_a_file_gets_the_vault_id_that_is_asked_for(file: pathlib.Path) -> None:
    vault_store(file, b"ours", ids=["luks"]).write(KEY, ENTRY, 0)
    vault_store(file, b"ours", b"new", ids=["luks", "new"], vault_id="new").write(KEY, ENTRY, 1)
    assert file.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;new\n")
    assert vault_store(file, b"new", ids=["new"]).read(KEY) == Stored(ENTRY, 2)


def test_a_file_in_the_clear_is_not_taken_for_a_store(file: pathlib.Path) -> None:
    file.write_text(json.dumps({ROOT: {}}))
    with pytest.raises(StoreError, match="is not encrypted with ansible-vault"):
        vault_store(file, b"password").write(KEY, ENTRY, 0)


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", json.dumps({ROOT: []})])
def test_an_encrypted_file_that_is_no_store(file: pathlib.Path, content: str) -> None:
    before = vault(b"password").encrypt(content)
    file.write_bytes(before)
    with pytest.raises(StoreError, match=r"holds no secrets of luksmith\.luks"):
        vault_store(file, b"password").write(KEY, ENTRY, 0)
    assert file.read_bytes() == before


def test_a_store_that_is_not_there(tmp_path: pathlib.Path) -> None:
    for name, options in (
        ("vault_file", {"path": str(tmp_path / "no" / "file")}),
        ("escrow", {"folder": str(tmp_path / "no")}),
    ):
        with pytest.raises(StoreError, match=r"does not exist\. Is it mounted"):
            _stores.make(name, options, vault(b"password")).write(KEY, ENTRY, 0)
        assert list(tmp_path.iterdir()) == []
    vault_store(tmp_path / "no" / "file", b"password", create=True).write(KEY, ENTRY, 0)


def sealed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of openssl: what is sealed can be read."""
    monkeypatch.setattr(escrow, "seal", lambda secret, _certificates: f"sealed {secret}")
    monkeypatch.setattr(escrow, "unseal", lambda envelope, _private_key: envelope[len("sealed ") :])


def secret(identity: str) -> t.Dict[str, t.Any]:
    return {"id": identity, "passphrase": f"passphrase of {identity}"}


def escrow_store(folder: pathlib.Path, private_key: t.Optional[str] = "a key") -> Store:
    return _stores.make("escrow", {"folder": str(folder), "private_key": private_key}, vault())


def test_an_envelope_that_somebody_else_changed(tmp_path: pathlib.Path) -> None:
    store = escrow_store(tmp_path)
    assert store.write(KEY, ENTRY, 0).version == 1
    before = (tmp_path / f"{KEY}.json").read_bytes()
    with pytest.raises(StoreError, match="was changed by another run meanwhile"):
        store.write(KEY, ENTRY, 0)
    assert (tmp_path / f"{KEY}.json").read_bytes() == before


def test_an_envelope_gives_back_its_secret(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed_here(monkeypatch)
    given = {**ENTRY, "current": secret("a"), "next": secret("b"), "older": [secret("c")]}
    found = escrow_store(tmp_path).write(KEY, given, 0).entry
    assert found is not None
    assert [found[name]["passphrase"] for name in ("current", "next")] == ["passphrase of a", "passphrase of b"]
    assert "passphrase" not in (escrow_store(tmp_path, None).read(KEY).entry or {})["current"]


@pytest.mark.parametrize("change", ["host", "uuid", "id"])
def test_an_envelope_of_another(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Whoever can write to the folder exchanges the envelopes of two hosts, of two volumes, or of two secrets of one
    volume.
    """
    sealed_here(monkeypatch)
    store = escrow_store(tmp_path)
    other = {
        **ENTRY,
        **({change: "another"} if change != "id" else {}),
        "current": secret("b" if change == "id" else "a"),
    }
    store.write("other", other, 0)
    store.write(KEY, {**ENTRY, "current": secret("a")}, 0)
    path, theirs = tmp_path / f"{KEY}.json", json.loads((tmp_path / "other.json").read_text())
    document = json.loads(path.read_text())
    document["entry"]["current"]["sealed"] = theirs["entry"]["current"]["sealed"]
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="somebody has exchanged envelopes") as caught:
        store.read(KEY)
    assert "passphrase of" not in str(caught.value)


@pytest.mark.parametrize(
    "sealed", ["sealed winter-2025", "sealed {}", "sealed []", 'sealed {"passphrase": "x", "id": "a"}']
)
def test_an_envelope_that_names_no_volume(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, sealed: str) -> None:
    sealed_here(monkeypatch)
    (tmp_path / "web").mkdir()
    (tmp_path / f"{KEY}.json").write_text(
        json.dumps({"version": 1, "entry": {**ENTRY, "current": {"id": "a", "sealed": sealed}}})
    )
    with pytest.raises(StoreError, match="does not say for which volume it was sealed") as caught:
        escrow_store(tmp_path).read(KEY)
    assert "winter-2025" not in str(caught.value)


@pytest.mark.parametrize("key", ["../outside", "web/../../outside", "/outside", "web//1", "", ".", "web/.", "a\0b"])
def test_a_key_that_leads_out_of_the_folder(tmp_path: pathlib.Path, key: str) -> None:
    folder = tmp_path / "escrow"
    folder.mkdir()
    (tmp_path / "outside.json").write_text(json.dumps({"version": 1, "entry": ENTRY}))
    for ask in (lambda: escrow_store(folder).read(key), lambda: escrow_store(folder).write(key, ENTRY, 1)):
        with pytest.raises(StoreError, match=r"no path below the folder.*give the host another one in the inventory"):
            ask()


ODD_HOSTS = ("Web1", "web1", "a/b", "a", "a b", "a%2Fb", "\u00fc", "u\u0308", "a\nb", "-x", "~", "$HOME", "x" * 255)


@pytest.mark.parametrize("name", ["escrow", "vault_file", "command"])
def test_no_two_hosts_share_an_entry(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed_here(monkeypatch)
    store: Store = escrow_store(tmp_path) if name == "escrow" else vault_store(tmp_path / "store", b"password")
    if name == "command":
        program = tmp_path / "program.py"
        program.write_text(
            "import hashlib, pathlib, sys\n"
            "file = pathlib.Path(__file__).with_name(hashlib.sha256(sys.argv[2].encode()).hexdigest())\n"
            "if sys.argv[1] == 'write': file.write_text(sys.stdin.read())\n"
            "elif file.exists(): print(file.read_text())\n"
        )
        store = Command([sys.executable, str(program)])
    for host in ODD_HOSTS:
        assert not store.read(f"{host}/{UUID}").entry
        store.write(f"{host}/{UUID}", {**ENTRY, "host": host}, None)
    for host in ODD_HOSTS:
        assert (store.read(f"{host}/{UUID}").entry or {})["host"] == host


def test_a_name_that_no_folder_can_have_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreError, match="give the host another one in the inventory"):
        escrow_store(tmp_path).read(f"{'x' * 256}/{UUID}")


def test_where_capital_letters_do_not_count_the_second_host_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clones with one UUID; a link makes one folder of both names."""
    sealed_here(monkeypatch)
    store = escrow_store(tmp_path)
    (tmp_path / "Web1").mkdir()
    (tmp_path / "web1").symlink_to("Web1")
    store.write(f"Web1/{UUID}", {**ENTRY, "format": 1, "host": "Web1", "past": []}, 0)
    before = (tmp_path / "Web1" / f"{UUID}.json").read_bytes()
    found = store.read(f"web1/{UUID}")
    with pytest.raises(BadEntry, match="differs in more than capital letters") as caught:
        read(found.entry, "web1", UUID, "")
    assert "'Web1'" in str(caught.value) and "'web1'" in str(caught.value)
    with pytest.raises(BadEntry, match="must tell the volumes apart"):
        read(found.entry, "db", UUID, "")
    with pytest.raises(StoreError, match="was changed by another run"):
        store.write(f"web1/{UUID}", {**ENTRY, "host": "web1"}, 0)
    assert (tmp_path / "Web1" / f"{UUID}.json").read_bytes() == before


def test_a_file_system_that_gives_back_something_else(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = escrow.GuardedFile.replace
    monkeypatch.setattr(
        escrow.GuardedFile, "replace", lambda file, content: right(file, content.replace(b'"web"', b'"bew"'))
    )
    with pytest.raises(StoreError, match="did not give back what was written"):
        escrow_store(tmp_path).write(KEY, ENTRY, 0)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"entry": {}}', '{"entry": [], "version": 1}', '{"entry": {}, "version": 1}']
)
def test_a_file_that_holds_no_envelopes(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "web").mkdir()
    path = tmp_path / f"{KEY}.json"
    path.write_text(content)
    with pytest.raises(StoreError, match=r"holds no entry of luksmith\.luks"):
        escrow_store(tmp_path).write(KEY, ENTRY, 0)
    assert path.read_text() == content


def test_an_escrow_without_a_certificate_is_none(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreError, match=r"there is no certificate to seal a secret for\. The store was not changed"):
        escrow_store(tmp_path).check()


def test_an_escrow_that_could_not_be_written_or_opened_later(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"folder": str(tmp_path / "no"), "certificates": [str(tmp_path / "certificate")]}
    with pytest.raises(StoreError, match="is no certificate in PEM form"):
        _stores.make("escrow", options, vault()).check()
    monkeypatch.setattr(escrow, "check_certificate", lambda _path: True)
    with pytest.raises(StoreError, match=r"does not exist\. Is it mounted"):
        _stores.make("escrow", options, vault()).check()
    _stores.make("escrow", {**options, "folder": str(tmp_path)}, vault()).check()


# Stands for the program ceph: the keys are files of the folder.
CEPH = """
import pathlib, sys
folder, _config_key, action, key, *_rest = sys.argv[1:]
file = pathlib.Path(folder, key.replace("/", "+"))
if action == "set":
    if (pathlib.Path(folder) / "full").exists():
        sys.exit(f"no room for {sys.stdin.read()}")
    file.write_text(sys.stdin.read())
elif file.exists():
    print(file.read_text(), end="")
else:
    print("Error ENOENT: error obtaining it", file=sys.stderr)
    sys.exit(2)
"""
OSD = f"dm-crypt+osd+{UUID}+luks"
HELD = {**ENTRY, "current": {"id": "a", "passphrase": "of a"}}


def ceph_store(folder: pathlib.Path) -> Store:
    return _stores.make("ceph", {"words": [sys.executable, "-c", CEPH, str(folder)]}, vault())


def test_ceph_gives_back_what_it_was_given_and_the_osd_its_secret(tmp_path: pathlib.Path) -> None:
    key, store = f"web/{UUID}", ceph_store(tmp_path)
    (tmp_path / OSD).write_text("as made\n")
    first = store.read(key)
    assert first.entry is not None and first.entry["current"]["passphrase"] == "as made"
    held = store.write(key, HELD, first.version)
    assert held.entry == HELD and (tmp_path / OSD).read_text() == "of a"
    staged = {**HELD, "next": {"id": "b", "passphrase": "of b"}}
    assert store.write(key, staged, held.version).entry == staged and (tmp_path / OSD).read_text() == "of a"
    with pytest.raises(StoreError, match=r"was changed by another run meanwhile.*The store was not changed\."):
        store.write(key, HELD, held.version)
    assert store.read(key).entry == staged


def test_a_volume_of_ceph_that_is_no_osd(tmp_path: pathlib.Path) -> None:
    store = ceph_store(tmp_path)
    assert store.read(KEY) == Stored(None, 0)
    assert store.read(KEY) == store.read(KEY) != store.write(KEY, HELD, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["luksmith.luks+web+1"]


def test_an_osd_with_a_secret_that_the_entry_does_not_name(tmp_path: pathlib.Path) -> None:
    key, store = f"web/{UUID}", ceph_store(tmp_path)
    (tmp_path / OSD).write_text("as made")
    version = store.write(key, HELD, store.read(key).version).version
    (tmp_path / OSD).write_text("by hand")
    for ask in (lambda: store.read(key), lambda: store.write(key, HELD, version)):
        with pytest.raises(StoreError, match="is another secret than the entry") as caught:
            ask()
        assert "by hand" not in str(caught.value)
    assert (tmp_path / OSD).read_text() == "by hand"


def test_ceph_without_a_program_or_room(tmp_path: pathlib.Path) -> None:
    without = ceph.Ceph(())
    for ask in (without.check, lambda: without.read(KEY), lambda: without.write(KEY, HELD, 0)):
        with pytest.raises(StoreError, match="The store ceph has no program"):
            ask()
    (tmp_path / "full").touch()
    with pytest.raises(StoreError, match=r"config-key set luksmith\.luks/web/1 failed with exit code 1") as caught:
        ceph_store(tmp_path).write(KEY, HELD, 0)
    assert "of a" not in str(caught.value)
    with pytest.raises(StoreError, match=r"config-key get luksmith\.luks/web/1 failed with exit code"):
        ceph.Ceph((sys.executable, "-c", "raise SystemExit(5)")).read(KEY)


def command(tmp_path: pathlib.Path, script: str) -> Store:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return _stores.make("command", {"words": [str(program)]}, vault())


def test_a_command_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        StoreError, match=r"The program .*/none of the store cannot be run: No such file.*The store was not changed"
    ):
        _stores.make("command", {"words": [str(tmp_path / "none")]}, vault()).read(KEY)
    with pytest.raises(StoreError, match="needs rotate_command"):
        _stores.make("command", {"words": ""}, vault())


def test_what_a_command_complains_of_is_shown_without_secrets(tmp_path: pathlib.Path) -> None:
    entry = {**ENTRY, "current": {"id": "a", "passphrase": 'winter"2025'}}
    store = command(
        tmp_path, r"""[ "$1" = read ] && exit 0; input=$(cat); printf 'no room\033[2J for %s\n' "$input" >&2; exit 3"""
    )
    with pytest.raises(
        StoreError, match=r"program write web/1 failed with exit code 3: no room \[2J for .*\*{8}"
    ) as caught:
        store.write(KEY, entry, 0)
    assert "2025" not in str(caught.value) and str(caught.value).isprintable()
    assert str(caught.value).endswith("It is not known whether the store was changed.")


def test_a_command_without_a_program() -> None:
    store = Command(())
    for ask in (store.check, lambda: store.read(KEY), lambda: store.write(KEY, ENTRY, 0)):
        with pytest.raises(StoreError, match="The store command has no program"):
            ask()


def test_a_command_that_is_killed(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreError, match=r"was ended by signal 9, and said nothing\. The store was not changed"):
        command(tmp_path, "kill -9 $$").read(KEY)


@pytest.mark.parametrize("output", ["no JSON", "[]", "{}x", '{"entry": "text"}'])
def test_a_command_that_prints_something_else(tmp_path: pathlib.Path, output: str) -> None:
    with pytest.raises(StoreError, match="program read web/1 printed is no JSON of the form") as caught:
        command(tmp_path, f"echo '{output}'").read(KEY)
    assert "no JSON'" not in str(caught.value)


EXAMPLE = pathlib.Path(__file__).resolve().parents[3] / "rotation" / "store_command.py"


def test_the_example_of_a_command(tmp_path: pathlib.Path) -> None:
    store = _stores.make("command", {"words": [sys.executable, str(EXAMPLE), str(tmp_path / "kept.json")]}, vault())
    assert store.read(KEY) == Stored(None, None)
    held = store.write(KEY, ENTRY, None)
    assert held.entry == ENTRY and store.write(KEY, ENTRY, held.version).entry == ENTRY
    with pytest.raises(StoreError, match="somebody else wrote"):
        store.write(KEY, ENTRY, held.version)


@pytest.mark.needs("strace")
def test_the_example_of_a_command_syncs(tmp_path: pathlib.Path) -> None:
    trace = tmp_path / "trace"
    words = [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(trace),
        "-e",
        "trace=fsync,rename",
        sys.executable,
        str(EXAMPLE),
        str(tmp_path / "kept.json"),
        "write",
        KEY,
    ]
    subprocess.run(words, input=json.dumps({"entry": ENTRY, "version": 0}), text=True, check=True, capture_output=True)
    calls = [line.split("(")[0].split()[-1] for line in trace.read_text().splitlines() if "(" in line]
    assert calls == ["fsync", "rename", "fsync"]


OWN = """
class Store:
    def __init__(self, where):
        self.where = where
    def check(self):
        pass
    def read(self, key):
        return f"{self.where}: {key}"
    def write(self, key, entry, version):
        raise NotImplementedError
"""


def test_a_store_of_ones_own(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    assert str(_stores.make(str(path), {"where": "here"}, vault()).read(KEY)) == "here: web/1"
    with pytest.raises(StoreError, match="cannot be used: TypeError"):
        _stores.make(str(path), {"password": "secret"}, vault())
    path.write_text("class Stor: pass")
    with pytest.raises(StoreError, match="cannot be used: AttributeError"):
        _stores.make(str(path), {}, vault())


@pytest.mark.parametrize("name", ["vault-file", "vault", "", None, "hashi_vaults", "/no/such/folder", "./none.py"])
def test_a_name_that_is_no_store(name: t.Any) -> None:
    with pytest.raises(StoreError, match=r"The store was not changed\."):
        _stores.check_name(name)


@pytest.mark.parametrize(
    "name", ["vault_file", "escrow", "command", "ceph", "hashi_vault", os.sep, ["vault_file"], ["vault_file", "escrow"]]
)
def test_a_name_that_is_a_store(name: t.Any) -> None:
    _stores.check_name(name)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], r"There is no store \[\]"),
        (["vault_file", "escrwo"], "There is no store 'escrwo'"),
        (["vault_file", None], "There is no store None"),
        ([["vault_file"]], r"There is no store \['vault_file'\]"),
        ({"vault_file": "escrow"}, "There is no store {'vault_file'"),
        (["escrow", "escrow"], "names the store escrow twice"),
        (["vault_file", os.sep], "is made of task files, so that it cannot be one of several"),
    ],
)
def test_names_that_are_no_stores_together(names: t.Any, says: str) -> None:
    with pytest.raises(StoreError, match=f"{says}.*The store was not changed"):
        _stores.check_name(names)


def test_a_vault_file_and_an_escrow_at_once(file: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed_here(monkeypatch)
    monkeypatch.setattr(escrow, "check_certificate", lambda _path: True)
    given = {name: option.get("default") for name, option in SPEC.items()}
    given.update(rotate_vault_file=str(file), rotate_escrow_folder=str(file.parent))
    store = _stores.store_of(["vault_file", "escrow"], given, vault(b"password"))
    key = f"web/{UUID}"
    entry = {"format": 1, **ENTRY, "device": "", "past": [], "next": secret("a")}
    held = store.write(key, entry, 0)
    assert held.version == (1, 1) and store.read(key) == held and not (held.entry or {}).get("behind")
    assert "passphrase of a" in (vault_store(file, b"password").read(key).entry or {})["next"]["passphrase"]
    (file.parent / f"{key}.json").unlink()
    assert (store.read(key).entry or {})["behind"] == ["escrow"]
    with pytest.raises(StoreError, match="The store escrow needs rotate_escrow_folder"):
        _stores.store_of(["vault_file", "escrow"], {**given, "rotate_escrow_folder": None}, vault(b"password"))
