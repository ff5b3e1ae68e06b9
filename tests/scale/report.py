# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a large fleet, of which 1 % are clones: wall clock, processor time, peak memory, size of its files.

tests/scale/report.py [HOSTS] [--keep FOLDER] prints a line for each set of files, which a process of its own writes.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETS = {
    "nothing but the data": (),
    "HTML, JSON, CSV, JUnit XML (the default)": ("html", "json", "csv", "junit"),
    "SARIF": ("sarif",),
    "OSCAL": ("oscal",),
    "XCCDF": ("xccdf",),
    "ARF": ("arf",),
    "all of them": ("html", "json", "csv", "junit", "sarif", "oscal", "xccdf", "arf"),
}


def fleet(count: int) -> t.List[t.Dict[str, t.Any]]:
    from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets, test_xccdf

    evidence = test_xccdf.evidence()

    def volume(number: int, key: int) -> t.Dict[str, t.Any]:
        return fleets.volume(0, uuid=f"uuid-{number:05}", key_digest=f"{key:064}", evidence=evidence)

    hosts = [{"host": f"h{number:05}", "volumes": [volume(number, number)]} for number in range(count)]
    for number in range(count // 100):
        other = count - count // 100 + number
        hosts[number]["volumes"] = [volume(other if number % 2 else number, other)]
    return hosts


def write(forms: t.Sequence[str], count: int, folder: pathlib.Path) -> t.Dict[str, t.Any]:
    from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, writing

    hosts = json.loads(json.dumps(fleet(count)))  # as Ansible has them: each host with strings of its own
    begin, before = time.monotonic(), time.process_time()
    if forms:
        options = {**dict.fromkeys(writing.FORMS), **{form: str(folder / form) for form in forms}}
        about = {"kind": "audit", "title": "", "generated": "2026-11-29 10:00 UTC", "sources": [], "hosts": hosts}
        writing.write({**options, **about}, mode=lambda _old: 0o600, check=False)
    else:
        data.build(hosts)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall": time.monotonic() - begin,
        "processor": used.ru_utime + used.ru_stime - before,
        "memory": used.ru_maxrss / 1024,
        "size": sum(os.path.getsize(folder / form) for form in forms) / (1 << 20),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", nargs="?", type=int, default=10000)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the files, which are removed otherwise")
    parser.add_argument("--only", choices=SETS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = options.keep or pathlib.Path(own)
        if options.only is not None:
            print(json.dumps(write(SETS[options.only], options.hosts, folder)))
            return
        print("| files | wall clock | processor | peak memory | size |\n|---|---|---|---|---|")
        for name in SETS:
            command = [sys.executable, __file__, str(options.hosts), "--only", name]
            done = subprocess.run(
                [*command, "--keep", str(folder)], stdout=subprocess.PIPE, check=True, env={**os.environ}
            )
            cost = json.loads(done.stdout)
            told = (
                f"{cost['wall']:.1f} s | {cost['processor']:.1f} s | {cost['memory']:.0f} MiB | {cost['size']:.0f} MiB"
            )
            print(f"| {name} | {told} |", flush=True)


if __name__ == "__main__":
    main()
