# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of the report: it accepts what is written, and nothing that it does not know.

Other tests of this folder are judged by it, too (conftest.py).
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import comparison, data
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets, schema

jsonschema = pytest.importorskip("jsonschema")

SAMPLES: t.Mapping[t.Any, t.Any] = {str: "x", int: 1, bool: True}
RUN = {**dict.fromkeys(data._RUN, "x"), "check": True, "versions": {"a": "1"}, "options": {"b": "2"}, "differ": ["c"]}


def members(kinds: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {name: SAMPLES[kind] for name, kind in kinds.items()}


def everything(kind: str) -> t.Dict[str, t.Any]:
    """A report that has each member that the code knows."""
    row = {**members(data._ROW), "opened_by": ["a"], "tokens": ["t"], "kdf": fleets.row(0)["kdf"]}
    action = members(data._ACTION)
    volume = {
        **members(data._VOLUME),
        "state": data.STATES[kind][1],
        "findings": [fleets.finding()],
        "unverified": [fleets.finding(keyslot=None)],
        **{name: [row] for name in ("keyslots", "before", "after")},
        **{name: [action] for name in ("plan", "actions_done", "actions_left")},
        "secrets": ["s"],
        "closed": ["c"],
        "chain": [{**members(data._FILE), "opened_by": ["o"], "replaced": ["r"]}],
        "unknown": [members(data._UNKNOWN)],
        "evidence": {**members(data._AUDITED), **{name: ["l"] for name in data._LABELS}, "policy": {"digest": "d"}},
        "store": {"opens": "yes", "secret": "s", "keyslots": [1], "older": ["o"], "kept": ["k"]},
        "looked": members(data._LOOKED),
    }
    host = {
        "host": "a",
        "volumes": [volume],
        "excluded": [{"volume": "v", "reason": "r"}],
        "state": "answered",
        "options": {"rotate_unknown": "fail"},
        **members(data._TIMES),
        "searched": {name: ["x"] for name in ("paths", "volumes", "unmatched")},
    }
    before = {"problem": "", "hosts": comparison.reduced(data.hosts_of([{"host": "a"}, {"host": "b"}], kind), kind)}
    run = {"run": RUN} if kind == data.ROTATION else {}
    about = {"scope": {"inventory": 3, "targets": ["a", "z"]}, "files": {"json": "luks-audit.json"}}
    return data.build([host], kind=kind, **run, **about, since=lambda hosts: comparison.since(before, hosts, kind))


def test_it_is_a_schema_that_lets_nothing_by() -> None:
    whole = schema.schema()
    jsonschema.Draft202012Validator.check_schema(whole)

    def objects(part: t.Any) -> t.Iterator[t.Any]:
        if isinstance(part, dict):
            if "properties" in part and "type" in part:
                yield part
            for inner in part.values():
                yield from objects(inner)
        if isinstance(part, list):
            for inner in part:
                yield from objects(inner)

    found = list(objects(whole))
    assert len(found) > 15 and all(one["additionalProperties"] is False for one in found)


@pytest.mark.parametrize("kind", data.KINDS)
@pytest.mark.parametrize("hosts", [[], fleets.fleet(30), fleets.hostile(), [{"host": "a", "error": "no route"}]])
def test_it_accepts_every_report(kind: str, hosts: t.Any) -> None:
    assert schema.complaints(data.build(hosts, kind=kind)) == []


@pytest.mark.parametrize("kind", data.KINDS)
def test_it_knows_each_member_and_no_other(kind: str) -> None:
    report = everything(kind)
    assert schema.complaints(report) == []
    known = schema.schema()["$defs"]
    host = report["hosts"][0]
    compared = set() if kind == data.AUDIT else {"compared"}  # the volumes of a rotation are not
    assert set(host["volumes"][0]) == set(known["volume"]["properties"]) - compared and report["since"]["volumes"]
    assert set(report["since"]) == set(known["since"]["properties"])
    assert kind == data.ROTATION or set(report["verdict"]) == set(known["verdict"]["properties"])
    assert kind == data.ROTATION or set(host["searched"]) == set(known["host"]["properties"]["searched"]["properties"])
    if kind == data.ROTATION:
        assert set(host) == set(known["host"]["properties"]) - {"searched"}
        assert set(report["run"]) == set(known["run"]["properties"])


@pytest.mark.parametrize("table", ["_VOLUME", "_ROW", "_FINDING", "_ACTION", "_AUDITED", "_UNKNOWN", "_RUN", "_TIMES"])
def test_a_member_that_only_the_code_knows_is_noticed(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(getattr(data, table), "surprise", str)
    monkeypatch.setitem(RUN, "surprise", "x")
    real = fleets.finding()
    monkeypatch.setattr(fleets, "finding", lambda **members: {**real, **members, "surprise": "x"})
    report = everything(data.ROTATION)
    assert any("surprise" in one for one in schema.complaints(report)), table


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("kind",), "weather"),
        (("surprise",), 1),
        (("hosts", 0, "surprise"), 1),
        (("hosts", 0, "volumes", 0, "state"), "done"),
        (("hosts", 0, "volumes", 0, "findings", 0, "severity"), "bad"),
        (("totals", "volumes"), -1),
        (("totals", "states", "done"), 1),
        (("since", "surprise"), 1),
        (("scope", "surprise"), 1),
        (("files", "json"), 1),
    ],
)
def test_what_it_refuses(path: t.Sequence[t.Any], value: t.Any) -> None:
    report: t.Any = everything(data.AUDIT)
    place = report
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert schema.complaints(report)
