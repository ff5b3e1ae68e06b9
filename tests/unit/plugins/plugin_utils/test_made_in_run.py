# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose secret is brought to which volume, as the processes of a run tell each other."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._made_in_run import (  # noqa: E402
    MadeInRun,
    brought,
    told_of_owners,
)

A, B, C = "rotation 0a", "rotation 0b", "rotation 0c"


def work(uuid: str, label: str) -> t.Dict[str, t.Any]:
    return {"uuid": uuid, "keyslots": [{"new_secret": {"label": label}}, {"state": "absent", "keyslot": 1}]}


def test_each_host_sees_those_of_the_others_for_its_own_volumes(tmp_path: pathlib.Path) -> None:
    made = MadeInRun(str(tmp_path / "run"))
    assert made.of_others("web1", {("0000", A)}) == {}
    made.note("web1", set())
    assert not list(tmp_path.iterdir())
    made.note("Web1", {("0000", A), ("2222", C)})
    made.note("web1", {("0000", B)})
    assert made.of_others("web1", {("0000", B), ("1111", B)}) == {A: "Web1"}
    assert made.of_others("Web1", {("0000", A), ("2222", C)}) == {B: "web1"}
    assert made.of_others("Web1", {("2222", C)}) == made.of_others("db", set()) == {}
    made.note("web1", {("0000", A)})  # a group of both would be one secret
    assert made.of_others("web1", {("0000", A)}) == {}


def test_what_cannot_be_read_or_written_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secrets").write_text('["rotation 0a", "we')
    with pytest.raises(LuksmithError, match="was cut short"):
        MadeInRun(str(tmp_path)).of_others("web", {("0000", A)})
    (tmp_path / "secrets").unlink()
    (tmp_path / "secrets").mkdir()
    with pytest.raises(LuksmithError, match="annot be read"):
        MadeInRun(str(tmp_path)).of_others("web", {("0000", A)})
    with pytest.raises(LuksmithError, match="annot be written"):
        MadeInRun(str(tmp_path)).note("web", {("0000", A)})


def test_a_look_brings_only_what_is_for_volumes_that_are_there() -> None:
    options = {"volumes": [{"device": "/dev/x"}], "orders": [work("00aa", A), work("1111", B), work("", B)]}
    assert brought(options, {"volumes": [{"uuid": "00AA"}, "odd"]}) == {("00aa", A)}
    assert brought(options, {"volumes": None}) == brought(options, {}) == set()
    assert brought({"volumes": [work("1111", B)]}, {}) == {("1111", B)}


def test_a_message_gets_the_name_of_the_host() -> None:
    said = {"msg": f"keyslot 2 was made for {A}, which is the secret of another host."}
    (told,) = told_of_owners({"volumes": [dict(said)]}, {A: "Web1", B: "web2"})["volumes"]
    assert told["msg"] == f"{said['msg']} {A} is that of Web1."
    for answer in ({}, {"volumes": "odd"}, {"volumes": ["odd", {"msg": 7}]}):
        assert told_of_owners(dict(answer), {A: "Web1"}) == answer
