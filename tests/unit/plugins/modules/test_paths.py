# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A path that Python cannot spell on a host without UTF-8: every option says that, and none speaks of something
else.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

REGISTER = pathlib.Path(__file__).resolve().parents[3] / "tools" / "register.py"
SECRET = {"passphrase": "winter"}
NAME = "sch\u00f6n"

TASKS: t.Dict[str, t.Tuple[str, t.Dict[str, t.Any]]] = {
    "device": ("keyslots_info", {"device": "PATH"}),
    "devices": ("keyslots", {"devices": ["PATH"], "keyslots": [{"new_secret": SECRET}]}),
    "header": ("keyslots_info", {"device": "/dev/null", "header": "PATH"}),
    "backup": ("header_backup", {"device": "/dev/null", "path": "PATH"}),
    "backups of an audit": ("audit", {"device": "/dev/null", "backups": ["PATH"]}),
    "secret from a keyfile": ("keyslots", {"device": "/dev/null", "keyslots": [{"new_secret": {"keyfile": "PATH"}}]}),
    "keyfile": ("keyfile", {"path": "PATH", "new_secret": SECRET, "old_secrets": [{"passphrase": "old"}]}),
}
SHORT = ("device", "secret from a keyfile")
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

_MODULE = """
import importlib, runpy, sys
runpy.run_path(sys.argv[1])
from ansible.module_utils import basic
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.stdin.buffer.read(), "legacy"
importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{sys.argv[2]}").main()
"""


def run(module: str, params: t.Dict[str, t.Any], **environment: str) -> t.Dict[str, t.Any]:
    done = subprocess.run(
        [sys.executable, "-c", _MODULE, str(REGISTER), module],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode(),
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def filled(params: t.Any, path: str) -> t.Any:
    return json.loads(json.dumps(params).replace('"PATH"', json.dumps(path)))


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.full) for name in TASKS]
)
def test_every_option_says_so(tmp_path: pathlib.Path, name: str) -> None:
    pytest.importorskip("ansible")
    module, params = TASKS[name]
    result = run(module, filled(params, str(tmp_path / NAME)), **NO_UTF8)
    assert result["failed"] is True and result["changed"] is False
    assert "cannot encode, because its locale uses ascii" in result["msg"] and "PYTHONUTF8=1" in result["msg"], result[
        "msg"
    ]
    assert "NUL" not in result["msg"] and "error in luksmith.luks" not in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_with_utf8_it_is_a_path_like_any_other(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("ansible")
    (tmp_path / NAME).write_text("old")
    params = {"path": str(tmp_path / NAME), "new_secret": SECRET, "old_secrets": [{"passphrase": "old"}]}
    result = run("keyfile", params, **{**NO_UTF8, "PYTHONUTF8": "1"})
    assert result["changed"] is True and (tmp_path / NAME).read_text() == SECRET["passphrase"]


def test_a_search_names_the_pattern_and_finds_the_others(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("ansible")
    (tmp_path / "x.img").write_bytes(b"LUKS\xba\xbe\x00\x01" + bytes(1 << 20))
    paths = [f"{tmp_path}/{NAME}*", f"{tmp_path}/{NAME}", f"{tmp_path}/*.img"]
    result = run("volumes_info", {"paths": paths, "block_devices": False, "crypttab": NAME}, **NO_UTF8)
    assert any("crypttab" in str(warning) and "cannot encode" in str(warning) for warning in result["warnings"]), result
    rows = {row["device"]: row["problem"] for row in result["volumes"] if row["device"].startswith(str(tmp_path))}
    assert sorted(rows) == sorted([f"{tmp_path}/{NAME}*", f"{tmp_path}/{NAME}", f"{tmp_path}/x.img"])
    assert all("cannot encode" in rows[f"{tmp_path}/{NAME}{end}"] for end in ("", "*"))
