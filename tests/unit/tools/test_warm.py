# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/mutants asks a pytest that has collected once: what is broken for one question is whole for the next one."""

from __future__ import annotations

import os
import typing as t

import pytest
import warm

pytest.importorskip("pytest_timeout", reason="the limits of the warm process are those of pytest-timeout")

ENGINE = """
LIMIT = 9

def check(value):
    if value > LIMIT:
        raise ValueError(value)
    return value

def wait(value):
    while value > LIMIT:
        value -= 1
"""
TESTS = """
import pathlib, sys
import pytest
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import engine

def test_small():
    assert engine.check(3) == 3

def test_large():
    with pytest.raises(ValueError):
        engine.check(10)

def test_wait():
    engine.wait(12)

def test_other_process():
    assert "value > LIMIT" in pathlib.Path(engine.__file__).read_text()
"""
QUICKLY = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_timeout"}
ALL = {f"test_engine.py::test_{name}": 60.0 for name in ("small", "large", "wait", "other_process")}
SMALL, LARGE, WAIT, _OTHER = ALL


pytestmark = pytest.mark.xdist_group("warm")


@pytest.fixture(name="asked", scope="module")
def fixture_asked(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[warm.Warm]:
    root = tmp_path_factory.mktemp("warm") / "checkout"
    root.mkdir()
    (root / "engine.py").write_text(ENGINE)
    (root / "test_engine.py").write_text(TESTS)
    one = warm.Warm(root, {**os.environ, **QUICKLY}, ["test_engine.py"])
    yield one
    one.close()


def test_what_is_broken_is_so_for_one_question(asked: warm.Warm) -> None:
    broken = ENGINE.replace("if value > LIMIT", "if False")
    for _time in range(2):
        assert asked.ask(ALL)[0] == warm.PASSED
        assert asked.ask(ALL, "engine.py", ENGINE, broken) == (warm.FAILED, LARGE)
    assert asked.ask({SMALL: 60}, "engine.py", ENGINE, broken) == (warm.PASSED, SMALL)


def test_what_it_cannot_say(asked: warm.Warm) -> None:
    assert asked.ask(ALL, "engine.py", ENGINE, ENGINE.replace("9", "8")) == (warm.NO_PLACE, "")
    assert asked.ask({"test_engine.py::test_none": 60}) == (warm.NO_PLACE, "")
    for_ever = ENGINE.replace("value -= 1", "pass      ")
    assert asked.ask({**ALL, WAIT: 1}, "engine.py", ENGINE, for_ever) == (warm.FAILED, WAIT)
    dies = ENGINE.replace("value -= 1", "__import__('os')._exit(3)")
    assert asked.ask(ALL, "engine.py", ENGINE, dies) == (warm.NO_ANSWER, WAIT)
    assert asked.ask(ALL)[0] == warm.PASSED
