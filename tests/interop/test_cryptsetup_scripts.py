# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cryptsetup's own scripts (compat-test for LUKS1, compat-test2 for LUKS2) show of keyslots, carried out twice.

Each row runs on two copies of one volume: by cryptsetup, and by our engine from the same words. After each command the
exit codes and what opens which keyslot must agree, and with what the script expects. A row may end with a command where
ours does something else on purpose; then it has the reason, and the two must really differ. Left out is what concerns
the device mapper, the keyring of the kernel, terminals, reencryption and the conversion of headers.

What opens is found by tests/crash/checker.py, which has no code of the collection and is judged by cryptsetup there.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.volumes import CHEAP, SECRETS, luks1, luks2, with_unbound
from ansible_collections.luksmith.luks.tests.interop import cryptsetup_words
from ansible_collections.luksmith.luks.tests.interop.cryptsetup_words import DONE, NO_PERMISSION, WRONG

pytestmark = pytest.mark.needs("cryptsetup")

A, B, C, D, E = SECRETS
FORMATS = ("luks1", "luks2")

# Key -> what cryptsetup does, and what ours does instead: the table in docs/peers.md.
WHY = {
    "state": ("`luksKillSlot`, `luksRemoveKey` of what is not there: an error", "no change: the state holds"),
    "once": ("`luksAddKey` of a secret that opens: a second keyslot", "no change: one keyslot is enough"),
    "all": ("`luksRemoveKey`, `luksChangeKey`: the first keyslot that the secret opens", "every keyslot that it opens"),
    "last": ("`luksKillSlot` with the secret of the last keyslot: erased", "refused without `allow_lockout`"),
    "place": ("`luksChangeKey` on LUKS1: another keyslot", "the keyslot keeps its number"),
    "room": (
        "`luksChangeKey` without room: overwritten in place",
        "refused without another proven secret or `backup_dir`",
    ),
    "any": (
        "`luksAddKey` with the number of the keyslot to open: only that one",
        "whichever a secret of `unlock` opens",
    ),
    "name": ("`luksChangeKey` also changes a keyslot that is not bound", "changed by its number only"),
    "unbound": ("`luksAddKey --unbound`: a key for something else", "no keys but those of the volume"),
    "token": (
        "`luksKillSlot`: a token of systemd or Clevis stays without a keyslot",
        "it goes with the only keyslot it is for",
    ),
    "secret": ("`luksHeaderRestore`: no secret needed", "refused unless a secret opens the backup"),
    "device": ("`--header` without the volume itself: works", "refused: the volume must be there"),
    "existing": ("`luksHeaderBackup` to an existing file: an error", "no change if that is the header of now"),
}
DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "peers.md"


class Step(t.NamedTuple):
    """``words``: of cryptsetup, with V for the volume, H for a file of its own, ``name`` for a file with that secret
    and ``name.part`` for one that has it from its fourth byte on. stdin: names of secrets, one a line.

    code: what the script expects. ours, why: our exit code if it is another one, and a key of WHY. older: what releases
    of cryptsetup before 2.8 exit with.
    """

    code: int
    words: str
    stdin: str = ""
    ours: int = -1
    why: str = ""
    older: int = -1


class Row(t.NamedTuple):
    case: str
    slots: t.Mapping[int, str]
    steps: t.Sequence[Step]
    formats: t.Sequence[str] = FORMATS
    unbound: bool = False
    areas: int = 8
    token: str = ""


def ok(words: str, stdin: str = "") -> Step:
    return Step(DONE, words, stdin)


TWO: t.Dict[int, str] = {0: A, 1: B}
LUKS2 = ("luks2",)
LUKS1 = ("luks1",)
ROWS = [
    Row("[6] add key", {0: A}, [ok("luksAddKey V", f"{A} {B}")]),
    Row("[6] add key, wrong passphrase", {0: A}, [Step(NO_PERMISSION, "luksAddKey V", f"{C} {B}")]),
    Row("[7] unsuccessful delete", TWO, [Step(NO_PERMISSION, "luksKillSlot V 1", C)]),
    Row("[7] of a free keyslot", TWO, [Step(WRONG, "luksKillSlot -q V 7", "", DONE, "state")]),
    Row("[7] of a number that there is not", TWO, [Step(WRONG, "luksKillSlot -q V 64")]),
    Row("[8] successful delete", TWO, [ok("luksKillSlot -q V 1")]),
    Row("[9] add key from a file", {0: A}, [ok(f"luksAddKey V {B}", A)]),
    Row("[10] delete with the remaining key", TWO, [ok(f"luksKillSlot -d {B} V 0")]),
    Row("[10] delete with its own key", TWO, [Step(NO_PERMISSION, f"luksKillSlot -d {A} V 0")]),
    Row("[11] delete last key", {0: A}, [Step(DONE, "luksKillSlot V 0", A, NO_PERMISSION, "last")]),
    Row("[11] and in batch mode", {0: A}, [ok("luksKillSlot -q V 0")]),
    Row("[17] volume key, passphrase", {3: A}, [ok("luksAddKey -q V --volume-key-file vk -S 4", B)]),
    Row("[17] volume key, file", {3: A}, [ok(f"luksAddKey -q V --volume-key-file vk -S 5 {B}")]),
    Row("[17] wrong volume key", {3: A}, [Step(NO_PERMISSION, "luksAddKey -q V --volume-key-file zeros -S 5", B)]),
    Row("[17] no volume key", {3: A}, [Step(WRONG, "luksAddKey -q V --volume-key-file /dev/null -S 5", B)]),
    Row("[17] all of the input", {3: A}, [ok(f"luksAddKey V -d {A} -", B), ok(f"luksAddKey V -d - {C}", B)]),
    Row("[17] into an active keyslot", {3: A}, [Step(WRONG, f"luksAddKey -q V -d {A} {B} -S 3")]),
    Row(
        "[17] files and passphrases",
        {3: A},
        [
            ok(f"luksAddKey -q V -d {A} {B} -S 4"),
            ok(f"luksAddKey -q V -d {A} -S 0", C),
            ok("luksAddKey -q V -S 1", f"{C} {D}"),
            ok(f"luksAddKey -q V {E}.part -S 2 --new-keyfile-offset 3 --new-keyfile-size 15", D),
        ],
    ),
    Row("[18] remove key", {3: A, 4: B}, [ok(f"luksRemoveKey V {A}"), ok("luksRemoveKey V", B)]),
    Row("[18] remove what opens nothing", TWO, [Step(NO_PERMISSION, f"luksRemoveKey V {C}", "", DONE, "state")]),
    Row("[18] a part of the file", TWO, [Step(NO_PERMISSION, f"luksRemoveKey V {B} -l 1", "", DONE, "state")]),
    Row("[18] remove key of two keyslots", {0: A, 1: B, 2: B}, [Step(DONE, "luksRemoveKey V", B, DONE, "all")]),
    Row("[18] kill with a bad passphrase", {0: A, 2: B}, [Step(NO_PERMISSION, "luksKillSlot V 2", C)]),
    Row("[18] and batch mode does not matter", {0: A, 2: B}, [Step(NO_PERMISSION, "luksKillSlot -q V 2 -d -", C)]),
    Row("[18] kill with that of another", {0: A, 1: B, 2: C}, [ok("luksKillSlot V 2", B)]),
    Row("[23] change key", TWO, [ok(f"luksChangeKey V -d {A} {C} -S 0"), ok("luksChangeKey V -S 1", f"{B} {D}")]),
    Row("[23] wrong passphrase", TWO, [Step(NO_PERMISSION, "luksChangeKey V -S 1", f"{A} {D}")]),
    Row("[23] no number", TWO, [Step(DONE, f"luksChangeKey V -d {A} {C}", "", DONE, "place")], LUKS1),
    Row(
        "[23] no number, LUKS2 stays",
        TWO,
        [ok(f"luksChangeKey V -d {A} {C}"), ok("luksChangeKey V", f"{B} {D}")],
        LUKS2,
    ),
    Row(
        "[23] all in use",
        dict.fromkeys(range(8), A),
        [Step(WRONG, f"luksAddKey V -d {A} {B}"), Step(DONE, f"luksChangeKey V -d {A} {B}", "", DONE, "all")],
        LUKS1,
    ),
    Row(
        "[23] all in use, one of each",
        {0: A, **dict.fromkeys(range(1, 8), C)},
        [Step(DONE, f"luksChangeKey V -d {A} {B}", "", WRONG, "room")],
        LUKS1,
    ),
    Row("[23] the same key once more", {0: A, 1: B}, [Step(DONE, f"luksAddKey V -d {A} {B}", "", DONE, "once")]),
    Row("[23] no area", TWO, [Step(DONE, f"luksChangeKey V -d {A} {C}", "", WRONG, "room")], LUKS2, areas=2),
    Row("[23] no area for one more", TWO, [Step(WRONG, f"luksAddKey V -d {A} {C}")], LUKS2, areas=2),
    Row(
        "[24] parts of keyfiles",
        {0: A},
        [
            Step(NO_PERMISSION, f"luksAddKey V -d {A} {B} -l 13"),
            Step(WRONG, f"luksAddKey V -d {A} {B} -l 99"),
            Step(NO_PERMISSION, f"luksAddKey V -d {A}.part {B} -l 16 --keyfile-offset 2"),
            ok(f"luksAddKey V -d {A}.part -l 16 --keyfile-offset 3 {B}"),
            Step(NO_PERMISSION, f"luksChangeKey V -d {B}.part {C}"),
            ok(f"luksChangeKey V -S 1 -d {B}.part -l 16 --keyfile-offset 3 {C}"),
            ok(f"luksRemoveKey V {C}.part -l 18 --keyfile-offset 3"),
        ],
    ),
    Row("[26] into a number", {5: C}, [ok("luksAddKey -q -S 0 V", f"{C} {A}")]),
    Row(
        "[27] detached header",
        {0: A},
        [ok("luksAddKey -q -S 5 payload --header V", f"{A} {B}"), ok("luksKillSlot -q payload --header V 5")],
    ),
    Row(
        "[27] and no payload",
        {0: A},
        [Step(DONE, "luksAddKey -q -S 5 missing --header V", f"{A} {B}", WRONG, "device")],
    ),
    Row("[29] erase", {1: A, 5: B}, [ok("luksErase -q V")]),
    Row("[29] erase leaves what is not bound", TWO, [ok("luksErase -q V")], LUKS2, unbound=True),
    Row("[33] a keyslot with a token", TWO, [ok("luksKillSlot V 1", A)], LUKS2, token="of-somebody"),
    Row(
        "[33] a keyslot with a token of systemd",
        TWO,
        [Step(DONE, "luksKillSlot V 1", A, DONE, "token")],
        LUKS2,
        token="systemd-recovery",
    ),
    Row("[34] priority", TWO, [ok(f"config V -S 1 --priority {one}") for one in ("ignore", "normal", "prefer")], LUKS2),
    Row("[34] of a free keyslot", TWO, [Step(WRONG, "config V -S 5 --priority prefer")], LUKS2),
    Row("[34] no such priority", TWO, [Step(WRONG, "config V -S 1 --priority bla")], LUKS2),
    Row("[34] LUKS1 has none", TWO, [Step(WRONG, "config V -S 1 --priority prefer")], LUKS1),
    Row("[38] change one that is not bound", {0: A}, [ok("luksChangeKey V -S 7", f"{C} {D}")], LUKS2, unbound=True),
    Row("[38] wrong", {0: A}, [Step(NO_PERMISSION, "luksChangeKey V -S 7", f"{A} {D}")], LUKS2, unbound=True),
    Row(
        "[38] change without its number",
        {0: A},
        [Step(DONE, "luksChangeKey V", f"{C} {D}", NO_PERMISSION, "name")],
        LUKS2,
        unbound=True,
    ),
    Row(
        "[38] it adds no key",
        {0: A},
        [Step(NO_PERMISSION, "luksAddKey V", f"{C} {D}", older=WRONG)],
        LUKS2,
        unbound=True,
    ),
    Row(
        "[38] beside it",
        {0: A},
        [ok("luksAddKey -q V -S 8", f"{A} {D}"), ok("luksKillSlot -q V 7")],
        LUKS2,
        unbound=True,
    ),
    Row(
        "[38] a new one",
        {0: A},
        [Step(DONE, "luksAddKey -q --unbound -s 128 -S 3 V", B, WRONG, "unbound")],
        LUKS2,
    ),
    Row("[43] number to open with", TWO, [ok(f"luksAddKey -q -S 1 --new-key-slot 2 V {C}", B)]),
    Row(
        "[43] wrong number to open with",
        TWO,
        [Step(NO_PERMISSION, f"luksAddKey -q -S 0 --new-key-slot 2 V {C}", B, DONE, "any")],
    ),
    Row("[43] files", TWO, [ok(f"luksAddKey -q -S 1 --new-key-slot 4 -d {B} --new-keyfile {C} V")]),
    Row(
        "[1] backup and restore",
        TWO,
        [
            ok("luksHeaderBackup V --header-backup-file H"),
            ok("luksKillSlot V 1", A),
            ok("luksHeaderRestore -q V --header-backup-file H", B),
        ],
    ),
    Row(
        "[1] restore without a secret",
        TWO,
        [
            ok("luksHeaderBackup V --header-backup-file H"),
            ok("luksKillSlot V 1", A),
            Step(DONE, "luksHeaderRestore -q V --header-backup-file H", "", WRONG, "secret"),
        ],
    ),
    Row(
        "[1] a second backup",
        TWO,
        [
            ok("luksHeaderBackup V --header-backup-file H"),
            Step(WRONG, "luksHeaderBackup V --header-backup-file H", "", DONE, "existing"),
        ],
    ),
]


class Copy:
    """The volume of one of the two, in a folder with the files that the rows name."""

    def __init__(self, folder: pathlib.Path, image: bytes) -> None:
        folder.mkdir()
        self.folder = folder
        self.volume = folder / "volume"
        self.volume.write_bytes(image)
        (folder / "payload").write_bytes(bytes(65536))
        (folder / "zeros").write_bytes(bytes(16))
        for name, secret in SECRETS.items():
            (folder / name).write_bytes(secret)
            (folder / f"{name}.part").write_bytes(b"xyz" + secret + b"tail")

    def words(self, step: Step) -> t.List[str]:
        files = {"V": "volume", "H": "backup", **{name: name for name in ("payload", "missing", "zeros", "vk")}}
        files.update({name + end: name + end for name in SECRETS for end in ("", ".part")})
        costs = CHEAP if step.words.startswith(("luksAddKey", "luksChangeKey")) else ()
        words = [str(self.folder / files[word]) if word in files else word for word in step.words.split()]
        return [*words, *costs]

    def state(self) -> t.Any:
        """Which keyslots are active, with priority and what opens them; which are bound, and the tokens of others."""
        image = self.volume.read_bytes()
        header, opened = checker.read(image), checker.openers(image, SECRETS)
        slots = {number: (slot.priority, opened[number]) for number, slot in header.slots.items()}
        if not header.copies:
            return slots
        tree = json.loads(image[4096:16384].rstrip(b"\0"))
        bound = sorted(
            number for digest in tree["digests"].values() if digest["segments"] for number in digest["keyslots"]
        )
        tokens = {number: token for number, token in tree["tokens"].items() if not token["type"].startswith("luksmith")}
        return slots, bound, tokens


def volume_of(row: Row, format: str) -> bytes:
    if format == "luks1":
        return luks1(row.slots)
    image = luks2(row.slots, areas=row.areas)
    return with_unbound(image, 7, C) if row.unbound else image


def run(words: t.Sequence[str], stdin: bytes) -> t.Tuple[int, str]:
    done = subprocess.run(["cryptsetup", *words], input=stdin, capture_output=True, check=False)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    ("row", "format"),
    [
        pytest.param(row, format, id=f"{format} {row.case}", marks=[pytest.mark.full] if sparing else [])
        for number, row in enumerate(ROWS)
        for place, format in enumerate(row.formats)
        for sparing in [len(row.formats) > 1 and place != number % 2]
    ],
)
def test_cryptsetup_and_ours(row: Row, format: str, tmp_path: pathlib.Path) -> None:
    """The default size takes one format of each row that both have."""
    image = volume_of(row, format)
    theirs, ours = Copy(tmp_path / "theirs", image), Copy(tmp_path / "ours", image)
    for copy in (theirs, ours):
        if "vk" in str(row.steps):
            dump = ["luksDump", "-q", "--dump-volume-key", "--volume-key-file", str(copy.folder / "vk")]
            assert run([*dump, "-d", str(copy.folder / row.slots[min(row.slots)]), str(copy.volume)], b"")[0] == 0
        if row.token:
            token = json.dumps({"type": row.token, "keyslots": ["1"]}).encode()
            assert run(["token", "import", "--token-id", "3", str(copy.volume)], token)[0] == 0
    for step in row.steps:
        stdin = b"\n".join(SECRETS[name] for name in step.stdin.split())
        code, error = run(theirs.words(step), stdin)
        code = step.code if code == step.older else code
        assert code == step.code, f"cryptsetup, {step.words}: {code}, {error}"
        answer = cryptsetup_words.cryptsetup(ours.words(step), stdin)
        same = (answer.code, ours.state()) == (code, theirs.state())
        if step.why:
            assert step.why in WHY and answer.code == step.ours and not same, f"{step.words}: {answer}"
            assert step is row.steps[-1], "after a difference there is nothing to compare"
        else:
            assert answer.code == code, f"{step.words}: cryptsetup {code}, ours {answer}; {error}"
            assert same, f"{step.words}: {theirs.state()}, ours {ours.state()}"
    dump, error = run(["luksDump", str(ours.volume)], b"")
    assert (dump, error) == (0, "")


def test_each_difference_has_a_row_and_is_documented() -> None:
    assert {step.why for row in ROWS for step in row.steps} == {"", *WHY}
    assert len({row.case for row in ROWS}) == len(ROWS)
    for theirs, ours in WHY.values():
        assert f"| {theirs} | {ours} |" in DOCUMENT.read_text(), f"docs/peers.md lacks: | {theirs} | {ours} |"
