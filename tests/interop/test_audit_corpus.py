# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit of every header of the corpus: a header that cryptsetup refuses is a finding, every other one is judged.

No byte changes, and nothing is assumed.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit as audit_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import NotLuks
from ansible_collections.luksmith.luks.tests.interop import corpus, originals

ROWS = {row["file"]: row for row in corpus.rows()}
pytestmark = corpus.needs_corpus


def audit(row: corpus.Row, **options: t.Any) -> t.Any:
    path = corpus.image(row["file"])
    try:
        return audit_file(path, **options)
    finally:
        assert corpus.sha256(path) == row["sha256"], "no byte changes"


def audit_file(path: pathlib.Path, **options: t.Any) -> t.Any:
    parsed = audit_task.parse_audit({"device": str(path), "policy": "legacy", **options})
    try:
        return audit_audit.audit(parsed)
    finally:
        parsed.wipe_secrets()


@corpus.each(list(ROWS.values()))
def test_header(row: corpus.Row) -> None:
    try:
        result = audit(row)
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
    active = (
        {"0"} if row["file"].startswith("reqs/") else {number for number in row["active_slots"].split(",") if number}
    )
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
def test_what_is_wrong_is_found(file: str, rules: t.Set[str]) -> None:
    assert rules <= {one["rule"] for one in audit(ROWS[file])["findings"]}


def test_a_cipher_that_nobody_here_knows_is_not_verified_and_not_clean(tmp_path: pathlib.Path) -> None:
    """The cipher of a good header is renamed to one that no library has."""
    source = corpus.image("luks1-images/luks1_serpent-xts-plain64-sha256.img")
    path = originals.copied(source, tmp_path / "image")
    with path.open("r+b") as stream:
        stream.seek(8)
        stream.write(b"cast6".ljust(32, b"\0"))
    result = audit_file(
        path, secrets=[{"label": "a", "passphrase": "x"}], forbidden_secrets=[{"label": "b", "passphrase": "y"}]
    )
    assert result["state"] in ("unverified", "findings") and not result["compliant"]
    assert [one["rule"] for one in result["unverified"]] == ["secret-forbidden"]
    assert "cast6" in result["unverified"][0]["message"]
    # The corpus has no key material of this image, and blank material is no key material.
    assert "slot-zombie" in [one["rule"] for one in result["findings"]]
