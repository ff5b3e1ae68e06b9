# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook as people run it, with canaries for secrets: they are on the volume, and in nothing that anybody can
read later.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.secrets import tracing, volumes
from ansible_collections.luksmith.luks.tests.secrets.box import copy_of_collection
from ansible_collections.luksmith.luks.tests.secrets.scene import (
    AFTER_SUCCESS,
    CHEAP,
    Scene,
    build,
    keyslots,
    refusals,
    secret_of,
    success,
)

pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup")


def vault(scene: Scene) -> t.Tuple[str, str]:
    return "--vault-password-file", str(scene.box.folder / "vault-password")


def changed(scene: Scene) -> None:
    """The play did what it should; only then does it mean something that no secret got out."""
    for volume in (scene.luks1, scene.luks2):
        for name, one in scene.canaries.items():
            assert volumes.opens(volume, one.value) == (name in AFTER_SUCCESS.values()), f"{name} on {volume.format}"


@pytest.mark.needs("strace")
def test_success_under_the_eyes_of_strace(scene: Scene) -> None:
    """Most talkative, with a log, junit and diffs; and every argument list, environment and write of every process."""
    trace = scene.box.folder.with_name("trace")  # outside of the box: it shows what went through pipes
    more = {"ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit", "ANSIBLE_STDOUT_CALLBACK": "default"}
    ran = scene.box.play(
        success(scene), "-vvvv", "--diff", *vault(scene), prefix=tracing.command(trace), environment=more
    )
    assert ran.code == 0, ran.output
    changed(scene)
    scene.learn_keys({"luks1": AFTER_SUCCESS, "luks2": AFTER_SUCCESS})
    assert scene.box.leaks(scene.search, ran) == []
    assert "changed: [localhost]" in ran.output and "kdf_evaluations" in ran.output
    assert (scene.box.folder / "log").stat().st_size > 1000 and list((scene.box.folder / "junit").iterdir())
    seen = tracing.check(trace, scene)
    assert seen["execve"] > 20 and seen["write"] > 100, seen
    trace.unlink()


def test_every_kind_of_refusal(scene: Scene) -> None:
    """It may take long: Ansible starts a module in a new interpreter for each class of error."""
    ran = scene.box.play(list(refusals(scene).values()), "-vvvv", "--diff", *vault(scene))
    assert ran.output.count("Nothing was changed.") >= len(refusals(scene)), ran.output
    assert (
        "unexpected" not in ran.output and "error in luksmith.luks" not in ran.output and "Traceback" not in ran.output
    )
    assert scene.box.leaks(scene.search, ran) == []


@pytest.mark.parametrize(
    "more",
    [
        {"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"},
        {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal"},
        {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.oneline"},
        {"ANSIBLE_STDOUT_CALLBACK": "everything"},
        {"ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.tree", "ANSIBLE_CALLBACK_TREE_DIR": "tree"},
    ],
    ids=lambda more: "-".join(str(value).rpartition(".")[2] for value in more.values()),
)
def test_callbacks(scene: Scene, more: t.Dict[str, str]) -> None:
    """A success with a diff, a check and a refusal, shown in other ways."""
    folder = scene.box.folder
    entry = {"old_secret": secret_of("current", folder), "new_secret": secret_of("text", folder), "pbkdf": CHEAP}
    task = keyslots(scene.luks2.path, entry)
    bad = keyslots(
        scene.luks1.path,
        {**entry, "new_secret": secret_of("stranger", folder), "old_secret": secret_of("vault", folder)},
    )
    ran = scene.box.play([{**task, "check_mode": True}, task, bad], "-vvvv", "--diff", *vault(scene), environment=more)
    assert volumes.opens(scene.luks2, scene.canaries["text"].value), ran.output
    assert "opens any keyslot" in " ".join(ran.output.split()) or "ANSIBLE_CALLBACK_TREE_DIR" in more, ran.output
    scene.learn_keys({"luks1": {0: "current"}, "luks2": {0: "text"}})
    assert scene.box.leaks(scene.search, ran) == []


def test_ansible_debug_shows_arguments_and_nothing_else(scene: Scene) -> None:
    """ANSIBLE_DEBUG makes the controller itself print the arguments of a module: no promise.

    What is ours stays out of it.
    """
    folder = scene.box.folder
    task = keyslots(
        scene.luks1.path,
        {"new_secret": secret_of("text", folder), "pbkdf": CHEAP},
        unlock=[secret_of("current", folder)],
    )
    ran = scene.box.play([task], "-vvvv", *vault(scene), environment={"ANSIBLE_DEBUG": "1"})
    scene.learn_keys({"luks1": {0: "current", 1: "text"}, "luks2": {0: "current"}})
    told = [line for line in ran.output.splitlines() if scene.search(line)]
    assert told and all("done with _execute_module (luksmith.luks.keyslots, {" in line for line in told), told
    assert {name for line in told for name, _form in scene.search(line)} == {"current", "text"}
    assert all(place.startswith("output: ") for place in scene.box.leaks(scene.search, ran))


def test_an_interrupted_run(scene: Scene) -> None:
    """The system refuses to write beyond some byte: the first write is done, the second fails."""
    folder = scene.box.folder
    entries = [
        {"keyslot": slot, "new_secret": secret_of(source, folder), "pbkdf": CHEAP}
        for slot, source in ((1, "text"), (7, "vault"))
    ]
    ran = scene.box.play(
        [keyslots(scene.luks1.path, *entries, unlock=[secret_of("current", folder)])],
        "-vvvv",
        *vault(scene),
        largest_file=900_000,
    )
    assert "actions_left" in ran.output and "File too large" in ran.output, ran.output
    assert scene.box.leaks(scene.search, ran) == []


def test_files_that_are_kept_on_the_host_hold_the_secrets(scene: Scene) -> None:
    """No promise, but what documentation warns of; and a proof that the search finds what Ansible itself leaves lying
    about.
    """
    task = keyslots(
        scene.luks1.path,
        {"new_secret": secret_of("text", scene.box.folder), "pbkdf": CHEAP},
        unlock=[secret_of("current", scene.box.folder)],
    )
    ran = scene.box.play([task], *vault(scene), environment={"ANSIBLE_KEEP_REMOTE_FILES": "1"})
    found = scene.box.leaks(scene.search, ran)
    assert found and all(place.startswith(("host/", "log", "controller/")) for place in found), found
    assert any(": text (" in place for place in found) and not any(
        "volume key" in place or "derived" in place for place in found
    ), found


# In the module, after its work: one leak for each way out. The secret is shown backwards, because Ansible masks it as
# it is.
_LEAKS = """    import os, subprocess, sys, base64
    leaked = task.secrets[0].value.decode()
    coded = base64.b64encode(leaked.encode()).decode()
    module.warn("warned " + leaked[::-1])
    open(os.environ["HOME"] + "/left", "w").write(leaked)
    open(os.environ["HOME"] + "/gone", "w").write(leaked)
    os.unlink(os.environ["HOME"] + "/gone")
    subprocess.run(["true", leaked])
    subprocess.run(["true"], env={"SECRET": coded})
    with open(task.devices[0], "r+b") as device:
        device.seek(900)
        device.write(leaked[:16].encode())
    try:
        return amend(task, check=module.check_mode)
"""


@pytest.mark.needs("strace")
def test_planted_leaks_are_found(
    tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, shared: pathlib.Path
) -> None:
    """Each detector fires: on output, on a file that stays, on one that is gone again, on an argument, on an
    environment, on the volume.
    """
    folder, beside = tmp_path, tmp_path_factory.mktemp("beside")
    collection = copy_of_collection(
        beside,
        {"plugins/modules/keyslots.py": ("    try:\n        return amend(task, check=module.check_mode)\n", _LEAKS)},
    )
    scene = build(folder, 1, shared, collection=collection)
    trace = beside / "trace"
    task = keyslots(
        scene.luks1.path,
        {"new_secret": secret_of("text", folder), "pbkdf": CHEAP},
        unlock=[secret_of("current", folder)],
    )
    ran = scene.box.play([task], *vault(scene), prefix=tracing.command(trace))
    found = scene.box.leaks(scene.search, ran)
    assert any(place.startswith("output: current (reversed)") for place in found), (found, ran.output)
    assert any(place.startswith("log: current (reversed)") for place in found), found
    assert any(place.startswith("home/left: current (as it is)") for place in found), found
    assert any(place.startswith("volume luks1: current (as it is)") for place in found), found
    lines = trace.read_text("latin-1").splitlines()
    told = [line for line in lines if scene.search(tracing.unescaped(line))]
    assert any(
        "execve(" in line and scene.search(tracing.unescaped(line)) == [("current", "as it is")] for line in told
    ), "argument"
    assert any(
        "execve(" in line and any("base64" in form for _name, form in scene.search(tracing.unescaped(line)))
        for line in told
    ), "environment"
    assert any("/gone" in tracing.unescaped(line).decode("latin-1") for line in told), "a file that is gone again"
    with pytest.raises(AssertionError):
        tracing.check(trace, scene)
