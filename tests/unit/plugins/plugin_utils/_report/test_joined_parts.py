# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a rotation become one report, and its verdict is over all of them; tests/rotation/test_slices.py makes real
ones.
"""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, writing

from . import schema

Report = t.Dict[str, t.Any]
DONE = [{"device": "/dev/x", "state": "done"}]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path


def part(folder: pathlib.Path, number: int, hosts: t.Sequence[Report], **run: t.Any) -> str:
    """A report of one slice, as the role writes it."""
    usual = {
        "id": f"slice {number}",
        "check": False,
        "began": f"2026-11-29 0{number}:00:00 UTC",
        "ended": f"2026-11-29 0{number}:30:00 UTC",
        "who": "root",
        "controller": f"node-{number}",
        "store": "vault_file",
        "versions": {"ansible-core": "2.21.5"},
        "options": {"rotate_generation": "one", "rotate_report": f"slices/{number}"},
        "differ": ["rotate_volumes"],
    }
    file = folder / f"{number}.json"
    file.write_text(json.dumps(data.build(hosts, kind="rotation", run={**usual, **run})))
    return str(file)


def joined(folder: pathlib.Path, sources: t.Sequence[str], whole: t.Sequence[str] = ()) -> Report:
    """whole: the inventory, as docs/scale.md gives it."""
    options = {
        "hosts": [{"host": host, "state": "waiting"} for host in whole],
        "sources": sources,
        "kind": "rotation",
        "title": "",
        "generated": "now",
        **dict.fromkeys(writing.FORMS),
        "json": str(folder / "fleet.json"),
    }
    writing.write(options, mode=lambda _old: 0o600, check=False)
    return t.cast(Report, json.loads((folder / "fleet.json").read_text()))


def of(name: str, state: str = "answered", volumes: t.Sequence[Report] = ()) -> Report:
    return {"host": name, "state": state, "volumes": list(volumes)}


def test_all_slices_came_to_their_end(folder: pathlib.Path) -> None:
    one = part(folder, 1, [of("a", volumes=DONE), of("b", "beyond")])
    two = part(folder, 2, [of("a", "beyond"), of("b", volumes=DONE)])
    report = joined(folder, [one, two], ["a", "b"])
    assert [(host["host"], host["state"], len(host["volumes"])) for host in report["hosts"]] == [
        ("a", "answered", 1),
        ("b", "answered", 1),
    ]
    assert report["run"] == {
        "check": False,
        "began": "2026-11-29 01:00:00 UTC",
        "ended": "2026-11-29 02:30:00 UTC",
        "who": "root",
        "store": "vault_file",
        "versions": {"ansible-core": "2.21.5"},
        "options": {"rotate_generation": "one"},
        "differ": ["rotate_report", "rotate_volumes"],
        "verdict": "done",
    }


@pytest.mark.skipif(not schema.available(), reason="the Python package jsonschema is not installed")
def test_the_schema_knows_it(folder: pathlib.Path) -> None:
    report = joined(folder, [part(folder, 1, [of("a", volumes=DONE)])], ["a", "b"])
    assert schema.complaints(report) == []


def test_a_slice_that_never_began(folder: pathlib.Path) -> None:
    """The other slice knows its hosts as beyond --limit only."""
    report = joined(folder, [part(folder, 1, [of("a", volumes=DONE), of("b", "beyond")])], ["a", "b"])
    assert {host["host"]: host["state"] for host in report["hosts"]} == {"a": "answered", "b": "waiting"}
    assert (report["run"]["verdict"], report["run"]["ended"]) == ("incomplete", None)


@pytest.mark.parametrize("state", ["waiting", "asking", "interrupted"])
def test_a_slice_that_did_not_end(folder: pathlib.Path, state: str) -> None:
    one = part(folder, 1, [of("a", volumes=DONE)])
    two = part(folder, 2, [of("b", state)], ended=None)
    report = joined(folder, [one, two], ["a", "b"])
    assert [host["state"] for host in report["hosts"]] == ["answered", state]
    assert (report["run"]["verdict"], report["run"]["ended"]) == ("incomplete", None)


def test_a_host_without_an_answer_is_counted_as_one_everywhere(folder: pathlib.Path) -> None:
    """Also where an earlier part had an answer of it: the later one counts."""
    gone = {**of("b"), "error": "the host gave no answer"}
    one = part(folder, 1, [of("a", volumes=DONE), of("b", volumes=DONE)])
    report = joined(folder, [one, part(folder, 2, [gone])], ["a", "b"])
    assert [host["state"] for host in report["hosts"]] == ["answered", "lost"]
    counted = report["totals"]["hosts_by_state"]
    assert (counted["answered"], counted["lost"], report["totals"]["hosts_without_answer"]) == (1, 1, 1)
    assert report["run"]["verdict"] == "failed"
    if schema.available():
        assert schema.complaints(report) == []


def test_a_slice_that_failed(folder: pathlib.Path) -> None:
    one = part(folder, 1, [of("a", volumes=DONE)])
    two = part(folder, 2, [of("b", volumes=[{"device": "/dev/x", "state": "refused"}])])
    assert joined(folder, [one, two])["run"]["verdict"] == "failed"


@pytest.mark.parametrize("dry", [1, 2])
def test_a_dry_run_among_real_ones(folder: pathlib.Path, dry: int) -> None:
    parts = [part(folder, number, [of(f"h{number}")], check=number == dry) for number in (1, 2)]
    with pytest.raises(BadTask, match=rf"{dry}\.json is the report of a dry run, and .*{3 - dry}\.json is not"):
        joined(folder, parts)
    assert not (folder / "fleet.json").exists()


def test_dry_runs(folder: pathlib.Path) -> None:
    parts = [part(folder, number, [of(f"h{number}")], check=True) for number in (1, 2)]
    assert joined(folder, parts)["run"]["verdict"] == "planned"


@pytest.mark.parametrize("run", [None, "yesterday"])
def test_a_part_that_knows_nothing_of_its_run(folder: pathlib.Path, run: t.Any) -> None:
    """As luksmith.luks.fleet_report writes one from results of a rotation; or anything."""
    one = part(folder, 1, [of("a", volumes=DONE)])
    other = folder / "other.json"
    other.write_text(json.dumps({**data.build([of("b")], kind="rotation"), **({"run": run} if run else {})}))
    assert "run" not in joined(folder, [one, str(other)])
