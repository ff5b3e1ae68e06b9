# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Crashes at every function, core dumps, syslog, and what is left in the memory of the process: the module seen from inside."""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.tests.secrets import canary, child, volumes
from ansible_collections.luksmith.luks.tests.secrets.box import known_keys
from ansible_collections.luksmith.luks.tests.secrets.scene import CHEAP, refusals

pytestmark = pytest.mark.skipif(shutil.which("cryptsetup") is None, reason="not installed here: cryptsetup")
ROOT = pathlib.Path(__file__).resolve().parents[2]
ENGINE = str(ROOT / "plugins" / "module_utils")
GUARD = f"{ENGINE}/_module/guard.py"


class Lab:
    """A volume, its secrets, and the keys that must stay inside. ``task``: rekey, add and erase, so that most of the engine runs."""

    def __init__(self, folder: pathlib.Path, form: str) -> None:
        rng = random.Random(f"{folder}{os.getpid()}")
        self.folder = folder
        self.old, self.spare, self.new, self.more = (canary.passphrase(name, rng) for name in ("old", "spare", "new", "more"))
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
                {"old_secret": {"label": "old", "passphrase": self.old.text}, "new_secret": {"label": "new", "passphrase": self.new.text}, "pbkdf": CHEAP},
                {"new_secret": {"label": "spare", "keyfile": str(self.folder / "keyfile")}, "pbkdf": CHEAP},
                {"state": "absent", "old_secret": {"label": "more", "passphrase": self.more.text}},
            ],
        }

    def restore(self) -> None:
        self.volume.path.write_bytes(self.pristine)


@pytest.fixture(params=["luks1", "luks2"])
def lab(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Lab:
    return Lab(tmp_path, str(request.param))


def silent(lab: Lab, ended: child.Ended) -> None:
    assert lab.search(ended.said) == [], ended.said
    assert lab.search(ended.logged) == [], ended.logged


Place = t.Tuple[str, str]


def functions_that_run(lab: Lab) -> t.List[Place]:
    """(file, function) of everything of ours that a whole run enters, in order."""
    entered: t.Dict[Place, None] = {}

    def note(frame: t.Any, event: str, argument: t.Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ENGINE):
            entered[(frame.f_code.co_filename, frame.f_code.co_name)] = None

    ended = child.run("keyslots", lab.task, hurt=lambda: _profile(note), afterwards=lambda: {"entered": list(entered)})
    assert ended.result["changed"], ended.said
    silent(lab, ended)
    lab.restore()
    places: t.List[Place] = [(place[0], place[1]) for place in ended.memory["entered"]]  # JSON made lists of them
    # What comes before has no secret in its hands yet: the table of options, the guard itself.
    return places[places.index((GUARD, "_outcome")) + 1 :]


def _profile(function: t.Any) -> None:
    """In this thread and in those to come."""
    threading.setprofile(function)
    sys.setprofile(function)


def _raise_in(place: Place, text: str, kind: t.Type[BaseException]) -> t.Callable[[], None]:
    def hurt() -> None:
        def strike(frame: t.Any, event: str, argument: t.Any) -> None:
            if event == "call" and (frame.f_code.co_filename, frame.f_code.co_name) == place:
                sys.setprofile(None)
                raise kind(text)

        _profile(strike)

    return hurt


def test_a_crash_in_any_function_shows_no_secret(lab: Lab) -> None:
    """The exception carries the secrets in its text, as a careless library's would; some of its frames hold them in variables."""
    places = functions_that_run(lab)
    assert len(places) > 120, len(places)
    text = f"{lab.old.text} {lab.new.text} {lab.keys[0].value.hex()}"
    for number, place in enumerate(places):
        kind = (ZeroDivisionError, MemoryError)[number % 2]
        ended = child.run("keyslots", lab.task, hurt=_raise_in(place, text, kind))
        silent(lab, ended)
        assert os.waitstatus_to_exitcode(ended.status) in (0, 1), (place, ended.said)
        told = ended.result["msg"] if os.waitstatus_to_exitcode(ended.status) else ""
        # A thread that dies between two jobs has nobody to give its exception to: who waits for it is told that it died.
        died = "RuntimeError at workers.py" in told and place[0].endswith("/crypto/workers.py")
        assert not told or kind.__name__ in told or died, (place, told)
        lab.restore()


def test_the_crash_detector_fires(lab: Lab) -> None:
    """The same crash, where the sentence about an error of an unexpected kind shows its text in the place of its place."""
    from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors

    def hurt() -> None:
        errors._place = lambda error: str(error)[::-1]

    def careless() -> None:
        hurt()
        _raise_in((f"{ENGINE}/_luks/crypto/cipher.py", "decrypt"), lab.old.text, ZeroDivisionError)()

    ended = child.run("keyslots", lab.task, hurt=careless)
    assert ("old", "reversed") in lab.search(ended.said), ended.said


def test_python_in_development_mode(lab: Lab) -> None:
    """-X dev shows warnings of unclosed files and more; a traceback of faulthandler has names and lines, no values."""
    runner = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); from ansible.module_utils import basic; basic._ANSIBLE_ARGS = sys.stdin.buffer.read(); "
        "basic._ANSIBLE_PROFILE = 'legacy'; import ansible_collections.luksmith.luks.plugins.module_utils._luks.keyslots.apply as a; "
        "a.describe = None; import ansible_collections.luksmith.luks.plugins.modules.keyslots as k; k.main()"
    )
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**lab.task, "_ansible_remote_tmp": "/nowhere", "_ansible_keep_remote_files": False}}).encode()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", runner, str(ROOT / "tests" / "tools" / "register.py")],
        input=arguments,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )
    assert b'"changed": true' in done.stdout, done.stderr
    assert lab.search(done.stdout) == [] and lab.search(done.stderr) == []


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_in_the_middle_leaves_no_core_and_shows_no_secret(lab: Lab, number: signal.Signals) -> None:
    """The caller allows core dumps without limit; the process dies while it holds the volume key. faulthandler is on."""
    if number == signal.SIGSEGV and lab.volume.format == "luks1":
        pytest.skip("one format is enough for each signal of a crash")
    place = (f"{ENGINE}/_luks/keyslots/material.py", "seal")

    def strike(frame: t.Any, event: str, argument: t.Any) -> None:
        if event == "call" and (frame.f_code.co_filename, frame.f_code.co_name) == place:
            sys.setprofile(None)
            os.kill(os.getpid(), number)

    def hurt() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sys.setprofile(strike)

    ended = child.run("keyslots", lab.task, hurt=hurt, folder=lab.folder)
    silent(lab, ended)
    assert not os.WCOREDUMP(ended.status)
    assert sorted(path.name for path in lab.folder.iterdir()) == ["keyfile", "volume"]
    if os.WIFSIGNALED(ended.status):
        assert os.WTERMSIG(ended.status) == number


def test_without_the_guard_there_is_a_core_with_the_secret(lab: Lab) -> None:
    """The detector: the same crash where nobody forbids the dump."""
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip(f"this system sends core dumps elsewhere: {pattern}")
    from ansible_collections.luksmith.luks.plugins.module_utils._module import guard

    def strike(frame: t.Any, event: str, argument: t.Any) -> None:
        if event == "call" and frame.f_code.co_name == "seal":
            sys.setprofile(None)
            os.abort()

    def hurt() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        guard.forbid_core_dumps = lambda: None
        sys.setprofile(strike)

    ended = child.run("keyslots", lab.task, hurt=hurt, folder=lab.folder)
    if not os.WCOREDUMP(ended.status):
        pytest.skip("this system makes no core dumps at all")
    cores = [path for path in lab.folder.iterdir() if path.name not in ("keyfile", "volume")]
    assert cores and any(lab.search(path.read_bytes()) for path in cores)


def test_syslog_and_journal(lab: Lab) -> None:
    """Modules log how they were called. The canaries hold quotes and a backslash, which Ansible's own masking does not find there."""
    ended = child.run("keyslots", lab.task)
    assert "journal" in ended.logged and "Invoked" in ended.logged, ended.logged
    silent(lab, ended)


def test_ansibles_own_log_holds_such_secrets(lab: Lab) -> None:
    """The detector, and the reason for QuietModule: the same run with AnsibleModule as it comes."""
    from ansible.module_utils import basic
    from ansible_collections.luksmith.luks.plugins.module_utils._module import quiet

    def hurt() -> None:
        quiet.QuietModule.log = basic.AnsibleModule.log

    ended = child.run("keyslots", lab.task, hurt=hurt)
    assert {name for name, _form in lab.search(ended.logged)} == {"old", "new", "more"}, ended.logged


def test_masking_has_side_effects(lab: Lab) -> None:
    """docs/security.md tells of it: what is masked is masked wherever it appears."""
    task = {"device": str(lab.volume.path), "secrets": [{"passphrase": "s1"}, {"passphrase": "s2"}]}
    assert child.run("keyslots_info", task).result["type"] == "luk********"


@pytest.mark.parametrize("misspelled", ["passphrse", "Passphrase"])
@pytest.mark.parametrize("quiet", [True, False], ids=["ours", "as Ansible comes"])
def test_a_misspelled_option_does_not_show_its_value(lab: Lab, misspelled: str, quiet: bool) -> None:
    from ansible.module_utils import basic
    from ansible_collections.luksmith.luks.plugins.module_utils._module import quiet as module

    def hurt() -> None:
        if not quiet:
            module.QuietModule.fail_json = basic.AnsibleModule.fail_json

    wrong = {"label": "wrong", misspelled: lab.spare.text}
    for task in (
        {**lab.task, "unlock": [wrong]},
        {**lab.task, "keyslots": [{"new_secret": wrong}]},
        {**lab.task, "keyslots": [{"new_secrets": {"passphrase": lab.spare.text}}]},
        {**lab.task, "unlocks": [[wrong]]},
    ):
        ended = child.run("keyslots", task, hurt=hurt)
        assert "Unsupported parameters" in ended.result["msg"]
        if quiet:
            silent(lab, ended)
        else:
            assert lab.search(ended.said), "Ansible hides it by itself now: QuietModule need not"


@pytest.mark.parametrize("wrong", ["a text", 5, ["a", "b"], {"passphrase": {"deep": "x"}}], ids=str)
def test_secrets_of_the_wrong_kind(lab: Lab, wrong: t.Any) -> None:
    """What was meant as a secret stands where something else belongs."""
    value = lab.spare.text
    shaped = value if wrong == "a text" else 5 if wrong == 5 else [value, value] if isinstance(wrong, list) else {"passphrase": {"deep": value}}
    for task in ({**lab.task, "unlock": shaped}, {**lab.task, "unlock": [shaped]}, {**lab.task, "keyslots": [{"new_secret": shaped}]}):
        silent(lab, child.run("keyslots", task))


def test_the_process_says_that_it_may_not_be_dumped(lab: Lab) -> None:
    """Not to a file, not to a helper that core_pattern pipes to, not to a debugger of the same user."""

    def limits() -> t.Dict[str, t.Any]:
        import ctypes

        return {"core": resource.getrlimit(resource.RLIMIT_CORE), "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)}

    assert child.run("keyslots", lab.task, afterwards=limits).memory == {"core": [1, 1], "dumpable": 0}


def _memory(needles: t.Mapping[str, bytes]) -> t.Dict[str, int]:
    """How often each needle is in the writable memory of this process. The needles themselves are given inverted, and count for nothing."""
    counts = dict.fromkeys(needles, 0)
    with open("/proc/self/maps", encoding="ascii") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        ranges = [line.split() for line in maps]
        for fields in ranges:
            if not fields[1].startswith("rw") or fields[-1] in ("[vvar]", "[vsyscall]"):
                continue
            begin, end = (int(word, 16) for word in fields[0].split("-"))
            with contextlib.suppress(OSError, OverflowError):
                memory.seek(begin)
                data = memory.read(end - begin)
                for name, inverted in needles.items():
                    plain = bytearray(byte ^ 0xFF for byte in inverted)
                    counts[name] += data.count(plain)
                    plain[:] = bytes(len(plain))
                del data
    return counts


# Asks cryptsetup and hashlib for the keys, and gives them back inverted: the test's own process must never have held them.
_KEYS = """
import json, pathlib, runpy, sys
runpy.run_path(sys.argv[1])
from ansible_collections.luksmith.luks.tests.secrets import box, volumes
keys = box.known_keys(volumes.Volume(pathlib.Path(sys.argv[2]), "luks2"), {0: sys.stdin.buffer.read()})
print(json.dumps({key.name: bytes(byte ^ 255 for byte in key.parts[0]).hex() for key in keys}))
"""


def _inverted_keys(volume: volumes.Volume, secret: canary.Canary) -> t.Dict[str, bytes]:
    command = [sys.executable, "-c", _KEYS, str(ROOT / "tests" / "tools" / "register.py"), str(volume.path)]
    done = subprocess.run(command, input=secret.value, capture_output=True, check=True)
    return {name.partition(" of ")[0]: bytes.fromhex(text) for name, text in json.loads(done.stdout).items()}


# Copies that are left, and that docs/security.md tells of. More would be a buffer that we forgot.
LEFT = {"volume key": 0, "derived key": 0, "split key": 0, "keyfile": 0}


@pytest.mark.parametrize("forgetful", [False, True], ids=["wiped", "not wiped"])
def test_what_is_left_in_memory(tmp_path: pathlib.Path, forgetful: bool) -> None:
    """After the work, in all writable memory of the process. Ansible keeps the arguments; and where nothing is wiped, keys are found."""
    rng = random.Random(os.urandom(8))
    old = canary.passphrase("old", rng)
    volume = volumes.make(tmp_path / "volume", "luks2", old.value)
    inverted = _inverted_keys(volume, old)
    inverted["passphrase"] = bytes(byte ^ 0xFF for byte in old.parts[0])
    entries = [{"new_secret": {"label": "x", "keyfile": str(tmp_path / "keyfile")}, "pbkdf": CHEAP}]
    subprocess.run([sys.executable, "-c", "import os, sys; open(sys.argv[1], 'wb').write(os.urandom(32))", str(tmp_path / "keyfile")], check=True)
    inverted["keyfile"] = bytes(byte ^ 0xFF for byte in (tmp_path / "keyfile").read_bytes()[:16])
    task = {"device": str(volume.path), "unlock": [{"label": "old", "passphrase": old.text}], "keyslots": entries}

    def forget() -> None:
        for name, module in list(sys.modules.items()):
            if "luksmith.luks.plugins.module_utils._luks" in name and hasattr(module, "wipe"):
                module.wipe = lambda *buffers: kept.extend(buffers)

    kept: t.List[t.Any] = []

    def look() -> t.Dict[str, t.Any]:
        gc.collect()
        return _memory(inverted)

    ended = child.run("keyslots", task, hurt=forget if forgetful else lambda: None, afterwards=look)
    assert ended.result["changed"], ended.said
    print(f"left in memory: {ended.memory}")
    assert ended.memory.pop("passphrase") >= 1, "the search finds what Ansible keeps"
    if forgetful:
        assert all(count > LEFT[name] for name, count in ended.memory.items()), ended.memory
    else:
        assert all(count <= LEFT[name] for name, count in ended.memory.items()), ended.memory


def _classes(node: ast.AST) -> t.Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            function = call.func
            yield function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""


def test_every_class_of_error_has_a_case(tmp_path: pathlib.Path) -> None:
    """Classes that the code raises, read from its source, against those that a case here meets."""
    from ansible_collections.luksmith.luks.tests.secrets import scene

    family = {one.__name__ for one in _descendants(errors.LuksmithError)}
    raised = {name for path in (ROOT / "plugins").rglob("*.py") for name in _classes(ast.parse(path.read_text())) if name in family}
    made = scene.build(tmp_path, 1)
    tasks = refusals(made)
    elsewhere = {
        "Interrupted": "test_an_interrupted_run",
        "HeaderChanged": "test_a_header_that_changes_under_the_lock",
        "BudgetExceeded": "test_a_library_that_gets_no_memory",
    }
    assert raised - set(tasks) - set(elsewhere) == set()
    tests = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    assert all(f"def {name}(" in tests for name in elsewhere.values())


def _descendants(kind: t.Type[t.Any]) -> t.Iterator[t.Type[t.Any]]:
    for one in kind.__subclasses__():
        yield one
        yield from _descendants(one)


def test_a_header_that_changes_under_the_lock(lab: Lab) -> None:
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.keyslots import disk

    guarded = disk.Disk._guard

    def hurt() -> None:
        def changed(self: t.Any) -> None:
            raise errors.HeaderChanged("the header on disk is no longer the one that was read", why="a test says so")

        disk.Disk._guard = changed

    try:
        ended = child.run("keyslots", lab.task, hurt=hurt)
    finally:
        disk.Disk._guard = guarded
    assert "no longer the one that was read" in ended.result["msg"]
    silent(lab, ended)


def test_a_library_that_gets_no_memory(lab: Lab) -> None:
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf

    def hurt() -> None:
        def none(*arguments: t.Any, **options: t.Any) -> t.NoReturn:
            raise errors.BudgetExceeded("argon2id gets no memory", why="a test says so")

        kdf.derive = none

    ended = child.run("keyslots", lab.task, hurt=hurt)
    assert ended.result["failed"] and "argon2id gets no memory" in ended.result["msg"]
    silent(lab, ended)
