# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever listens at the path of a monitor: it gets no more time, memory or trust than a QEMU needs."""

from __future__ import annotations

import base64
import itertools
import os
import pathlib
import socket
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import monitor
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_monitor import (
    GREETING,
    Answers,
    Call,
    listening,
    refused,
    returned,
)

EVENT = b'{"event": "JOB_STATUS_CHANGE", "data": {"status": "running", "id": "j"}}\r\n'


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "q"


@pytest.fixture
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can wait for: what is silent stays silent."""
    monkeypatch.setattr(monitor, "GREETING", 0.1)


def test_it_says_who_listens_and_what_it_is(path: pathlib.Path) -> None:
    with listening(path, lambda call: returned(call, ["x"])) as calls, monitor.Monitor(str(path)) as opened:
        assert (opened.pid, opened.version) == (os.getpid(), (7, 2, 22))
        assert opened.execute("query-jobs") == ["x"]
        assert [call["execute"] for call in calls] == ["qmp_capabilities", "query-jobs"]


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"", "did not answer in time.*one client at a time"),
        (b"QEMU 7.2.22 monitor - type 'help' for more information\r\n", "no JSON"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no JSON"),
        (b'{"QMP": {}}\r\n', "does not speak QMP"),
        (b'{"QMP": {"version": {"qemu": {"major": 1e999, "minor": 0, "micro": 0}}}}\r\n', "does not speak QMP"),
        (b"[]\r\n", "no JSON object"),
        (b"[" * 100_000 + b"\r\n", "no JSON"),
        (b'{"QMP": ' + b"9" * 5000 + b"}\r\n", "no JSON"),
        (b'{"QMP": NaN}\r\n', "no JSON"),
        (b"\xff\xfe\r\n", "no JSON"),
        (b"NBDMAGICIHAVEOPT\0\3", "no JSON object"),
        (GREETING[:20], "did not answer in time"),
    ],
)
@pytest.mark.usefixtures("_short_limits")
def test_what_is_no_monitor_is_refused(path: pathlib.Path, greeting: bytes, words: str) -> None:
    with listening(path, lambda call: None, greeting), pytest.raises(StorageFault, match=f"(?s){words}"):
        monitor.Monitor(str(path))


def test_a_path_without_a_monitor(path: pathlib.Path) -> None:
    with pytest.raises(StorageFault, match=r"No such file or directory \(ENOENT\)"):
        monitor.Monitor(str(path))
    path.write_bytes(b"")
    with pytest.raises(StorageFault, match="it is no socket"):
        monitor.Monitor(str(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    with pytest.raises(StorageFault, match=r"Connection refused \(ECONNREFUSED\)"):
        monitor.Monitor(str(path))


def too_much(call: Call) -> bytes:
    return b'{"return": "' + b"x" * (monitor.LARGEST_MESSAGE + (1 << 20))


ANSWERS: t.Mapping[str, t.Tuple[Answers, str]] = {
    "of another command": (lambda call: b'{"return": {}, "id": 77}\r\n', "is not of this command"),
    "without a command": (lambda call: b'{"return": {}}\r\n', "is not of this command"),
    "both": (lambda call: b'{"return": {}, "error": {}, "id": %d}\r\n' % call["id"], "is not of this command"),
    "neither": (lambda call: b'{"id": %d}\r\n' % call["id"], "is not of this command"),
    "events only": (lambda call: EVENT * 10_001, "events without end"),
    "too much": (too_much, f"more than {monitor.LARGEST_MESSAGE} bytes"),
    "no JSON": (lambda call: b"yes\r\n", "no JSON"),
    "nothing": (lambda call: None, "closed the connection"),
    "silence": (lambda call: b"", "did not answer in time"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none_is_refused(path: pathlib.Path, name: str) -> None:
    answers, words = ANSWERS[name]
    with listening(path, answers), monitor.Monitor(str(path)) as opened, pytest.raises(StorageFault, match=words):
        opened.execute("query-jobs", limit=0.2 if name == "silence" else 60)


def test_events_between_are_skipped_and_an_error_is_the_one_of_qemu(path: pathlib.Path) -> None:
    with listening(path, lambda call: EVENT * 3 + refused(call, "x" * 1000)), monitor.Monitor(str(path)) as opened:
        with pytest.raises(monitor.Denied, match=r"QEMU refused query-jobs: x+") as caught:
            opened.execute("query-jobs")
        assert len(caught.value.text) == 300


@pytest.mark.parametrize("secret", [b"", b"a", b"ab", b"abc", b"abcd", "ä passphrase \n".encode(), bytes(range(256))])
def test_a_secret_arrives_as_it_is(path: pathlib.Path, secret: bytes) -> None:
    with listening(path, lambda call: returned(call, {})) as calls, monitor.Monitor(str(path)) as opened:
        opened.add_secret("name", bytearray(secret))
        assert opened.execute("query-jobs") == {}, "nothing follows it"
    arguments = calls[-2]["arguments"]
    assert base64.b64decode(arguments["data"], validate=True) == secret
    assert {**arguments, "data": ""} == {"qom-type": "secret", "id": "name", "format": "base64", "data": ""}


def test_an_error_about_a_secret_is_not_repeated(path: pathlib.Path) -> None:
    with listening(path, lambda call: refused(call, f"no {call['arguments']['data']}")):
        with monitor.Monitor(str(path)) as opened, pytest.raises(monitor.Denied) as caught:
            opened.add_secret("name", bytearray(b"ebony unlocks"))
        assert base64.b64encode(b"ebony unlocks").decode() not in str(caught.value) + caught.value.text


class Jobs:
    """Of a QEMU whose job is seen in these states, one after another."""

    def __init__(self, *seen: t.Any) -> None:
        self.seen = list(seen)

    def __call__(self, call: Call) -> bytes:
        if call["execute"] == "query-jobs":
            return returned(call, self.seen.pop(0)) + EVENT
        return returned(call, {})


def test_the_end_of_a_job_is_its_own_word(path: pathlib.Path) -> None:
    running, concluded = {"id": "j", "status": "running"}, {"id": "j", "status": "concluded", "error": "all in use"}
    other = {"id": "other", "status": "concluded"}
    with listening(path, Jobs([other, running], [running], [concluded])) as calls, monitor.Monitor(str(path)) as opened:
        assert opened.run_job("j", "x-blockdev-amend", {"node-name": "n"}) == "all in use"
    assert [call["execute"] for call in calls[1:]] == ["x-blockdev-amend", *["query-jobs"] * 3, "job-dismiss"]
    assert calls[1]["arguments"] == {"job-id": "j", "node-name": "n"} and calls[-1]["arguments"] == {"id": "j"}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([], "has vanished"),
        ([{"id": 7}], "no list of objects with id"),
        (None, "no list of objects with id"),
        ([7], "no list of objects with id"),
    ],
)
def test_a_job_that_makes_no_sense(path: pathlib.Path, seen: t.Any, words: str) -> None:
    with listening(path, Jobs(seen)), monitor.Monitor(str(path)) as opened, pytest.raises(StorageFault, match=words):
        opened.run_job("j", "x-blockdev-amend", {})


def test_a_job_without_end_has_a_limit(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "JOB", 0.0)
    jobs = Jobs([{"id": "j", "status": "running"}])
    with listening(path, jobs), monitor.Monitor(str(path)) as opened, pytest.raises(StorageFault, match="not ended"):
        opened.run_job("j", "x-blockdev-amend", {})


def test_a_job_is_looked_at_again_after_a_pause(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [[{"id": "j", "status": status}] for status in ("running", "running", "concluded")]
    came: t.List[bool] = []
    right = monitor.Monitor._receive

    def receive(one: monitor.Monitor, deadline: float) -> bool:
        came.append(right(one, deadline))
        return came[-1]

    monkeypatch.setattr(monitor, "_LOOK_AGAIN", 0.0)
    monkeypatch.setattr(monitor.Monitor, "_receive", receive)

    def answers(call: Call) -> bytes:
        return returned(call, seen.pop(0) if call["execute"] == "query-jobs" else {})

    with listening(path, answers), monitor.Monitor(str(path)) as opened:
        assert opened.end_of_job("j") == ""
    assert came.count(False) == 2, "it did not wait for an event"


def test_nothing_is_waited_for_without_a_limit(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that comes for one answer has one limit: a program that sends a byte now and then does not extend it."""
    waits: t.List[t.Tuple[str, t.Optional[float]]] = []

    class Watched(socket.socket):
        def connect(self, address: t.Any) -> None:
            waits.append(("connect", self.gettimeout()))
            super().connect(address)

        def sendall(self, *given: t.Any) -> None:
            waits.append(("send", self.gettimeout()))
            super().sendall(*given)

        def recv(self, *given: t.Any) -> bytes:
            waits.append(("receive", self.gettimeout()))
            return super().recv(1)

    seconds = itertools.count(step=0.001)
    monkeypatch.setattr(monitor, "socket", types.SimpleNamespace(**{**vars(socket), "socket": Watched}))
    monkeypatch.setattr(monitor, "time", types.SimpleNamespace(monotonic=lambda: next(seconds)))
    with listening(path, lambda call: returned(call, {})), monitor.Monitor(str(path)) as opened:
        opened.execute("query-jobs", limit=77)
    limits = [wait for what, wait in waits if what != "receive"]
    assert limits == [monitor.GREETING, monitor.ANSWER, 77]
    received = [
        [wait for _what, wait in some]
        for what, some in itertools.groupby(waits, lambda one: one[0] == "receive")
        if what
    ]
    assert len(received) == 3
    for limit, some in zip(limits, received):
        assert None not in some and limit > some[0] and some == sorted(some, reverse=True) and some[0] > some[-1]


def test_a_socket_without_a_monitor_is_closed(path: pathlib.Path) -> None:
    before = open_descriptors()
    with pytest.raises(StorageFault) as caught:
        monitor.Monitor(str(path.with_name("nobody")))
    assert caught.value and open_descriptors() == before


def test_what_holds_a_secret_on_its_way_is_wiped(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: t.List[bytes] = []
    monkeypatch.setattr(monitor, "wipe", lambda buffer: wiped.append(bytes(buffer)))
    with listening(path, lambda call: returned(call, {})), monitor.Monitor(str(path)) as one:
        one.add_secret("name", bytearray(b"hunter2"))
    assert any(base64.b64encode(b"hunter2") in buffer for buffer in wiped)
