# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many simulated hosts (local connection, an image each): the playbooks finish, the report is right, and what that
costs the controller.

tests/scale/measure.py [HOSTS] [--plays audit rotate] prints a line for each play: wall clock, processor time of the
controller for each host without that of the modules (which run on the hosts in real life), its ratio to the same play
with ansible.builtin.ping, and the controller's peak memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
FORKS = 20
HOLE = 4096  # bytes; what is zero in the image takes no room in its copies

# The time of each module call goes to a file, as `times` of POSIX tells it.
INTERPRETER = '#!/bin/sh\n{python} "$@"\ncode=$?\ntimes >>{folder}/times\nexit $code\n'
PING = [{"hosts": "fleet", "gather_facts": False, "serial": ["1", "10%"], "tasks": [{"ansible.builtin.ping": {}}]}]


@dataclasses.dataclass(frozen=True)
class Cost:
    """wall: seconds. controller: processor seconds without the modules. memory: peak resident set of the largest
    process, MiB.
    """

    wall: float
    controller: float
    memory: float


def copy_with_holes(content: bytes, path: pathlib.Path) -> None:
    with path.open("wb") as file:
        for offset in range(0, len(content), HOLE):
            if content[offset : offset + HOLE].strip(b"\0"):
                file.seek(offset)
                file.write(content[offset : offset + HOLE])
        file.truncate(len(content))


def make(folder: pathlib.Path, hosts: int) -> None:
    image = gzip.decompress((ROOT / "tests" / "fixtures" / "luks1.img.gz").read_bytes())
    (folder / "images").mkdir()
    for number in range(hosts):
        copy_with_holes(image, folder / "images" / f"host-{number:05}.img")
    python = folder / "python"
    python.write_text(INTERPRETER.format(python=sys.executable, folder=folder))
    python.chmod(0o755)
    link = folder / "collections" / "ansible_collections" / "luksmith" / "luks"
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT)
    (folder / "vault-password").write_text("for a measurement\n")
    (folder / "ansible.cfg").write_text("[defaults]\n")
    (folder / "ping.json").write_text(json.dumps(PING))
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(python),
        "ansible_pipelining": True,
        "rotate_volumes": [{"device": f"{folder}/images/{{{{ inventory_hostname }}}}.img"}],
        "rotate_block_devices": False,
        "rotate_store_create": True,
        "rotate_vault_file": f"{folder}/secrets/{{{{ inventory_hostname }}}}.yml",
        "rotate_replaces": [{"label": "leaked", "passphrase": "winter-2025"}],
        "rotate_keeps": [{"label": "break-glass", "passphrase": "in-case-of-fire"}],
        "rotate_pbkdf": {"iterations": 1000},
        "rotate_generation": "one",
        "rotate_report": f"{folder}/report",
        "audit_volumes": [{"device": f"{folder}/images/{{{{ inventory_hostname }}}}.img"}],
        "audit_block_devices": False,
        "audit_policy": "legacy",
        "audit_secrets": [{"label": "break-glass", "passphrase": "in-case-of-fire"}],
        "audit_forbidden_secrets": [{"label": "leaked", "passphrase": "winter-2025"}],
        "audit_report_directory": f"{folder}/report",
    }
    names = {f"host-{number:05}": {} for number in range(hosts)}
    local = {
        "localhost": {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(python),
            "rotate_report": f"{folder}/report",
        }
    }
    inventory = {"all": {"children": {"fleet": {"hosts": names, "vars": variables}, "controller": {"hosts": local}}}}
    (folder / "inventory.json").write_text(json.dumps(inventory))


def module_seconds(folder: pathlib.Path) -> float:
    path = folder / "times"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in re.findall(r"(\d+)m([\d.]+)s", text))


def play(folder: pathlib.Path, name: str, *arguments: str) -> Cost:
    """Run one playbook; exits with its output if it fails."""
    # With PYTHONUNBUFFERED a pipelined module is read by one system call for each byte.
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_") and key != "PYTHONUNBUFFERED"
    }
    environment.update(
        ANSIBLE_CONFIG=str(folder / "ansible.cfg"),
        ANSIBLE_COLLECTIONS_PATH=str(folder / "collections"),
        ANSIBLE_HOME=str(folder / "ansible"),
        ANSIBLE_FORKS=str(FORKS),
        ANSIBLE_NOCOLOR="1",
        LC_ALL="C.UTF-8",
    )
    words = [str(BIN / "ansible-playbook"), "-i", str(folder / "inventory.json"), "--limit", "fleet,localhost"]
    words += ["--vault-password-file", str(folder / "vault-password"), *arguments]
    log = folder / f"{name}.log"
    output = [
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    begin = time.monotonic()
    process = os.posix_spawn(words[0], words, environment, file_actions=output)
    _process, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"{name} failed:\n{log.read_text()[-3000:]}")
    return Cost(
        time.monotonic() - begin, usage.ru_utime + usage.ru_stime - module_seconds(folder), usage.ru_maxrss / 1024
    )


def check_audit(folder: pathlib.Path, hosts: int) -> None:
    """Every host with its volume, and on each the secret that must not open it."""
    report = json.loads((folder / "report" / "luks-audit.json").read_text())
    found = [
        (
            host["host"],
            any("leaked" in finding["message"] for volume in host["volumes"] for finding in volume["findings"]),
        )
        for host in report["hosts"]
    ]
    assert sorted(found) == [(f"host-{number:05}", True) for number in range(hosts)], (
        f"the report has {len(found)} hosts: {found[:3]}"
    )
    page = (folder / "report" / "luks-audit.html").read_text()
    assert all(f"host-{number:05}" in page for number in range(hosts))


def check_report(folder: pathlib.Path, hosts: int, state: str) -> None:
    report = json.loads((folder / "report" / "rotation.json").read_text())
    states = [(host["host"], volume["state"]) for host in report["hosts"] for volume in host["volumes"]]
    expected = [(f"host-{number:05}", state) for number in range(hosts)]
    assert sorted(states) == expected, f"the report has {len(states)} volumes: {sorted({one for _host, one in states})}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", nargs="?", type=int, default=30)
    parser.add_argument("--plays", nargs="+", choices=("audit", "rotate"), default=["audit", "rotate"])
    arguments = parser.parse_args()
    hosts = arguments.hosts
    folder = pathlib.Path(tempfile.mkdtemp(prefix="luksmith-scale-"))
    try:
        make(folder, hosts)
        ping = play(folder, "ping", str(folder / "ping.json"))
        print(f"{hosts} hosts, {FORKS} forks")
        print(f"{'play':24} {'wall':>8} {'controller':>16} {'ratio':>7} {'memory':>9}")

        def show(name: str, cost: Cost) -> None:
            # Each as it comes, for with thousands of hosts the next one is hours away.
            each = 1000 * cost.controller / hosts
            print(
                f"{name:24} {cost.wall:6.0f} s {each:8.0f} ms/host {cost.controller / ping.controller:6.1f}x "
                f"{cost.memory:5.0f} MiB",
                flush=True,
            )

        show("ansible.builtin.ping", ping)
        if "audit" in arguments.plays:
            audited = play(folder, "audit", "-e", "audit_hosts=fleet", "luksmith.luks.audit")
            check_audit(folder, hosts)
            show("audit", audited)
        for name, state in (
            (("rotate, first", "done"), ("rotate, nothing due", "unchanged")) if "rotate" in arguments.plays else ()
        ):
            rotated = play(
                folder, name.replace(", ", "-").replace(" ", "-"), "-e", "rotate_hosts=fleet", "luksmith.luks.rotate"
            )
            check_report(folder, hosts, state)
            show(name, rotated)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
