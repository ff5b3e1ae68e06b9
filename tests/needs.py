# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test may need of the machine: how to find out whether it is there, and the one command that brings it.

A test says ``@pytest.mark.needs("cryptsetup", "root")``; tests/conftest.py skips it where something is missing.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import typing as t

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/libexec"

# Programs, each with the package of Debian that has it.
PACKAGES: t.Mapping[str, str] = {
    "blockdev": "util-linux",
    "ceph": "ceph-common",
    "ceph-mon": "ceph-mon",
    "chromium": "chromium",
    "clevis": "clevis",
    "cryptsetup": "cryptsetup-bin",
    "debootstrap": "debootstrap",
    "gcc": "gcc libc6-dev",
    "losetup": "mount",
    "luksmeta": "luksmeta",
    "mke2fs": "e2fsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext2": "e2fsprogs",
    "mkfs.ext3": "e2fsprogs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mkfs.xfs": "xfsprogs",
    "mkswap": "util-linux",
    "openssl": "openssl",
    "oscap": "openscap-scanner",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-system-x86_64": "qemu-system-x86",
    "sfdisk": "fdisk",
    "socat": "socat",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "stress-ng": "stress-ng",
    "strace": "strace",
    "swtpm": "swtpm",
    "systemd-cryptenroll": "systemd",
    "tangd": "tang",
}
# Since this release of Debian another package has the program.
_MOVED: t.Mapping[str, t.Tuple[int, str]] = {
    "qemu-storage-daemon": (13, "qemu-utils"),
    "systemd-cryptenroll": (13, "systemd-cryptsetup"),
}
# Programs that do as well as the one that is asked for, in this order.
_AS_GOOD: t.Mapping[str, t.Tuple[str, ...]] = {"chromium": ("chromium-browser", "google-chrome")}


class Need(t.NamedTuple):
    """``what`` is not here; ``remedy`` is the command that brings it."""

    what: str
    remedy: str

    @property
    def told(self) -> str:
        return f"needs {self.what}" if self.remedy else self.what

    def __str__(self) -> str:
        return f"needs {self.what}: {self.remedy}"


def sentence(needs: t.Iterable[Need]) -> str:
    """Why a test is skipped, so that ``told_by`` can read it."""
    return "; ".join(map(str, needs))


def told_by(text: str) -> t.List[Need]:
    """The needs in the sentence that a test was skipped with.

    A sentence of another form is the whole story, and has no remedy.
    """
    found = [re.fullmatch(r"needs (.+?): (.+)", part, re.DOTALL) for part in re.split(r"; (?=needs )", text)]
    return [Need(match[1], match[2]) for match in found if match] if all(found) else [Need(text, "")]


@functools.lru_cache(maxsize=None)
def missing(name: str) -> t.Optional[Need]:
    """What is missing for the need ``name``, None if nothing is.

    Raises LookupError for a need that is not in a table.
    """
    if name in PACKAGES:
        return None if program(name) else Need(name, f"apt install {package(name)}")
    return _SPECIAL[name]()


def program(name: str) -> t.Optional[str]:
    """The path of a program of PACKAGES, or of one that does as well; None where there is none."""
    found = (shutil.which(one, path=SEARCH_PATH) for one in (name, *_AS_GOOD.get(name, ())))
    return next(filter(None, found), None)


def package(name: str) -> str:
    """The package that has a program of PACKAGES in this release of Debian."""
    since, moved = _MOVED.get(name, (0, ""))
    return moved if moved and _debian() >= since else PACKAGES[name]


def _debian() -> int:
    """The number of this release of Debian; 0 for other systems and for testing."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return 0
    number = release.get("VERSION_ID", "")
    return int(number) if release["ID"] == "debian" and number.isdigit() else 0


def _root() -> t.Optional[Need]:
    return None if os.geteuid() == 0 else Need("root", "run the same command as root")


def _loop() -> t.Optional[Need]:
    if os.geteuid() != 0:
        return Need("a loop device", "run the same command as root")
    there = pathlib.Path("/dev/loop-control").exists() and shutil.which("losetup", path=SEARCH_PATH)
    return None if there else Need("a loop device", "a kernel with loop devices, and apt install mount")


def _immutable() -> t.Optional[Need]:
    """Files that not even root may write to."""
    if os.geteuid() != 0:
        return Need("immutable files", "run the same command as root")
    if not shutil.which("chattr", path=SEARCH_PATH):
        return Need("immutable files", "apt install e2fsprogs")
    with tempfile.NamedTemporaryFile() as file:
        able = subprocess.run(["chattr", "+i", file.name], capture_output=True, check=False).returncode == 0
        subprocess.run(["chattr", "-i", file.name], capture_output=True, check=False)
    return None if able else Need("immutable files", "set TMPDIR to a folder on ext4, XFS or btrfs")


def _playbook() -> t.Optional[Need]:
    program = pathlib.Path(sys.executable).parent / "ansible-playbook"
    return None if program.exists() else Need("ansible-playbook beside this Python", "tests/run, which installs it")


def _core_dumps() -> t.Optional[Need]:
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        return Need(
            f"core dumps in the folder of the process (core_pattern is {pattern!r})",
            "as root: sysctl kernel.core_pattern=core",
        )
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        return Need("core dumps, which a limit forbids", "run the same command in a session without that limit")
    return None


def _corpus() -> t.Optional[Need]:
    folder = os.environ.get("LUKSMITH_CORPUS") or str(pathlib.Path(__file__).resolve().parents[2] / "shared" / "corpus")
    return (
        None
        if pathlib.Path(folder, "manifest.tsv").exists()
        else Need("the corpus of headers", "set LUKSMITH_CORPUS to its folder")
    )


def _tpm2() -> t.Optional[Need]:
    """What systemd loads to reach a TPM, and the part of it that reaches swtpm."""
    try:
        for part in ("esys", "mu", "rc", "tcti-swtpm"):
            ctypes.CDLL(f"libtss2-{part}.so.0")
    except OSError:
        esys = "libtss2-esys-3.0.2-0" + ("t64" if _debian() >= 13 else "")
        tcti = "libtss2-tcti-swtpm0" + ("t64" if _debian() >= 13 else "")
        rc = "libtss2-rc0" + ("t64" if _debian() >= 13 else "")
        return Need("the libraries of a TPM 2.0", f"apt install {esys} {rc} {tcti}")
    return None


_SPECIAL: t.Mapping[str, t.Callable[[], t.Optional[Need]]] = {
    "TPM2 libraries": _tpm2,
    "ansible-playbook": _playbook,
    "core dumps": _core_dumps,
    "corpus": _corpus,
    "immutable files": _immutable,
    "loop": _loop,
    "root": _root,
}
