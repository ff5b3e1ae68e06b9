# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each member of whole LUKS2 metadata replaced by every kind of value, with right checksums. Cryptsetup is the judge.

We are at least as strict: it reads what we read. If it reads and we refuse, docs/luks2.md lists the reason. If both
read, we may still warn or have an obstacle to writing, which is not judged here.

The short form tries one value for each member, in turn; the full form every fourth; with LUKSMITH_LONG=1 all of them
(4700 headers, minutes).
"""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import metadata as luks2_metadata
from ansible_collections.luksmith.luks.tests.interop.luks2_verdicts import ours, theirs
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

pytestmark = pytest.mark.needs("cryptsetup")

SEGMENT = image.tree()["segments"]["0"]


def whole() -> t.Dict[str, t.Any]:
    """Bound and unbound slots, two digests, tokens, unknown slot types and segments, optional members."""
    tree = image.rich_tree()
    tree["keyslots"]["7"] = {
        "type": "vendor",
        "key_size": 1,
        "area": {"type": "none", "offset": "1048576", "size": "4096"},
    }
    tree["segments"]["0"].update(
        size="1048576",
        flags=["kept"],
        integrity={"type": "x", "journal_encryption": "none", "journal_integrity": "none"},
    )
    tree["segments"]["1"] = {**SEGMENT, "offset": "17825792", "size": "4096", "flags": ["backup-x"]}
    tree["segments"]["2"] = {"type": "unheard-of", "offset": "17829888", "size": "512", "flags": ["backup-y"]}
    tree["digests"]["0"]["segments"].append("1")
    tree["config"].update(flags=["allow-discards"], requirements={"mandatory": []})
    return tree


def reencrypting() -> t.Dict[str, t.Any]:
    """The metadata of a reencryption that has begun."""
    tree = image.tree()
    area = {"type": "checksum", "offset": "1048576", "size": "4096", "hash": "sha256", "sector_size": 512}
    tree["keyslots"]["2"] = {
        "type": "reencrypt",
        "key_size": 1,
        "mode": "reencrypt",
        "direction": "forward",
        "area": area,
    }
    tree["digests"]["0"]["segments"] += ["1", "2"]
    tree["segments"]["1"] = {**SEGMENT, "flags": ["backup-previous"]}
    tree["segments"]["2"] = {**SEGMENT, "flags": ["backup-final"]}
    tree["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}
    return tree


def opal() -> t.Dict[str, t.Any]:
    """2.6.1 takes the segment for one of an unknown type; 2.7 checks it."""
    tree = image.tree()
    tree["segments"]["0"].update(
        type="hw-opal-crypt", size="1048576", opal_segment_number=1, opal_key_size=32, opal_segment_size="1048576"
    )
    tree["config"]["requirements"] = {"mandatory": ["opal"]}
    return tree


WHOLE: t.Dict[str, t.Callable[[], t.Dict[str, t.Any]]] = {"whole": whole, "reencrypting": reencrypting, "OPAL": opal}
VALUES: t.Tuple[t.Any, ...] = (
    *(..., None, "", "x", "0", "512", "4096", 0, 1, -1, 1 << 32, luks2_metadata.Number("1.5"), True),
    *([], ["0"], ["9"], [0], {}, {"a": "b"}),
)

# Of what our sentence speaks when we alone refuse; each is a row of "Refused" in docs/luks2.md.
ON_PURPOSE = re.compile(r"iterations|time|memory|cpus|salt|hash|digest|key size|plain decimal|id |OPAL", re.IGNORECASE)


def paths(value: t.Any, prefix: str = "") -> t.Iterator[str]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        path = f"{prefix}{name}"
        yield path
        yield from paths(inner, f"{path}/")


def changed(base: t.Dict[str, t.Any], path: str, value: t.Any) -> t.Optional[bytes]:
    *parents, last = path.split("/")
    if last.isdigit() and isinstance(_at(base, parents), list):
        if value is ...:
            return None
        tree = image.changed(
            base,
            "/".join(parents),
            [value if place == int(last) else old for place, old in enumerate(_at(base, parents))],
        )
    else:
        tree = image.changed(base, path, value)
    return image.build(luks2_metadata.emit(tree))


def _at(base: t.Any, parents: t.Sequence[str]) -> t.Any:
    for name in parents:
        base = base[int(name)] if isinstance(base, list) else base[name]
    return base


@pytest.fixture(name="place", scope="module")
def fixture_place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("members") / "header.img"


@pytest.fixture(name="step", scope="session")
def fixture_step(pytestconfig: pytest.Config) -> int:
    if os.environ.get("LUKSMITH_LONG") == "1":
        return 1
    return 4 if pytestconfig.getoption("--size") == "full" else len(VALUES)


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_is_read_by_both(place: pathlib.Path, name: str) -> None:
    raw = image.build(luks2_metadata.emit(WHOLE[name]()))
    assert theirs(place, raw) and ours(raw) is None


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, make in WHOLE.items() for path in paths(make())])
def test_one_member_at_a_time(place: pathlib.Path, step: int, name: str, path: str) -> None:
    for value in VALUES[len(path) % step :: step]:
        raw = changed(WHOLE[name](), path, value)
        if raw is None:
            continue
        refusal, read_by_them = ours(raw), theirs(place, raw)
        if refusal is None:
            assert read_by_them, f"we read {path} = {value!r}, and cryptsetup refuses it"
        elif read_by_them:
            assert isinstance(refusal, luks2_metadata.StricterThanCryptsetup) and ON_PURPOSE.search(refusal.found), (
                f"{path} = {value!r}: {refusal}"
            )
