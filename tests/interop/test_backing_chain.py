# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image over others: each is named, as qemu-img names it, with what the secrets of the task open in it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests import kept
from ansible_collections.luksmith.luks.tests.interop import originals
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module
from ansible_collections.luksmith.luks.tests.interop.qemu_image import CHEAP, OPENER, QemuImage, create, needs_qemu, run
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.remedy_texts import carries, noted

pytestmark = needs_qemu
LEAKED = {"label": "leaked", "passphrase": OPENER}


class Chain:
    """top.qcow2 over middle.qcow2, both encrypted with ``OPENER``, over plain.img; relative names."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "secret").write_text(OPENER)
        self.secret = ["--object", f"secret,id=s,file={folder / 'secret'}"]
        made = kept.folder(["a chain", originals.build_of("qemu-img")], self._make)
        for name in ("plain.img", "middle.qcow2", "top.qcow2"):
            originals.copied(made / name, folder / name)
        self.top = folder / "top.qcow2"

    def _make(self, scratch: pathlib.Path) -> None:
        (scratch / "plain.img").write_bytes(bytes(1 << 20))
        words = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1"
        for base, format, name in (("plain.img", "raw", "middle.qcow2"), ("middle.qcow2", "qcow2", "top.qcow2")):
            create(scratch / name, "qcow2", [*self.secret, "-u", "-b", base, "-F", format], words, "1M")


@pytest.fixture
def chain(tmp_path: pathlib.Path) -> Chain:
    return Chain(tmp_path)


def paths(result: t.Mapping[str, t.Any]) -> t.List[str]:
    return [row["path"] for row in result["chain"]]


def told(result: t.Mapping[str, t.Any], *words: str) -> bool:
    return any(all(word in str(warning) for word in words) for warning in result["warnings"])


def test_every_file_is_named_as_qemu_names_it(chain: Chain) -> None:
    shown = json.loads(run("qemu-img", "info", "-U", "--output=json", "--backing-chain", chain.top).stdout)
    found = run_module("keyslots_info", {"device": str(chain.top), "secrets": [LEAKED]})
    assert paths(found) == [one["filename"] for one in shown[1:]]
    assert [(row["format"], row["encrypted"], row["opened_by"]) for row in found["chain"]] == [
        ("qcow2", True, ["leaked"]),
        ("raw", False, []),
    ]


def test_a_rotation_says_what_the_leaked_secret_still_opens(chain: Chain) -> None:
    """In check mode too, and again when nothing is left to do; the base is not written to."""
    middle = (chain.folder / "middle.qcow2").read_bytes()
    rotate = {"old_secret": LEAKED, "new_secret": {"label": "new", "passphrase": "new"}, "pbkdf": CHEAP}
    for check in (True, False, False):
        done = keyslots(chain.top, [rotate], check=check)
        assert told(done, "middle.qcow2", "keyslots of its own", "it opens with leaked"), done["warnings"]
        assert told(done, "plain.img", "is not encrypted")
        assert told(done, "leaked no longer opens this image", "virsh secret-set-value") == done["changed"]
    assert (chain.folder / "middle.qcow2").read_bytes() == middle
    assert not done["changed"] and [row["opened_by"] for row in done["chain"]] == [["leaked"], []]


def test_a_secret_is_told_to_be_gone_if_one_went(chain: Chain) -> None:
    """A secret for a free keyslot takes nothing away; what opened a keyslot that is erased by its number is unknown."""
    gone = "no longer opens this image"
    add = {"new_secret": {"label": "new", "passphrase": "new"}, "keyslot": 3, "pbkdf": CHEAP}
    for check in (True, False):
        assert not told(keyslots(chain.top, [add], unlock=[LEAKED], check=check), gone)
    for check in (True, False):
        done = keyslots(chain.top, [{"state": "absent", "keyslot": 3}], unlock=[LEAKED], check=check)
        assert told(done, f"what opened keyslot 3 {gone}"), done["warnings"]


def test_a_base_that_is_a_raw_volume_is_looked_into(chain: Chain, tmp_path: pathlib.Path) -> None:
    """QEMU makes keyslots of its own costs: seconds."""
    (tmp_path / "raw").mkdir()
    base = QemuImage(tmp_path / "raw", "luks")
    assert base.opens(OPENER)
    (chain.folder / "plain.img").write_bytes(base.path.read_bytes())
    found = run_module("keyslots_info", {"device": str(chain.top), "secrets": [LEAKED]})
    assert [(row["format"], row["encrypted"], row["opened_by"]) for row in found["chain"]] == [
        ("qcow2", True, ["leaked"]),
        ("raw", True, ["leaked"]),
    ]
    assert told(found, "plain.img", "keyslots of its own", "it opens with leaked")
    assert [row["unknown"] for row in found["chain"]] == [[], []]
    assert [row["unknown"] for row in run_module("keyslots_info", {"device": str(chain.top)})["chain"]] == [[0], [0]]


def test_an_audit_names_them(chain: Chain) -> None:
    task = {"device": str(chain.top), "policy": {"extends": "legacy"}, "forbidden_secrets": [LEAKED]}
    found = run_module("audit", task)
    assert paths(found) == [str(chain.folder / "middle.qcow2"), str(chain.folder / "plain.img")]
    assert told(found, "middle.qcow2", "it opens with leaked")


def test_a_gate_does_not_let_through_what_a_file_beneath_opens(chain: Chain) -> None:
    new = {"label": "current", "passphrase": "new words"}
    entry = {"new_secret": new, "old_secret": LEAKED, "pbkdf": CHEAP}
    keyslots(chain.top, [entry])
    gate = {"device": str(chain.top), "opens": [new], "does_not_open": [LEAKED]}
    middle = chain.folder / "middle.qcow2"
    with pytest.raises(ModuleFailed, match=f"'leaked' must not open the volume, but opens the backing file {middle}"):
        run_module("verify_volume", gate)
    keyslots(middle, [entry])
    assert run_module("verify_volume", gate)["failures"] == []
    middle.unlink()
    with pytest.raises(
        ModuleFailed, match=f"whether it opens the backing file {middle}, .* is unknown: .*No such file"
    ):
        run_module("verify_volume", gate)
    assert run_module("verify_volume", {"device": str(chain.top), "opens": [new]})["failures"] == []


@carries(("remove_beneath", "Remove it from {}, too (state: absent, old_secret)"))
def test_a_forbidden_secret_that_opens_a_file_beneath_is_found(chain: Chain) -> None:
    """The image has a new secret. The file beneath still opens with the old one."""
    new = {"label": "current", "passphrase": "new words"}
    entry = {"new_secret": new, "old_secret": LEAKED, "pbkdf": CHEAP}
    keyslots(chain.top, [entry])
    task = {"device": str(chain.top), "policy": {"extends": "legacy"}, "secrets": [new], "forbidden_secrets": [LEAKED]}

    def audited() -> t.Dict[str, t.Any]:
        return noted({one["rule"]: one for one in run_module("audit", task)["findings"]})

    forbidden = [audited()["secret-forbidden"]]
    middle = str(chain.folder / "middle.qcow2")
    assert [(one["severity"], one["keyslot"]) for one in forbidden] == [("critical", None)]
    assert f"opens the backing file {middle}" in forbidden[0]["message"]
    keyslots(middle, [entry])
    assert "secret-forbidden" not in audited()
    (chain.folder / "middle.qcow2").unlink()
    unseen = run_module("audit", task)
    assert not unseen["compliant"]
    messages = [one["message"] for one in unseen["unverified"]]
    assert any("it is unknown whether 'leaked' opens the backing file" in message for message in messages)


@carries(
    ("backing-plain", "Write the whole image anew into one encrypted file with 'qemu-img convert'"),
    ("backing-plain", "Make it readable on this host and audit again. Write the whole image anew into one"),
)
def test_data_beneath_that_is_not_encrypted_is_found(chain: Chain) -> None:
    task = {"device": str(chain.top), "policy": {"extends": "legacy"}, "secrets": [LEAKED]}

    def audited(path: pathlib.Path, kind: str = "findings") -> t.Dict[str, t.Any]:
        found = run_module("audit", {**task, "device": str(path)})
        assert found["compliant"] == (not found["findings"] and not found["unverified"])
        return noted({one["rule"]: one for one in found[kind]})

    plain = str(chain.folder / "plain.img")
    found = audited(chain.top)["backing-plain"]
    assert found["severity"] == "high" and found["message"].startswith(f"the backing file {plain} is not encrypted")
    (chain.folder / "plain.img").rename(chain.folder / "away")
    assert "unknown whether the backing file" in audited(chain.top, "unverified")["backing-plain"]["message"]
    (chain.folder / "away").rename(plain)
    assert "backing-plain" in audited(chain.top)

    whole = chain.folder / "whole.qcow2"
    words = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1"
    create(whole, "qcow2", chain.secret, words, "1M")
    opts = ["--image-opts", f"{_opts(chain.top)},backing.encrypt.key-secret=s", "--target-image-opts", _opts(whole)]
    run("qemu-img", "convert", "-n", *chain.secret, *opts)
    assert "backing-plain" not in audited(whole) and "backing-plain" not in audited(whole, "unverified")


def test_what_cannot_be_looked_at_is_said(chain: Chain) -> None:
    (chain.folder / "middle.qcow2").unlink()
    found = run_module("keyslots_info", {"device": str(chain.top), "secrets": [LEAKED]})
    assert told(found, "middle.qcow2", "was not looked at", "No such file")
    address = "nbd://user:password@host/base"
    run("qemu-img", "rebase", "-u", "-b", address, "-F", "raw", *chain.secret, "--image-opts", _opts(chain.top))
    found = run_module("keyslots_info", {"device": str(chain.top), "secrets": [LEAKED]})
    assert paths(found) == ["nbd: (not shown)"] and "password" not in str(found["warnings"])


def test_a_chain_that_leads_back_to_itself_ends(chain: Chain) -> None:
    content = (chain.folder / "middle.qcow2").read_bytes().replace(b"plain.img", b"top.qcow2")
    (chain.folder / "middle.qcow2").write_bytes(content)
    run(
        "qemu-img", "rebase", "-u", "-b", "middle.qcow2", "-F", "qcow2", *chain.secret, "--image-opts", _opts(chain.top)
    )
    found = run_module("keyslots_info", {"device": str(chain.top)})
    assert [path.rpartition("/")[2] for path in paths(found)] == ["middle.qcow2", "top.qcow2"]


def test_an_external_data_file_is_named(tmp_path: pathlib.Path) -> None:
    data = tmp_path / "data"
    image = QemuImage(tmp_path, "qcow2", options=f"data_file={data}")
    done = keyslots(image.path, [{"new_secret": LEAKED}])
    assert paths(done) == [str(data)] and told(done, str(data), "external data file")


def test_an_image_alone_has_no_chain(tmp_path: pathlib.Path) -> None:
    assert "chain" not in keyslots(QemuImage(tmp_path, "qcow2").path, [{"new_secret": LEAKED}])


def _opts(path: pathlib.Path) -> str:
    return f"driver=qcow2,file.filename={path},encrypt.key-secret=s"
