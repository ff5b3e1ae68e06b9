# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role rotate and dracut, which builds the initramfs of the Red Hat family: is a keyfile in it, and does it
follow?
"""

from __future__ import annotations

import pathlib
import subprocess

import pytest
from ansible_collections.luksmith.luks.plugins.action import rotate_host
from ansible_collections.luksmith.luks.tests.hosts import roots
from ansible_collections.luksmith.luks.tests.hosts.machine import Host, Payloads
from ansible_collections.luksmith.luks.tests.hosts.provided import provided
from ansible_collections.luksmith.luks.tests.hosts.stock import STOCK

pytestmark = [pytest.mark.full, pytest.mark.needs("debootstrap", "root")]

# Debian packages what builds the initramfs of the Red Hat family, and a folder of modules is all of a kernel that it
# asks for.
DRACUT = ("dracut-core", "kmod")
KERNEL = "6.0.0-luksmith"
# The arguments: the question and the command of the action rotate_host.
SCRIPT = r"""
set -e
ask() { sh -c "$question" sh data "$1" | sed "s|^|$2: |"; }
question=$1 command=$2
printf old >/mnt/data.key
printf other >/mnt/other.key
sh -c "$command" >&2
ask /mnt/data.key data
ask /mnt/other.key other
printf new >/mnt/data.key
lsinitrd -f mnt/data.key /boot/init* | sed 's|^|before: |'
echo
sh -c "$command" >&2
lsinitrd -f mnt/data.key /boot/init* | sed 's|^|after: |'
"""


def make_root() -> pathlib.Path:
    """Only this test asks for a root of these packages, so that it may add to it."""
    root = roots.ensure(roots.SUITES[0], STOCK, DRACUT)
    modules = root / "lib" / "modules" / KERNEL
    modules.mkdir(parents=True, exist_ok=True)
    subprocess.run(["chroot", str(root), "depmod", KERNEL], check=True)
    return root


@pytest.fixture
def with_dracut(tmp_path: pathlib.Path, payloads: Payloads) -> Host:
    return Host("dracut", provided(make_root), tmp_path, payloads)


def test_the_initramfs_follows_a_keyfile_that_is_in_it(with_dracut: Host) -> None:
    """It takes longer than 5 seconds because dracut builds two initramfs images, and lsinitrd unpacks them four
    times.
    """
    own = with_dracut.volumes / "keys.conf"
    own.write_text('install_items+=" /mnt/data.key "\nhostonly="no"\n', encoding="ascii")
    place = "etc/dracut.conf.d"
    script = f"cp /mnt/keys.conf /{place}/\n{SCRIPT}"
    done = with_dracut.run(
        "sh",
        "-c",
        script,
        "sh",
        rotate_host._QUESTION,
        rotate_host._BUILD,
        hide=["boot", "var/tmp", place],
    )
    said = [line for line in done.stdout.decode().splitlines() if line]
    assert done.returncode == 0, done.stderr.decode()
    assert said == ["data: holds it", "before: old", "after: new"], (said, done.stderr.decode())
