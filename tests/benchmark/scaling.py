# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time against keyslots, secrets, volumes and cores, by the engine alone (no Ansible), each run in a process of its
own.
"""

from __future__ import annotations

import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys
import time
import typing as t

import limit
from paths import ROOT
from volumes import NEW, Volume, secret

Point = t.Dict[str, t.Any]


def points(volumes: t.Mapping[int, Volume], cores: int) -> t.List[Point]:
    """``volumes``: the LUKS1 ones by their number of keyslots.

    Each point: which curve, where on it, and what is run.
    """
    most = max(volumes)
    found: t.List[Point] = []

    def add(curve: str, what: str, x: int, slots: int, wanted: t.Sequence[int], **more: t.Any) -> None:
        found.append(
            {"curve": curve, "what": what, "x": x, "slots": slots, "wanted": list(wanted), "named": True, **more}
        )

    for slots in volumes:
        add("slots", "no change, the last keyslot, named", slots, slots, [slots - 1])
        add("slots", "no change, the last keyslot, not named", slots, slots, [slots - 1], named=False)
    for secrets in range(1, most + 1):
        add("secrets", "no change, every keyslot named", secrets, most, range(secrets))
    for several in (1, 2, 4, 8, 16, 24):
        add("volumes", "rotate", several, 1, [0], rotate=True, volumes=several)
    for core in range(1, cores + 1):
        add("cores", "no change, every keyslot named", core, most, range(most), cores=core)
        add("cores", "rotate, 8 volumes", core, 1, [0], rotate=True, volumes=8, cores=core)
    return found


def measure(point: Point, volumes: t.Mapping[int, Volume], folder: pathlib.Path) -> Point:
    """Seconds of the whole process and of the engine in it, derivations, and the bare derivations on the same cores."""
    volume = volumes[point["slots"]]
    paths = [folder / f"scaling-{number}" for number in range(point.get("volumes", 1))]
    for path in paths:
        shutil.copy(volume.image, path)
    entries: t.List[t.Dict[str, t.Any]] = []
    for position in point["wanted"]:
        where = {"keyslot": position} if point["named"] else {}
        if point.get("rotate"):
            secrets = {
                "old_secret": {"passphrase": secret(position)},
                "new_secret": {"passphrase": NEW},
                "pbkdf": volume.pbkdf,
            }
        else:
            secrets = {"new_secret": {"passphrase": secret(position)}}
        entries.append({**where, **secrets})
    order = {
        "devices": [str(path) for path in paths],
        "keyslots": entries,
        "costs": volume.costs,
        "digest": volume.digest,
        "cores": point.get("cores"),
    }
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(order), capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    for path in paths:
        path.unlink()
    if done.returncode:
        raise SystemExit(done.stderr)
    return {**point, "process": seconds, **json.loads(done.stdout)}


def main() -> None:
    order = json.load(sys.stdin)
    if order["cores"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: order["cores"]])
    runpy.run_path(str(ROOT / "tests" / "tools" / "register.py"))
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend

    task = parse_task({"devices": order["devices"], "keyslots": order["keyslots"]})
    started = time.monotonic()
    result = amend(task, check=False)
    seconds = time.monotonic() - started
    if result.get("failed"):
        raise SystemExit(result["msg"])
    bare = limit.bare(order["costs"], result["kdf_evaluations"], [order["digest"]] * len(order["devices"]))
    print(json.dumps({"seconds": seconds, "kdf_evaluations": result["kdf_evaluations"], "bare": bare}))


if __name__ == "__main__":
    main()
