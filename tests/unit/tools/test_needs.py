# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test may need: it is found where it is, and where it is not a sentence names the command that brings it."""

from __future__ import annotations

import ast
import os
import pathlib
import platform
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests import needs

TESTS = pathlib.Path(__file__).resolve().parents[2]
DEBIAN_12 = {"ID": "debian", "VERSION_ID": "12"}
DEBIAN_13 = {"ID": "debian", "VERSION_ID": "13"}
NAMES = sorted({*needs.PACKAGES, *needs._SPECIAL})


@pytest.fixture(autouse=True)
def asked_anew() -> t.Iterator[None]:
    needs.missing.cache_clear()
    yield
    needs.missing.cache_clear()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder that has all programs."""
    monkeypatch.setattr(needs, "SEARCH_PATH", str(tmp_path))
    return tmp_path


def install(folder: pathlib.Path, program: str) -> str:
    path = folder / program
    path.touch(mode=0o755)
    return str(path)


@pytest.mark.parametrize("name", needs.PACKAGES)
def test_a_program(name: str, bare: pathlib.Path) -> None:
    assert str(needs.missing(name)) == f"needs {name}: apt install {needs.package(name)}"
    needs.missing.cache_clear()
    path = install(bare, name)
    assert needs.missing(name) is None and needs.program(name) == path


@pytest.mark.parametrize("other", ["chromium-browser", "google-chrome"])
def test_another_browser_does_as_well(other: str, bare: pathlib.Path) -> None:
    path = install(bare, other)
    assert needs.missing("chromium") is None and needs.program("chromium") == path
    assert needs.program("chromium") != install(bare, "chromium") == needs.program("chromium")


@pytest.mark.parametrize(
    ("name", "release", "package"),
    [
        ("systemd-cryptenroll", DEBIAN_12, "systemd"),
        ("systemd-cryptenroll", DEBIAN_13, "systemd-cryptsetup"),
        ("systemd-cryptenroll", {"ID": "ubuntu", "VERSION_ID": "24.04"}, "systemd"),
        ("systemd-cryptenroll", {"ID": "debian"}, "systemd"),
        ("qemu-storage-daemon", DEBIAN_12, "qemu-system-common"),
        ("qemu-storage-daemon", DEBIAN_13, "qemu-utils"),
        ("cryptsetup", DEBIAN_13, "cryptsetup-bin"),
    ],
)
def test_the_package_of_the_release(
    name: str, release: t.Dict[str, str], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert needs.package(name) == package


def test_a_system_that_does_not_say_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> t.NoReturn:
        raise OSError("no such file")

    monkeypatch.setattr(platform, "freedesktop_os_release", silent)
    assert needs.package("systemd-cryptenroll") == "systemd"


@pytest.mark.parametrize("name", needs.PACKAGES)
def test_dpkg_agrees(name: str) -> None:
    """Where the program is there as a package: the one that is named has it."""
    path = needs.program(name)
    if not path or not shutil.which("dpkg-query"):
        return
    # Debian 12 has some below /bin and /sbin, which are the same as below /usr.
    real = os.path.realpath(path)
    names = [real, real.removeprefix("/usr"), path]
    found = (
        subprocess.run(["dpkg-query", "--search", one], capture_output=True, text=True, check=False).stdout
        for one in names
    )
    owner = next(filter(None, found), "").partition(":")[0]
    assert (
        not owner or owner in needs.package(name).split() or owner.startswith(f"{needs.package(name).split()[0]}-")
    ), owner


@pytest.mark.parametrize("name", needs._SPECIAL)
def test_what_is_no_program(name: str, bare: pathlib.Path) -> None:
    """It is here, or a sentence with a remedy says that it is not."""
    lacking = needs.missing(name)
    assert lacking is None or (lacking.remedy and needs.told_by(str(lacking)) == [lacking])


def test_a_name_that_is_in_no_table_is_an_error() -> None:
    with pytest.raises(LookupError):
        needs.missing("cryptsteup")


def test_sentences_are_read_again() -> None:
    several = [needs.Need("strace", "apt install strace"), needs.Need("root", "run the same command as root")]
    assert needs.told_by(needs.sentence(several)) == several
    assert needs.told_by("this QEMU says: no") == [needs.Need("this QEMU says: no", "")]


def test_the_marks_of_all_tests_have_a_name_of_a_table() -> None:
    """A misspelled one would only be found on the machine that runs the test."""
    unknown = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.needs":
                words = [word.value for word in node.args if isinstance(word, ast.Constant)]
                unknown += [f"{path.name}: {word}" for word in words if word not in NAMES]
    assert not unknown
