# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook as people run it: the archive that it ships has all the module needs, and no output has a secret."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks1_by_cryptsetup import Luks1
from ansible_collections.luksmith.luks.tests.tools import playing

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOK = pathlib.Path(sys.executable).with_name("ansible-playbook")
pytestmark = pytest.mark.needs("cryptsetup", "ansible-playbook")

SECRETS = BEFORE, AFTER, SPARE, LATER = "gibbon-4711", "siamang-0815", "macaque-1234", "tamarin-9876"
ROTATE = {
    "name": "Rotate",
    "luksmith.luks.keyslots": {
        "device": "{{ volume }}",
        "keyslots": [
            {
                "new_secret": {"label": "next", "passphrase": "{{ next }}"},
                "old_secret": {"label": "current", "passphrase": "{{ current }}"},
                "pbkdf": {"iterations": 1000},
            },
            {"new_secret": {"label": "spare", "passphrase": "{{ spare }}"}, "pbkdf": {"iterations": 1000}},
        ],
    },
}
# On the controller, at no cost.
DIGEST = {"name": "Look", "ansible.builtin.debug": {"msg": "digest {{ lookup('pipe', 'sha256sum < ' ~ volume) }}"}}
DIFF = """\
--- before: {volume}
+++ after: {volume}
@@ -1,7 +1,7 @@
 LUKS1 {uuid}
 keyslot  opened by  key derivation
-0        current    pbkdf2-sha256, 1000 iterations
-1        (free)
+0        next       pbkdf2-sha256, 1000 iterations
+1        spare      pbkdf2-sha256, 1000 iterations
 2        (free)
 3        (free)
 4        (free)
"""


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> Luks1:
    return Luks1(tmp_path, BEFORE, cipher="aes-cbc-essiv:sha256", bits=128)


def play(
    volume: Luks1,
    *flags: str,
    pipelining: bool,
    fails: bool = False,
    tasks: t.Sequence[t.Mapping[str, t.Any]] = (ROTATE,),
) -> str:
    """The output of ansible-playbook, which sees the checkout as a collection, and no configuration."""
    folder = volume.folder
    link = folder / "collections" / "ansible_collections" / "luksmith" / "luks"
    if not link.exists():
        link.parent.mkdir(parents=True)
        link.symlink_to(CHECKOUT)
        play = {"hosts": "localhost", "gather_facts": False, "vars_files": ["secrets.json"], "tasks": list(tasks)}
        (folder / "play.json").write_text(json.dumps([play]))
        (folder / "secrets.json").write_text(
            json.dumps({"volume": str(volume.path), "current": BEFORE, "next": AFTER, "spare": SPARE})
        )
        (folder / "ansible.cfg").write_text("[defaults]\n")
    environment = playing.outside()
    environment.update(
        ANSIBLE_CONFIG=str(folder / "ansible.cfg"),
        ANSIBLE_COLLECTIONS_PATH=str(folder / "collections"),
        ANSIBLE_LOCAL_TEMP=str(folder / "controller"),
        ANSIBLE_REMOTE_TEMP=str(folder / "host"),
        ANSIBLE_PIPELINING=str(pipelining),
        ANSIBLE_STDOUT_CALLBACK="default",
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_LOCALHOST_WARNING="0",
        LC_ALL="C.UTF-8",
    )
    command = playing.local_command(PLAYBOOK, *flags, str(folder / "play.json"))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=folder
    )
    output = done.stdout + done.stderr
    assert [secret for secret in SECRETS if secret in output] == []
    assert (done.returncode != 0) == fails, output
    return output


def uuid_of(output: str) -> str:
    found = re.search(r"LUKS1 ([0-9a-f-]{36})", output)
    assert found, output
    return found.group(1)


def nothing_left(volume: Luks1) -> None:
    """Ansible takes its files away, whichever way they came."""
    assert [path for path in (volume.folder / "host").rglob("*") if path.is_file()] == []


def test_predicted_done_and_settled_in_one_play(volume: Luks1) -> None:
    """Most verbose: arguments, results and every file that is moved. The module runs three times: seconds."""
    before = hashlib.sha256(volume.path.read_bytes()).hexdigest()
    output = play(
        volume,
        "--diff",
        "-vvvv",
        pipelining=False,
        tasks=[DIGEST, {**ROTATE, "check_mode": True}, DIGEST, ROTATE, ROTATE],
    )
    digests = re.findall(r"digest ([0-9a-f]{64})", output)
    assert len(digests) == 2 and digests[0] == digests[1] == before
    assert output.count(DIFF.format(volume=volume.path, uuid=uuid_of(output))) == output.count("--- before: ") == 2, (
        output
    )
    assert "kdf_evaluations" in output, output
    assert re.search(r"localhost +: ok=5 +changed=2 ", output), output
    volume.holds({0: AFTER, 1: SPARE}, BEFORE)
    nothing_left(volume)


@pytest.mark.full
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "files"])
def test_check_run_and_run_again(volume: Luks1, pipelining: bool) -> None:
    """Three times ansible-playbook, which takes seconds each time."""
    before = volume.path.read_bytes()
    predicted = play(volume, "--check", "--diff", pipelining=pipelining)
    expected = DIFF.format(volume=volume.path, uuid=uuid_of(predicted))
    assert expected in predicted, predicted
    assert "changed: [localhost]" in predicted and "[WARNING]" not in predicted
    assert volume.path.read_bytes() == before

    # Most talkative: modules' arguments, results, and (without pipelining) every file that is moved.
    real = play(volume, "--diff", "-vvvv", pipelining=pipelining)
    assert expected in real, real
    assert "kdf_evaluations" in real, real
    volume.holds({0: AFTER, 1: SPARE}, BEFORE)

    again = play(volume, "--diff", pipelining=pipelining)
    assert re.search(r"localhost +: ok=1 +changed=0 ", again), again
    assert "---" not in again
    nothing_left(volume)


@pytest.mark.full
def test_a_refusal_is_one_sentence_after_another(volume: Luks1) -> None:
    """Twice ansible-playbook, which takes seconds each time."""
    play(volume, pipelining=True)
    (volume.folder / "secrets.json").write_text(
        json.dumps({"volume": str(volume.path), "current": BEFORE, "next": LATER, "spare": SPARE})
    )
    before = volume.path.read_bytes()
    output = " ".join(play(volume, "-vvvv", pipelining=True, fails=True).split())
    assert (
        f"{volume.path}: Neither current nor next opens any keyslot. "
        "There is nothing that keyslots[0] could replace. Correct old_secret" in output
    ), output
    assert "Nothing was changed." in output and "Traceback" not in output
    assert volume.path.read_bytes() == before


WRONG: t.Sequence[t.Tuple[t.Mapping[str, t.Any], str]] = (
    ({"keyslot": [{"new_secret": {"passphrase": "{{ next }}"}}]}, "keyslots is missing; did you mean keyslots for"),
    (
        {"passphrase": "{{ current }}", "new_passphrase": "{{ next }}", "state": "present"},
        (
            "new_passphrase is an option of community.crypto.luks_device; here, write keyslots: [{new_secret: "
            "{passphrase: ...}}]. passphrase is an option of"
        ),
    ),
    (
        {"keyslots": [{"new_secret": {"passphrse": "{{ next }}"}}]},
        (
            "Entry 1 of keyslots: keyslots[0].new_secret.passphrse is not an option; did you mean passphrase? "
            "Nothing was changed."
        ),
    ),
    ({"unlock": "{{ current }}", "keyslots": []}, "unlock is text, but must be a list."),
    (
        {"device": ["{{ volume }}"], "keyslots": [{"new_secret": {"passphrase": "{{ next }}"}}]},
        "device takes one path, devices a list.",
    ),
)


def test_a_wrong_task_is_told_and_not_shown(volume: Luks1) -> None:
    """Most verbose. The module ends at once, five times: seconds."""
    tasks = [
        {
            "name": f"Wrong {number}",
            "luksmith.luks.keyslots": {"device": "{{ volume }}", **task},
            "register": "wrong",
            "ignore_errors": True,
        }
        for number, (task, _message) in enumerate(WRONG)
    ]
    output = play(volume, "-vvv", pipelining=True, tasks=tasks)
    for _task, message in WRONG:
        assert message in output, output
