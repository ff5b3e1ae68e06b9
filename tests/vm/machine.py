# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine: start it, run commands and modules in it by ssh, cut its power, start it again.

Always QEMU's software emulation: a /dev/kvm that is there may still not work, and seconds do not matter here.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import typing as t

from . import code
from .image import Image
from .tpm import Tpm
from .volatile import Disk

QUICK = "/sbin/luksmith-quick"
SYSTEMD = "/sbin/init"
_READY = "ready"
_BOOT_SECONDS = 900
# In the guest: the number of the process of the module that was started last.
MODULE = "/run/module"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return t.cast(int, probe.getsockname()[1])


def make_system_disk(image: Image, path: pathlib.Path) -> None:
    """A disk of its own for one machine, on top of the image's."""
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.disk), str(path)], check=True
    )


def qemu_command(
    image: Image,
    folder: pathlib.Path,
    port: int,
    init: str,
    volumes: t.Mapping[str, str],
    *,
    options: t.Sequence[str] = (),
    memory: int = 768,
) -> t.List[str]:
    """volumes: what QEMU calls a disk ("driver=...") by serial number; in the guest they are /dev/vdb, /dev/vdc and so
    on.

    Off in the guest's kernel, because they cost much under emulation: defences against spying processors, and ciphers
    that test themselves.
    """
    command = [
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-smp",
        "1",
        "-m",
        str(memory),
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
    ]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    command += [
        "-append",
        f"console=ttyS0 quiet net.ifnames=0 panic=-1 mitigations=off cryptomgr.notests=1 then={init}",
    ]
    command += ["-serial", f"file:{folder / 'console'}", "-serial", f"file:{folder / _READY}"]
    command += ["-drive", f"if=none,id=system,format=qcow2,cache=writeback,file={folder / 'system.qcow2'}"]
    command += ["-device", "virtio-blk-pci,drive=system", "-device", "virtio-rng-pci"]
    command += ["-nic", f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
    for serial, drive in volumes.items():
        command += ["-drive", f"if=none,id={serial},cache=writeback,{drive}"]
        command += ["-device", ",".join([f"virtio-blk-pci,drive={serial},serial={serial}", *options])]
    return command


def ssh_command(image: Image, folder: pathlib.Path, port: int) -> t.List[str]:
    known = {
        "UserKnownHostsFile": image.known_hosts,
        "HostKeyAlias": "luksmith-vm",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
    }
    shared = {"ControlMaster": "auto", "ControlPersist": "yes", "ControlPath": folder / "ssh"}
    options = [word for name, value in {**known, **shared}.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-i", str(image.key), "-p", str(port), *options, "root@127.0.0.1"]


def wait_until_ready(folder: pathlib.Path, alive: t.Callable[[], bool]) -> None:
    """Return when the guest has said that sshd listens; AssertionError with the end of its console when it never
    does.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    marker = folder / _READY
    while not (marker.is_file() and _READY in marker.read_text(errors="replace")):
        if not alive() or time.monotonic() > deadline:
            console = folder / "console"
            lines = console.read_text(errors="replace").splitlines()[-25:] if console.is_file() else []
            raise AssertionError("the virtual machine did not start; its console ends with:\n" + "\n".join(lines))
        time.sleep(0.05)


@t.final
class Machine:
    """A context manager; ``disks`` become /dev/vdb and so on, with these further options of QEMU's virtio-blk-pci.

    disks: looked at whenever it starts. code: the file system of :func:`.code.make`, without which there are no
    modules. port: of
    127.0.0.1, for the guest's sshd; None: any that is free. tpm: of the machine.
    """

    def __init__(
        self,
        image: Image,
        code: t.Optional[pathlib.Path],
        disks: t.Sequence[Disk],
        *,
        options: t.Sequence[str] = (),
        port: t.Optional[int] = None,
        tpm: t.Optional[Tpm] = None,
    ) -> None:
        self._image = image
        self._code = code
        self._port = port
        self._init = QUICK
        self._options = options
        self._tpm = tpm
        self._disks = disks
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="luksmith-vm-"))
        self._process: t.Any = None
        self._ssh: t.List[str] = []
        make_system_disk(image, self._folder / "system.qcow2")

    def start(self, init: str = QUICK) -> None:
        """Boot; with ``init=SYSTEMD`` a whole Debian.

        Again after :meth:`cut_power` or :meth:`shut_down`, with what its own disk then holds.
        """
        self._init = init
        port = self._port or free_port()
        volumes = {disk.name: f"driver=nbd,server.type=unix,server.path={disk.socket}" for disk in self._disks}
        if self._code is not None:
            volumes["code"] = f"format=raw,readonly=on,file={self._code}"
        (self._folder / _READY).unlink(missing_ok=True)
        command = qemu_command(self._image, self._folder, port, self._init, volumes, options=self._options)
        command += self._tpm.restart() if self._tpm else []
        with (self._folder / "qemu").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self._ssh = ssh_command(self._image, self._folder, port)
        try:
            wait_until_ready(self._folder, lambda: self._process.poll() is None)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(self._folder / 'qemu').read_text()}") from None
        if self._code is not None:
            self.run(f"mount -o ro -L {code.LABEL} {code.FOLDER}")

    def popen(self, *command: str) -> t.Any:
        """Start a command in the guest; the words are for its shell."""
        return subprocess.Popen(
            [*self._ssh, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, script: str, *, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the guest to its end."""
        done = subprocess.run([*self._ssh, script], input=stdin, capture_output=True, check=False)
        result = subprocess.CompletedProcess(
            script, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
        assert not check or done.returncode == 0, result
        return result

    def start_module(self, name: str, arguments: t.Mapping[str, t.Any], *, check_mode: bool = False) -> t.Any:
        own = {
            "_ansible_check_mode": check_mode,
            "_ansible_diff": True,
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
        }
        process = self.popen(f"echo $$ >{MODULE}; exec /usr/bin/python3 -I {code.RUN} {name}")
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **own}}).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def signal_module(self, signal_name: str) -> subprocess.CompletedProcess[str]:
        """Send a signal to the module that was started last."""
        return self.run(f"kill -{signal_name} $(cat {MODULE})", check=False)

    def module(self, name: str, arguments: t.Mapping[str, t.Any], *, check_mode: bool = False) -> t.Dict[str, t.Any]:
        """Run a module of the collection, arguments on one side, JSON on the other; its result, failed or not."""
        return result_of(self.start_module(name, arguments, check_mode=check_mode))

    def cut_power(self) -> None:
        """At once, without a word to the guest."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def shut_down(self) -> None:
        """Write everything back, then power off."""
        own = "sync; echo u >/proc/sysrq-trigger; (sleep 0.5; echo o >/proc/sysrq-trigger) >/dev/null 2>&1 &"
        self.run(own if self._init == QUICK else "systemctl poweroff", check=False)
        self._process.wait(timeout=_BOOT_SECONDS)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.cut_power()
        if self._ssh:
            subprocess.run([*self._ssh, "-O", "exit"], capture_output=True, check=False)
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder)

    def __enter__(self) -> Machine:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def result_of(process: t.Any) -> t.Dict[str, t.Any]:
    """What a started module said."""
    out, err = process.communicate()
    try:
        return t.cast(t.Dict[str, t.Any], json.loads(out))
    except ValueError:
        raise AssertionError(f"no JSON from the module (exit {process.returncode}): {out!r} {err!r}") from None
