# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module under Mitogen for Ansible, whose interpreter on the host goes on with other tasks afterwards."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks1_by_cryptsetup import Luks1
from ansible_collections.luksmith.luks.tests.tools import playing

# The lane "mitogen" makes the environment and names its Python here.
PYTHON = os.environ.get("LUKSMITH_MITOGEN_PYTHON", "")
CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.needs("cryptsetup"),
    pytest.mark.skipif(not PYTHON, reason="Mitogen for Ansible is not there; tests/run mitogen installs it"),
]

BEFORE, AFTER = "gibbon-4711", "siamang-0815"
CURRENT, NEXT = ({"label": label, "passphrase": text} for label, text in (("current", BEFORE), ("next", AFTER)))
ENTRY = {"old_secret": CURRENT, "new_secret": NEXT, "pbkdf": {"iterations": 1000}}

# A module that says what the next task finds in its process. It answers for the one that Mitogen
# keeps, where tasks run that are given no process of their own.
LOOK = """\
#!/usr/bin/python
import os, resource, signal, sys, threading
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule(argument_spec={})
    module.exit_json(
        cores=resource.getrlimit(resource.RLIMIT_CORE),
        handlers=[repr(signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)],
        hooks=[threading.excepthook.__name__, sys.unraisablehook.__name__],
        ours=sorted(name for name in sys.modules if "luksmith" in name),
        pid=os.getpid(),
    )

if __name__ == "__main__":
    main()
"""

CHANGES = ("header_backup", "keyslots", "keyfile", "fleet_report", "test_volumes")
UUID = "4b543c86-7353-47b9-b355-d0ef03989991"


def _tasks(volume: Luks1) -> t.Dict[str, t.Dict[str, t.Any]]:
    """Name of a module -> its arguments, in the order in which they run."""
    device, folder = str(volume.path), volume.folder
    return {
        "volumes_info": {},
        "keyslots_info": {"device": device, "secrets": [CURRENT]},
        "header_backup": {"device": device, "path": str(folder / "backup")},
        "keyslots": {"device": device, "keyslots": [ENTRY]},
        "audit": {"device": device, "secrets": [NEXT]},
        "keyfile": {"path": str(folder / "keyfile"), "new_secret": NEXT, "old_secrets": [CURRENT]},
        "verify_volume": {"device": device, "opens": [NEXT], "does_not_open": [CURRENT]},
        "test_volumes": {"volumes": [{"path": str(folder / "made.img"), "secrets": [NEXT]}]},
        "audit_step": {"volumes": [{"device": device}], "secrets": [NEXT]},
        "rotation_step": {"step": "look", "volumes": [{"device": device, "unlock": [NEXT]}]},
        # Actions that send one of those above.
        "audit_host": {},
        "rotate_host": {},
        # These work in the process of Ansible itself.
        "escrow_entry": {"folder": str(folder / "escrow"), "key": "web/one"},
        "fleet_report": {"hosts": [{"host": "web"}], "html": str(folder / "page.html")},
        "role_options": {"names": ["rotate_store"]},
        "rotation_entry": {"operation": "check", "host": "web", "uuid": UUID, "device": "/dev/sdb"},
        "vault_entry": {"path": str(folder / "store.yml"), "key": "web/one"},
    }


def _variables(volume: Luks1) -> t.Dict[str, t.Any]:
    """Of the actions that take no argument."""
    return {
        "audit_volumes": [{"device": str(volume.path)}],
        "audit_secrets": [NEXT],
        # It looks and finds nothing, so that it needs no store.
        "rotate_paths": [str(volume.folder / "no such volume*")],
        "rotate_block_devices": False,
        "rotate_crypttab": str(volume.folder / "none"),
        "rotate_generation": "one",
        "rotate_store": "command",
        "rotate_command": ["true"],
    }


def _play(
    folder: pathlib.Path, tasks: t.Sequence[t.Mapping[str, t.Any]], *flags: str
) -> t.Tuple[t.Dict[str, t.Dict[str, t.Any]], str]:
    """What each task returned, by its name, and all that was printed."""
    link = folder / "collections" / "ansible_collections" / "luksmith" / "luks"
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT)
    library = folder / "library"
    library.mkdir()
    (library / "look.py").write_text(LOOK)
    (folder / "play.json").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "strategy": "mitogen_linear", "tasks": list(tasks)}])
    )
    (folder / "ansible.cfg").write_text("[defaults]\n")
    where = [PYTHON, "-c", "import ansible_mitogen as found; print(found.__path__[0])"]
    site = subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip()
    environment = playing.outside()
    environment.update(
        ANSIBLE_CONFIG=str(folder / "ansible.cfg"),
        ANSIBLE_COLLECTIONS_PATH=str(folder / "collections"),
        ANSIBLE_LIBRARY=str(library),
        ANSIBLE_LOCAL_TEMP=str(folder / "controller"),
        ANSIBLE_REMOTE_TEMP=str(folder / "host"),
        ANSIBLE_STRATEGY_PLUGINS=f"{site}/plugins/strategy",
        ANSIBLE_STDOUT_CALLBACK="default",
        ANSIBLE_NOCOLOR="1",
        LC_ALL="C.UTF-8",
    )
    program = pathlib.Path(PYTHON).with_name("ansible-playbook")
    command = playing.local_command(program, *flags, str(folder / "play.json"))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240, env=environment, cwd=folder
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    results = {path.stem: json.loads(path.read_text()) for path in (folder / "results").glob("*.json")}
    return results, output


@pytest.mark.parametrize("isolation", ["none", "fork"])
def test_every_module_runs(isolation: str, tmp_path: pathlib.Path) -> None:
    """One play, with a task for each module of the collection."""
    volume = Luks1(tmp_path, BEFORE, cipher="aes-cbc-essiv:sha256", bits=128)
    (tmp_path / "keyfile").write_text(BEFORE)
    (tmp_path / "results").mkdir()
    called = _tasks(volume)
    # reveal sends nothing anywhere, and fails without a terminal.
    assert sorted({*called, "reveal"}) == sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))
    tasks: t.List[t.Dict[str, t.Any]] = [{"name": "before", "look": {}, "register": "before"}]
    for module, arguments in called.items():
        variables = {**_variables(volume), "mitogen_task_isolation": isolation}
        # As a variable, audit_step would be one of the role, and misspelt.
        tasks.append({"luksmith.luks." + module: arguments, "register": f"of_{module}", "vars": variables})
    tasks.append({"name": "after", "look": {}, "register": "after"})
    for name in ("before", *(f"of_{module}" for module in called), "after"):
        tasks.append(
            {
                "ansible.builtin.copy": {
                    "content": f"{{{{ {name} | to_json }}}}",
                    "dest": str(tmp_path / "results" / f"{name}.json"),
                    "mode": "0600",
                }
            }
        )
    results, output = _play(tmp_path, tasks)

    changed = {name: results[f"of_{name}"]["changed"] for name in called}
    assert changed == {name: name in CHANGES for name in called}, output
    volume.holds({0: AFTER}, BEFORE)
    assert (tmp_path / "keyfile").read_text() == AFTER
    assert BEFORE not in output and AFTER not in output
    before, after = results["before"], results["after"]
    assert before["pid"] == after["pid"], "this test looks at a process that Mitogen keeps"
    assert after["handlers"] == before["handlers"]
    if isolation == "fork":
        assert after == before
    else:
        assert after["ours"], "nothing ran in the process that is looked at"
        assert after["cores"][0] in (0, 1), "it has held secrets, and a core would show them"
