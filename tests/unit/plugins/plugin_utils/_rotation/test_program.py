# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that go wrong in ways of their own: without end, with output without end, with pipes that somebody keeps
open, and without an ear.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import selectors
import signal
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils import _reports_of_run
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.program import MOST, Ended, Late, TooMuch, run
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import StoreError
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.ceph import Ceph
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.command import Command

PATIENCE = 60.0
KEY = "web/4b543c86-7353-47b9-b355-d0ef03989991"


def shell(script: str, content: bytes = b"", timeout: float = PATIENCE) -> Ended:
    return run(["/bin/sh", "-c", script], content, timeout)


@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_000])
def test_what_goes_in_comes_out(size: int) -> None:
    content = os.urandom(size)
    assert shell("cat; echo fine >&2; exit 3", content) == (3, content, b"fine\n")


def test_it_may_not_listen_and_may_close_its_pipes() -> None:
    assert shell("exit 0", b"x" * 3_000_000) == (0, b"", b"")
    assert shell("exec 0<&-; echo fine", b"x" * 3_000_000) == (0, b"fine\n", b"")
    assert shell("exec 1>&- 2>&-; cat >/dev/null", b"x" * 3_000_000) == (0, b"", b"")
    assert shell("kill -9 $$").returncode == -signal.SIGKILL


def test_it_has_no_terminal_and_a_session_of_its_own() -> None:
    ended = shell("ps -o sid= -p $$ 2>/dev/null || cut -d' ' -f6 /proc/$$/stat; exec 3</dev/tty")
    assert ended.returncode != 0 and int(ended.stdout) != os.getsid(0)


def test_what_it_leaves_behind_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    """As ssh does with ControlPersist."""
    ended = shell(f"sleep 600 & echo $! >{tmp_path}/left; echo all of it; exit 4")
    left = int((tmp_path / "left").read_text())
    try:
        assert ended == (4, b"all of it\n", b"")
        os.kill(left, 0)  # nobody ended it
    finally:
        os.kill(left, signal.SIGKILL)


def test_with_one_that_does_not_end_its_children_end(tmp_path: pathlib.Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(Late):
        shell(f"exec 3>{fifo}; sleep 120 & sleep 120", timeout=0.5)
    assert select.select([reader], [], [], 60)[0], "somebody still holds it"
    assert os.read(reader, 1) == b""
    os.close(reader)


class Begun(t.NamedTuple):
    process: subprocess.Popen[bytes]
    pipes: t.List[int]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> t.List[Begun]:
    """The programs, and the descriptors of their pipes here."""
    found: t.List[Begun] = []
    right = subprocess.Popen

    def begin(*words: t.Any, **options: t.Any) -> t.Any:
        process: t.Any = right(*words, **options)
        found.append(Begun(process, [pipe.fileno() for pipe in (process.stdin, process.stdout, process.stderr)]))
        return process

    monkeypatch.setattr(subprocess, "Popen", begin)
    return found


@pytest.mark.parametrize(("script", "timeout"), [("exit 0", PATIENCE), ("sleep 120", 0.1)])
def test_neither_a_process_nor_a_pipe_is_left(begun: t.List[Begun], script: str, timeout: float) -> None:
    with contextlib.suppress(Late):
        shell(script, timeout=timeout)
    process = begun[0].process
    assert process.returncode is not None, "nobody has taken note of its end"
    assert [pipe and pipe.closed for pipe in (process.stdin, process.stdout, process.stderr)] == [True] * 3


def test_a_pipe_is_listened_to_until_its_end_and_while_it_is_open(
    begun: t.List[Begun], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at its end would take all the time of a processor, and the number of a closed one may be another file's. The
    program ends when nobody listens to its output any more.
    """
    fifo, left = tmp_path / "fifo", set()
    os.mkfifo(fifo)

    class Selector(selectors.DefaultSelector):
        def unregister(self, pipe: t.Any) -> t.Any:
            os.fstat(pipe)
            left.add(pipe)
            if {*begun[0].pipes[1:]} <= left and pipe != begun[0].pipes[0]:
                fifo.write_bytes(b"end\n")
            return super().unregister(pipe)

    monkeypatch.setattr(selectors, "DefaultSelector", Selector)
    assert shell(f"exec 1>&- 2>&-; read end <{fifo}; exit 7").returncode == 7
    assert left == {*begun[0].pipes}


def test_one_that_complains_without_end_does_not_end() -> None:
    with pytest.raises(Late):
        shell("exec cat /dev/zero >&2", timeout=0.5)


def test_output_without_end_takes_no_memory_without_end() -> None:
    with pytest.raises(TooMuch):
        shell("exec cat /dev/zero")
    ended = shell(f"head -c {MOST + 1} /dev/zero >&2; echo the end >&2")
    assert len(ended.stderr) == 65536 and ended.stderr.endswith(b"the end\n")
    assert len(shell(f"head -c {MOST} /dev/zero").stdout) == MOST
    with pytest.raises(TooMuch):
        shell(f"head -c {MOST + 1} /dev/zero")


def test_one_that_cannot_be_begun(tmp_path: pathlib.Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for words, error in ((["/no/such"], OSError), ([str(tmp_path)], OSError), (["a\0b"], ValueError)):
        with pytest.raises(error):
            run(words, b"", PATIENCE)
    shell("exit 0")
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor stays open"


STORES: t.Mapping[str, t.Callable[[t.Sequence[str]], t.Any]] = {"command": Command, "ceph": Ceph}


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_prints_without_end(name: str) -> None:
    store = STORES[name](["/bin/sh", "-c", "exec cat /dev/zero"])
    with pytest.raises(
        StoreError, match=r"/bin/sh .*printed more than 16 MiB, and was ended\. The store was not changed"
    ):
        store.read(KEY)


def test_a_command_of_the_report_that_prints_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Report:
        def content(self) -> bytes:
            return b"{}"

    report: t.Any = Report()
    said = _reports_of_run._given(["/bin/sh", "-c", "exec cat /dev/zero"], report)
    assert said == "/bin/sh printed more than 16 MiB, and was ended"
    monkeypatch.setattr(_reports_of_run, "TIMEOUT", 0.5)
    said = _reports_of_run._given(["/bin/sh", "-c", "sleep 60"], report)
    assert said == "/bin/sh did not end within 0.5 seconds, and was ended"
