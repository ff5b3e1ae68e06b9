# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every argument list, environment and write of every process of a play, as strace sees them."""

from __future__ import annotations

import pathlib
import re
import typing as t

from ansible_collections.luksmith.luks.tests.secrets import canary
from ansible_collections.luksmith.luks.tests.secrets.scene import Scene

_CALLS = "trace=execve,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendmmsg,prctl"
# Of a process that says that it may not be dumped, strace sees no strings, unless root runs it. So the modules are only
# made to believe that they said so; test_the_process_says_that_it_may_not_be_dumped looks at the real call.
_STAY_VISIBLE = "inject=prctl:retval=0"
_CALL = re.compile(r"\d+ +(\w+)\((?:(\d+)<((?:\\.|[^>])*)>)?(, 0x|0x)?")
_THROUGH = re.compile(r"(pipe|socket|UNIX|anon_inode)[:\[]|/dev/ptmx|/dev/pts")
_AT_ONCE = 1 << 20  # bytes that are searched together


def command(trace: pathlib.Path) -> t.List[str]:
    """What goes before the command line. ``trace`` must be outside of the box: it shows what went through pipes."""
    return [
        "strace",
        "--seccomp-bpf",
        "-f",
        "-qq",
        "-v",
        "-y",
        "-x",
        "-s",
        "4194304",
        "-e",
        _CALLS,
        "-e",
        _STAY_VISIBLE,
        "-o",
        str(trace),
    ]


class Call(t.NamedTuple):
    name: str
    target: str
    line: bytes


def check(trace: pathlib.Path, scene: Scene, *, keyfiles: t.Optional[pathlib.Path] = None) -> t.Dict[str, int]:
    """Numbers of calls by name.

    Fails on a secret in an argument list, in an environment, or written to anything but a pipe.

    ``keyfiles``: a folder into whose files passphrases may be written.
    """
    counts: t.Dict[str, int] = {}
    devices = {str(path) for path in scene.box.devices}
    for call, found in with_secrets(scene.search, _calls(trace, counts)):
        if keyfiles is not None and pathlib.Path(call.target).parent == keyfiles:
            assert {name for name, _form in found} <= set(scene.canaries), f"{found} was written to {call.target}"
            continue
        assert call.target in devices, f"{call.name} to {call.target!r}: {found}"
        assert [name for name, _form in found if name in scene.canaries] == [], (
            f"a passphrase was written to {call.target}"
        )
    return counts


def _calls(trace: pathlib.Path, counts: t.Dict[str, int]) -> t.Iterator[Call]:
    """All that do not go to a pipe, where secrets travel."""
    with trace.open(encoding="latin-1") as lines:
        for line in lines:
            call = _CALL.match(line)
            if not call:
                continue
            name = call.group(1)
            counts[name] = counts.get(name, 0) + 1
            assert name == "prctl" or not call.group(4), f"strace could not see what this process did: {line[:200]}"
            target = unescaped(call.group(3) or "").decode(errors="replace")
            if not _THROUGH.match(target):
                yield Call(name, target, unescaped(line))


def with_secrets(
    search: canary.Search, calls: t.Iterable[Call]
) -> t.Iterator[t.Tuple[Call, t.List[t.Tuple[str, str]]]]:
    """Those in which something is found, and what."""
    batch: t.List[Call] = []
    size = 0
    for call in calls:
        batch.append(call)
        size += len(call.line)
        if size > _AT_ONCE:
            yield from _sift(search, batch)
            batch, size = [], 0
    yield from _sift(search, batch)


def _sift(search: canary.Search, batch: t.Sequence[Call]) -> t.Iterator[t.Tuple[Call, t.List[t.Tuple[str, str]]]]:
    if search(b"".join(call.line for call in batch)):
        for call in batch:
            found = search(call.line)
            if found:
                yield call, found


# strace -x: a string with a character that cannot be printed is all hexadecimal, any other is as C writes it.
_ESCAPE = re.compile(rb"((?:\\x[0-9a-f]{2})+)|\\([0-7]{1,3})|\\(.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}


def unescaped(text: str) -> bytes:
    return _ESCAPE.sub(_characters, text.encode("latin-1"))


def _characters(escape: t.Match[bytes]) -> bytes:
    codes, octal, letter = escape.groups()
    if codes:
        return bytes.fromhex(codes.replace(b"\\x", b"").decode())
    return bytes([int(octal, 8)]) if octal else _LETTERS.get(letter, letter)
