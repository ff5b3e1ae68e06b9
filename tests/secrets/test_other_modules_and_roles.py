# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same canaries through every other module that is given a secret, and through the roles: success, refusals, most
talkative, under strace.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.luksmith.luks.tests.secrets import canary, tracing, volumes
from ansible_collections.luksmith.luks.tests.secrets.box import Ran, Task
from ansible_collections.luksmith.luks.tests.secrets.scene import CHEAP, Scene, Secret, keyslots, secret_of

pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup", "strace")
UUID = "4b543c86-7353-47b9-b355-d0ef03989991"


@pytest.fixture
def scene(scene: Scene) -> Scene:
    return _with_keyfiles(scene)


def _with_keyfiles(scene: Scene) -> Scene:
    """Two keyfiles that hold the first secret of the volumes, in a folder where nothing else may appear."""
    folder = scene.box.folder / "keyfiles"
    folder.mkdir()
    for name in ("whole", "part"):
        (folder / name).write_bytes(scene.canaries["current"].value)
        scene.box.sources.append(folder / name)
    return scene


def play(scene: Scene, trace: pathlib.Path, tasks: t.Sequence[Task], *more: str) -> Ran:
    """With all that makes Ansible talk, under strace; whatever was written by whom is looked at."""
    password = ("--vault-password-file", str(scene.box.folder / "vault-password"))
    also = {"ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit"}
    ran = scene.box.play(tasks, "-vvvv", "--diff", *password, *more, prefix=tracing.command(trace), environment=also)
    assert (
        "unexpected" not in ran.output and "error in luksmith.luks" not in ran.output and "Traceback" not in ran.output
    ), ran.output
    return ran


def nothing_got_out(scene: Scene, trace: pathlib.Path, ran: Ran) -> None:
    """Ran.output, logs, junit, temporary folders, argument lists, environments, writes."""
    folder = scene.box.folder / "keyfiles"
    assert scene.box.leaks(scene.search, ran) == [], [
        line for line in ran.output.splitlines() if scene.search(line) or line.startswith("TASK")
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["part", "whole"]
    seen = tracing.check(trace, scene, keyfiles=folder)
    assert seen["execve"] > 5 and seen["write"] > 100, seen
    assert (scene.box.folder / "log").stat().st_size > 1000 and list((scene.box.folder / "junit").iterdir())


def says(ran: Ran, *sentences: str) -> None:
    told = " ".join(ran.output.split())
    assert [sentence for sentence in sentences if sentence not in told] == [], ran.output


def _header_backup(scene: Scene, **options: t.Any) -> Task:
    return {
        "luksmith.luks.header_backup": {
            "device": str(scene.luks2.path),
            "path": str(scene.box.folder / "backup"),
            **options,
        }
    }


def _on_hosts(scene: Scene) -> t.List[Task]:
    """audit, header_backup, keyfile: what they do and what they refuse."""
    folder = scene.box.folder
    current, text, stranger, keyfile = (
        secret_of(source, folder) for source in ("current", "text", "stranger", "keyfile")
    )
    scene.box.devices.append(folder / "backup")
    backups = [str(folder / "backup")]
    entry = {"old_secret": current, "new_secret": text, "pbkdf": CHEAP}

    def audit(volume: volumes.Volume, known: Secret, forbidden: t.Sequence[Secret], **options: t.Any) -> Task:
        return {
            "luksmith.luks.audit": {
                "device": str(volume.path),
                "secrets": [known],
                "forbidden_secrets": list(forbidden),
                **options,
            }
        }

    def follow(path: str, **options: t.Any) -> Task:
        return {
            "luksmith.luks.keyfile": {
                "path": str(folder / "keyfiles" / path),
                "new_secret": text,
                "old_secrets": [current, stranger],
                **options,
            }
        }

    return [
        _header_backup(scene),
        {**_header_backup(scene, unlock=[current, stranger]), "check_mode": True},
        keyslots(scene.luks2.path, entry, record=False),
        audit(scene.luks2, text, [current, secret_of("lookup", folder)], backups=backups),
        audit(
            scene.luks1,
            current,
            [keyfile, secret_of("base64", folder)],
            policy={"extends": "legacy", "required_labels": ["from vault"]},
        ),
        audit(scene.luks1, secret_of("vault", folder), [current], fail_on="info"),
        audit(scene.luks1, current, [{**current, "label": "the same"}]),
        _header_backup(scene, state="restored", unlock=[current, text]),
        _header_backup(scene, state="restored", unlock=[stranger], force=True),
        {**_header_backup(scene, state="restored", unlock=[current], force=True), "check_mode": True},
        _header_backup(scene, state="restored", unlock=[current], force=True),
        keyslots(scene.luks2.path, entry, record=False),
        _header_backup(scene, force=True, unlock=[text]),
        {**follow("whole"), "check_mode": True},
        follow("whole"),
        follow("part", keyfile_offset=0, keyfile_size=len(scene.canaries["current"].value)),
        follow("part", old_secrets=[{"passphrase_base64": "{{ canary_stranger }}"}]),
    ]


def test_modules_on_the_host(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It may take long: a playbook calls each of them several times, in a new interpreter each time, under strace."""
    trace = tmp_path_factory.mktemp("beside") / "trace"
    ran = play(scene, trace, _on_hosts(scene))
    assert volumes.opens(scene.luks2, scene.canaries["text"].value) and not volumes.opens(
        scene.luks2, scene.canaries["current"].value
    )
    keyfile, part = ((scene.box.folder / "keyfiles" / name).read_bytes() for name in ("whole", "part"))
    assert (keyfile, part) == (scene.canaries["text"].value, scene.canaries["current"].value)
    says(
        ran,
        "forbidden",
        "Nothing was changed.",
        "from vault",
        "set force: true",
        "Only a part of the keyfile",
        "base64",
    )
    scene.learn_keys({"luks1": {0: "current"}, "luks2": {0: "text"}})
    nothing_got_out(scene, trace, ran)


def _on_the_controller(scene: Scene, certificate: pathlib.Path) -> t.List[Task]:
    """rotation_entry, vault_entry, escrow_entry.

    They return secrets, so that success is used with no_log; what they refuse is shown.
    """
    folder = scene.box.folder
    volume = {"host": "localhost", "uuid": UUID, "device": str(scene.luks2.path)}
    stores = {
        "vault": {"luksmith.luks.vault_entry": {"path": str(folder / "store.yml"), "key": "web/one"}},
        "escrow": {
            "luksmith.luks.escrow_entry": {
                "folder": str(folder / "escrow"),
                "key": "web/one",
                "certificates": [str(certificate)],
                "create": True,
            }
        },
    }

    def decide(entry: str, new: str, **options: t.Any) -> Task:
        arguments = {
            **volume,
            "operation": "decide",
            "entry": entry,
            "passphrase": new,
            "replaces": [secret_of("current", folder)],
            "iter_time": 1,
        }
        return {"luksmith.luks.rotation_entry": {**arguments, **options}}

    def change(operation: str, **options: t.Any) -> Task:
        return {
            "luksmith.luks.rotation_entry": {**volume, "operation": operation, "entry": "{{ kept.entry }}", **options}
        }

    def store(name: str, **options: t.Any) -> Task:
        ((module, arguments),) = stores[name].items()
        return {module: {**arguments, **options}}

    def quiet(task: Task, register: str = "unused") -> Task:
        return {**task, "register": register, "no_log": True}

    tasks: t.List[Task] = [quiet(decide("", "{{ canary_text }}", generation="one"), "order")]
    for name in ("vault", "escrow"):
        private_key = {"private_key": "{{ canary_private_key }}"} if name == "escrow" else {}
        tasks += [
            {**quiet(store(name, operation="write", entry="{{ order.staged }}")), "check_mode": True},
            quiet(store(name, operation="write", entry="{{ order.staged }}")),
            quiet(store(name, **private_key), "kept"),
            quiet(change("compare", secret="{{ order.new }}"), "compared"),
            change("compare", secret="{{ order.new | combine({'passphrase': canary_vault}) }}"),
            change("compare", secret="{{ order.new }}", field="current"),
            store(name, operation="write", entry="{{ compared.promoted }}"),
            store(name, operation="write", entry="{{ compared.promoted }}", version="{{ kept.version }}", key="../web"),
            quiet(store(name, operation="write", entry="{{ compared.promoted }}", version="{{ kept.version }}")),
            quiet(store(name, **private_key), "kept"),
            quiet(decide("{{ kept.entry }}", "{{ canary_stranger }}", generation="two"), "next"),
            quiet(decide("{{ kept.entry }}", "{{ canary_text }}", generation="two")),
            decide("{{ kept.entry }}", "{{ canary_current }}", generation="two"),
            decide("{{ kept.entry }}", "{{ canary_current }}", generation="two", host="another"),
            quiet(change("forget", keep_older=0)),
        ]
    return [
        *tasks,
        store("vault", path=str(folder / "looked-up")),
        store("vault", operation="write", entry="{{ compared.promoted }}", vault_id="nobody", version=2),
        store("escrow", private_key="{{ canary_vault }}"),
        store(
            "escrow",
            operation="write",
            entry="{{ compared.promoted }}",
            version=2,
            certificates=[str(folder / "keyfile")],
        ),
    ]


@pytest.mark.needs("openssl")
def test_modules_on_the_controller(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It may take long: a playbook reads and writes both stores, and openssl seals, all of it under strace."""
    beside = tmp_path_factory.mktemp("beside")
    key, certificate, trace = beside / "key", beside / "certificate", beside / "trace"
    words = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-subj",
        "/CN=escrow",
    ]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], capture_output=True, check=True)
    scene.box.source("private.json", json.dumps({"canary_private_key": key.read_text()}))
    scene.canaries["private key"] = canary.Canary("private key", key.read_bytes(), (key.read_bytes().splitlines()[1],))
    ran = play(scene, trace, _on_the_controller(scene, certificate))
    says(
        ran,
        "did not give back secret",
        "was changed by another run meanwhile",
        "is not encrypted with ansible-vault",
        "no vault password with the id",
    )
    assert _vaulted(scene, "store.yml")["web/one"]["entry"]["current"]["passphrase"] == scene.canaries["text"].text
    sealed = json.loads((scene.box.folder / "escrow" / "web" / "one.json").read_text())["entry"]["current"]["sealed"]
    opened = subprocess.run(
        ["openssl", "cms", "-decrypt", "-inform", "PEM", "-inkey", str(key)],
        input=sealed.encode(),
        capture_output=True,
        check=True,
    )
    assert json.loads(opened.stdout)["passphrase"] == scene.canaries["text"].text
    nothing_got_out(scene, trace, ran)


def _vaulted(scene: Scene, name: str) -> t.Dict[str, t.Any]:
    """What a vault file of the box holds."""
    vault = VaultLib([("default", VaultSecret(scene.canaries["vault password"].value))])
    held: t.Dict[str, t.Any] = json.loads(vault.decrypt((scene.box.folder / name).read_bytes()))[
        "luksmith_luks_secrets"
    ]
    return held


def _role(name: str, **variables: t.Any) -> Task:
    """Within a block, because the tasks of a role that is included by itself do not see that its errors are ignored."""
    return {"block": [{"ansible.builtin.include_role": {"name": f"luksmith.luks.{name}"}, "vars": variables}]}


def _roles(scene: Scene) -> t.List[Task]:
    """A rotation of a volume whose keyfile follows, the next one, one that is refused; then audits with findings and
    without.
    """
    folder = scene.box.folder
    current, stranger, keyfile = (secret_of(source, folder) for source in ("current", "stranger", "keyfile"))
    (folder / "crypttab").write_text(f"data {scene.luks2.path} {folder / 'keyfiles' / 'whole'} luks\n")
    (folder / "backups").mkdir()
    rotate = {
        "rotate_volumes": [{"device": str(scene.luks2.path)}],
        "rotate_block_devices": False,
        "rotate_crypttab": str(folder / "crypttab"),
        "rotate_initramfs": "never",
        "rotate_vault_file": str(folder / "store.yml"),
        "rotate_replaces": [current],
        "rotate_keeps": [keyfile],
        "rotate_generation": "one",
        "rotate_pbkdf": CHEAP,
        "rotate_header_backup": str(folder / "backups"),
        "rotate_report": str(folder / "report"),
    }
    audit = {
        "audit_volumes": [{"device": str(scene.luks1.path)}, {"device": str(scene.luks2.path)}],
        "audit_block_devices": False,
        "audit_crypttab": str(folder / "crypttab"),
        "audit_policy": {"extends": "legacy", "required_labels": ["from keyfile"]},
        "audit_secrets": [keyfile, stranger],
        "audit_forbidden_secrets": [current],
        "audit_report_directory": str(folder / "report"),
    }
    return [
        keyslots(scene.luks2.path, {"new_secret": keyfile, "pbkdf": CHEAP}, unlock=[current]),
        _role("rotate", **rotate, rotate_passphrase="{{ canary_text }}"),
        _role("rotate", **{**rotate, "rotate_generation": "two"}),
        _role(
            "rotate", **{**rotate, "rotate_volumes": [{"device": str(scene.luks1.path)}], "rotate_replaces": [stranger]}
        ),
        _role("audit", **audit),
        _role("audit", **{**audit, "audit_fail_on": "low", "audit_volumes": [{"device": str(folder / "crypttab")}]}),
    ]


def test_roles(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It may take long: three rotations and two audits, each with all the tasks of its role, under strace."""
    trace = tmp_path_factory.mktemp("beside") / "trace"
    tasks = _roles(scene)
    ran = play(scene, trace, tasks)
    scene.box.devices += (scene.box.folder / "backups").iterdir()
    (kept,) = (
        held["entry"]
        for held in _vaulted(scene, "store.yml").values()
        if held["entry"]["device"] == str(scene.luks2.path)
    )
    new, older = kept["current"]["passphrase"], [one["passphrase"] for one in kept["older"]]
    assert scene.canaries["text"].text in older and kept["current"]["generation"] == "two", ran.output
    assert (scene.box.folder / "keyfiles" / "whole").read_text() == new
    assert volumes.opens(scene.luks2, new.encode()) and volumes.opens(scene.luks2, scene.canaries["keyfile"].value)
    assert not any(volumes.opens(scene.luks2, scene.canaries[name].value) for name in ("text", "current"))
    scene.canaries["made by the role"] = canary.Canary(
        "made by the role", new.encode(), (new.encode()[:16], new.encode()[-16:])
    )
    scene.keys.append(volumes.volume_key(scene.luks2, new.encode()))
    assert {path.name for path in (scene.box.folder / "report").iterdir()} >= {
        "hosts",
        "luks-audit.html",
        "luks-audit.json",
        "luks-audit.csv",
    }
    says(
        ran,
        "refused at plan",
        "1 of 1 volume was not brought to the end",
        "It begins with text, not with a LUKS header",
    )
    assert ran.output.count(": promote: ") == 2, (
        "after a plan that failed nothing more is done, whatever the play ignores"
    )
    nothing_got_out(scene, trace, ran)
