# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory with one person, by which a server lets them log in: ``python ldap_directory.py NAME``, with the password
on the standard input. It needs ldaptor, prints the port of 127.0.0.1 on which it listens, and ends with its standard
input.
"""

from __future__ import annotations

import base64
import contextlib
import io
import pathlib
import subprocess
import sys
import typing as t

BASE = "dc=example,dc=org"
PEOPLE = f"ou=people,{BASE}"


@contextlib.contextmanager
def running(bin: pathlib.Path, name: str, password: str) -> t.Iterator[str]:
    """Its address; bin: of an environment that has ldaptor."""
    with subprocess.Popen(
        [bin / "python", __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{password}\n")
        process.stdin.flush()
        port = process.stdout.readline().strip()
        assert port, "the directory did not start"
        yield f"ldap://127.0.0.1:{port}"
        process.stdin.close()


def main() -> None:
    from ldaptor.inmemory import fromLDIFFile
    from ldaptor.interfaces import IConnectedLDAPEntry
    from ldaptor.protocols.ldap.ldapserver import LDAPServer
    from twisted.internet import protocol, reactor, stdio
    from twisted.python.components import registerAdapter

    name, password = sys.argv[1], sys.stdin.readline().rstrip("\n")
    kept = base64.b64encode(password.encode()).decode("ascii")
    entries = (
        f"dn: {BASE}\nobjectClass: dcObject\ndc: example\n",
        f"dn: {PEOPLE}\nobjectClass: organizationalUnit\nou: people\n",
        f"dn: uid={name},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nuserPassword:: {kept}\n",
    )

    class Factory(protocol.ServerFactory):
        protocol = LDAPServer

        def __init__(self, root: t.Any) -> None:
            self.root = root

    class UntilTheEnd(protocol.Protocol):
        def connectionLost(self, reason: t.Any = None) -> None:
            reactor.stop()

    def serve(root: t.Any) -> None:
        listening = reactor.listenTCP(0, Factory(root), interface="127.0.0.1")
        print(listening.getHost().port, flush=True)

    registerAdapter(lambda factory: factory.root, Factory, IConnectedLDAPEntry)
    fromLDIFFile(io.BytesIO("\n".join((*entries, "")).encode())).addCallback(serve)
    stdio.StandardIO(UntilTheEnd())
    reactor.run()


if __name__ == "__main__":
    main()
