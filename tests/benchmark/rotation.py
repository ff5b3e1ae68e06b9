# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation and an audit cost for each host, as pings: processor time of the controller and of all modules.

The hosts are local, each with a small volume and a vault file of its own; their keyslots cost nearly nothing to derive,
neither those that are there nor those that are added, so that the rest is what is measured. A play without a task is
subtracted from each. One ping is an ansible.builtin.ping on all hosts, measured in the same way right before and right
after each play, since another load on the machine changes what processor time buys. Needs no root.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import typing as t

from paths import RESULTS, ROOT, peer_environment, usual_environment

LEAKED, BREAK_GLASS = "winter-2025", "in-case-of-fire"


class Fleet:
    def __init__(self, folder: pathlib.Path, hosts: int) -> None:
        self.folder, self.hosts = folder, hosts
        here = pathlib.Path(sys.executable).parent
        self.bin = here if (here / "ansible-playbook").exists() else peer_environment() / "bin"
        image = gzip.decompress((ROOT / "tests" / "fixtures" / "luks2.img.gz").read_bytes())
        (folder / "store").mkdir(mode=0o700)
        names = [f"host-{number}" for number in range(hosts)]
        for name in names:
            (folder / f"{name}.img").write_bytes(image)
        link = folder / "collections" / "ansible_collections" / "luksmith" / "luks"
        link.parent.mkdir(parents=True)
        link.symlink_to(ROOT)
        (folder / "password").write_text("a password\n")
        device = [{"device": f"{folder}/{{{{ inventory_hostname }}}}.img"}]
        usual = {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(self.bin / "python"),
            "ansible_pipelining": True,
            "rotate_serial": "100%",
            "rotate_volumes": device,
            "rotate_block_devices": False,
            "rotate_crypttab": f"{folder}/crypttab",
            "rotate_vault_file": f"{folder}/store/{{{{ inventory_hostname }}}}.yml",
            "rotate_replaces": [{"label": "leaked", "passphrase": LEAKED}],
            "rotate_keeps": [{"label": "break-glass", "passphrase": BREAK_GLASS}],
            "rotate_generation": "one",
            "rotate_pbkdf": {"type": "pbkdf2", "iterations": 1000},
            "audit_volumes": device,
            "audit_block_devices": False,
            "audit_crypttab": f"{folder}/crypttab",
        }
        inventory = {"all": {"hosts": {name: {} for name in names}, "vars": usual}}
        (folder / "hosts.json").write_text(json.dumps(inventory))
        for name, tasks in (("nothing", []), ("ping", [{"ansible.builtin.ping": {}}])):
            play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
            (folder / f"{name}.yml").write_text(json.dumps([play]))

    def seconds(self, playbook: str) -> float:
        """Processor time of a play, with everything that it began."""
        inside = {
            **{name: value for name, value in usual_environment().items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "LC_ALL": "C.UTF-8",
        }
        words = [self.bin / "ansible-playbook", "-i", self.folder / "hosts.json"]
        words += ["--vault-password-file", self.folder / "password", playbook]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            words, cwd=self.folder, env=inside, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(hosts: int) -> t.Dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="luksmith-benchmark-") as temporary:
        fleet = Fleet(pathlib.Path(temporary), hosts)
        nothing = fleet.seconds("nothing.yml")
        # In this order: the first rotation of a volume, then at rest.
        plays = {
            "first rotation": "luksmith.luks.rotate",
            "at rest": "luksmith.luks.rotate",
            "audit": "luksmith.luks.audit",
        }
        found: t.Dict[str, float] = {}
        pings = [fleet.seconds("ping.yml") - nothing]
        for name, playbook in plays.items():
            spent = fleet.seconds(playbook) - nothing
            pings.append(fleet.seconds("ping.yml") - nothing)
            found[name] = spent / statistics.mean(pings[-2:])
            before, after = (f"{seconds / hosts:.3f}" for seconds in pings[-2:])
            print(f"{name}: {found[name]:.2f}; a ping took {before} s before and {after} s after", flush=True)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=12)
    hosts = parser.parse_args().hosts
    pings = measure(hosts)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as results:
        results.write(json.dumps({"kind": "rotation", "hosts": hosts, "pings": pings}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
