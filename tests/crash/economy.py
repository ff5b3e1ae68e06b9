# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What thousands of runs in one process would compute and ask again and again, and need not.

- Key derivation and the merge of key material are functions of their arguments, and most states of one operation have
  most of their keyslots in common: each is computed once. Headers are parsed and areas are read and decrypted every
  time.
- The volumes are files that no loop device shows, and what holds a lock on them is this process: /sys/block and the
  descriptors of all other processes are not searched.
- How much memory and how many processors there are is asked once.

What areas are overwritten with may be :func:`the_same_noise` in runs whose results are only compared with each other.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import antiforensic, hashes, host
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev, lock_holders

_chain, _pbkdf2_function, _numbers = antiforensic._chain, hashes.pbkdf2_function, lock_holders._numbers
_CHAINS: t.Dict[t.Tuple[bytes, int, str], int] = {}


def _chain_once(stripes: t.Union[bytes, memoryview], size: int, hash_name: str) -> int:
    key = (hashlib.sha256(stripes).digest(), size, hash_name)
    if key not in _CHAINS:
        _CHAINS[key] = _chain(stripes, size, hash_name)
    return _CHAINS[key]


@functools.lru_cache(maxsize=1 << 14)
def _pbkdf2_once(name: str, secret: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    return bytes(_pbkdf2_function(name)(secret, salt, iterations, length))


def _pbkdf2(name: str) -> hashes.DerivePbkdf2:
    _pbkdf2_function(name)  # raises if there is none
    return lambda secret, salt, iterations, length: _pbkdf2_once(name, bytes(secret), salt, iterations, length)


def _my_number(folder: str) -> t.List[int]:
    return [os.getpid()] if folder == lock_holders.PROC else _numbers(folder)


@contextlib.contextmanager
def economical() -> t.Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(antiforensic, "_chain", _chain_once)
        patch.setattr(hashes, "pbkdf2_function", _pbkdf2)
        patch.setattr(lock_holders, "_numbers", _my_number)
        patch.setattr(blockdev, "above", lambda place, offsets: [])
        patch.setattr(host, "_text", functools.lru_cache(maxsize=None)(host._text))
        yield


@contextlib.contextmanager
def the_same_noise(seed: str, *, salts: bool = False) -> t.Iterator[None]:
    """Random bytes for areas come from ``seed``, so that they are equal in all runs with it; ``salts``: those for
    salts, too.

    What a run overwrites must have been written with another seed: a write that never happened would not be missed
    otherwise.
    """
    real, drawn = os.urandom, random.Random(seed).randbytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", lambda size: drawn(size) if salts or size >= 4096 else real(size))
        yield
