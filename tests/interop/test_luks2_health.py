# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged, changed and forbidden LUKS2 headers: reported without a byte written, healed for real, or refused with a
sentence.
"""

from __future__ import annotations

import functools
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.in_the_child import LOCKING, bad_block
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import (
    CHEAP,
    PBKDF2,
    Luks2Volume,
    needs_cryptsetup,
    run,
)
from ansible_collections.luksmith.luks.tests.interop.module_process import (
    ModuleFailed,
    keyslots,
    run_module,
    start_module,
)
from ansible_collections.luksmith.luks.tests.tools.module_server import stop_before

pytestmark = needs_cryptsetup

ADD = {"new_secret": {"label": "ours", "passphrase": "n-e-w"}, "pbkdf": CHEAP}
HOLDS = {"keyslot": 0, "new_secret": {"passphrase": "pw0"}}
ERASE = {"state": "absent", "old_secret": {"passphrase": "theirs"}}
PREFER = {**HOLDS, "priority": "prefer"}
COPY = 0x4000  # size of a copy of the header, and the place of the secondary


@pytest.fixture(name="volume")
def fixture_volume(tmp_path: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like(slots={1: "theirs"})


def info(volume: Luks2Volume) -> t.Any:
    return run_module("keyslots_info", {"device": str(volume.path)})


def damage(volume: Luks2Volume, how: str) -> t.Dict[str, str]:
    """Does it, and tells the health that must be reported."""
    copy = how.split()[0]
    place = COPY if copy == "secondary" else 0
    healthy = {"primary": "ok", "secondary": "ok"}
    if how.endswith("stale"):
        old = volume.raw(place, COPY)
        run("cryptsetup", "config", "--label", "newer", volume.path)
        volume.patch(place, old)
        return {**healthy, copy: "stale"}
    if how.endswith("differs"):
        other = volume.text().replace('"flags"', '"other_flags"').replace('"config":{', '"config":{"odd":1,')
        volume.store(other.encode(), (1,))
        return {**healthy, "secondary": "differs"}
    volume.patch(place + (4500 if how.endswith("json") else 0), b"x" * 600)
    return {**healthy, copy: "bad"}


SHORT_DAMAGE = ("primary header", "secondary json", "primary stale")
MORE_DAMAGE = ("secondary header", "primary json", "secondary stale", "secondary differs")


@pytest.mark.parametrize("how", [*SHORT_DAMAGE, *(pytest.param(how, marks=pytest.mark.full) for how in MORE_DAMAGE)])
def test_a_copy_that_is_not_the_other(volume: Luks2Volume, how: str) -> None:
    health = damage(volume, how)
    before = volume.sha256()
    found = info(volume)
    assert found["header"]["copies"] == health and found["header"]["write_obstacle"] is None
    shown = keyslots(volume.path, [HOLDS], check=True)
    assert (shown["changed"], [action["action"] for action in shown["plan"]]) == (True, ["heal-header"])
    assert volume.sha256() == before
    healed = keyslots(volume.path, [HOLDS])
    assert (healed["plan"], healed["diff"]) == (shown["plan"], shown["diff"])
    assert info(volume)["header"]["copies"] == {"primary": "ok", "secondary": "ok"}
    assert volume.opened((0, 1), ("pw0", "theirs")) == {(0, "pw0"), (1, "theirs")}
    volume.approved()
    assert volume.raw(4096, COPY - 4096) == volume.raw(COPY + 4096, COPY - 4096)
    assert ("newer" in volume.approved()) == how.endswith("stale")
    assert not keyslots(volume.path, [HOLDS])["changed"]


def test_a_heal_comes_before_what_the_task_wants(volume: Luks2Volume) -> None:
    damage(volume, "primary header")
    assert [action["action"] for action in keyslots(volume.path, [ADD], unlock=["pw0"])["plan"]] == [
        "heal-header",
        "add",
    ]
    assert volume.opened((2,), ("n-e-w", "pw0")) == {(2, "n-e-w")}
    volume.approved()


def test_a_foreign_signature_stops_a_heal(volume: Luks2Volume) -> None:
    """Swap space lies where the primary copy was; cryptsetup refuses as well.

    Without the signature the copy is healed.
    """
    swap = bytearray(4096)
    swap[1024:1032], swap[4086:] = b"\1\0\0\0\xff\0\0\0", b"SWAPSPACE2"
    volume.patch(0, bytes(swap))
    before = volume.sha256()
    assert run("cryptsetup", "luksDump", volume.path, check=False).returncode != 0
    for check in (True, False):
        with pytest.raises(ModuleFailed, match=r"swap.*Nothing was changed\."):
            keyslots(volume.path, [HOLDS], check=check)
    with pytest.raises(ModuleFailed, match="swap"):
        info(volume)
    assert volume.sha256() == before
    volume.patch(4086, bytes(10))
    assert [action["action"] for action in keyslots(volume.path, [HOLDS])["plan"]] == ["heal-header"]
    volume.approved()


def changed_between_look_and_lock(
    volume: Luks2Volume, task: t.Mapping[str, t.Any], change: t.Callable[[], None]
) -> t.Any:
    """The task; ``change`` happens when it has made its plan and comes to the locks."""
    running = start_module(
        "keyslots",
        {"device": str(volume.path), "unlock": [{"passphrase": "pw0"}], **task},
        hooks=[stop_before(LOCKING)],
    )
    running.reached(LOCKING)
    change()
    running.go_on()
    return running.result()


def test_a_header_that_changes_before_the_lock_is_planned_again(volume: Luks2Volume) -> None:
    result = changed_between_look_and_lock(volume, {"keyslots": [ADD]}, lambda: t.cast(None, volume.add(2, "faster")))
    assert [(action["action"], action["keyslot"]) for action in result["plan"]] == [("add", 3)]
    assert any("a new plan was made under the lock" in str(warning) for warning in result["warnings"])
    assert volume.opened((0, 1, 2, 3), ("pw0", "theirs", "faster", "n-e-w")) == {
        (0, "pw0"),
        (1, "theirs"),
        (2, "faster"),
        (3, "n-e-w"),
    }
    volume.approved()


def test_somebody_else_does_before_the_lock_what_the_task_wants(volume: Luks2Volume) -> None:
    seen = []

    def change() -> None:
        volume.add(2, "n-e-w")
        seen.append(volume.sha256())

    result = changed_between_look_and_lock(volume, {"keyslots": [ADD]}, change)
    assert (result["changed"], result["plan"]) == (False, [])
    assert [volume.sha256()] == seen


def requirement(*flags: str) -> t.Callable[[t.Any], None]:
    return lambda tree: t.cast(None, tree["config"].update(requirements={"mandatory": list(flags)}))


def digest_twice(tree: t.Any) -> None:
    tree["digests"]["1"] = {**tree["digests"]["0"], "keyslots": []}


OBSTACLES: t.Dict[str, t.Tuple[t.Callable[[t.Any], t.Any], str]] = {
    "unknown requirement": (
        requirement("no-such-thing"),
        r"requires an unknown feature \(requirement 'no-such-thing'\)",
    ),
    "OPAL": (requirement("opal"), r"self-encrypting drive \(requirement 'opal'\)"),
    "null payload": (
        lambda tree: tree["segments"]["0"].update(encryption="cipher_null-ecb"),
        "Segment 0 is not encrypted at all",
    ),
    "null keyslot": (
        lambda tree: tree["keyslots"]["1"]["area"].update(encryption="cipher_null-ecb"),
        "Keyslot 1 stores its key unencrypted",
    ),
    "token 32": (
        lambda tree: tree["tokens"].update({"32": {"type": "user", "keyslots": []}}),
        "token 32, but the highest number is 31",
    ),
    "keyslot 32": (
        lambda tree: (
            tree["keyslots"].update({"32": tree["keyslots"].pop("1")}),
            tree["digests"]["0"].update(keyslots=["0", "32"]),
        ),
        "keyslot 32, but the highest number is 31",
    ),
    "short area": (
        lambda tree: tree["keyslots"]["1"]["area"].update(size="4096"),
        "The area of keyslot 1 has 4096 bytes, but its key material needs 128000",
    ),
    "two digests": (digest_twice, "Segment 0 is covered by several digests"),
}


def refused(
    volume: Luks2Volume, sentence: str, entries: t.Sequence[t.Mapping[str, t.Any]] = (ADD, ERASE, PREFER)
) -> None:
    """Whatever is asked, in check mode or for real; reading works, says the same, and changes nothing either."""
    before = volume.sha256()
    for entry in entries:
        for check in (True, False):
            with pytest.raises(ModuleFailed, match=sentence) as caught:
                keyslots(volume.path, [entry], check=check, unlock=["pw0"])
            assert str(volume.path) in str(caught.value) and "Nothing was changed." in str(caught.value)
    found = info(volume)
    assert found["header"]["write_obstacle"] and 0 in [row["keyslot"] for row in found["keyslots"]]
    assert not keyslots(volume.path, [HOLDS])["changed"]  # what holds already needs no write
    assert volume.sha256() == before


SHORT_OBSTACLES = ("unknown requirement", "null keyslot", "two digests")


@pytest.mark.parametrize(
    "name", [name if name in SHORT_OBSTACLES else pytest.param(name, marks=pytest.mark.full) for name in OBSTACLES]
)
def test_headers_that_nobody_may_write_to(volume: Luks2Volume, name: str) -> None:
    change, sentence = OBSTACLES[name]
    volume.edit(change)
    refused(volume, sentence)


@pytest.mark.parametrize("size", [64, 96])
def test_inline_tags_do_not_keep_keyslots_from_being_changed(
    volume: Luks2Volume, tmp_path: pathlib.Path, size: int
) -> None:
    """As with cryptsetup 2.8, which refuses nothing here. That of the host is older and refuses the requirement, so
    that it judges the same header without it. The requirement and its segment stay as they were.
    """
    tags = {"type": "hmac(sha256)", "journal_encryption": "none", "journal_integrity": "none"}
    backup = tmp_path / "backup"

    def inline(tree: t.Any) -> None:
        requirement("inline-hw-tags")(tree)
        if size == 96:
            tree["segments"]["0"].update(integrity=tags)

    def plain(tree: t.Any) -> None:
        del tree["config"]["requirements"]
        tree["segments"]["0"].pop("integrity", None)

    volume.edit(inline)
    segment = volume.tree()["segments"]
    run_module("header_backup", {"device": str(volume.path), "path": str(backup)})
    assert keyslots(volume.path, [ADD, ERASE], unlock=["pw0"])["changed"]
    assert not keyslots(volume.path, [ADD, ERASE], unlock=["pw0"])["changed"]
    tree = volume.tree()
    assert tree["config"]["requirements"] == {"mandatory": ["inline-hw-tags"]} and tree["segments"] == segment
    restored = {"state": "restored", "unlock": [{"passphrase": "pw0"}], "force": True}
    changed = volume.raw()
    run_module("header_backup", {"device": str(volume.path), "path": str(backup), **restored})
    assert volume.tree()["config"]["requirements"] == {"mandatory": ["inline-hw-tags"]}
    volume.edit(plain)
    assert volume.opens("pw0") and volume.opens("theirs") and not volume.opens("n-e-w")
    volume.patch(0, changed)
    volume.edit(plain)
    assert volume.opens("pw0") and volume.opens("n-e-w") and not volume.opens("theirs")


def test_a_reencryption_in_progress(volume: Luks2Volume) -> None:
    run("cryptsetup", "luksKillSlot", "-q", volume.path, 1)
    run(
        "cryptsetup",
        "reencrypt",
        "-q",
        "--init-only",
        "--resilience",
        "checksum",
        *PBKDF2,
        "-d",
        volume.keyfile("pw0"),
        volume.path,
    )
    assert "online-reencrypt" in volume.text()
    refused(volume, "being reencrypted", [ADD, PREFER])


def test_cryptsetup_erases_in_spite_of_a_requirement_and_we_do_not(volume: Luks2Volume) -> None:
    volume.edit(requirement("no-such-thing"))
    theirs = Luks2Volume(pathlib.Path(shutil.copy(volume.path, volume.path.with_name("copy"))))
    run("cryptsetup", "luksKillSlot", "-q", theirs.path, 1)
    assert list(theirs.tree()["keyslots"]) == ["0"]
    with pytest.raises(ModuleFailed, match="no-such-thing"):
        keyslots(volume.path, [ERASE], unlock=["pw0"])
    assert volume.opens("theirs")


@pytest.mark.parametrize("copy", ["primary", pytest.param("secondary", marks=pytest.mark.full)])
@pytest.mark.parametrize("place", [0, pytest.param(4096, marks=pytest.mark.full)], ids=["binary header", "json"])
def test_a_copy_that_cannot_be_read_is_read_from_the_other_and_written_anew(
    volume: Luks2Volume, copy: str, place: int
) -> None:
    start = place + (COPY if copy == "secondary" else 0)
    before = volume.sha256()
    hooks = [functools.partial(bad_block, start, start + 512)]
    found = run_module("keyslots_info", {"device": str(volume.path)}, hooks=hooks)
    assert found["header"]["copies"] == {"primary": "ok", "secondary": "ok", copy: "bad"}
    assert any("cannot be read" in str(warning) for warning in found["warnings"])
    assert [action["action"] for action in keyslots(volume.path, [HOLDS], check=True, hooks=hooks)["plan"]] == [
        "heal-header"
    ]
    assert volume.sha256() == before
    assert [action["action"] for action in keyslots(volume.path, [HOLDS], hooks=hooks)["plan"]] == ["heal-header"]
    assert volume.opens("pw0") and volume.opens("theirs")
    assert info(volume)["header"]["copies"] == {"primary": "ok", "secondary": "ok"}
    volume.approved()
