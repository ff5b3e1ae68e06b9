# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyslots of one header with keys of different lengths, or with different keys: no answer depends on the others.

PBKDF2 takes a key and the same key with zeros behind it as equal, so that one digest is that of both. cryptsetup 2.6.1
opens the keyslots of both; 2.8.8 and 2.9-git, built from their source, open only what is as long as the key of the
first keyslot that the digest lists, and so does every release here from 2.8.7 on.
"""

from __future__ import annotations

import base64
import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, PBKDF2, Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module

pytestmark = pytest.mark.needs("cryptsetup")
KEY = bytes(range(1, 33))
SHORT, LONG = KEY, KEY + bytes(32)
Change = t.Callable[[t.Any, t.Any], None]


def of_key(folder: pathlib.Path, name: str, key: bytes, opener: str) -> Luks2Volume:
    path = folder / f"{name}.key"
    path.write_bytes(key)
    volume = Luks2Volume(folder / name)
    return volume.format("--volume-key-file", path, "--key-size", 8 * len(key), opener=opener)


def graft(volume: Luks2Volume, other: Luks2Volume, number: str, change: Change) -> None:
    """Keyslot 0 of ``other`` becomes keyslot ``number`` of ``volume``; ``change`` is given both trees."""
    theirs, taken = other.tree(), volume.tree()["keyslots"].values()
    slot = theirs["keyslots"]["0"]
    material = other.raw(int(slot["area"]["offset"]), int(slot["area"]["size"]))
    place = max(int(one["area"]["offset"]) + int(one["area"]["size"]) for one in taken)
    slot["area"]["offset"] = str(place)

    def edit(tree: t.Any) -> None:
        tree["keyslots"][number] = slot
        change(tree, theirs)

    volume.edit(edit)
    volume.patch(place, material)


def listed(digest: str, order: t.Sequence[str]) -> Change:
    return lambda tree, _theirs: tree["digests"][digest].update(keyslots=list(order))


def with_digest(segments: t.Sequence[str]) -> Change:
    """Keyslot 1 has a digest of its own, for these segments."""

    def change(tree: t.Any, theirs: t.Any) -> None:
        first = tree["segments"]["0"]
        if "1" in segments:
            begin = int(first["offset"])
            tree["segments"]["1"] = {**first, "offset": str(begin + (1 << 20))}
            first["size"] = str(1 << 20)
        tree["digests"]["1"] = {**theirs["digests"]["0"], "keyslots": ["1"], "segments": list(segments)}

    return change


def two_lengths(folder: pathlib.Path, order: t.Sequence[str]) -> Luks2Volume:
    """Secret pw0 opens keyslot 0 with the short key, pw1 keyslot 1 with the long one."""
    volume = of_key(folder, "volume", SHORT, "pw0")
    graft(volume, of_key(folder, "other", LONG, "pw1"), "1", listed("0", order))
    return volume


def opened_by(volume: Luks2Volume, secrets: t.Iterable[str], *more: t.Any) -> t.Any:
    items = [{"label": f"label of {secret}", "passphrase": secret} for secret in secrets]
    return run_module("keyslots_info", {"device": str(volume.path), "secrets": [*items, *more]})


def opens(found: t.Any) -> t.Set[t.Tuple[int, str]]:
    return {(slot, label.split()[-1]) for label, slots in found["opened_by"].items() for slot in slots}


def always(volume: Luks2Volume, secrets: t.Sequence[str], expected: t.Set[t.Tuple[int, str]]) -> None:
    """What is reported of a secret is the same whichever other secrets are given, and in whichever order."""
    for some in (*([secret] for secret in secrets), secrets, secrets[::-1]):
        assert opens(opened_by(volume, some)) == {one for one in expected if one[1] in some}, some


def newest() -> bool:
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", run("cryptsetup", "--version").stdout)
    return version is not None and tuple(map(int, version.groups())) >= (2, 8, 7)


@pytest.mark.parametrize("order", [("0", "1"), ("1", "0")], ids=lambda order: f"keyslot {order[0]} first")
def test_only_the_length_of_the_first_keyslot_opens(tmp_path: pathlib.Path, order: t.Tuple[str, str]) -> None:
    volume = two_lengths(tmp_path, order)
    counts, other = int(order[0]), int(order[1])
    always(volume, ["pw0", "pw1"], {(counts, f"pw{counts}")})
    assert volume.opens(f"pw{counts}")
    assert volume.opens(f"pw{other}") is not newest(), "older releases open both, which is why it counts as untried"
    row = next(row for row in opened_by(volume, ["pw0", "pw1"])["keyslots"] if row["keyslot"] == other)
    assert not row["opened_by"] and not row["tried"]
    assert "cryptsetup refuses it since 2.8.7; older releases may still open it" in row["why_untried"]
    for key in (SHORT, LONG):
        given = {"label": "key", "volume_key_base64": base64.b64encode(key).decode()}
        assert opened_by(volume, [], given)["volume_keys"] == {"key": key == (SHORT, LONG)[counts]}


def test_nothing_is_changed_and_nothing_is_called_absent(tmp_path: pathlib.Path) -> None:
    volume = two_lengths(tmp_path, ("0", "1"))
    before = volume.sha256()
    at_rest = keyslots(volume.path, [{"new_secret": {"passphrase": "pw0"}}])
    assert not at_rest["changed"]
    assert any("nothing could be: the keyslots of the volume contain keys" in str(one) for one in at_rest["warnings"])
    for task in ({"new_secret": {"passphrase": "pw1"}}, {"state": "absent", "old_secret": {"passphrase": "pw1"}}):
        with pytest.raises(ModuleFailed, match="keys of different sizes"):
            keyslots(volume.path, [{**task, "pbkdf": CHEAP} if "new_secret" in task else task], unlock=["pw0"])
    assert volume.sha256() == before


def test_an_audit_does_not_count_the_other_keyslot(tmp_path: pathlib.Path) -> None:
    volume = two_lengths(tmp_path, ("0", "1"))
    forbidden = [{"label": "leaked", "passphrase": "pw1"}]
    given = {"device": str(volume.path), "policy": "legacy", "forbidden_secrets": forbidden}
    found = run_module("audit", {**given, "secrets": [{"label": "admin", "passphrase": "pw0"}]})
    assert not found["compliant"]
    assert "key-size-mismatch" in {one["rule"] for one in found["findings"]}
    assert "pw1" not in str(found["keyslots"])
    assert "it is unknown whether 'leaked' opens keyslot 1" in str(found["unverified"])


@pytest.mark.parametrize("order", [("1", "2"), ("2", "1")], ids=lambda order: f"keyslot {order[0]} first")
def test_unbound_keyslots_of_two_lengths(tmp_path: pathlib.Path, order: t.Tuple[str, str]) -> None:
    volume = of_key(tmp_path, "volume", bytes(reversed(KEY)), "pw0")
    graft(volume, of_key(tmp_path, "short", SHORT, "pw1"), "1", with_digest([]))
    graft(volume, of_key(tmp_path, "long", LONG, "pw2"), "2", listed("1", order))
    counts, other = int(order[0]), int(order[1])
    always(volume, ["pw0", "pw1", "pw2"], {(0, "pw0"), (counts, f"pw{counts}")})
    assert volume.opens(f"pw{counts}", "--key-slot", counts)
    if not newest():
        assert volume.opens(f"pw{other}", "--key-slot", other)


@pytest.mark.parametrize(
    ("segments", "sentence"),
    [(["0"], "segment 0 is covered by several digests"), (["1"], "have different volume keys")],
    ids=["both for segment 0", "one for segment 1"],
)
def test_a_second_volume_key(tmp_path: pathlib.Path, segments: t.List[str], sentence: str) -> None:
    """cryptsetup opens the volume with the keyslots of the first digest of segment 0, and the others by number only."""
    volume = of_key(tmp_path, "volume", KEY, "pw0")
    graft(volume, of_key(tmp_path, "other", bytes(reversed(KEY)), "pw1"), "1", with_digest(segments))
    always(volume, ["pw0", "pw1"], {(0, "pw0"), (1, "pw1")})
    found = opened_by(volume, ["pw0", "pw1"])
    assert [row["bound"] for row in found["keyslots"]] == [True, False]
    assert volume.opens("pw0") and volume.opens("pw1", "--key-slot", 1)
    asked = run("cryptsetup", "open", "--test-passphrase", "-d", volume.keyfile("pw1"), volume.path, check=False)
    assert asked.returncode != 0
    before = volume.sha256()
    for opener in ("pw0", "pw1"):
        with pytest.raises(ModuleFailed, match=f"(?i){sentence}"):
            keyslots(volume.path, [{"new_secret": {"passphrase": "new"}, "pbkdf": CHEAP}], unlock=[opener])
    assert volume.sha256() == before


def test_both_keys_of_a_reencryption(tmp_path: pathlib.Path) -> None:
    """One passphrase opens a keyslot of the old volume key and one of the new. The order of proofs decides nothing."""
    volume = Luks2Volume(tmp_path / "volume").like(size=40 << 20)
    secret = volume.keyfile("pw0")
    run("cryptsetup", "reencrypt", "--init-only", "-q", "--resilience", "none", *PBKDF2, "-d", secret, volume.path)
    digests = volume.tree()["digests"].values()
    assert sorted(one["keyslots"] for one in digests if one["segments"]) == [["0"], ["1"]]
    for _again in range(3):
        found = opened_by(volume, ["pw0", "another"])
        assert opens(found) == {(0, "pw0"), (1, "pw0")}
        assert [row["bound"] for row in found["keyslots"]] == [True, True, False]
