# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole volumes whose header lies: what one keyslot claims does not keep the others from being read, and refusals come
before writes.
"""

from __future__ import annotations

import gzip
import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import parse, parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import inspect as usecases_inspect
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

FIXTURE = pathlib.Path(__file__).resolve().parents[5] / "fixtures" / "luks2.img.gz"
LEAKED, SPARE = {"label": "leaked", "passphrase": "winter-2025"}, {"label": "spare", "passphrase": "in-case-of-fire"}
NEXT = {"label": "next", "passphrase": "spring-2026"}
CHEAP = {"type": "argon2id", "time": 4, "memory": 32, "parallel": 1}
Tree = t.Dict[str, t.Any]


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> t.Callable[[t.Callable[[Tree], object]], pathlib.Path]:
    """A volume with two keyslots whose metadata the test may change."""

    def make(change: t.Callable[[Tree], object]) -> pathlib.Path:
        raw = gzip.decompress(FIXTURE.read_bytes())
        tree = json.loads(raw[4096:16384].rstrip(b"\0"))
        change(tree)
        path = tmp_path / "volume"
        path.write_bytes(image.build(tree) + raw[32768:])
        return path

    return make


def inspect(path: pathlib.Path) -> t.Dict[str, t.Any]:
    return usecases_inspect.inspect(parse_info.parse_info({"device": str(path), "secrets": [LEAKED, SPARE]}))


def amend_volume(path: pathlib.Path, *entries: t.Any, check: bool = False, **options: t.Any) -> t.Dict[str, t.Any]:
    return amend.amend(
        parse.parse_task({"device": str(path), "keyslots": list(entries), "wipe": "single", **options}), check=check
    )


def alone(slot: Tree, digest: Tree, tree: Tree) -> None:
    """``slot`` as keyslot 9 with a digest of its own, beside the two of the volume."""
    tree["keyslots"]["9"] = slot
    tree["digests"]["1"] = {**digest, "keyslots": ["9"], "segments": []}


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"key_size": 0}, "its key size is 0 bytes"),
        ({"key_size": 513}, "its key size is 513 bytes"),
        ({"key_size": 4294967295}, "its key size is 4294967295 bytes"),
        (
            {
                "area": {
                    "type": "raw",
                    "offset": "552960",
                    "size": "4096",
                    "encryption": "aes-xts-plain64",
                    "key_size": 32,
                }
            },
            "would end at byte 680960",
        ),
    ],
    ids=str,
)
def test_one_absurd_keyslot_does_not_hide_the_others(volume: t.Any, claim: Tree, reason: str) -> None:
    def change(tree: Tree) -> None:
        slot = {**tree["keyslots"]["0"], "area": {**tree["keyslots"]["0"]["area"], "offset": "425984"}}
        alone({**slot, **claim}, tree["digests"]["0"], tree)

    result = inspect(volume(change))
    assert result["opened_by"] == {"leaked": [0], "spare": [1]}
    assert [row["tried"] for row in result["keyslots"]] == [True, True, False]
    assert any("keyslot 9 could not be tried" in warning and reason in warning for warning in result["warnings"]), (
        result["warnings"]
    )


def test_keyslots_beyond_31_are_not_tried(volume: t.Any) -> None:
    """Otherwise a header with ten thousand of them would have ten thousand keys derived."""
    path = volume(
        lambda tree: (
            tree["keyslots"].update({"32": tree["keyslots"].pop("0")}),
            tree["digests"]["0"].update(keyslots=["32", "1"]),
        )
    )
    result = inspect(path)
    assert result["opened_by"] == {"leaked": [], "spare": [1]}
    assert any("keyslot 32 could not be tried" in warning for warning in result["warnings"])
    assert result["kdf_evaluations"] <= 2


def test_keys_of_two_sizes_under_one_digest_are_refused_before_a_write(volume: t.Any) -> None:
    """A new keyslot would take its size from the first one, and hold half of a key or run out of its area."""
    for number in ("0", "1"):
        path = volume(lambda tree, number=number: tree["keyslots"][number].update(key_size=16))
        before = path.read_bytes()
        for check in (True, False):
            with pytest.raises(errors.Refused, match="different sizes"):
                amend_volume(path, {"new_secret": NEXT, "pbkdf": CHEAP}, unlock=[SPARE], check=check)
        assert path.read_bytes() == before


def test_costs_beyond_the_limits_are_refused_before_a_write(volume: t.Any) -> None:
    """The first entry could be done. That the second cannot was only noticed after it."""
    path = volume(lambda tree: None)
    before = path.read_bytes()
    limits = {"iterations": 10_000, "memory": 1024}
    for check in (True, False):
        with pytest.raises(
            errors.Refused, match=r"keyslot 2 would cost too much: argon2id requires .* KiB of memory.*kdf_limits"
        ):
            amend_volume(
                path,
                {"new_secret": NEXT, "old_secret": LEAKED, "pbkdf": CHEAP},
                {"new_secret": {"passphrase": "x"}},
                kdf_limits=limits,
                check=check,
            )
    assert path.read_bytes() == before


def test_a_cipher_that_a_new_keyslot_could_not_use_is_refused_before_a_write(volume: t.Any) -> None:
    """AES of the payload is that of new keyslots; the keyslots that are there have one that works."""
    path = volume(lambda tree: tree["segments"]["0"].update(encryption="aes-xts-somethingelse"))
    before = path.read_bytes()
    for check in (True, False):
        with pytest.raises(errors.Unsupported, match="aes-xts-somethingelse"):
            amend_volume(
                path,
                {"new_secret": NEXT, "pbkdf": CHEAP},
                {"state": "absent", "keyslot": 0},
                unlock=[SPARE],
                check=check,
            )
    assert path.read_bytes() == before


def test_an_entry_that_ignores_and_one_that_does_not_cannot_share_a_secret(volume: t.Any) -> None:
    """Each run set the priority again, in turn with itself."""
    path = volume(lambda tree: None)
    with pytest.raises(errors.BadTask, match="priority ignore"):
        amend_volume(path, {"new_secret": SPARE, "priority": "ignore"}, {"new_secret": SPARE})
    assert amend_volume(path, {"new_secret": SPARE, "priority": "prefer"}, {"new_secret": SPARE})["changed"]


def test_a_forged_note_of_an_erase_is_no_plan_that_is_then_not_carried_out(volume: t.Any) -> None:
    """LUKS2 runs never leave a note of this kind: the plan showed an erase, and the real run only dropped the note."""
    note = {"type": "luksmith.luks-intent", "keyslots": [], "version": 1, "kind": "erase", "keyslot": 0, "extents": []}
    path = volume(lambda tree: tree["tokens"].update({"0": note}))
    for check in (True, False):
        with pytest.raises(
            errors.Refused, match="journal entry of an interrupted run in the LUKS2 header cannot be used"
        ):
            amend_volume(path, {"new_secret": NEXT, "pbkdf": CHEAP}, unlock=[SPARE], check=check)
