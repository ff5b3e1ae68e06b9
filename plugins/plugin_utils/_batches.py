# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Whether a run may begin its next batch of hosts, by what became of the batch before.

ansible-core decides that, too, but by counts in which a host that is unreachable comes twice or not at all: a batch
with one failed and one lost host does not stop the play, whatever max_fail_percentage is. So each host notes here that
it came to a good end, and the first host of a batch judges the batch before.

The hosts of a batch are processes of their own. They share a folder, which has:

- batch: the batch under way (its hosts, its limit), and why it must not begin, or ""
- ends: a line for each host of it that was begun (false) or came to a good end (true) or a bad one (null); the last
  one holds
- known: the hosts of all batches so far, a name on each line
- everybody: all hosts of the play, a name on each line
- lock
"""

from __future__ import annotations

import contextlib
import json
import os
import typing as t

from ..module_utils._luks.errors import BadTask, counted
from ..module_utils._luks.paths import fault
from ._waiting_lock import lock_within

PATIENCE = 60.0  # seconds for other hosts, which have the lock for a moment
_MOST_NAMES = 5


class Stopped(Exception):
    """The batch must not begin: a sentence."""


class Batch(t.NamedTuple):
    """hosts: all of it, also those that were lost before. lost: all that Ansible has lost by now, from this batch or
    any other. earlier: those of them that come before this batch.

    limit: percentage of the hosts of a batch that may fail, None for no limit. everybody: all hosts of the play.
    """

    hosts: t.Collection[str]
    lost: t.Collection[str] = ()
    earlier: t.Collection[str] = ()
    limit: t.Optional[float] = None
    everybody: t.Collection[str] = ()


class Batches:
    """The batches of one run of ansible-playbook; ``folder`` is its own and goes with it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def begin(self, host: str, batch: Batch) -> None:
        """Before ``host``, which is of ``batch``, is asked. Raises Stopped, or LuksmithError."""
        with self._locked():
            current = self._read()
            hosts = {host, *batch.hosts}
            if current is None or not hosts <= set(current["hosts"]):
                current = {"hosts": sorted(hosts), "limit": batch.limit, "stopped": self._why(current, batch)}
                self._begin(current, sorted(batch.everybody))
            self._append("ends", [[host, False]])  # also where another task of the play was fine before
        if current["stopped"]:
            raise Stopped(current["stopped"])

    def fine(self, host: str) -> None:
        """``host`` came to a good end. Raises LuksmithError."""
        with self._locked():
            self._append("ends", [[host, True]])

    def bad(self, host: str) -> None:
        """``host`` failed or gave no answer. Raises LuksmithError."""
        with self._locked():
            self._append("ends", [[host, None]])

    def not_begun(self) -> str:
        """When the run has ended: why it did not come to its later batches, a sentence, or "".

        ansible-core ends a play without a word when all hosts of a batch failed, or more than the play allows.
        """
        current = self._read()
        if current is None or current["stopped"]:
            return ""  # nothing was begun, or each host of the batch has said why not
        never = sorted(set(self._lines("everybody")).difference(self._lines("known")))
        ends = dict(self._lines("ends"))
        bad = [host for host in current["hosts"] if ends.get(host, False) is None]
        if not never or not bad or False in ends.values():
            return ""  # the last case is a run that was interrupted
        return (
            f"Not begun: {counted(len(never), 'host')} of later batches ({_names(never)}). The play "
            f"ended, because {len(bad)} of {counted(len(current['hosts']), 'host')} of "
            "the last batch failed or gave no answer "
            f"({_names(bad)}). {_ways(bad)}"
        )

    def _why(self, before: t.Optional[t.Dict[str, t.Any]], batch: Batch) -> str:
        """Why ``batch`` must not begin, or ""."""
        if before is not None:
            if before["stopped"]:
                return str(before["stopped"])
            ends = dict(self._lines("ends"))
            # One that was not begun was lost in a task before, or it has no part in this: a condition left it out.
            # Where none is noted, a process died at the begin of the batch.
            bad = [host for host in before["hosts"] if not ends.get(host, bool(ends) and host not in batch.lost)]
            share = 100 * len(bad) / len(before["hosts"])
            if before["limit"] is not None and share > before["limit"]:
                return _sentence(bad, len(before["hosts"]), before["limit"])
        # No host of their batch came as far as to ask here, so that all of it failed.
        never = sorted(set(batch.earlier).difference(self._lines("known"))) if batch.earlier else []
        if never and batch.limit is not None and batch.limit < 100:
            return _sentence(never, len(never), batch.limit)
        return ""

    def _begin(self, current: t.Mapping[str, t.Any], everybody: t.Iterable[str]) -> None:
        """Whoever is killed within this leaves the batch before without an end, which stops the run."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path("ends"))
        if not os.path.exists(self._path("everybody")):
            self._append("everybody", everybody)
        self._append("known", current["hosts"])
        new = self._path("batch.new")
        with open(new, "w", encoding="ascii") as stream:
            json.dump(current, stream)
        os.replace(new, self._path("batch"))

    # Files

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _read(self) -> t.Optional[t.Dict[str, t.Any]]:
        found = self._lines("batch")
        return t.cast(t.Dict[str, t.Any], found[0]) if found else None

    def _lines(self, name: str) -> t.List[t.Any]:
        try:
            with open(self._path(name), encoding="ascii") as lines:
                return [json.loads(line) for line in lines]
        except FileNotFoundError:
            return []
        except ValueError:
            raise BadTask(
                f"{self._path(name)} was cut short, so that it is not known how the batch before ended",
                remedy="Run the playbook again",
            ) from None

    def _append(self, name: str, lines: t.Iterable[t.Any]) -> None:
        with open(self._path(name), "a", encoding="ascii") as stream:
            stream.write("".join(f"{json.dumps(line)}\n" for line in lines))

    @contextlib.contextmanager
    def _locked(self) -> t.Iterator[None]:
        path = self._path("lock")
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(path, "w", encoding="ascii") as lock:
                if not lock_within(lock.fileno(), PATIENCE):
                    raise BadTask(f"{path} has been locked for {PATIENCE:g} seconds")
                yield
        except OSError as error:
            raise fault(error.filename or path, "cannot be used to follow the batches of this run", error) from None


def _sentence(bad: t.Sequence[str], count: int, limit: float) -> str:
    return (
        f"not begun, because {len(bad)} of the {count} hosts of an earlier batch failed or gave no answer "
        f"({_names(bad)}), and max_fail_percentage is {limit:g}. {_ways(bad)} Nothing was changed."
    )


def _names(hosts: t.Sequence[str]) -> str:
    more = len(hosts) - _MOST_NAMES
    return ", ".join(hosts[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _ways(bad: t.Sequence[str]) -> str:
    """What to type so that the others have their turn."""
    without = f"with --limit '{':'.join(f'!{host}' for host in bad)}', " if len(bad) <= _MOST_NAMES else ""
    return (
        f"Look at these first, then run the playbook again; or go on without them: {without}with larger batches "
        "(-e rotate_serial=100%), or past every host that fails (-e rotate_max_fail_percentage=100). In a play of your "
        "own, set its serial and max_fail_percentage."
    )
