# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interpreter of a host that lies: it runs the module and edits its result. lying_host.py LIES PYTHON ARGUMENT...

LIES: a JSON file with what every result is updated with, and every volume in it: {"result": {}, "volume": {}}.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys

lies, python, *words = sys.argv[1:]
done = subprocess.run([python, *words], stdin=sys.stdin, stdout=subprocess.PIPE, check=False)
output = done.stdout.decode()
with contextlib.suppress(
    ValueError
):  # of what is no result of a module, such as the answer to the question for the version of Python
    told, result = json.loads(pathlib.Path(lies).read_text()), json.loads(output)
    for volume in result.get("volumes", ()):
        volume.update(told["volume"])
    output = json.dumps({**result, **told["result"]})
sys.stdout.write(output)
sys.exit(done.returncode)
