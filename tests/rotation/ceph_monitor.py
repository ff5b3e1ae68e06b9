# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real monitor of Ceph, alone on 127.0.0.1, with an OSD that has an encrypted volume and no process."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import subprocess
import typing as t
import uuid

PATIENCE = "60"  # seconds that ceph waits for the monitor


class Monitor:
    """folder: for its data, its configuration and its keyrings."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.fsid = str(uuid.uuid4())

    def words(self, name: str = "client.admin") -> t.List[str]:
        """The program ceph as somebody who has a keyring."""
        keyring = self.folder / f"{name}.keyring"
        usual = ["ceph", "--conf", str(self.folder / "ceph.conf"), "--connect-timeout", PATIENCE]
        return [*usual, "--name", name, "--keyring", str(keyring)]

    def ask(self, *words: str, stdin: str = "", name: str = "client.admin") -> str:
        return subprocess.run(
            [*self.words(name), *words], input=stdin, capture_output=True, check=True, text=True
        ).stdout

    def allow(self, name: str, capabilities: str) -> None:
        keyring = self.ask("auth", "get-or-create", name, "mon", capabilities)
        (self.folder / f"{name}.keyring").write_text(keyring)

    def new_osd(self, passphrase: str) -> str:
        """The FSID of an OSD, as ceph-volume makes it for encrypted volumes."""
        fsid = str(uuid.uuid4())
        given = {"dmcrypt_key": passphrase, **{f"cephx{name}_secret": _key() for name in ("", "_lockbox")}}
        self.ask("osd", "new", fsid, "-i", "-", stdin=json.dumps(given))
        return fsid

    def given_to(self, osd: str) -> str:
        return self.ask("config-key", "get", f"dm-crypt/osd/{osd}/luks").strip()


def _key() -> str:
    made = subprocess.run(["ceph-authtool", "--gen-print-key"], capture_output=True, check=True, text=True)
    return made.stdout.strip()


@contextlib.contextmanager
def monitor(folder: pathlib.Path) -> t.Iterator[Monitor]:
    one = Monitor(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, keys, conf = folder / "data", folder / "mon.keyring", folder / "ceph.conf"
    data.mkdir()
    conf.write_text(
        f"[global]\nfsid = {one.fsid}\nmon_host = v1:127.0.0.1:{port}\nms_bind_msgr2 = false\nlog_to_stderr = true\n"
        f"auth_allow_insecure_global_id_reclaim = false\nmon_data_avail_crit = 0\nrun_dir = {folder}\n"
        f"admin_socket = {folder}/$name.asok\nmon_data = {data}\nmon_cluster_log_to_file = false\nlog_file =\n"
        f"crash_dir = {folder}\n"
    )
    admin = folder / "client.admin.keyring"

    def run(*words: t.Any) -> None:
        subprocess.run([str(word) for word in words], check=True, capture_output=True)

    run("ceph-authtool", "--create-keyring", keys, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    run("ceph-authtool", "--create-keyring", admin, "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *")
    run("ceph-authtool", keys, "--import-keyring", admin)
    run("monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{port}]", "--fsid", one.fsid, folder / "monmap")
    run("ceph-mon", "--conf", conf, "--mkfs", "-i", "a", "--monmap", folder / "monmap", "--keyring", keys)
    process = subprocess.Popen(
        ["ceph-mon", "--conf", str(conf), "-f", "-i", "a"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield one
    finally:
        process.kill()
        process.wait()
