# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a look at the whole fleet shows: all clones, and no volume that is none."""

from __future__ import annotations

import csv
import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, exchange, writing
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets


def volume(number: int, key: int, uuid: int, **members: t.Any) -> t.Dict[str, t.Any]:
    return fleets.volume(number, uuid=f"uuid-{uuid}", key_digest=f"digest-{key}", **members)


def clones(hosts: t.Sequence[t.Mapping[str, t.Any]]) -> t.Dict[str, str]:
    return {
        host["host"]: one["message"]
        for host in hosts
        for item in host["volumes"]
        for one in item["findings"]
        if one["rule"] == "clone"
    }


def fleet(*volumes: t.Dict[str, t.Any]) -> t.Any:
    return data.build([{"host": f"h{number}", "volumes": [one]} for number, one in enumerate(volumes)])


def test_same_uuid_and_another_uuid_with_the_same_key() -> None:
    report = fleet(volume(1, 1, 1), volume(1, 1, 2), volume(1, 3, 3), volume(1, 4, 3), volume(1, 5, 5))
    assert clones(report["hosts"]) == {
        "h0": "h0:/dev/vda1 has the volume key of h1:/dev/vda1",
        "h1": "h1:/dev/vda1 has the volume key of h0:/dev/vda1",
        "h2": "h2:/dev/vda1 has the uuid of h3:/dev/vda1",
        "h3": "h3:/dev/vda1 has the uuid of h2:/dev/vda1",
    }
    assert report["totals"]["states"]["findings"] == 4 and report["totals"]["findings"]["high"] == 4


def test_what_is_unknown_is_no_clone() -> None:
    """A header that cannot be read has neither; a failed volume stays one."""
    assert clones(fleet(*(fleets.volume(1, uuid="u") for _one in range(2)))["hosts"]) == {}
    failed = [volume(1, 1, 1, state="failed", msg="x") for _one in range(2)]
    assert fleet(*failed)["totals"]["states"]["failed"] == 2


def test_parts_of_a_fleet_are_judged_together_and_once() -> None:
    first, second = fleet(volume(1, 1, 1), volume(1, 2, 2)), fleet(volume(1, 9, 9))
    other = [{**host, "host": "other", "volumes": [volume(1, 1, 7)]} for host in second["hosts"]]
    once = data.build([*first["hosts"], *other])
    assert set(clones(once["hosts"])) == {"h0", "other"}
    assert data.build(once["hosts"])["hosts"] == once["hosts"]
    assert exchange.to_csv(once).count(",clone,") == 2


def test_ten_thousand_hosts_with_one_percent_of_clones() -> None:
    hosts = [{"host": f"h{number:05}", "volumes": [volume(0, number, number)]} for number in range(10000)]
    for number in range(100):
        hosts[number]["volumes"] = [volume(0, 9000 + number, 9000 + number if number % 2 else 20000 + number)]
    found = clones(data.build(hosts)["hosts"])
    assert set(found) == {f"h{number:05}" for first in (0, 9000) for number in range(first, first + 100)}


@pytest.mark.full
def test_the_files_of_ten_thousand_hosts_name_the_clones_and_nobody_else(tmp_path: pathlib.Path) -> None:
    """It may take a minute, as all forms of the report are written; docs/scale.md has what was measured."""
    hosts = [{"host": f"h{number:05}", "volumes": [volume(0, number, number)]} for number in range(10000)]
    for number in range(100):
        hosts[number]["volumes"] = [volume(0, 9000 + number, 9000 + number if number % 2 else 20000 + number)]
    files = {form: str(tmp_path / form) for form in writing.FORMS}
    options = {"sources": [], "hosts": hosts, "kind": "audit", "title": "", "generated": "now", **files}
    writing.write(options, mode=lambda _old: 0o600, check=False)
    wanted = {f"h{number:05}" for first in (0, 9000) for number in range(first, first + 100)}
    with open(files["csv"], newline="", encoding="utf-8") as lines:
        assert {line["host"] for line in csv.DictReader(lines) if line["rule"] == "clone"} == wanted
    sarif = json.loads(pathlib.Path(files["sarif"]).read_text())["runs"][0]["results"]
    found = [one["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] for one in sarif if "ruleId" in one]
    assert {name.partition(":")[0] for name in found} == wanted
    with open(files["xccdf"], encoding="utf-8") as lines:
        assert sum('_rule_clone"><result>fail<' in line for line in lines) == len(wanted)


def printed(number: int, key: str, **secrets: str) -> t.Dict[str, t.Any]:
    """A volume whose header is like no other; fingerprints of its volume key and of the secrets that open it."""
    return volume(1, number, number, prints={"volume_key": key, "secrets": secrets})


def messages(report: t.Any, rule: str) -> t.List[str]:
    volumes = [item for host in report["hosts"] for item in host["volumes"]]
    return [one["message"] for item in volumes for one in item["findings"] if one["rule"] == rule]


def test_a_clone_that_only_secrets_prove_and_one_secret_on_several_hosts() -> None:
    report = fleet(printed(1, "a", admin="x"), printed(2, "a", root="x"), printed(3, "b", admin="y"))
    assert messages(report, "clone") == [
        "h0:/dev/vda1 has the volume key of h1:/dev/vda1, as their secrets prove",
        "h1:/dev/vda1 has the volume key of h0:/dev/vda1, as their secrets prove",
    ]
    assert messages(report, "secret-shared") == [
        "'admin' opens h0:/dev/vda1 and volumes of 1 other host: h1:/dev/vda1",
        "'root' opens h1:/dev/vda1 and volumes of 1 other host: h0:/dev/vda1",
    ]
    assert [host["volumes"][0]["worst"] for host in report["hosts"]] == ["high", "high", None]
    assert "prints" not in str(report), "no fingerprint is in a report"
    assert data.build(report["hosts"])["hosts"] == report["hosts"], "what only this run could see stays"


def test_one_secret_on_volumes_of_one_host_is_no_shared_one() -> None:
    host = {"host": "h", "volumes": [printed(1, "a", admin="x"), {**printed(2, "b", admin="x"), "device": "/dev/b"}]}
    assert messages(data.build([host]), "secret-shared") == []


def test_fingerprints_of_a_liar_are_no_crash() -> None:
    for prints in ({"volume_key": 7, "secrets": []}, {"secrets": {"a": 1}}, "x", {"secrets": {"\n": "x" * 9000}}):
        assert messages(fleet(volume(1, 1, 1, prints=prints), volume(1, 2, 2, prints=prints)), "clone") == []
