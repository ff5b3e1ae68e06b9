# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's own store: store_command.py FILE read|write KEY. DIE says how its write number DIE_AT (from 0) fails."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys

file, operation, key = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
entries = json.loads(file.read_text()) if file.exists() else {}
held = entries.get(key, {"entry": None, "version": 0})
if operation == "read":
    if key in entries:
        print(json.dumps(held))
    sys.exit()

given = json.loads(sys.stdin.read())
assert (given["version"] or 0) == held["version"], "somebody else wrote"
counter = file.with_name("writes")
number = int(counter.read_text()) if counter.exists() else 0
counter.write_text(str(number + 1))
die = os.environ.get("DIE", "") if os.environ.get("DIE_AT") == str(number) else ""
if die == "fails before":
    sys.exit("the store is full")
if die == "killed before":
    os.kill(os.getpid(), signal.SIGKILL)
if die != "forgets":
    entries[key] = {"entry": given["entry"], "version": held["version"] + 1}
    # Durably: first what is in the new file, then its name.
    temporary = file.with_name("new")
    with temporary.open("w") as new:
        new.write(json.dumps(entries))
        new.flush()
        os.fsync(new.fileno())
    temporary.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
if die == "fails after":
    sys.exit("the line was cut")
if die == "killed after":
    os.kill(os.getpid(), signal.SIGKILL)
