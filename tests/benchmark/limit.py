# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be derived at least, on all cores, with nothing around it: hashlib and libargon2 in threads."""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
import time
import typing as t


def derive(costs: t.Mapping[str, int]) -> None:
    if "iterations" in costs:
        hashlib.pbkdf2_hmac("sha256", b"secret", bytes(32), costs["iterations"], 64)
        return
    out = ctypes.create_string_buffer(64)
    code = ctypes.CDLL("libargon2.so.1").argon2id_hash_raw(costs["time"], costs["memory"], costs["parallel"], b"secret", 6, bytes(32), 32, out, 64)
    if code:
        raise SystemExit(f"libargon2 says {code}")


def bare(costs: t.Mapping[str, int], times: int) -> float:
    """Seconds for ``times`` derivations: PBKDF2 side by side on all cores; Argon2 as many as its lanes leave room for."""
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
