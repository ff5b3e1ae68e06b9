# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be derived at least, on all cores, with nothing around it: libargon2, and for PBKDF2 the faster one of
hashlib and Nettle, in threads.

A key that a keyslot gives is the volume key only if its digest says so; that is a PBKDF2 as well, and it must wait for
the keyslot.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import resource
import threading
import time
import typing as t

# bytes; one block of SHA-256, as the digests of LUKS1 (20) and LUKS2 (32) are
_DIGEST = 32


_SHORT = 20_000  # iterations that tell which library is faster


def _hashlib(iterations: int, length: int) -> None:
    hashlib.pbkdf2_hmac("sha256", b"secret", bytes(32), iterations, length)


def _nettle(iterations: int, length: int) -> None:
    pbkdf2 = ctypes.CDLL("libnettle.so.8").nettle_pbkdf2_hmac_sha256
    pbkdf2.argtypes = [ctypes.c_size_t, ctypes.c_char_p, ctypes.c_uint, *[ctypes.c_size_t, ctypes.c_char_p] * 2]
    pbkdf2.restype = None
    pbkdf2(6, b"secret", iterations, 32, bytes(32), length, ctypes.create_string_buffer(length))


@functools.lru_cache(maxsize=1)
def fastest_pbkdf2() -> t.Callable[[int, int], None]:
    def seconds(derive: t.Callable[[int, int], None]) -> float:
        started = time.thread_time()
        derive(_SHORT, 32)
        return time.thread_time() - started

    try:
        ctypes.CDLL("libnettle.so.8")
    except OSError:
        return _hashlib
    return min((_hashlib, _nettle), key=lambda derive: min(seconds(derive) for _round in range(3)))


def derive(costs: t.Mapping[str, int]) -> None:
    if "iterations" in costs:
        fastest_pbkdf2()(costs["iterations"], costs.get("length", 64))
        return
    out = ctypes.create_string_buffer(64)
    code = ctypes.CDLL("libargon2.so.1").argon2id_hash_raw(
        costs["time"], costs["memory"], costs["parallel"], b"secret", 6, bytes(32), 32, out, 64
    )
    if code:
        raise SystemExit(f"libargon2 says {code}")


def bare(costs: t.Mapping[str, int], times: int, digests: t.Sequence[int]) -> float:
    """Seconds for ``times`` keyslots: PBKDF2 side by side on all cores; Argon2 as many as its lanes leave room for.

    ``digests``: iterations of the digest of each volume, which are derived after the keyslots, side by side as well.
    """
    return _side_by_side(costs, times) + _side_by_side({"iterations": max(digests), "length": _DIGEST}, len(digests))


def processor(costs: t.Mapping[str, int], times: int, digests: t.Sequence[int]) -> float:
    """Seconds of processor time for the same derivations."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    bare(costs, times, digests)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _side_by_side(costs: t.Mapping[str, int], times: int) -> float:
    cores = len(os.sched_getaffinity(0))
    at_once = max(1, cores // costs.get("parallel", 1))
    left, lock = [times], threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            derive(costs)

    threads = [threading.Thread(target=work) for _number in range(min(at_once, times))]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started
