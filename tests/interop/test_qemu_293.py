# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iotest 293 of QEMU, row by row, through the module; raw LUKS1 and LUKS1 in qcow2; QEMU says what opens.

Where a desired state means something else than a command, the test's name says so: a secret that opens a slot already
is not added again (10 to 12), an inactive slot that is wanted absent is no change (27), and the last key goes only with
a consent of its own (28).
"""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests import kept
from ansible_collections.luksmith.luks.tests.interop import originals
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots
from ansible_collections.luksmith.luks.tests.interop.qemu_image import (
    FORMATS,
    ONE_FORMAT,
    OPENER,
    QemuImage,
    needs_qemu,
    new,
    secret,
)

pytestmark = needs_qemu

# Not "s0" to "s4" as in the iotest: Ansible masks every secret in the result, and "luks1" ends in one of these.
EVERY = S0, S1, S2, S3, S4 = (OPENER, *(f"passphrase {number}" for number in range(1, 5)))


@pytest.fixture(params=ONE_FORMAT)
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[QemuImage]:
    made = QemuImage(tmp_path, request.param)
    yield made
    made.check(*EVERY)


def amend(
    image: QemuImage, *entries: t.Mapping[str, t.Any], unlock: str, **options: t.Any
) -> t.List[t.Tuple[str, t.Any]]:
    """The actions that were done. A second run must do none, whatever it was."""
    result = keyslots(image.path, entries, unlock=[unlock], **options)
    assert result["type"] == "luks1"
    assert result["container"] == ("raw" if image.format == "luks" else "qcow2")
    again = keyslots(image.path, entries, unlock=[unlock], **options)
    assert not again["changed"], again["plan"]
    return [(action["action"], action["keyslot"]) for action in result["plan"]]


def refused(image: QemuImage, *entries: t.Mapping[str, t.Any], unlock: str, **options: t.Any) -> str:
    """The sentence; the file is the same to the byte, and check mode refuses with the same sentence."""
    before = hashlib.sha256(image.path.read_bytes()).hexdigest()
    with pytest.raises(ModuleFailed) as check:
        keyslots(image.path, entries, unlock=[unlock], check=True, **options)
    with pytest.raises(ModuleFailed) as real:
        keyslots(image.path, entries, unlock=[unlock], **options)
    assert str(check.value) == str(real.value)
    assert "Nothing was changed" in str(real.value)
    assert hashlib.sha256(image.path.read_bytes()).hexdigest() == before
    return str(real.value)


def test_rows_01_to_09_adds_and_erases(image: QemuImage) -> None:
    assert image.opened_by(*EVERY) == {S0} and image.active() == {0}  # 01
    assert amend(image, new(S4, keyslot=4), unlock=S0) == [("add", 4)]  # 02
    assert amend(image, new(S1), unlock=S0) == [("add", 1)]  # 03
    assert amend(image, new(S3, keyslot=3), unlock=S1) == [("add", 3)]  # 04
    assert amend(image, new(S2), unlock=S3) == [("add", 2)]  # 05
    assert image.opened_by(*EVERY) == set(EVERY)
    assert amend(image, {"state": "absent", "keyslot": 4}, unlock=S1) == [("erase", 4)]  # 06
    assert image.opened_by(*EVERY) == {S0, S1, S2, S3}  # 07
    assert amend(image, {"state": "absent", "old_secret": secret(S0)}, unlock=S1) == [("erase", 0)]  # 08
    assert not image.opens(S0)
    assert amend(image, {"state": "absent", "keyslot": 2}, unlock=S1) == [("erase", 2)]  # 09
    assert image.opened_by(*EVERY) == {S1, S3} and image.active() == {1, 3}


def test_rows_10_to_12_a_secret_that_opens_a_slot_is_not_added_again(image: QemuImage) -> None:
    assert amend(image, new(S1, keyslot=1), new(S3, keyslot=3), unlock=S0) == [("add", 1), ("add", 3)]
    for passphrase in (S1, S1, S3, S0):  # 10, 11, 12: QEMU takes one more slot each time
        assert amend(image, new(passphrase), unlock=S3) == []
    assert image.active() == {0, 1, 3}


# Row 10 to 12: which secret is in which slot in the end.
EIGHT = {0: S2, 1: S1, 2: S2, 3: S3, 4: S2, 5: S2, 6: S0, 7: S3}


def filled_by_us(image: QemuImage) -> None:
    keyslots(
        image.path, [new(passphrase, keyslot=keyslot) for keyslot, passphrase in EIGHT.items() if keyslot], unlock=[S0]
    )
    keyslots(image.path, [{"state": "absent", "keyslot": 0}], unlock=[S1])
    keyslots(image.path, [new(EIGHT[0], keyslot=0)], unlock=[S1])


def filled_by_qemu(image: QemuImage) -> None:
    """qemu-img measures the processor for a second at each of eight slots, so that the outcome is kept."""

    def fill(scratch: pathlib.Path) -> None:
        scratch_image = image.copied(scratch)
        for keyslot, passphrase in [
            *((keyslot, passphrase) for keyslot, passphrase in EIGHT.items() if keyslot),
            (0, ""),
        ]:
            options = ("state=active", f"keyslot={keyslot}", "iter-time=1", "new-secret=new")
            done = (
                scratch_image.amend_with(S0, passphrase, *options)
                if keyslot
                else scratch_image.amend(S1, "state=inactive", "keyslot=0")
            )
            assert done.returncode == 0, done.stderr
        done = scratch_image.amend_with(S1, EIGHT[0], "state=active", "keyslot=0", "iter-time=1", "new-secret=new")
        assert done.returncode == 0, done.stderr

    recipe = ["rows 10 to 12", originals.build_of("qemu-img"), image.format, sorted(EIGHT.items())]
    originals.copied(kept.folder(recipe, fill) / image.path.name, image.path)


@pytest.mark.parametrize(
    ("image", "fill"),
    [
        ("qcow2", filled_by_us),
        *(
            pytest.param(*pair, marks=pytest.mark.full)
            for pair in (("luks", filled_by_us), *((one, filled_by_qemu) for one in FORMATS))
        ),
    ],
    indirect=["image"],
)
def test_rows_13_to_20_a_full_header(image: QemuImage, fill: t.Callable[[QemuImage], None]) -> None:
    """qemu-img takes more than ten seconds to fill the header."""
    fill(image)
    assert image.active() == set(range(8))
    assert amend(image, new(S3), unlock=S2) == []  # ours: s3 is there already
    words = refused(image, new(S4), unlock=S2)  # 13, with a secret that is not there yet
    assert "no safe order" in words
    assert image.opened_by(*EVERY) == {S0, S1, S2, S3}  # 14
    gone = amend(image, {"state": "absent", "old_secret": secret(S2)}, unlock=S1)  # 15
    assert gone == [("erase", 0), ("erase", 2), ("erase", 4), ("erase", 5)]
    assert image.opened_by(*EVERY) == {S0, S1, S3}
    # 16, 17: QEMU unlocks with the very secret that goes; a desired state wants the proof of one that stays.
    assert "unproven" in refused(image, {"state": "absent", "old_secret": secret(S1)}, unlock=S1)
    assert amend(image, {"state": "absent", "old_secret": secret(S1)}, unlock=S3) == [("erase", 1)]
    assert amend(image, {"state": "absent", "old_secret": secret(S0)}, unlock=S3) == [("erase", 6)]
    assert image.active() == {3, 7}
    assert "the data is lost" in refused(image, {"state": "absent", "old_secret": secret(S3)}, unlock=S3)  # 18
    assert image.opened_by(*EVERY) == {S3}  # 19
    assert amend(image, new(S0), {"state": "absent", "old_secret": secret(S3)}, unlock=S3) == [
        ("add", 0),
        ("erase", 3),
        ("erase", 7),
    ]  # 20
    assert image.opened_by(*EVERY) == {S0} and image.active() == {0}


def test_rows_21_and_22_an_active_slot_is_overwritten_with_consent_only(image: QemuImage) -> None:
    before = image.path.read_bytes()
    words = refused(image, new(S1, keyslot=0), unlock=S0)  # 21
    assert "Keyslot 0 opens with" in words and "as old_secret of this entry" in words
    assert "another entry wants present" in refused(image, new(S1, keyslot=0), new(S0), unlock=S0)
    assert image.path.read_bytes() == before
    assert amend(image, new(S4, keyslot=4), unlock=S0) == [("add", 4)]
    assert "force: true" in refused(image, new(S1, keyslot=0), unlock=S4) or image.opens(S0)
    assert amend(image, new(S1, keyslot=0), unlock=S4, force=True) == [("rekey", 0)]  # 22
    assert image.opened_by(*EVERY) == {S1, S4}


def test_rows_23_to_28_the_last_key(image: QemuImage) -> None:
    assert "last one" in refused(image, {"state": "absent", "keyslot": 0}, unlock=S0)  # 23
    refused(image, {"state": "absent", "old_secret": secret(S0)}, unlock=S0)  # 24
    with pytest.raises(ModuleFailed, match=r"(?i)no such file|does not exist"):  # 25: a secret that is not there
        keyslots(
            image.path,
            [{"state": "absent", "old_secret": {"keyfile": str(image.path) + ".none"}}],
            unlock=[S0],
            force=True,
        )
    # 26: absent means "opens nothing", so a secret that opens nothing is no change here and an error in QEMU
    assert amend(image, {"state": "absent", "old_secret": secret(S1)}, unlock=S0, force=True) == []
    assert amend(image, {"state": "absent", "keyslot": 1}, unlock=S0) == []  # 27: no change, also without force
    refused(image, {"state": "absent", "keyslot": 0}, unlock=S0, force=True)  # 28: force is not the consent for this
    assert amend(image, {"state": "absent", "keyslot": 0}, unlock=S0, allow_lockout=True) == [("erase", 0)]
    assert image.opened_by(*EVERY) == set() and image.active() == set()
