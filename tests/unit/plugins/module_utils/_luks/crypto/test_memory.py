# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Buffers that C functions see: right content while lent, nothing left afterwards, also when the work fails."""

from __future__ import annotations

import ctypes
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import aes, cipher, memory
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Unsupported


@pytest.mark.parametrize(
    "data",
    [b"", b"secret\0", bytearray(b"secret"), memoryview(b"a secret")[2:]],
    ids=["empty", "bytes", "bytearray", "view"],
)
def test_lent_copy_is_wiped(monkeypatch: pytest.MonkeyPatch, data: memory.Bytes) -> None:
    wiped: t.List[bytearray] = []
    wipe = memory.wipe

    def noted(*buffers: bytearray) -> None:
        wipe(*buffers)
        wiped.extend(buffers)

    monkeypatch.setattr(memory, "wipe", noted)
    before = bytes(data)
    with pytest.raises(KeyError), memory.lent(data) as address:
        assert address
        assert ctypes.string_at(address, len(data)) == before
        raise KeyError
    assert [bytes(buffer) for buffer in wiped] == [bytes(len(data) + 1)]
    assert bytes(data) == before


def test_filled_is_the_buffer_itself() -> None:
    buffer = bytearray(4)
    with memory.filled(buffer) as address:
        ctypes.memmove(address, b"done", 4)
    assert buffer == b"done"
    buffer.append(0)  # the export has ended: resizing is allowed again


def test_wipe_keeps_length() -> None:
    first, second = bytearray(b"abc"), bytearray(b"")
    memory.wipe(first, second)
    assert (first, second) == (bytes(3), b"")


def test_failed_cipher_leaves_no_half_done_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: t.List[bytearray] = []

    class Provider:
        name = "failing"

        def ability(self, mode: str, bits: int) -> aes.Crypt:
            def fails(key: object, chunks: object, buffer: bytearray, encrypt: bool) -> None:
                seen.append(buffer)
                raise aes.NotProvided("stop")

            return fails

    monkeypatch.setattr(aes, "PROVIDERS", [Provider()])
    with pytest.raises(Unsupported):
        cipher.encrypt("aes-cbc-plain", b"k" * 32, b"volume key" + bytes(502))
    assert seen == [bytearray(512)]
