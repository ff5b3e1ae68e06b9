# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run galaxy-importer on an archive as Galaxy would: ``strict_importer.py ARCHIVE``; a warning counts as a failure.

galaxy-importer itself ends with 0 whatever its linters say, and leaves importer_result.json where it was started.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tempfile

COMPLAINT = re.compile(r"^(WARNING|ERROR|CRITICAL)\b|: (WARNING|ERROR)\b|\[[a-z-]+\]: ")


def main() -> int:
    archive = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="luksmith-importer-") as temporary:
        done = subprocess.run(
            [sys.executable, "-m", "galaxy_importer.main", str(archive)],
            cwd=temporary,
            env={**os.environ, "HOME": temporary},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    output = done.stdout.decode(errors="replace")
    print(output)
    complaints = [line for line in output.splitlines() if COMPLAINT.search(line)]
    finished = "Importer processing completed successfully" in output
    print(
        f"galaxy-importer: exit code {done.returncode}, {'finished' if finished else 'did not finish'}, "
        f"{len(complaints)} complaints"
    )
    return 0 if done.returncode == 0 and finished and not complaints else 1


if __name__ == "__main__":
    sys.exit(main())
