# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One case by its number: made, put to the code under test within bounds of memory and processor time, and judged."""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import time
import traceback
import typing as t

from ansible_collections.luksmith.luks.tests.fuzz import headers, look, luks1_cases, luks2_cases, qcow2_cases
from ansible_collections.luksmith.luks.tests.fuzz.medium import Finding, Medium

# Seconds of processor time; ordinary cases take milliseconds, the largest headers that can be some seconds. Wall time
# is not looked at.
LONGEST = 60
# Bytes that a worker may have beyond what it has when it begins.
MOST_MEMORY = 768 << 20
# Of a hundred cases, how many are of each kind.
SHARES = (("look", 3), ("qcow2", 17), ("luks1", 30), ("luks2", 50))
# How many cases of each kind go to cryptsetup as well: one in so many.
ASK_EVERY = {"look": 8, "qcow2": 0, "luks1": 50, "luks2": 50}
# Outcomes that cryptsetup has an opinion on.
JUDGED = ("read", "written", "MalformedHeader", "look done")


class TookTooLong(BaseException):
    """The alarm; no handler of errors may catch it."""


class Outcome(t.NamedTuple):
    """``word``: what came out. ``finding``: empty, or what is wrong. ``seconds`` of processor time."""

    kind: str
    word: str
    finding: str
    seconds: float


def kind_of(index: int) -> str:
    position = index % 100
    for kind, share in SHARES:
        if position < share:
            return kind
        position -= share
    raise AssertionError("the shares do not add up to 100")


def make(seed: str, index: int) -> t.Tuple[str, Medium, random.Random]:
    kind = kind_of(index)
    rng = random.Random(f"{seed}/{index}")
    makers = {"look": look.make, "qcow2": qcow2_cases.make, "luks1": luks1_cases.make, "luks2": luks2_cases.make}
    return kind, makers[kind](rng), rng


def run(seed: str, index: int) -> Outcome:
    kind, medium, rng = make(seed, index)
    every = ASK_EVERY[kind]
    asked = bool(every) and index // 100 % every == 0
    judges = {"look": look.through, "qcow2": headers.locate, "luks1": headers.read, "luks2": headers.read}
    began = time.process_time()
    word, finding = "", ""
    try:
        with _alarm():
            word = judges[kind](medium, rng, ask_cryptsetup=asked)
    except Finding as found:
        finding = str(found)
    except TookTooLong:
        finding = f"more than {LONGEST} s of processor time"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not ours and so a finding
        frames = [
            f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)[-5:]
        ]
        finding = f"{type(error).__name__}: {error} ({' '.join(frames)})"
    return Outcome(
        kind,
        word + (", cryptsetup agrees" if asked and word in JUDGED else ""),
        finding[:2000],
        time.process_time() - began,
    )


def bound_memory(most: int = MOST_MEMORY) -> None:
    """From here on this process gets no more than ``most`` bytes; what asks for more sees MemoryError, which is a
    finding.
    """
    pages = int(open("/proc/self/statm", encoding="ascii").read().split()[0])  # noqa: SIM115 - closed at once by CPython
    limit = pages * resource.getpagesize() + most
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@contextlib.contextmanager
def _alarm() -> t.Iterator[None]:
    def ring(number: int, frame: t.Any) -> t.NoReturn:
        raise TookTooLong

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
