# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task costs beside its derivations: against a ping, and part by part."""

from __future__ import annotations

import json
import pathlib
import resource
import subprocess
import sys
import typing as t

import limit
import playing
import scenarios as cast
from paths import ROOT, peer_environment
from volumes import loop_device, make, secret

_PARTS = """
import json, os, runpy, sys, time
best = lambda work, times=15: min(timed(work) for _ in range(times)) * 1000
def timed(work):
    start = time.perf_counter(); work(); return time.perf_counter() - start
import ansible.module_utils.basic
runpy.run_path(sys.argv[1])
start = time.perf_counter()
import ansible_collections.luksmith.luks.plugins.modules.keyslots as module
imported = (time.perf_counter() - start) * 1000
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import antiforensic, cipher, kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.memory import wipe
key = os.urandom(64)
material = antiforensic.split(key, 4000, "sha256")
area = key
start = time.perf_counter()
cipher.decrypt("aes-xts-plain64", area, material)
first = (time.perf_counter() - start) * 1000
def overwrite(path="wiped"):
    with open(path, "r+b") as file:
        file.write(os.urandom(258048)); file.flush(); os.fsync(file.fileno())
open("wiped", "wb").write(bytes(258048))
print(json.dumps({
    "importing the module and the engine, beside Ansible's own imports (ms)": imported,
    "first AES-XTS, with loading its library (ms)": first,
    "AES-XTS over an area of 250 KiB (ms)": best(lambda: cipher.decrypt("aes-xts-plain64", area, material)),
    "anti-forensic split of a 64-byte key (ms)": best(lambda: antiforensic.split(key, 4000, "sha256")),
    "anti-forensic merge of a 64-byte key (ms)": best(lambda: antiforensic.merge(material, 64, 4000, "sha256")),
    "wiping a buffer of 250 KiB in memory (ms)": best(lambda: wipe(material[:] and bytearray(256000))),
    "overwriting an area on the medium once, with fsync (ms)": best(overwrite),
}))
"""


# Tasks of each kind in a play that measures processor time.
TASKS = 10


def processor(folder: pathlib.Path) -> t.Dict[str, float]:
    """Seconds of processor time of one task, the module's process with it: of a ping, and of ours without a change.

    Each is a play with some tasks of a kind, less the same play without them.
    """
    volume = make("luks1", 1, {"iterations": 1000})
    ours = cast.task_of(cast.OURS, cast.Scenario("no change", "luks1", 1, (0,)), volume, str(volume.image), folder)
    kinds: t.Dict[str, cast.Task] = {"ping": {"ansible.builtin.ping": {}}, "task": ours or {}}
    first = [{"name": name, **task} for name, task in kinds.items()]
    alone = _spent(first, folder)
    return {
        name: (_spent([*first, *({"name": name, **task},) * TASKS], folder) - alone) / TASKS
        for name, task in kinds.items()
    }


def everyday(
    scenario: cast.Scenario, costs: t.Mapping[str, int], derivations: int, folder: pathlib.Path
) -> t.Dict[str, float]:
    """Contestant -> seconds of processor time of one task, Ansible and all processes of the module together.

    Other work on the machine lengthens that far less than what a clock shows. A rotation is done and undone. "floor" is
    the least that any module could need: a ping, and the ``derivations`` by the fastest library.
    """
    volume = make(scenario.format, scenario.slots, costs)
    found = {}
    with loop_device(volume.image.stat().st_size, folder) as device:
        for contestant in (cast.OURS, cast.PEER):
            task = cast.task_of(contestant, scenario, volume, device, folder)
            assert task is not None
            tasks = [task, _undone(task) if scenario.wish == "rotate" else task]
            alone = _spent([*playing.FIRST, playing.restore(volume, device, contestant)], folder)
            both = _spent([*playing.FIRST, playing.restore(volume, device, contestant), *_named(tasks)], folder)
            found[contestant] = (both - alone) / len(tasks)
    ping: cast.Task = {"ansible.builtin.ping": {}}
    pings = _spent([*playing.FIRST, *_named([ping] * (TASKS + 1))], folder) - _spent([*playing.FIRST, ping], folder)
    found["floor"] = pings / TASKS + limit.processor(costs, derivations, [volume.digest])
    return found


def _undone(task: cast.Task) -> cast.Task:
    """The same task with the old and the new secret in each other's place."""
    old, new, text = json.dumps(secret(0)), json.dumps(cast.NEW), json.dumps(task)
    swapped: cast.Task = json.loads(text.replace(old, "\0").replace(new, old).replace("\0", new))
    return swapped


def _named(tasks: t.Sequence[cast.Task]) -> t.List[cast.Task]:
    return [{"name": f"task {number}", **task} for number, task in enumerate(tasks)]


def _spent(tasks: t.Sequence[cast.Task], folder: pathlib.Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    playing.play(tasks, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: pathlib.Path) -> t.Dict[str, t.Any]:
    scenario = cast.Scenario("no change", "luks1", 1, (0,))
    volume = make("luks1", 1, {"iterations": 1000})
    lines = playing.once([scenario] * 5, {("luks1", 1): volume}, folder, 0, contestants=(cast.OURS,))
    fastest = {
        name: sorted(line["seconds"] for line in lines if line["contestant"] == name)[2] for name in (cast.OURS, "ping")
    }
    python = peer_environment() / "bin" / "python"
    done = subprocess.run(
        [python, "-c", _PARTS, ROOT / "tests/tools/register.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    parts = json.loads(done.stdout)
    parts["payload (KiB)"] = payload(python)
    parts["processes of the module"] = processes(python, volume.image, folder)
    return {"task": fastest[cast.OURS], "ping": fastest["ping"], "processor": processor(folder), "parts": parts}


def payload(python: pathlib.Path) -> float:
    """KiB of what Ansible sends for the module (AnsiballZ, base64 and all)."""
    code = """
import sys, runpy
sys.path_importer_cache.clear()
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
_AnsibleCollectionFinder([sys.argv[1]])._install()
from ansible.executor.module_common import modify_module
from ansible.plugins.loader import init_plugin_loader
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
import ansible_collections.luksmith.luks.plugins.modules.keyslots as module
built = modify_module(
    module_name="luksmith.luks.keyslots",
    module_path=module.__file__,
    module_args={},
    templar=Templar(DataLoader()),
    task_vars={"ansible_python_interpreter": sys.executable},
    module_compression="ZIP_DEFLATED",
)
print(len(built.b_module_data))
"""
    done = subprocess.run(
        [python, "-c", code, ROOT / ".cache" / "collections"], capture_output=True, text=True, check=False
    )
    return round(int(done.stdout) / 1024, 1) if done.returncode == 0 else float("nan")


def processes(python: pathlib.Path, image: pathlib.Path, folder: pathlib.Path) -> int:
    """How many processes were begun while the module ran, its own one counted in: execve seen by strace."""
    code = f"""
import runpy, sys, json
runpy.run_path({str(ROOT / "tests/tools/register.py")!r})
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
entry = {{"keyslot": 0, "new_secret": {{"passphrase": "the secret of keyslot 0"}}}}
amend(parse_task({{"device": {str(image)!r}, "keyslots": [entry]}}), check=False)
"""
    trace = folder / "trace"
    subprocess.run(
        ["strace", "-f", "-o", trace, "-e", "trace=execve,fork,vfork", python, "-c", code],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return sum("execve(" in line and " = 0" in line for line in trace.read_text().splitlines())
