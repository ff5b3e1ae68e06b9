# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play that meets every source of secrets, success, check mode and every kind of refusal; and its canaries."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import json
import os
import pathlib
import random
import typing as t

from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.luksmith.luks.tests.secrets import canary, volumes
from ansible_collections.luksmith.luks.tests.secrets.box import Box, Task, known_keys

CHEAP = {"type": "pbkdf2", "iterations": 1000}
Secret = t.Dict[str, t.Any]


@dataclasses.dataclass
class Scene:
    """``canaries``: passphrases by source. ``keys``: volume keys and derived keys as they are known by now."""

    box: Box
    luks1: volumes.Volume
    luks2: volumes.Volume
    canaries: t.Dict[str, canary.Canary]
    keys: t.List[canary.Canary]
    lock: t.Any = None

    @property
    def search(self) -> canary.Search:
        return canary.Search([*self.canaries.values(), *self.keys])

    def learn_keys(self, expected: t.Mapping[str, t.Mapping[int, str]]) -> None:
        """Ask cryptsetup and hashlib for the keys of the slots that now hold these canaries."""
        for volume in (self.luks1, self.luks2):
            self.keys += known_keys(
                volume, {slot: self.canaries[name].value for slot, name in expected[volume.format].items()}
            )


def secret_of(source: str, folder: pathlib.Path) -> Secret:
    """The options of a task that give the canary of ``source``."""
    options: t.Dict[str, Secret] = {
        "current": {"passphrase": "{{ canary_current }}"},
        "text": {"passphrase": "{{ canary_text }}"},
        "base64": {"passphrase_base64": "{{ canary_base64 }}"},
        "keyfile": {"keyfile": str(folder / "keyfile")},
        "vault": {"passphrase": "{{ canary_vault }}"},
        "lookup": {"passphrase": f"{{{{ lookup('ansible.builtin.file', '{folder / 'looked-up'}', rstrip=false) }}}}"},
        "stranger": {"passphrase": "{{ canary_stranger }}"},
    }
    return {"label": f"from {source}", **options[source]}


SOURCES = ("text", "base64", "keyfile", "vault", "lookup")


def build(folder: pathlib.Path, seed: int, shared: pathlib.Path, **options: t.Any) -> Scene:
    rng = random.Random(seed)
    canaries = {
        name: canary.passphrase(name, rng)
        for name in ("current", "text", "base64", "vault", "lookup", "stranger", "vault password")
    }
    canaries["keyfile"] = canary.key("keyfile", rng.randbytes(48))
    made = [volumes.make(folder / form, form, canaries["current"].value) for form in ("luks1", "luks2")]
    box = Box(folder, shared, **options)
    box.devices += [volume.path for volume in made]
    box.source("keyfile", canaries["keyfile"].value)
    box.source("looked-up", canaries["lookup"].value)
    box.source("vault-password", canaries["vault password"].value)
    box.source(
        "secrets.json",
        json.dumps(
            {
                "canary_current": canaries["current"].text,
                "canary_text": canaries["text"].text,
                "canary_base64": base64.b64encode(canaries["base64"].value).decode(),
                "canary_stranger": canaries["stranger"].text,
            }
        ),
    )
    vault = VaultLib([("default", VaultSecret(canaries["vault password"].value))])
    box.source("vaulted.yml", vault.encrypt(json.dumps({"canary_vault": canaries["vault"].text})).decode())
    scene = Scene(box, made[0], made[1], canaries, [])
    scene.learn_keys({"luks1": {0: "current"}, "luks2": {0: "current"}})
    return scene


def keyslots(device: pathlib.Path, *entries: t.Any, **options: t.Any) -> Task:
    return {"luksmith.luks.keyslots": {"device": str(device), "keyslots": list(entries), **options}}


def success(scene: Scene) -> t.List[Task]:
    """Look, foresee, add from every source, replace, take away; on both formats."""
    folder = scene.box.folder
    tasks: t.List[Task] = []
    for volume in (scene.luks1, scene.luks2):
        current = secret_of("current", folder)
        adds = [{"new_secret": secret_of(source, folder), "pbkdf": CHEAP} for source in SOURCES]
        tasks += [
            {
                "luksmith.luks.keyslots_info": {
                    "device": str(volume.path),
                    "secrets": [current, *(secret_of(source, folder) for source in SOURCES)],
                }
            },
            {**keyslots(volume.path, *adds, unlock=[current]), "check_mode": True},
            keyslots(volume.path, *adds, unlock=[current]),
            keyslots(
                volume.path,
                {"old_secret": secret_of("text", folder), "new_secret": secret_of("stranger", folder), "pbkdf": CHEAP},
            ),
            keyslots(
                volume.path,
                {"state": "absent", "old_secret": secret_of("vault", folder)},
                unlock=[secret_of("stranger", folder)],
            ),
            {
                "luksmith.luks.keyslots_info": {
                    "device": str(volume.path),
                    "secrets": [current, secret_of("keyfile", folder)],
                }
            },
        ]
    return tasks


AFTER_SUCCESS = {0: "current", 1: "stranger", 2: "base64", 3: "keyfile", 5: "lookup"}


def _zeros(path: pathlib.Path) -> None:
    path.write_bytes(bytes(1 << 20))


def _patched(scene: Scene, name: str, *changes: t.Tuple[int, bytes]) -> pathlib.Path:
    """A copy of the LUKS1 volume with bytes changed."""
    raw = bytearray(scene.luks1.path.read_bytes())
    for offset, data in changes:
        raw[offset : offset + len(data)] = data
    path = scene.box.folder / name
    path.write_bytes(raw)
    scene.box.devices.append(path)
    return path


def refusals(scene: Scene) -> t.Dict[str, Task]:
    """Class of the error -> a task that meets it. All secrets of the tasks are canaries."""
    folder = scene.box.folder
    current, stranger, text = (secret_of(source, folder) for source in ("current", "stranger", "text"))
    add = {"new_secret": stranger, "pbkdf": CHEAP}
    zeros = folder / "zeros"
    _zeros(zeros)
    lenient = _json_with_a_comment(scene)
    busy = _patched(scene, "busy")
    scene.lock = os.open(busy, os.O_RDONLY)
    fcntl.flock(scene.lock, fcntl.LOCK_SH)
    return {
        "NotLuks": keyslots(zeros, add, unlock=[current]),
        "MalformedHeader": keyslots(_patched(scene, "stripes", (208 + 44, bytes(4))), add, unlock=[current]),
        "StricterThanCryptsetup": keyslots(lenient, add, unlock=[current]),
        "Unsupported": keyslots(_patched(scene, "intent", (768, b"LUKSMITH\x09")), add, unlock=[current]),
        "BadTask": keyslots(scene.luks1.path, {**add, "old_secret": stranger, "pbkdf": {}}, unlock=[current]),
        "BadSecret": keyslots(
            scene.luks1.path, {"new_secret": {"passphrase_base64": "{{ canary_stranger }}"}}, unlock=[current]
        ),
        "Refused": keyslots(
            scene.luks1.path,
            {"new_secret": secret_of("vault", folder), "old_secret": {"passphrase": "{{ canary_vault }}x"}},
            unlock=[text],
        ),
        "Busy": keyslots(busy, add, unlock=[current], lock_timeout=0.1),
        "StorageFault": keyslots(folder / "nowhere", add, unlock=[current]),
    }


def _json_with_a_comment(scene: Scene) -> pathlib.Path:
    import hashlib

    raw = bytearray(scene.luks2.path.read_bytes())
    for offset in (0, 16384):
        block = raw[offset : offset + 16384]
        block[4096:] = (b"{/*x*/" + bytes(block[4097:])).ljust(12288, b"\0")[:12288]
        block[448:512] = bytes(64)
        block[448:480] = hashlib.sha256(block).digest()
        raw[offset : offset + 16384] = block
    path = scene.box.folder / "lenient"
    path.write_bytes(raw)
    scene.box.devices.append(path)
    return path
