# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails, for the volume and for the file system with the copy of its header (``backup_dir``).

Beside the model of ``states.py`` for the volume stands one for the folder: after a power cut, a file has what its last
fsync made durable, what was written since, or a torn half of it; the folder has the names of its last fsync or the
present ones. In every state some keyslot opens, or the copy that the header names opens and belongs to it; the next run
ends where the uncut run ends, and leaves nothing in the folder. cryptsetup judges a part: as it is, and with the copy
restored by ``luksHeaderRestore``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import stat
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import files
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import elsewhere
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.blocklog import Call, recorded
from ansible_collections.luksmith.luks.tests.crash.economy import the_same_noise
from ansible_collections.luksmith.luks.tests.crash.judge import Form, Judge, Operation
from ansible_collections.luksmith.luks.tests.crash.operations import A, B, C, D, absent, present, task
from ansible_collections.luksmith.luks.tests.crash.peers import opened_by_peer
from ansible_collections.luksmith.luks.tests.crash.states import SPARSE, crashes
from ansible_collections.luksmith.luks.tests.crash.volumes import luks1, luks2

Folder = t.Mapping[str, bytes]
STRANGERS = dict.fromkeys(range(8), D)

REPLACED = ({**STRANGERS, 3: A}, task(present(B, old=A), unlock=()))
OPERATIONS: t.Dict[str, t.Callable[[], Operation]] = {
    "luks1: rekey the only known slot": lambda: Operation(luks1(REPLACED[0]), REPLACED[1]),
    "luks1: rekey slot 6": lambda: Operation(luks1({**STRANGERS, 6: A}), task(present(B, old=A), unlock=())),
    "luks1: add what takes the place of the only known one": lambda: Operation(
        luks1({**STRANGERS, 5: A}), task(present(B), absent(old=A), unlock=())
    ),
    "luks1: swap": lambda: Operation(
        luks1({0: A, 1: C}), task(present(C, keyslot=0, old=A), present(A, keyslot=1, old=C), unlock=())
    ),
    "luks1: higher costs": lambda: Operation(
        luks1({**STRANGERS, 2: A}), task(present(A, old=A, iterations=1100), unlock=())
    ),
    "luks2: rekey the only known slot": lambda: Operation(luks2(REPLACED[0]), REPLACED[1]),
    "luks2: add what takes the place of the only known one": lambda: Operation(
        luks2({**STRANGERS, 5: A}), task(present(B), absent(old=A), unlock=())
    ),
    "luks2: no record": lambda: Operation(luks2(REPLACED[0]), {**REPLACED[1], "record": False}),
}
# Variants of what the short form has in the other format.
MORE = {"luks1: rekey slot 6", "luks1: swap", "luks1: higher costs", "luks2: no record"}


class Moment(t.NamedTuple):
    """``position``: how many calls on the volume came before; ``folders``: what a crash may leave in the folder now."""

    position: int
    folders: t.Tuple[Folder, ...]


class FolderModel:
    """What a crash leaves of a folder, from what was made durable and what is there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._names: t.Dict[str, int] = self._listing()
        self._durable: t.Dict[int, bytes] = {}
        self._latest: t.Dict[int, bytes] = {}
        for name, inode in self._names.items():
            self._durable[inode] = pathlib.Path(path, name).read_bytes()
        self._look()

    def _listing(self) -> t.Dict[str, int]:
        return {entry.name: entry.inode() for entry in os.scandir(self.path)}

    def _look(self) -> None:
        for name, inode in self._listing().items():
            self._latest[inode] = pathlib.Path(self.path, name).read_bytes()

    def synced(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._names = self._listing()
        else:
            self._look()
            self._durable[status.st_ino] = self._latest[status.st_ino]

    def left_by_a_crash(self) -> t.Tuple[Folder, ...]:
        self._look()
        found: t.List[Folder] = []
        for names in (self._listing(), self._names):
            contents = [self._contents(inode) for inode in names.values()]
            for chosen in itertools.product(*contents):
                folder = dict(zip(names, chosen))
                if folder not in found:
                    found.append(folder)
        return tuple(found)

    def _contents(self, inode: int) -> t.List[bytes]:
        latest, durable = self._latest[inode], self._durable.get(inode, b"")
        torn = latest[: len(latest) // 1024 * 512].ljust(len(latest), b"\0")
        return [latest] if latest == durable else [latest, durable, torn]


@contextlib.contextmanager
def watched(folder: str, calls: t.List[Call]) -> t.Iterator[t.List[Moment]]:
    """The moments at which what a crash may leave in the folder changes, while the block runs."""
    model = FolderModel(folder)
    moments = [Moment(0, model.left_by_a_crash())]

    def noted() -> None:
        left = model.left_by_a_crash()
        if left != moments[-1].folders:
            assert not calls or calls[-1].data is None, "the folder changed while the volume was not durable"
            moments.append(Moment(len(calls), left))

    def after(name: str) -> t.Callable[..., t.Any]:
        real = getattr(os, name)

        def call(*arguments: t.Any, **options: t.Any) -> t.Any:
            result = real(*arguments, **options)
            if name == "fsync" and os.readlink(f"/proc/self/fd/{arguments[0]}").startswith(folder):
                model.synced(arguments[0])
            noted()
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("pwrite", "fsync", "rename", "unlink"):
            patch.setattr(os, name, after(name))
        yield moments


class TwoDisks(Judge):
    """A :class:`Judge` whose states are pairs: the volume, and the folder with the copy."""

    def __init__(self, operation: Operation, scratch: pathlib.Path, form: Form) -> None:
        super().__init__(operation, scratch, form)
        self.folder = scratch / "copies"
        self.folder.mkdir(mode=0o700)
        self.wanted = {**operation.task, "backup_dir": str(self.folder)}
        self.judged = 0
        self._pairs: t.Set[t.Tuple[t.Any, ...]] = set()

    def run(
        self, image: bytes, folder: Folder, *, check: bool = False, depth: int = 0
    ) -> t.Tuple[t.Dict[str, t.Any], bytes, t.List[Call], t.List[Moment]]:
        self.lab.volume.write_bytes(image)
        for old in self.folder.iterdir():
            old.unlink()
        for name, content in folder.items():
            (self.folder / name).write_bytes(content)
        wanted = parse_task({**self.lab.where, **self.wanted, "lock_timeout": 0})
        beside = str(self.folder)
        with recorded(self.lab.volume, beside) as calls, watched(beside, calls) as moments, the_same_noise(f"{depth}"):
            result = amend(wanted, check=check)
        assert not check or (not calls and len(moments) == 1), "check mode wrote"
        return result, self.lab.volume.read_bytes(), calls, moments

    def both(self) -> int:
        """Everything, with the number of states."""
        start = self.operation.start
        result, final, calls, moments = self.run(start, {})
        kinds = [row["action"] for row in result["plan"]]
        assert (kinds[0], kinds[-1]) == ("copy-header", "remove-copy"), kinds
        self._oldest = checker.read(start)
        self._before, self._after, self._goal = self._names(start), self._names(final), self._opened(final)
        assert self._after and not list(self.folder.iterdir())
        assert any(folder for moment in moments for folder in moment.folders), "no copy was ever there"
        todo = [("", 0, start, calls, moments)]
        states = reruns = 0
        while todo:
            path, depth, base, calls, moments = todo.pop()
            for where, image, folder in self.pairs(base, calls, moments, depth):
                states += 1
                rerun = self.pair(image, folder, f"{path}{where}", depth + 1)
                if rerun is not None:
                    reruns += 1
                    if reruns % self.form.recut_every == 1 % self.form.recut_every and depth < 2:
                        todo.append((f"{path}{where}; then in the rerun: ", depth + 1, image, *rerun))
        return states

    def pairs(
        self, base: bytes, calls: t.Sequence[Call], moments: t.Sequence[Moment], depth: int
    ) -> t.Iterator[t.Tuple[str, bytes, Folder]]:
        disk = base
        shapes = self.form.recut_shapes if depth else SPARSE
        ends = [moment.position for moment in moments[1:]] + [len(calls)]
        for moment, end in zip(moments, ends):
            part = calls[moment.position : end]
            for number, folder in enumerate(moment.folders):
                for state in crashes(disk, part, range(self._header_size()), shapes=shapes):
                    name = (state.name, tuple(sorted(folder.items())))
                    if name not in self._pairs:
                        self._pairs.add(name)
                        yield f"call {moment.position}, folder {number}: {state.where}", state.image(), folder
            for call in part:
                if call.data is not None:
                    disk = disk[: call.offset] + call.data + disk[call.offset + len(call.data) :]

    def pair(
        self, image: bytes, folder: Folder, where: str, depth: int
    ) -> t.Optional[t.Tuple[t.List[Call], t.List[Moment]]]:
        header, opened = checker.read(image), self._opened(image)
        now = frozenset().union(*opened.values())
        intact = {name: content for name, content in folder.items() if self._is_copy(name, content)}
        in_copies = frozenset().union(*(self._names(content) for content in intact.values()))
        must = self._before & self._after | ({A} & self._before if not {A, B} & now else set())
        assert must <= now | in_copies, f"{where}: {set(must - now - in_copies)} opens neither the volume nor a copy"
        assert {A, B, C} & (now | in_copies), f"{where}: nothing opens"
        assert not folder or header.note is not None, f"{where}: a copy that no header names: {list(folder)}"
        situation = (*self._situation(image, header, opened), tuple(sorted(intact)), len(folder))
        if situation in self.met:
            return None
        self.met.add(situation)
        whole = len(self.met) % self.form.whole_every == 1 % self.form.whole_every
        if whole:
            self.peers(image, intact, now, where)
            self._told(image, header, opened, where)
        predicted = self.run(image, folder, check=True)[0]["plan"] if whole else None
        result, final, calls, moments = self.run(image, folder, depth=depth)
        assert predicted is None or result["plan"] == predicted, f"{where}: check mode predicted another plan"
        ended = self._opened(final)
        assert frozenset().union(*ended.values()) == self._after, f"{where}: the rerun ends with {ended}"
        assert checker.read(final).note is None and not list(self.folder.iterdir()), f"{where}: something stays"
        gone = self._before - self._after
        for old in (self._oldest, header):
            revived = frozenset().union(*checker.openers(final, self.secrets, old).values())
            assert not gone & revived, f"{where}: an old header brings {set(gone & revived)} back"
        if whole:
            again = self.run(final, {})
            assert not again[0]["changed"] and again[1] == final, f"{where}: a further run would change something"
        return calls, moments

    def _is_copy(self, name: str, content: bytes) -> bool:
        if not name.endswith(".luks-header") or name.startswith("."):
            return False
        try:
            return bool(self._names(content))
        except (AssertionError, ValueError, KeyError, IndexError):
            return False

    def peers(self, image: bytes, intact: Folder, now: t.FrozenSet[str], where: str) -> None:
        """cryptsetup opens the volume as the checker says, and with the copy restored with a secret of before."""
        self.judged += 1
        assert opened_by_peer(self.lab.put(image), image, self.secrets) == now, where
        for content in intact.values():
            backup = self.lab.volume.with_name("backup")
            backup.write_bytes(content)
            self.lab.put(image)
            restore = [
                "cryptsetup",
                "luksHeaderRestore",
                "-q",
                str(self.lab.volume),
                "--header-backup-file",
                str(backup),
            ]
            subprocess.run(restore, check=True, capture_output=True)
            restored = self.lab.volume.read_bytes()
            said = opened_by_peer(self.lab.put(restored), restored, self.secrets)
            assert self._before <= said, f"{where}: with the copy restored, cryptsetup opens it with {said}"


@pytest.fixture(autouse=True)
def any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of these tests is beside the volume, in memory."""
    monkeypatch.setattr(elsewhere, "check_elsewhere", lambda folder, volume: [])


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in MORE else []) for name in OPERATIONS]
)
def test_one_of_both_disks_always_opens_and_the_next_run_ends_it(
    name: str, form: Form, scratch: pathlib.Path, count: t.Callable[[str, t.Any], None]
) -> None:
    """It takes seconds: hundreds of pairs of disks are built, and the task runs on some dozens of them."""
    judge = TwoDisks(OPERATIONS[name](), scratch, form)
    states = judge.both()
    count(f"copy, {name}", {"states": states, "situations": len(judge.met), "peer": judge.judged})


@pytest.mark.needs("cryptsetup")
def test_a_copy_that_a_power_cut_takes_away_is_found(
    scratch: pathlib.Path, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machinery can fail: without the sync of the folder the same checks meet a disk that opens with nothing."""
    monkeypatch.setattr(files, "sync", lambda folder: None)
    with pytest.raises(AssertionError, match="opens neither the volume nor a copy"):
        TwoDisks(OPERATIONS["luks1: rekey the only known slot"](), scratch, form).both()
