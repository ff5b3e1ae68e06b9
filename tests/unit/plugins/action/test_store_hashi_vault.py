# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong options of the store hashi_vault, a library that is not there, and a server that lies; the real one is asked in
tests/rotation/test_hashi_vault.py.
"""

from __future__ import annotations

import pathlib
import re
import ssl
import sys
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError, hashi_vault
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.hashi_vault import HashiVault

URL = {"url": "https://vault.example.org"}
PAIR = {"auth_method": "cert", "cert_auth_public_key": "/c.pem", "cert_auth_private_key": "/c.key"}
SECRET = "s3cret"
ENTRY = {"next": None, "current": {"id": "a", "passphrase": "of a"}, "older": []}

WRONG: t.Mapping[str, t.Tuple[t.Dict[str, t.Any], str]] = {
    "no address": ({}, "needs the url of the server in rotate_hashi_vault, or VAULT_ADDR"),
    "a misspelt option": (
        {**URL, "rol_id": SECRET},
        "rol_id is no option of rotate_hashi_vault; did you mean role_id?",
    ),
    "another option": (
        {**URL, "zzz": SECRET},
        "zzz is no option of rotate_hashi_vault. It takes auth_method, ca_cert,",
    ),
    "a name with control characters": ({**URL, "\x1b[2J": 1}, "is no option of rotate_hashi_vault"),
    "another way to log in": ({**URL, "auth_method": "aws_iam"}, "cannot log in by aws_iam. auth_method in"),
    "no role": ({**URL, "auth_method": "approle", "secret_id": SECRET}, "To log in by approle, .* needs role_id in"),
    "no password": ({**URL, "auth_method": "ldap", "username": "alice"}, "To log in by ldap, .* needs password in"),
    "half a certificate": (
        {**URL, "auth_method": "cert", "cert_auth_public_key": "/c.pem"},
        "needs cert_auth_private_key in",
    ),
    "a certificate without TLS": (
        {**PAIR, "url": "http://vault.example.org"},
        "A login by cert needs TLS.*must begin with https://",
    ),
    "the content of a key": (
        {**PAIR, **URL, "cert_auth_private_key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n"},
        "cert_auth_private_key in rotate_hashi_vault must be a path on the controller, not a content",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_are_refused_before_any_server_is_asked(case: str) -> None:
    options, says = WRONG[case]
    with pytest.raises(StoreError, match=f"{says}.*The store was not changed") as caught:
        HashiVault(options, environment={})
    assert SECRET not in str(caught.value) and str(caught.value).isprintable()


def test_no_hvac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    store = HashiVault({**URL, "token": SECRET}, environment={})
    for ask in (store.check, lambda: store.read("web/1"), lambda: store.known("web/"), lambda: store.write("k", {}, 0)):
        with pytest.raises(StoreError, match=r"needs the Python package hvac on the controller.*-m pip install hvac"):
            ask()


class VaultError(Exception):
    def __init__(self, *errors: str) -> None:
        super().__init__(", ".join(errors))
        self.errors = list(errors)


ERRORS = {
    name: type(name, (VaultError,), {})
    for name in ("Forbidden", "Unauthorized", "VaultDown", "VaultNotInitialized", "InvalidPath", "InvalidRequest")
}
ERRORS["RateLimitExceeded"] = type("RateLimitExceeded", (VaultError,), {})
WAYS = {
    "RequestException": OSError,
    "SSLError": type("SSLError", (OSError,), {}),
    "Timeout": type("Timeout", (OSError,), {}),
}


class Server:
    """Stands for hvac: each answer is what a method returns, or raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: t.Any) -> None:
        self.answers, self.given = answers, {}
        kv = {
            name: self._answering(name) for name in ("read_secret_version", "create_or_update_secret", "list_secrets")
        }
        self.secrets = types.SimpleNamespace(kv=types.SimpleNamespace(v2=types.SimpleNamespace(**kv)))
        self.adapter = types.SimpleNamespace(get=self._answering("mounts"))
        monkeypatch.setitem(sys.modules, "hvac", types.SimpleNamespace(Client=self._client))
        monkeypatch.setitem(sys.modules, "hvac.exceptions", types.SimpleNamespace(VaultError=VaultError, **ERRORS))
        monkeypatch.setitem(sys.modules, "requests.exceptions", types.SimpleNamespace(**WAYS))
        self.store = HashiVault({**URL, "token": SECRET}, environment={})

    def _client(self, **given: t.Any) -> t.Any:
        self.given = given
        self.token = given["token"]
        return self

    def _answering(self, name: str) -> t.Callable[..., t.Any]:
        def answer(*_words: t.Any, **given: t.Any) -> t.Any:
            self.given = given
            found = self.answers[name]
            if isinstance(found, Exception):
                raise found
            return found

        return answer


def held(entry: t.Any, version: t.Any) -> t.Any:
    return {"data": {"data": entry, "metadata": {"version": version}}}


LOGINS: t.Mapping[str, t.Tuple[t.Dict[str, str], t.Tuple[t.Any, ...]]] = {
    "approle": ({"role_id": "r", "secret_id": SECRET}, ({"role_id": "r", "secret_id": SECRET, "mount_point": "own"},)),
    "userpass": (
        {"username": "alice", "password": SECRET},
        ({"username": "alice", "password": SECRET, "mount_point": "own"},),
    ),
    "ldap": (
        {"username": "alice", "password": SECRET},
        ({"username": "alice", "password": SECRET, "mount_point": "own"},),
    ),
    "cert": (
        {"cert_auth_public_key": "/c.pem", "cert_auth_private_key": "/c.key", "role_id": "r"},
        ("/v1/auth/own/login", {"json": {"name": "r"}}),
    ),
}


@pytest.mark.parametrize("method", LOGINS)
def test_a_login_gives_the_server_what_it_was_given(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    options, asked = LOGINS[method]
    server = Server(monkeypatch, read_secret_version=held(ENTRY, 2))
    logins: t.List[t.Any] = []

    def login(way: str) -> t.Callable[..., None]:
        def come(*words: t.Any, **given: t.Any) -> None:
            logins.append((way, *words, given))
            server.token = "of the login"

        return come

    ways = {way: types.SimpleNamespace(login=login(way)) for way in ("approle", "userpass", "ldap")}
    monkeypatch.setattr(server, "auth", types.SimpleNamespace(**ways), raising=False)
    monkeypatch.setattr(server.adapter, "login", login("cert"), raising=False)
    monkeypatch.setattr(hashi_vault, "_usable_pair", lambda *_pair: None)
    store = HashiVault({**URL, "auth_method": method, "mount_point": "own", **options}, environment={})
    assert store.read("web/1") == Stored(ENTRY, 2) and logins == [(method, *asked)]


# "text" is a file without any certificate, "none" is no file.
FILES: t.Mapping[str, t.Tuple[t.Dict[str, str], str]] = {
    "authorities that are none": ({"ca_cert": "text"}, "ca_cert in .*text', has no certificate in PEM"),
    "no authorities": ({"ca_cert": "none"}, "ca_cert in .* cannot be read: .*none': No such file"),
    "a certificate that is none": (
        {**PAIR, "cert_auth_public_key": "text", "cert_auth_private_key": "text"},
        "are no certificate with its private key, both in PEM.* Check cert_auth_public_key",
    ),
    "no key": (
        {**PAIR, "cert_auth_public_key": "text", "cert_auth_private_key": "none"},
        "cert_auth_private_key in .* cannot be read: .*none': No such file",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_of_no_use_are_told_before_the_server_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, case: str
) -> None:
    options, says = FILES[case]
    (tmp_path / "text").write_text(SECRET)
    server = Server(monkeypatch, read_secret_version=held(ENTRY, 2))
    given = {name: str(tmp_path / value) if value in ("text", "none") else value for name, value in options.items()}
    with pytest.raises(StoreError, match=rf"{says}.*The store was not changed\.") as caught:
        HashiVault({**URL, "token": SECRET, **given}, environment={}).read("web/1")
    assert SECRET not in str(caught.value) and server.given == {}


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"data": None}, held([], 1), held("text", 1), held(ENTRY, "1"), {"data": {"data": ENTRY}}],
    ids=str,
)
def test_an_answer_that_is_no_entry(monkeypatch: pytest.MonkeyPatch, answer: t.Any) -> None:
    with pytest.raises(StoreError, match="What the server returned for luks/web/1 is no entry") as caught:
        Server(monkeypatch, read_secret_version=answer).store.read("web/1")
    assert "of a" not in str(caught.value)


@pytest.mark.parametrize("version", [1, 3, None, "2"])
def test_a_write_that_is_not_what_is_read_back(monkeypatch: pytest.MonkeyPatch, version: t.Any) -> None:
    server = Server(
        monkeypatch, create_or_update_secret={"data": {"version": version}}, read_secret_version=held(ENTRY, 2)
    )
    with pytest.raises(StoreError, match=r"and gives back version 2\. .*The store was changed before"):
        server.store.write("web/1", ENTRY, 1)


def test_a_write_is_compared_and_set_and_the_certificate_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    server = Server(monkeypatch, create_or_update_secret={"data": {"version": 2}}, read_secret_version=held(ENTRY, 2))
    seen = []
    writing = server.secrets.kv.v2.create_or_update_secret

    def write(**given: t.Any) -> t.Any:
        seen.append(given)
        return writing(**given)

    server.secrets.kv.v2.create_or_update_secret = write
    assert server.store.write("web/1", ENTRY, 1) == Stored(ENTRY, 2)
    assert seen == [{"path": "luks/web/1", "secret": ENTRY, "cas": 1, "mount_point": "secret"}]
    made = []
    monkeypatch.setattr(server, "_client", lambda **given: made.append(given) or server)
    monkeypatch.setitem(sys.modules, "hvac", types.SimpleNamespace(Client=server._client))
    for more in ({}, {"ca_cert": str(tmp_path)}, {"validate_certs": "no"}):
        HashiVault({**URL, "token": SECRET, **more}, environment={}).read("web/1")
    assert [one["verify"] for one in made] == [True, str(tmp_path), False]


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


REFUSALS: t.Mapping[str, t.Tuple[Exception, str]] = {
    "forbidden": (ERRORS["Forbidden"](f"no {SECRET}"), "permission denied"),
    "sealed": (ERRORS["VaultDown"]("sealed"), "it is sealed or in maintenance"),
    "no engine": (ERRORS["InvalidPath"]("no handler for route"), "no such engine or path \\(no handler for route"),
    "says what it got": (VaultError(f"bad {SECRET} of a \x1b[2J"), r"it answered: bad \*{8}"),
    "no certificate": (
        caused(WAYS["SSLError"](f"headers {SECRET}"), ssl.SSLCertVerificationError(1, "self-signed")),
        r"its TLS certificate is not trusted \(self-signed\)\. Name the certificate of its authority in ca_cert",
    ),
    "no TLS": (WAYS["SSLError"](f"headers {SECRET}"), "there is no TLS connection with it .* Check url"),
    "late": (WAYS["Timeout"](SECRET), "it gave no answer in time"),
    "gone": (OSError(111, "Connection refused"), "it cannot be reached \\(Connection refused"),
    "no text": (ValueError(SECRET), "its answer was not understood"),
    "no JSON": (type("JSONDecodeError", (OSError, ValueError), {})(SECRET), "its answer was not understood"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_server_refuses_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    error, says = REFUSALS[case]
    server = Server(monkeypatch, read_secret_version=error, create_or_update_secret=error)
    for ask, doing, left in (
        (lambda: server.store.read("web/1"), "read", "The store was not changed"),
        (lambda: server.store.write("web/1", ENTRY, 1), "write", "It is not known whether the store was changed"),
    ):
        with pytest.raises(StoreError, match=rf"https://vault\.example\.org did not {doing} .*{left}") as caught:
            ask()
        told = str(caught.value)
        assert re.search(says, told) and SECRET not in told and told.isprintable()
        assert doing == "read" or "of a" not in told


@pytest.mark.parametrize("answer", [{}, {"data": {"keys": None}}, {"data": {"keys": ["folder/"]}}])
def test_a_list_of_nothing(monkeypatch: pytest.MonkeyPatch, answer: t.Any) -> None:
    assert Server(monkeypatch, list_secrets=answer).store.known("web/") == {}
