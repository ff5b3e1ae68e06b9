# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The monitor of a running QEMU or qemu-storage-daemon, which speaks QMP on a UNIX socket.

Whatever listens there is not trusted: each answer has a limit of time and of size, and is refused if it is not what QMP
says. What an answer contains is data for the caller to check.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import time
import typing as t

from ..crypto.memory import wipe
from ..errors import Refused, StorageFault
from ..paths import fault, unusable

# Seconds. The monitor of a VM serves one client at a time, and says nothing to a second one.
GREETING = 10.0
ANSWER = 30.0
# The main loop of a QEMU stands still while it derives a key, and it tries the secret on each keyslot.
JOB = 900.0

# Bytes. A VM with a hundred disks describes its nodes in some 200 KiB.
LARGEST_MESSAGE = 8 << 20
_LONGEST_NUMBER = 30
_LONGEST_TEXT = 300
_MOST_EVENTS = 10_000
_CHUNK = 1 << 16
_LOOK_AGAIN = 1.0  # seconds between two looks at a job whose event did not come

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

Json = t.Any


class Denied(Refused):
    """QEMU answered a command with an error: ``text`` is its own, which is not trusted."""

    def __init__(self, command: str, text: str) -> None:
        super().__init__(f"QEMU refused {command}: {text}")
        self.text = text


@t.final
class Monitor:
    """An open monitor; a context manager that closes it.

    path: of the socket. pid: of the process that listens there, as the kernel says. version: major, minor, micro.

    Every method raises StorageFault if the monitor does not answer in time or not as QMP says; after that, it is of no
    use any more.
    """

    def __init__(self, path: str) -> None:
        """Connect and negotiate. Raises StorageFault if nothing that speaks QMP is there."""
        self.path = path
        self.pid = 0
        self.version = (0, 0, 0)
        self._buffer = bytearray()
        self._number = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect()
            self._greet()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        reason = unusable(self.path)
        if reason:
            raise StorageFault(f"the path of the monitor {reason}", remedy="Check qmp")
        try:
            if not stat.S_ISSOCK(os.stat(self.path).st_mode):
                raise self._unfit("it is no socket", "Give the path of a UNIX socket on which QEMU offers QMP")
            self._socket.settimeout(GREETING)
            self._socket.connect(self.path)
            credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            self.pid = struct.unpack("3i", credentials)[0]
        except OSError as error:
            if error.errno is None:  # a path that is too long for a socket, or a time limit
                raise self._unfit(str(error), "Give a path of at most 107 bytes, and check that QEMU runs") from None
            raise fault(
                self.path, "cannot connect to the monitor", error, remedy="Check qmp, and that QEMU runs"
            ) from None

    def _greet(self) -> None:
        try:
            greeting = self._message(time.monotonic() + GREETING)
        except StorageFault as error:
            error.remedy = (
                "Give the path of a QMP monitor (-qmp unix:PATH,server=on,wait=off) of its own: a monitor serves one "
                "client at a time, so that one that libvirt or another program uses does not answer"
            )
            raise
        try:
            version = greeting["QMP"]["version"]["qemu"]
            self.version = (int(version["major"]), int(version["minor"]), int(version["micro"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._unfit("what listens there does not speak QMP") from None
        self.execute("qmp_capabilities")

    def execute(self, command: str, arguments: t.Optional[t.Mapping[str, Json]] = None, limit: float = ANSWER) -> Json:
        """What QEMU returns, within ``limit`` seconds. Raises Denied if it answers with an error."""
        self._number += 1
        call = {"execute": command, "id": self._number, **({"arguments": arguments} if arguments else {})}
        return self._answer(command, bytearray(json.dumps(call).encode("ascii") + b"\n"), limit)

    def add_secret(self, name: str, value: bytearray) -> None:
        """Give QEMU a secret, as the object ``name``. The error of QEMU is not repeated, because it could show it.

        Raises Denied.
        """
        self._number += 1
        call = bytearray(
            b'{"execute": "object-add", "id": %d, "arguments": {"qom-type": "secret", "id": "%s", "format": "base64", '
            b'"data": "' % (self._number, name.encode("ascii"))
        )
        room = bytearray(len(call) + 4 * -(-len(value) // 3) + 4)  # of its final size, so that no copy stays behind
        end = len(call)
        room[:end] = call
        for place in range(0, len(value), 3):
            group = int.from_bytes(value[place : place + 3], "big") << 8 * max(0, place + 3 - len(value))
            for shift in (18, 12, 6, 0):
                room[end] = _BASE64[group >> shift & 63]
                end += 1
            if place + 3 > len(value):
                padding = place + 3 - len(value)
                room[end - padding : end] = b"=" * padding
        room[end : end + 4] = b'"}}\n'
        try:
            self._answer("object-add", room, ANSWER)
        except Denied:
            raise Denied("object-add", "it does not take a secret object of this name or content") from None
        finally:
            wipe(room)

    def _answer(self, command: str, call: bytearray, limit: float) -> Json:
        deadline = time.monotonic() + limit
        try:
            self._socket.settimeout(limit)
            self._socket.sendall(call)
        except OSError as error:
            raise self._lost(command, error) from None
        for _event in range(_MOST_EVENTS):
            message = self._message(deadline)
            if "event" in message:
                continue
            if message.get("id") != self._number or ("return" in message) == ("error" in message):
                raise self._unfit(f"its answer to {command} is not of this command")
            if "return" in message:
                return message["return"]
            refusal = message["error"]
            raise Denied(command, _text_of(refusal.get("desc") if isinstance(refusal, dict) else None))
        raise self._unfit(f"it sends events without end instead of an answer to {command}")

    def run_job(self, name: str, command: str, arguments: t.Mapping[str, Json]) -> str:
        """Start the job ``name``, wait for its end, dismiss it. Returns its error, as QEMU says it, or "".

        Raises Denied if QEMU does not begin it.
        """
        self.execute(command, {"job-id": name, **arguments})
        return self.end_of_job(name)

    def end_of_job(self, name: str) -> str:
        """As :meth:`run_job`, for a job that was started."""
        deadline = time.monotonic() + JOB
        while True:
            job = next((job for job in self.jobs(deadline) if job["id"] == name), None)
            if job is None:
                raise self._unfit("a job of ours has vanished from it", "Find out what else controls this QEMU")
            if job.get("status") == "concluded":
                self.execute("job-dismiss", {"id": name})
                return _text_of(job["error"]) if "error" in job else ""
            if time.monotonic() > deadline:
                raise self._unfit(f"a job of ours has not ended within {JOB:g} s", "The next run waits for it again")
            self._wait_for_event(min(deadline, time.monotonic() + _LOOK_AGAIN))

    def jobs(self, deadline: t.Optional[float] = None) -> t.List[t.Dict[str, Json]]:
        limit = ANSWER if deadline is None else max(ANSWER, deadline - time.monotonic())
        return self.objects("query-jobs", "id", limit=limit)

    def objects(
        self, command: str, key: str, arguments: t.Optional[t.Mapping[str, Json]] = None, limit: float = ANSWER
    ) -> t.List[t.Dict[str, Json]]:
        """What a command returns that returns a list of objects, each with a text ``key``. Raises Denied."""
        found = self.execute(command, arguments, limit)
        if not isinstance(found, list) or not all(
            isinstance(one, dict) and isinstance(one.get(key), str) for one in found
        ):
            raise self._unfit(f"its answer to {command} is no list of objects with {key}")
        return found

    def _wait_for_event(self, deadline: float) -> None:
        """Until any event, which changes nothing but the time of the next look."""
        if b"\n" not in self._buffer:
            self._receive(deadline)
        while b"\n" in self._buffer:
            if "event" not in self._message(deadline):
                raise self._unfit("it answers what nobody asked")

    def _message(self, deadline: float) -> t.Dict[str, Json]:
        while b"\n" not in self._buffer:
            if len(self._buffer) > LARGEST_MESSAGE:
                raise self._unfit(f"it sent more than {LARGEST_MESSAGE} bytes in one message")
            if self._buffer and self._buffer[0] != ord("{"):
                raise self._unfit("what it sent is no JSON object")
            if not self._receive(deadline):
                raise self._unfit("it did not answer in time", "Check whether that QEMU hangs")
        line, _newline, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        try:
            found = parsed(line)
        except (ValueError, RecursionError):
            raise self._unfit("what it sent is no JSON") from None
        if not isinstance(found, dict):
            raise self._unfit("what it sent is no JSON object")
        return found

    def _receive(self, deadline: float) -> bool:
        """Whether something came before ``deadline``."""
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._socket.recv(_CHUNK)
        except socket.timeout:
            return False
        except OSError as error:
            raise self._lost("what was asked", error) from None
        if not data:
            raise self._unfit("it closed the connection", "Check whether that QEMU still runs")
        self._buffer += data
        return True

    def _lost(self, command: str, error: OSError) -> StorageFault:
        return self._unfit(
            f"the connection broke at {command}: {error.strerror or 'time limit'}", "Check that QEMU runs"
        )

    def _unfit(self, found: str, remedy: str = "Check which program listens there") -> StorageFault:
        return StorageFault(f"the monitor {self.path} is of no use: {found}", remedy=remedy)

    def close(self) -> None:
        """It may be called twice."""
        self._socket.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def parsed(text: t.Union[str, bytes, bytearray]) -> Json:
    """The value of JSON that is not trusted. Raises ValueError or RecursionError."""
    return json.loads(text, parse_int=_short_number, parse_float=_short_number, parse_constant=_no_number)


def _short_number(text: str) -> float:
    """A number of reasonable length: the time that a longer one takes grows with the square of its length."""
    if len(text) > _LONGEST_NUMBER:
        raise ValueError
    return float(text) if not text.lstrip("-").isdigit() else int(text)


def _no_number(text: str) -> float:
    raise ValueError


def _text_of(value: Json) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value else "an error without a text"
