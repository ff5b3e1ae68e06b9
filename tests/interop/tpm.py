# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TPM 2.0 in a process (swtpm) for systemd-cryptenroll and its token plugin, and what the first one does with it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import struct
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import started, until
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, run

needs_tpm = pytest.mark.needs("cryptsetup", "swtpm", "systemd-cryptenroll", "TPM2 libraries")

_STARTUP = struct.pack(">I", 0x144)
_KINDS = (0x02000000, 0x03000000, 0x80000000)  # sessions, policy sessions, transient objects


@contextlib.contextmanager
def tpm(folder: pathlib.Path) -> t.Iterator[str]:
    """The name by which systemd reaches a fresh TPM.

    systemd 252 leaves sessions open, of which a TPM has few. The kernel of a host closes them for it; here a relay
    does.
    """
    state = folder / "tpm"
    state.mkdir()
    with contextlib.ExitStack() as stack:
        here, control = stack.enter_context(_neighbours())
        with socket.socket() as spare:
            spare.bind(("127.0.0.1", 0))
            behind = spare.getsockname()[1]
        control.close()
        port = here.getsockname()[1]
        local = "bindaddr=127.0.0.1"
        server = stack.enter_context(
            started(
                "swtpm",
                "socket",
                "--tpm2",
                "--tpmstate",
                f"dir={state}",
                "--server",
                f"type=tcp,port={behind},{local}",
                "--ctrl",
                f"type=tcp,port={port + 1},{local}",
                "--flags",
                "not-need-init,startup-clear",
            )
        )
        until(lambda: _listens(behind), "swtpm listens", server)
        here.listen()
        relay = threading.Thread(target=_relay, args=(here, behind), daemon=True)
        relay.start()
        try:
            yield f"swtpm:host=127.0.0.1,port={port}"
        finally:
            here.shutdown(socket.SHUT_RDWR)
            relay.join(10)


def enrol(volume: Luks2Volume, device: str, *options: str, pin: str = "", unlock: str = "pw0", pcrs: str = "7") -> None:
    """A binding as systemd-cryptenroll makes it."""
    command = ["systemd-cryptenroll", f"--tpm2-device={device}", f"--tpm2-pcrs={pcrs}", *options]
    if pin:
        command.append("--tpm2-with-pin=yes")
    run(*command, volume.path, PASSWORD=unlock, NEWPIN=pin)


def extend(device: str, pcr: int = 7) -> None:
    """Another state of the machine: the value of a PCR changes until the TPM is started again."""
    port = int(device.rpartition("=")[2])
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(extension(pcr))
        assert _message(link)[6:10] == bytes(4)


def extension(pcr: int) -> bytes:
    """The command for a TPM that changes the value of a PCR; bytes 6 to 10 of the answer are zeros."""
    return _with_empty_password(0x182, pcr, struct.pack(">IH", 1, 0x000B) + os.urandom(32))


def failed_attempts(device: str) -> int:
    """How many the TPM counts now (TPM_PT_LOCKOUT_COUNTER)."""
    port = int(device.rpartition("=")[2])
    with socket.create_connection(("127.0.0.1", port)) as link:
        answer = _asked(link, 0x8001, 0x17A, struct.pack(">III", 6, 0x20E, 1))
    return int(struct.unpack_from(">I", answer, 23)[0])


def pardoned(device: str) -> None:
    """The TPM counts none, and is not locked."""
    with socket.create_connection(("127.0.0.1", int(device.rpartition("=")[2]))) as link:
        link.sendall(pardon())
        assert _message(link)[6:10] == bytes(4)


def pardon() -> bytes:
    """The command after which a TPM has seen no failed attempt, and is not locked."""
    return _with_empty_password(0x139, 0x4000000A, b"")


def _with_empty_password(code: int, handle: int, parameters: bytes) -> bytes:
    session = struct.pack(">IHBH", 0x40000009, 0, 0, 0)
    return _command(0x8002, code, struct.pack(">II", handle, len(session)) + session + parameters)


@contextlib.contextmanager
def _neighbours() -> t.Iterator[t.Tuple[socket.socket, socket.socket]]:
    """Two ports side by side, as TSS wants those of a TPM and its control to be."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", one.getsockname()[1] + 1))
                yield one, other
                return


def _listens(port: int) -> bool:
    """Asked of the kernel: swtpm takes one connection at a time."""
    table = pathlib.Path("/proc/net/tcp").read_text().splitlines()
    return any(f":{port:04X} " in line and " 0A " in line for line in table)


def _relay(here: socket.socket, behind: int) -> None:
    with socket.create_connection(("127.0.0.1", behind)) as link:
        while True:
            try:
                client, _address = here.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                while True:
                    command = _message(client)
                    if not command:
                        break
                    if command[6:10] == _STARTUP:  # a new client, which begins so
                        _tidy(link)
                    link.sendall(command)
                    client.sendall(_message(link))


def _tidy(link: socket.socket) -> None:
    for kind in _KINDS:
        answer = _asked(link, 0x8001, 0x17A, struct.pack(">III", 1, kind, 32))
        (count,) = struct.unpack_from(">I", answer, 15)
        for handle in struct.unpack_from(f">{count}I", answer, 19):
            _asked(link, 0x8001, 0x165, struct.pack(">I", handle))


def _asked(link: socket.socket, tag: int, code: int, body: bytes) -> bytes:
    link.sendall(_command(tag, code, body))
    return _message(link)


def _command(tag: int, code: int, body: bytes) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def _message(link: socket.socket) -> bytes:
    """A whole command or answer; empty at the end."""
    head = _exactly(link, 10)
    return head + _exactly(link, struct.unpack_from(">I", head, 2)[0] - 10) if head else b""


def _exactly(link: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = link.recv(size - len(found))
        if not part:
            return b""
        found += part
    return found
