# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Crashes at every function, core dumps, syslog, and what is left in the memory of the process: the module seen from
inside.
"""

from __future__ import annotations

import ast
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import typing as t
from functools import partial

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.test import results
from ansible_collections.luksmith.luks.tests.secrets import canary, child, hurts, volumes
from ansible_collections.luksmith.luks.tests.secrets.box import known_keys
from ansible_collections.luksmith.luks.tests.secrets.hurts import ENGINE, Place
from ansible_collections.luksmith.luks.tests.secrets.scene import CHEAP, Scene, refusals

pytestmark = pytest.mark.needs("cryptsetup")
ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE_RUNNER = f"{ENGINE}/_module/runner.py"
# While this function runs, the module holds the volume key.
SEAL = f"{ENGINE}/_luks/unlock/key_material.py", "seal"


class Lab:
    """A volume, its secrets, and the keys that must stay inside.

    ``task``: rekey, add and erase, so that most of the engine runs.
    """

    def __init__(self, folder: pathlib.Path, form: str) -> None:
        rng = random.Random(f"{folder}{os.getpid()}")
        self.folder = folder
        self.old, self.spare, self.new, self.more = (
            canary.passphrase(name, rng) for name in ("old", "spare", "new", "more")
        )
        self.volume = volumes.make(folder / "volume", form, self.old.value)
        self.pristine = self.volume.path.read_bytes()
        self.keys = known_keys(self.volume, {0: self.old.value})
        self.search = canary.Search([self.old, self.spare, self.new, self.more, *self.keys])
        (folder / "keyfile").write_bytes(self.spare.value)

    @property
    def task(self) -> child.Arguments:
        return {
            "device": str(self.volume.path),
            "unlock": [],
            "keyslots": [
                {
                    "old_secret": {"label": "old", "passphrase": self.old.text},
                    "new_secret": {"label": "new", "passphrase": self.new.text},
                    "pbkdf": CHEAP,
                },
                {"new_secret": {"label": "spare", "keyfile": str(self.folder / "keyfile")}, "pbkdf": CHEAP},
                {"state": "absent", "old_secret": {"label": "more", "passphrase": self.more.text}},
            ],
        }

    def restore(self) -> None:
        self.volume.path.write_bytes(self.pristine)


@pytest.fixture(params=["luks1", "luks2"])
def lab(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Lab:
    return Lab(tmp_path, str(request.param))


# For what has to do with the process or with the task, and not with the format of a header.
one_format = pytest.mark.parametrize("lab", ["luks2", pytest.param("luks1", marks=pytest.mark.full)], indirect=True)


def silent(lab: Lab, ended: child.Ended) -> None:
    assert lab.search(ended.said) == [], ended.said
    assert lab.search(ended.logged) == [], ended.logged


def functions_that_run(lab: Lab) -> t.List[Place]:
    """(file, function) of everything of ours that a whole run enters, in order."""
    ended = child.run("keyslots", lab.task, hurt=hurts.note_functions, afterwards=hurts.entered)
    assert ended.result["changed"], ended.said
    silent(lab, ended)
    lab.restore()
    places: t.List[Place] = [(place[0], place[1]) for place in ended.memory["entered"]]  # JSON made lists of them
    # What comes before has no secret in its hands yet: the table of options, the guard itself.
    return places[places.index((MODULE_RUNNER, "_outcome")) + 1 :]


SHARES = 16


@pytest.mark.parametrize("share", [0, *(pytest.param(share, marks=pytest.mark.full) for share in range(1, SHARES))])
def test_a_crash_in_any_function_shows_no_secret(lab: Lab, share: int) -> None:
    """The exception carries the secrets in its text, as a careless library's would; some of its frames hold them in
    variables.

    It may take 5 s: a share is a sixteenth of the functions, each of them a run of its own.
    """
    places = functions_that_run(lab)
    assert len(places) > 120, len(places)
    text = f"{lab.old.text} {lab.new.text} {lab.keys[0].value.hex()}"
    other_format = SHARES // 2 if lab.volume.format == "luks2" else 0
    for number, place in list(enumerate(places))[(share + other_format) % SHARES :: SHARES]:
        kind = (ZeroDivisionError, MemoryError)[number // SHARES % 2]
        ended = child.run("keyslots", lab.task, hurt=partial(hurts.raise_in, place, text, kind))
        silent(lab, ended)
        assert os.waitstatus_to_exitcode(ended.status) in (0, 1), (place, ended.said)
        told = ended.result["msg"] if os.waitstatus_to_exitcode(ended.status) else ""
        # A thread that dies between two jobs has nobody to give its exception to: who waits for it is told that it
        # died.
        died = "RuntimeError at workers.py" in told and place[0].endswith("/crypto/workers.py")
        assert not told or kind.__name__ in told or died, (place, told)
        lab.restore()


def test_the_crash_detector_fires(lab: Lab) -> None:
    """The same crash, with a guard that shows the text of exceptions."""
    place = f"{ENGINE}/_luks/crypto/cipher.py", "decrypt"
    ended = child.run("keyslots", lab.task, hurt=partial(hurts.tell_exceptions_and_raise_in, place, lab.old.text))
    assert ("old", "reversed") in lab.search(ended.said), ended.said


@one_format
def test_python_in_development_mode(lab: Lab) -> None:
    """-X dev shows warnings of unclosed files and more; a traceback of faulthandler has names and lines, no values."""
    runner = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); from ansible.module_utils import basic; "
        "basic._ANSIBLE_ARGS = sys.stdin.buffer.read(); basic._ANSIBLE_PROFILE = 'legacy'; import "
        "ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.executor as a; a.describe = None; "
        "import ansible_collections.luksmith.luks.plugins.modules.keyslots as k; k.main()"
    )
    arguments = json.dumps(
        {"ANSIBLE_MODULE_ARGS": {**lab.task, "_ansible_remote_tmp": "/dev/null/x", "_ansible_keep_remote_files": False}}
    ).encode()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", runner, str(ROOT / "tests" / "tools" / "register.py")],
        input=arguments,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )
    assert b'"changed": true' in done.stdout, done.stderr
    assert lab.search(done.stdout) == [] and lab.search(done.stderr) == []


@pytest.mark.parametrize(
    "number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]
)
def test_a_signal_in_the_middle_leaves_no_core_and_shows_no_secret(lab: Lab, number: signal.Signals) -> None:
    """The caller allows core dumps; the process dies while it holds the volume key. faulthandler is on."""
    ended = child.run("keyslots", lab.task, hurt=partial(hurts.die_in, SEAL, number), folder=lab.folder)
    silent(lab, ended)
    assert not os.WCOREDUMP(ended.status)
    assert sorted(path.name for path in lab.folder.iterdir()) == ["keyfile", "volume"]
    if number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        assert f"ended by {number.name}" in ended.result["msg"]
    else:
        assert os.WIFSIGNALED(ended.status) and os.WTERMSIG(ended.status) == number


@one_format
@pytest.mark.needs("core dumps")
def test_without_the_guard_there_is_a_core_with_the_secret(lab: Lab) -> None:
    """The detector: the same crash where nobody forbids the dump.

    It may take 5 s: a core of a whole process is searched.
    """
    ended = child.run("keyslots", lab.task, hurt=partial(hurts.die_without_the_guard, SEAL), folder=lab.folder)
    assert os.WCOREDUMP(ended.status), ended
    cores = [path for path in lab.folder.iterdir() if path.name not in ("keyfile", "volume")]
    assert cores and any(lab.search(path.read_bytes()) for path in cores)


@one_format
def test_syslog_and_journal(lab: Lab) -> None:
    """Modules log how they were called.

    The canaries hold quotes and a backslash, which Ansible's own masking does not find there.
    """
    ended = child.run("keyslots", lab.task)
    assert "journal" in ended.logged and "Invoked" in ended.logged, ended.logged
    silent(lab, ended)


@one_format
def test_ansibles_own_log_holds_such_secrets(lab: Lab) -> None:
    """The detector, and the reason for SafeModule: the same run with AnsibleModule as it comes."""
    ended = child.run("keyslots", lab.task, hurt=hurts.log_as_ansible)
    assert {name for name, _form in lab.search(ended.logged)} == {"old", "new", "more"}, ended.logged


GUESSES = ("active", "s1", "1", "e", "True", "keyslots", "guess")


@one_format
def test_a_secret_that_is_part_of_a_word_proves_nothing_wrong(lab: Lab) -> None:
    """What tests and later tasks act on is what was found.

    With asterisks in the place of each secret, no keyslot was "active", and the label of a secret that opens the volume
    was not the one that the task gave: "opened_by" answered that it does not open it.
    """
    old = {"label": "guess of before", "passphrase": lab.old.text}
    tried = [old, *({"label": f"guess {number}", "passphrase": guess} for number, guess in enumerate(GUESSES))]
    result = child.run("keyslots_info", {"device": str(lab.volume.path), "secrets": tried}).result
    assert results.opened_by(result, old["label"]) and results.only_opened_by(result, old["label"])
    assert "invocation" in result and not lab.search(json.dumps(result["invocation"]).encode())


@one_format
def test_a_refusal_says_what_its_asterisks_are(lab: Lab) -> None:
    absent = str(lab.folder / "absent-volume")
    task = {**lab.task, "device": absent, "unlock": [{"passphrase": "absent"}]}
    said = child.run("keyslots", task).result["msg"]
    assert absent.replace("absent", "********") in said, said
    assert said.endswith("text that is also a secret of this task."), said


@one_format
@pytest.mark.parametrize("misspelled", ["passphrse", "Passphrase"])
@pytest.mark.parametrize("quiet", [True, False], ids=["ours", "as Ansible comes"])
def test_a_misspelled_option_does_not_show_its_value(lab: Lab, misspelled: str, quiet: bool) -> None:
    wrong = {"label": "wrong", misspelled: lab.spare.text}
    for task in (
        {**lab.task, "unlock": [wrong]},
        {**lab.task, "keyslots": [{"new_secret": wrong}]},
        {**lab.task, "keyslots": [{"new_secrets": {"passphrase": lab.spare.text}}]},
        {**lab.task, "unlocks": [[wrong]]},
    ):
        ended = child.run("keyslots", task, hurt=None if quiet else hurts.fail_as_ansible)
        if quiet:
            assert "is not an option" in ended.result["msg"] or "must be a dictionary" in ended.result["msg"]
            silent(lab, ended)
        else:
            assert "Unsupported parameters" in ended.result["msg"]
            assert lab.search(ended.said), "Ansible hides it by itself now: SafeModule need not"


@one_format
@pytest.mark.parametrize("wrong", ["a text", 5, ["a", "b"], {"passphrase": {"deep": "x"}}], ids=str)
def test_secrets_of_the_wrong_kind(lab: Lab, wrong: t.Any) -> None:
    """What was meant as a secret stands where something else belongs."""
    value = lab.spare.text
    shaped = (
        value
        if wrong == "a text"
        else 5
        if wrong == 5
        else [value, value]
        if isinstance(wrong, list)
        else {"passphrase": {"deep": value}}
    )
    for task in (
        {**lab.task, "unlock": shaped},
        {**lab.task, "unlock": [shaped]},
        {**lab.task, "keyslots": [{"new_secret": shaped}]},
    ):
        silent(lab, child.run("keyslots", task))


@one_format
def test_the_process_says_that_it_may_not_be_dumped(lab: Lab) -> None:
    """Not to a file, not to a helper that core_pattern pipes to, not to a debugger of the same user."""
    assert child.run("keyslots", lab.task, afterwards=hurts.limits).memory == {"core": [1, 1], "dumpable": 0}


def _classes(node: ast.AST) -> t.Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            function = call.func
            yield (
                function.id
                if isinstance(function, ast.Name)
                else function.attr
                if isinstance(function, ast.Attribute)
                else ""
            )


def test_every_class_of_error_has_a_case(scene: Scene) -> None:
    """Classes that the code raises, read from its source, against those that a case here meets."""
    family = {one.__name__ for one in _descendants(errors.LuksmithError)}
    raised = {
        name
        for path in (ROOT / "plugins").rglob("*.py")
        for name in _classes(ast.parse(path.read_text()))
        if name in family
    }
    tasks = refusals(scene)
    elsewhere = {
        "Interrupted": "test_an_interrupted_run",
        "HeaderChanged": "test_a_header_that_changes_under_the_lock",
        "BudgetExceeded": "test_a_library_that_gets_no_memory",
        "Denied": "test_a_text_that_repeats_a_secret_is_not_shown",  # by a QEMU that lies
    }
    assert raised - set(tasks) - set(elsewhere) == set()
    lying = ROOT / "tests" / "unit" / "plugins" / "module_utils" / "_luks" / "usecases" / "test_lying_qemu.py"
    tests = "".join(path.read_text() for path in (*pathlib.Path(__file__).parent.glob("test_*.py"), lying))
    assert all(f"def {name}(" in tests for name in elsewhere.values())


def _descendants(kind: t.Type[t.Any]) -> t.Iterator[t.Type[t.Any]]:
    for one in kind.__subclasses__():
        yield one
        yield from _descendants(one)


def test_a_header_that_changes_under_the_lock(lab: Lab) -> None:
    ended = child.run("keyslots", lab.task, hurt=hurts.change_the_header)
    assert "no longer the one that was read" in ended.result["msg"]
    silent(lab, ended)


@one_format
def test_a_library_that_gets_no_memory(lab: Lab) -> None:
    ended = child.run("keyslots", lab.task, hurt=hurts.give_no_memory)
    assert ended.result["failed"] and "argon2id gets no memory" in ended.result["msg"]
    silent(lab, ended)
