# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For the interpreters of a play: the sources in a module's archive are compiled once for each text of theirs, and not
again for each call of the module.

See playing.py. What zipimport does is otherwise the same; without its function of that name everything is only slower.
"""

from __future__ import annotations

import os
import sys

_FOLDER = os.environ.get("LUKSMITH_PLAY_CACHE")


def _keep_compiled(folder: str) -> None:
    import _imp
    import hashlib
    import marshal
    import zipimport

    compile_source = getattr(zipimport, "_compile_source", None)
    if compile_source is None:
        return

    def from_cache(pathname, source):  # type: ignore[no-untyped-def]
        cached = os.path.join(folder, f"{hashlib.sha256(source).hexdigest()}-{sys.implementation.cache_tag}")
        try:
            with open(cached, "rb") as file:
                code = marshal.loads(file.read())
        except OSError:
            code = compile_source(pathname, source)
            unfinished = f"{cached}.{os.getpid()}"
            with open(unfinished, "wb") as file:
                file.write(marshal.dumps(code))
            os.rename(unfinished, cached)
        _imp._fix_co_filename(code, pathname)
        return code

    zipimport._compile_source = from_cache


if _FOLDER and os.path.isdir(_FOLDER):
    _keep_compiled(_FOLDER)
