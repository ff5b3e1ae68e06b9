# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The store that is the KV engine, version 2, of a HashiCorp Vault or OpenBao server, through the library hvac.

It runs in the process of the controller: the token is in no argument, no environment of a child and on no managed host.
Each write is a check-and-set on the version that was read, and the server keeps the versions before.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import ssl
import sys
import typing as t

from ....module_utils._luks.errors import shown
from ..entry import passphrases
from . import CHANGED, UNCHANGED, Stored, StoreError

Option = t.Mapping[str, t.Any]

_UNKNOWN = "It is not known whether the store was changed."
_TRUST = "Name the certificate of its authority in ca_cert of rotate_hashi_vault"
_MOST = 300  # characters of what the server says

# Options as community.hashi_vault has them, and the variables of the environment that stand for one, the first first.
_ENVIRONMENT: t.Mapping[str, t.Tuple[str, ...]] = {
    "url": ("ANSIBLE_HASHI_VAULT_ADDR", "VAULT_ADDR"),
    "token": ("ANSIBLE_HASHI_VAULT_TOKEN", "VAULT_TOKEN"),
    "token_path": ("ANSIBLE_HASHI_VAULT_TOKEN_PATH",),
    "token_file": ("ANSIBLE_HASHI_VAULT_TOKEN_FILE",),
    "namespace": ("ANSIBLE_HASHI_VAULT_NAMESPACE", "VAULT_NAMESPACE"),
    "auth_method": ("ANSIBLE_HASHI_VAULT_AUTH_METHOD",),
    "role_id": ("ANSIBLE_HASHI_VAULT_ROLE_ID",),
    "secret_id": ("ANSIBLE_HASHI_VAULT_SECRET_ID",),
    "ca_cert": ("ANSIBLE_HASHI_VAULT_CA_CERT", "VAULT_CACERT"),
    "timeout": ("ANSIBLE_HASHI_VAULT_TIMEOUT",),
    "cert_auth_public_key": ("ANSIBLE_HASHI_VAULT_CERT_AUTH_PUBLIC_KEY",),
    "cert_auth_private_key": ("ANSIBLE_HASHI_VAULT_CERT_AUTH_PRIVATE_KEY",),
}
# What each way to log in needs besides, and what it can have.
_METHODS: t.Mapping[str, t.Tuple[str, ...]] = {
    "token": (),
    "approle": ("role_id",),
    "userpass": ("username", "password"),
    "ldap": ("username", "password"),
    "jwt": ("role_id", "jwt"),
    "cert": ("cert_auth_public_key", "cert_auth_private_key"),
    "none": (),
}
_CAN_HAVE: t.Mapping[str, t.Tuple[str, ...]] = {"approle": ("secret_id",), "cert": ("role_id",)}
_PAIR = ("cert_auth_public_key", "cert_auth_private_key")
_PATHS = (*_PAIR, "ca_cert", "cacert")
_OTHERS = ("validate_certs", "proxies", "mount_point", "username", "password", "jwt", "cacert")
# Of community.hashi_vault, which had to ask for the same of each task.
_NO_LONGER = ("token_validate", "retries", "retry_action")
_KNOWN = (*_ENVIRONMENT, *_OTHERS, *_NO_LONGER)


class HashiVault:
    """options: how to reach the server and to log in; mount: of the KV engine; path: what each key begins with there.

    Raises StoreError for options that cannot be.
    """

    def __init__(
        self,
        options: Option,
        mount: str = "secret",
        path: str = "luks/",
        environment: t.Optional[t.Mapping[str, str]] = None,
    ) -> None:
        self._given = options
        self._mount, self._path = mount, path
        self._environment = os.environ if environment is None else environment
        self._options = self._checked()
        self._client: t.Any = None
        self._errors: t.Any = None  # the module of hvac, and that of requests
        self._ways: t.Any = None
        self._token = ""
        self._logging_in = ""  # the way, meanwhile

    def check(self) -> None:
        client = self._logged_in()
        answer: t.Any = None
        # Only where it says so: this question may be forbidden to a token that may read and write.
        with self._told("check the mount", UNCHANGED), contextlib.suppress(self._errors.VaultError):
            answer = client.adapter.get(f"/v1/sys/internal/ui/mounts/{self._mount}")
        options = _within(answer, "data", "options")
        if isinstance(options, dict) and str(options.get("version")) == "1":
            raise StoreError(
                f"The KV engine at {self._mount} is version 1, which cannot compare and set. Name one of version 2 in "
                f"rotate_hashi_vault_mount. {UNCHANGED}"
            )

    def known(self, prefix: str) -> t.Optional[t.Dict[str, Stored]]:
        """None where the token may not list."""
        folder, _slash, begin = f"{self._path}{prefix}".rpartition("/")
        client = self._logged_in()
        answer: t.Any = None
        with self._told(f"list {folder}", UNCHANGED):
            try:
                answer = client.secrets.kv.v2.list_secrets(path=folder, mount_point=self._mount)
            except self._errors.InvalidPath:
                return {}
            except self._errors.Forbidden:
                return None
        names = _within(answer, "data", "keys")
        wanted = [str(name) for name in names if str(name).startswith(begin)] if isinstance(names, list) else []
        keys = [f"{prefix}{name[len(begin) :]}" for name in wanted if not name.endswith("/")]
        return {key: self.read(key) for key in keys}

    def read(self, key: str) -> Stored:
        return self._read(key, UNCHANGED)

    def write(self, key: str, entry: t.Dict[str, t.Any], version: t.Any) -> Stored:
        client, path = self._logged_in(), self._path_of(key)
        with self._told(f"write {path}", _UNKNOWN, passphrases(entry)):
            try:
                answer = client.secrets.kv.v2.create_or_update_secret(
                    path=path, secret=entry, cas=int(version or 0), mount_point=self._mount
                )
            except self._errors.InvalidRequest as error:
                if "check-and-set" not in str(error):
                    raise
                raise StoreError(
                    f"The entry {path} was changed by another run meanwhile. Run the rotation again; it goes on where "
                    f"the other one is. {UNCHANGED}"
                ) from None
        written = _within(answer, "data", "version")
        stored = self._read(key, CHANGED)
        if stored.version != written:
            raise StoreError(
                f"The server says that it wrote version {shown(repr(written))} of {path}, and gives back version "
                f"{stored.version}. Somebody else writes to it; run the rotation again. {CHANGED}"
            )
        return stored

    def _read(self, key: str, state: str) -> Stored:
        client, path = self._logged_in(), self._path_of(key)
        with self._told(f"read {path}", state):
            try:
                answer = client.secrets.kv.v2.read_secret_version(
                    path=path, mount_point=self._mount, raise_on_deleted_version=False
                )
            except self._errors.InvalidPath as error:
                if error.errors:  # with none, there is nothing at this path
                    raise
                return Stored(None, 0)
        entry, version = _within(answer, "data", "data"), _within(answer, "data", "metadata", "version")
        if not isinstance(version, int) or not (entry is None or isinstance(entry, dict)):
            raise StoreError(
                f"What the server returned for {path} is no entry. Is {self._mount} a KV engine of version 2, and is "
                f"rotate_hashi_vault_path right? {state}"
            )
        return Stored(entry, version)

    def _path_of(self, key: str) -> str:
        path = f"{self._path}{key}"
        if any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable():
            raise StoreError(
                f"{path!r} is no path for the server. Check rotate_hashi_vault_path and the name of "
                f"the host in the inventory. {UNCHANGED}"
            )
        return path

    # Logging in

    def _logged_in(self) -> t.Any:
        """The client. Raises StoreError."""
        if self._client is not None:
            return self._client
        options = self._options
        try:
            hvac = importlib.import_module("hvac")  # here, because it takes its time
            self._errors = importlib.import_module("hvac.exceptions")
            self._ways = importlib.import_module("requests.exceptions")
        except ImportError:
            raise StoreError(
                "The store hashi_vault needs the Python package hvac on the controller. Install it for the Python that "
                f"runs Ansible: {sys.executable} -m pip install hvac. {UNCHANGED}"
            ) from None
        method = str(options.get("auth_method") or "token")
        client = self._make(hvac, options)
        self._logging_in = method
        with self._told(f"log in by {method}", UNCHANGED, _secrets_of(options)):
            self._log_in(client, method, options)
        self._logging_in = ""
        if method != "none" and not client.token:
            raise StoreError(
                "There is no token for the server. Give token in rotate_hashi_vault, set VAULT_TOKEN, or log in with "
                f"auth_method. {UNCHANGED}"
            )
        self._token = client.token or ""
        self._client = client
        return client

    def _checked(self) -> t.Dict[str, t.Any]:
        """Those that are given, else of the environment. Raises StoreError."""
        for name in self._given:
            if name not in _KNOWN:
                close = difflib.get_close_matches(str(name), _KNOWN, 1)
                meant = f"; did you mean {close[0]}?" if close else ". It takes"
                raise StoreError(
                    f"{shown(str(name))} is no option of rotate_hashi_vault{meant}"
                    f"{'' if close else ' ' + ', '.join(sorted({*_KNOWN} - {*_NO_LONGER, 'cacert'})) + '.'} {UNCHANGED}"
                )
        options = {name: value for name, value in self._given.items() if value not in (None, "")}
        for name, variables in _ENVIRONMENT.items():
            found = [self._environment[one] for one in variables if self._environment.get(one)]
            if found:
                options.setdefault(name, found[0])
        method = str(options.get("auth_method") or "token")
        if method not in _METHODS:
            raise StoreError(
                f"The store hashi_vault cannot log in by {shown(method)}. auth_method in rotate_hashi_vault is one of "
                f"{', '.join(_METHODS)}; for others, log in before and set VAULT_TOKEN. {UNCHANGED}"
            )
        missing = [name for name in _METHODS[method] if name not in options]
        if missing:
            raise StoreError(
                f"To log in by {method}, the store hashi_vault needs {' and '.join(missing)} in rotate_hashi_vault. "
                f"{UNCHANGED}"
            )
        if "url" not in options:
            raise StoreError(
                f"The store hashi_vault needs the url of the server in rotate_hashi_vault, or VAULT_ADDR. {UNCHANGED}"
            )
        if method == "cert" and not str(options["url"]).lower().startswith("https:"):
            raise StoreError(
                "A login by cert needs TLS, which shows the certificate to the server. url in rotate_hashi_vault must "
                f"begin with https://. {UNCHANGED}"
            )
        return {
            name: _path(name, value) if name in _PATHS and not isinstance(value, bool) else value
            for name, value in options.items()
        }

    def _make(self, hvac: t.Any, options: Option) -> t.Any:
        verify = options.get("ca_cert") or options.get("cacert") or True
        if str(options.get("validate_certs", True)).lower() in ("false", "no", "0", "off"):
            verify = False
        try:
            timeout = float(options.get("timeout", 30))
        except (TypeError, ValueError):
            raise StoreError(f"timeout in rotate_hashi_vault must be a number of seconds. {UNCHANGED}") from None
        if isinstance(verify, str):
            _usable_authorities(verify)
        pair = tuple(options.get(name) for name in _PAIR)
        if all(pair):
            _usable_pair(*map(str, pair))
        proxies = options.get("proxies")
        return hvac.Client(
            url=str(options["url"]),
            # Not None, for which it would look into the environment itself.
            token=str(_token(options) if options.get("auth_method", "token") == "token" else ""),
            cert=pair if all(pair) else None,
            verify=verify,
            timeout=timeout,
            proxies={"http": proxies, "https": proxies} if isinstance(proxies, str) else proxies,
            namespace=options.get("namespace"),
        )

    @staticmethod
    def _log_in(client: t.Any, method: str, options: Option) -> None:
        at = {"mount_point": options["mount_point"]} if options.get("mount_point") else {}
        if method == "approle":
            client.auth.approle.login(role_id=options["role_id"], secret_id=options.get("secret_id"), **at)
        elif method in ("userpass", "ldap"):
            way = getattr(client.auth, method)
            way.login(username=options["username"], password=options["password"], **at)
        elif method == "jwt":
            path = {"path": options["mount_point"]} if at else {}
            answer = client.auth.jwt.jwt_login(role=options["role_id"], jwt=options["jwt"], **path)
            client.token = _within(answer, "auth", "client_token")
        elif method == "cert":
            # Not by hvac's own, which refuses where validate_certs is false. The client shows the certificate already.
            name = {"name": options["role_id"]} if options.get("role_id") else {}
            client.adapter.login(f"/v1/auth/{options.get('mount_point') or 'cert'}/login", json=name)

    @contextlib.contextmanager
    def _told(self, doing: str, state: str, secrets: t.Sequence[str] = ()) -> t.Iterator[None]:
        """What the server or the way to it refuses, as a StoreError. ``state``: of the store then."""
        errors, ways = self._errors, self._ways
        try:
            yield
        except (
            errors.VaultError,
            ways.RequestException,
            AttributeError,
            LookupError,
            OSError,
            TypeError,
            ValueError,
        ) as error:
            why = self._why(error, secrets).rstrip(".")
            raise StoreError(f"The server {shown(str(self._options['url']))} did not {doing}: {why}. {state}") from None

    def _why(self, error: BaseException, secrets: t.Sequence[str]) -> str:
        errors, ways = self._errors, self._ways
        told = ", ".join(map(str, getattr(error, "errors", None) or error.args[:1]))
        said = self._masked(told or type(error).__name__, secrets)
        way = self._logging_in
        if way and isinstance(error, (errors.Forbidden, errors.Unauthorized, errors.InvalidRequest)):
            given = f"{', '.join((*_METHODS[way], *_CAN_HAVE.get(way, ())))} and mount_point"
            return f"it answered: {said}. Check {given} in rotate_hashi_vault, and the log of the server"
        reasons = (
            (errors.Forbidden, "permission denied. Its token may not do that, is wrong, or has expired"),
            (errors.Unauthorized, "the login was refused. Check the credentials in rotate_hashi_vault"),
            (errors.VaultDown, "it is sealed or in maintenance. Have it unsealed, and run again"),
            (errors.VaultNotInitialized, "it is not initialized. Check url in rotate_hashi_vault"),
            (errors.InvalidPath, f"there is no such engine or path ({said}). Check rotate_hashi_vault_mount"),
            (errors.RateLimitExceeded, "it gets too many requests. Run again later, with fewer forks"),
            (errors.VaultError, f"it answered: {said}"),
            (ways.SSLError, self._why_no_tls(error)),
            (ways.Timeout, "it gave no answer in time (timeout in rotate_hashi_vault)"),
            (OSError, f"it cannot be reached ({_reason(error)}). Check url in rotate_hashi_vault"),
        )
        found = [text for kind, text in reasons if isinstance(error, kind)]
        # requests makes its errors of JSON errors of the way, too.
        if found and "JSON" not in type(error).__name__:
            return found[0]
        return f"its answer was not understood ({type(error).__name__}). Is this the API of Vault or OpenBao?"

    @staticmethod
    def _why_no_tls(error: BaseException) -> str:
        if isinstance(_first(error), ssl.SSLCertVerificationError):
            return f"its TLS certificate is not trusted ({_reason(error)}). {_TRUST}"
        return f"there is no TLS connection with it ({_reason(error)}). Check url in rotate_hashi_vault"

    def _masked(self, text: str, secrets: t.Sequence[str]) -> str:
        for secret in (*sorted(secrets, key=len, reverse=True), self._token):
            text = text.replace(secret, "********") if secret else text
        return shown(" ".join(text.split()))[:_MOST].rstrip(".")


def _secrets_of(options: Option) -> t.List[str]:
    return [str(options[name]) for name in ("token", "secret_id", "password", "jwt") if options.get(name)]


def _token(options: Option) -> str:
    """The one that is given, or that a login by ``vault`` or ``bao`` left in a file."""
    if options.get("token"):
        return str(options["token"])
    folder = str(options.get("token_path") or os.path.expanduser("~"))
    path = os.path.join(os.path.expanduser(folder), str(options.get("token_file") or ".vault-token"))
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def _within(answer: t.Any, *names: str) -> t.Any:
    """A member of what the server answered, None where it is not there."""
    for name in names:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer


def _path(name: str, value: t.Any) -> str:
    """Raises StoreError for a content, which a key must not be in a message for."""
    path = os.path.expanduser(str(value))
    if not path.isprintable():
        raise StoreError(f"{name} in rotate_hashi_vault must be a path on the controller, not a content. {UNCHANGED}")
    return path


def _usable_authorities(path: str) -> None:
    """Raises StoreError. Here, because the library says of each of these that the server cannot be reached."""
    try:
        if not os.path.isdir(path):
            ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise StoreError(f"ca_cert in rotate_hashi_vault, {path!r}, has no certificate in PEM. {UNCHANGED}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise StoreError(f"ca_cert in rotate_hashi_vault cannot be read: {path!r}: {why}. {UNCHANGED}") from None


def _usable_pair(public: str, private: str) -> None:
    """Raises StoreError. Without it, OpenSSL asks the terminal for the passphrase of a key that is encrypted."""
    for name, path in zip(_PAIR, (public, private)):
        try:
            with open(path, "rb"):
                pass
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise StoreError(f"{name} in rotate_hashi_vault cannot be read: {path!r}: {why}. {UNCHANGED}") from None
    asked: t.List[bool] = []

    def none() -> str:
        asked.append(True)
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(public, private, none)
    except (OSError, ValueError):
        if asked:
            why = f"The private key {private!r} has a passphrase. A login by cert needs one without"
        else:
            why = f"{public!r} and {private!r} are no certificate with its private key, both in PEM"
        raise StoreError(f"{why}. Check {' and '.join(_PAIR)} in rotate_hashi_vault. {UNCHANGED}") from None


def _first(error: BaseException) -> BaseException:
    """What all the others come from."""
    while error.__cause__ or error.__context__:
        error = t.cast(BaseException, error.__cause__ or error.__context__)
    return error


def _reason(error: BaseException) -> str:
    """The last cause, by its kind: the text of these errors can hold headers and addresses."""
    error = _first(error)
    text = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
    return shown(str(text)) if text else type(error).__name__
