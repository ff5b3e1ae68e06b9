# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd and Debian let people write into crypttab."""

from __future__ import annotations

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import crypttab
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.crypttab import Line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"root UUID=abc none luks", Line("root", "UUID=abc", None, ("luks",), 1)),
        (b"  root\t/dev/sda2\n", Line("root", "/dev/sda2", None, (), 1)),
        (b"root /dev/sda2 -", Line("root", "/dev/sda2", None, (), 1)),
        (
            b"data /dev/sdb /etc/key luks,discard,key-slot=1",
            Line("data", "/dev/sdb", "/etc/key", ("luks", "discard", "key-slot=1"), 1),
        ),
        (b"data /dev/sdb /etc/key\\040one luks", Line("data", "/dev/sdb", "/etc/key one", ("luks",), 1)),
        (b"data /srv/my\\040disk.img none", Line("data", "/srv/my disk.img", None, (), 1)),
        (b"data LABEL=a\\x20b none", Line("data", "LABEL=a\\x20b", None, (), 1)),
        (b"data /dev/sdb none luks # note", Line("data", "/dev/sdb", None, ("luks",), 1)),
        (b"data /dev/sdb none # note", Line("data", "/dev/sdb", None, (), 1)),
        (
            b"data /dev/sdb none luks,,header=/boot/a\\,b fifth",
            Line("data", "/dev/sdb", None, ("luks", "header=/boot/a,b"), 1),
        ),
        (b"data /dev/sdb none -", Line("data", "/dev/sdb", None, (), 1)),
        (b"d\xff /dev/sdb", Line("d\udcff", "/dev/sdb", None, (), 1)),
        (b"a\x0cb /dev/sdb", Line("a\x0cb", "/dev/sdb", None, (), 1)),
        (
            b"crypt UUID=x 3 luks,keyscript=decrypt_derived",
            Line("crypt", "UUID=x", "3", ("luks", "keyscript=decrypt_derived"), 1),
        ),
    ],
)
def test_one_line(text: bytes, expected: Line) -> None:
    assert crypttab.parse(text) == ([expected], [])


def test_comments_blank_lines_and_numbers() -> None:
    lines, odd = crypttab.parse(b"# first\n\n \t \n  # indented\na /dev/a\r\nalone\nb /dev/b")
    assert [(line.name, line.line) for line in lines] == [("a", 5), ("b", 7)]
    assert odd == ["line 6 of crypttab names no device and is ignored"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a /dev/a none luks", True),
        (b"a /dev/a", True),
        (b"swap /dev/a /dev/urandom swap", False),
        (b"a /dev/a none plain,cipher=aes-xts-plain64", False),
        (b"a /dev/a none bitlk", False),
        (b"a /dev/a none tcrypt-veracrypt", False),
        (b"a /dev/a none tcrypt-keyfile=/k", True),
    ],
)
def test_which_lines_mean_a_luks_volume(text: bytes, expected: bool) -> None:
    assert crypttab.parse(text)[0][0].expects_luks is expected


@pytest.mark.parametrize(
    ("source", "tag"),
    [
        ("UUID=Ab-1", ("UUID", "Ab-1")),
        ('LABEL="my disk"', ("LABEL", "my disk")),
        ("PARTLABEL=x", ("PARTLABEL", "x")),
        ("PARTUUID=1-2", ("PARTUUID", "1-2")),
        ("/dev/disk/by-id/a=b", ("", "/dev/disk/by-id/a=b")),
        ("/dev/sda", ("", "/dev/sda")),
    ],
)
def test_sources(source: str, tag: object) -> None:
    assert Line("x", source, None, (), 1).tag == tag


def test_the_header_option() -> None:
    assert Line("x", "/dev/a", None, ("luks", "header=/boot/x=1"), 1).header == "/boot/x=1"
    assert Line("x", "/dev/a", None, ("luks", "headers"), 1).header is None
