# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU and this collection on one image: the second one is refused, in both directions, and told who holds the lock."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Volume, open_volume
from ansible_collections.luksmith.luks.tests.interop.lock_lab import bytes_of, holder_of, refused, says, started
from ansible_collections.luksmith.luks.tests.interop.qemu_image import FORMATS, OPENER, QemuImage, run
from ansible_collections.luksmith.luks.tests.interop.qemu_programs import (
    HOLDERS,
    daemon_command,
    needs_qemu_programs,
    node_options,
)

pytestmark = needs_qemu_programs


@pytest.fixture(params=FORMATS)
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> QemuImage:
    return QemuImage(tmp_path, request.param)


@pytest.fixture
def volume(image: QemuImage) -> t.Iterator[Volume]:
    with open_volume(str(image.path), writable=True) as opened:
        yield opened


@pytest.mark.parametrize("name", HOLDERS)
def test_a_writer_is_refused_and_told_who_holds_the_image(image: QemuImage, volume: Volume, name: str) -> None:
    holder = HOLDERS[name]
    before = image.path.read_bytes()
    with holder.holding(image) as pid:
        message = refused(locks.exclusive, volume)
        assert f"pid {pid} ({holder.program})" in message
        assert '"consistent read" (byte 100)' in message
        obstacles = locks.writer_obstacles(volume)
        assert len(obstacles) == 1
        assert f"id {pid} ({holder.program})" in obstacles[0]
        with locks.shared(volume, timeout=0):
            assert bytes_of(pid, image.path) == holder.taken(image)
    assert locks.writer_obstacles(volume) == []
    with locks.exclusive(volume, timeout=0):
        pass
    assert image.path.read_bytes() == before


# qemu-img and qemu-io while we write. Each would open the image and must not.
INTRUDERS: t.Dict[str, t.Callable[[QemuImage], t.List[str]]] = {
    "amend": lambda image: [
        "qemu-img",
        "amend",
        *image._object(OPENER),
        "--image-opts",
        image._image_opts(),
        "-o",
        amendment(image),
    ],
    "amend --force": lambda image: [
        "qemu-img",
        "amend",
        "--force",
        *image._object(OPENER),
        "--image-opts",
        image._image_opts(),
        "-o",
        amendment(image),
    ],
    "check": lambda image: ["qemu-img", "check", *image._object(OPENER), "--image-opts", image._image_opts()],
    "convert": lambda image: [
        "qemu-img",
        "convert",
        *image._object(OPENER),
        "--image-opts",
        image._image_opts(),
        "-O",
        "raw",
        f"{image.path}.out",
    ],
    "convert -U": lambda image: [
        "qemu-img",
        "convert",
        "-U",
        *image._object(OPENER),
        "--image-opts",
        image._image_opts(),
        "-O",
        "raw",
        f"{image.path}.out",
    ],
    "qemu-io": lambda image: [
        "qemu-io",
        *image._object(OPENER),
        "--image-opts",
        image._image_opts(),
        "-c",
        "read 0 512",
    ],
    "qemu-io -r": lambda image: [
        "qemu-io",
        "-r",
        *image._object(OPENER),
        "--image-opts",
        image._image_opts(),
        "-c",
        "read 0 512",
    ],
    "qemu-io -r -U": lambda image: [
        "qemu-io",
        "-r",
        "-U",
        *image._object(OPENER),
        "--image-opts",
        image._image_opts(),
        "-c",
        "read 0 512",
    ],
    "qemu-io raw": lambda image: ["qemu-io", "-f", "raw", "-c", "read 0 512", str(image.path)],
    "storage daemon": lambda image: [*daemon_command(image), node_options(image)],
}


def amendment(image: QemuImage) -> str:
    prefix = "" if image.format == "luks" else "encrypt."
    return f"{prefix}state=inactive,{prefix}keyslot=1"


# qemu-img has no check for raw LUKS images.
@pytest.mark.parametrize(
    ("image", "name"),
    [(format, name) for format in FORMATS for name in INTRUDERS if (format, name) != ("luks", "check")],
    indirect=["image"],
)
def test_while_we_write_nobody_gets_in(image: QemuImage, volume: Volume, name: str) -> None:
    before = image.path.read_bytes()
    with locks.exclusive(volume, timeout=0):
        done = run(*INTRUDERS[name](image), check=False)
    assert 'Failed to get "consistent read" lock' in done.stderr
    assert image.path.read_bytes() == before
    assert image.opens(OPENER)


def test_qemu_reads_while_we_read(image: QemuImage, volume: Volume) -> None:
    with locks.shared(volume, timeout=0):
        assert image.opens(OPENER)


def test_qemu_cannot_amend_a_raw_image_while_we_read(image: QemuImage, volume: Volume) -> None:
    """On qcow2 it can: QEMU takes its normal locks there, which go together with a reader. So readers compare twice."""
    with locks.shared(volume, timeout=0):
        done = image.amend(OPENER, "state=inactive", "keyslot=1")
    assert (
        'Failed to get shared "consistent read" lock' if image.format == "luks" else "already erased"
    ) in done.stderr


@pytest.mark.parametrize("image", ["luks"], indirect=True)
def test_a_reader_waits_for_the_end_of_an_amend(image: QemuImage, volume: Volume) -> None:
    """The bytes of a qemu-img that is just changing a keyslot, held by a process that waits to be told."""
    with holder_of(image.path, 100, 101, 200, 201) as pid:
        for lock in (locks.shared, locks.exclusive):
            assert f"pid {pid} (python" in refused(lock, volume)
        assert 'deny "consistent read" (byte 200)' in refused(locks.shared, volume)
    with locks.shared(volume, timeout=0):
        pass


@pytest.mark.parametrize("image", ["luks"], indirect=True)
def test_296_rows_of_sharing(image: QemuImage, volume: Volume) -> None:
    # 296.1d: an idle opener keeps out who wants to change keys from outside
    with HOLDERS["idle node"].holding(image):
        refused(locks.exclusive, volume)
        assert (
            'Failed to get shared "consistent read" lock' in image.amend(OPENER, "state=inactive", "keyslot=1").stderr
        )
    # 296.2b, c: so does a reader, whoever else is there; d: and when all are gone it works
    with HOLDERS["qemu-io -r"].holding(image) as reader, HOLDERS["qemu-io"].holding(image) as writer:
        message = refused(locks.exclusive, volume)
        assert f"pid {reader} (qemu-io)" in message
        assert f"pid {writer} (qemu-io)" in message
    with locks.exclusive(volume, timeout=0):
        pass
    # 296.3: a second writer gets no lock where the first shares none, and we count as a first one that shares nothing
    with open_volume(str(image.path), writable=True) as second, locks.exclusive(volume, timeout=0):
        assert '"write" (byte 101)' in refused(locks.exclusive, second)
    # a guest with share-rw=off (100, 101, 201) and one with share-rw=on (100, 101)
    for taken in ((100, 101, 201), (100, 101)):
        with holder_of(image.path, *taken):
            refused(locks.exclusive, volume)


def test_a_symbolic_link_leads_to_the_same_locks(image: QemuImage, tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(image.path)
    with open_volume(str(tmp_path / "link"), writable=True) as volume, locks.exclusive(volume, timeout=0):
        done = run(
            "qemu-io",
            "-r",
            *image._object(OPENER),
            "--image-opts",
            image._image_opts(),
            "-c",
            "read 0 512",
            check=False,
        )
    assert 'Failed to get "consistent read" lock' in done.stderr


@pytest.mark.parametrize("image", ["luks"], indirect=True)
def test_the_payload_of_a_detached_header_is_locked_against_guests(image: QemuImage, tmp_path: pathlib.Path) -> None:
    """7.2 knows no detached headers, so that a guest on the payload is played by a qemu-io on raw bytes."""
    payload = tmp_path / "payload"
    payload.write_bytes(bytes(1 << 20))
    with open_volume(str(payload), str(image.path), writable=True) as detached:
        with started("qemu-io", "-f", "raw", payload) as guest:
            says(guest, b"qemu-io> ")
            assert bytes_of(guest.pid, payload) == [100, 101]
            message = refused(locks.exclusive, detached)
            assert f"pid {guest.pid} (qemu-io)" in message
            assert "the payload" in message
        with locks.exclusive(detached, timeout=0):
            done = run("qemu-io", "-f", "raw", "-c", "read 0 512", payload, check=False)
            assert 'Failed to get "consistent read" lock' in done.stderr
            assert image.amend(OPENER, "state=inactive", "keyslot=1").returncode != 0
