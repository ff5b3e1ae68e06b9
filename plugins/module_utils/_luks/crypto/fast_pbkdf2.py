# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The fastest PBKDF2 of the host, for derivations so long that a short race between libraries is worth its time.

On the same processor Nettle needs half the time of OpenSSL 3.0 with SHA-1 and SHA-256, and Libgcrypt four fifths with
SHA-512; newer releases of OpenSSL and processors with other instructions change that. So the libraries that the host
has run a few hundred iterations each, once in a process and for each hash, and one replaces Python's hashlib only if it
gives the same bytes in clearly less time. In FIPS mode hashlib stays.
"""

from __future__ import annotations

import functools
import hmac
import threading
import time
import typing as t

from . import gcrypt, nettle
from .memory import Bytes
from .providers import NotProvided

Derive = t.Callable[[Bytes, bytes, int, int], Bytes]

_ITERATIONS = 300
_ROUNDS = 3
# What a library must save before it is preferred: less would be lost in the noise of the race.
_CLEARLY_LESS = 0.95
_SECRET, _SALT, _LENGTH = b"a secret that is known", bytes(range(32)), 16


class Contestant(t.NamedTuple):
    """A way to derive, and how many times as fast as the usual one it is."""

    derive: Derive
    pace: float


class _Names(t.NamedTuple):
    nettle: str
    gcrypt: int


_NAMES = {
    "sha1": _Names("sha1", 2),
    "sha224": _Names("", 11),
    "sha256": _Names("sha256", 8),
    "sha384": _Names("sha384", 9),
    "sha512": _Names("sha512", 10),
    "ripemd160": _Names("", 3),
    "rmd160": _Names("", 3),
}
_turn = threading.Lock()
_won: t.Dict[t.Tuple[str, str], Contestant] = {}


def _contestants(name: str) -> t.Iterator[Derive]:
    names = _NAMES.get(name)
    if names is None:
        return
    for find in (
        lambda: nettle.load().pbkdf2(names.nettle),
        lambda: functools.partial(gcrypt.load().pbkdf2, names.gcrypt),
    ):
        try:
            derive = find()
            derive(_SECRET, _SALT, 1, _LENGTH)
            yield derive
        except NotProvided:
            continue


def _seconds(derive: Derive) -> float:
    def once() -> float:
        begin = time.thread_time()
        derive(_SECRET, _SALT, _ITERATIONS, _LENGTH)
        return time.thread_time() - begin

    # Processor time, and the least of several: what disturbs a measurement can only make it longer.
    return min(once() for _round in range(_ROUNDS))


def _race(name: str, usual: Derive) -> Contestant:
    answer = bytes(usual(_SECRET, _SALT, _ITERATIONS, _LENGTH))
    usual_seconds = _seconds(usual)
    winner, least = usual, usual_seconds * _CLEARLY_LESS
    for derive in _contestants(name):
        if hmac.compare_digest(bytes(derive(_SECRET, _SALT, _ITERATIONS, _LENGTH)), answer):
            seconds = _seconds(derive)
            if seconds < least:
                winner, least = derive, seconds
    return Contestant(winner, 1.0 if winner is usual else usual_seconds / least)


def fastest(name: str, library: str, usual: Derive) -> Contestant:
    """What derives PBKDF2-HMAC with the hash ``name`` in the least time, with ``usual``, the function of ``library``,
    among the contestants: the first call for a hash lets them race.
    """
    with _turn:  # threads that race at the same time would measure each other
        if (name, library) not in _won:
            _won[name, library] = _race(name, usual)
        return _won[name, library]
