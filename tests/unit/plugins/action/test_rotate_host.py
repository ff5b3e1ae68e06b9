# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of a host as an action, without a host: its options, an answer that says "failed", and a host that is
gone.
"""

from __future__ import annotations

import pathlib
import signal
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure  # noqa: E402
from ansible_collections.luksmith.luks.plugins.action import rotate_host  # noqa: E402
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    Refused,  # noqa: E402
    counted,  # noqa: E402
)
from ansible_collections.luksmith.luks.plugins.plugin_utils._one_host import OneHost  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.role_variables import SPEC  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import HostError, Phase  # noqa: E402
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (  # noqa: E402
    FakeHost,
    FakeStore,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (  # noqa: E402
    disk,
    options,
)

GIVEN = {
    "rotate_store": "vault_file",
    "rotate_vault_file": "/nowhere/{{ inventory_hostname }}",
    "rotate_generation": "1",
}


class Action:
    """What ``OneHost`` asks of an action; ``answer`` is what every module says."""

    _templar = types.SimpleNamespace(template=lambda value: value)

    def __init__(self, answer: t.Dict[str, t.Any]) -> None:
        self._answer = answer

    def _execute_module(self, **_module: t.Any) -> t.Dict[str, t.Any]:
        return dict(self._answer)


def host(answer: t.Optional[t.Dict[str, t.Any]] = None, **variables: t.Any) -> OneHost:
    action: t.Any = Action(answer or {})
    return OneHost(action, {"inventory_hostname": "web", **variables})


def given(**variables: t.Any) -> t.Dict[str, t.Any]:
    action: t.Any = object.__new__(rotate_host.ActionModule)
    return t.cast(t.Dict[str, t.Any], action._given(host(**variables)))


def test_what_makes_a_volume_due() -> None:
    assert given(**GIVEN)["rotate_generation"] == "1"
    never = {name: value for name, value in GIVEN.items() if name != "rotate_generation"}
    assert given(**never, rotate_max_age="90")["rotate_max_age"] == 90
    with pytest.raises(AnsibleActionFail, match="Neither rotate_generation nor rotate_max_age nor rotate_passphrase"):
        given(**never)


def test_a_variable_of_another_type_is_refused() -> None:
    with pytest.raises(AnsibleActionFail, match=r"rotate_lock_timeout.*Nothing was changed"):
        given(**GIVEN, rotate_lock_timeout="soon")


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "no Python"}, {"rc": 2, "stderr": "no Python\n"}])
def test_a_module_that_fails_is_no_answer(answer: t.Dict[str, t.Any]) -> None:
    with pytest.raises(HostError, match=r"^no Python$"):
        host(answer).run("luksmith.luks.rotation_step", {})


def test_a_failure_without_a_reason_is_one_too() -> None:
    with pytest.raises(HostError, match="the host said no reason"):
        host({"failed": True}).run("luksmith.luks.rotation_step", {})


def test_a_fact_that_bears_the_name_of_an_option_is_no_answer() -> None:
    answer = {"volumes": [], "ansible_facts": {"rotate_store": "command"}}
    with pytest.raises(HostError, match="rotate_store"):
        host(answer).run("luksmith.luks.rotation_step", {})


@pytest.mark.parametrize("warnings", [7, True, 1.5, "text", {"a": 1}, [7, None, ["x"], {"a": 1}]])
def test_what_are_no_warnings_are_none(warnings: t.Any) -> None:
    one = host({"volumes": [], "warnings": warnings})
    assert one.run("luksmith.luks.rotation_step", {})["volumes"] == [] and one.warnings == []


def test_warnings_without_end_are_cut() -> None:
    one = host({"volumes": [], "warnings": [f"{number} \x1b[2J{'x' * 10_000}" for number in range(10_000)]})
    one.run("luksmith.luks.rotation_step", {})
    assert len(one.warnings) == 101 and one.warnings[-1] == "The host has more warnings, which are not shown."
    assert sum(map(len, one.warnings)) < 200_000 and all(warning.isprintable() for warning in one.warnings)


def test_an_answer() -> None:
    assert host({"rc": 0, "volumes": []}).run("luksmith.luks.rotation_step", {}) == {"rc": 0, "volumes": []}


class Unwell:
    """A rotation that ends with ``error``."""

    volumes: t.Tuple[()] = ()
    unmatched: t.Tuple[()] = ()

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self) -> None:
        raise self._error


def outcome(error: Exception, reports: t.List[str]) -> t.Dict[str, t.Any]:
    """The result of the action whose rotation ends with ``error``; ``reports`` gets what the report says of it."""
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task = types.SimpleNamespace(args={}, check_mode=True, diff=False)
    action._templar = Action._templar
    action._rotation = lambda *_given: Unwell(error)
    action._begin_report = lambda *_given: None
    action._report = lambda *given: reports.append(given[-1])
    return t.cast(t.Dict[str, t.Any], action.run(task_vars={"inventory_hostname": "web", **GIVEN}))


@pytest.fixture(autouse=True)
def _cores_stay_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotate_host, "forbid_core_dumps", lambda: None)
    monkeypatch.setattr(rotate_host.ActionBase, "run", lambda *_arguments: {})


def test_a_host_that_is_gone_is_unreachable_for_ansible_and_in_the_report() -> None:
    reports: t.List[str] = []
    with pytest.raises(AnsibleConnectionFailure):
        outcome(AnsibleConnectionFailure("no route"), reports)
    assert reports == ["the host gave no answer"]


def test_an_answer_that_makes_no_sense_is_a_failure_of_the_host() -> None:
    reports: t.List[str] = []
    result = outcome(KeyError("volumes"), reports)
    assert result["failed"] is True
    assert "web" in result["msg"]
    assert reports and reports[0] in result["msg"]


def test_a_command_for_a_report_that_there_is_not() -> None:
    action: t.Any = object.__new__(rotate_host.ActionModule)
    assert action._begin_report("web", {"rotate_report": "", "rotate_report_command": []}) is None
    with pytest.raises(AnsibleActionFail, match="rotate_report_command gets the report, and there is none"):
        action._begin_report("web", {"rotate_report": "", "rotate_report_command": ["mail"]})


def test_the_diff_of_a_task_that_shows_no_result_is_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task has no_log, because a store of tasks leaves secrets in its journal."""
    said: t.List[str] = []
    monkeypatch.setattr(rotate_host._World, "say", lambda _world, text, **_how: said.append(text))
    diff = {"before": "LUKS2\n1 old\n", "after": "LUKS2\n2 new\n", "before_header": "/v", "after_header": "/v"}
    done = types.SimpleNamespace(run=lambda: None, volumes=[], unmatched=())
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task = types.SimpleNamespace(args={"journal": []}, check_mode=True, diff=True)
    action._templar = Action._templar
    action._rotation = lambda *_given: done
    action._begin_report = action._report = lambda *_given: None
    action._result = lambda *_given: {"changed": True, "diff": [diff]}
    assert "diff" not in action.run(task_vars={"inventory_hostname": "web", **GIVEN})
    assert said == ["--- before: /v", "+++ after: /v", "@@ -1,2 +1,2 @@", " LUKS2", "-1 old", "+2 new"]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> t.List[t.Tuple[str, str]]:
    """What is said, and how."""
    said: t.List[t.Tuple[str, str]] = []
    display = types.SimpleNamespace(
        **{how: lambda text, how=how: said.append((how, text)) for how in ("display", "v", "warning")}
    )
    monkeypatch.setattr(rotate_host, "Display", lambda: display)
    return said


@pytest.mark.parametrize("loud", [True, False])
def test_ctrl_c_waits_until_a_line_is_said(monkeypatch: pytest.MonkeyPatch, loud: bool) -> None:
    """The line goes through a queue, whose lock a process that ended meanwhile would keep."""
    during: t.List[t.Set[int]] = []

    def say(_text: str) -> None:
        during.append({int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, ())})

    monkeypatch.setattr(rotate_host, "Display", lambda: types.SimpleNamespace(display=say, v=say))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    rotate_host._World(host()).say("text", loud=loud)
    assert during[0] >= {signal.SIGINT, signal.SIGTERM}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_each_phase_and_the_end_are_said(screen: t.List[t.Tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    world = rotate_host._World(host())
    for loud in (True, False):
        world.phase("/dev/x", 1, 2, Phase.STAGE, "a new secret", loud)
    told = "web: volume 1 of 2, /dev/x: stage: a new secret"
    assert screen == [("display", told), ("v", told)]
    del screen[:]
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task = types.SimpleNamespace(check_mode=False, diff=False)
    action._variables = {"ansible_play_hosts_all": ["db", "web"]}
    monkeypatch.setattr(rotate_host, "_sentence_of_unknown", lambda _volumes: "whose is keyslot 3?")
    action._result(host(), types.SimpleNamespace(volumes=[]), "", world)
    assert screen == [
        ("display", "web: 0 volumes changed, 0 unchanged; host 2 of 2"),
        ("display", "web: whose is keyslot 3?"),
    ]
    assert [counted(count, "volume") for count in (0, 1, 2)] == ["0 volumes", "1 volume", "2 volumes"]


def test_the_tables_of_keyslots_are_in_the_report_and_not_in_what_ansible_keeps_of_each_host(
    screen: t.List[t.Tuple[str, str]],
) -> None:
    rotation, _heard = rotate(options(), FakeHost({"/dev/a": disk()}), FakeStore())
    parts: t.List[t.Any] = []
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task, action._variables = types.SimpleNamespace(check_mode=False, diff=False), {}
    (kept,) = action._result(host(), rotation, "", rotate_host._World(host()))["volumes"]
    report = types.SimpleNamespace(answer=lambda part, _batch: parts.append(part))
    action._report(report, "web", {name: option.get("default") for name, option in SPEC.items()}, rotation, "")
    (whole,) = parts[0]["volumes"]
    assert set(whole) - set(kept) == {"before", "after", "keyslots"}
    assert (kept["state"], kept["secrets"]) == ("done", whole["secrets"])
    assert [row["keyslot"] for row in whole["before"]] == [0, 1] and [row["keyslot"] for row in whole["after"]] == [
        1,
        2,
    ]


@pytest.mark.parametrize("refused", [False, True])
def test_what_a_replaced_secret_opens_beneath_a_volume_is_said_and_reported(
    screen: t.List[t.Tuple[str, str]], refused: bool
) -> None:
    one = disk()
    one.chain = [{"path": "/img/base", "role": "backing", "format": "raw", "encrypted": True, "opened_by": ["leaked"]}]
    store = FakeStore()
    rotation, _heard = rotate(options(), FakeHost({"/img/top": one}), store)
    if refused:
        one.untriable = {next(iter(one.slots))}
        one.slots[7] = "of nobody"
        rotation, _heard = rotate(options(unknown="fail"), FakeHost({"/img/top": one}), store)
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task, action._variables = types.SimpleNamespace(check_mode=False, diff=False), {}
    result = action._result(host(), rotation, "", rotate_host._World(host()))
    told = "A replaced secret still opens what lies beneath: /img/top (the backing file /img/base opens with leaked)."
    said = result["msg"] if refused else [text for _how, text in screen][-1]
    assert told in said and result.get("failed", False) == refused
    (warning,) = result["warnings"]
    assert "/img/top: the backing file /img/base is left as it is" in warning
    (row,) = result["volumes"][0]["chain"]
    assert (row["path"], row["replaced"]) == ("/img/base", ["leaked"])


def test_keyslots_of_nobody_are_told_apart_from_those_that_were_not_tried() -> None:
    def volume(device: str, sealed: bool, *rows: t.Any) -> t.Any:
        unknown = [dict(zip(("keyslot", "label", "tried", "reason"), row)) for row in rows]
        return types.SimpleNamespace(before=types.SimpleNamespace(device=device), sealed=sealed, unknown=unknown)

    assert rotate_host._sentence_of_unknown([volume("/dev/x", True), volume("/dev/y", False)]) == ""
    strange = volume("/dev/x", False, (3, "", True, ""), (5, "bob", True, ""), (7, "", False, "it costs too much"))
    assert rotate_host._sentence_of_unknown([strange, volume("/dev/y", True, (2, "", True, ""))]) == (
        "2 keyslots open with no secret of the store, of rotate_keeps or of rotate_replaces: /dev/x (keyslot 3, 5, "
        "'bob' by the record in the header). 1 keyslot opens with no secret of rotate_keeps or of rotate_replaces: "
        "/dev/y (keyslot 2). The secret of the store is sealed and was not tried, so that one keyslot of each volume "
        "may be its own. 1 keyslot was not tried, so that nobody knows whose it is: /dev/x (keyslot 7, because it "
        "costs too much)."
    )


def test_the_initramfs_is_built_by_a_command_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: t.List[t.Any] = []
    one = host()
    monkeypatch.setattr(one, "run", lambda *words: asked.append(words))
    rotate_host._World(one).build_initramfs()
    assert asked == [("ansible.legacy.command", {"argv": ["sh", "-c", rotate_host._BUILD]})]


@pytest.mark.parametrize("failed", [False, True])
def test_a_batch_hears_how_a_host_ended(failed: bool) -> None:
    fine: t.List[str] = []
    bad: t.List[str] = []
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task = types.SimpleNamespace(args={}, check_mode=False, diff=False)
    action._templar = Action._templar
    action._rotation = lambda *_given: types.SimpleNamespace(run=lambda: None, volumes=[], unmatched=())
    action._begin_batch = lambda _host: types.SimpleNamespace(fine=fine.append, bad=bad.append)
    action._begin_report = action._report = lambda *_given: None
    action._result = lambda *_given: {"changed": False, "failed": failed}
    action.run(task_vars={"inventory_hostname": "web", **GIVEN})
    assert (fine, bad) == (([], ["web"]) if failed else (["web"], []))


def test_a_host_that_is_gone_counts_against_its_batch() -> None:
    bad: t.List[str] = []
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task = types.SimpleNamespace(args={}, check_mode=False, diff=False)
    action._templar = Action._templar
    action._rotation = lambda *_given: Unwell(AnsibleConnectionFailure("no route"))
    action._begin_batch = lambda _host: types.SimpleNamespace(fine=pytest.fail, bad=bad.append)
    action._begin_report = action._report = lambda *_given: None
    with pytest.raises(AnsibleConnectionFailure):
        action.run(task_vars={"inventory_hostname": "web", **GIVEN})
    assert bad == ["web"]


@pytest.mark.parametrize(("whole", "limit", "warned"), [(True, 10, False), (False, None, False), (False, 10, True)])
def test_a_batch_that_is_not_wholly_known_is_told(
    whole: bool,
    limit: t.Optional[int],
    warned: bool,
    screen: t.List[t.Tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = types.SimpleNamespace(limit=limit)
    monkeypatch.setattr(rotate_host, "batch_of", lambda *_given: (batch, whole))
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task = action._variables = action._templar = None
    assert action._batch() is batch
    assert [how for how, text in screen if "does not tell which hosts of the batch were lost" in text] == (
        ["warning"] if warned else []
    )


def test_a_report_begins_before_and_hears_afterwards(
    screen: t.List[t.Tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: t.List[t.Any] = []
    report = types.SimpleNamespace(
        begin=lambda host, _facts: said.append(("begin", host)),
        answer=lambda part, batch: said.append((part, batch)),
        superseded=True,
    )
    monkeypatch.setattr(rotate_host, "RunningReport", lambda folder, _run: said.append(folder) or report)
    monkeypatch.setattr(rotate_host, "note_report", lambda folder, command: said.append((folder, command)))
    monkeypatch.setattr(rotate_host, "shown_options", lambda _given: {})
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task = types.SimpleNamespace(check_mode=False)
    action._loader = types.SimpleNamespace(get_basedir=lambda: "/ops")
    action._variables = {"ansible_play_batch": ["db", "web"]}
    assert action._begin_report("web", {"rotate_report": "report", "rotate_report_command": ["mail"]}) is report
    assert said == ["/ops/report", ("/ops/report", ["mail"]), ("begin", "web")]
    assert [how for how, _text in screen] == ["warning"]
    del said[:]
    action._report(report, "web", {}, types.SimpleNamespace(volumes=[]), "it is gone")
    assert said == [({"host": "web", "volumes": [], "options": {}, "error": "it is gone"}, ["db", "web"])]


def test_a_name_that_is_no_store() -> None:
    action: t.Any = object.__new__(rotate_host.ActionModule)
    with pytest.raises(AnsibleActionFail, match="There is no store 'vault-file'"):
        action._rotation("web", {"rotate_store": "vault-file"}, None, None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (rotate_host.Stopped("the batch before was too bad"), "web: the batch before was too bad"),
        (Refused("the folder is not ours"), "web: .*he folder is not ours"),
    ],
    ids=["bad", "folder"],
)
def test_a_batch_after_one_that_was_too_bad_does_not_begin(
    error: Exception, words: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(_host: str, _batch: t.Any) -> None:
        raise error

    monkeypatch.setattr(rotate_host, "folder_of_batches", lambda: str(tmp_path))
    monkeypatch.setattr(rotate_host, "Batches", lambda _folder: types.SimpleNamespace(begin=begin))
    action: t.Any = object.__new__(rotate_host.ActionModule)
    action._task = types.SimpleNamespace(check_mode=False)
    action._batch = lambda: None
    with pytest.raises(AnsibleActionFail, match=words):
        action._begin_batch("web")


@pytest.mark.parametrize(
    ("container", "path", "action", "told"),
    [
        ("qcow2", "/a.qcow2", "erase", True),
        ("raw", "/held.img", "rekey", True),
        ("raw", "/dev/sda2", "erase", False),
        ("qcow2", "/a.qcow2", "add", False),
        ("qcow2", "/a.qcow2", "", False),
    ],
)
def test_whoever_starts_a_machine_is_told_when_its_secret_goes(
    container: str, path: str, action: str, told: bool
) -> None:
    before = types.SimpleNamespace(container=container, device=path)
    volume: t.Any = types.SimpleNamespace(before=before, actions=[{"action": action}] if action else [])
    said = rotate_host._machines([volume], {"/held.img": "/run/monitor"}, False)
    assert bool(said) == told and all(path in one and "virsh secret-set-value" in one for one in said)
