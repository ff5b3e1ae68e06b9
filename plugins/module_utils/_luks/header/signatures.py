# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the bytes are if they are no LUKS header: signatures of file systems, partition tables and containers.

Offsets and magics are those of the formats' own definitions, as libblkid uses them. A short magic counts only together
with a check of the structure around it, because two or four bytes turn up by chance in key material.
"""

from __future__ import annotations

import struct
import typing as t

from .reading import Read

# Bytes of the first read: the LVM label and most superblocks lie there.
_START = 8192
_ZEROS = 65536

# (offset, magic, what). The first match wins: containers come before formats whose remains may survive inside them.
_MAGICS: t.Tuple[t.Tuple[int, bytes, str], ...] = (
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"SKUL\xba\xbe", "a LUKS2 secondary header alone, without the primary one before it"),
    (0, b"LUKS\xde\xad", "a LUKS1 header that an interrupted cryptsetup-reencrypt has disabled"),
    (3, b"-FVE-FS-", "a BitLocker volume"),
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (54, b"FAT12   ", "a FAT file system"),
    (54, b"FAT16   ", "a FAT file system"),
    (82, b"FAT32   ", "a FAT file system"),
    (0, b"XFSB", "an XFS file system"),
    (0, b"hsqs", "a squashfs file system"),
    (0, b"verity\0\0", "a dm-verity superblock"),
    (0, b"integrt\0", "a dm-integrity superblock"),
    (0, b"KDMV", "a VMDK image"),
    (0, b"vhdxfile", "a VHDX image"),
    (0, b"conectix", "a VHD image"),
    (64, b"\x7f\x10\xda\xbe", "a VDI image"),
    (32, b"NXSB", "an APFS container"),
    (1024, b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
    (1024, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "a bcache device"),
    (4120, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", "a bcachefs file system"),
    (0, b"\xfc\x4e\x2b\xa9", "an MD RAID member"),
    (4096, b"\xfc\x4e\x2b\xa9", "an MD RAID member"),
    (32768, b"JFS1", "a JFS file system"),
    (32769, b"CD001", "an ISO 9660 file system"),
    (65588, b"ReIsEr2Fs", "a ReiserFS file system"),
    (65588, b"ReIsEr3Fs", "a ReiserFS file system"),
    (65600, b"_BHRfS_M", "a btrfs file system"),
)

# Hints for a better message than "unknown". They do not show that the place belongs to somebody.
_HINTS: t.Tuple[t.Tuple[bytes, str], ...] = (
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"-----BEGIN ", "a PEM file"),
)

_PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
_SWAP = {
    b"SWAPSPACE2": "swap space",
    b"SWAP-SPACE": "swap space",
    b"S1SUSPEND\0": "a hibernation image in swap space",
    b"S2SUSPEND\0": "a hibernation image in swap space",
}


def describe(read: Read, size: int) -> t.Optional[str]:
    """What the ``size`` readable bytes begin with, as the object of "it begins with ...", or None."""
    return signature(read, size) or _hint(read, size)


def signature(read: Read, size: int) -> t.Optional[str]:
    """Like :func:`describe`, but only for formats that own the device, so that no header may be written over them.

    Zeros, text and archives do not count, and an intact LUKS header does not either; a partition table or file system
    at its own place beside a LUKS header does.
    """
    peek = _Peek(read, size)
    for offset, magic, what in _MAGICS:
        if peek(offset, len(magic)) == magic:
            return what
    for check in (_lvm, _ext, _swap, _raid_at_end, _mbr):
        found = check(peek)
        if found:
            return found
    return None


class _Peek:
    """Bytes at an offset; empty if they are not all there. The start is read once."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self.size = size
        self._start = read(0, min(size, _START)) if size > 0 else b""

    def __call__(self, offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > self.size:
            return b""
        if offset + length <= len(self._start):
            return self._start[offset : offset + length]
        return self._read(offset, length)


def _lvm(peek: _Peek) -> str:
    for sector in range(4):
        label = peek(sector * 512, 32)
        if label.startswith(b"LABELONE") and label[24:27] == b"LVM":
            return "an LVM2 physical volume"
    return ""


def _ext(peek: _Peek) -> str:
    block = peek(1024, 128)
    if len(block) < 128 or block[56:58] != b"\x53\xef":
        return ""
    inodes, blocks, log_block_size, per_group = (struct.unpack_from("<I", block, place)[0] for place in (0, 4, 24, 40))
    revision, compatible, incompatible = (struct.unpack_from("<I", block, place)[0] for place in (76, 92, 96))
    if not blocks or log_block_size > 6 or revision > 1:
        return ""
    if incompatible & 0x08:
        return "an ext journal device"
    if not inodes or not per_group:
        return ""
    if incompatible & 0x02C0:  # extents, 64bit, flex_bg
        return "an ext4 file system"
    return "an ext3 file system" if compatible & 0x04 else "an ext2 file system"


def _swap(peek: _Peek) -> str:
    for page in _PAGE_SIZES:
        found = _SWAP.get(peek(page - 10, 10))
        if found:
            return found
    return ""


def _raid_at_end(peek: _Peek) -> str:
    # Superblock 1.0 lies 8 to 12 KiB before the end, 0.90 in the last whole 64 KiB but one.
    at_end = ((peek.size // 512 - 16) & ~7) * 512
    if peek(at_end, 8) == b"\xfc\x4e\x2b\xa9\x01\0\0\0":
        return "an MD RAID member"
    if peek((peek.size & ~0xFFFF) - 0x10000, 8) == b"\xfc\x4e\x2b\xa9\0\0\0\0":
        return "an MD RAID member"
    return ""


def _mbr(peek: _Peek) -> str:
    """55 AA alone proves nothing: boot sectors of file systems have it, LUKS1 may have it in keyslot 6."""
    sector = peek(0, 512)
    if sector[510:512] != b"\x55\xaa":
        return ""
    used = 0
    for place in range(446, 510, 16):
        status, kind = sector[place], sector[place + 4]
        first, count = struct.unpack_from("<II", sector, place + 8)
        if status not in (0x00, 0x80):
            return ""
        if kind:
            if not first or not count:
                return ""
            used += 1
    return "an MBR partition table" if used else ""


def _hint(read: Read, size: int) -> t.Optional[str]:
    start = read(0, min(size, _ZEROS)) if size > 0 else b""
    for magic, what in _HINTS:
        if start.startswith(magic):
            return what
    if start and not any(start):
        return "zeros"
    if start and start.count(0xFF) == len(start):
        return "bytes that are all 0xff"
    if start and all(byte in b"\t\n\r" or 0x20 <= byte <= 0x7E for byte in start[:512]):
        return "text"
    return None
