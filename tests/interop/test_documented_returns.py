# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's documentation says of its results is what modules return: every key, its type, and the form of every
sample.

Each module runs often enough that all its documented keys occur. A key that is returned and not documented, documented
and never returned, or of another type than documented is a failure; so is a sample that no result looks like.
"""

from __future__ import annotations

import functools
import gzip
import importlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import typing as t

import pytest
import yaml
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Interrupted
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan import types
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result.actions import interruption
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.discovery import discover
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import writing
from ansible_collections.luksmith.luks.tests.interop.in_the_child import a_qemu_has_it_open, answer_for_clevis
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, run_module
from ansible_collections.luksmith.luks.tests.tools import playing
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_host import (
    UUID1,
    FakeHost,
    luks1,
    mapping_uuid,
)

Result = t.Dict[str, t.Any]

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOK = pathlib.Path(sys.executable).with_name("ansible-playbook")
LEAKED = {"label": "leaked", "passphrase": "winter-2025"}
BREAK_GLASS = {"label": "break-glass", "passphrase": "in-case-of-fire"}
PRIMARY = {"label": "admin 2026", "passphrase": "correct horse battery staple"}
VOLUME_KEY = {"label": "dump", "volume_key_base64": "AAAAAAAAAAAAAAAAAAAAAA=="}
CHEAP = {"type": "argon2id", "time": 4, "memory": 64, "parallel": 1}
# What Ansible itself adds to, or understands in, every result.
OF_ANSIBLE = {"changed", "failed", "invocation", "msg", "warnings", "deprecations", "exception"}
TYPES: t.Mapping[str, t.Tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}


def volume(folder: pathlib.Path, name: str, fixture: str = "luks2.img") -> str:
    path = folder / name
    path.write_bytes(gzip.decompress((ROOT / "tests" / "fixtures" / f"{fixture}.gz").read_bytes()))
    return str(path)


def overlay(folder: pathlib.Path, name: str, base: str = "") -> str:
    """A qcow2 image that says it has a backing file, by default the same image without one."""
    base, top = base or volume(folder, f"base-{name}", "luks1.qcow2"), volume(folder, name, "luks1.qcow2")
    with open(top, "r+b") as stream:
        stream.seek(8)
        stream.write(struct.pack(">QI", 2048, len(base)))
        stream.seek(2048)
        stream.write(base.encode())
    return top


def bound(folder: pathlib.Path) -> Result:
    """What a task needs for a volume with a token of Clevis, which yields LEAKED."""
    made = Luks2Volume(pathlib.Path(volume(folder, "bound.img")))
    token = {"type": "clevis", "keyslots": ["0", "1"], "jwe": {}}
    made.edit(lambda tree: tree["tokens"].update({"3": token}))
    return {"device": str(made.path)}


CLEVIS = {"hooks": [functools.partial(answer_for_clevis, LEAKED["passphrase"])]}
TOKEN = {"label": "machine", "token": "auto"}


def run(name: str, arguments: Result, **how: t.Any) -> Result:
    """The result, of a failure too."""
    try:
        return run_module(name, arguments, **how)
    except ModuleFailed as error:
        return error.result


def keyslots(folder: pathlib.Path) -> t.Iterator[Result]:
    device = volume(folder, "a.img")
    replace = {"old_secret": LEAKED, "new_secret": PRIMARY, "pbkdf": CHEAP}
    yield run(
        "keyslots",
        {"device": device, "keyslots": [replace, {"new_secret": BREAK_GLASS, "pbkdf": {"iterations": 1000}}]},
        diff=True,
    )
    yield run("keyslots", {"device": device, "keyslots": [replace]}, diff=True)
    new = {"new_secret": PRIMARY, "pbkdf": CHEAP}
    yield run("keyslots", {**bound(folder), "keyslots": [new], "unlock": [TOKEN]}, diff=True, **CLEVIS)
    for top in (overlay(folder, "top"), overlay(folder, "far", "nbd://localhost/base")):
        yield run("keyslots", {"device": top, "keyslots": [{"new_secret": LEAKED}]}, diff=True)
    link = folder / "link"
    link.symlink_to(device)
    yield run(
        "keyslots",
        {"devices": [device, str(link), volume(folder, "b.img"), "/dev/null"], "keyslots": [replace]},
        diff=True,
    )
    yield run(
        "keyslots", {"device": volume(folder, "c.img", "luks1.img"), "keyslots": [{"new_secret": LEAKED}]}, diff=True
    )
    task = {"device": volume(folder, "d.img", "luks1.img"), "allow_lockout": True, "qmp": str(folder / "none")}
    gone = {**task, "keyslots": [{"state": "absent", "old_secret": LEAKED}]}
    yield run("keyslots", gone, check=True, diff=True, hooks=[a_qemu_has_it_open])
    yield interrupted()


def interrupted() -> Result:
    """What the edge makes of a run that could not go on after its first write; the tests of crashes have real ones."""
    add, erase = (
        types.Action(types.ActionKind.ADD, 1, "why", label="admin 2026"),
        types.Action(types.ActionKind.ERASE, 0, "why", label="leaked"),
    )
    return interruption(Interrupted("x", actions_done=[add], actions_left=[erase]))


def keyslots_info(folder: pathlib.Path) -> t.Iterator[Result]:
    device = volume(folder, "a.img")
    replace = {"old_secret": LEAKED, "new_secret": PRIMARY, "pbkdf": CHEAP}
    run(
        "keyslots",
        {"device": device, "keyslots": [replace, {"new_secret": BREAK_GLASS, "pbkdf": {"iterations": 1000}}]},
    )
    yield run("keyslots_info", {"device": device, "secrets": [PRIMARY, VOLUME_KEY]})
    yield run("keyslots_info", {**bound(folder), "secrets": [TOKEN]}, **CLEVIS)
    for top in (overlay(folder, "top"), overlay(folder, "far", "nbd://localhost/base")):
        yield run("keyslots_info", {"device": top, "secrets": [LEAKED]})
    old = volume(folder, "c.img", "luks1.img")
    yield run("keyslots_info", {"device": old})
    with open(old, "r+b") as stream:  # a cipher that no library has
        stream.seek(8)
        stream.write(b"cast6".ljust(32, b"\0"))
    yield run("keyslots_info", {"device": old, "secrets": [PRIMARY]})


def header_backup(folder: pathlib.Path) -> t.Iterator[Result]:
    task = {"device": volume(folder, "a.img"), "path": str(folder / "backup"), "unlock": [BREAK_GLASS]}
    yield run("header_backup", {**task, "unlock": [BREAK_GLASS, VOLUME_KEY]})
    run(
        "keyslots",
        {"device": task["device"], "unlock": [BREAK_GLASS], "keyslots": [{"state": "absent", "old_secret": LEAKED}]},
    )
    yield run("header_backup", task, check=True)
    yield run("header_backup", {**task, "state": "restored", "force": True})
    yield interrupted()


def volumes_info(folder: pathlib.Path) -> t.Iterator[Result]:
    device = volume(folder, "a.img")
    crypttab = folder / "crypttab"
    crypttab.write_text(f"data {device} none luks\n")
    whole = bytearray(1 << 20)
    struct.pack_into("<II", whole, 446 + 8, 2048, 2048)  # the first partition, from the first MiB on
    whole[446 + 4], whole[510:512] = 0x83, b"\x55\xaa"
    (folder / "disk.raw").write_bytes(bytes(whole) + pathlib.Path(device).read_bytes())
    paths = [device, volume(folder, "b.img", "luks1.qcow2"), str(folder / "*.raw")]
    yield run("volumes_info", {"paths": paths, "block_devices": False, "crypttab": str(crypttab)})
    with pytest.MonkeyPatch.context() as patch:  # device-mapper devices of a host that is all made up
        host = FakeHost(folder / "host", patch)
        host.device("sda", luks1())
        host.device("dm-0", dm="system", uuid=mapping_uuid(UUID1, "system", 1), beneath=["sda"])
        host.device("dm-1", dm="vg-root", beneath=["dm-0"])
        host.mount(b"/", "dm-1")
        yield discover(crypttab_path=str(host.crypttab))


def audit(folder: pathlib.Path) -> t.Iterator[Result]:
    device = volume(folder, "a.img")
    run("keyslots", {"device": device, "keyslots": [{"old_secret": LEAKED, "new_secret": PRIMARY, "pbkdf": CHEAP}]})
    task = {"policy": "owasp-2023", "secrets": [PRIMARY], "forbidden_secrets": [BREAK_GLASS]}
    yield run("audit", {"device": device, **task})
    for top in (overlay(folder, "top"), overlay(folder, "far", "nbd://localhost/base")):
        yield run("audit", {"device": top, "forbidden_secrets": [LEAKED]})
    link = folder / "link"
    link.symlink_to(device)
    yield run("audit", {"devices": [device, str(link), "/dev/null"], "policy": "strict"})


def audit_step(folder: pathlib.Path) -> t.Iterator[Result]:
    volume(folder, "a.img")
    (folder / "broken.img").write_bytes(bytes(4096))
    places = {"paths": [str(folder / "*.img")], "block_devices": False, "crypttab": str(folder / "none")}
    yield run("audit_step", places)
    yield run("audit_step", {**places, "volumes": [{"device": str(folder / "broken.img")}]})


def fleet_report(folder: pathlib.Path) -> t.Iterator[Result]:
    """What the action plugin does; Ansible itself runs it for CONTROLLER."""
    usual = {"sources": [], "kind": "audit", "title": "", "generated": None, **dict.fromkeys(writing.FORMS)}
    hosts = [{"host": "web-1", "volumes": [run("audit", {"device": volume(folder, "a.img")})]}]
    before = {"problem": "", "generated": "yesterday", "hosts": []}
    for more in ({}, {"before": before}):
        options = {**usual, "hosts": hosts, "html": str(folder / "report.html"), **more}
        yield writing.write(options, mode=lambda _old: 0o600, check=False)


def keyfile(folder: pathlib.Path) -> t.Iterator[Result]:
    (folder / "data.key").write_text(LEAKED["passphrase"])
    yield run("keyfile", {"path": str(folder / "data.key"), "new_secret": PRIMARY, "old_secrets": [LEAKED]})


def rotation_step(folder: pathlib.Path) -> t.Iterator[Result]:
    device = volume(folder, "a.img")
    broken = folder / "broken.img"
    broken.write_bytes(bytes(4096))
    yield run("rotation_step", {"step": "look", "volumes": [{"device": device}, {"device": str(broken)}]})


def test_volumes(folder: pathlib.Path) -> t.Iterator[Result]:
    yield run("test_volumes", {"volumes": [{"path": str(folder / "a.img")}]})


def verify_volume(folder: pathlib.Path) -> t.Iterator[Result]:
    device = volume(folder, "a.img")
    for wanted in (LEAKED, PRIMARY):
        yield run("verify_volume", {"device": device, "opens": [wanted]})


test_volumes.__test__ = False  # type: ignore[attr-defined]  # a module, not a test
MODULES_ON_HOSTS = (
    keyslots,
    keyslots_info,
    header_backup,
    volumes_info,
    audit,
    audit_step,
    fleet_report,
    keyfile,
    rotation_step,
    test_volumes,
    verify_volume,
)
RUNS = {one.__name__: one for one in MODULES_ON_HOSTS}

OF = {"host": "web-1", "uuid": "4b543c86-7353-47b9-b355-d0ef03989991", "device": "/dev/sdb"}
KEY = "web-1/4b543c86-7353-47b9-b355-d0ef03989991"
FLEET = [{"host": "web-1", "volumes": [{"device": "/dev/sdb", "state": "compliant"}]}]
VOLUMES = [{"device": "{{ folder }}/a.img"}]
CONTROLLER: t.List[t.Tuple[t.Any, ...]] = [
    ("fleet_report", {"hosts": FLEET, "html": "{{ folder }}/report.html"}),
    ("rotation_entry", {"operation": "decide", **OF, "generation": "2026-11", "replaces": [LEAKED]}),
    ("rotation_entry", {"operation": "compare", **OF, "entry": "{{ r1.staged }}", "secret": "{{ r1.new }}"}),
    ("rotation_entry", {"operation": "forget", **OF, "entry": "{{ r2.promoted }}", "keep_older": 0}),
    (
        "vault_entry",
        {"path": "{{ folder }}/secrets.yml", "key": KEY, "operation": "write", "entry": "{{ r2.promoted }}"},
    ),
    (
        "escrow_entry",
        {
            "folder": "{{ folder }}/escrow",
            "key": KEY,
            "operation": "write",
            "entry": "{{ r2.promoted }}",
            "certificates": ["{{ folder }}/certificate"],
            "create": True,
        },
    ),
    ("role_options", {"names": ["folder", "not defined"]}),
    ("audit_host", {}, {"audit_volumes": VOLUMES, "audit_block_devices": False}),
    ("rotate_host", {}, {"rotate_volumes": VOLUMES}),
    ("reveal", {}, {}),
    ("rotate_host", {"journal": []}, {"rotate_volumes": VOLUMES, "rotate_store": "{{ folder }}"}),
    ("rotate_host", {"journal": []}, {"rotate_store": "{{ folder }}"}),
    ("fleet_report", {"hosts": FLEET, "json": "{{ folder }}/a.json", "previous": "{{ folder }}/a.json"}),
]
ROTATION = {
    "rotate_generation": "one",
    "rotate_block_devices": False,
    "rotate_crypttab": "{{ folder }}/none",
    "rotate_vault_file": "{{ folder }}/secrets.yml",
    "rotate_replaces": [LEAKED],
    "rotate_iter_time": 1,
}


@pytest.fixture(scope="module")
def on_the_controller(tmp_path_factory: pytest.TempPathFactory) -> t.List[t.Tuple[str, Result]]:
    """The results of CONTROLLER, each with the name of its module; these run in Ansible's own process, which takes ten
    seconds for all of them.
    """
    folder = tmp_path_factory.mktemp("controller")
    certificate = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=escrow",
        "-keyout",
        "key",
        "-out",
        "certificate",
    ]
    subprocess.run(certificate, cwd=folder, check=True, capture_output=True)
    link = folder / "collections" / "ansible_collections" / "luksmith" / "luks"
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT)
    (folder / "password").write_text("for a test\n")
    tasks: t.List[Result] = []
    volume(folder, "a.img")
    for number, (name, arguments, *variables) in enumerate(CONTROLLER):
        own: Result = {"vars": {**ROTATION, **variables[0]}} if variables else {}
        own["check_mode"] = name == "reveal"  # it would want a terminal
        tasks.append({f"luksmith.luks.{name}": arguments, "register": f"r{number}", **own})
        tasks.append(
            {
                "ansible.builtin.copy": {
                    "content": f"{{{{ r{number} | to_json }}}}",
                    "dest": f"{folder}/r{number}",
                    "mode": "0600",
                }
            }
        )
    (folder / "play.json").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "vars": {"folder": str(folder)}, "tasks": tasks}])
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment.update(
        ANSIBLE_COLLECTIONS_PATH=str(folder / "collections"), ANSIBLE_HOME=str(folder / "ansible"), LC_ALL="C.UTF-8"
    )
    command = playing.local_command(PLAYBOOK, "--vault-password-file", "password", "play.json")
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [(name, json.loads((folder / f"r{number}").read_text())) for number, (name, *_rest) in enumerate(CONTROLLER)]


def documented(name: str) -> Result:
    module = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{name}")
    return t.cast(Result, yaml.safe_load(module.RETURN))


def compare(name: str, results: t.Sequence[Result]) -> None:
    described = documented(name)
    problems: t.List[str] = []
    returned = [{key: value for key, value in result.items() if key not in OF_ANSIBLE} for result in results]
    _compare_keys(described, returned, "", described, problems)
    for key, description in described.items():
        values = [result[key] for result in returned if key in result]
        if "sample" in description:
            if not any(alike(description["sample"], value) for value in values):
                problems.append(f"{key}: no result looks like its sample")
        else:
            problems.append(f"{key} has no sample")
    assert not problems, "\n".join([f"{name}:", *problems, json.dumps(returned, indent=1)])


def _compare_keys(
    described: Result, returned: t.Sequence[Result], where: str, whole: Result, problems: t.List[str]
) -> None:
    """``whole``: the documentation of the module; the items of ``volumes`` are results of one volume each."""
    found: t.Dict[str, t.List[t.Any]] = {}
    for one in returned:
        for key, value in one.items():
            found.setdefault(key, []).append(value)
    allowed = {**whole, **dict.fromkeys(OF_ANSIBLE)} if where == "volumes." else {}
    problems.extend(
        f"{where}{key} is returned and not documented" for key in found if key not in described and key not in allowed
    )
    problems.extend(f"{where}{key} is documented and not returned" for key in described if key not in found)
    for key, values in found.items():
        description = described.get(key)
        if description is None:
            continue
        wrong = [value for value in values if value is not None and not isinstance(value, TYPES[description["type"]])]
        if wrong and not (key == "diff" and all(isinstance(value, list) for value in wrong)):  # one for each volume
            problems.append(f"{where}{key} is documented as {description['type']} and is {wrong[0]!r}")
        if "contains" in description:
            items = [
                item
                for value in values
                for item in (value if isinstance(value, list) else [value] if value is not None else [])
            ]
            _compare_keys(description["contains"], items, f"{where}{key}.", whole, problems)


def alike(sample: t.Any, value: t.Any) -> bool:
    """The same types at the same keys. Where a list of one has several items, each is like some item of the other's."""
    if isinstance(sample, dict) and isinstance(value, dict):
        if set(sample) != set(value):
            # Labels, hosts and the like are keys too: then any value will do.
            return (
                bool(sample) == bool(value)
                and not set(sample) & set(value)
                and all(any(alike(one, other) for other in value.values()) for one in sample.values())
            )
        return all(alike(sample[key], value[key]) for key in sample)
    if isinstance(sample, list) and isinstance(value, list):
        return not sample or not value or all(any(alike(one, other) for other in value) for one in sample)
    return sample is None or value is None or type(sample) is type(value)


@pytest.mark.parametrize("name", sorted(RUNS))
def test_results_are_as_documented(name: str, tmp_path: pathlib.Path) -> None:
    compare(name, list(RUNS[name](tmp_path)))


@pytest.mark.full
@pytest.mark.xdist_group("documented returns")  # one run for all
@pytest.mark.needs("ansible-playbook", "openssl")
@pytest.mark.parametrize("name", sorted({name for name, *_rest in CONTROLLER}))
def test_results_of_the_controller_are_as_documented(
    name: str, on_the_controller: t.List[t.Tuple[str, Result]]
) -> None:
    compare(name, [result for module, result in on_the_controller if module == name])


def test_every_module_is_tried() -> None:
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert modules == {*RUNS, *(name for name, *_rest in CONTROLLER)}
