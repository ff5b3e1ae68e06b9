# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the page's script become one function: what each imports is there before it, nothing else is left.

eslint knows each module alone; a browser in tests/browser runs the function.
"""

from __future__ import annotations

import collections
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import page

FOLDER = page._FOLDER / "script"
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:const|function) (\w+)", re.MULTILINE)
TOP_LEVEL = re.compile(r"^(?:export )?(?:const|let|var|function|class) (\w+)", re.MULTILINE)


def source(part: str) -> str:
    return (FOLDER / f"{part}.js").read_text(encoding="utf-8")


def imports(part: str) -> t.Dict[str, t.Set[str]]:
    """The names by the part that they are imported from."""
    return {where: set(re.findall(r"\w+", names)) for names, where in IMPORT.findall(source(part))}


def test_every_module_is_a_part() -> None:
    assert sorted(page.PARTS) == sorted(path.stem for path in FOLDER.iterdir())


@pytest.mark.parametrize("part", page.PARTS)
def test_what_is_imported_is_exported_by_a_part_before(part: str) -> None:
    before = page.PARTS[: page.PARTS.index(part)]
    for where, names in imports(part).items():
        assert where in before, f"{part} imports {where}, which comes later"
        assert names <= set(EXPORT.findall(source(where))), (part, where)


def test_what_is_exported_is_imported() -> None:
    for part in page.PARTS:
        used: t.Set[str] = set().union(*(imports(other).get(part, set()) for other in page.PARTS))
        assert set(EXPORT.findall(source(part))) == used, part


def test_no_two_parts_have_a_name_in_common() -> None:
    """In one function they would be one."""
    names = collections.Counter(name for part in page.PARTS for name in TOP_LEVEL.findall(source(part)))
    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_of_a_module_is_left() -> None:
    script = page.script()
    assert not re.findall(r"^\s*(?:import|export)\b.*", script, re.MULTILINE)
    for part in page.PARTS:
        last = source(part).rstrip().rpartition("\n")[2]
        assert len(last) > 0 and last in script


@pytest.mark.parametrize("text", [page.style(), page.script()], ids=["style", "script"])
def test_the_licence_of_a_file_stays_in_the_file(text: str) -> None:
    assert "SPDX" not in text and "</" not in text
