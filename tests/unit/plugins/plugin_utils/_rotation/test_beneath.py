# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret that was replaced and still opens a file beneath a volume is named, and so is a file that was not tried."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import beneath
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.machine import Rotation
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    Disk,
    FakeHost,
    FakeStore,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (
    GLASS,
    LEAKED,
    OTHER,
    disk,
    options,
)

BASE = {"path": "/img/base.qcow2", "role": "backing", "format": "qcow2", "encrypted": True, "opened_by": ["leaked"]}


def over(*rows: t.Dict[str, t.Any]) -> Disk:
    one = disk()
    one.chain = [dict(row) for row in rows]
    return one


def rotated(disks: t.Dict[str, Disk], store: t.Optional[FakeStore] = None, **more: t.Any) -> Rotation:
    return rotate(options(**more), FakeHost(disks), store or FakeStore())[0]


@pytest.mark.parametrize("check", [True, False])
def test_a_replaced_secret_that_opens_a_backing_file_is_named_in_each_run(check: bool) -> None:
    disks, store = {"/img/top.qcow2": over(BASE)}, FakeStore()
    for _run in range(2):
        volumes = rotated(disks, store, check=check).volumes
        assert not volumes[0].failed
        assert beneath.warnings(volumes) == [
            "/img/top.qcow2: the backing file /img/base.qcow2 is left as it is by this rotation, and opens with leaked"
        ]
        end = "/img/top.qcow2 (the backing file /img/base.qcow2 opens with leaked)"
        assert beneath.sentence(volumes).startswith(f"A replaced secret still opens what lies beneath: {end}. Rotate")


def test_secrets_without_a_label_are_told_in_the_words_of_the_operator() -> None:
    """The module counts ``unlock``: here first what is kept, then what is replaced."""
    given = {name: [{"passphrase": one["passphrase"]}] for name, one in (("keeps", GLASS), ("replaces", LEAKED))}
    volumes = rotated({"/img/top.qcow2": over({**BASE, "opened_by": ["unlock[0]", "unlock[1]"]})}, **given).volumes
    assert "opens with rotate_keeps[0], rotate_replaces[0]" in beneath.warnings(volumes)[0]
    assert "base.qcow2 opens with rotate_replaces[0])" in beneath.sentence(volumes)


@pytest.mark.parametrize("step", ["add", "erase"])
def test_what_a_change_says_of_the_files_beneath_counts_more_than_the_look_before(step: str) -> None:
    class SaysMore(FakeHost):
        def _change(self, asked: t.Any, work: t.Any) -> t.Any:
            more = {"chain": [BASE]} if asked["step"] == step else {}
            return {**super()._change(asked, work), **more}

    volumes = rotate(options(), SaysMore({"/img/top.qcow2": disk()}), FakeStore())[0].volumes
    assert beneath.warnings(volumes) == [
        "/img/top.qcow2: the backing file /img/base.qcow2 is left as it is by this rotation, and opens with leaked"
    ]


def test_a_secret_that_is_to_open_the_volume_is_no_leak_beneath() -> None:
    store = FakeStore()
    top = over({**BASE, "opened_by": ["break-glass"]})
    assert beneath.sentence(rotated({"/img/top.qcow2": top}, store).volumes) == ""
    current = f"rotation {store.entry(top.uuid)['current']['id']}"
    top.chain = [{**BASE, "opened_by": [current]}]
    assert beneath.sentence(rotated({"/img/top.qcow2": top}, store).volumes) == ""
    assert current in beneath.sentence(rotated({"/img/top.qcow2": top}, store, generation="two").volumes)


@pytest.mark.parametrize(
    ("row", "warned", "ended"),
    [
        (
            {"encrypted": None, "why_untried": "it is not given as a path"},
            "was not tried: it is not given as a path",
            "base.qcow2, because it is not given as a path",
        ),
        (
            {"opened_by": [], "why_untried": "keyslot 0: it costs too much"},
            "opens with no secret that was tried (not tried: keyslot 0: it costs too much)",
            "base.qcow2, because keyslot 0: it costs too much",
        ),
        ({"encrypted": None}, "was not tried: no reason was given", "because no reason was given"),
        ({"encrypted": False, "opened_by": []}, "is not encrypted: what it holds is read without any secret", ""),
        ({"role": "data", "encrypted": True, "opened_by": []}, "external data file /img/base.qcow2", ""),
        (
            {"role": "device", "path": "/dev/sdb"},
            "the header that /dev/sdb has of its own is left as it is by this rotation, and opens with leaked",
            "the header that /dev/sdb has of its own opens with leaked",
        ),
    ],
)
def test_each_kind_of_file(row: t.Dict[str, t.Any], warned: str, ended: str) -> None:
    volumes = rotated({"/img/top.qcow2": over({**BASE, **row})}).volumes
    (warning,) = beneath.warnings(volumes)
    assert warned in warning
    assert ended in beneath.sentence(volumes) and bool(ended) == bool(beneath.sentence(volumes))


def test_a_base_that_the_same_run_rotates_is_told_by_its_own_row_only() -> None:
    def disks() -> t.Dict[str, Disk]:
        return {"/img/top.qcow2": over(BASE), "/img/base.qcow2": disk(uuid=OTHER)}

    volumes = rotated(disks()).volumes
    assert beneath.warnings(volumes) == [] and beneath.sentence(volumes) == ""
    both = disks()
    both["/img/base.qcow2"].refuses = "it is in use"
    assert "opens with leaked" in beneath.sentence(rotated(both).volumes)
    both = disks()
    both["/img/top.qcow2"].chain[0]["opened_by"] = ["somebody's"]
    assert "opens with somebody's" in beneath.sentence(rotated(both).volumes)


def test_a_host_that_says_anything_gets_a_bounded_answer() -> None:
    rows: t.List[t.Any] = [{"path": "/\x1b[2J" + "x" * 10_000, "role": 7, "encrypted": "no", "opened_by": "leaked"}]
    rows += [7, {"role": "device", "opened_by": [7, "a\nb"] * 10_000, "why_untried": ["x"], "encrypted": True}] * 10_000
    top = disk()
    top.chain = rows
    volumes = rotated({"/img/top.qcow2": top}).volumes
    assert len(volumes[0].chain) == 100 and sum(len(row["opened_by"]) for row in volumes[0].chain) <= 100 * 100
    assert all(warning.isprintable() for warning in beneath.warnings(volumes))
    first = volumes[0].chain[0]
    assert (first["role"], first["encrypted"], first["opened_by"], first["why_untried"]) == ("backing", None, [], "")
    many = {f"/img/{number}": over(*[BASE] * 90) for number in range(3)}
    for number, one in enumerate(many.values()):
        one.uuid = f"{number}{OTHER[1:]}"
    warnings = beneath.warnings(rotated(many).volumes)
    assert len(warnings) == 101 and warnings[-1] == "170 more files are in the report (rotate_report)."
