# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine for whoever manages it by ssh; the molecule scenario ``vm`` does.

    serve.py start FOLDER PORT        boot a Debian whose sshd answers on this port of 127.0.0.1 when the command ends;
    FOLDER/key and
                                      FOLDER/known_hosts (by the name luksmith-vm) let root in; /dev/vdb is an empty
                                      disk of 64 MiB
    serve.py tell FOLDER cut-at N     cut the power at the N-th write or flush of the first 16 MiB of /dev/vdb; see
    volatile.py serve.py tell FOLDER boot         boot again after that, with what the cut left; says where it came
    serve.py tell FOLDER stop

The machine lives in a process of its own, which ends with ``stop``.
"""

from __future__ import annotations

import contextlib
import pathlib
import runpy
import socket
import subprocess
import sys
import threading
import typing as t

runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "tools" / "register.py"))

from ansible_collections.luksmith.luks.tests.vm import image as images  # noqa: E402
from ansible_collections.luksmith.luks.tests.vm.machine import SYSTEMD, Machine  # noqa: E402
from ansible_collections.luksmith.luks.tests.vm.volatile import Disk, PowerSupply  # noqa: E402

MIB = 1024 * 1024
WATCHED = 16 * MIB
SEED = 1984
_STARTED = b"started\n"


class Server:
    def __init__(self, folder: pathlib.Path, port: int) -> None:
        self._folder = folder
        self._supply = PowerSupply()
        self._disks = [Disk(self._supply, bytes(64 * MIB), folder, "data-0")]
        image = images.ensure()
        for name, file in (("key", image.key), ("known_hosts", image.known_hosts)):
            (folder / name).symlink_to(file)
        # The machine looks at the list whenever it boots.
        self.machine = Machine(image, None, self._disks, port=port)

    def cut_at(self, number: str) -> str:
        self._supply.watch(self._disks[0], WATCHED, cut_at=int(number))
        threading.Thread(target=self._cut, args=(self._supply,), daemon=True).start()
        return ""

    def _cut(self, supply: PowerSupply) -> None:
        supply.off.wait()
        self.machine.cut_power()

    def boot(self) -> str:
        if not self._supply.off.is_set():
            raise AssertionError("the power was not cut")
        state, sectors, kept = self._disks[0].after_power_cut(SEED)
        where = "a flush" if self._supply.last is None else f"a write at byte {self._supply.last}"
        self._disks[0].close()
        self._supply = PowerSupply()
        self._disks[:] = [Disk(self._supply, state, self._folder, "data-0")]
        self.machine.start(SYSTEMD)
        return f"The power was cut in {where}; {kept} of {sectors} unflushed sectors were kept."

    def answer(self, words: t.Sequence[str]) -> str:
        what, *arguments = words
        return {"cut-at": self.cut_at, "boot": self.boot, "stop": lambda: ""}[what](*arguments)


def run(folder: pathlib.Path, port: int) -> None:
    server = Server(folder, port)
    with contextlib.closing(server.machine), socket.socket(socket.AF_UNIX) as listener:
        server.machine.start(SYSTEMD)
        listener.bind(str(folder / "control"))
        listener.listen()
        sys.stdout.buffer.write(_STARTED)
        sys.stdout.buffer.flush()
        while True:
            client, _address = listener.accept()
            with client, client.makefile("r") as stream:
                words = stream.readline().split()
                try:
                    client.sendall(f"ok {server.answer(words)}".encode())
                except (AssertionError, LookupError, TypeError, ValueError) as error:
                    client.sendall(f"no {error!r}".encode())
            if words == ["stop"]:
                break


def start(folder: pathlib.Path, port: str) -> None:
    folder.mkdir(parents=True, mode=0o700)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, "run", str(folder), port],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout is not None
    if process.stdout.readline() != _STARTED:
        sys.exit(f"the virtual machine did not start:\n{(folder / 'log').read_text()}")


def tell(folder: pathlib.Path, *words: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(str(folder / "control"))
        except OSError:
            sys.exit(0 if words == ("stop",) else f"no virtual machine runs in {folder}")
        server.sendall(" ".join(words).encode() + b"\n")
        with server.makefile("r") as stream:
            answer = stream.read()
    print(answer[3:])
    sys.exit(0 if answer.startswith("ok") else 1)


def main() -> None:
    what, folder, *words = sys.argv[1:]
    path = pathlib.Path(folder).resolve()
    if what == "run":
        run(path, int(words[0]))
    elif what == "start":
        start(path, *words)
    else:
        tell(path, *words)


if __name__ == "__main__":
    main()
