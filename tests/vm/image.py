# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machine's kernel, first stage and root file system: made once from a root of tests/hosts/roots.py, kept
in .cache/vm.

All of it comes from one Debian release, whatever this machine runs. Nothing outside .cache is written. What is kept
carries the hash of what it was made from: the list of packages, this file, and those in guest/.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.luksmith.luks.tests.hosts import roots

CACHE = roots.ROOT / ".cache" / "vm"
GUEST = pathlib.Path(__file__).with_name("guest")

SUITE = "bookworm"
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "busybox-static", "cpio", "kmod", "udev"),
    *("systemd-sysv", "openssh-server", "iproute2", "python3"),
    *("cryptsetup", "cryptsetup-bin", "cryptsetup-initramfs", "dmsetup", "lvm2", "thin-provisioning-tools"),
    # What systemd loads to reach a TPM.
    *("libtss2-esys-3.0.2-0", "libtss2-mu0", "libtss2-rc0", "libtss2-tcti-device0"),
)
# What the first stage needs to find the root file system; udev or modprobe load the rest from there.
FIRST_MODULES = ("virtio_pci", "virtio_blk", "ext4")
IMAGE_SIZE = "3G"
# For the mark ``needs``.
NEEDS = ("root", "debootstrap", "qemu-system-x86_64", "qemu-img", "mkfs.ext4", "ssh", "cryptsetup")
PROGRAMS = (*NEEDS[1:], "unshare", "chroot", "ssh-keygen")
# Seconds for the mark ``timeout``: a machine that is emulated beside other work takes its time.
TIMEOUT = 7200

# On a busy machine an emulated one needs minutes for what takes seconds.
_PATIENCE = "[Manager]\nDefaultTimeoutStartSec=900\nDefaultDeviceTimeoutSec=900\n"
_NETWORK = "[Match]\nName=eth0\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
_SSHD = "UsePAM no\nUseDNS no\nPrintMotd no\nPasswordAuthentication no\nHostKey /etc/ssh/ssh_host_ed25519_key\n"
_READY = (
    "[Unit]\nAfter=ssh.service systemd-networkd.service\nRequires=ssh.service\n\n[Service]\nType=oneshot\n"
    "ExecStart=/bin/sh -c 'echo ready >/dev/ttyS1'\n\n[Install]\nWantedBy=multi-user.target\n"
)
# They serve people at a terminal, clocks and package updates, and cost seconds under emulation.
_IDLE = (
    *(
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "dpkg-db-backup.timer",
        "e2scrub_all.timer",
        "e2scrub_reap.service",
        "fstrim.timer",
    ),
    *(
        "systemd-timesyncd.service",
        "systemd-logind.service",
        "systemd-journal-flush.service",
        "getty.target",
        "getty-static.service",
    ),
    *(
        "lvm2-monitor.service",
        "systemd-update-utmp.service",
        "systemd-update-utmp-runlevel.service",
        "systemd-user-sessions.service",
    ),
)

Unavailable = roots.Unavailable


@dataclasses.dataclass(frozen=True)
class Image:
    """Files that start a machine.

    ``disk`` is a raw ext4 file system, made of the folder ``tree``, that nobody writes to; ``key`` lets root in by ssh.
    """

    tree: pathlib.Path
    kernel: pathlib.Path
    initrd: pathlib.Path
    disk: pathlib.Path
    key: pathlib.Path
    known_hosts: pathlib.Path


def _hash(*parts: t.Union[str, bytes]) -> str:
    return hashlib.sha256(b"\0".join(part.encode() if isinstance(part, str) else part for part in parts)).hexdigest()[
        :12
    ]


def _inside(tree: pathlib.Path, log: pathlib.Path, *command: str) -> None:
    """Run a command in the tree, with a /proc and /dev that end with it."""
    enter = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
    clean = (
        "env",
        "-u",
        "LC_ALL",
        "LANG=C.UTF-8",
        "DEBIAN_FRONTEND=noninteractive",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    )
    roots.run_logged(log, *roots.OWN_MOUNTS, *clean, "sh", "-c", enter, str(tree), *command)


def _configure(tree: pathlib.Path, log: pathlib.Path, public_key: str) -> None:
    """Only virtual machines are made of a root with these packages, so that it may be changed."""
    shutil.rmtree(tree / "var/lib/apt/lists", ignore_errors=True)
    files = {
        "etc/fstab": "",
        "etc/hostname": "luksmith-vm\n",
        "etc/hosts": "127.0.0.1 localhost luksmith-vm\n",
        "etc/systemd/network/eth0.network": _NETWORK,
        "etc/systemd/system.conf.d/luksmith.conf": _PATIENCE,
        "etc/ssh/sshd_config.d/luksmith.conf": _SSHD,
        "root/.ssh/authorized_keys": public_key,
    }
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "root/.ssh").chmod(0o700)
    shutil.copy(GUEST / "quick", tree / "sbin/luksmith-quick")
    (tree / "etc/systemd/system/luksmith-ready.service").write_text(_READY)
    _inside(tree, log, "systemctl", "mask", *_IDLE)
    _inside(tree, log, "systemctl", "set-default", "multi-user.target")
    _inside(tree, log, "systemctl", "enable", "systemd-networkd.service", "ssh.service", "luksmith-ready.service")


def _make_first_stage(tree: pathlib.Path, initrd: pathlib.Path, log: pathlib.Path) -> None:
    version = next((tree / "lib/modules").iterdir()).name
    shown = ["chroot", str(tree), "modprobe", "--set-version", version, "--show-depends", "--all", *FIRST_MODULES]
    lines = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.splitlines()
    modules = list(dict.fromkeys(line.split()[1] for line in lines if line.startswith("insmod ")))
    with tempfile.TemporaryDirectory(dir=tree) as name:
        stage = pathlib.Path(name)
        for folder in ("bin", "dev", "modules", "proc", "root"):
            (stage / folder).mkdir()
        shutil.copy(tree / "bin/busybox", stage / "bin/busybox")
        (stage / "init").write_text("#!/bin/busybox sh\n" + (GUEST / "init").read_text())
        (stage / "init").chmod(0o755)
        for module in modules:
            shutil.copy(tree / module.lstrip("/"), stage / "modules")
        (stage / "modules/order").write_text("".join(pathlib.Path(module).name + "\n" for module in modules))
        _inside(tree, log, "sh", "-c", f"cd /{stage.name} && find . | cpio --quiet -o -H newc >/{stage.name}.cpio")
        shutil.move(str(tree / f"{stage.name}.cpio"), initrd)


def _make_image(tree: pathlib.Path, folder: pathlib.Path, log: pathlib.Path) -> None:
    folder.mkdir()
    key = folder / "key"
    roots.run_logged(log, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "luksmith-vm", "-f", str(key))
    _configure(tree, log, key.with_suffix(".pub").read_text())
    shutil.copy(next((tree / "boot").glob("vmlinuz-*")), folder / "kernel")
    host_key = (tree / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"luksmith-vm {host_key[0]} {host_key[1]}\n")
    _make_first_stage(tree, folder / "initrd", log)
    roots.run_logged(
        log, "mkfs.ext4", "-q", "-F", "-L", "luksmith-vm", "-d", str(tree), str(folder / "disk.img"), IMAGE_SIZE
    )


def ensure() -> Image:
    """The image, made when it is not there yet. Unavailable when that cannot be done here."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if not shutil.which(program, path=path)]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        raise Unavailable("only root can make a root file system")
    tree = roots.ensure(SUITE, PACKAGES)
    made_from = pathlib.Path(__file__).read_bytes()
    folder = CACHE / f"image-{_hash(tree.name, made_from, *(file.read_bytes() for file in sorted(GUEST.iterdir())))}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        roots.ensure_folder(folder, lambda begun, log: _make_image(tree, begun, log))
    return Image(
        tree, folder / "kernel", folder / "initrd", folder / "disk.img", folder / "key", folder / "known_hosts"
    )
