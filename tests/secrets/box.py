# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook with its home, temporary folders, logs and the collection in one folder, which is searched."""

from __future__ import annotations

import atexit
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing as t

from ansible_collections.luksmith.luks.tests.secrets import canary, volumes
from ansible_collections.luksmith.luks.tests.tools import playing

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
BESIDE = pathlib.Path(sys.executable).parent
PLAYBOOK = BESIDE / "ansible-playbook"
Task = t.Dict[str, t.Any]
# Seconds for one play, which takes half a minute of processor time at most.
PATIENCE = 1800

# A callback that shows all that a result has, as the json callback of ansible.posix does.
_EVERYTHING = """
import json
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "stdout", "everything"
    def _show(self, result, **more):
        self._display.display(json.dumps(result._result, default=repr, ensure_ascii=False))
    v2_runner_on_ok = v2_runner_on_failed = v2_runner_item_on_ok = v2_runner_item_on_failed = _show
    def v2_on_file_diff(self, result):
        self._display.display(json.dumps(result._result.get("diff"), default=repr))
"""


@dataclasses.dataclass(frozen=True)
class Ran:
    code: int
    output: str


@dataclasses.dataclass
class Box:
    """``sources``: files in which the test put secrets. ``devices``: the volumes. ``shared``: see playing.py."""

    folder: pathlib.Path
    shared: pathlib.Path
    collection: pathlib.Path = CHECKOUT
    sources: t.List[pathlib.Path] = dataclasses.field(default_factory=list)
    devices: t.List[pathlib.Path] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        link = self.folder / "collections" / "ansible_collections" / "luksmith" / "luks"
        link.parent.mkdir(parents=True)
        link.symlink_to(self.collection)
        (self.folder / "callbacks").mkdir()
        (self.folder / "callbacks" / "everything.py").write_text(_EVERYTHING)
        (self.folder / "home").mkdir()
        # Ansible puts a socket there, whose path may have 107 bytes at most.
        self.short = pathlib.Path(tempfile.mkdtemp(prefix="box-"))
        atexit.register(shutil.rmtree, self.short, ignore_errors=True)

    def source(self, name: str, content: t.Union[str, bytes]) -> pathlib.Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.sources.append(path)
        return path

    def play(
        self,
        tasks: t.Sequence[Task],
        *flags: str,
        prefix: t.Sequence[str] = (),
        largest_file: t.Optional[int] = None,
        environment: t.Optional[t.Mapping[str, str]] = None,
    ) -> Ran:
        """Run the tasks; each may fail without ending the play. ``largest_file``: limit of a file's size in bytes."""
        play = [
            {
                "hosts": "localhost",
                "gather_facts": False,
                "vars_files": [str(path) for path in self.sources if path.suffix in (".json", ".yml")],
                "tasks": [{"ignore_errors": True, **task} for task in tasks],
            }
        ]
        (self.folder / "play.json").write_text(json.dumps(play))
        (self.folder / "ansible.cfg").write_text("[defaults]\n")
        # The shell counts in blocks of 512 bytes.
        limit = [] if largest_file is None else ["sh", "-c", f'ulimit -f {largest_file // 512} && exec "$@"', "sh"]
        command = [
            *limit,
            *prefix,
            str(PLAYBOOK),
            "-i",
            "localhost,",
            "-c",
            "local",
            *flags,
            str(self.folder / "play.json"),
        ]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self._environment(), **(environment or {})},
            cwd=self.folder,
            check=False,
            timeout=PATIENCE,
        )
        return Ran(done.returncode, done.stdout.decode(errors="replace"))

    def _environment(self) -> t.Dict[str, str]:
        shared = playing.environment(self.shared, self.collection, PLAYBOOK)
        own = {
            **shared,
            "ANSIBLE_CONFIG": self.folder / "ansible.cfg",
            "ANSIBLE_HOME": self.folder / "home" / "ansible",
            "ANSIBLE_COLLECTIONS_PATH": self.folder / "collections",
            "ANSIBLE_CALLBACK_PLUGINS": f"{self.folder / 'callbacks'}:{shared['ANSIBLE_CALLBACK_PLUGINS']}",
            "ANSIBLE_LOCAL_TEMP": self.short / "controller",
            "ANSIBLE_REMOTE_TEMP": self.folder / "host",
            "ANSIBLE_LOG_PATH": self.folder / "log",
            "JUNIT_OUTPUT_DIR": self.folder / "junit",
            "HOME": self.folder / "home",
            "TMPDIR": self.short,
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "LC_ALL": "C.UTF-8",
            "PATH": f"{BESIDE}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        return {name: str(value) for name, value in own.items()}

    def files(self) -> t.Iterator[pathlib.Path]:
        """All that a run may have left, but for the sources of the secrets and the volumes."""
        for path in sorted((*self.folder.rglob("*"), *self.short.rglob("*"))):
            if path.is_file() and not path.is_symlink() and path not in self.sources and path not in self.devices:
                yield path

    def leaks(self, search: canary.Search, ran: t.Optional[Ran] = None) -> t.List[str]:
        """Where a secret is: in the output, in a file, in the name of a file, in the metadata of a volume."""
        found = [f"output: {name} ({form})" for name, form in search(ran.output if ran else "")]
        for path in self.files():
            place = path.relative_to(self.folder if self.folder in path.parents else self.short)
            found += [f"{place}: {name} ({form})" for name, form in search(path.read_bytes())]
            found += [f"name of {place}: {name} ({form})" for name, form in search(str(path))]
        for device in self.devices:
            found += [f"volume {device.name}: {name} ({form})" for name, form in search(device.read_bytes())]
        return found


def copy_of_collection(folder: pathlib.Path, patch: t.Mapping[str, t.Tuple[str, str]]) -> pathlib.Path:
    """The collection with faults planted: file -> (text, instead)."""
    target = folder / "planted"
    for name in ("plugins", "meta"):
        shutil.copytree(CHECKOUT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "galaxy.yml", target / "galaxy.yml")
    for name, (old, new) in patch.items():
        path = target / name
        text = path.read_text()
        assert old in text, f"{name} has changed: the fault cannot be planted"
        path.write_text(text.replace(old, new, 1))
    return target


def known_keys(volume: volumes.Volume, secrets: t.Mapping[int, bytes]) -> t.List[canary.Canary]:
    """Volume key and what is derived for each keyslot of ``secrets``."""
    first = next(iter(secrets.values()))
    return [
        volumes.volume_key(volume, first),
        *(one for keyslot, secret in secrets.items() for one in volumes.derived(volume, secret, keyslot)),
    ]
