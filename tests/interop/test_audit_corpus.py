# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit of every header of the corpus: what cryptsetup refuses is a finding, what it reads is judged, no byte changes, nothing is assumed."""

from __future__ import annotations

import csv
import hashlib
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import run, task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import NotLuks

HERE = pathlib.Path(__file__).resolve()
CORPUS = next((folder / "shared" / "corpus" for folder in HERE.parents if (folder / "shared" / "corpus" / "manifest.tsv").exists()), None)
pytestmark = pytest.mark.skipif(CORPUS is None, reason="shared/corpus is not on this machine")


def rows() -> t.List[t.Dict[str, str]]:
    if CORPUS is None:
        return []
    with (CORPUS / "manifest.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[pathlib.Path]:
    assert CORPUS is not None
    folder = tmp_path_factory.mktemp("corpus")
    with tarfile.open(CORPUS / "headers.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    yield folder


def audit(path: pathlib.Path, **options: t.Any) -> t.Any:
    parsed = task.parse_audit({"device": str(path), "policy": "legacy", **options})
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        return run.audit(parsed)
    finally:
        parsed.wipe_secrets()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_header(headers: pathlib.Path, row: t.Dict[str, str]) -> None:
    path = next(path for path in (headers / row["file"], *headers.glob(f"*/{row['file']}")) if path.exists())
    try:
        result = audit(path)
    except NotLuks:
        assert row["expected"] != "accept"
        return
    found = {one["rule"] for one in result["findings"]}
    if row["expected"] == "refuse":
        assert not result["compliant"] and ("header-unreadable" in found or found)
        return
    if result["type"] is None:
        # Read by cryptsetup, and refused here on purpose: it is said so.
        assert found == {"header-unreadable"}
        return
    # The manifest counts the tokens of these two headers as keyslots.
    active = {"0"} if row["file"].startswith("reqs/") else {number for number in row["active_slots"].split(",") if number}
    assert active == {str(slot["keyslot"]) for slot in result["keyslots"] if slot["state"] == "active"}
    assert not result["compliant"], "no secret was given, so nobody knows who opens it"
    assert result["kdf_evaluations"] == 0


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        ("luks1-images/luks1_aes-cbc-essiv-sha256-sha1.img", {"hash-weak"}),
        ("shipped/luks2_keyslot_unassigned.img", {"slot-unbound"}),
        ("shipped/luks2_invalid_cipher.img", {"cipher-driver"}),
        ("reqs/luks2_header_requirements", {"requirement-unknown", "write-obstacle", "token-orphan"}),
        ("generated/luks2-invalid-checksum-hdr0.img", {"header-copy"}),
        ("generated/luks2-segment-two.img", {"segment-layout"}),
        ("shipped/luks2_valid_hdr.img", {"kdf-unknown"}),
        ("shipped/valid_header_file", {"no-keyslot"}),
    ],
)
def test_what_is_wrong_is_found(headers: pathlib.Path, file: str, rules: t.Set[str]) -> None:
    path = next(path for path in (headers / file, *headers.glob(f"*/{file}")) if path.exists())
    assert rules <= {one["rule"] for one in audit(path)["findings"]}


def test_a_cipher_that_nobody_here_knows_is_not_verified_and_not_clean(headers: pathlib.Path) -> None:
    file = "luks1-images/luks1_serpent-xts-plain64-sha256.img"
    path = next(path for path in (headers / file, *headers.glob(f"*/{file}")) if path.exists())
    result = audit(path, secrets=[{"label": "a", "passphrase": "x"}], forbidden_secrets=[{"label": "b", "passphrase": "y"}])
    assert result["state"] in ("unverified", "findings") and not result["compliant"]
    assert [one["rule"] for one in result["unverified"]] == ["secret-forbidden"]
    assert "serpent" in result["unverified"][0]["message"]
    # The corpus has no key material of this image, and blank material is no key material.
    assert "slot-zombie" in [one["rule"] for one in result["findings"]]
