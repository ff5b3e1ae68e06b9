# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What listens on the socket of a monitor, and says whatever a test wants."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import threading
import typing as t

GREETING = (
    b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "x"}, "capabilities": []}}\r\n'
)
Call = t.Dict[str, t.Any]
# The bytes of the answer to a call, or None to close the connection.
Answers = t.Callable[[Call], t.Optional[bytes]]


def returned(call: Call, value: t.Any) -> bytes:
    return json.dumps({"return": value, "id": call["id"]}).encode() + b"\r\n"


def refused(call: Call, text: str) -> bytes:
    return json.dumps({"error": {"class": "GenericError", "desc": text}, "id": call["id"]}).encode() + b"\r\n"


@contextlib.contextmanager
def listening(path: pathlib.Path, answers: Answers, greeting: bytes = GREETING) -> t.Iterator[t.List[Call]]:
    """The calls that it has got so far."""
    calls: t.List[Call] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        thread = threading.Thread(target=_serve, args=(server, answers, greeting, calls), daemon=True)
        thread.start()
        yield calls
        server.shutdown(socket.SHUT_RDWR)
        thread.join(60)


def _serve(server: socket.socket, answers: Answers, greeting: bytes, calls: t.List[Call]) -> None:
    with contextlib.suppress(OSError):
        while True:
            client = server.accept()[0]
            with client, contextlib.suppress(OSError):
                client.sendall(greeting)
                for line in client.makefile("rb"):
                    call = json.loads(line)
                    calls.append(call)
                    answer = returned(call, {}) if call["execute"] == "qmp_capabilities" else answers(call)
                    if answer is None:
                        break
                    client.sendall(answer)
