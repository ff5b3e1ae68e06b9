# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pointer from a qcow2 header to the LUKS region, and every reason not to follow it."""

from __future__ import annotations

import struct
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model, qcow2
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header.qcow2_image import (
    POINTER,
    SIZE,
    build,
    crypto,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def locate(head: bytes, size: int = SIZE) -> qcow2.Qcow2Crypto:
    return qcow2.locate(image.reader(head.ljust(size, b"\0")[:size]), size)


FEATURES = (0x6803F857, bytes(384))

FOUND = [
    ("v3", build()),
    ("v3-shortest-header", build(header_length=104)),
    ("v2", build(version=2)),
    ("behind-other-extensions", build(extensions=[FEATURES, (0x12345678, b"odd"), crypto()])),
    ("no-end-mark", build(cluster_bits=9, extensions=[(0x12345678, bytes(512 - 112 - 8 - 24)), crypto()], end=b"")),
    ("dirty", build(incompatible=1 << 0)),
    ("compression-and-extended-l2", build(incompatible=1 << 3 | 1 << 4)),
    ("autoclear-known", build(autoclear=3)),
]


@pytest.mark.parametrize("head", [case[1] for case in FOUND], ids=[case[0] for case in FOUND])
def test_the_pointer_is_followed(head: bytes) -> None:
    found = locate(head)
    assert found == qcow2.Qcow2Crypto(*POINTER)
    assert found.extent == model.Extent(*POINTER)


REFUSED = [
    ("raw", bytes(512), errors.NotLuks, "no qcow2 image"),
    ("version-1", build(version=1), errors.Unsupported, "unsupported qcow2 version '1'"),
    ("version-4", build(version=4), errors.Unsupported, "unsupported qcow2 version '4'"),
    ("no-encryption", build(method=0), errors.NotLuks, "without encryption"),
    ("aes", build(method=1), errors.Unsupported, "no keyslots"),
    ("method-3", build(method=3), errors.Unsupported, "crypt_method 3"),
    ("bit-5", build(incompatible=1 << 5), errors.Unsupported, "incompatible bit 5"),
    ("bit-63", build(incompatible=1 << 63 | 1), errors.Unsupported, "incompatible bit 63"),
    ("corrupt", build(incompatible=1 << 1), errors.MalformedHeader, "marked corrupt"),
    ("cluster-8", build(cluster_bits=8), errors.MalformedHeader, "cluster_bits is 8"),
    ("cluster-22", build(cluster_bits=22), errors.MalformedHeader, "cluster_bits is 22"),
    (
        "header-length-96",
        image.patch(build(), 100, struct.pack(">I", 96)),
        errors.MalformedHeader,
        "header_length is 96",
    ),
    (
        "header-length-odd",
        image.patch(build(), 100, struct.pack(">I", 110)),
        errors.MalformedHeader,
        "header_length is 110",
    ),
    ("refcount-order-7", image.patch(build(), 96, b"\0\0\0\7"), errors.MalformedHeader, "refcount_order is 7"),
    ("header-length-huge", image.patch(build(), 100, b"\xff\xff\xff\xf8"), errors.MalformedHeader, "header_length"),
    (
        "missing",
        build(extensions=[FEATURES]),
        errors.MalformedHeader,
        "extension that points to the LUKS header is missing",
    ),
    ("behind-the-end-mark", build(extensions=[(0, b""), crypto()]), errors.MalformedHeader, "is missing"),
    ("two", build(extensions=[crypto(), crypto(327680)]), errors.MalformedHeader, "two encryption header extensions"),
    ("length-8", build(extensions=[(0x0537BE77, bytes(8))]), errors.MalformedHeader, "8 bytes instead of 16"),
    (
        "runs-out",
        build(extensions=[], end=struct.pack(">II", 0x1111, 0xFFFFFFFF)),
        errors.MalformedHeader,
        "exceeds the header",
    ),
    ("unaligned", build(extensions=[crypto(262144 + 512)]), errors.MalformedHeader, "no cluster of 65536 bytes"),
    ("first-cluster", build(extensions=[crypto(0)]), errors.MalformedHeader, "no cluster"),
    ("empty", build(extensions=[crypto(length=0)]), errors.MalformedHeader, "is empty"),
    (
        "behind-the-file",
        build(extensions=[crypto(length=SIZE - 262144 + 1)]),
        errors.MalformedHeader,
        f"the file has only {SIZE} bytes",
    ),
    ("wraps", build(extensions=[crypto(0xFFFFFFFFFFFF0000, 0x20000)]), errors.MalformedHeader, "the file has only"),
    ("behind-backing-name", build(backing=(112, 8)), errors.MalformedHeader, "is missing"),
    ("backing-name-inside-header", build(backing=(1, 8)), errors.MalformedHeader, "is missing"),
    ("backing-name-cuts-the-extension", build(backing=(128, 8)), errors.MalformedHeader, "exceeds the header"),
    ("backing-name-far", build(backing=(65537, 8)), errors.MalformedHeader, "past the first cluster"),
]


@pytest.mark.parametrize(("head", "kind", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_trusted_is_refused(head: bytes, kind: t.Type[errors.LuksmithError], words: str) -> None:
    with pytest.raises(kind) as caught:
        locate(head)
    assert words in f"{caught.value.found} {caught.value.why}"
    assert caught.value.remedy


def test_a_file_that_ends_in_the_header_is_refused() -> None:
    for size in (4, 71, 72, 103, 104, 120):
        with pytest.raises(errors.LuksmithError) as caught:
            locate(build(), size)
        assert size not in (72, 103) or f"ends after {size} bytes, inside the header" in caught.value.found


def test_unknown_autoclear_bits_are_cleared_by_a_writer() -> None:
    assert locate(build(autoclear=0b1111)).clear == model.Write(88, struct.pack(">Q", 0b11))
    assert locate(build(autoclear=1 << 63)).clear == model.Write(88, bytes(8))
    # Version 2 has no such field; what lies there are extensions.
    assert locate(build(version=2, extensions=[crypto(), (0xFFFF, b"\xff" * 32)])).clear is None


def test_neighbours_with_data_or_keys_of_their_own_are_noted() -> None:
    assert "backing file" in " ".join(locate(build(backing=(1024, 9))).notes)
    assert "external file" in " ".join(locate(build(incompatible=1 << 2)).notes)
    assert "backing file" in " ".join(locate(build(version=2, backing=(1024, 9))).notes)


def test_a_header_full_of_empty_extensions_ends() -> None:
    """Two MiB of empty extensions, read with one request."""
    calls: t.List[int] = []
    data = build(cluster_bits=21, extensions=[], end=struct.pack(">II", 7, 0) * ((1 << 21) // 8 - 14)).ljust(
        4 << 20, b"\0"
    )

    def read(offset: int, length: int) -> bytes:
        calls.append(length)
        return data[offset : offset + length]

    with pytest.raises(errors.MalformedHeader, match="is missing"):
        qcow2.locate(read, len(data))
    assert sum(calls) <= (1 << 21) + 200
    assert len(calls) <= 3


@settings(max_examples=300, deadline=None)
@given(
    mutations=st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=8)), max_size=5),
    version=st.sampled_from([2, 3]),
    size=st.one_of(st.just(SIZE), st.integers(0, 4096)),
)
def test_a_mutated_header_is_followed_inside_the_file_or_refused(
    mutations: t.List[t.Tuple[int, bytes]], version: int, size: int
) -> None:
    head = build(version=version, cluster_bits=12)
    for offset, data in mutations:
        head = image.patch(head, offset, data)
    try:
        found = locate(head, size)
    except errors.LuksmithError as error:
        assert str(error).isprintable()
        return
    assert 0 < found.offset < found.extent.end <= size
    assert found.clear is None or (found.clear.offset, len(found.clear.data)) == (88, 8)
