# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a token yields is in nothing that a run writes or passes on.

The run is a process of its own under strace. Pipes to and from clevis carry the secret, so that of the processes that
it starts only the words of their command lines are searched.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume
from ansible_collections.luksmith.luks.tests.secrets import canary

ROOT = pathlib.Path(__file__).resolve().parents[2]
MACHINE = "kept-by-the-machine-4mW8qZr2Lx7Tn"
PARTS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
RUN = """
import json, runpy, sys
runpy.run_path(sys.argv[1])
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
task = parse_task(json.loads(sys.argv[2]))
print(json.dumps(amend(task, check=False)))
task.wipe_secrets()
"""


@pytest.mark.needs("clevis", "cryptsetup", "strace")
def test_what_a_token_yields_is_written_nowhere(tmp_path: pathlib.Path) -> None:
    """It takes seconds: clevis is several programs, each under strace."""
    volume = Luks2Volume(tmp_path / "volume").like()
    volume.add(1, MACHINE)
    sealing = ["clevis", "encrypt", "null", "{}", "-y"]
    jwe = subprocess.run(sealing, input=MACHINE, text=True, check=True, capture_output=True).stdout
    volume.import_token(0, {"type": "clevis", "keyslots": ["1"], "jwe": dict(zip(PARTS, jwe.strip().split(".")))})
    traces, scratch = tmp_path / "traces", tmp_path / "scratch"
    traces.mkdir()
    scratch.mkdir()
    new = {"label": "break-glass", "passphrase": "break-glass"}
    task = {
        "device": str(volume.path),
        "unlock": [{"label": "machine", "token": "clevis"}],
        "keyslots": [
            {"new_secret": new, "pbkdf": {"type": "pbkdf2", "iterations": 1000}},
            {"binding": {"type": "clevis", "pin": "null", "label": "bound"}},
        ],
    }
    calls = "trace=write,pwrite64,writev,pwritev,sendto,sendmsg,execve"
    strace = ["strace", "-ff", "-qq", "-s", "1000000", "-e", calls, "-o", str(traces / "of")]
    register = str(ROOT / "tests" / "tools" / "register.py")
    command = [*strace, sys.executable, "-c", RUN, register, json.dumps(task)]
    done = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "TMPDIR": str(scratch)})
    result = json.loads(done.stdout)
    assert [row["action"] for row in result["plan"]] == ["add"] and result["tokens_asked"]
    search = canary.Search([canary.key("yielded by the token", MACHINE.encode())])
    assert search(json.dumps({"x": MACHINE})), "the search finds nothing"
    for place in (volume.path, *scratch.rglob("*")):
        assert not search(place.read_bytes()) if place.is_file() else True, place
    assert not search(done.stdout) and not search(done.stderr)
    own = commands = 0
    for trace in sorted(traces.iterdir()):
        text = trace.read_text(errors="replace")
        started = re.findall(r"^execve\(.*$", text, re.MULTILINE)
        commands += len(started)
        assert not [line for line in started if search(line)], "a command line has the secret"
        if all(sys.executable in line for line in started):
            own += 1
            assert not search(text), f"{trace.name}: the run itself wrote it"
    assert own and commands > 2
