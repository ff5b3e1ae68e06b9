# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nox: every test lane as a session, for those who are used to it.

Without arguments: all checks that read the code instead of running it.

The lanes are in tests/tools/lanes.py, and tests/run does the same without nox. ``nox -s default``, ``full`` and
``long`` are the sizes.
"""

from __future__ import annotations

import os
import pathlib
import sys

import nox

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests" / "tools"))

from lanes import ALIASES, LANES, SIZES  # noqa: E402  found by the line above

nox.options.sessions = ["lint", "sanity", "targets", "importer", "docsite"]
nox.options.envdir = str(ROOT / ".cache" / "nox")


def _offer(name: str, says: str) -> None:
    # The lanes make their own environments, each with what its tools agree on.
    @nox.session(name=name, venv_backend="none")
    def lane(session: nox.Session) -> None:
        session.run(
            str(ROOT / "tests" / "run"),
            name,
            *(["--", *session.posargs] if session.posargs else []),
            external=True,
            env=dict(os.environ),
        )

    lane.__doc__ = says


for _name, _says in {
    **SIZES,
    **{name: lane.says for name, lane in LANES.items()},
    **{name: " ".join(lanes) for name, lanes in ALIASES.items()},
}.items():
    _offer(_name, _says)
