# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cryptsetup judges the same hostile headers: we refuse what it refuses, and are stricter only on purpose."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import metadata as luks2_metadata
from ansible_collections.luksmith.luks.tests.interop.luks2_verdicts import ours, theirs
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header.luks2 import luks2_cases as cases
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header.luks2 import test_fuzz as fuzz
from hypothesis import HealthCheck, given, settings

pytestmark = pytest.mark.needs("cryptsetup")


@pytest.fixture(name="place", scope="module")
def fixture_place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("strictness") / "header.img"


@pytest.mark.parametrize(("path", "value"), cases.MALFORMED)
def test_both_refuse(place: pathlib.Path, path: str, value: t.Any) -> None:
    assert not theirs(place, image.build(cases.text(path, value)))


@pytest.mark.parametrize(("path", "value"), cases.STRICTER)
def test_only_we_refuse(place: pathlib.Path, path: str, value: t.Any) -> None:
    raw = image.build(cases.text(path, value))
    assert theirs(place, raw) and isinstance(ours(raw), luks2_metadata.StricterThanCryptsetup)


@pytest.mark.parametrize(("path", "value"), cases.FINE)
def test_both_read(place: pathlib.Path, path: str, value: t.Any) -> None:
    raw = image.build(cases.text(path, value))
    assert theirs(place, raw) and ours(raw) is None


def with_member(text: t.Union[str, bytes]) -> bytes:
    """The members of ``text`` put into valid metadata."""
    return image.dumps(image.tree())[:-1] + b"," + (text.encode() if isinstance(text, str) else text)[1:]


@pytest.mark.parametrize("text", cases.LENIENT)
def test_lenient_json_is_refused_by_us_whatever_json_c_does(place: pathlib.Path, text: t.Union[str, bytes]) -> None:
    raw = image.build(with_member(text))
    assert isinstance(ours(raw), luks2_metadata.StricterThanCryptsetup)
    theirs(place, raw)


def test_json_c_really_is_lenient(place: pathlib.Path) -> None:
    accepted = [text for text in cases.LENIENT if theirs(place, image.build(with_member(text)))]
    assert len(accepted) > len(cases.LENIENT) // 2


@pytest.mark.parametrize("depth", range(28, 36))
@pytest.mark.parametrize("inner", ["1", "{}"])
def test_nesting(place: pathlib.Path, depth: int, inner: str) -> None:
    containers = depth - 1 - (inner == "{}")
    raw = image.build(with_member('{"a":' + '{"a":' * containers + inner + "}" * containers + "}"))
    if ours(raw) is None:
        assert theirs(place, raw)
    assert (ours(raw) is None) is (depth <= luks2_metadata.MAX_DEPTH)


def never_laxer(place: pathlib.Path, changes: t.List[t.Tuple[t.Any, str, t.Any, t.Any]]) -> None:
    raw = image.build(luks2_metadata.emit(fuzz.mutated(changes)))
    if ours(raw) is None:
        assert theirs(place, raw)


ANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(ANY, max_examples=30)
@given(fuzz.CHANGES)
def test_we_never_read_what_cryptsetup_refuses(
    place: pathlib.Path, changes: t.List[t.Tuple[t.Any, str, t.Any, t.Any]]
) -> None:
    never_laxer(place, changes)


@pytest.mark.full
@settings(ANY, max_examples=150)
@given(fuzz.CHANGES)
def test_we_never_read_what_cryptsetup_refuses_and_more_of_it(
    place: pathlib.Path, changes: t.List[t.Tuple[t.Any, str, t.Any, t.Any]]
) -> None:
    never_laxer(place, changes)
