# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be derived at least, on all cores, with nothing around it: hashlib and libargon2 in threads.

A key that a keyslot gives is the volume key only if its digest says so; that is a PBKDF2 as well, and it must wait for
the keyslot.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
import time
import typing as t

# bytes; one block of SHA-256, as the digests of LUKS1 (20) and LUKS2 (32) are
_DIGEST = 32


def derive(costs: t.Mapping[str, int]) -> None:
    if "iterations" in costs:
        hashlib.pbkdf2_hmac("sha256", b"secret", bytes(32), costs["iterations"], costs.get("length", 64))
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
