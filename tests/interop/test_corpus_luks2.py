# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The LUKS2 images of the shared corpus: every row has the answer that the manifest expects, and no byte changes."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import parsing
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec as luks2_codec
from ansible_collections.luksmith.luks.tests.interop import corpus, originals

ROWS = corpus.rows("luks2")
pytestmark = corpus.needs_corpus


class Answer(t.NamedTuple):
    header: t.Optional[luks2_codec.Luks2Header]
    error: t.Optional[errors.LuksmithError]


def ask(row: corpus.Row, folder: pathlib.Path) -> Answer:
    """What the codec makes of it; a codec that repaired while reading would be caught."""
    path = originals.copied(corpus.image(row["file"]), folder / "image")
    with path.open("r+b") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            data = file.read(length)
            assert len(data) == length, "read behind the end"
            return data

        try:
            header = parsing.parse_header(read, path.stat().st_size)
            assert isinstance(header, luks2_codec.Luks2Header)
            answer = Answer(header, None)
        except errors.LuksmithError as caught:
            answer = Answer(None, caught)
    assert corpus.sha256(path) == row["sha256"], "no byte changes"
    return answer


def those(*expected: str) -> t.Any:
    return corpus.each([row for row in ROWS if row["expected"] in expected])


def test_every_expectation_is_tested() -> None:
    known = {"accept", "accept+open", "accept+open-unbound", "accept-readonly", "refuse", "refuse-until-repair"}
    assert {row["expected"] for row in ROWS} <= known


@those("accept", "accept+open", "accept+open-unbound", "accept-readonly")
def test_a_good_image_is_read(row: corpus.Row, tmp_path: pathlib.Path) -> None:
    header, error = ask(row, tmp_path)
    assert header is not None, error
    numbers = set(header.keyslots)
    # The manifest's list is from luksDump's text, where tokens have numbers too (both images of "reqs/").
    if row["file"].startswith("reqs/"):
        numbers |= {token.number for token in header.tokens}
    assert ",".join(map(str, sorted(numbers))) == row["active_slots"]
    assert (header.write_obstacle is not None) is (row["expected"] == "accept-readonly")
    damaged = any(word in row["file"] for word in ("hdr0", "-secondary"))
    assert (header.health["primary"] != "ok") is damaged
    for opened in filter(None, row["opened_by_slot"].split(";")):
        assert int(opened.rpartition("slot")[2]) in header.keyslots
    if header.write_obstacle is None:
        # One image has a full JSON area: even there, a heal must be possible.
        assert header.after_commit(header).health == {"primary": "ok", "secondary": "ok"}
        assert len(header.commit_writes(header)) == 4


@those("accept+open-unbound")
def test_unbound_slots_are_told_from_bound_ones(row: corpus.Row, tmp_path: pathlib.Path) -> None:
    header = ask(row, tmp_path).header
    assert header is not None
    assert {number: slot.bound for number, slot in header.keyslots.items()} == {0: True, 1: False}


@those("refuse", "refuse-until-repair")
def test_a_bad_image_is_refused_with_a_sentence(row: corpus.Row, tmp_path: pathlib.Path) -> None:
    answer = ask(row, tmp_path)
    assert answer.header is None
    assert isinstance(
        answer.error, errors.Refused if row["expected"] == "refuse-until-repair" else errors.MalformedHeader
    )
    assert answer.error.found and answer.error.why and answer.error.remedy
