# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One play that gives every contestant every task in turn, and what came out of it."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import subprocess
import typing as t

import scenarios as cast
from paths import ROOT, counting_library, peer_environment, usual_environment
from volumes import COUNTED, Volume, loop_device

Line = t.Dict[str, t.Any]


# Each module once, which fails: Ansible builds what it sends of a module once in a play.
FIRST: t.Sequence[t.Dict[str, t.Any]] = (
    {
        "name": "restore",
        "luksmith.luks.keyslots": {"device": "/nowhere", "keyslots": [{"keyslot": 0, "state": "absent"}]},
        "ignore_errors": True,
    },
    {
        "name": "restore",
        "community.crypto.luks_device": {"device": "/nowhere", "state": "closed", "name": "nothing"},
        "ignore_errors": True,
    },
)


class Failed(Exception):
    """A play that stopped; the text says where."""


def play(tasks: t.Sequence[cast.Task], folder: pathlib.Path) -> t.List[Line]:
    """Run ``tasks`` on this machine, pipelined, as one play; one line for each."""
    book, lines = folder / "play.json", folder / "lines.jsonl"
    lines.unlink(missing_ok=True)
    book.write_text(
        json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}])
    )
    collections_path = ROOT / ".cache" / "collections"
    link = collections_path / "ansible_collections" / "luksmith" / "luks"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT)
    environment = peer_environment()
    inside = {
        **usual_environment(),
        "PATH": f"{environment}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
        "ANSIBLE_CALLBACK_PLUGINS": str(pathlib.Path(__file__).parent / "callbacks"),
        "ANSIBLE_STDOUT_CALLBACK": "stopwatch",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_PYTHON_INTERPRETER": str(environment / "bin" / "python"),
        "LUKSMITH_STOPWATCH": str(lines),
    }
    command = [environment / "bin" / "ansible-playbook", "-i", "localhost,", book]
    done = subprocess.run(command, env=inside, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    if done.returncode:
        raise Failed(f"{found[-1] if found else ''} {done.stderr}")
    return found


def restore(volume: Volume, device: str, contestant: str) -> cast.Task:
    image = volume.recorded if contestant == cast.RECORD else volume.image
    return {"name": "restore", "ansible.builtin.command": f"dd if={image} of={device} bs=1M conv=fsync status=none"}


def once(
    wanted: t.Sequence[cast.Scenario],
    volumes: t.Mapping[t.Tuple[str, int], Volume],
    folder: pathlib.Path,
    turn: int,
    *,
    contestants: t.Sequence[str],
) -> t.List[Line]:
    """Each scenario by each contestant, who take turns in beginning; a ping before each task measures what Ansible
    costs.

    A first task of each module comes before anything is timed.
    """
    tasks = list(FIRST)
    with loop_device(max(volume.image.stat().st_size for volume in volumes.values()), folder) as device:
        for scenario in wanted:
            volume = volumes[scenario.format, scenario.slots]
            for offset in range(len(contestants)):
                contestant = contestants[(turn + offset) % len(contestants)]
                task = cast.task_of(contestant, scenario, volume, device, folder)
                if task is not None:
                    name = json.dumps([scenario.name, contestant])
                    tasks += [
                        restore(volume, device, contestant),
                        {"name": json.dumps([scenario.name, "ping"]), "ansible.builtin.ping": {}},
                        {"name": name, **task},
                    ]
                    if contestant == cast.QEMU:
                        look = f"cryptsetup luksDump {device} >{folder}/dump"
                        tasks.append(
                            {"name": json.dumps([scenario.name, "made by QEMU"]), "ansible.builtin.shell": look}
                        )
        lines = [line for line in play(tasks, folder) if line["task"] != "restore"]
    results = []
    for line in lines:
        scenario_name, contestant = json.loads(line.pop("task"))
        results.append({"scenario": scenario_name, "contestant": contestant, "turn": turn, **line})
    return results


def count(
    wanted: t.Sequence[cast.Scenario], volumes: t.Mapping[t.Tuple[str, int], Volume], folder: pathlib.Path
) -> t.List[Line]:
    """Derivations by kind, for each scenario and contestant: of the keyslots (told by their costs), and all others
    (digests, benchmarks).
    """
    tasks: t.List[cast.Task] = []
    runs: t.Dict[str, t.Tuple[cast.Scenario, str]] = {}
    with loop_device(max(volume.image.stat().st_size for volume in volumes.values()), folder) as device:
        for scenario in wanted:
            volume = volumes[scenario.format, scenario.slots]
            for contestant in cast.CONTESTANTS:
                task = cast.task_of(contestant, scenario, volume, device, folder)
                if task is None:
                    continue
                name = f"count-{len(runs)}"
                runs[name] = (scenario, contestant)
                inside = {"LD_PRELOAD": str(counting_library()), "LUKSMITH_COUNT_FILE": str(folder / name)}
                tasks += [restore(volume, device, contestant), {"name": name, "environment": inside, **task}]
                if contestant == cast.QEMU:
                    tasks.append(
                        {
                            "name": "restore",
                            "ansible.builtin.shell": f"cryptsetup luksDump {device} >{folder / name}.dump",
                        }
                    )
        lines = {line["task"]: line for line in play(tasks, folder)}
    results = []
    for name, (scenario, contestant) in runs.items():
        notes, costs = folder / name, COUNTED[scenario.format]
        seen = collections.Counter(notes.read_text().splitlines() if notes.exists() else [])
        keyslots = (
            {f"pbkdf2 {costs['iterations']}"}
            if scenario.format == "luks1"
            else {f"argon2 {costs['time']} {costs['memory']}"}
        )
        if contestant == cast.QEMU:
            keyslots |= {
                f"pbkdf2 {iterations}"
                for iterations in re.findall(r"Iterations:\s+(\d+)", notes.with_suffix(".dump").read_text())
            }
        kdfs = sum(times for kind, times in seen.items() if kind in keyslots)
        told = lines[name].get("kdf_evaluations")
        results.append(
            {
                "scenario": scenario.name,
                "contestant": contestant,
                "keyslots": kdfs,
                "others": sum(seen.values()) - kdfs,
                "told": told,
            }
        )
    return results
