# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge of a module: errors become results, and nothing of a secret gets out with them."""

from __future__ import annotations

import json
import resource
import sys
import threading
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Interrupted, Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action
from ansible_collections.luksmith.luks.plugins.module_utils._module import cores, runner


class Ended(BaseException):
    """What AnsibleModule does by leaving the process."""


class FakeModule:
    check_mode = False

    def __init__(self, params: t.Mapping[str, t.Any] = types.MappingProxyType({})) -> None:
        self.params = dict(params)
        self.warnings: t.List[str] = []
        self.ended: t.Tuple[str, t.Dict[str, t.Any]] = ("", {})

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        self._end("exit", result)

    def fail_json(self, msg: str, **result: t.Any) -> t.NoReturn:
        self._end("fail", {"msg": msg, **result})

    def _end(self, how: str, result: t.Dict[str, t.Any]) -> t.NoReturn:
        assert sys.exc_info() == (None, None, None), "Ansible would add the exception being handled to the result"
        self.ended = (how, result)
        raise Ended


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> t.List[t.Tuple[int, int]]:
    """What the guard sets, instead of setting it for the process of all tests."""
    given: t.List[t.Tuple[int, int]] = []
    monkeypatch.setattr(cores.resource, "setrlimit", lambda _which, limit: given.append(limit))
    monkeypatch.setattr(
        cores.ctypes,
        "CDLL",
        lambda _name: (nothing for nothing in ()).throw(OSError("no prctl in the process of all tests")),
    )
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    return given


def finish(work: t.Callable[[], t.Dict[str, t.Any]], **params: t.Any) -> t.Tuple[str, t.Dict[str, t.Any], t.List[str]]:
    module = FakeModule(params)
    with pytest.raises(Ended):
        runner.run_module(module, work, leaves="What was begun is done by the next run.")
    return (*module.ended, module.warnings)


def raising(error: Exception) -> t.Callable[[], t.Dict[str, t.Any]]:
    def work() -> t.Dict[str, t.Any]:
        raise error

    return work


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"device": "/dev/x", "path": "/b"}, "/dev/x: keyslot 1"),
        ({"device": None, "path": "/b"}, "/b: keyslot 1"),
        ({"device": None, "devices": ["/dev/x"]}, "keyslot 1"),  # each of these is named already
        ({"device": "no text \udcff"}, "no text \\udcff: keyslot 1"),
    ],
)
def test_a_warning_names_what_it_is_about(params: t.Dict[str, t.Any], said: str) -> None:
    """Ansible shows it without the task, the host and the item of a loop."""
    assert finish(lambda: {"changed": False, "warnings": ["keyslot 1"]}, **params)[2] == [said]
    volumes = ["/dev/x", "/dev/x is in use", "in /dev/x.", "/dev/x1 is in use", "/dev/x.bak is there", "/dev/x-y"]
    warned = finish(lambda: {"changed": False, "warnings": volumes}, device="/dev/x")[2]
    assert warned == [*volumes[:3], *(f"/dev/x: {one}" for one in volumes[3:])]


def test_a_result_ends_well_and_its_warnings_are_warned() -> None:
    assert finish(lambda: {"changed": True, "warnings": ["one", "two"]}) == ("exit", {"changed": True}, ["one", "two"])


def test_bytes_that_are_no_text_do_not_lose_the_answer() -> None:
    """ansible-core 2.19 and newer refuse a whole answer with half of a surrogate pair, such as that of a file name."""
    odd = "/srv/\udcff.img"
    result = {"volumes": [{"device": odd, "size": 1}], "by": {odd: (None,)}, "warnings": [odd]}
    how, told, warnings = finish(lambda: result)
    shown = "/srv/\\udcff.img"
    assert (how, warnings) == ("exit", [shown])
    assert told == {"volumes": [{"device": shown, "size": 1}], "by": {shown: [None]}}
    assert finish(lambda: {"failed": True, "msg": odd})[1]["msg"] == shown


@pytest.mark.parametrize("function", ["_as_text", "_named"])
def test_an_error_in_what_makes_the_answer_readable_is_told_without_its_text(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: t.Any) -> t.NoReturn:
        raise MemoryError("winter-2025")

    monkeypatch.setattr(runner, function, fail)
    how, told, _warnings = finish(lambda: {"changed": True, "warnings": ["one"]})
    assert how == "fail" and "MemoryError" in told["msg"] and "winter-2025" not in told["msg"]


def test_an_error_of_ansible_in_telling_the_result_is_told_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_module: FakeModule, **_result: t.Any) -> t.NoReturn:
        raise TypeError("Value of unknown type: winter-2025")

    monkeypatch.setattr(FakeModule, "exit_json", fail)
    how, told, _warnings = finish(lambda: {"changed": True})
    assert how == "fail" and "TypeError" in told["msg"] and "winter-2025" not in told["msg"]


def test_a_failed_result_ends_as_a_failure() -> None:
    assert finish(lambda: {"failed": True, "msg": "no", "changed": True, "volumes": []}) == (
        "fail",
        {"msg": "no", "changed": True, "volumes": []},
        [],
    )


def test_a_refusal_is_its_sentence_without_a_traceback() -> None:
    assert finish(raising(Refused("keyslot 3 is in use", remedy="choose another"))) == (
        "fail",
        {"changed": False, "msg": "Keyslot 3 is in use. Choose another. Nothing was changed."},
        [],
    )


def test_an_interruption_tells_what_was_done_and_what_is_left() -> None:
    error = Interrupted(
        "the medium failed",
        changed="one keyslot was added",
        actions_done=[Action("add", 1, "why", label="x")],
        actions_left=[Action("erase", 0, "why")],
    )
    how, result, _warnings = finish(raising(error))
    assert (how, result["changed"]) == ("fail", True)
    assert result["actions_done"] == [{"action": "add", "keyslot": 1, "label": "x", "reason": "why"}]
    assert result["actions_left"] == [{"action": "erase", "keyslot": 0, "label": "", "reason": "why"}]
    json.dumps(result)


def test_an_unexpected_error_tells_its_place_and_not_its_text() -> None:
    secret = "hunter2"

    def work() -> t.Dict[str, t.Any]:
        secret.encode("utf-8").decode("utf-16")
        raise ValueError(f"{secret} is bad")

    how, result, _warnings = finish(work)
    assert how == "fail"
    assert secret not in json.dumps(result)
    assert "test_runner.py" in result["msg"]
    assert "(work)" in result["msg"]
    assert "changed" not in result


def test_an_error_in_a_thread_is_not_printed_with_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> t.Dict[str, t.Any]:
        thread = threading.Thread(target=raising(ValueError("hunter2")))
        thread.start()
        thread.join()
        return {"changed": False}

    finish(work)
    assert "hunter2" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(("hard", "set_to"), [(resource.RLIM_INFINITY, 1), (4096, 1), (1, 1), (0, 0)])
def test_core_dumps_are_off(
    monkeypatch: pytest.MonkeyPatch, limits: t.List[t.Tuple[int, int]], hard: int, set_to: int
) -> None:
    monkeypatch.setattr(cores.resource, "getrlimit", lambda _which: (0, hard))
    finish(lambda: {"changed": False})
    assert limits == [(set_to, set_to)]
