# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store hashi_vault against an OpenBao server: its contract, what the server refuses, what somebody who can write
there tries, and whole rotations, audits and a secret that is given out.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.given_out import given_out, wanted_entry
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.hashi_vault import HashiVault
from ansible_collections.luksmith.luks.tests.rotation import ldap_directory, openbao
from ansible_collections.luksmith.luks.tests.rotation.lab import Lab, exactly_the_newest, nothing_is_lost
from ansible_collections.luksmith.luks.tests.rotation.openbao import TOKEN, Server
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

VOLUMES = ("luks2.img",)
LONG = os.environ.get("LUKSMITH_LONG") == "1"
TWO = ("-e", "rotate_generation=two")
UUID = "4b543c86-7353-47b9-b355-d0ef03989991"
KEY = f"web/{UUID}"
pytestmark = [pytest.mark.full, pytest.mark.needs("ansible-playbook", "cryptsetup"), pytest.mark.xdist_group("openbao")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    with openbao.running(tmp_path_factory.mktemp("openbao")) as started:
        yield started


@pytest.fixture(autouse=True)
def _hvac(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """The library of the server's environment, last in the path of this process; and nobody's own login."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(min(server.bin.parent.glob("lib/python3*/site-packages")))])
    for name in [name for name in os.environ if "VAULT_" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def store(server: Server, *, mount: str = "secret", path: str = "luks/", **options: t.Any) -> HashiVault:
    return HashiVault({"url": server.url, "token": TOKEN, **options}, mount, path)


def entry(identity: str, host: str = "web") -> t.Dict[str, t.Any]:
    secret = {"id": identity, "passphrase": f"passphrase of {identity}", "generation": "one", "created": ""}
    place = {"format": 1, "host": host, "uuid": UUID, "device": ""}
    return {**place, "current": secret, "next": None, "older": [], "past": []}


def said(ask: t.Callable[[], t.Any]) -> str:
    """The refusal, in which no secret is."""
    with pytest.raises(StoreError) as caught:
        ask()
    told = str(caught.value)
    assert told.isprintable() and "passphrase of" not in told and TOKEN not in told.split()
    assert told.endswith(("The store was not changed.", "It is not known whether the store was changed.")), told
    return told


def test_the_contract(server: Server) -> None:
    one, key = store(server), f"contract/{UUID}"
    one.check()
    assert one.read(key) == Stored(None, 0) and one.known("contract/") == {}
    assert one.write(key, entry("a"), 0) == Stored(entry("a"), 1)
    assert one.write(key, entry("b"), 1) == Stored(entry("b"), 2) == store(server).read(key)
    one.write("contractor/x", entry("c"), 0)
    assert one.known("contract/") == {key: Stored(entry("b"), 2)}
    assert server.entry(key) == entry("b")
    assert server.ask(f"secret/data/luks/{key}?version=1")["data"]["data"] == entry("a"), "the copy from before"


@pytest.mark.parametrize("version", [0, 1, 3])
def test_somebody_else_wrote_meanwhile(server: Server, version: int) -> None:
    key = f"race-{version}/{UUID}"
    for number in range(2):
        store(server).write(key, entry("a"), number)
    assert "was changed by another run meanwhile" in said(lambda: store(server).write(key, entry("b"), version))
    assert store(server).read(key) == Stored(entry("a"), 2)


def test_a_version_that_was_deleted_is_nothing_and_can_be_written_again(server: Server) -> None:
    key = f"deleted/{UUID}"
    store(server).write(key, entry("a"), 0)
    server.ask(f"secret/data/luks/{key}", method="DELETE")
    found = store(server).read(key)
    assert found == Stored(None, 1)
    assert store(server).write(key, entry("b"), found.version) == Stored(entry("b"), 2)


def test_who_may_read_only_and_who_may_not_list(server: Server) -> None:
    store(server).write(f"rights/{UUID}", entry("a"), 0)
    reader = store(server, token=server.token('path "secret/data/luks/*" { capabilities = ["read"] }'))
    reader.check()
    assert reader.read(f"rights/{UUID}").version == 1 and reader.known("rights/") is None
    told = said(lambda: reader.write(f"rights/{UUID}", entry("b"), 1))
    assert "did not write luks/rights/" in told and "permission denied. Its token may not do that" in told
    nobody = store(server, token=server.token('path "other/*" { capabilities = ["read"] }'))
    assert "did not read" in said(lambda: nobody.read(KEY)) and nobody.known("rights/") is None


def test_a_token_that_has_expired_or_is_wrong(server: Server) -> None:
    token = server.token('path "secret/*" { capabilities = ["read", "create", "update", "list"] }')
    one = store(server, token=token)
    one.read(KEY)
    server.ask("auth/token/revoke", {"token": token})
    for told in (said(lambda: one.read(KEY)), said(lambda: store(server, token="hvs.wrong").read(KEY))):
        assert "permission denied. Its token may not do that, is wrong, or has expired" in told
        assert token not in told and "hvs.wrong" not in told


def test_ways_to_log_in(server: Server, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rights(server)
    server.ask("sys/auth/approle", {"type": "approle"})
    server.ask("auth/approle/role/rotation", {"token_policies": ["luks"]})
    role = server.ask("auth/approle/role/rotation/role-id")["data"]["role_id"]
    secret = server.ask("auth/approle/role/rotation/secret-id", {})["data"]["secret_id"]
    login = {"url": server.url, "auth_method": "approle", "role_id": role}
    assert HashiVault({**login, "secret_id": secret}).write("approle/x", entry("a"), 0).version == 1
    told = said(lambda: HashiVault({**login, "secret_id": "s3cret-id"}).read("approle/x"))
    assert "did not log in by approle" in told and "s3cret-id" not in told
    assert "Check role_id, secret_id and mount_point in rotate_hashi_vault" in told

    server.ask("sys/auth/people", {"type": "userpass"})
    server.ask("auth/people/users/alice", {"password": "p4ss", "token_policies": ["luks"]})
    people = {"url": server.url, "auth_method": "userpass", "username": "alice", "mount_point": "people"}
    assert HashiVault({**people, "password": "p4ss"}).read("approle/x").version == 1
    assert "did not log in by userpass" in said(lambda: HashiVault({**people, "password": "wr0ng"}).read("approle/x"))

    assert HashiVault({}, environment={"VAULT_ADDR": server.url, "VAULT_TOKEN": TOKEN}).read("approle/x").version == 1
    assert "There is no token for the server" in said(lambda: HashiVault({"url": server.url}).read("approle/x"))
    (tmp_path / ".vault-token").write_text(f"{TOKEN}\n")
    assert HashiVault({"url": server.url}).read("approle/x").version == 1


def rights(server: Server) -> None:
    rule = 'path "secret/*" { capabilities = ["read", "create", "update", "list"] }'
    server.ask("sys/policies/acl/luks", {"policy": rule})


def test_a_login_by_a_directory(server: Server) -> None:
    rights(server)
    password = "of al1ce \u00e9"
    server.ask("sys/auth/ldap", {"type": "ldap"})
    login = {"url": server.url, "auth_method": "ldap", "username": "1001", "password": password}
    with ldap_directory.running(server.bin, "1001", password) as url:
        where = {"url": url, "userdn": ldap_directory.PEOPLE, "userattr": "uid", "groupdn": ldap_directory.BASE}
        server.ask("auth/ldap/config", {**where, "token_policies": ["luks"]})
        for username in ("1001", 1001):  # a number of an employee, as YAML reads it
            assert HashiVault({**login, "username": username}).write(f"ldap/{username!r}", entry("a"), 0).version == 1
        for wrong in ({"password": "wr0ng"}, {"username": "bob"}, {"username": "../x"}, {"mount_point": "nowhere"}):
            told = said(lambda wrong=wrong: HashiVault({**login, **wrong}).read(KEY))  # type: ignore[misc]
            assert "did not log in by ldap: it answered: " in told
            assert "Check username, password and mount_point in rotate_hashi_vault" in told
            assert password not in told and "wr0ng" not in told
    assert "error connecting to host" in said(lambda: HashiVault(login).read(KEY)), "the directory is off"


def encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def jwt_of(key: ec.EllipticCurvePrivateKey, **claims: t.Any) -> str:
    """As RFC 7515 has it, with ES256."""
    header = {"alg": "ES256", "typ": "JWT"}
    whole = {"sub": "controller", "aud": "luks", "iat": 1_700_000_000, "exp": 4_000_000_000, **claims}
    body = b".".join(encoded(json.dumps(part).encode()) for part in (header, whole))
    numbers = utils.decode_dss_signature(key.sign(body, ec.ECDSA(hashes.SHA256())))
    return (body + b"." + encoded(b"".join(number.to_bytes(32, "big") for number in numbers))).decode()


def test_a_login_by_a_signed_token(server: Server) -> None:
    rights(server)
    key, stranger = (ec.generate_private_key(ec.SECP256R1()) for _one in range(2))
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    server.ask("sys/auth/controllers", {"type": "jwt"})
    server.ask(
        "auth/controllers/config", {"jwt_validation_pubkeys": [key.public_key().public_bytes(*form).decode("ascii")]}
    )
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["luks"], "token_policies": ["luks"]}
    server.ask("auth/controllers/role/rotation", role)
    login = {"url": server.url, "auth_method": "jwt", "role_id": "rotation", "mount_point": "controllers"}
    assert HashiVault({**login, "jwt": jwt_of(key)}).write("jwt/x", entry("a"), 0).version == 1
    wrong: t.Mapping[str, t.Tuple[str, t.Dict[str, str]]] = {
        "token is expired": (jwt_of(key, exp=1_700_000_600), {}),
        "no known key successfully validated the token signature": (jwt_of(stranger), {}),
        "invalid audience": (jwt_of(key, aud="other"), {}),
        "compact JWS format must have three parts": ("s3cret-jwt", {}),
        'role "other" could not be found': (jwt_of(key), {"role_id": "other"}),
        "permission denied": (jwt_of(key), {"mount_point": "nowhere"}),
    }
    for why, (token, more) in wrong.items():
        one = HashiVault({**login, **more, "jwt": token})
        told = said(lambda one=one: one.read(KEY))  # type: ignore[misc]
        assert "did not log in by jwt: it answered: " in told and why in told, told
        assert "Check role_id, jwt and mount_point in rotate_hashi_vault" in told and token not in told


def certificate(folder: pathlib.Path, name: str) -> t.Dict[str, str]:
    made = {kind: str(folder / f"{name}.{kind}") for kind in ("pem", "key")}
    words = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += ["-subj", f"/CN={name}", "-days", "2", "-addext", "extendedKeyUsage=clientAuth"]
    subprocess.run([*words, "-keyout", made["key"], "-out", made["pem"]], check=True, capture_output=True)
    return {"cert_auth_public_key": made["pem"], "cert_auth_private_key": made["key"]}


@pytest.mark.needs("openssl")
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_login_by_a_certificate(tmp_path: pathlib.Path) -> None:
    """A server of its own, with TLS: it takes a few seconds to start."""
    own, stranger = certificate(tmp_path, "controller"), certificate(tmp_path, "stranger")
    with openbao.running(tmp_path, tls=True) as server:
        rights(server)
        server.ask("sys/auth/cert", {"type": "cert"})
        pem = pathlib.Path(own["cert_auth_public_key"]).read_text()
        server.ask("auth/cert/certs/rotation", {"certificate": pem, "token_policies": ["luks"]})
        login = {"url": server.url, "auth_method": "cert", "ca_cert": server.authority, **own}
        assert HashiVault(login).write(KEY, entry("a"), 0).version == 1
        at_home = {name: path.replace(str(tmp_path), "~") for name, path in own.items()}
        unchecked = {"ca_cert": "", "validate_certs": False}
        for right in ({"role_id": "rotation"}, at_home, unchecked):
            assert HashiVault({**login, **right}).read(KEY).version == 1

        said_no = "did not log in by cert: it answered: invalid certificate or no client certificate supplied. Check "
        with_passphrase = str(tmp_path / "locked.key")
        words = ["openssl", "pkey", "-in", own["cert_auth_private_key"], "-aes256", "-passout", "pass:x"]
        subprocess.run([*words, "-out", with_passphrase], check=True)
        none, garbage = str(tmp_path / "none"), str(tmp_path / "garbage")
        pathlib.Path(garbage).write_text("garbage")
        pair = "are no certificate with its private key, both in PEM. Check cert_auth_public_key and cert_auth_private"
        missing = f"in rotate_hashi_vault cannot be read: {none!r}: No such file or directory"
        wrong: t.Sequence[t.Tuple[str, t.Mapping[str, str]]] = (
            (said_no + "cert_auth_public_key, cert_auth_private_key, role_id and mount_point", stranger),
            (said_no, {"role_id": "other"}),
            ("permission denied", {"mount_point": "nowhere"}),
            (pair, {"cert_auth_private_key": stranger["cert_auth_private_key"]}),
            (pair, {"cert_auth_private_key": garbage}),
            (pair, {"cert_auth_public_key": garbage}),
            ("has a passphrase. A login by cert needs one without", {"cert_auth_private_key": with_passphrase}),
            (f"cert_auth_private_key {missing}", {"cert_auth_private_key": none}),
            (f"cert_auth_public_key {missing}", {"cert_auth_public_key": none}),
            (f"ca_cert {missing}", {"ca_cert": none}),
            (f"ca_cert in rotate_hashi_vault, {garbage!r}, has no certificate in PEM", {"ca_cert": garbage}),
            ("its TLS certificate is not trusted (unable to get local", {"ca_cert": stranger["cert_auth_public_key"]}),
            ("its TLS certificate is not trusted", {"ca_cert": ""}),
        )
        for why, more in wrong:
            told = said(lambda more=more: HashiVault({**login, **more}).read(KEY))  # type: ignore[misc]
            assert why in told, (more, told)


@pytest.mark.needs("openssl")
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("method", ["ldap", "jwt", "userpass", "approle"])
def test_no_credential_goes_to_a_server_that_nobody_vouches_for(method: str, tmp_path: pathlib.Path) -> None:
    """Something that listens with a certificate of its own, and keeps what it is told."""
    own = certificate(tmp_path, "mallory")
    credential = "s3cret-credential"
    given = {"username": "alice", "password": credential, "role_id": "r", "secret_id": credential, "jwt": credential}
    with openbao.listening(own["cert_auth_public_key"], own["cert_auth_private_key"]) as (url, heard):
        login = {"url": url, "auth_method": method, "ca_cert": own["cert_auth_public_key"], **given}
        said(lambda: HashiVault({**login, "validate_certs": False}).read(KEY))
        assert credential.encode() in b"".join(heard), "it hears what is sent"
        heard.clear()
        assert "its TLS certificate is not trusted" in said(lambda: HashiVault(login).read(KEY)), "of another name"
        assert "its TLS certificate is not trusted" in said(lambda: HashiVault({**login, "ca_cert": ""}).read(KEY))
        assert heard == []


def test_an_address_that_speaks_no_tls(server: Server) -> None:
    url = server.url.replace("http:", "https:")
    assert "there is no TLS connection with it ([SSL" in said(lambda: store(server, url=url).read(KEY))


def test_engines_and_servers_that_are_none(server: Server) -> None:
    server.ask("sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    assert "is version 1, which cannot compare and set" in said(store(server, mount="old").check)
    assert "there is no such engine or path" in said(lambda: store(server, mount="none").read(KEY))
    server.ask("old/data/luks/x", {"data": {"a": 1}})
    assert "is no entry. Is old a KV engine of version 2" in said(lambda: store(server, mount="old").read("x"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert f"The server {url} did not read" in said(lambda: store(server, url=url).read(KEY))
        assert "it cannot be reached (Connection refused)" in said(lambda: store(server, url=url).read(KEY))
    for key in ("../other", "a//b", "a/./b", "", "a\nb"):
        assert "is no path for the server" in said(lambda key=key: store(server).read(key))  # type: ignore[misc]


def test_a_server_that_is_sealed_and_one_that_nobody_vouches_for(tmp_path: pathlib.Path) -> None:
    """A server of its own, with TLS: it takes a few seconds to start."""
    with openbao.running(tmp_path, tls=True) as own:
        assert "its TLS certificate is not trusted" in said(lambda: store(own).read(KEY))
        trusting = store(own, ca_cert=own.authority)
        assert trusting.write(KEY, entry("a"), 0).version == 1
        own.ask("sys/seal", {}, "PUT")
        for ask in (lambda: trusting.read(KEY), lambda: trusting.write(KEY, entry("b"), 1)):
            assert "it is sealed or in maintenance. Have it unsealed" in said(ask)


def test_an_operator_who_needs_a_passphrase(server: Server) -> None:
    """As luksmith.luks.reveal does it: the note first."""
    one = store(server)
    key = f"web-7/{UUID}"
    one.write(key, entry("a", "web-7"), 0)
    found = wanted_entry(one.known("web-7/") or {}, "web-7/", "web-7", "", ())
    noted, (secret,) = given_out(found.entry, "alice", "2026-11-29T01:04:41Z", "no boot")
    one.write(key, noted, found.stored.version)
    assert secret["passphrase"] == "passphrase of a"
    assert server.entry(key)["current"]["given"] == [{"to": "alice", "at": "2026-11-29T01:04:41Z", "why": "no boot"}]


# Whole plays


def lab_with(server: Server, folder: pathlib.Path, shared: pathlib.Path, **variables: t.Any) -> Lab:
    """Its host has a path of its own on the server, so that no test sees what another one wrote."""
    login = {"url": server.url, "auth_method": "token", "token": TOKEN}
    own = {"rotate_store": "hashi_vault", "rotate_hashi_vault": login, "rotate_store_prefix": f"{folder.parent.name}/"}
    return dataclasses.replace(Lab.make(folder, shared, VOLUMES, **{**own, **variables}), bin=server.bin)


def key_of(lab: Lab) -> str:
    inventory = json.loads((lab.folder / "hosts.json").read_text())
    return f"{inventory['all']['vars']['rotate_store_prefix']}web/{lab.uuid(VOLUMES[0])}"


def test_rotations_and_an_audit(server: Server, tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take a minute: seven rotations and an audit."""
    lab = lab_with(server, tmp_path / "lab", shared)
    key = key_of(lab)
    foreseen = lab.play("--check", "--diff")
    assert "+2        rotation new" in foreseen, foreseen
    output = lab.play("-vvvv")
    first = exactly_the_newest(lab, [server.entry(key)], "one")
    assert server.entry(key)["current"]["passphrase"] not in output and f'"{TOKEN}"' not in output
    assert "changed=0 " in lab.play()
    assert lab.moments().count("host step") <= 1, "the server can list what it holds"

    audit = {
        "audit_store": "hashi_vault",
        "audit_volumes": [{"device": f"{{{{ inventory_dir }}}}/{VOLUMES[0]}"}],
        "audit_policy": "legacy",
        "audit_report_directory": "{{ inventory_dir }}/report",
        "audit_report_formats": ["json"],
    }
    lab.play("-e", json.dumps(audit), playbook="audit")
    (host,) = json.loads((lab.folder / "report" / "luks-audit.json").read_text())["hosts"]
    assert [volume["store"]["opens"] for volume in host["volumes"]] == ["yes"]

    older = server.entry(key)
    whole = lab.copy(tmp_path / "whole")
    whole.play(*TWO)
    begun = whole.moments()
    last = exactly_the_newest(whole, [server.entry(key)], "two")
    assert last != first

    newest = server.entry(key)
    server.put(key, older)  # an operator of the server rolls it back
    before = (whole.folder / VOLUMES[0]).read_bytes()
    assert "the store is older than the volume" in whole.play(*TWO, expect=2)
    assert (whole.folder / VOLUMES[0]).read_bytes() == before and server.entry(key) == older
    server.put(key, {**newest, "host": "db"})  # that of another host
    assert "the store returned an entry for host 'db'" in whole.play(*TWO, expect=2)
    server.put(key, newest)
    assert "changed=0 " in whole.play(*TWO)

    for number, name in enumerate(begun):
        if name == "host add" or (LONG and name == "store write"):
            generation = f"killed at {number}"
            lab = whole.copy(tmp_path / f"killed-at-{number}")
            lab.play("-e", f"rotate_generation='{generation}'", expect=-9, KILL_AT=str(number))
            nothing_is_lost(lab, [server.entry(key)])
            lab.play("-e", f"rotate_generation='{generation}'")
            exactly_the_newest(lab, [server.entry(key)], generation)
            shutil.copy(lab.folder / VOLUMES[0], whole.folder / VOLUMES[0])


def test_a_server_that_refuses(server: Server, tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take 20 s: two rotations."""
    login = {"url": server.url, "auth_method": "token", "token": "nobody's"}
    lab = lab_with(server, tmp_path / "lab", shared, rotate_hashi_vault=login)
    before = (lab.folder / VOLUMES[0]).read_bytes()
    output = lab.play(expect=2)
    assert "permission denied. Its token may not do that" in output and "nobody's" not in output, output
    output = lab.play("-e", json.dumps({"rotate_hashi_vault": {**login, "rol_id": "x"}}), expect=2)
    assert "rol_id is no option of rotate_hashi_vault; did you mean role_id?" in output, output
    assert (lab.folder / VOLUMES[0]).read_bytes() == before
