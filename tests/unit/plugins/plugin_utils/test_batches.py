# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the next batch of a run may begin. Each host has an object of its own, as it has a process of its own."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.plugin_utils import _batches
from ansible_collections.luksmith.luks.plugins.plugin_utils._batches import Batch, Batches, Stopped


class Run:
    def __init__(self, folder: pathlib.Path, limit: t.Optional[float] = 0) -> None:
        self.folder = folder / "run"
        self.limit = limit

    def begin(self, host: str, hosts: str, earlier: str = "", lost: str = "") -> Batches:
        batches = Batches(str(self.folder))
        batches.begin(host, Batch(set(hosts), {*lost, *earlier}, set(earlier), self.limit))
        return batches

    def batch(self, hosts: str, fine: str, earlier: str = "") -> None:
        """Those of the batch that are not ``fine`` are begun and fail, or are killed."""
        begun = [(host, self.begin(host, hosts, earlier)) for host in hosts]
        for host, batches in begun:
            if host in fine:
                batches.fine(host)


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Run:
    return Run(tmp_path)


def test_after_a_good_batch_comes_the_next_one(run: Run) -> None:
    run.batch("a", "a")
    run.batch("bc", "bc")
    run.batch("de", "de")


def test_a_batch_that_was_not_all_right_is_the_last_one(run: Run) -> None:
    run.batch("a", "a")
    run.batch("bc", "c")
    for host in "de":  # and of no later batch anything
        with pytest.raises(Stopped, match=r"1 of the 2 hosts of an earlier batch .* \(b\), and max_fail_\w+ is 0"):
            run.begin(host, "de")
    with pytest.raises(Stopped, match=r"1 of the 2 hosts"):
        run.begin("f", "f")


def test_a_host_that_was_fine_in_an_earlier_play_is_not_therefore_fine_in_this_one(run: Run) -> None:
    run.batch("ab", "ab")
    for host in "ac":  # and b is lost before it begins
        run.begin(host, "abc").fine(host)
    with pytest.raises(Stopped, match=r"1 of the 3 hosts of an earlier batch .* \(b\)"):
        run.begin("d", "d", earlier="b")


@pytest.mark.parametrize(("limit", "stops"), [(0, True), (33, True), (33.4, False), (100, False), (None, False)])
def test_the_limit_is_a_share_of_the_batch(tmp_path: pathlib.Path, limit: t.Optional[float], stops: bool) -> None:
    """As max_fail_percentage has it: more than that."""
    run = Run(tmp_path, limit)
    run.batch("abc", "ab")
    if stops:
        with pytest.raises(Stopped):
            run.begin("d", "d")
    else:
        run.begin("d", "d")


def test_hosts_that_were_lost_before_they_were_begun_count(run: Run) -> None:
    """b failed in a task before, so that only the batch of the inventory has it."""
    run.begin("a", "ab", lost="b").fine("a")
    with pytest.raises(Stopped, match=r"1 of the 2 hosts .* \(b\)"):
        run.begin("c", "c", earlier="b")


def test_hosts_that_have_no_part_in_the_rotation_do_not_count(run: Run) -> None:
    """A condition leaves b out, and Ansible has not lost it."""
    run.begin("a", "ab").fine("a")
    run.begin("c", "c")


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not-begun"])
@pytest.mark.parametrize("bad", "cde")
@pytest.mark.parametrize("final", ["f", "fg"])
def test_one_host_of_the_batch_before_the_final_one_has_no_result(run: Run, begun: bool, bad: str, final: str) -> None:
    """Its process was killed, or an earlier task lost it; wherever it stands in its batch."""
    run.batch("ab", "ab")
    for host in "cde":
        if host != bad:
            run.begin(host, "cde", lost="" if begun else bad).fine(host)
        elif begun:
            run.begin(host, "cde")
    for host in final:
        with pytest.raises(Stopped, match=rf"1 of the 3 hosts of an earlier batch .* \({bad}\)"):
            run.begin(host, final, earlier="" if begun else bad)


def test_a_batch_that_was_lost_as_a_whole_before_it_was_begun(run: Run) -> None:
    with pytest.raises(Stopped, match=r"2 of the 2 hosts .* \(a, b\)"):
        run.begin("c", "c", earlier="ab")


def test_what_an_earlier_batch_lost_is_judged_once(tmp_path: pathlib.Path) -> None:
    run = Run(tmp_path, 50)
    run.batch("ab", "a")
    run.batch("cd", "cd", earlier="b")
    run.begin("e", "e", earlier="b")


def test_the_hosts_of_a_batch_do_not_wait_for_each_other(run: Run) -> None:
    """Where core no longer counts a host that failed meanwhile, it is the same batch still."""
    run.begin("a", "abc")
    run.begin("b", "abc")
    run.begin("c", "bc")


def test_the_last_end_of_a_host_counts(run: Run) -> None:
    run.begin("a", "a").fine("a")
    run.begin("a", "a")  # another task, which fails
    with pytest.raises(Stopped):
        run.begin("b", "b")


def test_another_play_has_batches_of_its_own(run: Run) -> None:
    run.batch("ab", "ab")
    run.batch("abc", "abc")
    run.batch("a", "a")


def test_many_names_are_not_all_said(run: Run) -> None:
    hosts = "abcdefgh"
    run.batch(hosts, "")
    with pytest.raises(Stopped, match=r"8 of the 8 hosts .* \(a, b, c, d, e and 3 more\)"):
        run.begin("x", "x")


def test_a_process_that_died_while_it_noted_something_stops_the_run(run: Run) -> None:
    run.batch("a", "a")
    for name in ("ends", "batch"):
        path = run.folder / name
        whole = path.read_text()
        path.write_text(whole[:-3])
        with pytest.raises(LuksmithError, match="it is not known how the batch before ended"):
            run.begin("b", "b")
        path.write_text(whole)
    (run.folder / "ends").unlink()
    with pytest.raises(Stopped):
        run.begin("b", "b")


def test_a_folder_that_cannot_be_used_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.folder.write_text("a file")
    with pytest.raises(LuksmithError, match="annot be used to follow the batches of this run"):
        run.begin("a", "a")
    run.folder.unlink()
    monkeypatch.setattr(_batches, "PATIENCE", 0.0)
    with run.begin("a", "a")._locked(), pytest.raises(LuksmithError, match="has been locked"):
        run.begin("b", "b")


def everybody(run: Run, host: str, hosts: str) -> Batches:
    batches = Batches(str(run.folder))
    batches.begin(host, Batch(set(hosts), limit=run.limit, everybody=set("abcdef")))
    return batches


def test_hosts_that_were_never_begun_are_named_in_the_end(run: Run) -> None:
    everybody(run, "a", "a").fine("a")
    batches = everybody(run, "b", "bc")
    everybody(run, "c", "bc").fine("c")
    assert batches.not_begun() == "", "b is under way: whoever interrupts a run knows why it ended"
    batches.bad("b")
    told = batches.not_begun()
    assert "Not begun: 3 hosts of later batches (d, e, f)" in told
    assert "1 of 2 hosts of the last batch failed or gave no answer (b)" in told and "--limit '!b'" in told


def test_nothing_is_said_of_a_run_that_came_to_all_its_batches(run: Run) -> None:
    assert Batches(str(run.folder)).not_begun() == ""
    for host in "abcdef":
        everybody(run, host, "abcdef").bad(host)
    assert Batches(str(run.folder)).not_begun() == ""
