# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the collection importable the way the unit tests do, make the hosts, and say at the end what was used where."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts import roots
from ansible_collections.luksmith.luks.tests.hosts.machine import Host, Payloads

NAMES = [f"{suite}{rich}" for suite in roots.SUITES for rich in ("", " with cryptography")]
TABLE = pytest.StashKey[t.List[t.Sequence[str]]]()
HEAD = ("host", "Python", "cryptography", "OpenSSL", "Argon2 by", "AES by", "no PBKDF2 with", "256 MiB, 4 passes")


@pytest.fixture(scope="session")
def payloads() -> t.Iterator[Payloads]:
    made = Payloads()
    yield made
    made.close()


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory, payloads: Payloads) -> t.Dict[str, Host]:
    try:
        made = roots.ensure()
    except roots.Unavailable as reason:
        pytest.skip(str(reason))
    return {name: Host(name, path, tmp_path_factory.mktemp("volumes"), payloads) for name, path in made.items()}


@pytest.fixture(scope="session", params=NAMES)
def host(request: pytest.FixtureRequest, hosts: t.Dict[str, Host]) -> Host:
    return hosts[request.param]


@pytest.fixture(scope="session")
def answers(host: Host, pytestconfig: pytest.Config) -> t.Dict[str, t.Any]:
    found = host.answers()
    aes = ", ".join(sorted({str(rung) for rung in found["aes"].values()}))
    lacking = ", ".join(name for name, rung in found["hashes"].items() if rung is None)
    row = (host.name, found["python"], found["cryptography"] or "-", found["openssl"], found["argon2id"] or "nobody", aes, lacking or "-")
    pytestconfig.stash.setdefault(TABLE, []).append((*row, f"{found['seconds']:.2f} s"))
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(TABLE, [])
    if rows:
        terminalreporter.section("who derives and who decrypts")
        widths = [max(len(cell) for cell in column) for column in zip(HEAD, *rows)]
        for row in (HEAD, *rows):
            terminalreporter.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
