# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts, and at the end what was used on which of them."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts import roots
from ansible_collections.luksmith.luks.tests.hosts.machine import Host, Payloads
from ansible_collections.luksmith.luks.tests.hosts.provided import provided
from ansible_collections.luksmith.luks.tests.hosts.stock import LAYERS, of_host

HEAD = ("host", "Python", "cryptography", "OpenSSL", "Argon2 by", "AES by", "no PBKDF2 with", "256 MiB, 4 passes")


@pytest.fixture(scope="session")
def payloads() -> t.Iterator[Payloads]:
    made = Payloads()
    yield made
    made.close()


@pytest.fixture(scope="session", params=[of_host(name) for name in LAYERS])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, payloads: Payloads) -> Host:
    """A stock Debian host: each of them in turn, or those that ``stock.on`` names."""
    name = request.param
    root = provided(lambda: roots.ensure(name.split()[0], *LAYERS[name]))
    return Host(name, root, tmp_path_factory.mktemp("volumes"), payloads)


@pytest.fixture(scope="session")
def answers(host: Host) -> t.Dict[str, t.Any]:
    return host.answers()


@pytest.fixture
def tell(record_property: t.Callable[[str, object], None]) -> t.Callable[[Host, t.Mapping[str, t.Any]], None]:
    """Notes what a host answered for the table at the end; a test may run in another process than the one that
    prints.
    """

    def note(host: Host, found: t.Mapping[str, t.Any]) -> None:
        aes = ", ".join(sorted({str(provider) for provider in found["aes"].values()}))
        lacking = ", ".join(name for name, provider in found["hashes"].items() if provider is None)
        row = (
            host.name,
            found["python"],
            found["cryptography"] or "-",
            found["openssl"],
            found["argon2id"] or "-",
            aes,
            lacking or "-",
        )
        record_property("host", [*row, f"{found['seconds']:.2f} s"])

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    rows = [
        value for report in reports if report.when == "call" for key, value in report.user_properties if key == "host"
    ]
    if rows:
        terminalreporter.section("which library derives and decrypts")
        widths = [max(len(cell) for cell in column) for column in zip(HEAD, *rows)]
        for row in (HEAD, *rows):
            terminalreporter.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
