# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret is used to the byte, or refused in a sentence that does not contain it."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadSecret, BadTask
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import secrets

WHERE = "keyslots[2].new_secret"
MIB = 1 << 20


def read(**params: t.Any) -> secrets.Secret:
    return secrets.read(params, WHERE)


def keyfile(folder: pathlib.Path, content: bytes) -> str:
    path = folder / "key"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", b"plain"),
        ("", b""),
        (" spaces stay ", b" spaces stay "),
        ("ü€", b"\xc3\xbc\xe2\x82\xac"),
        ("u\u0308", b"u\xcc\x88"),
        ("x" * 600, b"x" * 600),
        ("a\x00b", b"a\x00b"),
        (b"\xff\xfe raw".decode("utf-8", "surrogateescape"), b"\xff\xfe raw"),
    ],
)
def test_text_is_used_to_the_byte(text: str, expected: bytes) -> None:
    assert read(passphrase=text).value == expected


@pytest.mark.parametrize("text", ["secret\n", "secret\r\n", "secret\r"])
def test_a_newline_at_the_end_is_kept_with_a_warning(text: str) -> None:
    secret = read(passphrase=text)
    assert secret.value == text.encode()
    assert len(secret.warnings) == 1
    assert WHERE in secret.warnings[0]
    assert "secret\n" not in secret.warnings[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("two\nlines", ["contains a newline"]),
        ("two\nlines\n", ["ends with a newline", "contains a newline"]),
        (" ", ["blanks only"]),
        (" \t ", ["blanks only"]),
        ("{{ vault_passphrase }}", ["contains {{"]),
        ("{% if x %}y{% endif %}", ["contains {%"]),
        ("x" * 513, ["longer than 512 bytes"]),
        ("\u00fc" * 257, ["longer than 512 bytes"]),
        ("2026-01-02T03:04:05", ["timestamp"]),
        ("2026-01-02T03:04:05.500000+02:00", ["timestamp"]),
    ],
)
def test_a_passphrase_that_was_likely_not_meant_so_is_kept_with_a_warning(text: str, said: t.List[str]) -> None:
    secret = read(passphrase=text)
    assert secret.value == text.encode()
    assert len(secret.warnings) == len(said)
    for words, warning in zip(said, secret.warnings):
        assert words in warning and warning.startswith(WHERE)
        assert text.strip() not in warning or not text.strip()


@pytest.mark.parametrize(
    "text", ["", "two words", " spaces stay ", "{a}", "x" * 512, "2026-01-02", "2026-01-02 03:04:05"]
)
def test_no_warning_without_a_reason(text: str) -> None:
    assert read(passphrase=text).warnings == ()


def test_no_warning_for_what_a_program_made(tmp_path: pathlib.Path) -> None:
    assert read(keyfile=keyfile(tmp_path, b"made by a program\n")).warnings == ()
    assert read(passphrase_base64="bWFkZSBieSBhIHByb2dyYW0K").warnings == ()


@pytest.mark.parametrize(
    ("encoded", "expected"), [("", b""), ("AA==", b"\x00"), ("/w==", b"\xff"), ("c2VjcmV0Cg==", b"secret\n")]
)
def test_base64_gives_the_bytes(encoded: str, expected: bytes) -> None:
    assert read(passphrase_base64=encoded).value == expected


@pytest.mark.parametrize(
    "encoded",
    [
        "c2VjcmV0",
        "c2VjcmV0Cg==",
    ],
)
def test_damaged_base64_is_refused_and_not_quoted(encoded: str) -> None:
    damaged = [
        encoded + "\n",
        " " + encoded,
        encoded[:4] + "\n" + encoded[4:],
        encoded + "=",
        encoded[:-1] + "_",
        encoded + "!",
        encoded[:-1],
    ]
    for text in damaged:
        with pytest.raises(BadSecret) as caught:
            read(passphrase_base64=text)
        assert WHERE in str(caught.value)
        assert encoded[:4] not in str(caught.value)
        assert caught.value.__cause__ is None


def test_base64_with_stray_bits_is_refused() -> None:
    assert read(passphrase_base64="QQ==").value == b"A"
    with pytest.raises(BadSecret):
        read(passphrase_base64="QR==")


@pytest.mark.parametrize("source", ["passphrase", "passphrase_base64"])
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (["alpha", "beta"], "a list"),
        ({"alpha": 1}, "a dictionary"),
        (1234, "a number"),
        (8.5, "a number"),
        (True, "a boolean"),
    ],
)
def test_what_is_no_text_is_refused(source: str, value: t.Any, named: str) -> None:
    with pytest.raises(BadTask) as caught:
        read(**{source: value})
    sentence = str(caught.value)
    assert named in sentence
    assert source in sentence
    for trace in ("alpha", "beta", "1234", "8.5", "True"):
        assert trace not in sentence


def test_half_a_surrogate_pair_is_refused_without_context() -> None:
    with pytest.raises(BadSecret) as caught:
        read(passphrase="abc\ud800")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ({}, "has no source"),
        ({"label": "x"}, "(label 'x') has no source"),
        ({"passphrase": None, "keyfile": None}, "has no source"),
        ({"passphrase": "a", "keyfile": "/k"}, "passphrase and keyfile"),
        ({"passphrase": "", "passphrase_base64": ""}, "passphrase and passphrase_base64"),
        ({"passphrase": "a", "keyfile_size": 3}, "keyfile_size without keyfile"),
        ({"passphrase": "a", "label": "two\nlines"}, "control character"),
        ({"passphrase": "a", "label": "x" * 129}, "129 characters"),
        ({"passphrase": "a", "label": 5}, "label is a number"),
    ],
)
def test_options_that_do_not_go_together(params: t.Dict[str, t.Any], part: str) -> None:
    with pytest.raises(BadTask) as caught:
        read(**params)
    assert part in caught.value.found


@pytest.mark.parametrize("params", ["text", ["a"], None, 5])
def test_a_secret_is_a_dictionary(params: t.Any) -> None:
    with pytest.raises(BadTask) as caught:
        secrets.read(params, WHERE)
    assert "text" not in caught.value.found.replace("is text", "")


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (None, None, b"0123456789"),
        (0, 10, b"0123456789"),
        (3, None, b"3456789"),
        (3, 2, b"34"),
        (9, 1, b"9"),
        (10, None, b""),
    ],
)
def test_the_part_of_a_keyfile(
    tmp_path: pathlib.Path, offset: t.Optional[int], size: t.Optional[int], expected: bytes
) -> None:
    assert read(keyfile=keyfile(tmp_path, b"0123456789"), keyfile_offset=offset, keyfile_size=size).value == expected


@pytest.mark.parametrize(
    ("offset", "size", "part"),
    [
        (11, None, "has 10 bytes, fewer than keyfile_offset 11"),
        (None, 11, "fewer than keyfile_size 11"),
        (5, 6, "has 5 bytes after offset 5"),
        (10, 1, "has 0 bytes after offset 10"),
    ],
)
def test_a_part_that_is_not_there_is_refused(
    tmp_path: pathlib.Path, offset: t.Optional[int], size: t.Optional[int], part: str
) -> None:
    with pytest.raises(BadSecret) as caught:
        read(keyfile=keyfile(tmp_path, b"0123456789"), keyfile_offset=offset, keyfile_size=size)
    assert part in caught.value.found


@pytest.mark.parametrize(
    ("option", "number"),
    [
        ("keyfile_offset", -1),
        ("keyfile_size", 0),
        ("keyfile_size", -5),
        ("keyfile_size", True),
        ("keyfile_offset", "1"),
    ],
)
def test_numbers_that_count_no_bytes(tmp_path: pathlib.Path, option: str, number: t.Any) -> None:
    with pytest.raises(BadTask, match=option):
        read(keyfile=keyfile(tmp_path, b"0123456789"), **{option: number})


def test_eight_mib_are_the_limit_unless_a_size_is_given(tmp_path: pathlib.Path) -> None:
    path = keyfile(tmp_path, b"")
    os.truncate(path, 8 * MIB)
    assert len(read(keyfile=path).value) == 8 * MIB
    os.truncate(path, 8 * MIB + 1)
    assert len(read(keyfile=path, keyfile_offset=1).value) == 8 * MIB
    assert len(read(keyfile=path, keyfile_size=8 * MIB + 1).value) == 8 * MIB + 1
    with pytest.raises(BadSecret, match="8388609 bytes"):
        read(keyfile=path)


def test_a_keyfile_that_is_cut_off_while_it_is_read(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "preadv", lambda _descriptor, _buffers, _offset: 0)
    with pytest.raises(BadSecret, match="became shorter while it was read"):
        read(keyfile=keyfile(tmp_path, b"secret"))


def test_what_is_no_keyfile(tmp_path: pathlib.Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, part in (
        (tmp_path / "none", "No such file or directory (ENOENT)"),
        (tmp_path, "is a directory"),
        (fifo, "is a FIFO"),
        ("/dev/zero", "character device"),
    ):
        with pytest.raises(BadSecret) as caught:
            read(keyfile=str(path))
        assert str(path) in caught.value.found
        assert part in caught.value.found


@pytest.mark.parametrize("path", ["", 5, ["/k"], "/k\x00ey"])
def test_what_is_no_path(path: t.Any) -> None:
    with pytest.raises(BadTask):
        read(keyfile=path)


@pytest.mark.parametrize(
    ("value", "obstacle"),
    [(b"fine", ""), (b"", ""), ("ü".encode(), ""), (b"a\x00", "contains a NUL byte"), (b"\xff", "is not UTF-8")],
)
def test_what_qemu_could_not_use(tmp_path: pathlib.Path, value: bytes, obstacle: str) -> None:
    assert read(keyfile=keyfile(tmp_path, value)).qemu_obstacle == obstacle


def test_a_secret_never_shows_itself_and_can_be_wiped() -> None:
    secret = read(passphrase="hunter2", label="me")
    assert "hunter2" not in repr(secret) + str(secret) + f"{secret}"
    assert "me" in repr(secret)
    value = secret.value
    secret.wipe()
    assert value == bytes(7)
