# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every argument list, environment and write of every process of a play, as strace sees them."""

from __future__ import annotations

import pathlib
import re
import typing as t

from ansible_collections.luksmith.luks.tests.secrets.scene import Scene

_CALLS = "trace=execve,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendmmsg"


def command(trace: pathlib.Path) -> t.List[str]:
    """What goes before the command line. ``trace`` must be outside of the box: it shows what went through pipes."""
    return ["strace", "-f", "-qq", "-v", "-y", "-xx", "-s", "4194304", "-e", _CALLS, "-o", str(trace)]


def check(trace: pathlib.Path, scene: Scene, *, keyfiles: t.Optional[pathlib.Path] = None) -> t.Dict[str, int]:
    """Numbers of calls by name. Fails on a secret in an argument list, in an environment, or written to anything but a pipe.

    ``keyfiles``: a folder into whose files passphrases may be written.
    """
    counts: t.Dict[str, int] = {}
    devices = {str(path) for path in scene.box.devices}
    with trace.open(encoding="latin-1") as lines:
        for line in lines:
            call = re.match(r"\d+ +(\w+)\((?:(\d+)<((?:\\x[0-9a-f]{2}|[^>])*)>)?", line)
            if not call:
                continue
            counts[call.group(1)] = counts.get(call.group(1), 0) + 1
            target = unescaped(call.group(3) or "").decode(errors="replace")
            found = scene.search(unescaped(line))
            if keyfiles is not None and pathlib.Path(target).parent == keyfiles:
                assert {name for name, _form in found} <= set(scene.canaries), f"{found} was written to {target}"
                continue
            if found and target not in devices:
                through = re.match(r"(pipe|socket|UNIX|anon_inode)[:\[]|/dev/ptmx|/dev/pts", target)
                assert through, f"{call.group(1)} to {target!r}: {found}"
            if target in devices:
                assert [name for name, _form in found if name in scene.canaries] == [], f"a passphrase was written to {target}"
    return counts


def unescaped(text: str) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda code: bytes([int(code.group(1), 16)]), text.encode("latin-1"))
